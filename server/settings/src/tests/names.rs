//! Owns the list of every flag that any etcd had, against the table.
//! Never checks what a flag does. Invariant: a name of the interface facts is a row.

use std::collections::BTreeSet;

use crate::gates::GATES;
use crate::row::{FileKey, Section, Standing};
use crate::table;

const NAMES: &str = "
name data-dir wal-dir snapshot-count snapshot-catchup-entries heartbeat-interval
election-timeout initial-election-tick-advance listen-peer-urls listen-client-urls
listen-client-http-urls max-snapshots max-wals memory-mlock quota-backend-bytes
backend-bbolt-freelist-type backend-batch-interval backend-batch-limit max-txn-ops
max-request-bytes max-concurrent-streams grpc-keepalive-min-time grpc-keepalive-interval
grpc-keepalive-timeout socket-reuse-port socket-reuse-address enable-grpc-gateway
raft-read-timeout raft-write-timeout feature-gates initial-advertise-peer-urls
initial-cluster initial-cluster-state initial-cluster-token advertise-client-urls discovery
discovery-proxy discovery-fallback discovery-srv discovery-srv-name discovery-token
discovery-endpoints discovery-dial-timeout discovery-request-timeout discovery-keepalive-time
discovery-keepalive-timeout discovery-insecure-transport discovery-insecure-skip-tls-verify
discovery-cert discovery-key discovery-cacert discovery-user discovery-password
strict-reconfig-check pre-vote auto-compaction-mode auto-compaction-retention enable-v2
v2-deprecation next-cluster-version-compatible max-learners cert-file key-file client-cert-auth
client-cert-file client-key-file client-crl-file client-cert-allowed-hostname
trusted-ca-file auto-tls ca-file peer-ca-file peer-cert-file peer-key-file
peer-client-cert-auth peer-client-cert-file peer-client-key-file peer-trusted-ca-file
peer-cert-allowed-cn peer-cert-allowed-hostname peer-auto-tls peer-crl-file
peer-skip-client-san-verification self-signed-cert-validity cipher-suites tls-min-version
tls-max-version cors host-whitelist auth-token bcrypt-cost auth-token-ttl enable-pprof metrics
listen-metrics-urls logger log-outputs log-output log-level log-format enable-log-rotation
log-rotation-config-json debug log-package-levels warning-unary-request-duration
enable-distributed-tracing distributed-tracing-address distributed-tracing-service-name
distributed-tracing-instance-id distributed-tracing-sampling-rate corrupt-check-time
compact-hash-check-time compaction-batch-limit compaction-sleep-interval
watch-progress-notify-interval warning-apply-duration bootstrap-defrag-threshold-megabytes
downgrade-check-time experimental-initial-corrupt-check experimental-corrupt-check-time
experimental-compact-hash-check-enabled experimental-compact-hash-check-time
experimental-enable-v2v3 experimental-enable-lease-checkpoint
experimental-enable-lease-checkpoint-persist experimental-compaction-batch-limit
experimental-compaction-sleep-interval experimental-peer-skip-client-san-verification
experimental-watch-progress-notify-interval experimental-warning-apply-duration
experimental-warning-unary-request-duration experimental-txn-mode-write-with-shared-buffer
experimental-stop-grpc-service-on-defrag experimental-bootstrap-defrag-threshold-megabytes
experimental-memory-mlock experimental-snapshot-catchup-entries
experimental-downgrade-check-time experimental-enable-distributed-tracing
experimental-distributed-tracing-address experimental-distributed-tracing-service-name
experimental-distributed-tracing-instance-id experimental-distributed-tracing-sampling-rate
experimental-backend-bbolt-freelist-type experimental-auto-compaction-retention
experimental-gRPC-addr experimental-v3demo proxy proxy-failure-wait proxy-refresh-interval
proxy-dial-timeout proxy-write-timeout proxy-read-timeout force-new-cluster unsafe-no-fsync
config-file version addr bind-addr peer-addr peer-bind-addr
";

#[test]
fn every_flag_of_every_etcd_is_a_row() {
    for name in NAMES.split_whitespace() {
        assert!(table::find(name).is_some(), "--{name}");
    }
    assert_eq!(NAMES.split_whitespace().count(), 160);
}

#[test]
fn a_row_that_etcd_does_not_have_is_ours_or_long_ignored() {
    let known: BTreeSet<&str> = NAMES.split_whitespace().collect();
    for row in table::rows().filter(|row| !known.contains(row.name)) {
        let is_ours = row.section == Section::Ours || row.standing == Standing::Ignored;
        assert!(is_ours, "--{}", row.name);
    }
}

#[test]
fn names_environment_and_file_keys_are_unique() {
    let mut names = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for row in table::rows() {
        assert!(names.insert(row.env_name()), "{}", row.name);
        let key = match row.file_key {
            FileKey::Same => row.name.to_string(),
            FileKey::Renamed(key) => key.to_string(),
            FileKey::Nested(path) => path.join("."),
            FileKey::Absent => continue,
        };
        assert!(keys.insert(key), "{}", row.name);
    }
}

#[test]
fn an_old_name_leads_to_a_row_of_the_same_kind_or_to_a_gate() {
    for row in table::rows() {
        match row.standing {
            Standing::OldName { now } => assert_eq!(table::known(now).kind, row.kind, "{now}"),
            Standing::OldSwitch { now, .. } => assert!(table::find(now).is_some(), "{now}"),
            Standing::OldGate { gate } => {
                assert!(GATES.iter().any(|known| known.name == gate), "{gate}");
            }
            Standing::Works | Standing::NotYet { .. } | Standing::NoMeaning { .. } => {
                assert!(!row.help.is_empty(), "--{} has no help", row.name);
            }
            Standing::Ignored | Standing::Gone { .. } => {}
        }
    }
}

#[test]
fn an_environment_name_is_the_flag_in_capitals() {
    let row = table::known("listen-client-urls");
    assert_eq!(row.env_name(), "ETCD_LISTEN_CLIENT_URLS");
}
