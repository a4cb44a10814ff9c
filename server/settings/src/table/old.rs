//! Owns the rows of flags that older versions had: aliases, switches that became gates or values,
//! leftovers that are ignored, and names that are refused with a hint.
//! Never a default of its own that matters. Invariant: every target named here is a row or a gate.

use crate::row::{
    FileKey, Kind, Row, Section, Unit, gone, ignored, old, old_gate, old_switch, row,
};

const S: Section = Section::Old;
const PROXY: &str = "the v2 proxy";
const NO_PROXY: &str = "there is no v2 proxy";

const fn keyed(mut row: Row, file_key: FileKey) -> Row {
    row.file_key = file_key;
    row
}

/// The rows.
pub(super) const ROWS: &[Row] = &[
    old_gate("experimental-initial-corrupt-check", "InitialCorruptCheck", "false"),
    old("experimental-corrupt-check-time", Kind::Span, "corrupt-check-time"),
    old_gate("experimental-compact-hash-check-enabled", "CompactHashCheck", "false"),
    old("experimental-compact-hash-check-time", Kind::Span, "compact-hash-check-time"),
    row(S, "experimental-enable-v2v3", Kind::Text, "", "Serve v2 from v3 keys.")
        .not_yet("the v2 API on v3 keys"),
    old_gate("experimental-enable-lease-checkpoint", "LeaseCheckpoint", "false"),
    old_gate("experimental-enable-lease-checkpoint-persist", "LeaseCheckpointPersist", "false"),
    old("experimental-compaction-batch-limit", Kind::Signed, "compaction-batch-limit"),
    old("experimental-compaction-sleep-interval", Kind::Span, "compaction-sleep-interval"),
    keyed(
        old(
            "experimental-peer-skip-client-san-verification",
            Kind::Bool,
            "peer-skip-client-san-verification",
        ),
        FileKey::Absent,
    ),
    old(
        "experimental-watch-progress-notify-interval",
        Kind::Span,
        "watch-progress-notify-interval",
    ),
    old("experimental-warning-apply-duration", Kind::Span, "warning-apply-duration"),
    old(
        "experimental-warning-unary-request-duration",
        Kind::Span,
        "warning-unary-request-duration",
    ),
    old_gate(
        "experimental-txn-mode-write-with-shared-buffer",
        "TxnModeWriteWithSharedBuffer",
        "true",
    ),
    old_gate("experimental-stop-grpc-service-on-defrag", "StopGRPCServiceOnDefrag", "false"),
    old(
        "experimental-bootstrap-defrag-threshold-megabytes",
        Kind::Unsigned,
        "bootstrap-defrag-threshold-megabytes",
    ),
    old("experimental-memory-mlock", Kind::Bool, "memory-mlock"),
    old("experimental-snapshot-catchup-entries", Kind::Unsigned, "snapshot-catchup-entries")
        .key("experimental-snapshot-catch-up-entries"),
    old("experimental-downgrade-check-time", Kind::Span, "downgrade-check-time"),
    old("experimental-enable-distributed-tracing", Kind::Bool, "enable-distributed-tracing"),
    old("experimental-distributed-tracing-address", Kind::Text, "distributed-tracing-address"),
    old(
        "experimental-distributed-tracing-service-name",
        Kind::Text,
        "distributed-tracing-service-name",
    ),
    old(
        "experimental-distributed-tracing-instance-id",
        Kind::Text,
        "distributed-tracing-instance-id",
    ),
    old(
        "experimental-distributed-tracing-sampling-rate",
        Kind::Signed,
        "distributed-tracing-sampling-rate",
    ),
    old("experimental-backend-bbolt-freelist-type", Kind::Text, "backend-bbolt-freelist-type"),
    row(S, "proxy", Kind::Choice(&["off", "readonly", "on"]), "off", "Run as a v2 proxy.")
        .not_yet(PROXY),
    row(S, "proxy-failure-wait", Kind::Unsigned, "5000", "Rest of a failed endpoint.")
        .unit(Unit::Milliseconds)
        .no_meaning(NO_PROXY),
    row(S, "proxy-refresh-interval", Kind::Unsigned, "30000", "Gap of refreshing endpoints.")
        .unit(Unit::Milliseconds)
        .no_meaning(NO_PROXY),
    row(S, "proxy-dial-timeout", Kind::Unsigned, "1000", "Time to connect.")
        .unit(Unit::Milliseconds)
        .no_meaning(NO_PROXY),
    row(S, "proxy-write-timeout", Kind::Unsigned, "5000", "Time to write.")
        .unit(Unit::Milliseconds)
        .no_meaning(NO_PROXY),
    row(S, "proxy-read-timeout", Kind::Unsigned, "0", "Time to read.")
        .unit(Unit::Milliseconds)
        .no_meaning(NO_PROXY),
    row(S, "next-cluster-version-compatible", Kind::Bool, "false", "Open data of a newer etcd.")
        .no_meaning("data of etcd is not opened in place"),
    old("ca-file", Kind::Text, "trusted-ca-file"),
    old("peer-ca-file", Kind::Text, "peer-trusted-ca-file"),
    old("log-output", Kind::Set, "log-outputs"),
    old_switch("debug", "log-level", "debug"),
    row(S, "log-package-levels", Kind::Text, "", "Levels by package.")
        .no_meaning("one level holds for all parts; use --log-level"),
    ignored("cluster-active-size"),
    ignored("cluster-remove-delay"),
    ignored("cluster-sync-interval"),
    ignored("config"),
    ignored("force"),
    ignored("max-result-buffer"),
    ignored("max-retry-attempts"),
    ignored("peer-heartbeat-interval"),
    ignored("peer-election-timeout"),
    ignored("retry-interval"),
    ignored("snapshot"),
    ignored("v"),
    ignored("vv"),
    ignored("test.coverprofile"),
    ignored("test.outputdir"),
    gone("addr", Kind::Text, "use --advertise-client-urls"),
    gone("bind-addr", Kind::Text, "use --listen-client-urls"),
    gone("peer-addr", Kind::Text, "use --initial-advertise-peer-urls"),
    gone("peer-bind-addr", Kind::Text, "use --listen-peer-urls"),
    gone("experimental-auto-compaction-retention", Kind::Signed, "use --auto-compaction-retention"),
    gone("experimental-gRPC-addr", Kind::Text, "gRPC is served on --listen-client-urls"),
    gone("experimental-v3demo", Kind::Bool, "the v3 API is always served"),
];
