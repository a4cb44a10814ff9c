//! Owns the list of tombstones that compaction has passed: the tree must let go of them before
//! their segment may. Never touches the tree.
//! Invariant: the cursor moves only over tombstones that the caller reported as purged.

use base::Rev;
use bytes::Bytes;

use crate::block::Block;
use crate::cache::Use;
use crate::history::History;
use crate::read::{Miss, Place};
use crate::record::Record;

/// A key's end, at or before the compact revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The key. It may live again since.
    pub key: Bytes,
    /// When it was deleted.
    pub rev: Rev,
}

/// A bounded piece of purging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeBatch {
    /// To be removed from the tree where it still holds this very tombstone. May be empty.
    pub tombstones: Vec<Tombstone>,
    /// To be handed to [`History::purged`] when that is done.
    pub through: Rev,
}

/// Where the next tombstones may be.
enum Found {
    Block(Block),
    Growing,
    /// Nothing is left at or before the compact revision.
    Nothing,
}

impl History {
    /// The next tombstones to purge, `max` at most, of one block at most; the same ones again until
    /// [`History::purged`]. `None` when nothing at or before the compact revision is left.
    pub fn poll_purge(&mut self, max: usize) -> Result<Option<PurgeBatch>, Miss> {
        assert!(0 < max);
        let end = Rev::end_of(self.compact);
        if end <= self.purged {
            return Ok(None);
        }
        let from = self.purged.after();
        let batch = match self.tombstones_from(from, end)? {
            Found::Block(block) => {
                let records = block.lower_bound(from)..block.len();
                let last = block.record(block.len() - 1).rev;
                gather(records.map(|at| block.record(at)), end, last.min(end), max)
            }
            Found::Growing => {
                let records = self.builder.lower_bound(from)..self.builder.len();
                gather(records.map(|at| self.builder.record(at)), end, end, max)
            }
            Found::Nothing => PurgeBatch { tombstones: Vec::new(), through: end },
        };
        Ok(Some(batch))
    }

    /// The tombstones up to `through` are gone from the tree.
    pub fn purged(&mut self, through: Rev) {
        assert!(self.purged < through);
        assert!(through <= Rev::end_of(self.compact));
        self.purged = through;
        self.flush.changed();
    }

    /// The first block from `from` on that has tombstones.
    fn tombstones_from(&mut self, from: Rev, end: Rev) -> Result<Found, Miss> {
        let mut place = self.first_place(from)?;
        while let Place::Block { segment, position } = place {
            if self.sealed_segment(segment).is_some_and(|sealed| sealed.tombstones == 0) {
                place = self.following(segment);
                continue;
            }
            match self.meta(segment, position, Use::Scan)? {
                Some(meta) if end < meta.first => return Ok(Found::Nothing),
                Some(meta) if 0 < meta.tombstones => {
                    let block = self.block(meta, Use::Scan)?;
                    if block.lower_bound(from) < block.len() {
                        return Ok(Found::Block(block));
                    }
                    place = Place::Block { segment, position: position + 1 };
                }
                Some(_) => place = Place::Block { segment, position: position + 1 },
                None => place = self.following(segment),
            }
        }
        Ok(if 0 < self.builder.tombstones() { Found::Growing } else { Found::Nothing })
    }

    /// Like `seek`, without reading the index of a segment that has no tombstones.
    fn first_place(&mut self, from: Rev) -> Result<Place, Miss> {
        let sealed = self.sealed.partition_point(|segment| segment.last < from);
        match self.sealed.get(sealed) {
            Some(segment) if segment.tombstones == 0 => {
                Ok(Place::Block { segment: segment.number, position: 0 })
            }
            Some(_) | None => self.seek(from, Use::Scan),
        }
    }
}

/// Collects tombstones up to `end`; `through` is how far all of `records` reach.
fn gather(records: impl Iterator<Item = Record>, end: Rev, through: Rev, max: usize) -> PurgeBatch {
    let mut tombstones = Vec::new();
    for record in records.take_while(|record| record.rev <= end) {
        if record.is_tombstone() {
            let key = Bytes::copy_from_slice(&record.key);
            tombstones.push(Tombstone { key, rev: record.rev });
        }
        if tombstones.len() == max {
            return PurgeBatch { tombstones, through: record.rev };
        }
    }
    PurgeBatch { tombstones, through }
}
