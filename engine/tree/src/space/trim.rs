//! Owns what of the file is given back to the file system: its end, and long free runs inside.
//! Invariant: nothing that is given back is used, and nothing is taken while the shell is at it.

use crate::sizes::{
    PUNCH_UNITS_MAX, PUNCH_UNITS_MIN, REGION_UNITS, TRUNCATE_UNITS_MIN, UNIT_BYTES,
};

use super::{Extent, Space, WORDS};

/// Space to give back to the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// Nothing lives in this range.
    Punch {
        /// Byte offset.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Nothing lives from here on.
    Truncate {
        /// New length of the file.
        len: u64,
    },
}

impl Space {
    /// Units above which nothing should live, if the file is much longer than what it holds.
    pub fn target_units(&self) -> Option<u32> {
        let room = self.used_units / 8 + TRUNCATE_UNITS_MIN;
        let target = self.used_units.saturating_add(self.slack_units).saturating_add(room);
        (self.file_units > target.saturating_add(self.used_units / 16)).then_some(target)
    }

    /// What can be given back now. The shell does it and calls [`Space::trimmed`]; meanwhile
    /// nothing may be taken.
    pub fn next_trim(&mut self) -> Option<TrimUnits> {
        if self.is_trimmed {
            return None;
        }
        let trim = self.find_trim();
        self.is_trimmed = trim.is_none();
        trim
    }

    /// Was nothing left to give back when it was last looked for, and nothing made free since?
    pub fn is_trimmed(&self) -> bool {
        self.is_trimmed
    }

    fn find_trim(&self) -> Option<TrimUnits> {
        let end = self.last_used_end();
        let keep = end.max(self.used_units.saturating_add(self.slack_units));
        if self.file_units >= keep.saturating_add(TRUNCATE_UNITS_MIN) {
            return Some(TrimUnits::Truncate { units: keep });
        }
        if self.file_units - self.used_units <= self.slack_units.saturating_add(TRUNCATE_UNITS_MIN)
        {
            return None;
        }
        self.next_punch(end)
    }

    /// The first long run below `end` that is free and still has blocks.
    fn next_punch(&self, end: u32) -> Option<TrimUnits> {
        let mut from = 0;
        while from < end {
            let start = self.next_where(from, end, |used, hole| !used & !hole);
            let most = start.saturating_add(PUNCH_UNITS_MAX).min(end);
            let stop = self.next_where(start, most, |used, hole| used | hole);
            if stop - start >= PUNCH_UNITS_MIN {
                return Some(TrimUnits::Punch(Extent { start, units: stop - start }));
            }
            from = stop.max(start + 1);
        }
        None
    }

    /// The shell has given it back.
    pub fn trimmed(&mut self, trim: TrimUnits) {
        match trim {
            TrimUnits::Truncate { units } => {
                assert!(self.last_used_end() <= units);
                self.file_units = units;
                let regions = units.div_ceil(REGION_UNITS) as usize;
                self.regions.truncate(regions);
                self.used.truncate(regions * WORDS);
                self.hole.truncate(regions * WORDS);
                for unit in units..regions as u32 * REGION_UNITS {
                    self.hole[unit as usize / 64] |= 1 << (unit % 64);
                }
            }
            TrimUnits::Punch(extent) => {
                for unit in extent.start..extent.end() {
                    assert!(!self.is_used(unit));
                    self.hole[unit as usize / 64] |= 1 << (unit % 64);
                }
            }
        }
    }
}

/// A [`Trim`] in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrimUnits {
    Punch(Extent),
    Truncate { units: u32 },
}

impl TrimUnits {
    pub fn to_trim(self) -> Trim {
        let bytes = |units: u32| u64::from(units) * UNIT_BYTES as u64;
        match self {
            TrimUnits::Punch(extent) => {
                Trim::Punch { offset: bytes(extent.start), len: bytes(extent.units) }
            }
            TrimUnits::Truncate { units } => Trim::Truncate { len: bytes(units) },
        }
    }
}
