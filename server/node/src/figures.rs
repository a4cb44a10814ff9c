//! Owns the figures that machines keep of themselves: counters and histograms with fixed bounds, as
//! plain values that are added up across cores.
//! Never looks at a clock and never prints. Invariant: a counter only grows, and the classes of a
//! histogram count every observation once.

use std::collections::BTreeMap;
use std::time::Duration;

use base::Instant;

/// Nanoseconds of a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// Bounds that double, from `first`.
pub const fn doubling<const N: usize>(first: u64) -> [u64; N] {
    let mut bounds = [first; N];
    let mut at = 1;
    while at < N {
        bounds[at] = bounds[at - 1] * 2;
        at += 1;
    }
    bounds
}

/// Stages of a request, in nanoseconds: 1 microsecond to 2 seconds.
pub static STAGE_NS: [u64; 22] = doubling(1_000);
/// What a disk takes, in nanoseconds: etcd's 1 millisecond to 8 seconds.
pub static DISK_NS: [u64; 14] = doubling(1_000_000);
/// Time to live of leases, in seconds: etcd's 1 second to 97 days.
pub static TTL_S: [u64; 24] = doubling(1);
/// What a call takes, in nanoseconds: the bounds that gRPC's own metrics have by default.
pub static CALL_NS: [u64; 11] = [
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Observations by class. A class reaches up to its bound, inclusive; one more has no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    bounds: &'static [u64],
    counts: Vec<u64>,
    sum: u64,
}

impl Histogram {
    /// Nothing observed yet. `bounds` rise.
    pub fn new(bounds: &'static [u64]) -> Histogram {
        assert!(bounds.is_sorted());
        Histogram { bounds, counts: vec![0; bounds.len() + 1], sum: 0 }
    }

    /// What somebody else counted in the same classes.
    pub fn of(bounds: &'static [u64], counts: &[u64], sum: u64) -> Histogram {
        assert_eq!(counts.len(), bounds.len() + 1);
        Histogram { bounds, counts: counts.to_vec(), sum }
    }

    /// Counts one value, in the unit of the bounds.
    pub fn observe(&mut self, value: u64) {
        let class = self.bounds.partition_point(|bound| *bound < value);
        self.counts[class] += 1;
        self.sum = self.sum.wrapping_add(value);
    }

    /// Counts a time; bounds are nanoseconds.
    pub fn observe_time(&mut self, time: Duration) {
        self.observe(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts the time between two moments; bounds are nanoseconds.
    pub fn observe_between(&mut self, from: Instant, to: Instant) {
        self.observe(to.0.saturating_sub(from.0));
    }

    /// Adds another core's observations of the same thing.
    pub fn add(&mut self, other: &Histogram) {
        assert_eq!(self.bounds, other.bounds);
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// Each bound with the number of observations up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut so_far = 0;
        self.bounds.iter().zip(&self.counts).map(move |(bound, count)| {
            so_far += count;
            (*bound, so_far)
        })
    }

    /// The number of observations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of observations.
    pub fn sum(&self) -> u64 {
        self.sum
    }
}

/// What the leader counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderCounts {
    /// Times that a leader was seen that was not the leader before.
    pub leader_changes: u64,
    /// Heartbeats that a leader sent more than two intervals after the ones before.
    pub heartbeats_late: u64,
    /// Learners that this leader made voters.
    pub promotions: u64,
    /// Learners that this leader would not make voters, by the reason as etcd names it.
    pub promotions_refused: BTreeMap<String, u64>,
    /// Commands lost with a term.
    pub proposals_lost: u64,
    /// Entries that took longer than [`APPLY_SLOW`] to decide.
    pub applies_slow: u64,
    /// Read rounds that were not confirmed in time and asked again.
    pub rounds_slow: u64,
    /// Keys put.
    pub puts: u64,
    /// Bytes of their keys and values.
    pub put_bytes: u64,
    /// Deletes of a range, and keys deleted with their lease.
    pub deletes: u64,
    /// Transactions of more than one operation.
    pub txns: u64,
    /// Leases granted.
    pub leases_granted: u64,
    /// Leases revoked, by their clients or by time.
    pub leases_revoked: u64,
    /// Leases revoked by time.
    pub leases_expired: u64,
    /// Bytes given to the log's files.
    pub log_bytes: u64,
    /// Entries read back from the log's files for peers that lag.
    pub entries_fetched: u64,
    /// Bytes of their data.
    pub bytes_fetched: u64,
    /// Whole stores that were begun to be sent to peers.
    pub stores_sent: u64,
    /// Seconds of leases granted, in [`TTL_S`].
    pub lease_ttl: Histogram,
    /// A command's arrival to its entry, in [`STAGE_NS`].
    pub queue: Histogram,
    /// A flush of the log, in [`STAGE_NS`].
    pub log: Histogram,
    /// A flush of the log, in [`DISK_NS`].
    pub log_disk: Histogram,
    /// A checkpoint from its marker to its manifest, in [`DISK_NS`].
    pub checkpoint: Histogram,
}

/// Deciding an entry takes longer only when values have to be fetched from a busy disk (etcd's
/// limit for a slow apply).
pub const APPLY_SLOW: Duration = Duration::from_millis(100);

impl LeaderCounts {
    /// All zero.
    pub fn new() -> LeaderCounts {
        LeaderCounts {
            leader_changes: 0,
            heartbeats_late: 0,
            promotions: 0,
            promotions_refused: BTreeMap::new(),
            proposals_lost: 0,
            applies_slow: 0,
            rounds_slow: 0,
            puts: 0,
            put_bytes: 0,
            deletes: 0,
            txns: 0,
            leases_granted: 0,
            leases_revoked: 0,
            leases_expired: 0,
            log_bytes: 0,
            entries_fetched: 0,
            bytes_fetched: 0,
            stores_sent: 0,
            lease_ttl: Histogram::new(&TTL_S),
            queue: Histogram::new(&STAGE_NS),
            log: Histogram::new(&STAGE_NS),
            log_disk: Histogram::new(&DISK_NS),
            checkpoint: Histogram::new(&DISK_NS),
        }
    }

    /// A flush was submitted and became durable.
    pub fn flushed(&mut self, from: Instant, to: Instant) {
        self.log.observe_between(from, to);
        self.log_disk.observe_between(from, to);
    }
}

impl Default for LeaderCounts {
    fn default() -> LeaderCounts {
        LeaderCounts::new()
    }
}

/// What the leader counted, and where it stands.
#[derive(Clone, Debug)]
pub struct LeaderFigures {
    /// Counters.
    pub counts: LeaderCounts,
    /// Our id.
    pub member_id: u64,
    /// The leader's id, 0 for none.
    pub leader: u64,
    /// Whether this member has no vote yet.
    pub is_learner: bool,
    /// Whether a store that came from a peer is taking the place of ours.
    pub is_installing: bool,
    /// Highest committed index.
    pub committed: u64,
    /// Highest applied index.
    pub applied: u64,
    /// Commands without an outcome.
    pub proposals_pending: u64,
    /// Revision of the store.
    pub revision: i64,
    /// Compact revision; -1 for never.
    pub compact_revision: i64,
    /// Live keys.
    pub keys: u64,
    /// Log segments that are kept for peers alone.
    pub segments_kept: u64,
    /// Bytes of all slices' files.
    pub file_bytes: u64,
    /// Bytes in use in them.
    pub used_bytes: u64,
    /// Limit of the store's size; 0 for none.
    pub quota_bytes: u64,
    /// Member and type of each active alarm.
    pub alarms: Vec<(u64, i32)>,
    /// The cluster's version, once it is known.
    pub cluster_version: Option<wire::peer::Version>,
}

/// What a shard counts, and where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardFigures {
    /// Ranges read for clients, also within transactions.
    pub ranges: u64,
    /// Reads that never got their read point.
    pub reads_failed: u64,
    /// Commands without an outcome within the server's limit.
    pub proposals_failed: u64,
    /// Leases renewed.
    pub leases_renewed: u64,
    /// Events sent to watchers.
    pub events: u64,
    /// Watchers, now.
    pub watchers: u64,
    /// Watchers that read history, now.
    pub watchers_slow: u64,
    /// Watch streams, now.
    pub watch_streams: u64,
    /// Reads under way in slices, now.
    pub reads_open: u64,
    /// Pins on the past in slices, now.
    pub pins: u64,
}

impl ShardFigures {
    /// Adds another shard's.
    pub fn add(&mut self, other: &ShardFigures) {
        self.ranges += other.ranges;
        self.reads_failed += other.reads_failed;
        self.proposals_failed += other.proposals_failed;
        self.leases_renewed += other.leases_renewed;
        self.events += other.events;
        self.watchers += other.watchers;
        self.watchers_slow += other.watchers_slow;
        self.watch_streams += other.watch_streams;
        self.reads_open += other.reads_open;
        self.pins += other.pins;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_class() {
        let mut histogram = Histogram::new(&STAGE_NS);
        for value in [0, 1_000, 1_001, 2_000, u64::MAX] {
            histogram.observe(value);
        }
        let classes: Vec<(u64, u64)> = histogram.cumulative().take(3).collect();
        assert_eq!(classes, vec![(1_000, 2), (2_000, 4), (4_000, 4)]);
        assert_eq!(histogram.count(), 5, "one lies above every bound");
    }

    #[test]
    fn figures_of_cores_add_up() {
        let mut one = Histogram::new(&DISK_NS);
        one.observe_time(Duration::from_millis(3));
        let mut other = Histogram::new(&DISK_NS);
        other.observe_between(Instant(5), Instant(1_000_005));
        one.add(&other);
        assert_eq!((one.count(), one.sum()), (2, 4_000_000));
        assert_eq!(one.cumulative().next(), Some((1_000_000, 1)));
    }

    #[test]
    fn bounds_are_those_that_dashboards_know() {
        assert_eq!(DISK_NS.last(), Some(&8_192_000_000));
        assert_eq!(TTL_S.last(), Some(&(1 << 23)));
        assert_eq!(STAGE_NS.last(), Some(&2_097_152_000));
    }
}
