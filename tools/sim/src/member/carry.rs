//! Owns the carrying out of what the machines of a member want: messages, disk requests, replies,
//! and the bugs that are planted on purpose.
//! Never reorders what one machine says to another. Invariant: an effect that crosses the ending of
//! the life was not carried out.

use std::time::Duration;

use base::{ChangeKind, FileId, IoRequest, IoResult};
use bytes::{Bytes, BytesMut};
use node::corruption::HashAt;
use node::leader::Report;
use node::message::ApplyBatch;
use node::peer::PeerAnswer;
use node::{
    LeaderEffect, LeaderEvent, PeerNote, ShardEffect, ShardEvent, ShardId, ToLeader, ToShard,
};

use wal::{HEADER_BYTES, Header, Record};

use super::{End, Failed, Happening, Heard, LogNews, Machine, Member, Owner};
use crate::plan::{Ending, Fault, Kind, Planted};

impl Member {
    pub(super) fn turn(&mut self, machine: Machine) -> Result<(), End> {
        self.turns.remove(&machine);
        match machine {
            Machine::Leader => {
                while let Some(effect) = self.leader.poll_effect(self.now) {
                    self.count_effect()?;
                    self.leader_effect(effect)?;
                }
            }
            Machine::Shard(id) => {
                while let Some(effect) = self.shards[usize::from(id.0)].poll_effect() {
                    self.count_effect()?;
                    self.shard_effect(id, effect)?;
                }
            }
        }
        Ok(())
    }

    fn count_effect(&mut self) -> Result<(), End> {
        self.effects += 1;
        match self.ending {
            Ending::Effects(last) if last <= self.effects => Err(End::Crash),
            _ => Ok(()),
        }
    }

    fn leader_effect(&mut self, effect: LeaderEffect) -> Result<(), End> {
        match effect {
            LeaderEffect::ToShard { shard, message } => {
                self.overhear(shard, &message);
                let message = self.distorted(message);
                let happening = Happening::ToShard(shard, message);
                self.post(Machine::Leader, Machine::Shard(shard), happening);
            }
            LeaderEffect::Io { op, request } => return self.submit(Owner::Leader(op), request),
            LeaderEffect::Report(Report::Broken { what }) => return Err(End::Broken(what)),
            LeaderEffect::Send { to, note } => {
                self.said.sent.push((to, self.distorted_note(note)));
                self.sends += 1;
                if matches!(self.ending, Ending::Sends(last) if last <= self.sends) {
                    return Err(End::Crash);
                }
            }
            LeaderEffect::Connect { peers, removed } => self.said.connect = Some((peers, removed)),
            LeaderEffect::Report(Report::Removed) if self.planted == Planted::ServeRemoved => {
                self.outcast = true;
            }
            LeaderEffect::Report(report) => self.said.reports.push(report),
        }
        Ok(())
    }

    /// What the store is told, if it is to hold something else than others'.
    fn distorted(&self, message: ToShard) -> ToShard {
        let ToShard::Apply(batch) = &message else { return message };
        if self.planted != Planted::OtherValues {
            return message;
        }
        let mut changes = batch.changes.clone();
        for change in &mut changes {
            if let ChangeKind::Put { value, .. } = &mut change.kind {
                *value = Bytes::from_static(b"other");
            }
        }
        let ApplyBatch { seq, revision, compact, checkpoint, .. } = **batch;
        let meta = batch.meta.clone();
        let batch = ApplyBatch { seq, revision, changes, meta, compact, checkpoint };
        ToShard::Apply(batch.into())
    }

    /// What a peer is told, if it is to be told a wrong hash.
    fn distorted_note(&self, note: PeerNote) -> PeerNote {
        match note {
            PeerNote::Answer { number, answer: PeerAnswer::Hash(hash) }
                if self.planted == Planted::HashWrongly =>
            {
                let answer = PeerAnswer::Hash(HashAt { hash: !hash.hash, ..hash });
                PeerNote::Answer { number, answer }
            }
            note => note,
        }
    }

    /// What the leader decides is the same for every shard, so the first one's copy tells all.
    fn overhear(&mut self, shard: ShardId, message: &ToShard) {
        if let ToShard::Apply(batch) = message {
            self.revision = self.revision.max(batch.revision);
            if shard == ShardId(0) {
                self.said.decided.push(batch.clone());
            }
        }
        if let ToShard::OpenSlices { revision, .. } = message {
            self.revision = self.revision.max(*revision);
        }
    }

    fn shard_effect(&mut self, id: ShardId, effect: ShardEffect) -> Result<(), End> {
        let from = Machine::Shard(id);
        match effect {
            ShardEffect::Reply { call, message } => {
                self.trace.note(call.0);
                self.trace.bytes(&message);
                self.said.heard.push((call, Heard::Reply(message)));
            }
            ShardEffect::Fail { call, error } => {
                self.begun.remove(&call);
                self.trace.note(call.0);
                self.trace.note(u64::from(error.code.number()));
                self.said.heard.push((call, Heard::Failed(error)));
            }
            ShardEffect::ToLeader(ToLeader::ReadIndex { round })
                if self.planted == Planted::ReadWithoutRound || self.outcast =>
            {
                let message = ToShard::ReadAt { round, revision: Ok(self.revision) };
                self.post(Machine::Leader, from, Happening::ToShard(id, message));
            }
            ShardEffect::ToLeader(message) => {
                self.post(from, Machine::Leader, Happening::ToLeader(id, message));
            }
            ShardEffect::ToShard { shard, message } => {
                self.post(from, Machine::Shard(shard), Happening::ToShard(shard, message));
            }
            ShardEffect::Io { slice, op, request } => {
                return self.submit(Owner::Slice(id, slice, op), request);
            }
            ShardEffect::Send { call, message } => {
                self.trace.note(call.0);
                self.trace.bytes(&message);
                self.said.heard.push((call, Heard::Message(message)));
            }
            ShardEffect::SendParts { call, head, tail } => {
                let mut whole = BytesMut::from(&head[..]);
                whole.extend_from_slice(&tail);
                let message = whole.freeze();
                self.trace.note(call.0);
                self.trace.bytes(&message);
                self.said.heard.push((call, Heard::Message(message)));
            }
            ShardEffect::Begin { call, message_bytes } => {
                self.trace.note(call.0);
                let begun = (BytesMut::new(), message_bytes as usize);
                assert!(self.begun.insert(call, begun).is_none(), "one message at a time");
            }
            ShardEffect::Part { call, part } => {
                self.trace.bytes(&part);
                let (bytes, whole) = self.begun.get_mut(&call).expect("it was begun");
                bytes.extend_from_slice(&part);
                assert!(bytes.len() <= *whole);
            }
            ShardEffect::Finish { call } => {
                self.trace.note(call.0);
                let heard = self.begun.remove(&call).map_or(Heard::Finished, |(bytes, whole)| {
                    assert_eq!(bytes.len(), whole, "as long as was announced");
                    Heard::Reply(bytes.freeze())
                });
                self.said.heard.push((call, heard));
            }
        }
        Ok(())
    }

    fn submit(&mut self, owner: Owner, request: IoRequest) -> Result<(), End> {
        let request = match self.planted {
            Planted::ForgetVote => self.forgetful.rewrite(request),
            Planted::Nothing
            | Planted::AckBeforeDurable
            | Planted::ForgetSync
            | Planted::OtherValues
            | Planted::HashWrongly
            | Planted::ReadWithoutRound
            | Planted::ServeRemoved
            | Planted::PromoteBlindly
            | Planted::AddBlindly => request,
        };
        let kind = Kind::of(&request);
        self.note_request(&request);
        let is_last = matches!(self.ending, Ending::Request(at, _) if at == kind);
        if self.planted == Planted::ForgetSync && matches!(request, IoRequest::Sync { .. }) {
            let wait = self.draw(self.pace.disk);
            self.at(wait, Happening::Told(owner, IoResult::Done));
        } else {
            let records = self.log_records(&request);
            let ticket = self.disk.begin(request);
            if let Some(records) = records {
                self.said.log.push(LogNews::Written { ticket, records });
            }
            let wait = self.draw(self.pace.disk);
            let early = self.planted == Planted::AckBeforeDurable && kind == Kind::Flush;
            if early {
                self.at(Duration::ZERO, Happening::Told(owner, IoResult::Done));
            }
            let owner = if early { Owner::Nobody } else { owner };
            self.at(wait, Happening::Disk(owner, ticket));
        }
        if is_last { self.count_request() } else { Ok(()) }
    }

    /// The records of a batch of the log, for whoever judges what members remember.
    fn log_records(&self, request: &IoRequest) -> Option<Vec<Record>> {
        let IoRequest::Write { file: FileId::Log(_), bytes, .. } = request else { return None };
        let (header, _) = Header::take(bytes).expect("the writer writes batches");
        let end = HEADER_BYTES + header.payload_bytes as usize;
        let mut payload = bytes.slice(HEADER_BYTES..end);
        let take = |_| Record::take(&mut payload).expect("the writer writes records");
        Some((0..header.records).map(take).collect())
    }

    fn count_request(&mut self) -> Result<(), End> {
        self.requests += 1;
        match self.ending {
            Ending::Request(_, last) | Ending::Done(_, last) if last <= self.requests => {
                Err(End::Crash)
            }
            _ => Ok(()),
        }
    }

    fn note_request(&mut self, request: &IoRequest) {
        self.trace.note(Kind::of(request) as u64);
        match request {
            IoRequest::Write { offset, bytes, .. } => {
                self.trace.note(*offset);
                self.trace.bytes(bytes);
            }
            IoRequest::Read { offset, .. } | IoRequest::Punch { offset, .. } => {
                self.trace.note(*offset);
            }
            IoRequest::Truncate { len, .. } => self.trace.note(*len),
            IoRequest::Sync { .. }
            | IoRequest::Prepare { .. }
            | IoRequest::Remove { .. }
            | IoRequest::Clear { .. } => {}
        }
    }

    pub(super) fn disk_done(&mut self, owner: Owner, ticket: u64) -> Result<(), End> {
        let kind = Kind::of(self.disk.request(ticket));
        if kind == Kind::Flush && self.now < self.stuck_until {
            let wait = self.stuck_until.since(self.now);
            self.at(wait, Happening::Disk(owner, ticket));
            return Ok(());
        }
        if let Fault::Fails(at, count, error) = self.fault
            && at == kind
        {
            self.fault_seen += 1;
            if self.fault_seen == count {
                self.failed = Some(Failed { kind, error, at: self.now });
                self.disk.fail(ticket, &mut self.dice);
                self.tell(owner, IoResult::Failed(error));
                return Ok(());
            }
        }
        let result = self.disk.complete(ticket);
        if kind == Kind::Flush {
            self.said.log.push(LogNews::Durable { ticket });
        }
        if matches!(self.ending, Ending::Done(at, _) if at == kind) {
            self.count_request()?;
        }
        self.tell(owner, result);
        Ok(())
    }

    pub(super) fn tell(&mut self, owner: Owner, result: IoResult) {
        match owner {
            Owner::Nobody => {}
            Owner::Leader(op) => {
                self.leader.handle(self.now, LeaderEvent::IoDone { op, result });
                self.turn_soon(Machine::Leader);
            }
            Owner::Slice(shard, slice, op) => {
                let event = ShardEvent::IoDone { slice, op, result };
                self.shards[usize::from(shard.0)].handle(self.now, event);
                self.turn_soon(Machine::Shard(shard));
            }
        }
    }
}
