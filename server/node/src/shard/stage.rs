//! Owns the making of a new store beside the old one, and the moment when this shard lets go of
//! everything it has for it.
//! Never touches the store that is served. Invariant: nothing is written on the other side before
//! what stood there is removed, and no request of an old store is under way when a new one opens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base::{Change, IoRequest, IoResult, OpId, SliceId};
use bytes::Bytes;
use slice::{Pace, ReadId, ReadRequest, Slice, SliceEffect, StepBudget, WorkBudget};
use wire::ApiError;

use super::call::Calls;
use super::points::Points;
use super::{Shard, ShardEffect, Side};
use crate::message::{Stage, ToLeader};

/// The name of a removal; slices name their own requests from 1.
const CLEAR: OpId = OpId(u64::MAX);
/// The new store's own first checkpoint: its numbers begin anew in files of their own.
const GENERATION: u64 = 1;

/// Whether there is a store to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Not yet, or not any more.
    None,
    /// The old one's last requests are under way.
    Retiring,
    /// Yes.
    Open,
}

/// The other side.
pub struct Staging {
    slices: BTreeMap<SliceId, Slice>,
    clearing: BTreeSet<SliceId>,
    waiting: VecDeque<Stage>,
    /// Steps that were taken in and not yet told.
    owed: u32,
    /// Requests of its slices that are under way.
    io_out: u64,
    /// Reads of other shards that opened the new store first.
    early: Vec<(ReadId, SliceId, ReadRequest)>,
}

impl Staging {
    /// Nothing there.
    pub fn new() -> Staging {
        Staging {
            slices: BTreeMap::new(),
            clearing: BTreeSet::new(),
            waiting: VecDeque::new(),
            owed: 0,
            io_out: 0,
            early: Vec::new(),
        }
    }
}

impl Shard {
    /// Removes what stands on the other side of this shard's slices.
    pub(super) fn clear_other_side(&mut self) {
        let (own, beside) = (self.config.id, self.config.partition.beside());
        for slice in beside.all().filter(|slice| beside.owner(*slice) == own) {
            if self.staging.clearing.insert(slice) {
                let request = IoRequest::Clear { slice };
                self.out.push_back(ShardEffect::Io { slice, op: CLEAR, request });
            }
        }
    }

    /// A disk request goes to the shell.
    pub(super) fn note_io(&mut self, slice: SliceId, op: OpId) {
        self.io_out += 1;
        self.staging.io_out += u64::from(self.is_staged(slice, op));
    }

    fn is_staged(&self, slice: SliceId, op: OpId) -> bool {
        op != CLEAR && Side::of(slice) != self.config.partition.side
    }

    /// A disk request is done.
    pub(super) fn io_done(&mut self, slice: SliceId, op: OpId, result: IoResult) {
        self.io_out -= 1;
        self.staging.io_out -= u64::from(self.is_staged(slice, op));
        if op == CLEAR {
            return self.cleared(slice, &result);
        }
        if let Some(slice) = self.slices.get_mut(slice) {
            slice.io_done(op, result);
        } else if let Some(slice) = self.staging.slices.get_mut(&slice) {
            slice.io_done(op, result);
        }
        // Else its store is gone.
        self.finish_retiring();
    }

    fn cleared(&mut self, slice: SliceId, result: &IoResult) {
        self.staging.clearing.remove(&slice);
        if let IoResult::Failed(error) = result {
            let what = format!(
                "old files of slice {} cannot be removed ({error:?}): check the disk, then start \
                 again",
                slice.0
            );
            self.out.push_back(ShardEffect::ToLeader(ToLeader::Broken { what }));
        }
        self.finish_retiring();
    }

    /// A step of a new store.
    pub(super) fn stage(&mut self, step: Stage) {
        self.staging.waiting.push_back(step);
    }

    /// Takes steps, and works on the slices of the new store.
    pub(super) fn pump_staging(&mut self) {
        while self.staging.clearing.is_empty() && self.io_of_staging() == 0 {
            let Some(step) = self.staging.waiting.pop_front() else { break };
            self.take_step(step);
        }
        self.pump_staged();
        let idle = self.staging.waiting.is_empty()
            && self.staging.slices.values().all(|slice| slice.queued_changes() == 0);
        if idle {
            for _ in 0..std::mem::take(&mut self.staging.owed) {
                self.out.push_back(ShardEffect::ToLeader(ToLeader::Staged));
            }
        }
    }

    /// A dropped store's requests must end before its files can go.
    fn io_of_staging(&self) -> u64 {
        match self.staging.waiting.front() {
            Some(Stage::Begin) => self.staging.io_out,
            Some(_) | None => 0,
        }
    }

    fn take_step(&mut self, step: Stage) {
        self.staging.owed += 1;
        match step {
            Stage::Begin => self.begin_staging(),
            Stage::Rows(rows) => {
                for (id, rows) in dealt(rows) {
                    self.staged(id).load(rows);
                }
            }
            Stage::Compacted(main) => {
                for (_, slice) in self.staged_keys() {
                    slice.copy(Vec::new(), main.max(1));
                    if 0 < main {
                        slice.compact(main);
                    }
                }
            }
            Stage::Changes(changes) => {
                for (id, changes) in dealt(changes) {
                    let through = changes.last().map_or(0, |change| change.rev.main);
                    // Not yet whole at its revision: nobody reads it before the freeze.
                    self.staged(id).copy(changes, through - 1);
                }
            }
            Stage::Freeze(revision) => {
                for slice in self.staging.slices.values_mut() {
                    slice.copy(Vec::new(), revision);
                    slice.freeze(GENERATION);
                }
            }
            Stage::Drop => self.staging.slices.clear(),
        }
    }

    fn begin_staging(&mut self) {
        self.staging.slices.clear();
        let (own, beside) = (self.config.id, self.config.partition.beside());
        for id in beside.all().filter(|slice| beside.owner(*slice) == own) {
            let slice = Slice::create(id, self.slice_options(id));
            self.staging.slices.insert(id, slice);
        }
        self.clear_other_side();
    }

    fn staged(&mut self, id: SliceId) -> &mut Slice {
        self.staging.slices.get_mut(&id).expect("steps follow a beginning, and name own slices")
    }

    fn staged_keys(&mut self) -> impl Iterator<Item = (&SliceId, &mut Slice)> {
        let meta = self.config.partition.beside().meta();
        self.staging.slices.iter_mut().filter(move |(id, _)| **id != meta)
    }

    fn pump_staged(&mut self) {
        if !self.staging.clearing.is_empty() {
            return;
        }
        let ids: Vec<SliceId> = self.staging.slices.keys().copied().collect();
        for id in ids {
            let slice = self.staging.slices.get_mut(&id).expect("listed a moment ago");
            self.busy |= slice.step(StepBudget { changes: 1024, turns: 1 }) == Pace::Busy;
            while let Some(effect) = slice.poll_effect() {
                match effect {
                    SliceEffect::Io { op, request } => {
                        self.out.push_back(ShardEffect::Io { slice: id, op, request });
                    }
                    SliceEffect::Durable { generation, root } => {
                        let root = Bytes::copy_from_slice(&root.encode());
                        let message = ToLeader::Durable { slice: id, generation, root };
                        self.out.push_back(ShardEffect::ToLeader(message));
                    }
                    SliceEffect::NoSpace { .. } => self.no_room = true,
                    SliceEffect::Broken(failure) => {
                        let what = failure.to_string();
                        self.out.push_back(ShardEffect::ToLeader(ToLeader::Broken { what }));
                    }
                    SliceEffect::Purged { .. } | SliceEffect::ReadDone { .. } => {}
                }
            }
        }
    }

    /// Background work of the new store's slices. True if more of it waits.
    pub(super) fn work_staged(&mut self, budget: WorkBudget) -> bool {
        if !self.staging.clearing.is_empty() {
            return false;
        }
        let slices = self.staging.slices.values_mut();
        slices.fold(false, |more, slice| (slice.work(budget) == Pace::Busy) | more)
    }

    /// Tries writes again that found no room.
    pub(super) fn retry_staged(&mut self) {
        self.staging.slices.values_mut().for_each(Slice::retry);
    }

    /// Lets go of everything: the leader opens another store.
    pub(super) fn retire(&mut self) {
        self.end_all(&ApiError::NoLeader);
        // The round that was asked for dies with the old store.
        self.points = Points::new();
        self.calls = Calls::new();
        self.slices.clear();
        self.staging.slices.clear();
        self.staging.waiting.clear();
        self.staging.owed = 0;
        self.histories.clear();
        self.reads.forget();
        self.proposals.clear();
        self.compact_due = None;
        self.seq_seen = 0;
        self.seq_told = 0;
        self.out.retain(|effect| !matches!(effect, ShardEffect::Io { .. }));
        self.staging.clearing.clear();
        self.store = Presence::Retiring;
        self.finish_retiring();
    }

    /// A read of a slice that is not open here: of a store that is gone, or of the one that comes.
    pub(super) fn read_of_another_store(
        &mut self,
        name: ReadId,
        slice: SliceId,
        request: ReadRequest,
    ) {
        if self.store == Presence::None && Side::of(slice) != self.config.partition.side {
            self.staging.early.push((name, slice, request));
        }
    }

    /// Reads that were asked before the store was open here.
    pub(super) fn serve_early_reads(&mut self) {
        for (name, slice, request) in std::mem::take(&mut self.staging.early) {
            self.slices.get_mut(slice).expect("asked of the owner").read(name, request);
        }
    }

    fn finish_retiring(&mut self) {
        if self.store == Presence::Retiring && self.io_out == 0 {
            self.store = Presence::None;
            self.out.push_back(ShardEffect::ToLeader(ToLeader::Retired));
        }
    }
}

/// Changes by their slices, each in the order in which they came.
fn dealt(changes: Vec<(SliceId, Change)>) -> BTreeMap<SliceId, Vec<Change>> {
    let mut by_slice: BTreeMap<SliceId, Vec<Change>> = BTreeMap::new();
    for (slice, change) in changes {
        by_slice.entry(slice).or_default().push(change);
    }
    by_slice
}
