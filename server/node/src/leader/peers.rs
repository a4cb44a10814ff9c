//! Owns what passes between this member and its peers: which notes go out, and what becomes of
//! those that arrive.
//! Never resends: what the group needs it says again itself. Invariant: a note of a member that is
//! not in the list changes nothing.

use base::Instant;
use consensus::{Event, PeerMessage};

use super::{Leader, LeaderEffect};
use crate::peer::PeerNote;

impl Leader {
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
        }
    }

    /// Notes to a peer were lost.
    pub(super) fn unreachable(&mut self, now: Instant, peer: u64) {
        self.check_lost(now, peer);
        if let Some(consensus) = &mut self.consensus {
            consensus.handle(now, Event::Unreachable(peer));
        }
    }
}
