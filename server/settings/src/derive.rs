//! Owns the way from chosen values to typed settings, and what is derived where nobody chose.
//! Never judges (that is `check`). Invariant: what is derived is told in a notice where etcd does.

use std::time::Duration;

use crate::check;
use crate::chosen::Chosen;
use crate::compaction;
use crate::logging;
use crate::notice::{Level, Notice, Stop};
use crate::settings::{
    Access, Advertise, Checkpoint, Checks, Cluster, ClusterState, Cores, Keepalive, Limits, Listen,
    Machine, MetricsDetail, Names, Ports, Quota, Settings, Slow, Timing,
};
use crate::url::{self, Url};

/// Gap of progress notes unless somebody says otherwise.
const WATCH_PROGRESS_GAP: Duration = Duration::from_secs(600);
/// The smallest that has an effect.
const WATCH_PROGRESS_GAP_MIN: Duration = Duration::from_millis(100);

impl Settings {
    /// From what was chosen; derives what is left open and checks all of it.
    pub(crate) fn from_chosen(
        chosen: &Chosen,
        machine: &Machine,
        notices: &mut Vec<Notice>,
    ) -> Result<Settings, Stop> {
        assert!(machine.cores_available > 0, "a machine without processors");
        check::check(chosen, notices)?;
        let compaction = compaction::auto(chosen).map_err(Stop::start)?;
        let name = chosen.text("name");
        let data_dir = data_dir(chosen, &name, notices);
        let (advertise, cluster) = advertise_and_cluster(chosen, machine, &name, notices);
        let progress = chosen.span("watch-progress-notify-interval");
        Ok(Settings {
            data_dir,
            wal_dir: Some(chosen.text("wal-dir")).filter(|dir| !dir.is_empty()),
            listen: Listen {
                peer: chosen.urls("listen-peer-urls"),
                client: chosen.urls("listen-client-urls"),
                http: chosen.urls("listen-client-http-urls"),
                metrics: chosen.urls("listen-metrics-urls"),
                ports: match chosen.bool("socket-reuse-port") {
                    true => Ports::Shared,
                    false => Ports::Own,
                },
            },
            access: Access {
                origins: names(chosen.list("cors")),
                hosts: names(chosen.list("host-whitelist")),
            },
            advertise,
            cluster,
            timing: timing(chosen),
            limits: limits(chosen),
            keepalive: keepalive(chosen),
            compaction,
            watch_progress_gap: match progress.is_zero() {
                true => WATCH_PROGRESS_GAP,
                false => progress.max(WATCH_PROGRESS_GAP_MIN),
            },
            checks: checks(chosen),
            slow: Slow {
                apply: chosen.span("warning-apply-duration"),
                unary: chosen.span("warning-unary-request-duration"),
            },
            metrics: match chosen.text("metrics").as_str() {
                "extensive" => MetricsDetail::Extensive,
                _ => MetricsDetail::Basic,
            },
            log: logging::log(chosen),
            cores: cores(chosen, machine),
            checkpoint: Checkpoint {
                interval: chosen.span("checkpoint-interval"),
                log_bytes: chosen.unsigned("checkpoint-log-bytes"),
                segments_kept: chosen.unsigned("max-wals"),
            },
            gates: chosen.gates(),
            name,
        })
    }
}

/// Gaps of zero mean never, as in etcd.
fn checks(chosen: &Chosen) -> Checks {
    let gates = chosen.gates();
    let gap = |name: &str| Some(chosen.span(name)).filter(|gap| !gap.is_zero());
    let compactions = gates.has("CompactHashCheck");
    Checks {
        at_start: gates.has("InitialCorruptCheck"),
        every: gap("corrupt-check-time"),
        compactions_every: gap("compact-hash-check-time").filter(|_| compactions),
        downgrade: chosen.span("downgrade-check-time"),
    }
}

/// An asterisk anywhere lets all in.
fn names(names: Vec<String>) -> Names {
    match names.is_empty() || names.iter().any(|name| name == "*") {
        true => Names::Any,
        false => Names::Only(names),
    }
}

fn data_dir(chosen: &Chosen, name: &str, notices: &mut Vec<Notice>) -> String {
    let given = chosen.text("data-dir");
    if !given.is_empty() {
        return given;
    }
    let made = format!("{name}.etcd");
    let note = Notice::new(Level::Warn, "'data-dir' was empty; using default");
    notices.push(note.with("data-dir", made.as_str()));
    made
}

/// What to advertise, and the founding members that follow from it.
fn advertise_and_cluster(
    chosen: &Chosen,
    machine: &Machine,
    name: &str,
    notices: &mut Vec<Notice>,
) -> (Advertise, Cluster) {
    let mut peer = chosen.urls("initial-advertise-peer-urls");
    let mut client = chosen.urls("advertise-client-urls");
    let moved_peer = detect(chosen, machine, "initial-advertise-peer-urls", &mut peer);
    let moved_client = detect(chosen, machine, "advertise-client-urls", &mut client);
    if let (true, Some(host)) = (moved_peer || moved_client, &machine.default_host) {
        let note = Notice::new(Level::Info, "detected default host for advertise");
        notices.push(note.with("host", host.as_str()));
    }
    // A name alone renames the default founding member, also when the default is spelled out.
    let given = chosen.text("initial-cluster");
    let is_default = !chosen.is_unusual_name("initial-cluster");
    let initial = if is_default && name != "default" {
        let parts: Vec<String> = peer.iter().map(|url| format!("{name}={url}")).collect();
        parts.join(",")
    } else {
        given
    };
    let cluster = Cluster {
        initial,
        state: match chosen.text("initial-cluster-state").as_str() {
            "existing" => ClusterState::Existing,
            _ => ClusterState::New,
        },
        token: chosen.text("initial-cluster-token"),
        strict_reconfig: chosen.bool("strict-reconfig-check"),
        learners_max: u32::try_from(chosen.signed("max-learners")).unwrap_or(u32::MAX),
        force_new: chosen.bool("force-new-cluster"),
    };
    (Advertise { peer, client }, cluster)
}

/// Who listens on every address and advertises the default gets the address of its default route.
fn detect(chosen: &Chosen, machine: &Machine, name: &str, advertised: &mut Vec<Url>) -> bool {
    let listen = match name {
        "advertise-client-urls" => chosen.urls("listen-client-urls"),
        _ => chosen.urls("listen-peer-urls"),
    };
    let (Some(first), Some(host)) = (listen.first(), &machine.default_host) else {
        return false;
    };
    let is_every = matches!(first.host_and_port().0, "0.0.0.0" | "::");
    if !is_every || chosen.is_unusual_name(name) {
        return false;
    }
    *advertised = vec![first.with_host(host)];
    url::sort(advertised);
    true
}

fn timing(chosen: &Chosen) -> Timing {
    Timing {
        heartbeat: Duration::from_millis(chosen.unsigned("heartbeat-interval")),
        election: Duration::from_millis(chosen.unsigned("election-timeout")),
        fast_first_election: chosen.bool("initial-election-tick-advance"),
        pre_vote: chosen.bool("pre-vote"),
    }
}

fn limits(chosen: &Chosen) -> Limits {
    Limits {
        request_bytes: chosen.unsigned_32("max-request-bytes"),
        txn_ops: chosen.unsigned_32("max-txn-ops"),
        streams: chosen.unsigned_32("max-concurrent-streams"),
        quota: match chosen.signed("quota-backend-bytes") {
            0 => Quota::Bytes(base::limits::QUOTA_BYTES_DEFAULT),
            bytes => u64::try_from(bytes).map_or(Quota::Off, Quota::Bytes),
        },
    }
}

fn keepalive(chosen: &Chosen) -> Keepalive {
    let unless_zero = |span: Duration| (!span.is_zero()).then_some(span);
    Keepalive {
        client_gap_min: chosen.span("grpc-keepalive-min-time"),
        server_gap: unless_zero(chosen.span("grpc-keepalive-interval")),
        server_wait: unless_zero(chosen.span("grpc-keepalive-timeout")),
    }
}

fn cores(chosen: &Chosen, machine: &Machine) -> Cores {
    let cpu_set = chosen.cpus();
    let wanted = match (chosen.unsigned("cores"), cpu_set.len()) {
        (0, 0) => u64::from(machine.cores_available),
        (0, pinned) => pinned as u64,
        (count, _) => count,
    };
    let slices = match chosen.unsigned("slices") {
        0 => wanted,
        count => count,
    };
    let small = |count: u64, most: u16| u16::try_from(count).unwrap_or(most).min(most);
    Cores {
        count: small(wanted, 1024),
        cpu_set,
        slices: small(slices, base::limits::SLICES_MAX),
        cache_bytes: chosen.unsigned("cache-size"),
    }
}
