//! Owns the settings as the server uses them: typed, derived, by noun.
//! Never reads a flag's text where a value will do. Invariant: a `Settings` was checked.

use std::time::Duration;

use crate::check;
use crate::chosen::Chosen;
use crate::cluster::{self, Founding};
use crate::compaction::{self, AutoCompaction};
use crate::gates::Gates;
use crate::logging::{self, Log};
use crate::notice::{Field, Level, Notice, Stop};
use crate::url::{self, Url};

/// What the settings must be told about the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores_available: u32,
    /// The address of the default route, to advertise instead of "every address".
    pub default_host: Option<String>,
}

/// Where this member listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// For peers.
    pub peer: Vec<Url>,
    /// For clients: gRPC and HTTP on one port.
    pub client: Vec<Url>,
    /// For metrics and health alone.
    pub metrics: Vec<Url>,
}

/// What this member tells others about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertise {
    /// To peers.
    pub peer: Vec<Url>,
    /// To clients.
    pub client: Vec<Url>,
}

/// Whether the cluster exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// It is to be founded.
    New,
    /// It is to be joined.
    Existing,
}

/// The cluster at its founding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its members as `name=peerURL,...`.
    pub initial: String,
    /// Whether it exists.
    pub state: ClusterState,
    /// The word in its identifiers.
    pub token: String,
    /// Whether member changes that lose the quorum are refused.
    pub strict_reconfig: bool,
    /// Most learners.
    pub learners_max: u32,
}

/// The timers of consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The tick.
    pub heartbeat: Duration,
    /// Silence after which to elect.
    pub election: Duration,
    /// Whether the first election comes early.
    pub fast_first_election: bool,
    /// Whether to ask before an election.
    pub pre_vote: bool,
}

/// The size at which writes are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Never.
    Off,
    /// At this size.
    Bytes(u64),
}

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request.
    pub request_bytes: u32,
    /// Operations in each list of a transaction.
    pub txn_ops: u32,
    /// Open streams of one connection.
    pub streams: u32,
    /// Size of the store.
    pub quota: Quota,
}

/// Pings on client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Clients that ping more often are sent away.
    pub client_gap_min: Duration,
    /// Gap of the server's pings; none means it sends none.
    pub server_gap: Option<Duration>,
    /// Wait for the answer; none means forever.
    pub server_wait: Option<Duration>,
}

/// What counts as slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slow {
    /// An apply.
    pub apply: Duration,
    /// A request.
    pub unary: Duration,
}

/// Detail of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsDetail {
    /// Counters.
    Basic,
    /// Histograms per method as well.
    Extensive,
}

/// Cores, slices and memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// Threads, one core each.
    pub count: u16,
    /// Processors to pin them to, rising; empty means any.
    pub cpu_set: Vec<u16>,
    /// Partitions, should the data directory be new.
    pub slices: u16,
    /// Memory for pages, all slices together.
    pub cache_bytes: u64,
}

/// When a checkpoint is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// After this time.
    pub interval: Duration,
    /// After this much log.
    pub log_bytes: u64,
}

/// Every setting of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of this member.
    pub name: String,
    /// Directory of all data.
    pub data_dir: String,
    /// Directory of the log, if it has one of its own.
    pub wal_dir: Option<String>,
    /// Where it listens.
    pub listen: Listen,
    /// What it advertises.
    pub advertise: Advertise,
    /// The cluster.
    pub cluster: Cluster,
    /// Timers.
    pub timing: Timing,
    /// Limits.
    pub limits: Limits,
    /// Pings.
    pub keepalive: Keepalive,
    /// Compaction by itself.
    pub compaction: AutoCompaction,
    /// Gap of progress notes on quiet watches.
    pub watch_progress_gap: Duration,
    /// What is logged as slow.
    pub slow: Slow,
    /// Metrics.
    pub metrics: MetricsDetail,
    /// Log lines.
    pub log: Log,
    /// Cores and memory.
    pub cores: Cores,
    /// Checkpoints.
    pub checkpoint: Checkpoint,
    /// Feature gates.
    pub gates: Gates,
}

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
                metrics: chosen.urls("listen-metrics-urls"),
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
            },
            gates: chosen.gates(),
            name,
        })
    }

    /// Who founds the cluster. To be asked only when the data directory is new: a member that has
    /// data knows its cluster from there.
    pub fn founding(&self) -> Result<Founding, Stop> {
        let (cluster, advertised) = (&self.cluster, &self.advertise.peer);
        let founding = cluster::found(&cluster.initial, &cluster.token, &self.name, advertised)
            .map_err(|error| Stop::start(error.to_string()))?;
        if founding.members.len() > 1 {
            let what = format!("--initial-cluster names {} members", founding.members.len());
            return Err(Stop::start(check::not_yet(&what)));
        }
        match cluster.state {
            ClusterState::New => Ok(founding),
            ClusterState::Existing => {
                let what = "--initial-cluster-state=existing asks to join a cluster";
                Err(Stop::start(check::not_yet(what)))
            }
        }
    }

    /// The effective settings as the fields of etcd's line `starting an etcd server`.
    pub fn fields(&self) -> Vec<(&'static str, Field)> {
        let text = |span: Duration| Field::Text(base::span::text(span));
        let urls = |urls: &[Url]| Field::List(urls.iter().map(Url::to_string).collect());
        let quota = match self.limits.quota {
            Quota::Off => -1,
            Quota::Bytes(bytes) => i64::try_from(bytes).unwrap_or(i64::MAX),
        };
        let (mode, retention) = self.compaction.words();
        let state = match self.cluster.state {
            ClusterState::New => "new",
            ClusterState::Existing => "existing",
        };
        let wal_dir = self.wal_dir.clone().unwrap_or_default();
        vec![
            ("name", self.name.as_str().into()),
            ("data-dir", self.data_dir.as_str().into()),
            ("wal-dir", wal_dir.as_str().into()),
            ("wal-dir-dedicated", wal_dir.into()),
            ("heartbeat-interval", text(self.timing.heartbeat)),
            ("election-timeout", text(self.timing.election)),
            ("initial-election-tick-advance", Field::Bool(self.timing.fast_first_election)),
            ("initial-advertise-peer-urls", urls(&self.advertise.peer)),
            ("listen-peer-urls", urls(&self.listen.peer)),
            ("advertise-client-urls", urls(&self.advertise.client)),
            ("listen-client-urls", urls(&self.listen.client)),
            ("listen-metrics-urls", urls(&self.listen.metrics)),
            ("cors", Field::List(vec!["*".into()])),
            ("host-whitelist", Field::List(vec!["*".into()])),
            ("initial-cluster", self.cluster.initial.as_str().into()),
            ("initial-cluster-state", state.into()),
            ("initial-cluster-token", self.cluster.token.as_str().into()),
            ("quota-backend-bytes", Field::Number(quota)),
            ("max-request-bytes", Field::Number(i64::from(self.limits.request_bytes))),
            ("max-concurrent-streams", Field::Number(i64::from(self.limits.streams))),
            ("pre-vote", Field::Bool(self.timing.pre_vote)),
            ("auto-compaction-mode", mode.into()),
            ("auto-compaction-retention", retention.as_str().into()),
            ("auto-compaction-interval", retention.into()),
            ("max-learners", Field::Number(i64::from(self.cluster.learners_max))),
            ("cores", Field::Number(i64::from(self.cores.count))),
            ("slices", Field::Number(i64::from(self.cores.slices))),
            ("cache-bytes", Field::Text(self.cores.cache_bytes.to_string())),
            ("checkpoint-interval", text(self.checkpoint.interval)),
            ("checkpoint-log-bytes", Field::Text(self.checkpoint.log_bytes.to_string())),
        ]
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
    let small = |count: u64| u16::try_from(count.min(1024)).unwrap_or(1024);
    Cores {
        count: small(wanted),
        cpu_set,
        slices: small(slices),
        cache_bytes: chosen.unsigned("cache-size"),
    }
}
