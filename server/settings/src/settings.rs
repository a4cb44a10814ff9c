//! Owns the settings as the server uses them: typed, derived, by noun.
//! Never reads a flag's text where a value will do. Invariant: a `Settings` was checked.

use std::time::Duration;

use crate::cluster::{self, Founding};
use crate::compaction::AutoCompaction;
use crate::gates::Gates;
use crate::logging::Log;
use crate::notice::{Field, Stop};
use crate::url::Url;

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
    /// For clients: gRPC and HTTP on one port, or gRPC alone if HTTP has listeners of its own.
    pub client: Vec<Url>,
    /// For clients that speak HTTP and no gRPC; empty means that they use those above.
    pub http: Vec<Url>,
    /// For metrics and health alone.
    pub metrics: Vec<Url>,
    /// Whether other processes may listen on the same ports.
    pub ports: Ports,
}

/// Whether other processes may listen on the ports of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// No.
    Own,
    /// Those that ask for it too.
    Shared,
}

/// Names that are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// All.
    Any,
    /// These, letter by letter.
    Only(Vec<String>),
}

impl Names {
    /// Whether the name is let in.
    pub fn have(&self, name: &str) -> bool {
        match self {
            Names::Any => true,
            Names::Only(names) => names.iter().any(|known| known == name),
        }
    }

    /// As a list, as it was given.
    pub fn list(&self) -> Vec<String> {
        match self {
            Names::Any => vec!["*".into()],
            Names::Only(names) => names.clone(),
        }
    }
}

/// From where browsers may ask for pages, and under which names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Origins of other pages whose scripts may ask.
    pub origins: Names,
    /// Host names that a request in clear may name.
    pub hosts: Names,
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
    /// Whether a member that has data goes on without its cluster.
    pub force_new: bool,
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

/// What members look for in each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Whether a member that has data compares it with its peers' before it serves.
    pub at_start: bool,
    /// Gap of comparing all members' newest data; none means never.
    pub every: Option<Duration>,
    /// Gap of comparing what members kept of compactions; none means never.
    pub compactions_every: Option<Duration>,
    /// Gap of looking for the end of a downgrade.
    pub downgrade: Duration,
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
    /// Log segments behind it that stay for followers; 0 for as many as can be.
    pub segments_kept: u64,
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
    /// Who may ask for pages.
    pub access: Access,
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
    /// What members look for in each other.
    pub checks: Checks,
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

impl Settings {
    /// Who founds the cluster, or who is expected to be in it already; then the identifiers are
    /// the cluster's to tell ([`crate::join`]). To be asked only when the data directory is new: a
    /// member that has data knows its cluster from there.
    pub fn founding(&self) -> Result<Founding, Stop> {
        let cluster = &self.cluster;
        let founding = match cluster.state {
            ClusterState::New => {
                let advertised = &self.advertise.peer;
                cluster::found(&cluster.initial, &cluster.token, &self.name, advertised)
            }
            ClusterState::Existing => cluster::expect(&cluster.initial, &cluster.token, &self.name),
        };
        founding.map_err(|error| Stop::start(error.to_string()))
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
            ("force-new-cluster", Field::Bool(self.cluster.force_new)),
            ("heartbeat-interval", text(self.timing.heartbeat)),
            ("election-timeout", text(self.timing.election)),
            ("initial-election-tick-advance", Field::Bool(self.timing.fast_first_election)),
            ("initial-advertise-peer-urls", urls(&self.advertise.peer)),
            ("listen-peer-urls", urls(&self.listen.peer)),
            ("advertise-client-urls", urls(&self.advertise.client)),
            ("listen-client-urls", urls(&self.listen.client)),
            ("listen-metrics-urls", urls(&self.listen.metrics)),
            ("cors", Field::List(self.access.origins.list())),
            ("host-whitelist", Field::List(self.access.hosts.list())),
            ("initial-cluster", self.cluster.initial.as_str().into()),
            ("initial-cluster-state", state.into()),
            ("initial-cluster-token", self.cluster.token.as_str().into()),
            ("quota-backend-bytes", Field::Number(quota)),
            ("max-request-bytes", Field::Number(i64::from(self.limits.request_bytes))),
            ("max-concurrent-streams", Field::Number(i64::from(self.limits.streams))),
            ("pre-vote", Field::Bool(self.timing.pre_vote)),
            ("initial-corrupt-check", Field::Bool(self.checks.at_start)),
            ("corrupt-check-time-interval", text(self.checks.every.unwrap_or_default())),
            ("compact-check-time-enabled", Field::Bool(self.checks.compactions_every.is_some())),
            (
                "compact-check-time-interval",
                text(self.checks.compactions_every.unwrap_or_default()),
            ),
            ("auto-compaction-mode", mode.into()),
            ("auto-compaction-retention", retention.as_str().into()),
            ("auto-compaction-interval", retention.into()),
            ("downgrade-check-interval", text(self.checks.downgrade)),
            ("max-learners", Field::Number(i64::from(self.cluster.learners_max))),
            ("cores", Field::Number(i64::from(self.cores.count))),
            ("slices", Field::Number(i64::from(self.cores.slices))),
            ("cache-bytes", Field::Text(self.cores.cache_bytes.to_string())),
            ("checkpoint-interval", text(self.checkpoint.interval)),
            ("checkpoint-log-bytes", Field::Text(self.checkpoint.log_bytes.to_string())),
            ("max-wals", Field::Text(self.checkpoint.segments_kept.to_string())),
        ]
    }
}
