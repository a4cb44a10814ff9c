//! Owns the step from settings to what each machine is told.
//! Never reads a flag. Invariant: what the data directory says about the member wins over flags.

use std::path::Path;

use base::limits::{LOG_SEGMENTS_KEPT_MAX, LOG_SEGMENTS_TOLD_MAX, REQUEST_OVERHEAD_BYTES};
use bytes::Bytes;
use node::leader::checkpoint::CheckpointPolicy;
use node::leader::checks::{AtStart, CheckPolicy};
use node::leader::compactor::Retention;
use node::manifest::{Manifest, SLOT_BYTES};
use node::shard::Partition;
use node::{Founding, LeaderConfig, LogPolicy, Reconfig, Restart, ShardConfig, ShardId};
use settings::{AutoCompaction, Quota, Settings};
use wire::peer::Version;

/// The etcd version that we serve.
pub const VERSION: &str = "3.7.1";
/// The oldest cluster version that we take part in.
pub const CLUSTER_VERSION_MIN: &str = "3.7.0";

/// Entries kept in memory for peers that lag.
const WINDOW_BYTES: usize = 32 << 20;

/// Who the member is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: u64,
    /// The member.
    pub member_id: u64,
    /// How keys are dealt.
    pub partition: Partition,
}

/// What the data directory says about the member.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Who.
    pub who: Identity,
    /// Whether it has heard who the members of its cluster are.
    pub knows_members: bool,
}

/// What the data directory says about the member, if it has been used before. What cannot be read
/// is left to the leader, which says what is wrong.
pub fn known(manifest: &Path, shards: u16) -> Option<Known> {
    let mut bytes = std::fs::read(manifest).ok()?;
    bytes.resize(2 * SLOT_BYTES, 0);
    let manifest = Manifest::choose(&Bytes::from(bytes)).ok()?;
    let slices = u16::try_from(manifest.roots.len()).ok()?.checked_sub(1)?;
    let who = Identity {
        cluster_id: manifest.cluster_id,
        member_id: manifest.member_id,
        partition: Partition::new(slices, shards),
    };
    let knows_members = !manifest.voters.is_empty() || !manifest.learners.is_empty();
    Some(Known { who, knows_members })
}

/// One of our own versions.
pub fn version(text: &str) -> Version {
    Version::parse(text).expect("our own version")
}

/// What the leader is told.
pub fn leader(
    settings: &Settings,
    who: Identity,
    founding: Founding,
    log_segments: Vec<u64>,
    seed: u64,
) -> LeaderConfig {
    LeaderConfig {
        member_id: who.member_id,
        cluster_id: who.cluster_id,
        name: settings.name.clone(),
        peer_urls: settings.advertise.peer.iter().map(ToString::to_string).collect(),
        client_urls: settings.advertise.client.iter().map(ToString::to_string).collect(),
        partition: who.partition,
        seed,
        heartbeat: settings.timing.heartbeat,
        election_timeout: settings.timing.election,
        quota: match settings.limits.quota {
            Quota::Off => state::Quota::Unlimited,
            Quota::Bytes(bytes) => state::Quota::Bytes(bytes),
        },
        txn_ops_max: settings.limits.txn_ops,
        retention: match settings.compaction {
            AutoCompaction::Off => Retention::Everything,
            AutoCompaction::Periodic(period) => Retention::Period(period),
            AutoCompaction::Revision(keep) => {
                Retention::Revisions(i64::try_from(keep).unwrap_or(i64::MAX))
            }
        },
        checkpoint: CheckpointPolicy {
            interval: settings.checkpoint.interval,
            log_bytes: settings.checkpoint.log_bytes,
        },
        log_segments,
        version: version(VERSION),
        version_min: version(CLUSTER_VERSION_MIN),
        checks: CheckPolicy {
            at_start: match settings.checks.at_start {
                true => AtStart::Compare,
                false => AtStart::Serve,
            },
            every: settings.checks.every,
            compactions_every: settings.checks.compactions_every,
        },
        downgrade_check: settings.checks.downgrade,
        founding,
        restart: match settings.cluster.force_new {
            true => Restart::Alone,
            false => Restart::WithCluster,
        },
        reconfig: match settings.cluster.strict_reconfig {
            true => Reconfig::Strict,
            false => Reconfig::Lenient,
        },
        learners_max: settings.cluster.learners_max as usize,
        learner_ready_percent: node::leader::LEARNER_READY_PERCENT,
        window_bytes: WINDOW_BYTES,
        log: log(settings),
    }
}

/// The segments that stay for followers: so many as the setting says, more for one that is there.
fn log(settings: &Settings) -> LogPolicy {
    let segments_kept = match settings.checkpoint.segments_kept {
        0 => LOG_SEGMENTS_TOLD_MAX,
        some => usize::try_from(some).unwrap_or(usize::MAX).min(LOG_SEGMENTS_TOLD_MAX),
    };
    let segments_kept_max = segments_kept.max(LOG_SEGMENTS_KEPT_MAX);
    LogPolicy { segments_kept, segments_kept_max, ..LogPolicy::STANDARD }
}

/// What one shard is told.
pub fn shard(settings: &Settings, who: Identity, id: ShardId, seed: u64) -> ShardConfig {
    let cache_bytes = settings.cores.cache_bytes / u64::from(who.partition.slices_in_all());
    let election = settings.timing.election;
    ShardConfig {
        id,
        partition: who.partition,
        member_id: who.member_id,
        cluster_id: who.cluster_id,
        request_bytes_max: settings.limits.request_bytes,
        txn_ops_max: settings.limits.txn_ops,
        cache_bytes,
        watch: watch::Options {
            cluster_id: who.cluster_id,
            member_id: who.member_id,
            reply_bytes_max: (settings.limits.request_bytes + REQUEST_OVERHEAD_BYTES) as usize,
            stream_bytes_max: 1 << 20,
            copy_bytes_max: 4 << 20,
            history_bytes_max: 256 << 10,
            jobs_max: 8,
            job_watchers_max: 1024,
            watchers_max: 10_000_000,
            progress_interval: settings.watch_progress_gap,
            seed,
        },
        // etcd's: five seconds and two election timeouts.
        request_timeout: std::time::Duration::from_secs(5) + 2 * election,
    }
}

/// What the network is told.
pub fn network(settings: &Settings) -> sock::Options {
    let limits = &settings.limits;
    let zero = std::time::Duration::ZERO;
    sock::Options {
        message_bytes_max: limits.request_bytes + REQUEST_OVERHEAD_BYTES,
        http_body_bytes_max: 2 * (limits.request_bytes + REQUEST_OVERHEAD_BYTES),
        concurrent_streams_max: limits.streams,
        ping_interval_min: settings.keepalive.client_gap_min,
        keepalive_interval: settings.keepalive.server_gap.unwrap_or(zero),
        keepalive_timeout: settings.keepalive.server_wait.unwrap_or(zero),
        ..sock::Options::as_etcd()
    }
}
