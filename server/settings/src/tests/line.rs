//! Owns the laws of the command line: syntax, texts and exit codes.
//! Never looks at the environment. Invariant: as in the parent.

use super::{field, invalid, run, settings, words};
use crate::{Stop, help, parse};

fn stopped(argv: &[&str]) -> Stop {
    run(argv, &[]).expect_err("the line must be refused")
}

#[test]
fn a_line_that_cannot_be_read_says_why_and_exits_with_2() {
    let port = "URL address does not have the form \"host:port\"";
    let scheme = "URL scheme must be http, https, unix, or unixs";
    let table: &[(&[&str], String)] = &[
        (&["--nope"], "flag provided but not defined: -nope".into()),
        (&["--version", "--nope"], "flag provided but not defined: -nope".into()),
        (&["--name"], "flag needs an argument: -name".into()),
        (&["---x"], "bad flag syntax: ---x".into()),
        (&["-=x"], "bad flag syntax: -=x".into()),
        (&["--enable-v2=zz"], "invalid boolean value \"zz\" for -enable-v2: parse error".into()),
        (&["--enable-pprof="], "invalid boolean value \"\" for -enable-pprof: parse error".into()),
        (
            &["--heartbeat-interval", "abc"],
            "invalid value \"abc\" for flag -heartbeat-interval: parse error".into(),
        ),
        (
            &["--heartbeat-interval=99999999999999999999999"],
            "invalid value \"99999999999999999999999\" for flag -heartbeat-interval: value out of \
             range"
                .into(),
        ),
        (
            &["--grpc-keepalive-min-time=5"],
            "invalid value \"5\" for flag -grpc-keepalive-min-time: parse error".into(),
        ),
        (
            &["--max-concurrent-streams=abc"],
            "invalid value \"abc\" for flag -max-concurrent-streams: strconv.ParseUint: parsing \
             \"abc\": invalid syntax"
                .into(),
        ),
        (
            &["--initial-cluster-state=foo"],
            "invalid value \"foo\" for flag -initial-cluster-state: invalid value".into(),
        ),
        (
            &["--v2-deprecation", "zz"],
            "invalid value \"zz\" for flag -v2-deprecation: invalid value \"zz\"".into(),
        ),
        (
            &["--listen-client-urls=ftp://1.2.3.4:1"],
            format!(
                "invalid value \"ftp://1.2.3.4:1\" for flag -listen-client-urls: {scheme}: \
                 ftp://1.2.3.4:1"
            ),
        ),
        (
            &["--listen-client-urls", "http://127.0.0.1"],
            format!(
                "invalid value \"http://127.0.0.1\" for flag -listen-client-urls: {port}: \
                 http://127.0.0.1"
            ),
        ),
        (&["--cors=zz"], format!("invalid value \"zz\" for flag -cors: {scheme}: zz")),
        (
            &["--feature-gates=Nope=true"],
            "invalid value \"Nope=true\" for flag -feature-gates: unrecognized feature gate: Nope"
                .into(),
        ),
    ];
    for (argv, sentence) in table {
        let stop = stopped(argv);
        assert_eq!((stop.code, stop.stdout.as_str()), (2, ""), "{argv:?}");
        assert_eq!(stop.stderr, format!("{sentence}\n{}", help::usage()), "{argv:?}");
        assert!(stop.notices.is_empty(), "{argv:?}");
    }
}

#[test]
fn a_flag_of_long_ago_is_refused_with_a_hint() {
    let stop = stopped(&["--bind-addr=x"]);
    let lines: Vec<&str> = stop.stderr.lines().take(2).collect();
    assert_eq!(lines[0], "flag provided but not defined: -bind-addr");
    assert!(lines[1].contains("--listen-client-urls"));
    assert_eq!(stop.code, 2);
}

#[test]
fn a_stray_word_ends_the_line_and_exits_with_1() {
    for (argv, word) in [
        (["extra", "--nope"], "extra"),
        (["--version", "extra"], "extra"),
        (["--force-new-cluster", "false"], "false"),
        (["--", "--name"], "--name"),
        (["--version", "-"], "-"),
        (["--snapshot", "x"], "x"),
    ] {
        let stop = stopped(&argv);
        assert_eq!(invalid(&stop), format!("'{word}' is not a valid flag"), "{argv:?}");
        let shown = field(&stop.notices, "Running: ", "args");
        assert_eq!(shown, Some(argv.join(" ")), "the first line shows the arguments");
    }
}

#[test]
fn one_dash_two_dashes_and_repeats_are_as_in_go() {
    let got = settings(&["-name=a", "--name", "b", "-heartbeat-interval", "0x14", "--"]);
    assert_eq!(got.name, "b");
    assert_eq!(got.timing.heartbeat.as_millis(), 20);
    assert!(!settings(&["--pre-vote=F"]).timing.pre_vote);
    assert_eq!(settings(&["--name", "--pre-vote"]).name, "--pre-vote");
}

#[test]
fn version_and_help_answer_on_standard_output_and_exit_with_0() {
    let stop = stopped(&["--name=x", "--version"]);
    assert_eq!((stop.code, stop.stdout.as_str()), (0, help::version().as_str()));
    for argv in [&["-h"][..], &["--help", "--nope"], &["--name", "x", "-help=zz"]] {
        let stop = stopped(argv);
        assert_eq!((stop.code, stop.stderr), (0, help::usage()), "{argv:?}");
        assert_eq!(stop.stdout, help::flags(), "{argv:?}");
    }
    assert_eq!(stopped(&["--nope", "--help"]).code, 2);
}

#[test]
fn a_sub_command_of_etcd_is_named_as_missing() {
    for word in ["gateway", "grpc-proxy"] {
        let stop = stopped(&[word, "start"]);
        assert_eq!(stop.code, 1);
        assert!(stop.stderr.contains(word), "{}", stop.stderr);
    }
}

#[test]
fn secrets_of_the_command_line_reach_no_line() {
    for argv in [&["--discovery-password=hush"][..], &["--discovery-password", "hush", "--name=a"]]
    {
        let line = parse(&words(argv)).unwrap();
        assert!(!format!("{:?}", line.notices).contains("hush"), "{argv:?}");
    }
    let stop = run(&[], &[("ETCD_DISCOVERY_PASSWORD", "hush")]).unwrap_err();
    assert!(!format!("{:?}", stop.notices).contains("hush"));
}
