//! Owns the receiving of a whole store, and the moment when it takes the place of ours.
//! Never touches the store that is served before the group accepts the new one. Invariant: the
//! manifest names a new store only when every slice of it is durable; from then on this life of the
//! machines is over, and a new one starts from the manifest as after a crash.
//!
//! ```text
//! part 0 --> Filling --last part--> Freezing --all roots--> Staged --group installs--> Installing
//!   checkpoint idle --> manifest --durable--> Retiring --shards and disk quiet--> start again
//! ```

use std::collections::BTreeMap;

use base::{Change, ChangeKind, Instant, Rev, SliceId};
use bytes::{Buf, Bytes, BytesMut};
use consensus::{PeerMessage, Snapshot};

use super::checks::AtStart;
use super::{Leader, LeaderEffect, Restart};
use crate::manifest::Manifest;
use crate::message::{ShardId, Stage, ToLeader, ToShard};
use crate::peer::PeerNote;
use crate::snapshot::{HEADER_BYTES, Header, ITEM_HEAD_BYTES, SnapshotItem, SnapshotReader};

/// A store on its way here.
pub struct Incoming {
    current: Option<Receipt>,
    installing: Option<Installing>,
    /// Steps that shards have not yet taken in.
    owed: u32,
}

struct Receipt {
    from: u64,
    transfer: u64,
    /// Number of the next part.
    next: u32,
    parser: Parser,
    roots: Vec<Option<Bytes>>,
}

enum Installing {
    /// Until no checkpoint is under way.
    Waiting(Snapshot),
    /// The manifest is being written.
    Flipping,
    /// Until so many shards have let go, and no request of ours is under way.
    Retiring { shards: u16 },
}

/// The pieces put together and taken apart into items.
struct Parser {
    bytes: BytesMut,
    reader: Option<SnapshotReader>,
    metas: u32,
    compacted: Told,
    ended: Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    No,
    Yes,
}

/// What a part held, in order.
enum Step {
    Lot(Lot, Vec<Change>),
    Compacted(i64),
    Freeze(i64),
}

/// What changes of one kind are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lot {
    /// Pairs as of the compact revision.
    Rows,
    /// Facts of the meta slice.
    Metas,
    /// What happened since.
    Changes,
}

struct BadPart;

impl Incoming {
    /// Nothing.
    pub fn new() -> Incoming {
        Incoming { current: None, installing: None, owed: 0 }
    }

    /// Whether another store is about to take this one's place: nothing is decided any more.
    pub fn installs(&self) -> bool {
        self.installing.is_some()
    }
}

impl Parser {
    fn new() -> Parser {
        Parser {
            bytes: BytesMut::new(),
            reader: None,
            metas: 0,
            compacted: Told::No,
            ended: Ended::No,
        }
    }

    fn header(&self) -> Option<Header> {
        self.reader.as_ref().map(SnapshotReader::header)
    }

    fn take(&mut self, part: &[u8]) -> Result<Vec<Step>, BadPart> {
        self.bytes.extend_from_slice(part);
        let mut steps = Vec::new();
        if self.reader.is_none() {
            let Some(header) = self.bytes.first_chunk::<HEADER_BYTES>() else { return Ok(steps) };
            self.reader = Some(SnapshotReader::begin(header).map_err(|_| BadPart)?);
            self.bytes.advance(HEADER_BYTES);
        }
        while self.ended == Ended::No {
            let Some(head) = self.bytes.first_chunk::<ITEM_HEAD_BYTES>().copied() else { break };
            let body = SnapshotReader::body_bytes(&head);
            if self.bytes.len() < ITEM_HEAD_BYTES + body {
                break;
            }
            self.bytes.advance(ITEM_HEAD_BYTES);
            let body = self.bytes.split_to(body).freeze();
            let reader = self.reader.as_mut().expect("it has begun");
            let item = reader.item(&head, &body).map_err(|_| BadPart)?;
            self.sort(item, &mut steps);
        }
        Ok(steps)
    }

    fn sort(&mut self, item: SnapshotItem, steps: &mut Vec<Step>) {
        let header = self.header().expect("items follow the header");
        // Rows come first; whatever else comes, they are over.
        if !matches!(item, SnapshotItem::Row { .. }) && self.compacted == Told::No {
            self.compacted = Told::Yes;
            steps.push(Step::Compacted(header.compact_revision.max(0)));
        }
        match item {
            SnapshotItem::Row { key, version, value } => {
                add(steps, Lot::Rows, put(key, version, value))
            }
            SnapshotItem::Put { key, version, value } => {
                add(steps, Lot::Changes, put(key, version, value))
            }
            SnapshotItem::Delete { rev, key } => {
                add(steps, Lot::Changes, Change { rev, key, kind: ChangeKind::Delete, prev: None });
            }
            SnapshotItem::Meta { key, value } => {
                let version = base::Version {
                    create: 1,
                    modified: Rev::new(1, self.metas),
                    version: 1,
                    lease: 0,
                };
                self.metas += 1;
                add(steps, Lot::Metas, put(key, version, value));
            }
            SnapshotItem::End(_) => {
                self.ended = Ended::Yes;
                steps.push(Step::Freeze(header.revision));
            }
        }
    }
}

/// Joins what stands side by side, so that a shard hears of it at once.
fn add(steps: &mut Vec<Step>, lot: Lot, change: Change) {
    match steps.last_mut() {
        Some(Step::Lot(same, changes)) if *same == lot => changes.push(change),
        Some(Step::Lot(..) | Step::Compacted(_) | Step::Freeze(_)) | None => {
            steps.push(Step::Lot(lot, vec![change]));
        }
    }
}

fn put(key: Bytes, version: base::Version, value: Bytes) -> Change {
    let base::Version { create, modified, version, lease } = version;
    let kind = ChangeKind::Put { value, create, version, lease };
    Change { rev: modified, key, kind, prev: None }
}

impl Leader {
    /// A piece of a store.
    pub(super) fn take_part(&mut self, from: u64, transfer: u64, number: u32, bytes: &Bytes) {
        if self.leads() || self.incoming.installs() {
            return self.refuse_part(from, transfer);
        }
        let known = |receipt: &Receipt| receipt.transfer == transfer && receipt.from == from;
        if !self.incoming.current.as_ref().is_some_and(known) {
            if number != 0 {
                return self.refuse_part(from, transfer);
            }
            let roots = vec![None; self.slices_in_all()];
            let parser = Parser::new();
            self.incoming.current = Some(Receipt { from, transfer, next: 0, parser, roots });
            self.stage_all(&Stage::Begin);
        }
        let receipt = self.incoming.current.as_mut().expect("just seen or made");
        // A part that was sent again, or is ahead of one that was lost, says nothing new: the
        // sender goes on from what it hears.
        if number == receipt.next {
            receipt.next += 1;
            match receipt.parser.take(bytes) {
                Ok(steps) => steps.into_iter().for_each(|step| self.stage_step(step)),
                Err(BadPart) => {
                    self.incoming.current = None;
                    self.stage_all(&Stage::Drop);
                    return self.refuse_part(from, transfer);
                }
            }
        }
        self.tell_taken();
    }

    pub(super) fn refuse_part(&mut self, to: u64, transfer: u64) {
        self.out.push_back(LeaderEffect::Send { to, note: PeerNote::Refused { transfer } });
    }

    /// Tells the sender how far we are, once the shards are; the last part once all is durable.
    fn tell_taken(&mut self) {
        let Some(receipt) = &self.incoming.current else { return };
        let whole = receipt.roots.iter().all(Option::is_some);
        let held = u32::from(receipt.parser.ended == Ended::Yes && !whole);
        let taken = receipt.next - held;
        if 0 < self.incoming.owed || taken == 0 {
            return;
        }
        let note = PeerNote::Taken { transfer: receipt.transfer, number: taken - 1 };
        self.out.push_back(LeaderEffect::Send { to: receipt.from, note });
    }

    fn stage_step(&mut self, step: Step) {
        let beside = self.config.partition.beside();
        let of_key = |change: &Change| beside.slice_of(&change.key);
        match step {
            Step::Compacted(main) => self.stage_all(&Stage::Compacted(main)),
            Step::Freeze(main) => self.stage_all(&Stage::Freeze(main)),
            Step::Lot(Lot::Rows, rows) => self.stage_lots(rows, of_key, Stage::Rows),
            Step::Lot(Lot::Metas, metas) => {
                self.stage_lots(metas, |_| beside.meta(), Stage::Rows);
            }
            Step::Lot(Lot::Changes, all) => self.stage_lots(all, of_key, Stage::Changes),
        }
    }

    fn stage_lots(
        &mut self,
        changes: Vec<Change>,
        slice_of: impl Fn(&Change) -> SliceId,
        stage: impl Fn(Vec<(SliceId, Change)>) -> Stage,
    ) {
        let beside = self.config.partition.beside();
        let mut lots: BTreeMap<ShardId, Vec<(SliceId, Change)>> = BTreeMap::new();
        for change in changes {
            let slice = slice_of(&change);
            lots.entry(beside.owner(slice)).or_default().push((slice, change));
        }
        for (shard, lot) in lots {
            self.stage_at(shard, stage(lot));
        }
    }

    fn stage_all(&mut self, stage: &Stage) {
        for shard in 0..self.config.partition.shards {
            self.stage_at(ShardId(shard), stage.clone());
        }
    }

    fn stage_at(&mut self, shard: ShardId, stage: Stage) {
        self.incoming.owed += 1;
        let message = ToShard::Stage(stage);
        self.out.push_back(LeaderEffect::ToShard { shard, message });
    }

    /// A shard has taken in a step.
    pub(super) fn staged_step(&mut self) {
        self.incoming.owed -= 1;
        if self.incoming.owed == 0 {
            self.tell_taken();
        }
    }

    /// A slice of the new store is durable.
    pub(super) fn staged_root(&mut self, slice: SliceId, root: Bytes) {
        let place = self.config.partition.beside().place(slice);
        // Of a store that was dropped, if none is being received.
        let Some(receipt) = &mut self.incoming.current else { return };
        receipt.roots[place] = Some(root);
        self.tell_taken();
    }

    /// Whether the group may hear of a snapshot: what it names must be here, and durable.
    pub(super) fn has_staged(&self, message: &PeerMessage) -> bool {
        let Some((index, data)) = message.snapshot() else { return true };
        let Some(receipt) = &self.incoming.current else { return false };
        let whole = receipt.roots.iter().all(Option::is_some);
        let named = receipt.transfer.to_le_bytes()[..] == *data;
        let right = receipt.parser.header().is_some_and(|header| header.index == index);
        whole && named && right
    }

    /// The group accepts the new store.
    pub(super) fn install(&mut self, snapshot: Snapshot) {
        assert!(self.incoming.installing.is_none());
        self.incoming.installing = Some(Installing::Waiting(snapshot));
    }

    /// Moves the installation on.
    pub(super) fn settle_install(&mut self, now: Instant) {
        match &self.incoming.installing {
            Some(Installing::Waiting(snapshot)) if self.checkpoints.idle() => {
                let manifest = self.manifest_of(snapshot);
                let manifest = self.checkpoints.replace(manifest);
                self.incoming.installing = Some(Installing::Flipping);
                self.write_manifest(&manifest);
            }
            Some(Installing::Retiring { shards: 0 }) if self.ops.is_empty() => self.begin_anew(now),
            Some(Installing::Waiting(_) | Installing::Flipping | Installing::Retiring { .. })
            | None => {}
        }
    }

    fn manifest_of(&self, snapshot: &Snapshot) -> Manifest {
        let receipt = self.incoming.current.as_ref().expect("it was staged");
        let header = receipt.parser.header().expect("it was read to its end");
        assert_eq!(header.index, snapshot.at.index);
        let roots = receipt.roots.iter().map(|root| root.clone().expect("it was whole"));
        Manifest {
            applied_index: snapshot.at.index,
            applied_term: snapshot.at.term,
            revision: header.revision,
            compact_revision: header.compact_revision,
            voters: snapshot.membership.voters.clone(),
            learners: snapshot.membership.learners.clone(),
            roots: roots.collect(),
            ..self.manifest_facts()
        }
    }

    /// The manifest names the new store: everybody lets go of the old one.
    pub(super) fn retire(&mut self) {
        let shards = self.config.partition.shards;
        self.incoming.installing = Some(Installing::Retiring { shards });
        self.tell_all(|| ToShard::Retire);
    }

    /// A shard has let go.
    pub(super) fn retired(&mut self) {
        match &mut self.incoming.installing {
            Some(Installing::Retiring { shards }) => *shards -= 1,
            Some(Installing::Waiting(_) | Installing::Flipping) | None => {
                unreachable!("nobody was asked to let go")
            }
        }
    }

    /// Everything is quiet: the machine starts again as the process did, and keeps only what the
    /// outside has been told.
    fn begin_anew(&mut self, now: Instant) {
        let mut config = self.config.clone();
        config.log_segments = self.writer().on_disk();
        config.seed = self.dice.next_u64();
        // It went on alone once, when the process started.
        config.restart = Restart::WithCluster;
        let mut anew = Leader::new(now, config);
        anew.publication = self.publication.kept();
        anew.role.serving = self.role.serving;
        anew.config.checks.at_start = AtStart::Serve;
        anew.stopping = self.stopping;
        anew.leaving = self.leaving;
        std::mem::swap(&mut anew.counts, &mut self.counts);
        self.out.append(&mut anew.out);
        std::mem::swap(&mut anew.out, &mut self.out);
        *self = anew;
    }

    /// A message of a shard while a store is being installed: only what that needs is heard.
    pub(super) fn message_while_installing(&mut self, message: ToLeader) {
        match message {
            ToLeader::Durable { slice, generation, root } => {
                self.slice_durable(slice, generation, root);
            }
            ToLeader::Retired => self.retired(),
            ToLeader::Broken { what } => self.broken(what),
            ToLeader::Staged => self.incoming.owed -= 1,
            // Calls were ended, or will be; the rest is about the old store.
            ToLeader::Propose(_)
            | ToLeader::ReadIndex { .. }
            | ToLeader::Ask { .. }
            | ToLeader::Left { .. }
            | ToLeader::Values { .. }
            | ToLeader::Restored { .. }
            | ToLeader::Shipped { .. }
            | ToLeader::ShipFailed { .. }
            | ToLeader::Hashed { .. }
            | ToLeader::Progress { .. } => {}
        }
    }
}
