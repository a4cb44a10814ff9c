//! Owns who changes the cluster: adds members and learners, promotes, removes, moves and replaces
//! machines, moves leadership, and asks for what must be refused.
//! Knows the cluster by what it is told; only harm to disks is done with a view to all, so that a
//! majority stays sound. Invariant: one request at a time; a listed member gets a machine, and a
//! machine whose disk is gone never comes back as the same member.

pub mod asks;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{Instant, Prng};
use node::CallId;
use prost::Message;
use ringleader_sim::life::is_refusal;
use ringleader_sim::member::Heard;
use ringleader_sim::setup::peer_url;
use state::{Member, MemberRole};
use wire::{Status, etcdserverpb as pb};

use super::Book;
use crate::plan::Decay;
use crate::world::{Actor, News, World, Wrong};
use asks::Ask;

/// Longest time that it waits for an answer.
const PATIENCE_MS: u64 = 4000;
/// Nothing comes of a request any more after this: the limit of its call, and of one hop.
const UNSURE: Duration = Duration::from_secs(15);
/// A disk that was damaged is replaced after so long, whether anybody noticed or not.
const SUSPECT: Duration = Duration::from_secs(3);

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Tries everything.
    Adventure,
    /// Sets things right, and changes nothing else.
    Repair,
    /// Does nothing.
    Rest,
}

/// The operator.
pub struct Operator {
    dice: Prng,
    /// What it is about.
    pub mode: Mode,
    busy: Option<(CallId, Ask)>,
    // Requests of whose fate nobody told, since when.
    unsure: Vec<(Instant, Ask)>,
    // As last told, and whether that was confirmed by a majority.
    list: Vec<pb::Member>,
    confirmed: Option<Instant>,
    // Voters that there should be.
    goal: usize,
    machines: u64,
    // Wiped, and to be removed.
    lost: BTreeSet<u64>,
    suspects: BTreeMap<u64, Instant>,
    woken: u64,
    /// Changes that were acknowledged.
    pub done: u64,
    /// Requests that were refused.
    pub refused: u64,
}

impl Operator {
    /// An operator that will begin soon.
    pub fn new(world: &mut World, dice: Prng) -> Operator {
        let machines = world.shape.members;
        let mut operator = Operator {
            dice,
            mode: Mode::Rest,
            busy: None,
            unsure: Vec::new(),
            list: Vec::new(),
            confirmed: None,
            goal: 3,
            machines,
            lost: BTreeSet::new(),
            suspects: BTreeMap::new(),
            woken: 0,
            done: 0,
            refused: 0,
        };
        operator.sleep(world);
        operator
    }

    /// From now on it is about this.
    pub fn turn_to(&mut self, mode: Mode) {
        self.mode = mode;
        self.confirmed = None;
    }

    /// Whether everything is as it should be: every listed member has a machine that serves, every
    /// machine in use is listed, and nothing is under way.
    pub fn is_done(&self, world: &World) -> bool {
        let listed: BTreeSet<u64> = self.list.iter().map(|member| member.id).collect();
        let used: BTreeSet<u64> = world.ids().into_iter().collect();
        let settled = self.busy.is_none() && self.unsure.is_empty();
        let sound = self.lost.is_empty() && self.suspects.is_empty();
        let serve = used.iter().all(|id| world.member(*id).is_serving());
        let vote = !self.list.iter().any(|member| member.is_learner);
        settled && sound && self.confirmed.is_some() && listed == used && serve && vote
    }

    /// A majority that must serve without the others, whatever comes of what is under way; `None`
    /// if nobody can say now who that would be.
    pub fn core(&mut self, world: &World) -> Option<Vec<u64>> {
        let open = self.busy.is_some() || !self.unsure.is_empty();
        let voters = world.logs.roster.voters();
        let listed = &world.logs.roster.listed;
        let sound = |id: &u64| {
            let in_use = world.ids().contains(id) && !world.is_damaged(*id);
            in_use && listed[id].peer_urls.contains(&world.member(*id).address)
        };
        if open || !world.logs.open_changes().is_empty() || !voters.iter().all(sound) {
            return None;
        }
        let mut core: Vec<u64> = voters.into_iter().collect();
        let least = core.len() / 2 + 1;
        while least < core.len() {
            core.swap_remove(self.dice.below(core.len() as u64) as usize);
        }
        Some(core)
    }

    /// Learns something.
    pub fn learn(&mut self, world: &mut World, book: &mut Book, news: News) -> Result<(), Wrong> {
        match news {
            News::Heard(call, heard) => {
                let Some((_, ask)) = self.busy.take_if(|(mine, _)| *mine == call) else {
                    return Ok(());
                };
                self.answered(world, book, ask, heard)?;
                self.sleep(world);
            }
            News::Lost(call) => {
                if let Some((_, ask)) = self.busy.take_if(|(mine, _)| *mine == call) {
                    self.unsure(world.now, ask);
                    self.sleep(world);
                }
            }
            News::Woken(number) if number == self.woken => {
                match self.busy.take() {
                    Some((call, ask)) => {
                        world.leave(call);
                        self.unsure(world.now, ask);
                    }
                    None => self.act(world, book),
                }
                if self.busy.is_none() {
                    self.sleep(world);
                }
            }
            News::Woken(_) => {}
        }
        Ok(())
    }

    fn unsure(&mut self, now: Instant, ask: Ask) {
        if ask.changes() {
            self.unsure.push((now, ask));
        }
    }

    fn sleep(&mut self, world: &mut World) {
        let most = match (self.mode, world.shape.changes_every) {
            (Mode::Adventure, Some(most)) => most,
            (Mode::Adventure | Mode::Repair | Mode::Rest, _) => Duration::from_millis(400),
        };
        let wait = Duration::from_nanos(1 + self.dice.below(most.as_nanos() as u64));
        self.wake(world, wait);
    }

    fn wake(&mut self, world: &mut World, wait: Duration) {
        self.woken += 1;
        world.wake(wait, Actor::Operator, self.woken);
    }

    fn act(&mut self, world: &mut World, book: &mut Book) {
        self.unsure.retain(|(since, _)| world.now.since(*since) < UNSURE);
        if self.mode == Mode::Rest {
            return;
        }
        self.replace_suspects(world, book);
        if self.mode == Mode::Repair {
            // Without a leader no client is told; the members' own pages for their peers tell.
            let told: Vec<Member> = world.logs.roster.listed.values().cloned().collect();
            self.bear(world, &told);
            relocate(world, &told);
            switch_off(world);
            book.members = world.ids();
        }
        if self.mode == Mode::Adventure && self.dice.chance(120) {
            self.harm(world, book);
        }
        let ask = match self.confirmed.is_none() || self.dice.chance(400) {
            true => Ask::List { linearizable: self.mode == Mode::Repair || self.dice.chance(700) },
            false => match self.decide(world) {
                Some(ask) => ask,
                None => return,
            },
        };
        self.ask(world, book, ask);
    }

    fn ask(&mut self, world: &mut World, book: &Book, ask: Ask) {
        let member = match &ask {
            // Only the leader takes this one.
            Ask::Move(_) => world.leader.1,
            Ask::List { .. }
            | Ask::Add { .. }
            | Ask::Remove(_)
            | Ask::Promote(_)
            | Ask::Update { .. }
            | Ask::Downgrade { .. } => *self.dice.pick(&book.members),
        };
        let (method, message) = ask.encode();
        world.remark(format_args!("the operator wants {ask:?}"));
        if let Some(call) = world.call(Actor::Operator, member, method, message) {
            self.busy = Some((call, ask));
            let patience = Duration::from_millis(500 + self.dice.below(PATIENCE_MS));
            self.wake(world, patience);
        }
    }

    fn answered(
        &mut self,
        world: &mut World,
        book: &mut Book,
        ask: Ask,
        heard: Heard,
    ) -> Result<(), Wrong> {
        match heard {
            Heard::Reply(bytes) => {
                world.remark(format_args!("the operator got {ask:?}"));
                ask.may_be_done(world)?;
                self.done += u64::from(ask.changes());
                match ask {
                    Ask::List { linearizable } => {
                        let reply = pb::MemberListResponse::decode(bytes)
                            .map_err(|error| format!("members: {error}"))?;
                        self.listed(world, book, reply.members, linearizable);
                    }
                    Ask::Add { .. } => {
                        let reply = pb::MemberAddResponse::decode(bytes)
                            .map_err(|error| format!("members: {error}"))?;
                        self.listed(world, book, reply.members, false);
                        self.confirmed = None;
                    }
                    Ask::Remove(id) => drop(self.lost.remove(&id)),
                    Ask::Promote(_) | Ask::Update { .. } | Ask::Move(_) | Ask::Downgrade { .. } => {
                        self.confirmed = None
                    }
                }
            }
            Heard::Failed(status) => self.failed(world.now, ask, &status),
            Heard::Message(_) | Heard::Finished => {
                return Err(format!("members: {ask:?} was answered as a stream: {heard:?}"));
            }
        }
        Ok(())
    }

    fn failed(&mut self, now: Instant, ask: Ask, status: &Status) {
        self.refused += 1;
        // The one refusal that has the code of not knowing.
        if !is_refusal(status) && !status.message.contains("unhealthy cluster") {
            self.unsure(now, ask);
        }
    }

    /// Every member of the list gets the machine that it should have.
    fn listed(
        &mut self,
        world: &mut World,
        book: &mut Book,
        list: Vec<pb::Member>,
        linearizable: bool,
    ) {
        let told: Vec<Member> = list.iter().map(in_state).collect();
        self.bear(world, &told);
        if linearizable {
            relocate(world, &told);
        }
        if linearizable {
            self.lost.retain(|id| told.iter().any(|member| member.id == *id));
            self.confirmed = Some(world.now);
        }
        self.list = list;
        if self.mode != Mode::Rest {
            book.members = world.ids();
        }
    }

    /// New members get a machine, as soon as their address is free.
    fn bear(&mut self, world: &mut World, told: &[Member]) {
        for member in told {
            let Some(address) = member.peer_urls.first() else { continue };
            if !world.knows(member.id) && !world.is_taken(address) {
                world.bear(member.id, address.clone(), told.to_vec());
            }
        }
    }

    /// A disk is lost or rots: never so that a majority would be left without a sound member.
    fn harm(&mut self, world: &mut World, book: &mut Book) {
        let roster = &world.logs.roster;
        let (voters, used) = (roster.voters(), world.ids());
        let calm = self.lost.is_empty()
            && self.suspects.is_empty()
            && self.unsure.is_empty()
            && world.logs.open_changes().is_empty();
        // Who has not heard of the newest voter counts a majority without it: one that is needed.
        let aware =
            |id: &u64| voters.iter().all(|other| other == id || world.member(*id).knows(*other));
        let sound = voters.iter().all(|id| used.contains(id) && aware(id));
        if world.shape.decay == Decay::None || !calm || !sound || voters.len() < 3 {
            return;
        }
        let listed: Vec<u64> = roster.listed.keys().copied().collect();
        let victim = *self.dice.pick(&listed);
        if !used.contains(&victim) {
            return;
        }
        if self.dice.chance(500) {
            world.wipe(victim);
            self.lost.insert(victim);
        } else if world.rot(victim) {
            self.suspects.insert(victim, world.now);
        }
        book.members = world.ids();
    }

    /// Whoever has a disk that lies is taken out: at once if it said so.
    fn replace_suspects(&mut self, world: &mut World, book: &mut Book) {
        let now = world.now;
        let over =
            |id: &u64, since: &Instant| !world.member(*id).is_up() || SUSPECT <= now.since(*since);
        let ids: Vec<u64> =
            self.suspects.iter().filter(|(id, since)| over(id, since)).map(|(id, _)| *id).collect();
        for id in ids {
            self.suspects.remove(&id);
            world.wipe(id);
            self.lost.insert(id);
            book.members = world.ids();
        }
    }

    /// What to ask for next.
    fn decide(&mut self, world: &World) -> Option<Ask> {
        let listed: Vec<u64> = self.list.iter().map(|member| member.id).collect();
        let lost = self.lost.iter().copied().find(|id| listed.contains(id));
        if let Some(id) = lost
            && (self.mode == Mode::Repair || self.dice.chance(700))
        {
            return Some(Ask::Remove(id));
        }
        if self.mode == Mode::Repair {
            // In the end everybody votes, and can be asked for everything.
            let learner = self.list.iter().find(|member| member.is_learner);
            return learner.map(|member| Ask::Promote(member.id));
        }
        let of = |learner: bool| -> Vec<u64> {
            let members = self.list.iter().filter(|member| member.is_learner == learner);
            members.map(|member| member.id).collect()
        };
        let (voters, learners) = (of(false), of(true));
        match self.dice.below(100) {
            0..10 => Some(Ask::Move(*self.dice.pick(&voters))),
            10..14 => Some(self.nonsense(&voters)),
            14..18 => Some(Ask::downgrade(&mut self.dice)),
            18..28 => {
                let url = self.address(world);
                Some(Ask::Update { id: *self.dice.pick(&listed), url })
            }
            28..38 => {
                self.goal = *self.dice.pick(&[1, 3, 5]);
                None
            }
            38..68 if !learners.is_empty() => Some(match self.dice.chance(850) {
                true => Ask::Promote(learners[0]),
                false => Ask::Remove(learners[0]),
            }),
            // While a disk is lost, no sound voter goes.
            _ if self.goal < voters.len() && lost.is_none() && self.suspects.is_empty() => {
                let leads = voters.contains(&world.leader.1) && self.dice.chance(300);
                Some(Ask::Remove(if leads { world.leader.1 } else { *self.dice.pick(&voters) }))
            }
            _ if voters.len() <= self.goal || !self.lost.is_empty() => {
                let learner = self.dice.chance(500);
                Some(Ask::Add { url: self.address(world), learner })
            }
            _ => None,
        }
    }

    /// Something that must be refused.
    fn nonsense(&mut self, voters: &[u64]) -> Ask {
        let member = self.dice.pick(&self.list).clone();
        match self.dice.below(4) {
            0 => Ask::Promote(*self.dice.pick(voters)),
            1 => Ask::Remove(self.dice.next_u64()),
            2 => Ask::Add { url: "nowhere".to_owned(), learner: false },
            _ => Ask::Add { url: member.peer_urls[0].clone(), learner: self.dice.chance(500) },
        }
    }

    /// Where a machine may listen: at an address that was never used, or at one that is free again.
    fn address(&mut self, world: &World) -> String {
        let free: Vec<String> = (1..=self.machines)
            .map(peer_url)
            .filter(|url| !world.is_taken(url))
            .filter(|url| !self.list.iter().any(|member| member.peer_urls.contains(url)))
            .collect();
        if !free.is_empty() && self.dice.chance(500) {
            return self.dice.pick(&free).clone();
        }
        self.machines += 1;
        peer_url(self.machines)
    }
}

/// A removed member that finds nobody where it looks for them never learns that it was removed.
fn switch_off(world: &mut World) {
    for id in world.ids() {
        let removed = world.logs.roster.removed.contains(&id);
        if removed && world.member(id).is_introduced() && world.who_tells(id).is_empty() {
            world.wipe(id);
        }
    }
}

/// Machines listen where the list says.
fn relocate(world: &mut World, told: &[Member]) {
    for member in told {
        let Some(address) = member.peer_urls.first() else { continue };
        let in_use = world.ids().contains(&member.id);
        if in_use && world.member(member.id).address != *address && !world.is_taken(address) {
            world.relocate(member.id, address.clone());
        }
    }
}

/// A member as the list tells it.
pub fn in_state(member: &pb::Member) -> Member {
    Member {
        id: member.id,
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
        role: if member.is_learner { MemberRole::Learner } else { MemberRole::Voter },
    }
}
