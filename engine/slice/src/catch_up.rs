//! Owns reading history forward, for watches that are behind and for previous values.
//! Never looks at the tree. Invariant: the answers of successive reads, each from the last one's
//! `resume`, are every matching record once, in order.

use base::Rev;
use history::{Record, Scanned, Visit};

use crate::io::Page;
use crate::reads::Turn;
use crate::request::{KeyRange, Prev, ReadResult};
use crate::slice::Slice;

pub(crate) struct CatchUp {
    from: Rev,
    to: Rev,
    keys: Vec<KeyRange>,
    room_bytes: usize,
    prev: Prev,
    records: Vec<Record>,
}

impl CatchUp {
    pub fn new(from: Rev, to: Rev, keys: Vec<KeyRange>, limit_bytes: usize, prev: Prev) -> CatchUp {
        CatchUp { from, to, keys, room_bytes: limit_bytes.max(1), prev, records: Vec::new() }
    }

    pub fn turn(&mut self, slice: &mut Slice) -> Turn {
        let mut entries = slice.options.turn_entries;
        let turn_bytes = slice.options.turn_bytes;
        let Some(history) = slice.past.get() else { return self.done(None) };
        if self.to < self.from {
            return self.done(None);
        }
        let mut is_over = false;
        let end = history.scan(self.from, turn_bytes, |record| {
            if self.to < record.rev {
                is_over = true;
                return Visit::Stop;
            }
            self.from = record.rev.after();
            entries -= 1;
            self.take(record);
            if entries == 0 || self.room_bytes == 0 { Visit::Stop } else { Visit::Continue }
        });
        match end {
            Scanned::End => self.done(None),
            Scanned::Paused { .. } if is_over => self.done(None),
            Scanned::Paused { .. } if self.room_bytes == 0 => self.done(Some(self.from)),
            Scanned::Paused { .. } => Turn::Again,
            Scanned::Missed { miss, .. } => Turn::Wait(Page::History(miss)),
        }
    }

    fn take(&mut self, mut record: Record) {
        if !self.keys.is_empty() && !self.keys.iter().any(|keys| keys.contains(&record.key)) {
            return;
        }
        // Whether a tombstone was still known depends on how far this member has purged.
        record.tombstone = None;
        if self.prev == Prev::Unwanted {
            record.prev = None;
        }
        self.room_bytes = self.room_bytes.saturating_sub(record.payload_bytes());
        self.records.push(record.detach());
    }

    fn done(&mut self, resume: Option<Rev>) -> Turn {
        let records = std::mem::take(&mut self.records);
        Turn::Done(ReadResult::History { records, resume })
    }
}
