//! Owns what is done to machines from outside: they start, lose power, stand still, stop in order,
//! are born into the world and taken out of it.
//! Never starts a machine that is gone for good. Invariant: whatever ends a process, its clients
//! hear of it and the notes on their way to it are lost.

use std::time::Duration;

use base::Prng;
use node::{CallId, CheckNews, Founding, Report, Restart, VersionNews};
use ringleader_sim::Planted;
use ringleader_sim::harm;
use ringleader_sim::plan::{Ending, Fault};
use wal::Mark;

use super::{Happening, News, World, Wrong};
use crate::member::{Fate, Mail, Member};
use crate::remembered;

/// From the news that a member was removed to the end of its process.
const LEAVE: Duration = Duration::from_millis(500);
/// Longest time between two attempts of a member to reach another.
const DIAL_MS: u64 = 1000;

impl World {
    /// Starts a member that is down.
    pub fn start(&mut self, id: u64, ending: Ending) {
        self.start_with(id, ending, Fault::None);
    }

    /// Starts a member whose disk may fail.
    pub fn start_with(&mut self, id: u64, ending: Ending, fault: Fault) {
        self.remark(format_args!("member {id} starts, {ending:?}, {fault:?}"));
        let (now, shape) = (self.now, self.shape.clone());
        let mut dice = Prng::from_seed(self.dice.next_u64());
        self.remember(id);
        self.member_mut(id).start(now, &shape, (ending, fault), &mut dice);
        if self.shape.changes_every.is_some() {
            self.dial_later(id);
        }
    }

    /// What the member finds, at its start or in a store that took the place of its own, counts as
    /// durable, whatever was handed to the disk before.
    fn remember(&mut self, id: u64) {
        let member = self.member(id);
        let founding = u64::from(matches!(member.founding(), Founding::New(_)));
        let unborn = Mark { term: founding, index: founding };
        let is_new = member.disk().log_segments().is_empty();
        let now = self.now;
        match remembered::of(member.disk(), member.log_geometry()) {
            Some((base, entries)) => self.logs.found(now, id, base, entries),
            None if is_new => self.logs.found(now, id, unborn, Vec::new()),
            // It will refuse.
            None => {}
        }
    }

    /// Starts a member that is down after a while, unless it is up by then.
    pub fn start_after(&mut self, wait: Duration, id: u64) {
        self.at(wait, Happening::Restart(id));
    }

    /// How a member goes on in its next lives: with the others, or alone, which no law of the logs
    /// of a cluster is about.
    pub fn restart(&mut self, id: u64, restart: Restart) {
        self.member_mut(id).restart = restart;
        self.logs.suspend();
    }

    pub(super) fn come_back(&mut self, id: u64) {
        if !self.member(id).is_up() && self.member(id).fate == Fate::InUse {
            self.start(id, Ending::Open);
        }
    }

    /// The power of a member goes.
    pub fn crash(&mut self, id: u64) {
        if !self.member(id).is_up() {
            return;
        }
        self.remark(format_args!("member {id} crashes"));
        self.crashes += 1;
        self.stopped.remove(&id);
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
        let peers: Vec<u64> = self.members.keys().copied().filter(|peer| *peer != id).collect();
        for peer in peers {
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

    /// A member is told to stop in order.
    pub fn stop(&mut self, id: u64) {
        self.remark(format_args!("member {id} is told to stop"));
        let now = self.now;
        self.member_mut(id).deliver(now, Mail::Stop);
    }

    /// A member's log gets stuck.
    pub fn stick(&mut self, id: u64, time: Duration) {
        self.remark(format_args!("the log of member {id} is stuck for {time:?}"));
        self.member_mut(id).stick(time);
    }

    /// A new machine with an empty disk, which is to join the cluster as this member.
    pub fn bear(&mut self, id: u64, address: String, told: Vec<state::Member>) {
        self.remark(format_args!("member {id} is born at {address}"));
        let mut dice = Prng::from_seed(self.dice.next_u64());
        let founding = Founding::Existing(told);
        let member = Member::new(id, address, founding, self.planted, &mut dice);
        assert!(self.members.insert(id, member).is_none(), "no member is born twice");
        self.start(id, Ending::Open);
    }

    /// A machine listens elsewhere from its next life on, which begins now.
    pub fn relocate(&mut self, id: u64, address: String) {
        self.remark(format_args!("member {id} goes to {address}"));
        self.crash(id);
        self.member_mut(id).address = address;
        self.start(id, Ending::Open);
    }

    /// A machine is lost with its disk.
    pub fn wipe(&mut self, id: u64) {
        self.remark(format_args!("member {id} is wiped"));
        self.crash(id);
        self.member_mut(id).wipe();
    }

    /// A bit of what a member had synced is another one when it starts again. False if there was
    /// nothing to flip.
    pub fn rot(&mut self, id: u64) -> bool {
        self.crash(id);
        let mut dice = Prng::from_seed(self.dice.next_u64());
        let member = self.member_mut(id);
        let log = member.log_geometry();
        let damage = harm::flip(member.disk_mut(), log, &mut dice);
        if let Some(damage) = &damage {
            self.remark(format_args!("member {id} rots at {:?}", damage.spot));
            self.damaged.insert(id);
        }
        self.start(id, Ending::Open);
        damage.is_some()
    }

    /// Whether a machine of this id was ever born.
    pub fn knows(&self, id: u64) -> bool {
        self.members.contains_key(&id)
    }

    /// Whether a machine in use, or one that is still up, listens there.
    pub fn is_taken(&self, address: &str) -> bool {
        let there = |member: &&Member| member.address == address;
        let mut there = self.members.values().filter(there);
        there.any(|member| member.fate == Fate::InUse || member.is_up())
    }

    /// Whether its disk was damaged on purpose.
    pub fn is_damaged(&self, id: u64) -> bool {
        self.damaged.contains(&id)
    }

    /// A process ended because its member says that it cannot go on. There must be a reason.
    pub(super) fn refused(&mut self, id: u64, what: &str) -> Result<(), Wrong> {
        let failed = self.member(id).failed().is_some();
        let damaged = self.damaged.contains(&id);
        if !failed && !damaged {
            return Err(format!("member {id} is broken without a cause: {what}"));
        }
        self.remark(format_args!("member {id} refuses: {what}"));
        self.refusals += 1;
        self.crash(id);
        // A disk that failed once may work the next time; one that lies is replaced.
        if !damaged {
            let wait = Duration::from_millis(self.dice.below(1000));
            self.start_after(wait, id);
        }
        Ok(())
    }

    /// A member says that it was removed, so its process will end.
    pub(super) fn removed(&mut self, id: u64) -> Result<(), Wrong> {
        if !self.logs.may_be_removed(id) {
            return Err(format!("members: {id} says that it was removed, and nobody wanted that"));
        }
        let life = self.member(id).lives;
        self.at(LEAVE, Happening::Retire(id, life));
        Ok(())
    }

    pub(super) fn retire(&mut self, id: u64) {
        let first = self.member(id).fate == Fate::InUse;
        self.crash(id);
        self.member_mut(id).fate = Fate::Removed;
        // Somebody starts it again by mistake: it must learn anew that it is out.
        if first && self.dice.chance(300) {
            let wait = Duration::from_millis(self.dice.below(3000));
            self.at(wait, Happening::Relapse(id));
        }
    }

    pub(super) fn relapse(&mut self, id: u64) {
        if self.member(id).fate == Fate::Removed && !self.member(id).is_up() {
            self.start(id, Ending::Open);
        }
    }

    fn dial_later(&mut self, id: u64) {
        let life = self.member(id).lives;
        let wait = Duration::from_millis(50 + self.dice.below(DIAL_MS));
        self.at(wait, Happening::Dial(id, life));
    }

    /// Those who know that it was removed tell it so.
    pub(super) fn dial(&mut self, id: u64, life: u64) {
        if self.member(id).lives != life || !self.member(id).is_up() {
            return;
        }
        for peer in self.who_tells(id) {
            let wait = self.shape.latency;
            self.at(wait, Happening::ToldRemoved { at: id, life, by: peer });
        }
        self.dial_later(id);
    }

    /// Those whom the member reaches and who know that it was removed.
    pub fn who_tells(&self, id: u64) -> Vec<u64> {
        let own = self.member(id);
        let tells = |peer: &u64| {
            self.members.get(peer).is_some_and(|other| {
                other.is_up()
                    && !other.is_still()
                    && !own.is_still()
                    && other.has_removed(id)
                    && own.looks_for(*peer, &other.address)
                    && self.network.is_open(id, *peer)
                    && self.network.is_open(*peer, id)
            })
        };
        own.peers().into_iter().filter(tells).collect()
    }

    pub(super) fn heard_report(&mut self, id: u64, report: Report) -> Result<(), Wrong> {
        self.remark(format_args!("member {id} reports {report:?}"));
        match report {
            Report::Role { term, leader } if leader != 0 => {
                self.leader = self.leader.max((term, leader));
                self.agreement.leads(term, leader)
            }
            Report::Version(VersionNews::TooOld { .. }) => {
                Err(format!("member {id} is too old for its cluster"))
            }
            Report::Check(CheckNews::Inconsistent) => {
                Err(format!("member {id} finds other data at its peers"))
            }
            Report::Alarm { member, .. } => {
                self.blamed.insert(member);
                match self.members.values().any(|one| one.planted == Planted::OtherValues) {
                    true => Ok(()),
                    false => Err(format!("member {id} hears that {member} has other data")),
                }
            }
            Report::Removed => self.removed(id),
            Report::Broken { what } => self.refused(id, &what),
            Report::NotForced { why } => Err(format!("member {id} cannot: {why}")),
            Report::Forced { known, held, .. } => {
                self.kept += held - known;
                Ok(())
            }
            Report::Initialized { revision, .. } => {
                self.remember(id);
                self.member_mut(id).decided(revision);
                Ok(())
            }
            Report::Stopped => {
                self.stopped.insert(id);
                Ok(())
            }
            Report::Serving
            | Report::Role { .. }
            | Report::Checkpointed { .. }
            | Report::Compacted { .. }
            | Report::NoSpace
            | Report::Version(_)
            | Report::Check(_)
            | Report::DiskStuck { .. } => Ok(()),
        }
    }
}
