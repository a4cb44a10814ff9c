//! Owns who still reads the past: pins, and how far a compaction may go beneath them.
//! Never keeps the past itself. Invariant: while a pin is held, every point at or above its
//! revision can be read, whatever the compact revision is; what is held back goes when the last pin
//! below is given back.

use std::collections::BTreeMap;

use crate::slice::Slice;

/// Names one pin. The owner chooses it, unique among its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PinId(pub u64);

/// A pin came too late: some of what it would keep is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinTooLate {
    /// The compact revision.
    pub compact: i64,
}

pub(crate) struct Pins {
    held: BTreeMap<PinId, i64>,
    /// How far the history may be compacted but for the pins: the compact revision of the last
    /// freeze.
    frozen: i64,
}

impl Pins {
    /// None yet, of a slice that was compacted to `compact` when it was frozen.
    pub fn new(compact: i64) -> Pins {
        Pins { held: BTreeMap::new(), frozen: compact }
    }

    /// The lowest revision that is kept.
    pub fn lowest(&self) -> Option<i64> {
        self.held.values().min().copied()
    }

    /// Does a pin keep the points of this revision?
    pub fn keep(&self, main: i64) -> bool {
        self.lowest().is_some_and(|lowest| lowest <= main)
    }

    /// How far the history may be compacted now.
    fn limit(&self) -> i64 {
        self.lowest().map_or(self.frozen, |lowest| lowest.min(self.frozen))
    }
}

impl Slice {
    /// Keeps every point at the end of `main` and later readable, and every record after it, until
    /// [`Slice::unpin`]. Nothing else waits for a pin: what compaction would free is only kept.
    /// Panics if the id is in use.
    pub fn pin(&mut self, pin: PinId, main: i64) -> Result<(), PinTooLate> {
        let gone = match self.past.is_opening() {
            true => self.compact,
            false => self.past.get().map_or(i64::MIN, |history| history.compacted()),
        };
        if main < gone {
            return Err(PinTooLate { compact: self.compact });
        }
        assert!(self.pins.held.insert(pin, main).is_none(), "{pin:?} is taken");
        Ok(())
    }

    /// Gives a pin back; what it alone kept goes in the background. Unknown ids are fine.
    pub fn unpin(&mut self, pin: PinId) {
        if self.pins.held.remove(&pin).is_some() && !self.past.is_opening() {
            self.compact_past();
        }
    }

    /// Pins that are held.
    pub fn pinned(&self) -> usize {
        self.pins.held.len()
    }

    /// A freeze: the history may follow the compact revision, as far as pins allow.
    pub(crate) fn release_past(&mut self) {
        self.pins.frozen = self.compact;
        self.compact_past();
    }

    fn compact_past(&mut self) {
        let limit = self.pins.limit();
        if let Some(history) = self.past.get() {
            history.compact(limit);
        }
    }
}
