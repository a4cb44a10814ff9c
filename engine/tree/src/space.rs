//! Owns the free map of the file: one bit a unit, in regions of 64 MiB, and the list of units that
//! are no longer used by the working tree but still by an image on disk. Never touches the file.
//! Invariant: a unit is free, or it is reachable from the working tree, from an image that is
//! being written, from the committed image or from a pinned one.
//!
//! Extents are taken from the lowest region that has a run long enough, and from the lowest run in
//! it: live pages sink to the front with every checkpoint and the tail drains, so that the file can
//! be cut. (Best fit leaves fewer small gaps but keeps the tail alive; pages here are 1 to 4 units,
//! so small gaps are used anyway.)

use std::collections::{BTreeMap, VecDeque};

use crate::sizes::{
    FILE_UNITS_MAX, PUNCH_UNITS_MAX, PUNCH_UNITS_MIN, REGION_UNITS, TRUNCATE_UNITS_MIN, UNIT_BYTES,
};

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
    retired_units: u32,
    /// Committed images that somebody still reads, with the number of readers.
    pins: BTreeMap<u64, u32>,
    /// Units that recent checkpoints took: kept free rather than cut and grown again.
    slack_units: u32,
    taken_units: u32,
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
            retired_units: 0,
            pins: BTreeMap::new(),
            slack_units: 0,
            taken_units: 0,
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
        for index in 0..self.regions.len() {
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
        self.used_units -= extent.units;
    }

    /// The working tree, on its way to image `stamp`, no longer needs the extent.
    pub fn retire(&mut self, stamp: u64, extent: Extent) {
        match self.retired.back_mut() {
            Some((last, extents)) if *last == stamp => extents.push(extent),
            Some((last, _)) if *last > stamp => {
                // The old free map of the image being written: freed with that image.
                let place = self.retired.iter().position(|(at, _)| *at >= stamp);
                let place = place.expect("the last one is above");
                match &mut self.retired[place] {
                    (at, extents) if *at == stamp => extents.push(extent),
                    _ => self.retired.insert(place, (stamp, vec![extent])),
                }
            }
            _ => self.retired.push_back((stamp, vec![extent])),
        }
        self.retired_units += extent.units;
    }

    /// Whether anything was freed on the way to image `stamp`.
    pub fn has_retired(&self, stamp: u64) -> bool {
        self.retired.iter().any(|(at, extents)| *at == stamp && !extents.is_empty())
    }

    /// Image `stamp` is durable: units freed on the way to it can be taken again, but for those
    /// that a pinned image needs. Returns the extents that became free.
    pub fn release(&mut self, stamp: u64) -> Vec<Extent> {
        let limit = self.pins.keys().next().map_or(stamp, |pin| stamp.min(*pin));
        let mut released = Vec::new();
        while self.retired.front().is_some_and(|(at, _)| *at <= limit) {
            let (_, extents) = self.retired.pop_front().expect("just seen");
            released.extend(extents);
        }
        for extent in &released {
            self.mark_free(*extent);
            self.retired_units -= extent.units;
        }
        released
    }

    /// One checkpoint is over: remembers how much room it took, forgetting older ones by half.
    pub fn note_checkpoint(&mut self) {
        self.slack_units = (self.slack_units / 2).max(self.taken_units);
        self.taken_units = 0;
    }

    /// Image `stamp` gets one reader more.
    pub fn pin(&mut self, stamp: u64) {
        *self.pins.entry(stamp).or_insert(0) += 1;
    }

    /// Image `stamp` has one reader less.
    pub fn unpin(&mut self, stamp: u64) {
        let readers = self.pins.get_mut(&stamp).expect("unpinned more often than pinned");
        *readers -= 1;
        if *readers == 0 {
            self.pins.remove(&stamp);
        }
    }

    /// The words of the map as image `stamp` sees it: what was freed on the way to it is free.
    /// With the number of used units.
    pub fn words_at(&self, stamp: u64) -> (Vec<u64>, u32) {
        let mut words = self.used[..(self.file_units as usize).div_ceil(64)].to_vec();
        for (_, extents) in self.retired.iter().filter(|(at, _)| *at <= stamp) {
            for unit in extents.iter().flat_map(|extent| extent.start..extent.end()) {
                words[unit as usize / 64] &= !(1 << (unit % 64));
            }
        }
        let used = words.iter().map(|word| word.count_ones()).sum();
        (words, used)
    }

    /// Units above which nothing should live, if the file is much longer than what it holds.
    pub fn target_units(&self) -> Option<u32> {
        let room = self.used_units / 8 + TRUNCATE_UNITS_MIN;
        let target = self.used_units.saturating_add(self.slack_units).saturating_add(room);
        (self.file_units > target.saturating_add(self.used_units / 16)).then_some(target)
    }

    /// What can be given back now. The shell does it and calls [`Space::trimmed`]; meanwhile
    /// nothing may be taken.
    pub fn next_trim(&self) -> Option<TrimUnits> {
        let end = self.last_used_end();
        let keep = end.max(self.used_units.saturating_add(self.slack_units / 2));
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
