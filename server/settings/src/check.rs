//! Owns the rules that values must keep among each other, in etcd's order and with its sentences,
//! and the refusal of what this build cannot do.
//! Never changes a value. Invariant: what passes here can be started.

use crate::chosen::Chosen;
use crate::gates::Unusual;
use crate::notice::{Level, Notice, Stop};
use crate::row::Standing;
use crate::url::Url;

/// Longest election timeout.
const ELECTION_MS_MAX: u64 = 50_000;
/// Requests above this make heartbeats wait.
const REQUEST_BYTES_ADVISED: u64 = 10 << 20;
/// Stores above this take long to copy to another member.
const QUOTA_BYTES_ADVISED: i64 = 8 << 30;

/// Every rule; what is only unwise is noted.
pub(crate) fn check(chosen: &Chosen, notices: &mut Vec<Notice>) -> Result<(), Stop> {
    check_logging(chosen)?;
    check_listeners(chosen).map_err(Stop::invalid)?;
    check_discovery(chosen).map_err(Stop::invalid)?;
    check_timers(chosen).map_err(Stop::invalid)?;
    check_advertised(chosen)?;
    check_modes(chosen).map_err(Stop::invalid)?;
    check_tls(chosen).map_err(Stop::invalid)?;
    check_standing(chosen, notices)?;
    check_schemes(chosen)?;
    note_unwise(chosen, notices);
    Ok(())
}

fn check_logging(chosen: &Chosen) -> Result<(), Stop> {
    match chosen.text("logger").as_str() {
        "zap" => {}
        "capnslog" => return Err(Stop::invalid("--logger=capnslog is removed in v3.5")),
        other => return Err(Stop::invalid(format!("unknown logger option {other:?}"))),
    }
    let level = chosen.text("log-level");
    if crate::logging::level_of(&level).is_none() {
        // etcd panics here: the text goes to standard error as it is, and the exit code is 2.
        let stop = Stop::plain(format!("panic: unrecognized level: {level:?}\n"));
        return Err(Stop { code: 2, ..stop });
    }
    let format = chosen.text("log-format");
    if crate::logging::format_of(&format).is_none() {
        return Err(Stop::invalid(format!(
            "unknown log format: {format}, supported values json, console"
        )));
    }
    check_outputs(chosen).map_err(Stop::invalid)
}

fn check_outputs(chosen: &Chosen) -> Result<(), String> {
    let outputs = chosen.list("log-outputs");
    let has = |word: &str| outputs.iter().any(|output| output == word);
    if has("systemd/journal") && outputs.len() > 1 {
        let quoted: Vec<String> = outputs.iter().map(|output| format!("{output:?}")).collect();
        return Err(format!(
            "running with systemd/journal but other '--log-outputs' values ([{}]) are configured \
             with 'default'; override 'default' value with something else",
            quoted.join(" ")
        ));
    }
    if has("default") && outputs.len() > 1 {
        return Err("multi logoutput for \"default\" is not supported yet".into());
    }
    if has("") {
        return Err("couldn't open sink \"\": open : no such file or directory".into());
    }
    let is_file = outputs.len() == 1
        && !["default", "stderr", "stdout", "systemd/journal"].contains(&outputs[0].as_str());
    if chosen.bool("enable-log-rotation") && !is_file {
        return Err("--log-outputs requires a single file path when \
                    --log-rotate-config-json is defined"
            .into());
    }
    Ok(())
}

/// The lists of URLs that this member listens on.
const LISTENERS: [&str; 4] =
    ["listen-peer-urls", "listen-client-urls", "listen-client-http-urls", "listen-metrics-urls"];

fn check_listeners(chosen: &Chosen) -> Result<(), String> {
    for url in LISTENERS.into_iter().flat_map(|name| chosen.urls(name)) {
        let host = url.host_and_port().0;
        let is_ip = host.parse::<core::net::IpAddr>().is_ok();
        if !url.is_file() && host != "localhost" && !is_ip {
            return Err(format!("expected IP in URL for binding ({url})"));
        }
    }
    for name in ["initial-advertise-peer-urls", "advertise-client-urls"] {
        let urls = chosen.urls(name);
        let nameless = urls.iter().find(|url| !url.is_file() && url.host_and_port().0.is_empty());
        if let Some(url) = nameless {
            let all: Vec<String> = urls.iter().map(Url::to_string).collect();
            return Err(format!(
                "--{name} {:?} must be \"host:port\" (unexpected empty host ({url}))",
                all.join(",")
            ));
        }
    }
    Ok(())
}

fn check_discovery(chosen: &Chosen) -> Result<(), String> {
    let endpoints = chosen.is_unusual_name("discovery-endpoints");
    let token = chosen.is_unusual_name("discovery-token");
    let ways = [
        chosen.is_set("initial-cluster") && !chosen.text("initial-cluster").is_empty(),
        endpoints || chosen.is_unusual_name("discovery"),
        chosen.is_unusual_name("discovery-srv"),
    ];
    if ways.into_iter().filter(|is_chosen| *is_chosen).count() > 1 {
        return Err("multiple discovery or bootstrap flags are set. Choose one of \
                    \"initial-cluster\", \"discovery-endpoints\" or \"discovery-srv\""
            .into());
    }
    if endpoints != token {
        return Err("both --discovery-token and --discovery-endpoints must be set".into());
    }
    if chosen.text("discovery-fallback") == "proxy" {
        return Err("v2 proxy is deprecated, and --discovery-fallback can't be configured as \
                    \"proxy\""
            .into());
    }
    Ok(())
}

fn check_timers(chosen: &Chosen) -> Result<(), String> {
    let heartbeat = chosen.unsigned("heartbeat-interval");
    let election = chosen.unsigned("election-timeout");
    for (name, ms) in [("heartbeat-interval", heartbeat), ("election-timeout", election)] {
        if ms == 0 {
            return Err(format!("--{name} must be >0 (set to {ms}ms)"));
        }
    }
    if heartbeat.saturating_mul(5) > election {
        return Err(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as \
             --heartbeat-interval[{heartbeat}ms]"
        ));
    }
    if election > ELECTION_MS_MAX {
        return Err(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than \
             {ELECTION_MS_MAX}ms"
        ));
    }
    Ok(())
}

fn check_advertised(chosen: &Chosen) -> Result<(), Stop> {
    // In a configuration file the default stays; there the flag was never "set explicitly".
    if chosen.is_from_file() || !chosen.is_set("listen-client-urls") {
        return Ok(());
    }
    if chosen.is_set("advertise-client-urls") {
        return Ok(());
    }
    let error = "--advertise-client-urls is required when --listen-client-urls is set explicitly";
    let mut stop = Stop::invalid(error);
    let second = Notice::new(Level::Warn, "advertise client URLs are not set");
    stop.notices.push(second.with("error", error));
    Err(stop)
}

fn check_modes(chosen: &Chosen) -> Result<(), String> {
    let mode = chosen.text("auto-compaction-mode");
    if !["", "periodic", "revision"].contains(&mode.as_str()) {
        return Err(format!("unknown auto-compaction-mode {mode:?}"));
    }
    if chosen.span("compact-hash-check-time").is_zero() {
        return Err("--compact-hash-check-time must be >0 (set to 0s)".into());
    }
    chosen.gates().check()
}

fn check_tls(chosen: &Chosen) -> Result<(), String> {
    let (least, most) = (chosen.text("tls-min-version"), chosen.text("tls-max-version"));
    for (name, version) in [("tls-min-version", &least), ("tls-max-version", &most)] {
        if !["", "TLS1.2", "TLS1.3"].contains(&version.as_str()) {
            return Err(format!(
                "{name} is invalid: unexpected TLS version {version:?} (must be one of: TLS1.2, \
                 TLS1.3)"
            ));
        }
    }
    if !most.is_empty() && least > most {
        return Err(format!("min version ({least}) is greater than max version ({most})"));
    }
    if least == "TLS1.3" && chosen.is_unusual_name("cipher-suites") {
        return Err("cipher suites cannot be configured when only TLS1.3 is enabled".into());
    }
    Ok(())
}

/// Refuses what this build cannot do, and notes what has no meaning in it.
fn check_standing(chosen: &Chosen, notices: &mut Vec<Notice>) -> Result<(), Stop> {
    let kind = chosen.text("auth-token");
    let kind = kind.split(',').next().unwrap_or_default();
    if kind != "simple" && kind != "jwt" {
        return Err(Stop::start("auth: invalid auth options"));
    }
    let mut missing = Vec::new();
    for row in chosen.rows() {
        match row.standing {
            Standing::NotYet { why } if chosen.is_unusual(row) => {
                missing.push(format!("--{} asks for {why}", row.name));
            }
            Standing::NoMeaning { why } => notices.push(no_meaning(format!("--{}", row.name), why)),
            Standing::NotYet { .. } | Standing::Works | Standing::Ignored => {}
            Standing::OldName { .. } | Standing::OldGate { .. } => {}
            Standing::OldSwitch { .. } | Standing::Gone { .. } => {}
        }
    }
    for (gate, on) in chosen.gates().all().filter(|(gate, on)| *on != gate.default()) {
        let flag = format!("--feature-gates={}={on}", gate.name);
        match gate.unusual {
            Unusual::Works => {}
            Unusual::NotYet => missing.push(format!("{flag} asks for the feature {}", gate.name)),
            Unusual::NoMeaning(why) => notices.push(no_meaning(flag, why)),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Stop::invalid(not_yet(&missing.join("; "))))
}

/// The sentence of a refusal.
pub(crate) fn not_yet(what: &str) -> String {
    format!("{what}: this build of ringleader does not have that yet")
}

fn no_meaning(flag: String, why: &str) -> Notice {
    Notice::new(Level::Warn, "flag is accepted and has no effect here")
        .with("flag", flag)
        .with("reason", why)
}

fn check_schemes(chosen: &Chosen) -> Result<(), Stop> {
    for (name, side, pair) in [
        ("listen-client-urls", "client", "--cert-file, --key-file"),
        ("listen-client-http-urls", "client", "--cert-file, --key-file"),
        ("listen-metrics-urls", "client", "--cert-file, --key-file"),
        ("listen-peer-urls", "peer", "--peer-cert-file, --peer-key-file"),
    ] {
        for url in chosen.urls(name) {
            if url.is_file() && side == "peer" {
                let what = format!("--{name}={url} asks for a unix socket");
                return Err(Stop::invalid(not_yet(&what)));
            }
            if url.is_secure() {
                return Err(Stop::start(format!(
                    "TLS key/cert ({pair}) must be provided for {side} url {url} with HTTPS \
                     scheme (and this build of ringleader does not have TLS yet)"
                )));
            }
        }
    }
    let grpc = chosen.urls("listen-client-urls");
    match chosen.urls("listen-client-http-urls").iter().find(|url| grpc.contains(url)) {
        None => Ok(()),
        Some(url) => Err(Stop::start(format!(
            "cannot bind both --listen-client-urls and --listen-client-http-urls on the same \
             url {url}"
        ))),
    }
}

fn note_unwise(chosen: &Chosen, notices: &mut Vec<Notice>) {
    let bytes = chosen.unsigned("max-request-bytes");
    if bytes > REQUEST_BYTES_ADVISED {
        notices.push(
            Notice::new(Level::Warn, "exceeded recommended request limit")
                .with("max-request-bytes", bytes.to_string())
                .with("recommended-request-bytes", REQUEST_BYTES_ADVISED.to_string()),
        );
    }
    let quota = chosen.signed("quota-backend-bytes");
    if quota > QUOTA_BYTES_ADVISED {
        notices.push(
            Notice::new(Level::Warn, "quota exceeds the maximum value")
                .with("quota-size-bytes", quota.to_string())
                .with("quota-maximum-size-bytes", QUOTA_BYTES_ADVISED.to_string()),
        );
    }
}
