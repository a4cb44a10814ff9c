//! Owns the order of all that happens: members' own steps, notes on their way, clients' pauses,
//! and the one clock that all others are read against.
//! Never judges, except that members agree on what was decided and who leads. Invariant: of all
//! that is due, what is due first happens first; what is due at once happens in the order in which
//! it was asked for.

mod said;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use base::{Instant, Prng};
use bytes::Bytes;
use node::shard::{CallMeta, LeaderNeed};
use node::{CallId, LeaderEvent, ShardEvent, ShardId};
use ringleader_sim::Planted;
use ringleader_sim::member::Heard;
use ringleader_sim::plan::Ending;
use ringleader_sim::trace::Trace;
use wire::Method;

use crate::history::Stamp;
use crate::member::{Mail, Member};
use crate::network::{Letter, Network};
use crate::oracle::agreement::Agreement;
use crate::plan::Shape;

/// A law is broken: which, and how.
pub type Wrong = String;

/// Who acts in the world beside the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// A client that reads and writes.
    Client(usize),
    /// A watch.
    Watch(usize),
    /// A client that holds leases.
    Holder(usize),
    /// Who makes trouble.
    Nemesis,
    /// Who looks at the end.
    Judge,
}

/// Whether the world tells what happens, for whoever looks for a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// It does not.
    Silent,
    /// It prints what matters.
    Loud,
    /// It prints every note between members too.
    Full,
}

/// What an actor learns.
#[derive(Clone, Debug)]
pub enum News {
    /// A call was answered.
    Heard(CallId, Heard),
    /// The connection of a call broke.
    Lost(CallId),
    /// A pause is over, with the number that was given for it.
    Woken(u64),
}

enum Happening {
    Letter(Letter),
    Unreachable { at: u64, peer: u64 },
    Wake(Actor, u64),
    GoOn(u64, u64),
    Restart(u64),
}

struct Call {
    actor: Actor,
    member: u64,
    shard: ShardId,
}

/// The world.
pub struct World {
    /// The time.
    pub now: Instant,
    /// What holds for the whole run.
    pub shape: Shape,
    /// Members, by id from 1.
    members: Vec<Member>,
    /// Between them.
    pub network: Network,
    /// What members agree on.
    pub agreement: Agreement,
    /// The highest revision that any client was told.
    pub seen: i64,
    /// Times that power went.
    pub crashes: u64,
    /// Whose data was found to be another than that of the others; 0 for all.
    pub blamed: BTreeSet<u64>,
    dice: Prng,
    queue: BTreeMap<(Instant, u64), Happening>,
    next: u64,
    order: u64,
    calls: BTreeMap<CallId, Call>,
    next_call: u64,
    // Losses that a member will hear of, as (member, peer).
    untold: BTreeSet<(u64, u64)>,
    news: Vec<(Actor, News)>,
    trace: Trace,
    voice: Voice,
}

impl World {
    /// A world in which no member was started yet.
    pub fn new(shape: Shape, planted: Planted, voice: Voice, mut dice: Prng) -> World {
        let ids: Vec<u64> = (1..=shape.members).collect();
        let members =
            ids.iter().map(|id| Member::new(*id, ids.clone(), planted, &mut dice)).collect();
        World {
            now: Instant(1),
            network: Network::new(shape.latency),
            shape,
            members,
            agreement: Agreement::new(),
            seen: 1,
            crashes: 0,
            blamed: BTreeSet::new(),
            dice,
            queue: BTreeMap::new(),
            next: 0,
            order: 0,
            calls: BTreeMap::new(),
            next_call: 0,
            untold: BTreeSet::new(),
            news: Vec::new(),
            trace: Trace::new(),
            voice,
        }
    }

    /// Prints what happens, if that is wanted.
    pub fn remark(&self, what: fmt::Arguments<'_>) {
        if self.voice != Voice::Silent {
            println!("{:12.6} {what}", self.now.0 as f64 / 1e9);
        }
    }

    /// All ids.
    pub fn ids(&self) -> Vec<u64> {
        (1..=self.shape.members).collect()
    }

    /// A member.
    pub fn member(&self, id: u64) -> &Member {
        &self.members[id as usize - 1]
    }

    fn member_mut(&mut self, id: u64) -> &mut Member {
        &mut self.members[id as usize - 1]
    }

    /// Changes what a member is, from its next life on.
    pub fn prepare(&mut self, id: u64, change: impl FnOnce(&mut Member)) {
        change(self.member_mut(id));
    }

    /// A moment that no other moment equals, later than all before.
    pub fn stamp(&mut self) -> Stamp {
        self.order += 1;
        Stamp { at: self.now, order: self.order }
    }

    /// A client was told of a revision.
    pub fn saw(&mut self, revision: i64) {
        self.seen = self.seen.max(revision);
    }

    /// The fingerprint of everything so far.
    pub fn fingerprint(&self) -> u64 {
        let mut trace = self.trace;
        self.members.iter().for_each(|member| trace.note(member.trace()));
        trace.value()
    }

    /// How members are, for whoever reads of a failure.
    pub fn describe(&self) -> String {
        self.members.iter().map(|member| format!("{member}; ")).collect()
    }

    /// Starts a member that is down.
    pub fn start(&mut self, id: u64, ending: Ending) {
        self.remark(format_args!("member {id} starts, {ending:?}"));
        let (now, shape) = (self.now, self.shape.clone());
        let mut dice = Prng::from_seed(self.dice.next_u64());
        self.member_mut(id).start(now, &shape, ending, &mut dice);
    }

    /// Starts a member that is down after a while, unless it is up by then.
    pub fn start_after(&mut self, wait: Duration, id: u64) {
        self.at(wait, Happening::Restart(id));
    }

    /// The power of a member goes.
    pub fn crash(&mut self, id: u64) {
        if !self.member(id).is_up() {
            return;
        }
        self.remark(format_args!("member {id} crashes"));
        self.crashes += 1;
        let mut dice = Prng::from_seed(self.dice.next_u64());
        self.member_mut(id).crash(&mut dice);
        let lost: Vec<CallId> =
            self.calls.iter().filter(|(_, call)| call.member == id).map(|(id, _)| *id).collect();
        for call in lost {
            let actor = self.calls.remove(&call).expect("listed a moment ago").actor;
            self.news.push((actor, News::Lost(call)));
        }
        // What it had sent may still arrive; what was sent to it is lost with its connections.
        let breaks_both = self.dice.chance(500);
        for peer in self.ids().into_iter().filter(|peer| *peer != id) {
            self.network.reset(peer, id);
            if breaks_both {
                self.network.reset(id, peer);
            }
        }
    }

    /// A member's process stands still for so long.
    pub fn pause(&mut self, id: u64, pause: Duration) {
        self.remark(format_args!("member {id} stands still for {pause:?}"));
        let life = self.member(id).lives;
        self.member_mut(id).pause();
        self.at(pause, Happening::GoOn(id, life));
    }

    /// A member's life does not end by itself any more.
    pub fn endure(&mut self, id: u64) {
        self.member_mut(id).endure();
    }

    /// A member's process goes on now, if it stands still.
    pub fn go_on(&mut self, id: u64) {
        let now = self.now;
        self.member_mut(id).go_on(now);
    }

    /// Wakes an actor after a while.
    pub fn wake(&mut self, wait: Duration, actor: Actor, number: u64) {
        self.at(wait, Happening::Wake(actor, number));
    }

    /// Sends a unary request. `None` if nobody listens there.
    pub fn call(
        &mut self,
        actor: Actor,
        member: u64,
        method: Method,
        message: Bytes,
    ) -> Option<CallId> {
        let meta = CallMeta { leader: LeaderNeed::Any };
        let (call, shard) = self.name(actor, member)?;
        self.remark(format_args!("{actor:?} asks {member}: {call:?} {method:?}"));
        self.tell(member, shard, ShardEvent::Unary { call, method, meta, message });
        Some(call)
    }

    /// Opens a stream. `None` if nobody listens there.
    pub fn open(&mut self, actor: Actor, member: u64, method: Method) -> Option<CallId> {
        let meta = CallMeta { leader: LeaderNeed::Any };
        let (call, shard) = self.name(actor, member)?;
        self.tell(member, shard, ShardEvent::Open { call, method, meta });
        Some(call)
    }

    /// Tells something on a stream that is open.
    pub fn say(&mut self, call: CallId, event: ShardEvent) {
        if let Some(Call { member, shard, .. }) = self.calls.get(&call) {
            let (member, shard) = (*member, *shard);
            self.tell(member, shard, event);
        }
    }

    /// The actor wants to hear no more of a call.
    pub fn leave(&mut self, call: CallId) {
        if let Some(Call { member, shard, .. }) = self.calls.remove(&call) {
            self.tell(member, shard, ShardEvent::Gone { call });
        }
    }

    /// Lets the next thing happen; what actors learn of it.
    pub fn step(&mut self) -> Result<Vec<(Actor, News)>, Wrong> {
        self.order += 1;
        let own =
            (0..self.members.len()).filter_map(|at| Some((self.members[at].next_at()?, at))).min();
        let outside = self.queue.first_key_value().map(|((at, _), _)| *at);
        match (own, outside) {
            (Some((at, member)), outside) if outside.is_none_or(|other| at < other) => {
                self.pass_to(at);
                self.member_step(member as u64 + 1)?;
            }
            (_, Some(at)) => {
                self.pass_to(at);
                let (_, happening) = self.queue.pop_first().expect("it is there");
                self.happen(happening)?;
            }
            (_, None) => return Err("nothing will ever happen again".to_owned()),
        }
        Ok(std::mem::take(&mut self.news))
    }

    fn pass_to(&mut self, at: Instant) {
        self.now = self.now.max(at);
        self.trace.note(self.now.0);
    }

    fn at(&mut self, wait: Duration, happening: Happening) {
        self.next += 1;
        self.queue.insert((self.now + wait, self.next), happening);
    }

    fn name(&mut self, actor: Actor, member: u64) -> Option<(CallId, ShardId)> {
        // A process listens to clients once it has published itself.
        if !self.member(member).is_serving() {
            return None;
        }
        self.next_call += 1;
        let call = CallId(self.next_call);
        let mut dice = Prng::from_seed(self.dice.next_u64());
        let shard = self.member(member).any_shard(&mut dice);
        self.calls.insert(call, Call { actor, member, shard });
        Some((call, shard))
    }

    fn tell(&mut self, member: u64, shard: ShardId, event: ShardEvent) {
        let now = self.now;
        self.member_mut(member).deliver(now, Mail::Client(shard, event));
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Wrong> {
        let now = self.now;
        match happening {
            Happening::Letter(letter) => self.letter(letter)?,
            Happening::Unreachable { at, peer } => {
                self.untold.remove(&(at, peer));
                let mail = Mail::Peer(LeaderEvent::Unreachable { peer });
                self.member_mut(at).deliver(now, mail);
            }
            Happening::Wake(actor, number) => self.news.push((actor, News::Woken(number))),
            Happening::GoOn(id, life) if self.member(id).lives == life => self.go_on(id),
            Happening::Restart(id) if !self.member(id).is_up() => self.start(id, Ending::Open),
            Happening::GoOn(..) | Happening::Restart(_) => {}
        }
        Ok(())
    }
}
