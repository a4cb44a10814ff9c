//! Owns the laws of environment variables.
//! Never sets one. Invariant: as in the parent.

use super::{field, invalid, run};
use crate::Level;

#[test]
fn a_variable_decides_where_no_flag_does_and_is_noted() {
    let settled = run(&["--election-timeout=500"], &[("ETCD_HEARTBEAT_INTERVAL", "50")]).unwrap();
    assert_eq!(settled.settings.timing.heartbeat.as_millis(), 50);
    let message = "recognized and used environment variable";
    let name = field(&settled.notices, message, "variable-name");
    assert_eq!(name.as_deref(), Some("ETCD_HEARTBEAT_INTERVAL"));
    assert_eq!(field(&settled.notices, message, "variable-value").as_deref(), Some("50"));
}

#[test]
fn flag_and_variable_together_are_a_conflict() {
    let stop = run(&["--name", "y"], &[("ETCD_NAME", "x")]).unwrap_err();
    assert_eq!(stop.code, 1);
    let last = stop.notices.last().unwrap();
    assert_eq!(last.level, Level::Fatal);
    assert_eq!(
        last.message,
        "conflicting environment variable is shadowed by corresponding command-line flag \
         (either unset environment variable or disable flag))"
    );
    let name = field(&stop.notices, &last.message, "environment-variable");
    assert_eq!(name.as_deref(), Some("ETCD_NAME"));
}

#[test]
fn an_empty_variable_is_ignored() {
    let settled = run(&["--name", "y"], &[("ETCD_NAME", ""), ("ETCD_PRE_VOTE", "")]).unwrap();
    assert_eq!(settled.settings.name, "y");
}

#[test]
fn a_bad_variable_exits_with_1_in_these_words() {
    for (name, text, why) in [
        ("ETCD_HEARTBEAT_INTERVAL", "abc", "parse error"),
        ("ETCD_FORCE_NEW_CLUSTER", "zz", "parse error"),
        ("ETCD_INITIAL_CLUSTER_STATE", "zz", "invalid value"),
        ("ETCD_LISTEN_PEER_URLS", "zz", "URL scheme must be http, https, unix, or unixs: zz"),
    ] {
        let stop = run(&[], &[(name, text)]).unwrap_err();
        assert_eq!(invalid(&stop), format!("invalid value {text:?} for {name}: {why}"));
    }
}

#[test]
fn an_unknown_variable_is_a_warning_and_not_an_error() {
    let env = [("ETCD_FOO", "1"), ("ETCDCTL_API", "3"), ("ETCD_ADDR", "x"), ("PATH", "/bin")];
    let settled = run(&[], &env).unwrap();
    let message = "unrecognized environment variable";
    let of = |n: &crate::Notice| n.message == message;
    let count = settled.notices.iter().filter(|notice| of(notice)).count();
    assert_eq!(count, 2, "ETCD_FOO and a flag that is gone");
    let shown = field(&settled.notices, message, "environment-variable");
    assert_eq!(shown.as_deref(), Some("ETCD_FOO=1"));
}

#[test]
fn the_version_of_an_image_is_not_the_version_flag() {
    let settled = run(&[], &[("ETCD_VERSION", "9")]).unwrap();
    let message = "cannot set special environment variable";
    assert_eq!(field(&settled.notices, message, "key").as_deref(), Some("ETCD_VERSION"));
    assert_eq!(field(&settled.notices, message, "value").as_deref(), Some("9"));
}

#[test]
fn our_own_settings_follow_the_same_rule() {
    let settled = run(&[], &[("ETCD_CORES", "3"), ("ETCD_CACHE_SIZE", "64MiB")]).unwrap();
    assert_eq!((settled.settings.cores.count, settled.settings.cores.slices), (3, 3));
    assert_eq!(settled.settings.cores.cache_bytes, 64 << 20);
}
