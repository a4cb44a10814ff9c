//! Owns the sending of the whole store to a peer that is too far behind for the log: the pieces of
//! a snapshot, as many as the leader allows.
//! Never holds more than one piece. Invariant: pieces put together are one snapshot file.

use std::sync::Arc;

use bytes::Bytes;

use super::cut::{Advanced, CutWriter, course_of};
use super::hash::Turn;
use super::walk::{Course, Walk};
use super::walks::Errand;
use super::{Shard, ShardEffect};
use crate::message::{Piece, SnapshotCut, ToLeader};

/// Bytes of one piece.
const PIECE_BYTES: usize = 256 << 10;

/// A store on its way to a peer.
pub struct ShipJob {
    transfer: u64,
    writer: CutWriter,
    allowed: u32,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for ShipJob {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "ShipJob({} at {})", self.transfer, self.writer.cut().revision)
    }
}

impl ShipJob {
    /// Which transfer.
    pub fn transfer(&self) -> u64 {
        self.transfer
    }

    /// The compact revision of what is sent.
    pub fn compact(&self) -> i64 {
        self.writer.cut().compact_revision
    }

    /// Another piece may go.
    pub fn allow(&mut self) {
        self.allowed += 1;
    }

    /// Fills the piece. Some if it is full, or the last.
    fn fill(&mut self, walk: &mut Walk) -> Filled {
        while self.buffer.len() < PIECE_BYTES {
            match self.writer.advance(walk, &mut self.buffer) {
                Advanced::Written => {}
                Advanced::Waits => return Filled::Waits,
                Advanced::Ended => {
                    self.writer.finish(&mut self.buffer);
                    return Filled::Full(Piece::Last);
                }
            }
        }
        Filled::Full(Piece::Middle)
    }
}

enum Filled {
    Waits,
    Full(Piece),
}

impl Shard {
    /// The leader wants the store sent.
    pub(super) fn ship(&mut self, transfer: u64, cut: Arc<SnapshotCut>) {
        let mut buffer = Vec::new();
        // A watch may begin at the compact revision itself: what happened there goes along, though
        // the rows hold it already.
        let course = Course { from: cut.compact_revision.max(1), ..course_of(&cut) };
        let header = self.snapshot_header(&cut);
        let writer = CutWriter::begin(cut, &header, &mut buffer);
        let job = ShipJob { transfer, writer, allowed: 1, buffer };
        self.start_walk(course, Errand::Ship(Box::new(job)));
    }

    /// Makes the next piece, if one may go.
    pub(super) fn ship_turn(&mut self, job: &mut ShipJob, walk: &mut Walk) -> Turn {
        if job.allowed == 0 {
            return Turn::Parked;
        }
        match job.fill(walk) {
            Filled::Waits => Turn::Waits,
            Filled::Full(piece) => {
                job.allowed -= 1;
                let bytes = Bytes::from(std::mem::take(&mut job.buffer));
                let message = ToLeader::Shipped { transfer: job.transfer, bytes, piece };
                self.out.push_back(ShardEffect::ToLeader(message));
                match piece {
                    Piece::Middle => Turn::More,
                    Piece::Last => Turn::Done,
                }
            }
        }
    }

    /// What was being sent is gone.
    pub(super) fn ship_compacted(&mut self, job: &ShipJob) {
        let message = ToLeader::ShipFailed { transfer: job.transfer };
        self.out.push_back(ShardEffect::ToLeader(message));
    }
}
