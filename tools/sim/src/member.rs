//! Owns one life of the member: its machines, the messages and disk requests between them, and the
//! order in which they arrive.
//! Never decides what is right. Invariant: messages from one machine to another arrive in order;
//! everything else arrives when the dice say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{Instant, IoError, IoRequest, IoResult, OpId, Prng, SliceId};
use bytes::Bytes;
use node::leader::Report;
use node::{
    CallId, Leader, LeaderConfig, LeaderEffect, LeaderEvent, Shard, ShardConfig, ShardEffect,
    ShardEvent, ShardId, ToLeader, ToShard,
};
use wire::{Method, Status};

use crate::disk::Disk;
use crate::plan::{Ending, Fault, Kind, Pace, Planted};
use crate::trace::Trace;

/// Shortest pause between two ticks of a core.
const TICK_MIN: Duration = Duration::from_micros(500);

/// What a machine is called here: the leader, then the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    /// The one that decides.
    Leader,
    /// One that serves.
    Shard(ShardId),
}

/// Whose disk request it was.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Leader(OpId),
    Slice(ShardId, SliceId, OpId),
    /// Somebody who was told long ago (a planted bug).
    Nobody,
}

enum Happening {
    ToLeader(ShardId, ToLeader),
    ToShard(ShardId, ToShard),
    Disk(Owner, u64),
    Told(Owner, IoResult),
    Turn(Machine),
    Tick(ShardId),
    Wake(u64),
}

/// Why a life is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The power went.
    Crash,
    /// The member says that it cannot go on.
    Broken(String),
}

/// A disk request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Of this kind.
    pub kind: Kind,
    /// In this way.
    pub error: IoError,
    /// Then.
    pub at: Instant,
}

/// What a life is told.
pub struct Start {
    /// For the leader.
    pub leader: LeaderConfig,
    /// For each shard.
    pub shards: Vec<ShardConfig>,
    /// How fast things are.
    pub pace: Pace,
    /// When the power goes.
    pub ending: Ending,
    /// What fails.
    pub fault: Fault,
    /// A bug on purpose.
    pub planted: Planted,
    /// Dice for this life.
    pub dice: Prng,
}

/// One life.
pub struct Member {
    now: Instant,
    dice: Prng,
    pace: Pace,
    ending: Ending,
    fault: Fault,
    planted: Planted,
    leader: Leader,
    shards: Vec<Shard>,
    disk: Disk,
    queue: BTreeMap<(Instant, u64), Happening>,
    next: u64,
    // When the last message of a pair arrives.
    pairs: BTreeMap<(Machine, Machine), Instant>,
    turns: BTreeSet<Machine>,
    effects: u64,
    requests: u64,
    failed: Option<Failed>,
    fault_seen: u64,
    /// The fingerprint.
    pub trace: Trace,
    /// Replies since they were last taken.
    pub replies: Vec<(CallId, Result<Bytes, Status>)>,
    /// Reports likewise.
    pub reports: Vec<Report>,
    /// Clients whose pause is over.
    pub wakes: Vec<u64>,
}

impl Member {
    /// Begins a life on what the last one left.
    pub fn start(disk: Disk, trace: Trace, start: Start) -> Member {
        let now = Instant(1);
        let cores = start.shards.len() as u16;
        let mut member = Member {
            now,
            leader: Leader::new(now, start.leader),
            shards: start.shards.into_iter().map(Shard::new).collect(),
            pace: start.pace,
            ending: start.ending,
            fault: start.fault,
            planted: start.planted,
            dice: start.dice,
            disk,
            queue: BTreeMap::new(),
            next: 0,
            pairs: BTreeMap::new(),
            turns: BTreeSet::new(),
            effects: 0,
            requests: 0,
            failed: None,
            fault_seen: 0,
            trace,
            replies: Vec::new(),
            reports: Vec::new(),
            wakes: Vec::new(),
        };
        member.turn_soon(Machine::Leader);
        (0..cores).for_each(|core| member.at(TICK_MIN, Happening::Tick(ShardId(core))));
        member
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Cores.
    pub fn cores(&self) -> u16 {
        self.shards.len() as u16
    }

    /// Effects so far.
    pub fn effects(&self) -> u64 {
        self.effects
    }

    /// A request that failed for good reason, and when.
    pub fn failed(&self) -> Option<Failed> {
        self.failed
    }

    /// Ends the life and gives the disk back as it is, before the crash is drawn.
    pub fn into_disk(self) -> (Disk, Trace) {
        (self.disk, self.trace)
    }

    /// A client's request.
    pub fn call(&mut self, shard: ShardId, call: CallId, method: Method, message: Bytes) {
        let meta = node::shard::CallMeta { leader: node::shard::LeaderNeed::Any };
        let event = ShardEvent::Unary { call, method, meta, message };
        self.shards[usize::from(shard.0)].handle(self.now, event);
        self.turn_soon(Machine::Shard(shard));
    }

    /// Begins the orderly stop.
    pub fn stop(&mut self) {
        self.leader.handle(self.now, LeaderEvent::Stop);
        self.turn_soon(Machine::Leader);
    }

    /// Calls a client back after a pause.
    pub fn wake_after(&mut self, pause: Duration, client: u64) {
        self.at(pause, Happening::Wake(client));
    }

    /// Lets the next thing happen.
    pub fn step(&mut self) -> Result<(), End> {
        let ((at, _), happening) = self.queue.pop_first().expect("ticks never end");
        assert!(self.now <= at);
        self.now = at;
        self.trace.note(at.0);
        match happening {
            Happening::ToLeader(shard, message) => {
                self.leader.handle(at, LeaderEvent::From { shard, message });
                self.turn_soon(Machine::Leader);
            }
            Happening::ToShard(shard, message) => {
                self.shards[usize::from(shard.0)].handle(at, ShardEvent::Told(message));
                self.turn_soon(Machine::Shard(shard));
            }
            Happening::Disk(owner, ticket) => return self.disk_done(owner, ticket),
            Happening::Told(owner, result) => self.tell(owner, result),
            Happening::Turn(machine) => return self.turn(machine),
            Happening::Tick(core) => self.tick(core),
            Happening::Wake(client) => self.wakes.push(client),
        }
        Ok(())
    }

    fn at(&mut self, wait: Duration, happening: Happening) {
        self.next += 1;
        self.queue.insert((self.now + wait, self.next), happening);
    }

    fn draw(&mut self, usual: Duration) -> Duration {
        let most = if self.dice.chance(2) { usual + self.pace.hiccup } else { usual };
        Duration::from_nanos(self.dice.below(most.as_nanos() as u64 + 1))
    }

    fn post(&mut self, from: Machine, to: Machine, happening: Happening) {
        let drawn = self.now + self.draw(self.pace.message);
        let last = self.pairs.entry((from, to)).or_insert(Instant(0));
        *last = drawn.max(*last);
        let wait = last.since(self.now);
        self.at(wait, happening);
    }

    /// A machine that was handed something is drained a little later, so that more may gather.
    fn turn_soon(&mut self, machine: Machine) {
        if self.turns.insert(machine) {
            let wait = Duration::from_nanos(self.dice.below(3000));
            self.at(wait, Happening::Turn(machine));
        }
    }

    fn tick(&mut self, core: ShardId) {
        let shard = &mut self.shards[usize::from(core.0)];
        let more = shard.tick(self.now);
        let mut deadline = shard.poll_deadline();
        self.turn_soon(Machine::Shard(core));
        if core == ShardId(0) {
            self.leader.tick(self.now);
            deadline = [deadline, self.leader.poll_deadline()].into_iter().flatten().min();
            self.turn_soon(Machine::Leader);
        }
        let most = self.pace.tick_max;
        let wait = match (more, deadline) {
            (true, _) => TICK_MIN,
            (false, Some(at)) => at.since(self.now).clamp(TICK_MIN, most),
            (false, None) => most,
        };
        self.at(wait, Happening::Tick(core));
    }

    fn turn(&mut self, machine: Machine) -> Result<(), End> {
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
                let happening = Happening::ToShard(shard, message);
                self.post(Machine::Leader, Machine::Shard(shard), happening);
            }
            LeaderEffect::Io { op, request } => return self.submit(Owner::Leader(op), request),
            LeaderEffect::Report(Report::Broken { what }) => return Err(End::Broken(what)),
            LeaderEffect::Send { .. } | LeaderEffect::Connect { .. } => {}
            LeaderEffect::Report(report) => self.reports.push(report),
        }
        Ok(())
    }

    fn shard_effect(&mut self, id: ShardId, effect: ShardEffect) -> Result<(), End> {
        let from = Machine::Shard(id);
        match effect {
            ShardEffect::Reply { call, message } => {
                self.trace.note(call.0);
                self.trace.bytes(&message);
                self.replies.push((call, Ok(message)));
            }
            ShardEffect::Fail { call, error } => {
                self.trace.note(call.0);
                self.trace.note(u64::from(error.code.number()));
                self.replies.push((call, Err(error)));
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
            ShardEffect::Send { .. }
            | ShardEffect::SendParts { .. }
            | ShardEffect::Finish { .. } => panic!("no stream was opened"),
        }
        Ok(())
    }

    fn submit(&mut self, owner: Owner, request: IoRequest) -> Result<(), End> {
        let kind = Kind::of(&request);
        self.note_request(&request);
        let is_last = matches!(self.ending, Ending::Request(at, _) if at == kind);
        if self.planted == Planted::ForgetSync && matches!(request, IoRequest::Sync { .. }) {
            let wait = self.draw(self.pace.disk);
            self.at(wait, Happening::Told(owner, IoResult::Done));
        } else {
            let ticket = self.disk.begin(request);
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
            IoRequest::Sync { .. } | IoRequest::Prepare { .. } | IoRequest::Remove { .. } => {}
        }
    }

    fn disk_done(&mut self, owner: Owner, ticket: u64) -> Result<(), End> {
        let kind = Kind::of(self.disk.request(ticket));
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
        if matches!(self.ending, Ending::Done(at, _) if at == kind) {
            self.count_request()?;
        }
        self.tell(owner, result);
        Ok(())
    }

    fn tell(&mut self, owner: Owner, result: IoResult) {
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
