//! Owns what passes between this member and its peers: which notes go out, and what becomes of
//! those that arrive.
//! Never resends: what the group needs it says again itself. Invariant: a note of a member that is
//! not in the list changes nothing.

use std::time::Duration;

use base::Instant;
use consensus::{Event, PeerMessage};
use state::CommandBatch;

use super::{Leader, LeaderEffect};
use crate::peer::PeerNote;

/// How long peers may not know of a commit that nobody there waits for: watchers and serializable
/// reads there are so much behind at most, if no write follows. Appends tell it for nothing.
const UNTOLD_MAX: Duration = Duration::from_millis(2);

impl Leader {
    /// A batch is committed: the members whose clients wait for it hear of that at once.
    pub(super) fn tell_origins(&mut self, now: Instant, batch: &CommandBatch) {
        if !self.leads() {
            return;
        }
        let own = self.config.member_id;
        let mut told = own;
        for command in &batch.commands {
            let origin = command.origin.member;
            // Commands of one member stand side by side, as they came.
            if origin != own && origin != told {
                told = origin;
                self.consensus().handle(now, Event::TellCommit(origin));
            }
        }
    }

    /// Looks whether a peer does not know of a commit, at the end of a turn.
    pub(super) fn note_untold(&mut self, now: Instant) {
        let is_untold = self.leads() && !self.consensus().untold().is_empty();
        self.untold_since = is_untold.then(|| self.untold_since.unwrap_or(now));
    }

    /// When peers should be told of commits even if nothing else is said to them.
    pub(super) fn telling_deadline(&self) -> Option<Instant> {
        self.untold_since.map(|since| since + UNTOLD_MAX)
    }

    /// Tells peers of commits that nothing told them in time.
    pub(super) fn tell_commits(&mut self, now: Instant) {
        if self.telling_deadline().is_some_and(|at| at <= now) {
            for peer in self.consensus().untold() {
                self.consensus().handle(now, Event::TellCommit(peer));
            }
        }
    }

    /// The group wants a message sent.
    pub(super) fn send_raft(&mut self, to: u64, message: PeerMessage) {
        self.out.push_back(LeaderEffect::Send { to, note: PeerNote::Raft(message) });
    }

    /// A peer sent something.
    pub(super) fn received(&mut self, now: Instant, from: u64, note: PeerNote) {
        // Before our own log is read, the peer talks to nobody; it says again what matters.
        if self.start.is_some() || self.incoming.installs() || !self.knows(from) {
            return;
        }
        self.contacts.up(now, from);
        match note {
            PeerNote::Raft(message) => {
                if message.from() != from {
                    return;
                }
                match message.snapshot() {
                    Some((_, data)) if !self.has_staged(&message) => {
                        let id = data.as_ref().try_into().map_or(0, u64::from_le_bytes);
                        self.refuse_part(from, id);
                    }
                    Some(_) | None => self.consensus().handle(now, Event::Received(message)),
                }
            }
            PeerNote::Commands(batch) => self.take_forwarded(from, batch),
            PeerNote::Ask { number, ask } => self.take_ask(from, number, ask),
            PeerNote::Answer { number, answer } => self.take_peer_answer(from, number, answer),
            PeerNote::Part { transfer, number, bytes } => {
                self.take_part(from, transfer, number, &bytes);
            }
            PeerNote::Taken { transfer, number } => self.part_taken(now, from, transfer, number),
            PeerNote::Refused { transfer } => self.part_refused(now, from, transfer),
            // Whoever has clocks keeps these to itself.
            PeerNote::Probe { .. } | PeerNote::Probed { .. } => {}
        }
    }

    /// News of a peer.
    pub(super) fn tell_group(&mut self, now: Instant, news: Event) {
        if let Event::Unreachable(peer) = &news {
            self.check_lost(now, *peer);
        }
        if let Some(consensus) = &mut self.consensus {
            consensus.handle(now, news);
        }
    }
}
