//! Owns the walks under way at a shard, and whose they are: hashes and snapshots. Reads only
//! through slices, here and at other shards. Invariant: a walk does a bounded piece of work in a
//! turn, and ends with its caller's leaving.

use std::collections::BTreeMap;

use base::SliceId;
use slice::{PinId, PinTooLate, ReadResult};

use super::hash::{HashJob, Turn, Whose};
use super::pins::Holder;
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
    hold: Hold,
    pin: Option<PinId>,
}

/// How the past is kept for a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// Not at all: it begins anew if it must.
    None,
    /// Slices are being pinned.
    Asked,
    /// By its pin.
    Pinned,
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
            Errand::Hash(job) => job.call(),
            Errand::Snapshot(job) => Some(job.call()),
            Errand::Ship(_) => None,
        }
    }

    /// The compact revision as of which it reads. That is what must be kept, and nothing older can
    /// be: histories may have followed to there, and who asks for more always comes too late.
    fn compact(&self) -> i64 {
        match self {
            Errand::Hash(job) => job.compact(),
            Errand::Snapshot(job) => job.compact(),
            Errand::Ship(job) => job.compact(),
        }
    }
}

impl Shard {
    /// Begins a walk over all keys. Most hashes begin anew when a compaction passes them; for the
    /// others the past is kept.
    pub(super) fn start_walk(&mut self, course: Course, errand: Errand) {
        let slices: Vec<SliceId> = self.config.partition.key_slices().collect();
        let walk = Walk::new(course, &slices);
        self.walks.next += 1;
        let id = WalkId(self.walks.next);
        let hold = match &errand {
            Errand::Hash(job) if !job.needs_pin() => Hold::None,
            Errand::Hash(_) | Errand::Snapshot(_) | Errand::Ship(_) => Hold::Asked,
        };
        let past = errand.compact().max(0);
        self.walks.by_id.insert(id, Walking { walk, errand, hold, pin: None });
        if hold == Hold::Asked {
            let pin = self.pin(Holder::Walk(id), past);
            // Else it was too late.
            if let Some(walking) = self.walks.by_id.get_mut(&id) {
                walking.pin = Some(pin);
            }
        }
    }

    /// The past is kept for a walk, or it is too late for that.
    pub(super) fn walk_pinned(&mut self, id: WalkId, late: Option<PinTooLate>) {
        let Some(walking) = self.walks.by_id.get_mut(&id) else { return };
        match late {
            None => walking.hold = Hold::Pinned,
            Some(PinTooLate { compact }) => self.walk_compacted(id, compact),
        }
    }

    /// Lets go of a walk and of what was kept for it.
    fn end_walk(&mut self, id: WalkId) -> Option<Errand> {
        let walking = self.walks.by_id.remove(&id)?;
        if let Some(pin) = walking.pin {
            self.unpin(pin);
        }
        Some(walking.errand)
    }

    /// Lets go of all these walks.
    fn end_walks(&mut self, which: impl Fn(&Errand) -> bool) {
        let of_these = |(_, walking): &(&WalkId, &Walking)| which(&walking.errand);
        let ids = self.walks.by_id.iter().filter(of_these).map(|(id, _)| *id);
        for id in ids.collect::<Vec<WalkId>>() {
            self.end_walk(id);
        }
    }

    /// The client of a call left.
    pub(super) fn forget_walk(&mut self, call: CallId) {
        self.end_walks(|errand| errand.call() == Some(call));
        self.hash_queue.retain(|ask| ask.whose != Whose::Call(call));
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
        let Some(mut walking) = self.walks.by_id.remove(&id) else { return };
        let Walking { walk, errand, hold, .. } = &mut walking;
        let turn = match (*hold, errand) {
            (Hold::Asked, _) => Turn::Parked,
            (Hold::None | Hold::Pinned, Errand::Hash(job)) => job.turn(walk),
            (Hold::None | Hold::Pinned, Errand::Snapshot(job)) => self.snapshot_turn(job, walk),
            (Hold::None | Hold::Pinned, Errand::Ship(job)) => self.ship_turn(job, walk),
        };
        let asks = if turn == Turn::Waits { walk.asks() } else { Vec::new() };
        self.walks.by_id.insert(id, walking);
        match turn {
            Turn::Done => match self.end_walk(id).expect("it was put back just now") {
                Errand::Hash(job) => self.hashed(&job),
                Errand::Snapshot(_) | Errand::Ship(_) => {}
            },
            Turn::More => self.busy = true,
            Turn::Parked | Turn::Waits => {}
        }
        for (slice, request) in asks {
            let read = self.name_walk_read(id);
            self.send_read(read, slice, request);
        }
    }

    /// A slice answered a walk.
    pub(super) fn walk_done(&mut self, id: WalkId, slice: SliceId, result: ReadResult) {
        // Its caller may have left meanwhile.
        let Some(walking) = self.walks.by_id.get_mut(&id) else { return };
        // Work goes on in this or the next turn.
        self.busy = true;
        if let Err(CompactedAway { compact }) = walking.walk.supply(slice, result) {
            self.walk_compacted(id, compact);
        }
    }

    /// The compact revision passed the point of a walk.
    fn walk_compacted(&mut self, id: WalkId, compact: i64) {
        self.facts.compact_revision = self.facts.compact_revision.max(compact);
        match self.end_walk(id).expect("it was found just now") {
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
        self.end_walks(|errand| match errand {
            Errand::Ship(job) => job.transfer() == transfer,
            Errand::Hash(_) | Errand::Snapshot(_) => false,
        });
    }

    /// The member stops: hashes are told here, snapshots as the streams that they are.
    pub(super) fn stop_walks(&mut self, error: &wire::ApiError) {
        let calls = self.walks.by_id.values().filter_map(|walking| match &walking.errand {
            Errand::Hash(job) => job.call(),
            Errand::Snapshot(_) | Errand::Ship(_) => None,
        });
        let waiting = self.hash_queue.iter().filter_map(|ask| ask.whose.call());
        let error = wire::Status::from(error.clone());
        let fail = |call| ShardEffect::Fail { call, error: error.clone() };
        self.out.extend(calls.chain(waiting).map(fail));
        self.end_walks(|_| true);
        self.hash_queue.clear();
    }
}
