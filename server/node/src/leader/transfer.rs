//! Owns the sending of the whole store to peers that are too far behind for the log.
//! Never reads the store: a shard makes the pieces. Invariant: the group sends its snapshot message
//! only to a peer that has told that all pieces are durable there, and a piece is forgotten only
//! when the peer has it.
//!
//! ```text
//! wanted --cut--> Shipping --pieces, window of a few--> all taken --> Complete --> MsgSnapshot
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::Instant;
use bytes::Bytes;
use consensus::{Delivery, Event, PeerMessage, Snapshot};
use wal::Mark;

use super::pieces::Pieces;
use super::{Leader, LeaderEffect};
use crate::message::{Piece, ShardId, ToShard};
use crate::peer::PeerNote;

/// Transfers at a time; others wait for the group to ask again.
const TRANSFERS_MAX: usize = 2;
/// A transfer that makes no progress for so long is given up.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Who makes the pieces.
const MAKER: ShardId = ShardId(0);

/// Transfers under way, by peer.
pub struct Transfers {
    by_peer: BTreeMap<u64, Transfer>,
    next: u64,
}

struct Transfer {
    id: u64,
    snapshot: Snapshot,
    pieces: Pieces,
    stage: Stage,
    /// When something of it was last taken.
    progress: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The maker is at a piece.
    Making,
    /// The maker waits for room on the way to the peer.
    Full,
    /// All pieces were made.
    Made,
    /// The peer has them all.
    Complete,
}

impl Transfers {
    /// None. `epoch` makes the names differ from those of an earlier life of the process.
    pub fn new(epoch: u64) -> Transfers {
        Transfers { by_peer: BTreeMap::new(), next: epoch << 32 }
    }

    /// Entries after this will be needed by the peers that are being served.
    pub fn keep(&self) -> Option<u64> {
        self.by_peer.values().map(|transfer| transfer.snapshot.at.index).min()
    }

    fn peer_of(&self, id: u64) -> Option<u64> {
        self.by_peer.iter().find(|(_, transfer)| transfer.id == id).map(|(peer, _)| *peer)
    }
}

impl Leader {
    /// The group cannot serve a peer from the log.
    pub(super) fn snapshot_wanted(&mut self, now: Instant, peer: u64, index: u64) {
        let stale = |transfer: &Transfer| {
            transfer.stage == Stage::Complete && transfer.snapshot.at.index < index
        };
        if self.transfers.by_peer.get(&peer).is_some_and(stale) {
            // The log has moved on past what the peer has by now.
            self.end_transfer(now, peer);
        }
        let applied = self.sequencer.applied();
        let busy = self.transfers.by_peer.contains_key(&peer)
            || TRANSFERS_MAX <= self.transfers.by_peer.len();
        if busy || applied.index < index || !self.leads() || self.sequence.mid_entry(applied.index)
        {
            return;
        }
        self.counts.stores_sent += 1;
        self.transfers.next += 1;
        let id = self.transfers.next;
        let snapshot = Snapshot {
            at: Mark { term: applied.term, index: applied.index },
            membership: self.membership(),
            data: Bytes::copy_from_slice(&id.to_le_bytes()),
        };
        // Everything that was decided goes to the shards before the cut.
        self.send_batch();
        let cut = Arc::new(self.snapshot_cut());
        let message = ToShard::Ship { transfer: id, cut };
        self.out.push_back(LeaderEffect::ToShard { shard: MAKER, message });
        let transfer = Transfer {
            id,
            snapshot,
            pieces: Pieces::new(now),
            stage: Stage::Making,
            progress: now,
        };
        self.transfers.by_peer.insert(peer, transfer);
        self.keep_log(now);
    }

    /// Has the next piece made, if there is room for it.
    fn ship_more(&mut self, peer: u64) {
        let transfer = self.transfers.by_peer.get_mut(&peer).expect("it is under way");
        if transfer.stage == Stage::Full && transfer.pieces.has_room() {
            transfer.stage = Stage::Making;
            let message = ToShard::ShipMore { transfer: transfer.id };
            self.out.push_back(LeaderEffect::ToShard { shard: MAKER, message });
        }
    }

    /// A piece was made.
    pub(super) fn shipped(&mut self, now: Instant, id: u64, bytes: Bytes, piece: Piece) {
        let Some(peer) = self.transfers.peer_of(id) else { return };
        let transfer = self.transfers.by_peer.get_mut(&peer).expect("found a moment ago");
        let number = transfer.pieces.add(now, bytes.clone());
        transfer.stage = match piece {
            Piece::Middle => Stage::Full,
            Piece::Last => Stage::Made,
        };
        let note = PeerNote::Part { transfer: id, number, bytes };
        self.out.push_back(LeaderEffect::Send { to: peer, note });
        self.ship_more(peer);
    }

    /// The peer has a piece, and all before it.
    pub(super) fn part_taken(&mut self, now: Instant, peer: u64, id: u64, number: u32) {
        let Some(transfer) = self.transfers.by_peer.get_mut(&peer) else { return };
        if transfer.id != id || !transfer.pieces.take(now, number) {
            return;
        }
        transfer.progress = now;
        if transfer.stage == Stage::Made && transfer.pieces.is_empty() {
            transfer.stage = Stage::Complete;
            let snapshot = transfer.snapshot.clone();
            self.consensus().handle(now, Event::SnapshotMade { peer, snapshot });
        } else {
            self.ship_more(peer);
        }
    }

    /// Sends again what may have been lost, and ends what is of no use any more.
    pub(super) fn resend_parts(&mut self, now: Instant) {
        if self.transfers.by_peer.is_empty() {
            return;
        }
        let leads = self.leads();
        let progress = self.consensus().status().progress;
        let caught_up = |peer: &u64, transfer: &Transfer| {
            let reached = progress.iter().find(|other| other.id == *peer);
            reached.is_none_or(|other| transfer.snapshot.at.index <= other.matched)
        };
        let over = |peer: &u64, transfer: &Transfer| {
            !leads || caught_up(peer, transfer) || GIVE_UP < now.since(transfer.progress)
        };
        let ended: Vec<u64> = self
            .transfers
            .by_peer
            .iter()
            .filter(|(peer, transfer)| over(peer, transfer))
            .map(|(peer, _)| *peer)
            .collect();
        ended.into_iter().for_each(|peer| self.end_transfer(now, peer));
        for (peer, transfer) in &mut self.transfers.by_peer {
            for (number, bytes) in transfer.pieces.resend(now) {
                let note = PeerNote::Part { transfer: transfer.id, number, bytes };
                self.out.push_back(LeaderEffect::Send { to: *peer, note });
            }
        }
    }

    /// The peer does not know, or does not want, what is being sent.
    pub(super) fn part_refused(&mut self, now: Instant, peer: u64, id: u64) {
        if self.transfers.by_peer.get(&peer).is_some_and(|transfer| transfer.id == id) {
            self.end_transfer(now, peer);
            self.report_snapshot(now, peer, Delivery::Failed);
        }
    }

    /// The shard cannot make the rest.
    pub(super) fn ship_failed(&mut self, now: Instant, id: u64) {
        if let Some(peer) = self.transfers.peer_of(id) {
            self.end_transfer(now, peer);
        }
    }

    fn end_transfer(&mut self, now: Instant, peer: u64) {
        let Some(transfer) = self.transfers.by_peer.remove(&peer) else { return };
        let message = ToShard::ShipStop { transfer: transfer.id };
        self.out.push_back(LeaderEffect::ToShard { shard: MAKER, message });
        self.consensus().handle(now, Event::SnapshotDropped { peer });
        self.keep_log(now);
    }

    fn report_snapshot(&mut self, now: Instant, peer: u64, delivery: Delivery) {
        self.consensus().handle(now, Event::SnapshotSent { peer, delivery });
    }

    /// The group sends its snapshot: only to whom it was made for, and who has it.
    pub(super) fn send_snapshot(&mut self, now: Instant, peer: u64, message: PeerMessage) {
        let data = message.snapshot().map(|(_, data)| data).expect("asked for a snapshot");
        let there = self.transfers.by_peer.get(&peer).is_some_and(|transfer| {
            transfer.stage == Stage::Complete && data == transfer.id.to_le_bytes()[..]
        });
        if there {
            self.out.push_back(LeaderEffect::Send { to: peer, note: PeerNote::Raft(message) });
            self.report_snapshot(now, peer, Delivery::Delivered);
        } else {
            self.report_snapshot(now, peer, Delivery::Failed);
            self.snapshot_wanted(now, peer, 0);
        }
    }
}
