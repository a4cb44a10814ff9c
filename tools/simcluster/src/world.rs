//! Owns the order of all that happens: members' own steps, notes on their way, clients' pauses,
//! and the one clock that all others are read against.
//! Never judges, except that members agree on what was decided, on who leads and on what is
//! committed. Invariant: of all that is due, what is due first happens first; what is due at once
//! happens in the order in which it was asked for.

mod callers;
mod machines;
mod said;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use base::{Instant, Prng};
use node::{CallId, Founding, LeaderEvent, ShardEvent};
use ringleader_sim::Planted;
use ringleader_sim::member::Heard;
use ringleader_sim::setup::{founded_by, peer_url};
use ringleader_sim::trace::Trace;

use crate::history::Stamp;
use crate::member::{Fate, Mail, Member};
use crate::network::{Letter, Network};
use crate::oracle::agreement::Agreement;
use crate::oracle::logs::Logs;
use crate::plan::Shape;
use callers::Call;

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
    /// Who changes members.
    Operator,
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
    Unreachable {
        at: u64,
        peer: u64,
    },
    Wake(Actor, u64),
    GoOn(u64, u64),
    Restart(u64),
    /// A member of this life dials all others, and may learn that it was removed.
    Dial(u64, u64),
    ToldRemoved {
        at: u64,
        life: u64,
        by: u64,
    },
    /// A removed member's process ends.
    Retire(u64, u64),
    /// A removed member is started again.
    Relapse(u64),
    /// From a client to its member.
    Word(CallId, ShardEvent),
    /// To a client.
    News(Actor, News),
    /// A client's connection broke, and this life of the member hears of it.
    Gone(u64, u64, Mail),
}

/// The world.
pub struct World {
    /// The time.
    pub now: Instant,
    /// What holds for the whole run.
    pub shape: Shape,
    /// All members there ever were, by id.
    members: BTreeMap<u64, Member>,
    planted: Planted,
    /// Between them.
    pub network: Network,
    /// What members agree on.
    pub agreement: Agreement,
    /// What members remember.
    pub logs: Logs,
    /// Of a thousand words between clients and members, those with which a connection breaks.
    pub client_breaks_per_mille: u64,
    /// Members that were told to stop, and did.
    pub stopped: BTreeSet<u64>,
    /// The leader that was last reported, and in which term.
    pub leader: (u64, u64),
    /// Times that a member stopped for good reason: its disk failed, or lied.
    pub refusals: u64,
    // Members whose disk was damaged on purpose.
    damaged: BTreeSet<u64>,
    /// The highest revision that any client was told.
    pub seen: i64,
    /// Times that power went.
    pub crashes: u64,
    /// Entries that forced members kept without knowing them to be committed.
    pub kept: u64,
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
        let founding = founded_by(&ids);
        let founders = match &founding {
            Founding::New(members) | Founding::Existing(members) => members.clone(),
        };
        let member =
            |id: u64| (id, Member::new(id, peer_url(id), founding.clone(), planted, &mut dice));
        let members = ids.into_iter().map(member).collect();
        let reconfig = shape.reconfig;
        World {
            now: Instant(1),
            network: Network::new(shape.latency),
            shape,
            members,
            planted,
            agreement: Agreement::new(),
            logs: Logs::new(founders, reconfig),
            client_breaks_per_mille: 0,
            stopped: BTreeSet::new(),
            leader: (0, 0),
            refusals: 0,
            damaged: BTreeSet::new(),
            seen: 1,
            crashes: 0,
            kept: 0,
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

    /// The machines in use.
    pub fn ids(&self) -> Vec<u64> {
        let used = self.members.values().filter(|member| member.fate == Fate::InUse);
        used.map(|member| member.id).collect()
    }

    /// All members there ever were.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// A member.
    pub fn member(&self, id: u64) -> &Member {
        &self.members[&id]
    }

    fn member_mut(&mut self, id: u64) -> &mut Member {
        self.members.get_mut(&id).expect("it was born")
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
        self.members.values().for_each(|member| trace.note(member.trace()));
        trace.value()
    }

    /// How members are, for whoever reads of a failure.
    pub fn describe(&self) -> String {
        let all: String = self.members.values().map(|member| format!("{member}; ")).collect();
        let listed = self.logs.roster.listed.values();
        let roster: String =
            listed.map(|m| format!("{} {:?} {:?}; ", m.id, m.role, m.peer_urls)).collect();
        format!("{all}\n  listed: {roster}")
    }

    /// Wakes an actor after a while.
    pub fn wake(&mut self, wait: Duration, actor: Actor, number: u64) {
        self.at(wait, Happening::Wake(actor, number));
    }

    /// Lets the next thing happen; what actors learn of it.
    pub fn step(&mut self) -> Result<Vec<(Actor, News)>, Wrong> {
        self.order += 1;
        let own =
            self.members.values().filter_map(|member| Some((member.next_at()?, member.id))).min();
        let outside = self.queue.first_key_value().map(|((at, _), _)| *at);
        match (own, outside) {
            (Some((at, member)), outside) if outside.is_none_or(|other| at < other) => {
                self.pass_to(at);
                self.member_step(member)?;
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

    fn happen(&mut self, happening: Happening) -> Result<(), Wrong> {
        let now = self.now;
        match happening {
            Happening::Letter(letter) => self.letter(letter)?,
            Happening::Unreachable { at, peer } => {
                self.untold.remove(&(at, peer));
                let mail = Mail::Peer(LeaderEvent::Unreachable { peer });
                self.member_mut(at).deliver(now, mail);
                // Somebody answers in the place of a process that is no more, and sometimes in
                // the place of one that lives.
                let is_up = self.members.get(&peer).is_some_and(Member::is_up);
                if !is_up || self.dice.chance(50) {
                    let mail = Mail::Peer(LeaderEvent::Ended { peer });
                    self.member_mut(at).deliver(now, mail);
                }
            }
            Happening::Wake(actor, number) => self.news.push((actor, News::Woken(number))),
            Happening::GoOn(id, life) if self.member(id).lives == life => self.go_on(id),
            Happening::Restart(id) => self.come_back(id),
            Happening::Dial(id, life) => self.dial(id, life),
            Happening::ToldRemoved { at, life, by } if self.member(at).lives == life => {
                self.member_mut(at).deliver(now, Mail::Peer(LeaderEvent::ToldRemoved { by }));
            }
            Happening::Retire(id, life) if self.member(id).lives == life => self.retire(id),
            Happening::Relapse(id) => self.relapse(id),
            Happening::Word(call, event) => self.arrive(call, event),
            Happening::News(actor, news) => self.news.push((actor, news)),
            Happening::Gone(id, life, mail) if self.member(id).lives == life => {
                self.member_mut(id).deliver(now, mail);
            }
            Happening::GoOn(..)
            | Happening::ToldRemoved { .. }
            | Happening::Retire(..)
            | Happening::Gone(..) => {}
        }
        Ok(())
    }
}
