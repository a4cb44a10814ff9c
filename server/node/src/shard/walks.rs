//! Owns the walks under way at a shard, and whose they are: hashes and snapshots. Reads only
//! through slices, here and at other shards. Invariant: a walk does a bounded piece of work in a
//! turn, and ends with its caller's leaving.

use std::collections::BTreeMap;

use base::SliceId;
use slice::ReadResult;

use super::hash::{HashJob, Turn};
use super::ship::ShipJob;
use super::snapshot::SnapshotJob;
use super::walk::{CompactedAway, Course, Walk};
use super::{Shard, ShardEffect};
use crate::message::CallId;

/// Names one walk of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WalkId(u64);

/// What a walk is for.
#[derive(Debug)]
pub enum Errand {
    /// A hash of the store.
    Hash(Box<HashJob>),
    /// A snapshot on its way to a client.
    Snapshot(Box<SnapshotJob>),
    /// The store on its way to a peer.
    Ship(Box<ShipJob>),
}

#[derive(Debug)]
struct Walking {
    walk: Walk,
    errand: Errand,
}

/// All walks of a shard.
#[derive(Debug)]
pub struct Walks {
    by_id: BTreeMap<WalkId, Walking>,
    next: u64,
}

impl Walks {
    /// None yet.
    pub fn new() -> Walks {
        Walks { by_id: BTreeMap::new(), next: 0 }
    }

    /// Is a hash under way?
    pub fn hashes(&self) -> bool {
        self.by_id.values().any(|walking| matches!(walking.errand, Errand::Hash(_)))
    }

    /// Snapshots under way.
    pub fn snapshots(&self) -> usize {
        let is_snapshot = |walking: &&Walking| matches!(walking.errand, Errand::Snapshot(_));
        self.by_id.values().filter(is_snapshot).count()
    }
}

impl Errand {
    fn call(&self) -> Option<CallId> {
        match self {
            Errand::Hash(job) => Some(job.call()),
            Errand::Snapshot(job) => Some(job.call()),
            Errand::Ship(_) => None,
        }
    }
}

impl Shard {
    /// Begins a walk over all keys.
    pub(super) fn start_walk(&mut self, course: Course, errand: Errand) {
        let slices: Vec<SliceId> = self.config.partition.key_slices().collect();
        let walk = Walk::new(course, &slices);
        self.walks.next += 1;
        self.walks.by_id.insert(WalkId(self.walks.next), Walking { walk, errand });
    }

    /// The client of a call left.
    pub(super) fn forget_walk(&mut self, call: CallId) {
        self.walks.by_id.retain(|_, walking| walking.errand.call() != Some(call));
        self.hash_queue.retain(|ask| ask.call != call);
    }

    /// Works on every walk, and begins hashes that wait.
    pub(super) fn pump_walks(&mut self) {
        self.next_hash();
        let ids: Vec<WalkId> = self.walks.by_id.keys().copied().collect();
        for id in ids {
            self.pump_walk(id);
        }
    }

    fn pump_walk(&mut self, id: WalkId) {
        let Some(Walking { mut walk, mut errand }) = self.walks.by_id.remove(&id) else { return };
        let turn = match &mut errand {
            Errand::Hash(job) => job.turn(&mut walk),
            Errand::Snapshot(job) => self.snapshot_turn(job, &mut walk),
            Errand::Ship(job) => self.ship_turn(job, &mut walk),
        };
        match (turn, &errand) {
            (Turn::Done, Errand::Hash(job)) => return self.hashed(job),
            (Turn::Done, Errand::Snapshot(_) | Errand::Ship(_)) => return,
            (Turn::More, _) => self.busy = true,
            (Turn::Parked, _) => {}
            (Turn::Waits, _) => {
                for (slice, request) in walk.asks() {
                    let read = self.name_walk_read(id);
                    self.send_read(read, slice, request);
                }
            }
        }
        self.walks.by_id.insert(id, Walking { walk, errand });
    }

    /// A slice answered a walk.
    pub(super) fn walk_done(&mut self, id: WalkId, slice: SliceId, result: ReadResult) {
        // Its caller may have left meanwhile.
        let Some(walking) = self.walks.by_id.get_mut(&id) else { return };
        // Work goes on in this or the next turn.
        self.busy = true;
        let Err(CompactedAway { compact }) = walking.walk.supply(slice, result) else { return };
        self.facts.compact_revision = self.facts.compact_revision.max(compact);
        let Walking { errand, .. } = self.walks.by_id.remove(&id).expect("found a moment ago");
        match errand {
            Errand::Hash(job) => self.hash_compacted(&job),
            Errand::Snapshot(job) => self.snapshot_compacted(&job),
            Errand::Ship(job) => self.ship_compacted(&job),
        }
    }

    /// Another piece of a store may go to a peer.
    pub(super) fn ship_more(&mut self, transfer: u64) {
        for walking in self.walks.by_id.values_mut() {
            if let Errand::Ship(job) = &mut walking.errand
                && job.transfer() == transfer
            {
                job.allow();
                self.busy = true;
            }
        }
    }

    /// Nobody wants it any more.
    pub(super) fn ship_stop(&mut self, transfer: u64) {
        self.walks.by_id.retain(|_, walking| match &walking.errand {
            Errand::Ship(job) => job.transfer() != transfer,
            Errand::Hash(_) | Errand::Snapshot(_) => true,
        });
    }

    /// The member stops: hashes are told here, snapshots as the streams that they are.
    pub(super) fn stop_walks(&mut self, error: &wire::ApiError) {
        let calls = self.walks.by_id.values().filter_map(|walking| match &walking.errand {
            Errand::Hash(job) => Some(job.call()),
            Errand::Snapshot(_) | Errand::Ship(_) => None,
        });
        let waiting = self.hash_queue.iter().map(|ask| ask.call);
        let error = wire::Status::from(error.clone());
        let fail = |call| ShardEffect::Fail { call, error: error.clone() };
        self.out.extend(calls.chain(waiting).map(fail));
        self.walks.by_id.clear();
        self.hash_queue.clear();
    }
}
