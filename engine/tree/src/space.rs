//! Owns the free map of the file: one bit a unit, in regions of 64 MiB, and the list of units that
//! are no longer used by the working tree but still by an image on disk. Never touches the file.
//! Invariant: a unit is free, or it is reachable from the working tree, from an image that is
//! being written, from the committed image or from a pinned one.
//!
//! Extents are taken from the lowest region that has a run long enough, and from the lowest run in
//! it: live pages sink to the front with every checkpoint and the tail drains, so that the file can
//! be cut. (Best fit leaves fewer small gaps but keeps the tail alive; pages here are 1 to 4 units,
//! so small gaps are used anyway.) What is retired stands in space/retire.rs, what is given back in
//! space/trim.rs.

mod retire;
mod trim;

use std::collections::{BTreeMap, VecDeque};

use crate::sizes::{FILE_UNITS_MAX, REGION_UNITS, UNIT_BYTES};

pub use trim::Trim;
pub(crate) use trim::TrimUnits;

/// A run of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Extent {
    pub start: u32,
    pub units: u32,
}

impl Extent {
    /// The unit behind the last one.
    pub fn end(self) -> u32 {
        self.start.saturating_add(self.units)
    }
}

/// Sizes of a tree's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceStats {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes that an image or the working tree needs.
    pub used_bytes: u64,
    /// Bytes inside the file that can be taken.
    pub free_bytes: u64,
    /// Of the used ones: bytes that only wait for the next checkpoints to become free.
    pub retired_bytes: u64,
}

/// One region's summary. Hints are on the safe side: `low` is not above the first free unit,
/// `longest` not below the longest free run.
#[derive(Clone, Copy, Debug)]
struct Region {
    free: u32,
    low: u32,
    longest: u32,
}

const WORDS: usize = REGION_UNITS as usize / 64;
const FRESH: Region = Region { free: REGION_UNITS, low: 0, longest: REGION_UNITS };

/// The free map.
pub(crate) struct Space {
    /// One bit a unit, set while used; whole regions.
    used: Vec<u64>,
    /// Set where the file has no blocks as far as we know; only looked at where free.
    hole: Vec<u64>,
    regions: Vec<Region>,
    /// Units of the file; all above are free and not there.
    file_units: u32,
    used_units: u32,
    /// By the image during whose making they were freed.
    retired: VecDeque<(u64, Vec<Extent>)>,
    /// Free by the latest commit, and on their way back into the map.
    leaving: Vec<Extent>,
    /// Of `retired` and `leaving`.
    retired_units: u32,
    /// Committed images that somebody still reads, with the number of readers.
    pins: BTreeMap<u64, u32>,
    /// Units that recent checkpoints took: kept free rather than cut and grown again.
    slack_units: u32,
    taken_units: u32,
    /// Nothing was freed since there was nothing to give back.
    is_trimmed: bool,
    /// No region before this one has a free unit.
    low_region: usize,
}

/// No room for so many units below the largest file that we address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Space {
    /// The map of an empty file.
    pub fn new() -> Space {
        Space {
            used: Vec::new(),
            hole: Vec::new(),
            regions: Vec::new(),
            file_units: 0,
            used_units: 0,
            retired: VecDeque::new(),
            leaving: Vec::new(),
            retired_units: 0,
            pins: BTreeMap::new(),
            slack_units: 0,
            taken_units: 0,
            is_trimmed: false,
            low_region: 0,
        }
    }

    /// The map with these words, one bit a unit, of a file of `file_units`. `None` if bits are
    /// set past the end of the file.
    pub fn from_words(words: &[u64], file_units: u32) -> Option<Space> {
        let mut space = Space::new();
        while space.covered() < u64::from(file_units) {
            space.add_region();
        }
        if words.len() > space.used.len() {
            return None;
        }
        space.used[..words.len()].copy_from_slice(words);
        space.file_units = file_units;
        if (file_units as usize..space.used.len() * 64).any(|unit| space.is_used(unit as u32)) {
            return None;
        }
        space.used_units = space.used.iter().map(|word| word.count_ones()).sum();
        space.hole.fill(0);
        for (region, words) in space.regions.iter_mut().zip(space.used.chunks(WORDS)) {
            region.free = words.iter().map(|word| word.count_zeros()).sum();
        }
        Some(space)
    }

    /// Units of the file.
    pub fn file_units(&self) -> u32 {
        self.file_units
    }

    /// Units in use, retired ones included.
    pub fn used_units(&self) -> u32 {
        self.used_units
    }

    pub fn stats(&self) -> SpaceStats {
        let bytes = |units: u32| u64::from(units) * UNIT_BYTES as u64;
        SpaceStats {
            file_bytes: bytes(self.file_units),
            used_bytes: bytes(self.used_units),
            free_bytes: bytes(self.file_units - self.used_units),
            retired_bytes: bytes(self.retired_units),
        }
    }

    fn covered(&self) -> u64 {
        self.regions.len() as u64 * u64::from(REGION_UNITS)
    }

    fn add_region(&mut self) {
        self.regions.push(FRESH);
        self.used.resize(self.regions.len() * WORDS, 0);
        self.hole.resize(self.regions.len() * WORDS, !0);
    }

    pub fn is_used(&self, unit: u32) -> bool {
        self.used[unit as usize / 64] >> (unit % 64) & 1 == 1
    }

    /// Takes a run of units.
    pub fn alloc(&mut self, units: u32) -> Result<Extent, Full> {
        assert!(units > 0);
        let start = match self.find(units) {
            Some(start) => start,
            None => self.extend(units)?,
        };
        let extent = Extent { start, units };
        self.mark_used(extent);
        self.taken_units = self.taken_units.saturating_add(units);
        Ok(extent)
    }

    fn find(&mut self, units: u32) -> Option<u32> {
        if units > REGION_UNITS {
            return None;
        }
        while self.regions.get(self.low_region).is_some_and(|region| region.free == 0) {
            self.low_region += 1;
        }
        for index in self.low_region..self.regions.len() {
            let region = self.regions[index];
            if region.longest < units || region.free < units {
                continue;
            }
            let base = index as u32 * REGION_UNITS;
            let found = self.run_in(base + region.low, base + REGION_UNITS, units);
            match found {
                Some(start) => return Some(start),
                None => self.regions[index].longest = units - 1,
            }
        }
        None
    }

    /// The first run of `units` free ones in `from..end`.
    fn run_in(&self, from: u32, end: u32, units: u32) -> Option<u32> {
        let mut start = self.next_free(from, end);
        while end - start >= units {
            let stop = self.next_used(start, start + units);
            if stop == start + units {
                return Some(start);
            }
            start = self.next_free(stop, end);
        }
        None
    }

    /// The first free unit in `from..end`, or `end`.
    fn next_free(&self, from: u32, end: u32) -> u32 {
        self.next_where(from, end, |word, _| !word)
    }

    /// The first used unit in `from..end`, or `end`.
    fn next_used(&self, from: u32, end: u32) -> u32 {
        self.next_where(from, end, |word, _| word)
    }

    fn next_where(&self, from: u32, end: u32, pick: impl Fn(u64, u64) -> u64) -> u32 {
        let mut unit = from;
        while unit < end {
            let at = unit as usize / 64;
            let word = pick(self.used[at], self.hole[at]) & (!0 << (unit % 64));
            if word != 0 {
                return (at as u32 * 64 + word.trailing_zeros()).min(end);
            }
            unit = (at as u32 + 1) * 64;
        }
        end
    }

    /// Adds regions until a run that ends the map is long enough.
    fn extend(&mut self, units: u32) -> Result<u32, Full> {
        // Behind the last used unit, so that a run may cross regions here and only here.
        let start = self.last_used_end();
        let end = start.checked_add(units).filter(|end| *end <= FILE_UNITS_MAX).ok_or(Full)?;
        while self.covered() < u64::from(end) {
            self.add_region();
        }
        Ok(start)
    }

    /// End of the last used unit.
    fn last_used_end(&self) -> u32 {
        let word = self.used.iter().rposition(|word| *word != 0);
        word.map_or(0, |at| at as u32 * 64 + 64 - self.used[at].leading_zeros())
    }

    fn mark_used(&mut self, extent: Extent) {
        let end = extent.end();
        for unit in extent.start..end {
            assert!(!self.is_used(unit), "unit {unit} taken twice");
            self.used[unit as usize / 64] |= 1 << (unit % 64);
            self.hole[unit as usize / 64] &= !(1 << (unit % 64));
            let region = &mut self.regions[(unit / REGION_UNITS) as usize];
            region.free -= 1;
            if region.low == unit % REGION_UNITS {
                region.low += 1;
            }
        }
        self.used_units += extent.units;
        self.file_units = self.file_units.max(end);
    }

    fn mark_free(&mut self, extent: Extent) {
        for unit in extent.start..extent.end() {
            assert!(self.is_used(unit), "unit {unit} freed twice");
            self.used[unit as usize / 64] &= !(1 << (unit % 64));
            let region = &mut self.regions[(unit / REGION_UNITS) as usize];
            region.free += 1;
            region.low = region.low.min(unit % REGION_UNITS);
            region.longest = REGION_UNITS;
        }
        self.low_region = self.low_region.min((extent.start / REGION_UNITS) as usize);
        self.is_trimmed = false;
        self.used_units -= extent.units;
    }
}

#[cfg(test)]
mod tests;
