//! Owns the half of the leases that only the leader has: deadlines, renewals, expiry and
//! checkpoints, driven by the time it is told.
//! Never changes what members agree on: it proposes, the log decides.

use std::collections::BTreeSet;
use std::time::Duration;

use base::Instant;

use super::{
    CheckpointPolicy, Granted, LEASE_CHECKPOINTS_MAX, LEASES_EXPIRED_MAX, Lease, LeaseCheckpoint,
    Leases, Role, Stage,
};

/// The answer to a keep-alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// Renewed; the reply's TTL. A checkpoint, if given, must go through the log so that the next
    /// leader does not use the older one.
    Renewed {
        /// Seconds granted.
        ttl_s: i64,
        /// What to propose, if anything.
        checkpoint: Option<LeaseCheckpoint>,
    },
    /// Its time is over. Reply (with TTL 0) once the revoke has been applied, so that nobody
    /// hears of the end before the keys are gone.
    Expired,
    /// No such lease: reply with TTL 0.
    Unknown,
    /// Not the leader: ask the leader.
    NotPrimary,
}

/// The answer to a question after a lease's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseStatus {
    /// Whole seconds left, rounded down, never negative.
    pub remaining_s: i64,
    /// Seconds granted.
    pub granted_ttl_s: i64,
}

impl Leases {
    /// Whether we are the one that watches the time.
    pub fn is_primary(&self) -> bool {
        self.role == Role::Primary
    }

    /// Starts every lease, at what its last checkpoint left or else at all of its seconds, plus
    /// `extend` (etcd: the election timeout).
    ///
    /// Call it when the first entry of our own term has been applied, not before: an older
    /// leader's revokes that still are in the log must not meet a lease that we renewed.
    pub fn promote(&mut self, now: Instant, extend: Duration) {
        self.role = Role::Primary;
        self.fresh.clear();
        self.parked.clear();
        let mut expiry = Vec::with_capacity(self.by_id.len());
        let mut checkpoints = Vec::new();
        for (id, lease) in &mut self.by_id {
            let left_s = lease.granted.left_s();
            lease.run_until(now + extend + seconds(left_s));
            lease.checkpoint_at = next_checkpoint(self.policy, now, lease.granted);
            expiry.push((lease.queued, *id));
            if lease.checkpoint_at > Instant::default() {
                checkpoints.push((lease.checkpoint_at, *id));
            }
        }
        // Sorting once and building in bulk takes a quarter of the time of inserting one by one.
        self.expiry = BTreeSet::from_iter(expiry);
        self.checkpoints = BTreeSet::from_iter(checkpoints);
    }

    /// Stops watching the time.
    pub fn demote(&mut self) {
        self.role = Role::Follower;
        self.fresh = Vec::new();
        self.parked = Vec::new();
        self.expiry = BTreeSet::new();
        self.checkpoints = BTreeSet::new();
        for lease in self.by_id.values_mut() {
            lease.stage = Stage::Waiting;
            lease.checkpoint_at = Instant::default();
        }
    }

    /// Starts the leases that were granted since we last were told the time. They were granted
    /// before now, so none of them ends too early.
    pub fn start(&mut self, now: Instant) {
        for id in std::mem::take(&mut self.fresh) {
            let policy = self.policy;
            let Some(lease) = self.by_id.get_mut(&id) else { continue };
            if lease.stage != Stage::Waiting {
                continue; // Granted, revoked and granted again: named twice.
            }
            let left_s = lease.granted.left_s();
            lease.run_until(now + seconds(left_s));
            lease.checkpoint_at = next_checkpoint(policy, now, lease.granted);
            self.expiry.insert((lease.queued, id));
            if lease.checkpoint_at > Instant::default() {
                self.checkpoints.insert((lease.checkpoint_at, id));
            }
        }
    }

    /// Renews a lease to its granted seconds. The caller made sure, after the request came in,
    /// that we still lead.
    pub fn keep_alive(&mut self, now: Instant, id: i64) -> KeepAlive {
        if self.role != Role::Primary {
            return KeepAlive::NotPrimary;
        }
        self.start(now);
        let policy = self.policy;
        let Some(lease) = self.by_id.get_mut(&id) else { return KeepAlive::Unknown };
        if lease.stage == Stage::Proposed || lease.deadline <= now {
            return KeepAlive::Expired;
        }
        let ttl_s = lease.granted.ttl_s;
        lease.deadline = lease.deadline.max(now + seconds(ttl_s));
        let stale = policy != CheckpointPolicy::Off && lease.granted.remaining_s > 0;
        let checkpoint = stale.then_some(LeaseCheckpoint { id, remaining_s: 0 });
        KeepAlive::Renewed { ttl_s, checkpoint }
    }

    /// Time of one lease; `None` if there is none or we are not primary ([`Leases::is_primary`]).
    pub fn status(&mut self, now: Instant, id: i64) -> Option<LeaseStatus> {
        self.start(now);
        let lease = self.by_id.get(&id)?;
        match lease.stage {
            Stage::Waiting => None,
            Stage::Running | Stage::Proposed => Some(LeaseStatus {
                remaining_s: i64::try_from(lease.deadline.since(now).as_secs()).unwrap_or(i64::MAX),
                granted_ttl_s: lease.granted.ttl_s,
            }),
        }
    }

    /// All ids, the first to end first. A member that is not primary knows no times: by id.
    pub fn ids_by_expiry(&mut self, now: Instant) -> Vec<i64> {
        self.start(now);
        let mut all: Vec<_> =
            self.by_id.iter().map(|(id, lease)| (lease.deadline_if_known(), *id)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, id)| id).collect()
    }

    /// Leases whose time is over, at most [`LEASES_EXPIRED_MAX`]: the caller proposes one
    /// `LeasesExpired` command for them. None is returned twice while we lead, unless
    /// [`Leases::withdraw`] says that the proposal came to nothing.
    pub fn poll_expired(&mut self, now: Instant) -> Vec<i64> {
        self.start(now);
        let mut over = Vec::new();
        while over.len() < LEASES_EXPIRED_MAX {
            let Some(&(queued, id)) = self.expiry.first() else { break };
            if queued > now {
                break;
            }
            self.expiry.pop_first();
            let lease = self.by_id.get_mut(&id).unwrap_or_else(|| unreachable!("queued: {id}"));
            assert_eq!(lease.stage, Stage::Running);
            if lease.deadline <= now {
                lease.stage = Stage::Proposed;
                over.push(id);
            } else {
                lease.queued = lease.deadline;
                self.expiry.insert((lease.queued, id));
            }
        }
        over
    }

    /// Takes back what [`Leases::poll_expired`] gave out: the proposal did not get into the log
    /// and never will. The leases stay over and come up again.
    pub fn withdraw(&mut self, ids: &[i64]) {
        for id in ids {
            let Some(lease) = self.by_id.get_mut(id) else { continue };
            if lease.stage == Stage::Proposed {
                lease.run_until(lease.deadline);
                self.expiry.insert((lease.queued, *id));
            }
        }
    }

    /// The log refused to end these: they wait until what refused them is over.
    pub(crate) fn park(&mut self, ids: &[i64]) {
        let proposed =
            |id: &i64| self.by_id.get(id).is_some_and(|lease| lease.stage == Stage::Proposed);
        self.parked.extend(ids.iter().filter(|id| proposed(id)));
    }

    /// What was parked comes up again.
    pub(crate) fn unpark(&mut self) {
        let parked = std::mem::take(&mut self.parked);
        self.withdraw(&parked);
    }

    /// Checkpoints that are due, at most [`LEASE_CHECKPOINTS_MAX`], for one `LeaseCheckpoint`
    /// command.
    pub fn poll_checkpoints(&mut self, now: Instant) -> Vec<LeaseCheckpoint> {
        self.start(now);
        let mut due = Vec::new();
        while due.len() < LEASE_CHECKPOINTS_MAX {
            let Some(&(at, id)) = self.checkpoints.first() else { break };
            if at > now {
                break;
            }
            self.checkpoints.pop_first();
            let lease = self.by_id.get_mut(&id).unwrap_or_else(|| unreachable!("queued: {id}"));
            let left = lease.deadline.since(now);
            let remaining_s = i64::try_from(left.as_nanos().div_ceil(1_000_000_000)).unwrap_or(0);
            lease.checkpoint_at = next_checkpoint(self.policy, now, lease.granted);
            if lease.checkpoint_at > Instant::default() {
                self.checkpoints.insert((lease.checkpoint_at, id));
            }
            if 0 < remaining_s && remaining_s < lease.granted.ttl_s {
                due.push(LeaseCheckpoint { id, remaining_s });
            }
        }
        due
    }

    /// When to come back: the next lease that may be over or checkpoint that is due; at once if a
    /// grant waits to be told the time.
    pub fn poll_deadline(&self) -> Option<Instant> {
        if !self.fresh.is_empty() {
            return Some(Instant::default());
        }
        let expiry = self.expiry.first().map(|(at, _)| *at);
        let checkpoint = self.checkpoints.first().map(|(at, _)| *at);
        [expiry, checkpoint].into_iter().flatten().min()
    }
}

impl Granted {
    fn left_s(self) -> i64 {
        if self.remaining_s > 0 { self.remaining_s } else { self.ttl_s }
    }
}

impl Lease {
    fn run_until(&mut self, deadline: Instant) {
        self.stage = Stage::Running;
        self.deadline = deadline;
        self.queued = deadline;
    }

    fn deadline_if_known(&self) -> Option<Instant> {
        match self.stage {
            Stage::Waiting => None,
            Stage::Running | Stage::Proposed => Some(self.deadline),
        }
    }
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

/// The instant of a lease's next checkpoint, or zero if it is too short to need one.
fn next_checkpoint(policy: CheckpointPolicy, now: Instant, granted: Granted) -> Instant {
    match policy {
        CheckpointPolicy::Every(interval) if seconds(granted.ttl_s) > interval => now + interval,
        CheckpointPolicy::Every(_) | CheckpointPolicy::Off => Instant::default(),
    }
}
