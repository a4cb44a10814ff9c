//! Owns one life of a member: its machines, the messages and disk requests between them, and the
//! order in which they arrive. What it says to peers and clients is handed out; what they say is
//! handed in.
//! Never decides what is right. Invariant: messages from one machine to another arrive in order;
//! everything else arrives when the dice say.

mod carry;
mod forget;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base::{Instant, IoError, IoResult, OpId, Prng, SliceId};
use bytes::{Bytes, BytesMut};
use node::figures::LeaderCounts;
use node::leader::{PeerPlace, Report};
use node::message::ApplyBatch;
use node::shard::{CallMeta, Caller, LeaderNeed};
use node::{
    CallId, Leader, LeaderConfig, LeaderEvent, PeerNote, Shard, ShardConfig, ShardEvent, ShardId,
    ToLeader, ToShard,
};
use wal::Record;
use wire::{Method, Status};

use crate::disk::Disk;
use crate::plan::{Ending, Fault, Kind, Pace, Planted};
use crate::trace::Trace;
use forget::Forgetful;

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

/// What a client hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// The reply of a unary call.
    Reply(Bytes),
    /// A message of a stream.
    Message(Bytes),
    /// The call ended with an error.
    Failed(Status),
    /// The stream ended well.
    Finished,
}

/// What became of a member's log.
#[derive(Clone, Debug)]
pub enum LogNews {
    /// A batch was handed to the disk.
    Written {
        /// Names it.
        ticket: u64,
        /// What is in it.
        records: Vec<Record>,
    },
    /// The batch is durable.
    Durable {
        /// Which.
        ticket: u64,
    },
}

/// What a member says to those outside of it, since it was last taken.
#[derive(Default)]
pub struct Said {
    /// To clients.
    pub heard: Vec<(CallId, Heard)>,
    /// To peers, with whom it is for.
    pub sent: Vec<(u64, PeerNote)>,
    /// Whom it wants to be connected with, and whom it tells that they were removed, if that
    /// changed.
    pub connect: Option<(Vec<PeerPlace>, Vec<u64>)>,
    /// What became of its log.
    pub log: Vec<LogNews>,
    /// What its leader decided, in order.
    pub decided: Vec<Arc<ApplyBatch>>,
    /// To whoever runs it.
    pub reports: Vec<Report>,
    /// Clients whose pause is over.
    pub wakes: Vec<u64>,
}

/// What a life is told.
pub struct Start {
    /// What its clock shows.
    pub began: Instant,
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
    sends: u64,
    // The highest revision that the leader told each shard (for a planted bug).
    revision: i64,
    forgetful: Forgetful,
    // Shards that know that the member serves.
    serving: BTreeSet<ShardId>,
    failed: Option<Failed>,
    fault_seen: u64,
    // No flush of the log is done before this.
    stuck_until: Instant,
    // It was removed and goes on (a planted bug).
    outcast: bool,
    /// The fingerprint.
    pub trace: Trace,
    /// What it says.
    pub said: Said,
    /// Replies that come in parts: what has come, and how long they will be.
    begun: BTreeMap<CallId, (BytesMut, usize)>,
}

impl Member {
    /// Begins a life on what the last one left.
    pub fn start(disk: Disk, trace: Trace, start: Start) -> Member {
        let now = start.began;
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
            sends: 0,
            revision: 1,
            forgetful: Forgetful::new(),
            serving: BTreeSet::new(),
            failed: None,
            fault_seen: 0,
            stuck_until: now,
            outcast: false,
            trace,
            said: Said::default(),
            begun: BTreeMap::new(),
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

    /// The disk as it is.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Nothing that happens inside ends the life any more, and the disk works from now on.
    pub fn endure(&mut self) {
        self.ending = Ending::Open;
        self.fault = Fault::None;
        self.stuck_until = self.now;
    }

    /// Ends the life and gives the disk back as it is, before the crash is drawn.
    pub fn into_disk(self) -> (Disk, Trace) {
        (self.disk, self.trace)
    }

    /// What its leader machine counted.
    pub fn counts(&self) -> LeaderCounts {
        self.leader.figures().counts
    }

    /// Whether every shard has heard that the member serves: connections go to them from then on.
    pub fn is_serving(&self) -> bool {
        self.serving.len() == self.shards.len()
    }

    /// A client's request.
    pub fn call(&mut self, shard: ShardId, call: CallId, method: Method, message: Bytes) {
        let meta = CallMeta { leader: LeaderNeed::Any, caller: Caller::Client };
        self.event(shard, ShardEvent::Unary { call, method, meta, message });
    }

    /// What a client's connection tells a shard.
    pub fn event(&mut self, shard: ShardId, event: ShardEvent) {
        self.shards[usize::from(shard.0)].handle(self.now, event);
        self.turn_soon(Machine::Shard(shard));
    }

    /// What a peer's connection tells.
    pub fn peer(&mut self, event: LeaderEvent) {
        self.leader.handle(self.now, event);
        self.turn_soon(Machine::Leader);
    }

    /// When the next thing happens by itself.
    pub fn next_at(&self) -> Instant {
        self.queue.first_key_value().expect("ticks never end").0.0.max(self.now)
    }

    /// Lets time pass up to `now` with nothing done: what is due later than that stays in order,
    /// what was due before happens late, as after a pause of the whole process.
    pub fn skip_to(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Begins the orderly stop.
    pub fn stop(&mut self) {
        self.leader.handle(self.now, LeaderEvent::Stop);
        self.turn_soon(Machine::Leader);
    }

    /// No flush of the log is done for so long.
    pub fn stick(&mut self, time: Duration) {
        self.stuck_until = self.stuck_until.max(self.now + time);
    }

    /// Calls a client back after a pause.
    pub fn wake_after(&mut self, pause: Duration, client: u64) {
        self.at(pause, Happening::Wake(client));
    }

    /// Lets the next thing happen.
    pub fn step(&mut self) -> Result<(), End> {
        let ((due, _), happening) = self.queue.pop_first().expect("ticks never end");
        let at = due.max(self.now);
        self.now = at;
        self.trace.note(at.0);
        match happening {
            Happening::ToLeader(shard, message) => {
                self.leader.handle(at, LeaderEvent::From { shard, message });
                self.turn_soon(Machine::Leader);
            }
            Happening::ToShard(shard, message) => {
                if matches!(&message, ToShard::Facts(facts) if facts.serving) {
                    self.serving.insert(shard);
                }
                self.shards[usize::from(shard.0)].handle(at, ShardEvent::Told(message));
                self.turn_soon(Machine::Shard(shard));
            }
            Happening::Disk(owner, ticket) => return self.disk_done(owner, ticket),
            Happening::Told(owner, result) => self.tell(owner, result),
            Happening::Turn(machine) => return self.turn(machine),
            Happening::Tick(core) => self.tick(core),
            Happening::Wake(client) => self.said.wakes.push(client),
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
}
