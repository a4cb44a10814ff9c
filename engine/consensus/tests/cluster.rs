//! Three members in one seeded loop: messages are delayed, reordered, doubled and dropped, members
//! are cut off and crash with part of their log not durable, peers that fall behind get snapshots.
//! Laws: one leader a term; one entry an index, everywhere; what a leader acknowledged stays;
//! a read point is never older than what was known to be committed when it was asked for; after
//! healing all agree; a seed gives one trace.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base::checksum::{Checksum, checksum};
use base::{Instant, Prng};
use bytes::Bytes;
use ringleader_consensus::{
    Config, Consensus, Delivery, Effect, Event, Membership, PeerMessage, Persist, ReadContext,
    Role, Snapshot, Start,
};
use wal::{Entry, Mark, Record, Restored, Terms, Urgency};

const MEMBERS: u64 = 3;

/// The state machine: what was applied, folded into one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    at: Mark,
    sum: u32,
}

struct Member {
    id: u64,
    boot: u64,
    consensus: Option<Consensus>,
    /// What is durable: a checkpoint, and records after some point before it.
    checkpoint: State,
    log: Vec<Record>,
    /// Entries behind the checkpoint that can still be read, and the one before them.
    archive: BTreeMap<u64, Entry>,
    held: Mark,
    /// Reads of old entries under way: the first, and the one after the last.
    fetching: Vec<(u64, u64)>,
    /// What is not.
    under_way: VecDeque<Persist>,
    state: State,
    /// Index that must be known committed by the answer, by read.
    reads: BTreeMap<u64, u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Weather {
    Calm,
    Storm,
}

struct Cluster {
    prng: Prng,
    now: Instant,
    members: Vec<Member>,
    network: Vec<(u64, PeerMessage)>,
    cut_off: Option<u64>,
    trace: Checksum,
    /// Term and data's sum of every entry that any member applied.
    applied: BTreeMap<u64, (u64, u32)>,
    leaders: BTreeMap<u64, u64>,
    /// Entries that their proposer saw applied: index to term.
    acknowledged: BTreeMap<u64, u64>,
    proposed: u64,
    installs: u64,
    fetched: u64,
    gone: u64,
    reads_answered: u64,
    reads_lost: u64,
    crashes: u64,
    elections: u64,
}

fn config(id: u64, boot: u64, seed: u64) -> Config {
    Config {
        id,
        seed: seed ^ (id << 32) ^ boot,
        boot,
        election_ticks: 10,
        heartbeat_ticks: 2,
        read_timeout: Duration::from_secs(2),
        window_bytes: 600,
    }
}

fn fold(state: State, entry: &Entry) -> State {
    let sum = checksum(&[&state.sum.to_le_bytes()[..], &entry.data[..]].concat());
    State { at: Mark { term: entry.term, index: entry.index }, sum }
}

impl Member {
    fn new(id: u64, seed: u64) -> Member {
        let founding = State { at: Mark { term: 1, index: 1 }, sum: 0 };
        let start = Start::founding(members());
        Member {
            id,
            boot: 1,
            consensus: Some(Consensus::new(config(id, 1, seed), start)),
            checkpoint: founding,
            log: vec![],
            archive: BTreeMap::new(),
            held: founding.at,
            fetching: vec![],
            under_way: VecDeque::new(),
            state: founding,
            reads: BTreeMap::new(),
        }
    }

    fn up(&mut self) -> Option<&mut Consensus> {
        self.consensus.as_mut()
    }

    fn crash(&mut self, kept: usize) {
        self.consensus = None;
        self.reads.clear();
        self.fetching.clear();
        for persist in self.under_way.drain(..).take(kept) {
            self.log.extend(persist.records());
        }
        self.state = self.checkpoint;
    }

    fn restart(&mut self, seed: u64) {
        self.boot += 1;
        let mut restored = Restored::start(self.checkpoint.at);
        for record in self.log.clone() {
            restored.take(record).unwrap_or_else(|gap| panic!("member {}: {gap:?}", self.id));
        }
        let mut restored = restored.finish().unwrap();
        let mut held = Terms::new(self.held);
        for entry in self.archive.values() {
            held.push(Mark { term: entry.term, index: entry.index });
        }
        restored.window.recall(&held);
        let start = Start {
            window: restored.window,
            hard_state: restored.hard_state,
            membership: members(),
            applied: self.checkpoint.at.index,
        };
        self.consensus = Some(Consensus::new(config(self.id, self.boot, seed), start));
    }
}

impl Member {
    /// The entries that can be read, as they count.
    fn readable(&self) -> BTreeMap<u64, Entry> {
        let mut entries = self.archive.clone();
        for record in &self.log {
            if let Record::Entry(entry) = record {
                entries.split_off(&entry.index);
                entries.insert(entry.index, entry.clone());
            }
        }
        entries.split_off(&(self.held.index + 1))
    }
}

fn members() -> Membership {
    Membership::of_voters(1..=MEMBERS)
}

impl Cluster {
    fn new(seed: u64) -> Cluster {
        Cluster {
            prng: Prng::from_seed(seed),
            now: Instant(0),
            members: (1..=MEMBERS).map(|id| Member::new(id, seed)).collect(),
            network: vec![],
            cut_off: None,
            trace: Checksum::new(),
            applied: BTreeMap::new(),
            leaders: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            proposed: 0,
            installs: 0,
            fetched: 0,
            gone: 0,
            reads_answered: 0,
            reads_lost: 0,
            crashes: 0,
            elections: 0,
        }
    }

    fn run(&mut self, steps: u64, weather: Weather, seed: u64) {
        for _ in 0..steps {
            let at = self.prng.below(MEMBERS) as usize;
            match self.prng.below(20) {
                0..4 => {
                    self.now = self.now + Duration::from_millis(20);
                    for at in 0..self.members.len() {
                        self.event(at, Event::Tick);
                    }
                }
                4..7 => self.propose(at),
                7 => {
                    self.read(at);
                    self.tell_commit(at);
                }
                8..13 => self.deliver(weather),
                13..16 => self.sync(at),
                16 => self.fetch(at),
                17 => self.checkpoint(at),
                _ if weather == Weather::Storm => self.trouble(at, seed),
                _ => {}
            }
            for at in 0..self.members.len() {
                self.drain(at);
            }
        }
    }

    fn event(&mut self, at: usize, event: Event) {
        let now = self.now;
        if let Some(consensus) = self.members[at].up() {
            consensus.handle(now, event);
        }
    }

    fn propose(&mut self, at: usize) {
        let data: Bytes =
            self.proposed.to_le_bytes().repeat(1 + (self.proposed % 5) as usize).into();
        let Some(consensus) = self.members[at].up() else { return };
        if consensus.propose(data).is_ok() {
            self.proposed += 1;
        }
    }

    fn read(&mut self, at: usize) {
        let known = self.applied.keys().next_back().copied().unwrap_or(0);
        let context = self.prng.below(1 << 40);
        if self.members[at].consensus.is_some() {
            self.members[at].reads.insert(context, known);
            self.event(at, Event::ReadIndex(ReadContext(context)));
        }
    }

    /// Peers hear of commits at any moment, or not before the next append or heartbeat.
    fn tell_commit(&mut self, at: usize) {
        let untold = self.members[at].up().map(|consensus| consensus.untold());
        for peer in untold.unwrap_or_default() {
            self.event(at, Event::TellCommit(peer));
        }
    }

    fn deliver(&mut self, weather: Weather) {
        if self.network.is_empty() {
            return;
        }
        let at = self.prng.below(self.network.len() as u64) as usize;
        let (to, message) = match weather {
            Weather::Storm if self.prng.chance(100) => self.network[at].clone(),
            Weather::Storm | Weather::Calm => self.network.swap_remove(at),
        };
        let from = message.from();
        let lost = weather == Weather::Storm && self.prng.chance(150)
            || self.cut_off.is_some_and(|id| id == to || id == from)
            || self.members[to as usize - 1].consensus.is_none();
        if message.is_snapshot() {
            let delivery = if lost { Delivery::Failed } else { Delivery::Delivered };
            self.event(from as usize - 1, Event::SnapshotSent { peer: to, delivery });
        }
        if lost {
            if self.prng.chance(300) {
                self.event(from as usize - 1, Event::Unreachable(to));
            }
            return;
        }
        let mut bytes = vec![];
        message.encode(&mut bytes);
        let message = PeerMessage::decode(&bytes.into()).unwrap();
        self.event(to as usize - 1, Event::Received(message));
    }

    /// The disk of one member reports some persists, in order.
    fn sync(&mut self, at: usize) {
        let count = self.prng.below(4);
        let member = &mut self.members[at];
        let mut report = None;
        for _ in 0..count {
            let Some(persist) = member.under_way.pop_front() else { break };
            member.log.extend(persist.records());
            if persist.urgency == Urgency::Wait {
                report = Some(persist.number);
            }
        }
        report.into_iter().for_each(|number| self.event(at, Event::Persisted(number)));
    }

    fn checkpoint(&mut self, at: usize) {
        if self.members[at].consensus.is_none() {
            return;
        }
        let member = &mut self.members[at];
        if member.under_way.iter().any(|persist| persist.mark.is_some()) {
            return;
        }
        member.checkpoint = member.state;
        let index = member.state.at.index;
        for record in &member.log {
            if let Record::Entry(entry) = record {
                member.archive.split_off(&entry.index);
                member.archive.insert(entry.index, entry.clone());
            }
        }
        member.archive.split_off(&(index + 1));
        member.archive = member.archive.split_off(&(member.held.index + 1));
        // Only what is behind the checkpoint may go from the log, and the last hard state stays.
        let state = member.log.iter().rposition(|record| matches!(record, Record::HardState(_)));
        let mut number = 0;
        member.log.retain(|record| {
            number += 1;
            match record {
                Record::Entry(entry) => index < entry.index,
                Record::HardState(_) => Some(number - 1) == state,
                Record::Mark(_) | Record::Past(_) => true,
            }
        });
        if self.prng.chance(500) {
            self.event(at, Event::Compact(index));
        }
        if self.prng.chance(200) {
            self.forget(at);
        }
    }

    /// The oldest segments of one member go.
    fn forget(&mut self, at: usize) {
        let member = &mut self.members[at];
        let Some(last) = member.archive.keys().next_back().copied() else { return };
        let index = member.held.index + self.prng.below(last - member.held.index + 1);
        let Some(entry) = member.archive.get(&index) else { return };
        member.held = Mark { term: entry.term, index };
        member.archive = member.archive.split_off(&(index + 1));
        self.event(at, Event::Held(index));
    }

    /// The disk of one member reads old entries.
    fn fetch(&mut self, at: usize) {
        let member = &mut self.members[at];
        if member.fetching.is_empty() {
            return;
        }
        let next = self.prng.below(member.fetching.len() as u64) as usize;
        let (low, high) = member.fetching.swap_remove(next);
        let count = 1 + self.prng.below(20);
        let high = high.min(low + count);
        let entries: Vec<Entry> = match low <= member.held.index {
            true => vec![],
            false => member.readable().range(low..high).map(|(_, entry)| entry.clone()).collect(),
        };
        assert!(low <= member.held.index || entries.len() as u64 == high - low);
        self.fetched += entries.len() as u64;
        self.gone += u64::from(entries.is_empty());
        self.event(at, Event::Fetched { low, entries });
    }

    fn trouble(&mut self, at: usize, seed: u64) {
        match self.prng.below(30) {
            0 if self.members[at].consensus.is_some() => {
                let kept = self.prng.below(self.members[at].under_way.len() as u64 + 1) as usize;
                let marks = self.members[at].under_way.iter().position(|p| p.mark.is_some());
                self.members[at].crash(marks.map_or(kept, |mark| kept.min(mark)));
                self.crashes += 1;
            }
            1..4 if self.members[at].consensus.is_none() => self.members[at].restart(seed),
            4 => self.cut_off = Some(at as u64 + 1),
            5..8 => self.cut_off = None,
            8 => {
                let to = 1 + self.prng.below(MEMBERS);
                self.event(at, Event::TransferLeader(to));
            }
            9 | 10 => {
                // Often it is not true.
                let ended = 1 + self.prng.below(MEMBERS);
                self.event(at, Event::Ended(ended));
            }
            _ => {}
        }
    }

    fn drain(&mut self, at: usize) {
        loop {
            let Some(effect) = self.members[at].up().and_then(Consensus::poll_effect) else {
                return;
            };
            self.trace.add(format!("{at} {effect:?}").as_bytes());
            self.carry_out(at, effect);
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Persist(persist) => self.members[at].under_way.push_back(persist),
            Effect::Send { to, message } => self.network.push((to, message)),
            Effect::Apply(entries) => self.apply(at, &entries),
            Effect::ReadReady { context, index } => {
                let least = self.members[at].reads.remove(&context.0).expect("a read answers once");
                assert!(least <= index, "a stale read: {index}, {least} was known");
                self.reads_answered += 1;
            }
            Effect::ReadLost { context } => {
                assert!(self.members[at].reads.remove(&context.0).is_some());
                self.reads_lost += 1;
            }
            Effect::Role(change) => {
                if change.role == Role::Leader {
                    let id = self.members[at].id;
                    let first = *self.leaders.entry(change.term).or_insert(id);
                    assert_eq!(first, id, "two leaders in term {}", change.term);
                    self.elections += 1;
                }
            }
            Effect::Install(snapshot) => {
                let sum = u32::from_le_bytes(snapshot.data[..].try_into().unwrap());
                let state = State { at: snapshot.at, sum };
                let member = &mut self.members[at];
                (member.state, member.checkpoint) = (state, state);
                (member.held, member.archive) = (state.at, BTreeMap::new());
                self.installs += 1;
                self.event(at, Event::Held(state.at.index));
            }
            Effect::Fetch { low, high, bytes_max: _ } => {
                assert!(low < high);
                self.members[at].fetching.push((low, high));
            }
            Effect::SnapshotWanted { peer, index } => {
                let State { at: mark, sum } = self.members[at].state;
                assert!(index <= mark.index);
                let data = sum.to_le_bytes().to_vec().into();
                let snapshot = Snapshot { at: mark, membership: members(), data };
                self.event(at, Event::SnapshotMade { peer, snapshot });
            }
        }
    }

    fn apply(&mut self, at: usize, entries: &[Entry]) {
        for entry in entries {
            let member = &mut self.members[at];
            assert_eq!(entry.index, member.state.at.index + 1);
            member.state = fold(member.state, entry);
            let this = (entry.term, checksum(&entry.data));
            let first = *self.applied.entry(entry.index).or_insert(this);
            assert_eq!(first, this, "two entries at {}", entry.index);
            let consensus = member.consensus.as_ref().expect("it just polled");
            if consensus.role().role == Role::Leader && consensus.role().term == entry.term {
                self.acknowledged.insert(entry.index, entry.term);
            }
        }
        let last = entries.last().expect("never empty").index;
        self.event(at, Event::Applied(last));
    }

    /// A tick of every clock, one after the other; nothing stays under way.
    fn tick_promptly(&mut self) {
        self.now = self.now + Duration::from_millis(20);
        for at in 0..self.members.len() {
            self.event(at, Event::Tick);
            self.settle();
        }
    }

    fn settle(&mut self) {
        for round in 0.. {
            (0..self.members.len()).for_each(|at| self.drain(at));
            let busy = self.members.iter().any(|member| !member.under_way.is_empty());
            if self.network.is_empty() && !busy {
                return;
            }
            (0..self.members.len()).for_each(|at| self.sync(at));
            self.deliver(Weather::Calm);
            assert!(round < 10_000, "no end of messages");
        }
    }

    fn leader(&self) -> Option<usize> {
        let leads = |member: &Member| {
            member.consensus.as_ref().is_some_and(|one| one.role().role == Role::Leader)
        };
        self.members.iter().position(leads)
    }

    /// Everything works again; everybody must end up the same.
    fn heal(&mut self, seed: u64) {
        self.cut_off = None;
        for member in &mut self.members {
            if member.consensus.is_none() {
                member.restart(seed);
            }
        }
        for round in 0.. {
            self.run(50, Weather::Calm, seed);
            let ends: Vec<State> = self.members.iter().map(|member| member.state).collect();
            let last = *self.applied.keys().next_back().unwrap_or(&0);
            let current = self.leaders.keys().next_back() == Some(&ends[0].at.term);
            if ends.iter().all(|end| *end == ends[0]) && ends[0].at.index == last && current {
                break;
            }
            assert!(round < 2000, "seed {seed}: no agreement, {ends:?} of {last}");
        }
        for (index, term) in &self.acknowledged {
            assert_eq!(self.applied[index].0, *term);
        }
    }
}

fn storm(seed: u64) -> Cluster {
    let mut cluster = Cluster::new(seed);
    cluster.run(1000, Weather::Calm, seed);
    cluster.run(4000, Weather::Storm, seed);
    cluster.heal(seed);
    cluster
}

#[test]
fn three_members_agree_through_any_storm() {
    let (mut applied, mut installs, mut reads, mut crashes, mut elections) = (0, 0, 0, 0, 0);
    let (mut fetched, mut gone) = (0, 0);
    for seed in 0..160 {
        println!("seed {seed}");
        let cluster = storm(seed);
        applied += cluster.applied.len();
        installs += cluster.installs;
        reads += cluster.reads_answered;
        crashes += cluster.crashes;
        elections += cluster.elections;
        fetched += cluster.fetched;
        gone += cluster.gone;
    }
    println!(
        "{applied} entries, {elections} elections, {crashes} crashes, {installs} snapshots, \
         {reads} reads, {fetched} old entries fetched, {gone} times gone"
    );
    assert!(10_000 < applied && 100 < installs && 2000 < reads && 1000 < crashes);
    assert!(2000 < fetched && 5 < gone);
}

#[test]
fn a_seed_gives_one_trace() {
    let (first, second) = (storm(77), storm(77));
    assert_eq!(first.trace.sum(), second.trace.sum());
    assert_ne!(first.trace.sum(), storm(78).trace.sum());
}

#[test]
fn a_leader_whose_process_ended_is_replaced_before_a_timeout_and_a_silent_one_soon_after() {
    for seed in 0..60 {
        for (is_known, most) in [(true, 5), (false, 15)] {
            let mut cluster = Cluster::new(seed);
            let founded = (0..40).find(|_| {
                cluster.tick_promptly();
                cluster.leader().is_some()
            });
            assert!(founded.is_some(), "seed {seed}: nobody leads");
            // So that clocks stand anywhere between two heartbeats.
            (0..seed % 3).for_each(|_| cluster.tick_promptly());
            let old = cluster.leader().unwrap();
            cluster.members[old].crash(0);
            if is_known {
                let ended = Event::Ended(old as u64 + 1);
                (0..cluster.members.len()).for_each(|at| cluster.event(at, ended.clone()));
            }
            let ticks = (1..).find(|_| {
                cluster.tick_promptly();
                cluster.leader().is_some()
            });
            assert!(ticks <= Some(most), "seed {seed}, known {is_known}: {ticks:?} ticks");
        }
    }
}

#[test]
fn the_end_of_a_leader_that_lives_deposes_nobody_unless_all_believe_it() {
    for seed in 0..60 {
        let mut cluster = Cluster::new(seed);
        (0..60).for_each(|_| cluster.tick_promptly());
        let leader = cluster.leader().expect("somebody leads");
        let elections = cluster.elections;
        let deceived = (leader + 1 + seed as usize % 2) % cluster.members.len();
        cluster.event(deceived, Event::Ended(leader as u64 + 1));
        (0..60).for_each(|_| cluster.tick_promptly());
        assert_eq!(cluster.leader(), Some(leader), "seed {seed}");
        assert_eq!(cluster.elections, elections, "seed {seed}");
    }
}
