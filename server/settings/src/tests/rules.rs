//! Owns the laws about values together: validation, derived defaults, standing, founding.
//! Never starts a server. Invariant: as in the parent.

use std::time::Duration;

use super::{field, invalid, machine, run, settings, words};
use crate::{Access, AutoCompaction, Machine, Names, Ports, Quota, Stop, Url, parse, settle};

fn refused(argv: &[&str]) -> String {
    invalid(&run(argv, &[]).expect_err("the settings must be refused"))
}

#[test]
fn values_that_do_not_fit_together_are_refused_in_etcds_words() {
    let table: &[(&[&str], &str)] = &[
        (&["--election-timeout=0"], "--election-timeout must be >0 (set to 0ms)"),
        (&["--heartbeat-interval=0"], "--heartbeat-interval must be >0 (set to 0ms)"),
        (
            &["--election-timeout=200"],
            "--election-timeout[200ms] should be at least as 5 times as \
             --heartbeat-interval[100ms]",
        ),
        (
            &["--election-timeout=60000"],
            "--election-timeout[60000ms] is too long, and should be set less than 50000ms",
        ),
        (&["--auto-compaction-mode=zz"], "unknown auto-compaction-mode \"zz\""),
        (&["--logger=zz"], "unknown logger option \"zz\""),
        (&["--logger=capnslog"], "--logger=capnslog is removed in v3.5"),
        (&["--log-outputs=default,stderr"], "multi logoutput for \"default\" is not supported yet"),
        (
            &["--log-outputs=systemd/journal,stderr"],
            "running with systemd/journal but other '--log-outputs' values ([\"stderr\" \
             \"systemd/journal\"]) are configured with 'default'; override 'default' value with \
             something else",
        ),
        (&["--log-outputs="], "couldn't open sink \"\": open : no such file or directory"),
        (
            &["--enable-log-rotation"],
            "--log-outputs requires a single file path when --log-rotate-config-json is defined",
        ),
        (
            &["--listen-peer-urls=http://foo.example:21020"],
            "expected IP in URL for binding (http://foo.example:21020)",
        ),
        (&["--listen-metrics-urls=http://:1"], "expected IP in URL for binding (http://:1)"),
        (
            &["--advertise-client-urls=http://:3001"],
            "--advertise-client-urls \"http://:3001\" must be \"host:port\" (unexpected empty \
             host (http://:3001))",
        ),
        (
            &["--initial-cluster=a=b", "--discovery-srv=x"],
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
             \"discovery-endpoints\" or \"discovery-srv\"",
        ),
        (&["--discovery-token=x"], "both --discovery-token and --discovery-endpoints must be set"),
        (
            &["--discovery-fallback=proxy"],
            "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"",
        ),
        (
            &["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        ),
        (
            &["--tls-min-version=X"],
            "tls-min-version is invalid: unexpected TLS version \"X\" (must be one of: TLS1.2, \
             TLS1.3)",
        ),
        (
            &["--tls-min-version=TLS1.3", "--cipher-suites=a"],
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ),
        (&["--compact-hash-check-time=0"], "--compact-hash-check-time must be >0 (set to 0s)"),
        (
            &["--feature-gates=LeaseCheckpointPersist=true"],
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
             LeaseCheckpoint",
        ),
        (
            &["--max-learners=2", "--experimental-memory-mlock", "--memory-mlock"],
            "cannot set --experimental-memory-mlock and --memory-mlock at the same time, please \
             use --memory-mlock only",
        ),
    ];
    for (argv, error) in table {
        assert_eq!(refused(argv), *error, "{argv:?}");
    }
}

#[test]
fn listening_without_advertising_is_told_twice() {
    let stop = run(&["--listen-client-urls=http://127.0.0.1:1"], &[]).unwrap_err();
    let error = "--advertise-client-urls is required when --listen-client-urls is set explicitly";
    assert_eq!(invalid(&stop), error);
    let second = field(&stop.notices, "advertise client URLs are not set", "error");
    assert_eq!(second.as_deref(), Some(error));
}

#[test]
fn an_unknown_log_level_ends_as_a_panic_does() {
    let stop = run(&["--log-level=zz"], &[]).unwrap_err();
    assert_eq!((stop.code, stop.stderr.as_str()), (2, "panic: unrecognized level: \"zz\"\n"));
}

fn started(stop: &Stop) -> String {
    assert_eq!(stop.code, 1);
    let first = field(&stop.notices, "failed to start etcd", "error");
    assert_eq!(first, field(&stop.notices, "discovery failed", "error"));
    first.unwrap_or_else(|| panic!("{stop:?}"))
}

#[test]
fn errors_after_validation_have_two_lines() {
    let retention = run(&["--auto-compaction-retention=zz"], &[]).unwrap_err();
    assert_eq!(
        started(&retention),
        "error parsing CompactionRetention: time: invalid duration \"zz\""
    );
    let token = run(&["--auth-token=zz"], &[]).unwrap_err();
    assert_eq!(started(&token), "auth: invalid auth options");
    let tls = run(
        &["--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://a:1"],
        &[],
    );
    assert!(started(&tls.unwrap_err()).starts_with(
        "TLS key/cert (--cert-file, --key-file) must be provided for client url \
         https://127.0.0.1:1 with HTTPS scheme"
    ));
}

#[test]
fn what_this_build_cannot_do_stops_the_start_and_names_every_flag() {
    let error =
        refused(&["--cert-file=a", "--enable-v2", "--experimental-enable-lease-checkpoint"]);
    for word in ["--cert-file", "--enable-v2", "LeaseCheckpoint", "does not have that yet"] {
        assert!(error.contains(word), "{error}");
    }
    for argv in [
        &["--auto-tls"][..],
        &["--auth-token=jwt,pub-key=a"],
        &["--proxy=on"],
        &["--ca-file=a"],
        &["--listen-peer-urls=unix://localhost:1"],
        &["--enable-log-rotation", "--log-outputs=a.log"],
        &["--feature-gates=AllAlpha=true"],
    ] {
        assert!(refused(argv).contains("does not have that yet"), "{argv:?}");
    }
}

#[test]
fn a_default_spelled_out_asks_for_nothing_new() {
    settings(&["--enable-v2=false", "--proxy=off", "--cors=*", "--cert-file=", "--auto-tls=false"]);
    settings(&["--feature-gates=InitialCorruptCheck=false", "--auth-token=simple"]);
}

#[test]
fn an_asterisk_lets_every_name_in() {
    let all = settings(&["--host-whitelist=a,*,b"]);
    assert_eq!(all.access.hosts, Names::Any);
    assert_eq!(settings(&[]).access, Access { origins: Names::Any, hosts: Names::Any });
    let some = settings(&["--host-whitelist=b,a", "--cors=http://a.org:80,http://b.org:81"]);
    assert_eq!(some.access.hosts.list(), ["a", "b"]);
    assert!(some.access.hosts.have("a") && !some.access.hosts.have("A"));
    assert_eq!(some.access.origins.list(), ["http://a.org:80", "http://b.org:81"]);
    // An empty word is a name like any other: only requests that name no host come in.
    let none = settings(&["--host-whitelist="]);
    assert!(none.access.hosts.have("") && !none.access.hosts.have("a"));
}

#[test]
fn http_has_listeners_of_its_own_or_shares_the_others() {
    let client = ["--listen-client-urls=http://127.0.0.1:1", "--advertise-client-urls=http://a:1"];
    let split =
        settings(&[&client[..], &["--listen-client-http-urls=http://127.0.0.1:2"]].concat());
    assert_eq!((split.listen.client.len(), split.listen.http.len()), (1, 1));
    assert!(settings(&client).listen.http.is_empty());
    let both = [&client[..], &["--listen-client-http-urls=http://127.0.0.1:1"]].concat();
    assert_eq!(
        started(&run(&both, &[]).unwrap_err()),
        "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url \
         http://127.0.0.1:1"
    );
}

#[test]
fn clients_may_come_through_a_file_and_peers_not() {
    let argv = ["--listen-client-urls=unix://a/b,http://127.0.0.1:1"];
    let argv = [&argv[..], &["--advertise-client-urls=http://a:1"]].concat();
    let files: Vec<_> = settings(&argv).listen.client.into_iter().filter(Url::is_file).collect();
    assert_eq!(files[0].place, "a/b");
    let secure = ["--listen-client-urls=unixs://a", "--advertise-client-urls=http://a:1"];
    assert!(started(&run(&secure, &[]).unwrap_err()).contains("client url unixs://a"));
}

#[test]
fn ports_are_shared_on_request() {
    assert_eq!(settings(&[]).listen.ports, Ports::Own);
    let shared = ["--socket-reuse-port", "--socket-reuse-address"];
    assert_eq!(settings(&shared).listen.ports, Ports::Shared);
}

#[test]
fn what_means_nothing_here_is_accepted_with_one_warning() {
    let argv = ["--snapshot-count=5", "--snapshot-count=6", "--enable-grpc-gateway", "--vv=zz"];
    let settled = run(&argv, &[]).unwrap();
    let message = "flag is accepted and has no effect here";
    let of = |notice: &&crate::Notice| notice.message == message;
    assert_eq!(settled.notices.iter().filter(of).count(), 2);
    assert_eq!(field(&settled.notices, message, "flag").as_deref(), Some("--snapshot-count"));
    let message = "flag is no longer supported; ignoring it";
    assert_eq!(field(&settled.notices, message, "flag").as_deref(), Some("--vv"));
}

#[test]
fn a_name_of_an_older_version_is_accepted_with_one_warning() {
    let argv = ["--experimental-watch-progress-notify-interval=5s", "--debug"];
    let settled = run(&argv, &[]).unwrap();
    assert_eq!(settled.settings.watch_progress_gap, Duration::from_secs(5));
    assert_eq!(settled.settings.log.level, crate::LogLevel::Debug);
    let message = "flag is accepted under the name of an older version";
    let now = field(&settled.notices, message, "use");
    assert_eq!(now.as_deref(), Some("--watch-progress-notify-interval"));
    let gate = run(&["--experimental-txn-mode-write-with-shared-buffer=true"], &[]).unwrap();
    let now = field(&gate.notices, message, "use");
    assert_eq!(now.as_deref(), Some("--feature-gates=TxnModeWriteWithSharedBuffer=true"));
}

#[test]
fn defaults_are_those_that_operators_know() {
    let got = settings(&[]);
    assert_eq!((got.name.as_str(), got.data_dir.as_str()), ("default", "default.etcd"));
    assert_eq!(got.listen.client[0].bind_address(), "127.0.0.1:2379".parse().ok());
    assert_eq!(got.listen.peer[0].bind_address(), "127.0.0.1:2380".parse().ok());
    assert_eq!(got.limits.quota, Quota::Bytes(2 << 30));
    assert_eq!(got.limits.request_bytes, 1_572_864);
    assert_eq!((got.limits.txn_ops, got.limits.streams), (128, u32::MAX));
    assert_eq!(got.watch_progress_gap, Duration::from_secs(600));
    assert_eq!(got.compaction, AutoCompaction::Off);
    assert_eq!((got.cores.count, got.cores.slices), (2, 2));
    assert_eq!(got.keepalive.server_gap, Some(Duration::from_secs(7200)));
    let founding = got.founding().unwrap();
    assert_eq!(format!("{:x}", founding.local_id), "8e9e05c52164694d");
    assert_eq!(format!("{:x}", founding.cluster_id), "cdf818194e3a8c32");
}

#[test]
fn a_name_alone_founds_its_own_cluster() {
    let got = settings(&["--name=x", "--initial-advertise-peer-urls=http://127.0.0.1:7"]);
    assert_eq!(got.cluster.initial, "x=http://127.0.0.1:7");
    assert_eq!(got.founding().unwrap().members.len(), 1);
    assert_eq!(got.data_dir, "x.etcd");
}

#[test]
fn a_founding_that_does_not_fit_is_refused() {
    let stop = settings(&["--initial-advertise-peer-urls=http://127.0.0.1:7"]).founding();
    assert!(started(&stop.unwrap_err()).starts_with(
        "--initial-cluster has default=http://localhost:2380 but missing from \
         --initial-advertise-peer-urls=http://127.0.0.1:7 ("
    ));
    let others = "b=http://b:2380,c=http://c:2380";
    let stop = settings(&["--initial-cluster", others]).founding().unwrap_err();
    let sentence = "couldn't find local name \"default\" in the initial cluster configuration";
    assert_eq!(started(&stop), sentence);
}

#[test]
fn a_cluster_of_three_has_the_same_identifiers_on_all_of_them() {
    let all = "a=http://127.0.0.1:25601,b=http://127.0.0.1:25611,c=http://127.0.0.1:25621";
    let founding = |name: &str, url: &str| {
        let words = ["--name", name, "--initial-advertise-peer-urls", url];
        let cluster = ["--initial-cluster", all, "--initial-cluster-token=tok"];
        settings(&[&words[..], &cluster[..]].concat()).founding().unwrap()
    };
    let a = founding("a", "http://127.0.0.1:25601");
    // As etcd 3.5.1 names them.
    assert_eq!(a.cluster_id, 0xc3b9_6bbd_df72_8076);
    assert_eq!(a.local_id, 0xc37c_3949_5fa9_56f4);
    let b = founding("b", "http://127.0.0.1:25611");
    assert_eq!((b.cluster_id, &b.members), (a.cluster_id, &a.members));
    assert_eq!(b.local_id, 0x7cf4_014f_dd6c_877c);
}

#[test]
fn who_joins_is_not_asked_whether_it_advertises_what_is_listed() {
    let joining = ["--initial-cluster=default=http://a:1", "--initial-cluster-state=existing"];
    let founding = settings(&joining).founding().unwrap();
    assert_eq!(founding.members[0].peer_urls[0].to_string(), "http://a:1");
}

#[test]
fn every_address_is_advertised_as_the_default_route() {
    let machine = Machine { default_host: Some("10.0.0.7".into()), ..machine() };
    let line = parse(&words(&["--listen-peer-urls=http://0.0.0.0:9", "--name=a"])).unwrap();
    let settled = settle(&line, &[], None, &machine).unwrap();
    assert_eq!(settled.settings.advertise.peer[0].to_string(), "http://10.0.0.7:9");
    assert_eq!(settled.settings.cluster.initial, "a=http://10.0.0.7:9");
    let host = field(&settled.notices, "detected default host for advertise", "host");
    assert_eq!(host.as_deref(), Some("10.0.0.7"));
}

#[test]
fn retention_is_read_by_its_mode() {
    let of = |mode: &str, keep: &str| {
        settings(&["--auto-compaction-mode", mode, "--auto-compaction-retention", keep]).compaction
    };
    assert_eq!(of("periodic", "1"), AutoCompaction::Periodic(Duration::from_secs(3600)));
    assert_eq!(of("periodic", "5m"), AutoCompaction::Periodic(Duration::from_secs(300)));
    assert_eq!(of("revision", "1000"), AutoCompaction::Revision(1000));
    assert_eq!(of("revision", "1h"), AutoCompaction::Revision(3_600_000_000_000));
    assert_eq!(of("revision", "0"), AutoCompaction::Off);
    assert_eq!(of("", "0s"), AutoCompaction::Off);
}

#[test]
fn quota_and_cores_have_their_special_values() {
    assert_eq!(settings(&["--quota-backend-bytes=-1"]).limits.quota, Quota::Off);
    assert_eq!(settings(&["--quota-backend-bytes=16384"]).limits.quota, Quota::Bytes(16384));
    let got = settings(&["--cpu-set=0,2,5", "--slices=7"]).cores;
    assert_eq!((got.count, got.slices, got.cpu_set), (3, 7, vec![0, 2, 5]));
    assert_eq!(settings(&["--cores=8"]).cores.count, 8);
    let settled = run(&["--quota-backend-bytes=9000000000"], &[]).unwrap();
    assert!(settled.notices.iter().any(|n| n.message == "quota exceeds the maximum value"));
}

#[test]
fn the_start_line_shows_what_is_in_effect() {
    let fields = settings(&["--name=z"]).fields();
    let text = format!("{fields:?}");
    for part in ["\"name\", Text(\"z\")", "\"election-timeout\", Text(\"1s\")", "z.etcd"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}
