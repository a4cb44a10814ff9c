//! Owns what becomes of what members say: notes go on their way and arrive or not, answers reach
//! those who asked, decisions and roles are compared.
//! Never invents a note. Invariant: what a member said before its power went is heard.

use std::time::Duration;

use base::Prng;
use node::{LeaderEvent, PeerNote};
use ringleader_sim::member::{End, Heard, Said};
use ringleader_sim::plan::Fault;

use super::{Happening, Voice, World, Wrong};
use crate::member::Mail;
use crate::network::Letter;

/// A member that was told of a failure of its disk says so within this time.
const NOTICE: Duration = Duration::from_secs(1);

impl World {
    pub(super) fn letter(&mut self, letter: Letter) -> Result<(), Wrong> {
        let Letter { from, to, .. } = letter;
        if !self.network.arrives(&letter) || !self.member(to).is_up() {
            self.lost(from, to);
            return Ok(());
        }
        if !self.member(to).knows(from) {
            if self.member(to).is_introduced() && !self.member(to).has_removed(from) {
                let (now, mail) = (self.now, LeaderEvent::Stranger { peer: from });
                self.member_mut(to).deliver(now, Mail::Peer(mail));
            }
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
            Ok(()) if self.stopped.remove(&id) => {
                // The end of the process; the machine loses its power with it.
                self.crash(id);
                let wait = Duration::from_millis(self.dice.below(2000));
                self.start_after(wait, id);
                Ok(())
            }
            Ok(()) => self.went_on(id),
            Err(End::Crash) => {
                self.crash(id);
                let most = if self.dice.chance(500) { 40 } else { 2000 };
                let wait = Duration::from_millis(self.dice.below(most));
                self.start_after(wait, id);
                Ok(())
            }
            Err(End::Broken(what)) => self.refused(id, &what),
        }
    }

    /// A member whose disk failed a request that it cannot do without has stopped by now.
    fn went_on(&self, id: u64) -> Result<(), Wrong> {
        let Some((failed, since)) = self.member(id).failed() else { return Ok(()) };
        match NOTICE < since && Fault::is_fatal(failed.kind, failed.error) {
            true => Err(format!("member {id} goes on after {failed:?}")),
            false => Ok(()),
        }
    }

    fn hear(&mut self, id: u64, said: Said) -> Result<(), Wrong> {
        let stamp = self.stamp();
        for news in said.log {
            self.logs.learn(stamp.at, id, news)?;
        }
        for batch in said.decided {
            self.agreement.decided(stamp, id, &batch)?;
            self.member_mut(id).decided(batch.revision);
        }
        for report in said.reports {
            self.heard_report(id, report)?;
        }
        for (to, note) in said.sent {
            self.send(id, to, &note);
        }
        for (call, heard) in said.heard {
            self.remark(format_args!("member {id} answers {call:?}: {}", heard_in_short(&heard)));
            self.answered(call, heard);
        }
        Ok(())
    }

    fn send(&mut self, from: u64, to: u64, note: &PeerNote) {
        if !self.member(from).knows(to) {
            return;
        }
        // Nobody is there, or somebody else.
        let found = self.members.get(&to);
        if !found.is_some_and(|peer| self.member(from).looks_for(to, &peer.address)) {
            return self.lost(from, to);
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
