//! Owns counting live keys at a point. Never walks over keys.
//! Invariant: what is live now, less what each record after the point made live, plus what it
//! ended, is what was live at the point.
//!
//! `count(at) = count(now) - sum over records after at in the range of (is put) - (had a previous)`

use base::{ChangeKind, Rev};
use history::{Scanned, Visit};

use crate::io::Page;
use crate::reads::Turn;
use crate::request::{KeyRange, RangeEnd, ReadResult};
use crate::slice::Slice;

pub(crate) struct Count {
    keys: KeyRange,
    /// First revision whose record was not looked at.
    from: Rev,
    /// Keys that the records so far made live, less those that they ended.
    born: i64,
}

impl Count {
    pub fn new(keys: KeyRange, at: Rev) -> Count {
        Count { keys, from: at.after(), born: 0 }
    }

    pub fn turn(&mut self, slice: &mut Slice) -> Turn {
        let mut entries = slice.options.turn_entries;
        if let Some(history) = slice.past.get() {
            let end = history.scan(self.from, slice.options.turn_bytes, |record| {
                self.born += self.effect(&record.key, &record.kind, record.prev.is_some());
                self.from = record.rev.after();
                entries -= 1;
                if entries == 0 { Visit::Stop } else { Visit::Continue }
            });
            match end {
                Scanned::End => {}
                Scanned::Paused { .. } => return Turn::Again,
                Scanned::Missed { miss, .. } => return Turn::Wait(Page::History(miss)),
            }
        }
        let now = match self.now(slice) {
            Ok(now) => now,
            Err(miss) => return Turn::Wait(Page::Tree(miss)),
        };
        // The change that history does not have yet is in the tree, and replaced a live version.
        let half = slice.stream.half.as_ref();
        let half = half.map_or(0, |half| self.effect(&half.change.key, &half.change.kind, true));
        let count = i64::try_from(now).expect("fewer keys than revisions") - self.born - half;
        Turn::Done(ReadResult::Count(u64::try_from(count).expect("records explain every key")))
    }

    fn now(&self, slice: &mut Slice) -> Result<u64, tree::Miss> {
        match &self.keys.end {
            RangeEnd::Single => {
                let entry = slice.tree.get(&self.keys.start)?;
                Ok(u64::from(entry.is_some_and(|entry| entry.is_live())))
            }
            RangeEnd::Before(end) => slice.tree.count_live(&self.keys.start, Some(end)),
            RangeEnd::Unbounded => slice.tree.count_live(&self.keys.start, None),
        }
    }

    fn effect(&self, key: &[u8], kind: &ChangeKind, had_previous: bool) -> i64 {
        if !self.keys.contains(key) {
            return 0;
        }
        let is_put = match kind {
            ChangeKind::Put { .. } => 1,
            ChangeKind::Delete => 0,
        };
        is_put - i64::from(had_previous)
    }
}
