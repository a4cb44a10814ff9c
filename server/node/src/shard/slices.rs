//! Owns the slices of one shard: finding them, the changes of a batch dealt to them in one pass,
//! and what they want done.
//! Never looks into one. Invariant: a batch reaches all own slices, its changes in their order.

use std::sync::Arc;

use base::{Change, ChangeKind, Rev, SliceId};
use bytes::Bytes;
use slice::{Pace, Slice, SliceEffect, StepBudget};
use state::MetaChange;

use super::{Shard, ShardEffect, Side};
use crate::message::{ApplyBatch, ToLeader};

/// What a slice may do in one turn for those who wait.
const STEP: StepBudget = StepBudget { changes: 4096, turns: 64 };

/// The slices of one shard.
pub struct Slices {
    own: Vec<(SliceId, Slice)>,
    /// Where each slice of the store stands in `own`, by its number on its side.
    places: Vec<Option<u16>>,
    side: Side,
}

impl Slices {
    /// None yet.
    pub fn new() -> Slices {
        Slices { own: Vec::new(), places: Vec::new(), side: Side::Even }
    }

    /// Adds a slice. All are of one side.
    pub fn insert(&mut self, id: SliceId, slice: Slice) {
        if self.own.is_empty() {
            self.side = Side::of(id);
        }
        assert_eq!(Side::of(id), self.side);
        let at = usize::from(id.0 - self.side.base());
        if self.places.len() <= at {
            self.places.resize(at + 1, None);
        }
        assert!(self.places[at].is_none(), "{id:?} is opened once");
        self.places[at] = Some(u16::try_from(self.own.len()).expect("ids are counted in u16"));
        self.own.push((id, slice));
    }

    /// Lets go of all.
    pub fn clear(&mut self) {
        *self = Slices::new();
    }

    fn place(&self, id: SliceId) -> Option<usize> {
        let at = id.0.checked_sub(self.side.base())?;
        self.places.get(usize::from(at)).copied().flatten().map(usize::from)
    }

    /// The slice, if it is ours.
    pub fn get_mut(&mut self, id: SliceId) -> Option<&mut Slice> {
        self.place(id).map(|place| &mut self.own[place].1)
    }

    /// All of ours.
    pub fn iter(&self) -> impl Iterator<Item = &Slice> {
        self.own.iter().map(|(_, slice)| slice)
    }

    /// All of ours.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (SliceId, &mut Slice)> {
        self.own.iter_mut().map(|(id, slice)| (*id, slice))
    }
}

impl Shard {
    /// Lets every slice go on, and carries out what they want.
    pub(super) fn pump_slices(&mut self) {
        self.busy = false;
        for place in 0..self.slices.own.len() {
            let pace = self.slices.own[place].1.step(STEP);
            self.busy |= pace == Pace::Busy;
            while let Some(effect) = self.slices.own[place].1.poll_effect() {
                self.slice_effect(self.slices.own[place].0, effect);
            }
        }
    }

    fn slice_effect(&mut self, id: SliceId, effect: SliceEffect) {
        match effect {
            SliceEffect::Io { op, request } => {
                self.out.push_back(ShardEffect::Io { slice: id, op, request });
            }
            SliceEffect::ReadDone { job, result } => self.local_read_done(job, id, result),
            SliceEffect::Durable { generation, root } => {
                let root = Bytes::copy_from_slice(&root.encode());
                let message = ToLeader::Durable { slice: id, generation, root };
                self.out.push_back(ShardEffect::ToLeader(message));
            }
            SliceEffect::Purged { .. } => {}
            SliceEffect::NoSpace { .. } => self.no_room = true,
            SliceEffect::Broken(failure) => {
                let what = failure.to_string();
                self.out.push_back(ShardEffect::ToLeader(ToLeader::Broken { what }));
            }
        }
    }

    /// Takes in what the log did.
    pub(super) fn apply(&mut self, batch: &Arc<ApplyBatch>) {
        assert_eq!(batch.seq, self.seq_seen + 1, "batches arrive in order, none missing");
        self.seq_seen = batch.seq;
        self.deal(batch);
        self.facts.revision = batch.revision;
        if !batch.changes.is_empty() {
            self.hub.publish(&batch.changes, batch.revision);
        }
        if let Some(main) = batch.compact {
            self.facts.compact_revision = main;
            self.hub.compacted(main);
            self.compact_due = Some(main);
        }
    }

    /// Gives each own slice its changes: one look at each change, one copy of it.
    fn deal(&mut self, batch: &ApplyBatch) {
        let partition = self.config.partition;
        for change in &batch.changes {
            if let Some(slice) = self.slices.get_mut(partition.slice_of(&change.key)) {
                slice.change(change.clone());
            }
        }
        if let Some(meta) = self.slices.get_mut(partition.meta()) {
            meta_changes(batch).for_each(|change| meta.change(change));
        }
        for (_, slice) in self.slices.iter_mut() {
            slice.through(batch.revision);
            if let Some(generation) = batch.checkpoint {
                slice.freeze(generation);
            }
        }
    }

    /// Tells the leader of all batches that were taken in since the last time, at once.
    pub(super) fn report_progress(&mut self) {
        if self.seq_told == self.seq_seen {
            return;
        }
        self.seq_told = self.seq_seen;
        let (mut file_bytes, mut used_bytes) = (0, 0);
        for slice in self.slices.iter() {
            let sizes = slice.sizes();
            file_bytes += sizes.file_bytes;
            used_bytes += sizes.used_bytes;
        }
        let seq = self.seq_seen;
        let progress = ToLeader::Progress { seq, file_bytes, used_bytes };
        self.out.push_back(ShardEffect::ToLeader(progress));
    }

    /// Compacts the slices, once no read of a reply that was decided before is left: a write must
    /// not be answered that the pairs it replaced were compacted. From the decision on new reads
    /// are refused at the edge. Reads of other shards begin within microseconds of the decision,
    /// a tick later at the latest.
    pub(super) fn compact_slices(&mut self) {
        let Some(main) = self.compact_due.filter(|main| !self.reads_below(*main)) else { return };
        self.compact_due = None;
        let meta = self.config.partition.meta();
        for (_, slice) in self.slices.iter_mut().filter(|(id, _)| *id != meta) {
            slice.compact(main);
        }
    }
}

/// Changes of the meta slice in the words of slices. It keeps no past, so the point of a change
/// only has to be its own.
fn meta_changes(batch: &ApplyBatch) -> impl Iterator<Item = Change> {
    let main = i64::try_from(batch.seq).expect("batches are counted in i64");
    let change = move |(sub, meta): (u32, &MetaChange)| Change {
        rev: Rev::new(main, sub),
        key: meta.key.clone(),
        kind: match &meta.value {
            Some(value) => {
                ChangeKind::Put { value: value.clone(), create: main, version: 1, lease: 0 }
            }
            None => ChangeKind::Delete,
        },
        prev: None,
    };
    (0..).zip(&batch.meta).map(change)
}
