//! Owns the laws of configuration files.
//! Never opens one. Invariant: as in the parent.

use super::{field, invalid, machine, pairs, run_file, words};
use crate::{AutoCompaction, ConfigFile, LogOutput, parse, settle};

const DECODE: &str = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal";

fn refused(text: &str) -> String {
    invalid(&run_file(text).expect_err("the file must be refused"))
}

#[test]
fn a_file_decides_alone_and_is_noted() {
    let line = parse(&words(&["--config-file=c.yml", "--name=flag", "--pre-vote=false"])).unwrap();
    let env = pairs(&[("ETCD_NAME", "env")]);
    let file = ConfigFile { path: "c.yml", text: Ok("NAME: file\nunknown: 1\n") };
    let settled = settle(&line, &env, Some(file), &machine()).unwrap();
    assert_eq!(settled.settings.name, "file");
    assert!(settled.settings.timing.pre_vote);
    let message = "loaded server configuration, other configuration command line flags and \
                   environment variables will be ignored if provided";
    assert_eq!(field(&settled.notices, message, "path").as_deref(), Some("c.yml"));
}

#[test]
fn a_variable_may_name_the_file_and_a_flag_goes_before_it() {
    let env = pairs(&[("ETCD_CONFIG_FILE", "env.yml")]);
    let named = |argv: &[&str]| parse(&words(argv)).unwrap();
    assert_eq!(named(&[]).config_path(&env), Some("env.yml"));
    assert_eq!(named(&["--config-file=flag.yml"]).config_path(&env), Some("flag.yml"));
}

#[test]
fn a_missing_file_says_what_the_system_said() {
    let line = parse(&words(&["--config-file=nope.yml"])).unwrap();
    let file = ConfigFile { path: "nope.yml", text: Err("no such file or directory") };
    let stop = settle(&line, &[], Some(file), &machine()).unwrap_err();
    assert_eq!(invalid(&stop), "open nope.yml: no such file or directory");
}

#[test]
fn every_kind_of_value_has_its_form() {
    let text = "\
name: m1
data-dir: d
heartbeat-interval: 200
election-timeout: 2000
grpc-keepalive-interval: 1e9
listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:2
log-outputs: [stderr, a.log]
auto-compaction-retention: \"2\"
pre-vote: no
feature-gates: \"FastLeaseKeepAlive=true\"
cache-size: 64MiB
checkpoint-interval: 1000000000
";
    let got = run_file(text).unwrap().settings;
    assert_eq!((got.name.as_str(), got.data_dir.as_str()), ("m1", "d"));
    assert_eq!(got.timing.election.as_millis(), 2000);
    assert_eq!(got.keepalive.server_gap.unwrap().as_secs(), 1);
    assert_eq!(got.listen.client.len(), 2);
    assert_eq!(got.advertise.client[0].to_string(), "http://localhost:2379");
    assert_eq!(got.log.outputs, [LogOutput::Stderr, LogOutput::File("a.log".into())]);
    assert_eq!(got.compaction, AutoCompaction::Periodic(std::time::Duration::from_secs(7200)));
    assert!(!got.timing.pre_vote);
    assert_eq!(got.cluster.initial, "m1=http://localhost:2380");
    assert_eq!(got.cores.cache_bytes, 64 << 20);
    assert_eq!(got.checkpoint.interval.as_secs(), 1);
}

#[test]
fn empty_files_and_nulls_mean_defaults() {
    for text in ["", "---\n", "election-timeout: ~", "{}", "client-transport-security:\n"] {
        assert_eq!(run_file(text).unwrap().settings.name, "default", "{text:?}");
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_answered_as_go_answers_it() {
    let table = [
        ("name: [1]", "array into Go struct field configYAML.name of type string"),
        ("name: 5", "number into Go struct field configYAML.name of type string"),
        ("name: true", "bool into Go struct field configYAML.name of type string"),
        (
            "heartbeat-interval: \"100\"",
            "string into Go struct field configYAML.heartbeat-interval of type uint",
        ),
        (
            "heartbeat-interval: 1.5",
            "number 1.5 into Go struct field configYAML.heartbeat-interval of type uint",
        ),
        (
            "heartbeat-interval: -1",
            "number -1 into Go struct field configYAML.heartbeat-interval of type uint",
        ),
        (
            "grpc-keepalive-interval: 10s",
            "string into Go struct field configYAML.grpc-keepalive-interval of type time.Duration",
        ),
        (
            "log-outputs: default",
            "string into Go struct field configYAML.log-outputs of type []string",
        ),
        ("log-outputs: [1]", "number into Go struct field configYAML.log-outputs of type string"),
        (
            "auto-compaction-retention: 1",
            "number into Go struct field configYAML.auto-compaction-retention of type string",
        ),
        (
            "client-transport-security: 1",
            "number into Go struct field configYAML.client-transport-security of type \
             embed.securityConfig",
        ),
        (
            "Client-Transport-Security:\n  auto-tls: 1",
            "number into Go struct field securityConfig.client-transport-security.auto-tls of type \
             bool",
        ),
        ("a", "string into Go value of type embed.configYAML"),
        ("- a", "array into Go value of type embed.configYAML"),
    ];
    for (text, what) in table {
        assert_eq!(refused(text), format!("{DECODE} {what}"), "{text}");
    }
}

#[test]
fn text_that_is_not_yaml_says_so() {
    for text in ["name: [1", "\tname: 1", "name: \"x"] {
        assert!(refused(text).starts_with("error converting YAML to JSON: yaml: "), "{text}");
    }
}

#[test]
fn a_bad_url_is_printed_outside_of_the_log() {
    let port = "URL address does not have the form \"host:port\": http://x";
    for (key, named) in [
        ("listen-peer-urls", "listen-peer-urls"),
        ("listen-client-urls", "listen-client-urls"),
        ("initial-advertise-peer-urls", "initial-advertise-peer-urls"),
        ("advertise-client-urls", "advertise-peer-urls"),
        ("listen-metrics-urls", "listen-metrics-urls"),
    ] {
        let stop = run_file(&format!("{key}: http://x")).unwrap_err();
        assert_eq!(stop.code, 1);
        assert_eq!(stop.stderr, format!("unexpected error setting up {named}: {port}\n"));
    }
    assert_eq!(refused("initial-cluster-state: zz"), "unexpected clusterState \"zz\"");
}
