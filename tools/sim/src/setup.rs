//! Owns what a simulated member is told at its start: who it is, with whom it is founded, how its
//! slices and shards are dealt.
//! Invariant: two starts of one member differ in nothing but what the caller draws for them.

use std::time::Duration;

use node::leader::checkpoint::CheckpointPolicy;
use node::leader::checks::CheckPolicy;
use node::leader::compactor::Retention;
use node::shard::Partition;
use node::{Founding, LeaderConfig, LogPolicy, Reconfig, Restart, ShardConfig, ShardId};
use state::{Member, MemberRole};
use wire::peer::Version;

/// One Raft tick of every simulated member.
pub const HEARTBEAT: Duration = Duration::from_millis(100);
/// Time without a leader until an election begins, at least.
pub const ELECTION_TIMEOUT: Duration = Duration::from_millis(1000);

/// Learners at a time.
pub const LEARNERS_MAX: usize = 1;
/// The version of every simulated server.
pub const SERVER: Version = Version { major: 3, minor: 7, patch: 1 };
/// The oldest version of a cluster that it takes part in.
pub const OLDEST: Version = Version { patch: 0, ..SERVER };

/// A member as it is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The cluster's id.
    pub cluster: u64,
    /// The member's.
    pub member: u64,
    /// What a new directory becomes part of.
    pub founding: Founding,
    /// Whether changes of members that could lose the quorum are refused.
    pub reconfig: Reconfig,
    /// How much of the leader's log a learner must hold to vote.
    pub learner_ready_percent: u64,
    /// How it goes on if it has data.
    pub restart: Restart,
    /// How keys and slices are dealt.
    pub partition: Partition,
    /// Memory for pages of each slice.
    pub cache_bytes: u64,
    /// When checkpoints begin.
    pub checkpoint: CheckpointPolicy,
    /// Bytes of one reply to a watch; what is beyond waits, or comes in fragments.
    pub watch_reply_bytes: usize,
    /// Bytes at once to one stream of watches; what is beyond reads history.
    pub watch_stream_bytes: usize,
    /// Between two notices to a watch that sees nothing.
    pub progress_interval: Duration,
    /// How long the member works on a request.
    pub request_timeout: Duration,
    /// Applied entries in memory for peers that lag.
    pub window_bytes: usize,
    /// The log's segments.
    pub log: LogPolicy,
    /// The version of its server.
    pub server: Version,
    /// The oldest version of a cluster that it takes part in.
    pub oldest: Version,
    /// When it compares members' data.
    pub checks: CheckPolicy,
}

impl Setup {
    /// For the leader, which finds these log segments.
    pub fn leader(&self, seed: u64, log_segments: Vec<u64>) -> LeaderConfig {
        LeaderConfig {
            member_id: self.member,
            cluster_id: self.cluster,
            name: format!("sim{}", self.member),
            peer_urls: vec![peer_url(self.member)],
            client_urls: vec![format!("http://sim{}:2379", self.member)],
            partition: self.partition,
            seed,
            heartbeat: HEARTBEAT,
            election_timeout: ELECTION_TIMEOUT,
            quota: state::Quota::Unlimited,
            txn_ops_max: 128,
            retention: Retention::Everything,
            checkpoint: self.checkpoint,
            log_segments,
            version: self.server,
            version_min: self.oldest,
            checks: self.checks,
            downgrade_check: Duration::from_secs(5),
            founding: self.founding.clone(),
            reconfig: self.reconfig,
            learners_max: LEARNERS_MAX,
            learner_ready_percent: self.learner_ready_percent,
            restart: self.restart,
            window_bytes: self.window_bytes,
            log: self.log,
        }
    }

    /// For each shard.
    pub fn shards(&self) -> Vec<ShardConfig> {
        (0..self.partition.shards).map(|id| self.shard(id)).collect()
    }

    fn shard(&self, id: u16) -> ShardConfig {
        ShardConfig {
            id: ShardId(id),
            partition: self.partition,
            member_id: self.member,
            cluster_id: self.cluster,
            request_bytes_max: 1_572_864,
            txn_ops_max: 128,
            cache_bytes: self.cache_bytes,
            watch: watch::Options {
                cluster_id: self.cluster,
                member_id: self.member,
                reply_bytes_max: self.watch_reply_bytes,
                stream_bytes_max: self.watch_stream_bytes,
                copy_bytes_max: 4 << 20,
                history_bytes_max: 256 << 10,
                jobs_max: 8,
                job_watchers_max: 1024,
                watchers_max: 1000,
                progress_interval: self.progress_interval,
                seed: u64::from(id),
            },
            request_timeout: self.request_timeout,
        }
    }
}

/// A new cluster of these.
pub fn founded_by(members: &[u64]) -> Founding {
    Founding::New(members.iter().copied().map(founder).collect())
}

fn founder(id: u64) -> Member {
    Member {
        id,
        name: String::new(),
        peer_urls: vec![peer_url(id)],
        client_urls: Vec::new(),
        role: MemberRole::Voter,
    }
}

/// Where peers reach the machine of this number.
pub fn peer_url(member: u64) -> String {
    format!("http://sim{member}:2380")
}
