//! Owns a whole run: calm, trouble, a core that heals, everything healed, and the judgement.
//! Invariant: the same seed and planted bug give the same run, to the last byte.

mod drill;
mod judge;

use std::fmt;
use std::time::Duration;

use base::{Instant, Prng};
use ringleader_sim::Planted;
use ringleader_sim::plan::Ending;

use crate::actor::client::Client;
use crate::actor::holder::Holder;
use crate::actor::operator::{Mode, Operator};
use crate::actor::watch::Watch;
use crate::actor::{Book, Open};
use crate::history::History;
use crate::member::REQUEST_TIMEOUT;
use crate::nemesis::Nemesis;
use crate::oracle::leases::Leases;
use crate::oracle::order::Replayed;
use crate::plan::{Scope, Shape};
use crate::world::{Actor, News, Voice, World, Wrong};

/// Within this time a core that reaches itself serves again, whatever went before.
const RECOVERY: Duration = Duration::from_secs(30);
/// Within this time an operator has set right whatever there is: what it asked before comes to
/// nothing by then, a lost member is replaced, and a new one has the whole store.
const REPAIR: Duration = Duration::from_secs(60);
/// Longest pause of clients while there is nothing but repair.
const SLOW_THINK: Duration = Duration::from_millis(400);
/// No lease of a client that is gone lives for longer than this once all is well.
const LEASES_GONE: Duration = Duration::from_secs(12);

/// Tells the dice of the full scope from those of the plain one.
const WIDE: u64 = 0x7769_6465;

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Fingerprint of everything.
    pub hash: u64,
    /// Times that the power of a member went.
    pub crashes: u64,
    /// Terms that had a leader.
    pub terms: u64,
    /// Operations that were asked.
    pub asked: u64,
    /// Operations that were answered and explained.
    pub told: u64,
    /// Of those whose fate was unknown, the ones that turned out to be done.
    pub found: u64,
    /// Revisions.
    pub revisions: u64,
    /// Events that watches saw.
    pub events: u64,
    /// Streams that carried them.
    pub streams: u64,
    /// Renewals of leases that were granted.
    pub renewals: u64,
    /// Old log entries that leaders read for members that lagged.
    pub fetched: u64,
    /// Whole stores that they sent.
    pub stores: u64,
    /// Virtual milliseconds until every client of the core was served again.
    pub recovery_ms: u64,
    /// Changes of members.
    pub changes: u64,
    /// Machines that were born into the cluster.
    pub born: u64,
    /// Times that a member stopped because its disk failed or lied.
    pub refusals: u64,
}

/// A law was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// By this seed.
    pub seed: u64,
    /// In which part of the run.
    pub part: &'static str,
    /// At this time of the world.
    pub at: Instant,
    /// What.
    pub what: String,
    /// What the run was about.
    pub plan: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, part, at, what, plan } = self;
        write!(f, "seed {seed}, {part}, at {:.3} s: {what}\n  {plan}", at.0 as f64 / 1e9)
    }
}

/// The run under way.
struct Run {
    dice: Prng,
    world: World,
    book: Book,
    clients: Vec<Client>,
    watches: Vec<Watch>,
    holders: Vec<Holder>,
    nemesis: Option<Nemesis>,
    operator: Option<Operator>,
    part: &'static str,
    recovery_ms: u64,
}

/// Runs a seed to its end.
pub fn run(seed: u64, scope: Scope, planted: Planted, voice: Voice) -> Result<Summary, Failure> {
    run_shaped(seed, scope, planted, voice, |_| {})
}

/// The same in a shape that was changed after it was drawn, for whoever looks for something.
pub fn run_shaped(
    seed: u64,
    scope: Scope,
    planted: Planted,
    voice: Voice,
    change: fn(&mut Shape),
) -> Result<Summary, Failure> {
    let mut dice = Prng::from_seed(seed);
    let mut shape = Shape::draw(&mut dice);
    match scope {
        Scope::Plain => {}
        Scope::Full => shape.widen(&mut Prng::from_seed(seed ^ WIDE)),
    }
    change(&mut shape);
    let shown = format!("{shape:?}");
    let mut run = Run::new(shape, planted, voice, dice).with_operator(seed);
    run.go().map_err(|what| {
        let (part, at) = (run.part, run.world.now);
        let plan = format!("{shown}\n  {}", run.world.describe());
        Failure { seed, part, at, what, plan }
    })
}

impl Run {
    fn new(shape: Shape, planted: Planted, voice: Voice, mut dice: Prng) -> Run {
        let mut own = || Prng::from_seed(dice.next_u64());
        let mut world = World::new(shape, planted, voice, own());
        let shape = world.shape.clone();
        let numbers = |count: u64| 0..count as usize;
        Run {
            clients: numbers(shape.clients).map(|at| Client::new(&mut world, at, own())).collect(),
            watches: numbers(shape.watches).map(|at| Watch::new(&mut world, at, own())).collect(),
            holders: numbers(shape.holders).map(|at| Holder::new(&mut world, at, own())).collect(),
            nemesis: None,
            operator: None,
            book: Book {
                history: History::default(),
                leases: Leases::new(shape.drift),
                open: Open::Yes,
                members: world.ids(),
            },
            part: "the start",
            recovery_ms: 0,
            dice: own(),
            world,
        }
    }

    fn with_operator(mut self, seed: u64) -> Run {
        if self.world.shape.changes_every.is_some() {
            let dice = Prng::from_seed(seed ^ WIDE.rotate_left(32));
            self.operator = Some(Operator::new(&mut self.world, dice));
        }
        self
    }

    fn go(&mut self) -> Result<Summary, Wrong> {
        for id in self.world.ids() {
            let wait = Duration::from_millis(self.dice.below(300));
            self.world.start_after(wait, id);
        }
        // Some clusters are founded in the middle of trouble.
        if self.dice.chance(700) {
            self.until(RECOVERY, "the cluster to serve", Run::all_serve)?;
            self.pass(Duration::from_millis(500))?;
            self.drill()?;
        }
        self.enter("the storm");
        self.turn_operator(Mode::Adventure);
        let dice = Prng::from_seed(self.dice.next_u64());
        self.nemesis = Some(Nemesis::new(&mut self.world, dice));
        self.world.network.lose(self.world.shape.lossy_per_mille);
        self.world.client_breaks_per_mille = self.world.shape.client_breaks_per_mille;
        self.pass(self.world.shape.storm)?;
        self.heal_core()?;
        self.heal_all()?;
        self.quiet()?;
        let replayed = self.judge()?;
        Ok(self.summary(&replayed))
    }

    fn enter(&mut self, part: &'static str) {
        self.part = part;
        self.world.remark(format_args!("{part} begins"));
    }

    /// Lets the next thing happen, and everybody learn of it.
    fn step(&mut self) -> Result<(), Wrong> {
        for (actor, news) in self.world.step()? {
            self.tell(actor, news)?;
        }
        Ok(())
    }

    fn tell(&mut self, actor: Actor, news: News) -> Result<(), Wrong> {
        match actor {
            Actor::Client(at) => {
                self.clients[at].learn(&mut self.world, &mut self.book, news)?;
            }
            Actor::Watch(at) => {
                self.watches[at].learn(&mut self.world, &mut self.book, news)?;
            }
            Actor::Holder(at) => {
                self.holders[at].learn(&mut self.world, &mut self.book, news)?;
            }
            Actor::Operator => {
                if let Some(operator) = &mut self.operator {
                    operator.learn(&mut self.world, &mut self.book, news)?;
                }
            }
            Actor::Nemesis => {
                if let Some(nemesis) = &mut self.nemesis {
                    nemesis.act(&mut self.world);
                }
            }
            Actor::Judge => unreachable!("the judge hears for itself"),
        }
        Ok(())
    }

    fn pass(&mut self, time: Duration) -> Result<(), Wrong> {
        let until = self.world.now + time;
        while self.world.now < until {
            self.step()?;
        }
        Ok(())
    }

    fn until(&mut self, time: Duration, what: &str, done: fn(&Run) -> bool) -> Result<(), Wrong> {
        let until = self.world.now + time;
        while !done(self) {
            self.step()?;
            if until < self.world.now {
                return Err(format!("liveness: waited {time:?} for {what}"));
            }
        }
        Ok(())
    }

    fn all_serve(&self) -> bool {
        let known = &self.book.members;
        known.iter().all(|id| self.world.member(*id).is_serving())
    }

    /// A majority that reaches itself serves all its clients, whatever became of the others.
    fn heal_core(&mut self) -> Result<(), Wrong> {
        self.enter("the healing of a core");
        let mut nemesis = self.nemesis.take().expect("there was trouble");
        let core = self.core();
        nemesis.heal_core(&mut self.world, &core);
        self.book.members = core;
        let began = self.world.now;
        match self.operator.as_ref().is_some_and(|operator| operator.mode == Mode::Repair) {
            true => self.until(REPAIR, "the cluster to be repaired", Run::is_repaired)?,
            false => self.until(RECOVERY, "the core to serve", Run::all_serve)?,
        }
        let before: Vec<u64> = self.clients.iter().map(|client| client.done).collect();
        let until = self.world.now.max(began) + RECOVERY;
        while self.clients.iter().zip(&before).any(|(client, before)| client.done < before + 3) {
            self.step()?;
            if until < self.world.now {
                return Err(format!("liveness: clients were not served within {RECOVERY:?}"));
            }
        }
        self.recovery_ms = self.world.now.since(began).as_millis() as u64;
        self.nemesis = Some(nemesis);
        Ok(())
    }

    /// Who is healed first.
    fn core(&mut self) -> Vec<u64> {
        let mut core = self.world.ids();
        let Some(operator) = &mut self.operator else {
            while core.len() > self.world.ids().len() / 2 + 1 {
                core.swap_remove(self.dice.below(core.len() as u64) as usize);
            }
            return core;
        };
        match operator.core(&self.world) {
            Some(core) => {
                operator.turn_to(Mode::Rest);
                core
            }
            None => {
                self.turn_operator(Mode::Repair);
                core
            }
        }
    }

    fn turn_operator(&mut self, mode: Mode) {
        if let Some(operator) = &mut self.operator {
            operator.turn_to(mode);
            self.slow_down(mode);
        }
    }

    /// A repair waits for what was asked before: clients need not fill that time.
    fn slow_down(&mut self, mode: Mode) {
        if mode == Mode::Repair {
            self.world.shape.think = self.world.shape.think.max(SLOW_THINK);
        }
    }

    fn is_repaired(&self) -> bool {
        self.operator.as_ref().is_none_or(|operator| operator.is_done(&self.world))
    }

    fn heal_all(&mut self) -> Result<(), Wrong> {
        self.enter("the healing of all");
        let mut nemesis = self.nemesis.take().expect("there was trouble");
        self.turn_operator(Mode::Repair);
        nemesis.heal_all(&mut self.world);
        self.until(REPAIR, "the cluster to be repaired", Run::is_repaired)?;
        self.turn_operator(Mode::Rest);
        self.book.members = self.world.ids();
        self.until(RECOVERY, "all members to serve", Run::all_serve)?;
        if self.dice.chance(300) {
            // Nothing is lost even if all go at once.
            for id in self.world.ids() {
                self.world.crash(id);
                self.world.start(id, Ending::Open);
            }
            self.until(RECOVERY, "all members to serve again", Run::all_serve)?;
        }
        self.pass(Duration::from_millis(500))
    }

    /// Nobody asks for anything any more, and what was under way comes to its end.
    fn quiet(&mut self) -> Result<(), Wrong> {
        self.enter("the quiet");
        self.book.open = Open::No;
        self.until(RECOVERY, "operations under way", |run| {
            let idle = run.holders.iter().all(Holder::is_idle);
            idle && !run.clients.iter().any(Client::is_busy)
        })?;
        // What a client gave up may still be done while its member works on it.
        let rest = if self.holders.is_empty() { REQUEST_TIMEOUT } else { LEASES_GONE };
        self.pass(rest + Duration::from_secs(1))?;
        self.until(RECOVERY, "members to agree", |run| {
            let last = run.world.agreement.last();
            run.world.ids().into_iter().all(|id| run.world.member(id).revision() == last)
        })?;
        self.until(RECOVERY, "watches to see everything", |run| {
            let last = run.world.agreement.last();
            run.watches.iter().all(|watch| last <= watch.seen.through())
        })
    }

    fn summary(&self, replayed: &Replayed) -> Summary {
        let served: Vec<(u64, u64)> =
            self.world.ids().iter().map(|id| self.world.member(*id).served()).collect();
        Summary {
            fetched: served.iter().map(|(fetched, _)| fetched).sum(),
            stores: served.iter().map(|(_, stores)| stores).sum(),
            hash: self.world.fingerprint(),
            crashes: self.world.crashes,
            terms: self.world.agreement.terms(),
            asked: self.book.history.ops.len() as u64,
            told: replayed.told,
            found: replayed.found,
            revisions: self.world.agreement.last() as u64,
            events: self.watches.iter().map(|watch| watch.seen.events() as u64).sum(),
            streams: self.watches.iter().map(|watch| watch.streams).sum(),
            renewals: self.holders.iter().map(|holder| holder.renewals).sum(),
            recovery_ms: self.recovery_ms,
            changes: self.world.logs.changes,
            born: self.world.all().count() as u64 - self.world.shape.members,
            refusals: self.world.refusals,
        }
    }
}
