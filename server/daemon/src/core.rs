//! Owns one core of the running member: its shard, on core 0 the leader too, its disk and network,
//! and the turn in which messages move between them.
//! Never decides anything: machines decide, this carries. Invariant: machines are entered only from
//! the turn or from the network's calls, never from within one another.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use base::{Instant, OpId, SliceId};
use disk::Disk;
use node::leader::Report;
use node::{
    CallId, Leader, LeaderEffect, LeaderEvent, PeerNote, Shard, ShardEffect, ShardEvent, ShardId,
    ToLeader, ToShard,
};
use settings::gates::Gates;
use settings::{Access, MetricsDetail};
use sock::peer::NotSent;
use sock::{Hub, Parcel, Pressure};
use wire::{Code, Method};

use crate::inside::Inside;
use crate::letter::Letter;
use crate::links::Links;
use crate::looks::{Looks, Then};
use crate::mesh::{Attention, Mesh};
use crate::metrics::{self, Figures};
use crate::placement::{self, Load};
use crate::ports::Role;
use crate::tally::{Stage, Tally};
use crate::versions::Board;
use crate::wake::Bell;

/// Takes a connection that another core accepted.
pub type Adopt = Box<dyn Fn(Role, Parcel)>;

/// Whose disk request it was.
pub enum Tag {
    /// A slice's.
    Slice(SliceId, OpId),
    /// The leader's.
    Leader(OpId),
}

/// What all cores see of the member, for pages and for the main thread.
pub struct Shared {
    /// When the process started.
    pub start: Clock,
    /// How many cores there are.
    pub cores: usize,
    /// `--metrics`.
    pub detail: MetricsDetail,
    /// `--feature-gates`.
    pub gates: Gates,
    /// The cluster.
    pub cluster_id: u64,
    /// Who may ask for pages.
    pub access: Access,
    /// The cluster's version.
    pub versions: Board,
    /// How each core stands.
    pub boards: Vec<placement::Board>,
}

/// One core.
pub struct Core {
    /// Which.
    pub id: ShardId,
    shard: RefCell<Shard>,
    leader: Option<RefCell<Leader>>,
    disk: Disk<Tag>,
    hub: Hub,
    mesh: RefCell<Option<(Mesh<Letter>, Adopt)>>,
    links: RefCell<Option<Links>>,
    bell: Rc<Bell>,
    /// Calls made by this process itself.
    pub inside: Inside,
    /// What is counted of calls and turns.
    pub tally: Tally,
    looks: Looks,
    /// The state shared by all cores.
    pub shared: Arc<Shared>,
    report: Box<dyn Fn(Report)>,
    more_work: Cell<bool>,
    /// Answers that other cores owe this one and compute at once.
    owed: Cell<u32>,
    /// Whether this core has just given such an answer.
    answered: Cell<bool>,
    alarm: Alarm,
}

/// Ends the sleep of the core's clock when something is due earlier than it was.
#[derive(Default)]
struct Alarm {
    due: Cell<Option<Instant>>,
    bell: Bell,
}

impl Core {
    /// A core whose machines are ready.
    #[expect(clippy::too_many_arguments, reason = "each part is made in one place, on its core")]
    pub fn new(
        id: ShardId,
        shard: Shard,
        leader: Option<Leader>,
        disk: Disk<Tag>,
        hub: Hub,
        bell: Rc<Bell>,
        shared: Arc<Shared>,
        report: Box<dyn Fn(Report)>,
    ) -> Core {
        Core {
            id,
            shard: RefCell::new(shard),
            leader: leader.map(RefCell::new),
            disk,
            hub,
            mesh: RefCell::new(None),
            links: RefCell::new(None),
            bell,
            inside: Inside::default(),
            tally: Tally::new(shared.detail),
            looks: Looks::default(),
            shared,
            report,
            more_work: Cell::new(false),
            owed: Cell::new(0),
            answered: Cell::new(false),
            alarm: Alarm::default(),
        }
    }

    /// The ways to other cores, and what becomes of connections that come over them.
    pub fn set_mesh(&self, mesh: Mesh<Letter>, adopt: Adopt) {
        *self.mesh.borrow_mut() = Some((mesh, adopt));
    }

    /// The streams to peers, where the leader is.
    pub fn set_links(&self, links: Links) {
        *self.links.borrow_mut() = Some(links);
    }

    /// How many peers there are.
    pub fn peers(&self) -> usize {
        self.links.borrow().as_ref().map_or(0, Links::count)
    }

    /// An event for the leader, which is here; worked off in the next turn.
    pub fn tell_leader(&self, event: LeaderEvent) {
        let leader = self.leader.as_ref().expect("peers talk to core 0");
        leader.borrow_mut().handle(self.now(), event);
        self.bell.ring();
    }

    /// Asks every peer that can be reached how long the way there and back is.
    pub fn probe_peers(&self) {
        if let Some(links) = self.links.borrow().as_ref() {
            links.probe(self.now());
        }
    }

    /// Whether this member leads, as far as it knows; asked where the leader is.
    pub fn leads(&self) -> bool {
        let leader = self.leader.as_ref().expect("asked on core 0");
        leader.borrow().leads()
    }

    /// The time as machines are told it.
    pub fn now(&self) -> Instant {
        let passed = self.shared.start.elapsed();
        Instant(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// An event for this core's shard; worked off in the next turn.
    pub fn tell_shard(&self, event: ShardEvent) {
        // What was acknowledged on another core may be asked for on this one.
        self.take_mail();
        self.shard.borrow_mut().handle(self.now(), event);
        self.bell.ring();
    }

    /// Whether another core has sent something.
    pub fn has_mail(&self) -> bool {
        self.mesh.borrow().as_ref().is_some_and(|(mesh, _)| mesh.has_mail())
    }

    fn take_mail(&self) {
        if !self.has_mail() {
            return;
        }
        let mesh = self.mesh.borrow();
        let (mesh, adopt) = mesh.as_ref().expect("it has mail");
        for (from, letters) in mesh.take() {
            self.letters(from, letters, adopt);
        }
        self.bell.ring();
    }

    fn letters(&self, from: usize, letters: Vec<Letter>, adopt: &Adopt) {
        let now = self.now();
        for letter in letters {
            match letter {
                Letter::ToLeader(message) => {
                    let shard = ShardId(u16::try_from(from).expect("cores are counted in u16"));
                    let leader = self.leader.as_ref().expect("letters for the leader go to core 0");
                    leader.borrow_mut().handle(now, LeaderEvent::From { shard, message });
                }
                Letter::ToShard(message) => {
                    if let ToShard::ReadDone { .. } | ToShard::ReadAt { .. } = message {
                        self.owed.set(self.owed.get().saturating_sub(1));
                    }
                    self.shard.borrow_mut().handle(now, ShardEvent::Told(message));
                }
                Letter::Connection(role, parcel) => adopt(role, parcel),
                Letter::Look(look) => {
                    self.put(from, Letter::Seen(look, Box::new(self.figures())));
                }
                Letter::Seen(look, figures) => self.looks.add(look, *figures),
            }
        }
    }

    /// A call of the network begins.
    pub fn begin(&self, call: CallId, method: Method, client: Option<&str>) {
        let since = match self.shared.detail {
            MetricsDetail::Basic => Instant(0),
            MetricsDetail::Extensive => self.now(),
        };
        self.tally.began(call, method, client, since);
    }

    /// Adds up the figures of all cores; `then` gets the sum.
    pub fn look(&self, then: Then) {
        let others = self.shared.cores - 1;
        if let Some(look) = self.looks.begin(self.figures(), others, then) {
            let own = usize::from(self.id.0);
            for core in (0..self.shared.cores).filter(|core| *core != own) {
                self.put(core, Letter::Look(look));
            }
        }
    }

    fn figures(&self) -> Figures {
        Figures {
            calls: self.tally.read(),
            shard: self.shard.borrow().figures(),
            leader: self.leader.as_ref().map(|leader| leader.borrow().figures()),
            network: self.hub.stats(),
            socket: metrics::socket(&self.hub.flush_times()),
            peers: self.links.borrow().as_ref().map_or_else(Vec::new, Links::figures),
        }
    }

    /// Asks the leader to stop in order.
    pub fn stop(&self) {
        if let Some(leader) = &self.leader {
            leader.borrow_mut().handle(self.now(), LeaderEvent::Stop);
            self.bell.ring();
        }
    }

    /// Time has passed.
    pub fn tick(&self) {
        let now = self.now();
        self.more_work.set(self.shard.borrow_mut().tick(now));
        if let Some(leader) = &self.leader {
            leader.borrow_mut().tick(now);
        }
        self.bell.ring();
    }

    /// When the next tick is due.
    pub fn poll_deadline(&self) -> Option<Instant> {
        if self.more_work.get() {
            return Some(self.now());
        }
        let shard = self.shard.borrow().poll_deadline();
        let leader = self.leader.as_ref().and_then(|leader| leader.borrow().poll_deadline());
        [shard, leader].into_iter().flatten().min()
    }

    /// One turn: everything that has arrived is worked off, until no machine has an effect left.
    pub fn turn(&self) {
        self.tally.turn();
        self.take_mail();
        let now = self.now();
        for (tag, result) in self.disk.take_done() {
            match (tag, &self.leader) {
                (Tag::Slice(slice, op), _) => {
                    let event = ShardEvent::IoDone { slice, op, result };
                    self.shard.borrow_mut().handle(now, event);
                }
                (Tag::Leader(op), Some(leader)) => {
                    leader.borrow_mut().handle(now, LeaderEvent::IoDone { op, result });
                }
                (Tag::Leader(_), None) => unreachable!("only core 0 has a leader"),
            }
        }
        loop {
            let lap = self.tally.lap(Stage::Encode);
            let shard = self.drain_shard(now);
            self.tally.lapped(Stage::Encode, lap);
            let lap = self.tally.lap(Stage::Apply);
            let leader = self.drain_leader(now);
            self.tally.lapped(Stage::Apply, lap);
            if !shard && !leader {
                break;
            }
        }
        self.end_turn();
    }

    /// Sends what other cores should have, and looks whether the clock must wake earlier.
    fn end_turn(&self) {
        if let Some((mesh, _)) = &*self.mesh.borrow() {
            mesh.flush();
            let leader = self.leader.as_ref().is_some_and(|leader| leader.borrow().is_held_up());
            let attention = match leader || self.shard.borrow().awaits_news() {
                true => Attention::Paid,
                false => Attention::None,
            };
            if mesh.attend(attention) {
                self.bell.ring();
            }
        }
        if let (Some(at), Some(due)) = (self.poll_deadline(), self.alarm.due.get())
            && at < due
        {
            self.alarm.bell.ring();
        }
    }

    /// Sleeps until something is due, at least and at most for so long.
    pub async fn sleep(&self, least: Duration, most: Duration) {
        let begun = self.now();
        loop {
            let due = self.poll_deadline().unwrap_or(begun + most);
            let due = due.clamp(begun + least, begun + most);
            // Read after the deadline: what is due "now" must not look as if it were still to come.
            let now = self.now();
            if due <= now {
                return;
            }
            self.alarm.due.set(Some(due).filter(|due| begun + least < *due));
            let sleep = async {
                glommio::timer::sleep(due.since(now)).await;
            };
            futures_lite::future::or(sleep, self.alarm.bell.wait()).await;
            self.alarm.due.set(None);
        }
    }

    fn drain_shard(&self, now: Instant) -> bool {
        let mut any = false;
        loop {
            // The borrow ends here: an effect may enter the shard again through the network.
            let effect = self.shard.borrow_mut().poll_effect();
            let Some(effect) = effect else { return any };
            any = true;
            self.shard_effect(now, effect);
        }
    }

    fn shard_effect(&self, now: Instant, effect: ShardEffect) {
        match effect {
            ShardEffect::Reply { call, message } if Inside::owns(call) => {
                self.inside.reply(call, message);
            }
            ShardEffect::Send { call, message } if Inside::owns(call) => {
                // One message of a stream is all that a page wants.
                self.shard.borrow_mut().handle(now, ShardEvent::Gone { call });
                self.inside.reply(call, message);
            }
            ShardEffect::Fail { call, error } if Inside::owns(call) => {
                self.inside.fail(call, error);
            }
            ShardEffect::Reply { call, message } => {
                self.tally.sent(call, message.len());
                self.tally.ended(call, Code::Ok, now);
                self.hub.reply(outer(call), message);
            }
            ShardEffect::Fail { call, error } => {
                self.tally.ended(call, error.code, now);
                self.hub.finish(outer(call), &error);
            }
            ShardEffect::Send { call, message } => {
                self.tally.sent(call, message.len());
                let pressure = self.hub.send(outer(call), message);
                self.feel(call, pressure);
            }
            ShardEffect::SendParts { call, head, tail } => {
                self.tally.sent(call, head.len() + tail.len());
                let bytes = u32::try_from(head.len() + tail.len()).expect("below 4 GiB");
                let mut pressure = self.hub.begin(outer(call), bytes);
                for part in [head, tail].into_iter().filter(|part| !part.is_empty()) {
                    pressure = self.hub.part(outer(call), part);
                }
                self.feel(call, pressure);
            }
            ShardEffect::Begin { call, message_bytes } => {
                self.tally.sent(call, message_bytes as usize);
                let pressure = self.hub.begin(outer(call), message_bytes);
                self.feel(call, pressure);
            }
            ShardEffect::Part { call, part } => {
                let pressure = self.hub.part(outer(call), part);
                self.feel(call, pressure);
            }
            ShardEffect::Finish { call } => {
                self.tally.ended(call, Code::Ok, now);
                self.hub.finish(outer(call), &wire::Status::OK);
            }
            ShardEffect::ToLeader(message) => match &self.leader {
                Some(leader) => {
                    let event = LeaderEvent::From { shard: self.id, message };
                    leader.borrow_mut().handle(now, event);
                }
                None => self.mail(0, Letter::ToLeader(message)),
            },
            ShardEffect::ToShard { shard, message } => {
                self.mail(usize::from(shard.0), Letter::ToShard(message));
            }
            ShardEffect::Io { slice, op, request } => {
                self.disk.submit(Tag::Slice(slice, op), request);
            }
        }
    }

    fn feel(&self, call: CallId, pressure: Pressure) {
        match pressure {
            Pressure::Room => {}
            Pressure::Gone => {
                self.tally.ended(call, Code::Canceled, self.now());
                // The network says nothing more of it: what the shard keeps for it may go.
                self.shard.borrow_mut().handle(self.now(), ShardEvent::Gone { call });
            }
            Pressure::Full => {
                self.shard.borrow_mut().handle(self.now(), ShardEvent::Full { call });
            }
        }
    }

    fn drain_leader(&self, now: Instant) -> bool {
        let Some(leader) = &self.leader else { return false };
        let mut any = false;
        loop {
            let effect = leader.borrow_mut().poll_effect(now);
            let Some(effect) = effect else { return any };
            any = true;
            if let LeaderEffect::ToShard { message: ToShard::Outcomes(_), .. } = effect {
                self.tally.outcomes();
            }
            match effect {
                LeaderEffect::ToShard { shard, message } if shard == self.id => {
                    self.shard.borrow_mut().handle(now, ShardEvent::Told(message));
                }
                LeaderEffect::ToShard { shard, message } => {
                    self.mail(usize::from(shard.0), Letter::ToShard(message));
                }
                LeaderEffect::Io { op, request } => self.disk.submit(Tag::Leader(op), request),
                LeaderEffect::Send { to, note } => {
                    if !self.send_note(to, &note) {
                        let lost = LeaderEvent::Unreachable { peer: to };
                        leader.borrow_mut().handle(now, lost);
                    }
                }
                LeaderEffect::Connect { peers, removed } => {
                    let links = self.links.borrow();
                    links.as_ref().expect("links go with the leader").connect(&peers, &removed);
                }
                LeaderEffect::Report(report) => (self.report)(report),
            }
        }
    }

    /// Whether the note is on its way, as far as is known here.
    fn send_note(&self, to: u64, note: &PeerNote) -> bool {
        let links = self.links.borrow();
        match links.as_ref().expect("links go with the leader").send(to, note) {
            Ok(()) => true,
            // A member that left a moment ago: nobody waits for it.
            Err(NotSent::Unknown) => true,
            Err(NotSent::Down | NotSent::Full | NotSent::TooLong) => false,
        }
    }

    /// Sends a letter to another core with this turn, or with the next one.
    pub fn put(&self, to: usize, letter: Letter) {
        self.mail(to, letter);
        self.bell.ring();
    }

    /// Adds a letter to what this turn sends.
    fn mail(&self, to: usize, letter: Letter) {
        match &letter {
            Letter::ToShard(ToShard::Read { .. })
            | Letter::ToLeader(ToLeader::ReadIndex { .. }) => self.owed.set(self.owed.get() + 1),
            Letter::ToShard(ToShard::ReadDone { .. } | ToShard::ReadAt { .. }) => {
                self.answered.set(true);
            }
            Letter::ToShard(_)
            | Letter::ToLeader(_)
            | Letter::Connection(..)
            | Letter::Look(_)
            | Letter::Seen(..) => {}
        }
        let haste = letter.haste();
        let mesh = self.mesh.borrow();
        mesh.as_ref().expect("the mesh is connected").0.put(to, letter, haste);
    }

    /// Whether mail may come within microseconds: an answer, or the next question of somebody who
    /// was answered.
    pub fn takes_occasion(&self) -> bool {
        let answered = self.answered.take();
        answered || self.owed.get() > 0
    }

    /// Whether the next turn need not wait for anything to happen.
    pub fn busy(&self) -> bool {
        self.shard.borrow().busy()
    }

    /// Shows the other cores how this one stands.
    pub fn show_load(&self, busy_permille: u32) {
        let connections = u32::try_from(self.hub.connections()).unwrap_or(u32::MAX);
        let board = &self.shared.boards[usize::from(self.id.0)];
        board.write(Load { connections, busy_permille });
    }

    /// The network of this core.
    pub fn hub(&self) -> Hub {
        self.hub.clone()
    }
}

fn outer(call: CallId) -> sock::CallId {
    sock::CallId::from_bits(call.0)
}
