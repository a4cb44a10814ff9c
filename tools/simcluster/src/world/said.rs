//! Owns what becomes of what members say: notes go on their way and arrive or not, answers reach
//! those who asked, decisions and roles are compared.
//! Never invents a note. Invariant: what a member said before its power went is heard.

use std::time::Duration;

use base::Prng;
use node::{CheckNews, LeaderEvent, PeerNote, Report, VersionNews};
use ringleader_sim::Planted;
use ringleader_sim::member::{End, Heard, Said};

use super::{Happening, News, Voice, World, Wrong};
use crate::member::Mail;
use crate::network::Letter;

impl World {
    pub(super) fn letter(&mut self, letter: Letter) -> Result<(), Wrong> {
        let Letter { from, to, .. } = letter;
        if !self.network.arrives(&letter) || !self.member(to).is_up() {
            self.lost(from, to);
            return Ok(());
        }
        if !self.member(to).knows(from) {
            return Ok(());
        }
        let note = PeerNote::decode(&letter.bytes).map_err(|_| {
            format!("a note from {from} to {to} cannot be read: {:?}", letter.bytes)
        })?;
        if self.voice == Voice::Full {
            self.remark(format_args!("{from} to {to}: {note:?}"));
        }
        self.trace.note(to);
        self.trace.bytes(&letter.bytes);
        let now = self.now;
        self.member_mut(to).deliver(now, Mail::Peer(LeaderEvent::Received { from, note }));
        Ok(())
    }

    /// The sender hears of a loss, some time later, and once for many.
    fn lost(&mut self, from: u64, to: u64) {
        if self.untold.insert((from, to)) {
            let wait = Duration::from_millis(self.dice.below(300));
            self.at(wait, Happening::Unreachable { at: from, peer: to });
        }
    }

    pub(super) fn member_step(&mut self, id: u64) -> Result<(), Wrong> {
        let (said, stepped) = self.member_mut(id).step();
        self.hear(id, said)?;
        match stepped {
            Ok(()) => Ok(()),
            Err(End::Crash) => {
                self.crash(id);
                let most = if self.dice.chance(500) { 40 } else { 2000 };
                let wait = Duration::from_millis(self.dice.below(most));
                self.start_after(wait, id);
                Ok(())
            }
            Err(End::Broken(what)) => Err(format!("member {id} is broken without a cause: {what}")),
        }
    }

    fn hear(&mut self, id: u64, said: Said) -> Result<(), Wrong> {
        let stamp = self.stamp();
        for batch in said.decided {
            self.agreement.decided(stamp, id, &batch)?;
            self.member_mut(id).decided(batch.revision);
        }
        for report in said.reports {
            self.report(id, report)?;
        }
        for (to, note) in said.sent {
            self.send(id, to, &note);
        }
        for (call, heard) in said.heard {
            let actor = self.calls.get(&call).map(|call| call.actor);
            match heard {
                Heard::Reply(_) | Heard::Failed(_) | Heard::Finished => {
                    self.calls.remove(&call);
                }
                Heard::Message(_) => {}
            }
            self.remark(format_args!("member {id} answers {call:?}: {}", heard_in_short(&heard)));
            // Nobody listens to a call that its client has left.
            self.news.extend(actor.map(|actor| (actor, News::Heard(call, heard))));
        }
        Ok(())
    }

    fn report(&mut self, id: u64, report: Report) -> Result<(), Wrong> {
        self.remark(format_args!("member {id} reports {report:?}"));
        match report {
            Report::Role { term, leader } if leader != 0 => self.agreement.leads(term, leader)?,
            Report::Version(VersionNews::TooOld { .. }) => {
                return Err(format!("member {id} is too old for its cluster"));
            }
            Report::Check(CheckNews::Inconsistent) => {
                return Err(format!("member {id} finds other data at its peers: {report:?}"));
            }
            Report::Alarm { member, .. } => {
                self.blamed.insert(member);
                if self.members.iter().all(|one| one.planted == Planted::Nothing) {
                    return Err(format!("member {id} hears that {member} has other data"));
                }
            }
            Report::Removed => return Err(format!("member {id} says that it was removed")),
            Report::Broken { what } => return Err(format!("member {id} is broken: {what}")),
            Report::Initialized { revision, .. } => self.member_mut(id).decided(revision),
            Report::Serving
            | Report::Role { .. }
            | Report::Checkpointed { .. }
            | Report::Compacted { .. }
            | Report::NoSpace
            | Report::Version(_)
            | Report::Check(_)
            | Report::DiskStuck { .. }
            | Report::Stopped => {}
        }
        Ok(())
    }

    fn send(&mut self, from: u64, to: u64, note: &PeerNote) {
        if !self.member(from).knows(to) || to > self.shape.members {
            return;
        }
        let mut dice = Prng::from_seed(self.dice.next_u64());
        match self.network.send(self.now, (from, to), note, &mut dice) {
            Some((at, letter)) => self.at(at.since(self.now), Happening::Letter(letter)),
            None => self.lost(from, to),
        }
    }
}

fn heard_in_short(heard: &Heard) -> String {
    match heard {
        Heard::Reply(bytes) => format!("{} bytes", bytes.len()),
        Heard::Message(bytes) => format!("a message of {} bytes", bytes.len()),
        Heard::Failed(status) => status.message.to_string(),
        Heard::Finished => "the end".to_owned(),
    }
}
