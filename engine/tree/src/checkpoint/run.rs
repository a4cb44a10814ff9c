//! Owns the gathering of placed pages into writes, and which writes are under way.
//! Invariant: a page is never cut over two writes; a write covers adjacent pages only.

use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};

use crate::sizes::{WRITE_BYTES_MAX, offset_of, units_for};

use super::{PageWrite, Ticket};

/// Placed pages that are gathered into one write, and writes under way.
#[derive(Default)]
pub(crate) struct Run {
    ready: VecDeque<Piece>,
    offset_unit: u32,
    bytes: BytesMut,
    starts: Vec<u32>,
    inflight: BTreeMap<Ticket, Vec<u32>>,
    ticket: u64,
}

/// One placed page.
pub(super) struct Piece {
    start: u32,
    bytes: Bytes,
}

impl Run {
    /// A page that got its place.
    pub(super) fn push(&mut self, start: u32, bytes: Bytes) {
        self.ready.push_back(Piece { start, bytes });
    }

    /// The next placed page.
    pub(super) fn pop(&mut self) -> Option<Piece> {
        self.ready.pop_front()
    }

    /// The write is complete. The first units of the pages in it.
    pub fn wrote(&mut self, ticket: Ticket) -> Vec<u32> {
        self.inflight.remove(&ticket).expect("told once of each write")
    }

    pub fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.bytes.is_empty() && self.inflight.is_empty()
    }

    /// Adds a page to the write being gathered. Returns that write if the page does not go with it.
    pub(super) fn add(&mut self, piece: Piece) -> Option<PageWrite> {
        let end = self.offset_unit + units_for(self.bytes.len());
        let fits = self.bytes.len() + piece.bytes.len() <= WRITE_BYTES_MAX;
        let full = match self.bytes.is_empty() || (end == piece.start && fits) {
            true => None,
            false => self.flush(),
        };
        if self.bytes.is_empty() {
            self.offset_unit = piece.start;
        }
        self.bytes.put_slice(&piece.bytes);
        self.starts.push(piece.start);
        full
    }

    /// The write being gathered.
    pub fn flush(&mut self) -> Option<PageWrite> {
        if self.bytes.is_empty() {
            return None;
        }
        self.ticket += 1;
        let ticket = Ticket(self.ticket);
        self.inflight.insert(ticket, std::mem::take(&mut self.starts));
        let bytes = std::mem::take(&mut self.bytes).freeze();
        Some(PageWrite { ticket, offset: offset_of(self.offset_unit), bytes })
    }
}
