//! Owns leases: what every member agrees on (id, granted and remaining seconds, attached keys) and,
//! on the leader only, when each one ends. Never deletes a key and never asks for the time.
//! Invariant: the replicated half is a function of the log; deadlines exist only while primary;
//! a lease is proposed for expiry at most once per leadership and is not renewed after that.
//!
//! ```text
//!   (granted) --start--> Running --poll_expired--> Proposed --revoke applied--> (gone)
//!       ^                  |  ^ keep_alive              |
//!       +----- demote -----+  +------ withdraw ---------+   (the proposal was not logged)
//!                             +-- unpark <-- park ------+   (it was, but an alarm refused it)
//! ```
//! Renewing touches the lease alone: its entry in the expiry queue stays where it was and moves on
//! when it comes up. So a renewal is one lookup, and each lease is requeued once per life.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::Instant;

use crate::head::Slot;

mod local;
#[cfg(test)]
mod tests;

pub use local::{KeepAlive, LeaseStatus};

/// Longest time that can be asked for, in seconds (etcd).
pub const LEASE_TTL_S_MAX: i64 = 9_000_000_000;
/// Most leases that one poll proposes to revoke, and that one log entry revokes.
pub const LEASES_EXPIRED_MAX: usize = 1000;
/// Most checkpoints in one log entry.
pub const LEASE_CHECKPOINTS_MAX: usize = 1000;

/// Whether the leader writes the remaining seconds of long leases to the log now and then, so
/// that a new leader does not start them over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointPolicy {
    /// A new leader starts every lease over at its granted seconds.
    Off,
    /// Leases granted for longer than this are written each time it passes (etcd: 5 minutes).
    Every(Duration),
}

/// A lease's remaining seconds, on their way through the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseCheckpoint {
    /// Which lease.
    pub id: i64,
    /// Seconds left; 0 means all of the granted ones again.
    pub remaining_s: i64,
}

/// What every member knows of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Seconds granted.
    pub ttl_s: i64,
    /// Seconds left at the last checkpoint; 0 if there was none since the last renewal.
    pub remaining_s: i64,
}

/// All leases of the cluster.
pub struct Leases {
    by_id: BTreeMap<i64, Lease>,
    attached: BTreeSet<(i64, Slot)>,
    policy: CheckpointPolicy,
    role: Role,
    /// Granted while primary, but not yet told the time.
    fresh: Vec<i64>,
    /// Proposed, and refused by an alarm that still is on.
    parked: Vec<i64>,
    /// One entry per running lease, at or before its deadline.
    expiry: BTreeSet<(Instant, i64)>,
    /// One entry per lease that is due for a checkpoint some day.
    checkpoints: BTreeSet<(Instant, i64)>,
}

struct Lease {
    granted: Granted,
    stage: Stage,
    deadline: Instant,
    /// The lease's place in `expiry`.
    queued: Instant,
    /// The lease's place in `checkpoints`; zero for none.
    checkpoint_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No deadline: we are not primary, or have not been told the time since the grant.
    Waiting,
    /// Has a deadline, and one entry in `expiry`.
    Running,
    /// Its end is in the log or on the way there.
    Proposed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Primary,
    Follower,
}

const _: () = assert!(size_of::<Lease>() <= 48);

/// The replicated half: called by the sequencer alone, in log order.
impl Leases {
    /// No leases, as a follower.
    pub fn new(policy: CheckpointPolicy) -> Leases {
        Leases {
            by_id: BTreeMap::new(),
            attached: BTreeSet::new(),
            policy,
            role: Role::Follower,
            fresh: Vec::new(),
            parked: Vec::new(),
            expiry: BTreeSet::new(),
            checkpoints: BTreeSet::new(),
        }
    }

    /// Number of leases.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is no lease.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// What every member knows of a lease.
    pub fn get(&self, id: i64) -> Option<Granted> {
        self.by_id.get(&id).map(|lease| lease.granted)
    }

    /// Whether the lease exists.
    pub fn contains(&self, id: i64) -> bool {
        self.by_id.contains_key(&id)
    }

    /// All leases, by id.
    pub fn iter(&self) -> impl Iterator<Item = (i64, Granted)> + '_ {
        self.by_id.iter().map(|(id, lease)| (*id, lease.granted))
    }

    /// The places of the attached keys, in no order that means anything.
    pub fn attached(&self, id: i64) -> impl Iterator<Item = Slot> + '_ {
        let mine = (id, Slot::FIRST)..=(id, Slot::LAST);
        self.attached.range(mine).map(|(_, slot)| *slot)
    }

    pub(crate) fn grant(&mut self, id: i64, granted: Granted) {
        assert_ne!(id, 0);
        let zero = Instant::default();
        let stage = Stage::Waiting;
        let lease = Lease { granted, stage, deadline: zero, queued: zero, checkpoint_at: zero };
        let replaced = self.by_id.insert(id, lease);
        assert!(replaced.is_none(), "the sequencer looked first");
        if self.role == Role::Primary {
            self.fresh.push(id);
        }
    }

    /// Forgets a lease whose keys were detached before.
    pub(crate) fn remove(&mut self, id: i64) {
        let lease = self.by_id.remove(&id).unwrap_or_else(|| unreachable!("lease {id} looked up"));
        assert!(self.attached(id).next().is_none());
        if lease.stage == Stage::Running {
            let queued = self.expiry.remove(&(lease.queued, id));
            assert!(queued);
        }
        self.checkpoints.remove(&(lease.checkpoint_at, id));
    }

    pub(crate) fn attach(&mut self, id: i64, slot: Slot) {
        assert!(self.contains(id));
        let new = self.attached.insert((id, slot));
        assert!(new);
    }

    pub(crate) fn detach(&mut self, id: i64, slot: Slot) {
        let there = self.attached.remove(&(id, slot));
        assert!(there);
    }

    /// Notes the remaining seconds; false if there is no such lease any more.
    pub(crate) fn checkpoint(&mut self, checkpoint: LeaseCheckpoint) -> Option<Granted> {
        let lease = self.by_id.get_mut(&checkpoint.id)?;
        lease.granted.remaining_s = checkpoint.remaining_s;
        Some(lease.granted)
    }
}
