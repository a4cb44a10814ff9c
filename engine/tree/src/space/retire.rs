//! Owns what is used by images on disk and not by the working tree: by which image it was freed,
//! who still reads one, and when it may be taken again.
//! Invariant: an extent leaves only after the image on whose way it was freed is durable and no
//! older image is pinned.

use super::{Extent, Space};

impl Space {
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

    /// Image `stamp` is durable: units freed on the way to it leave, but for those that a pinned
    /// image needs. Constant work for each checkpoint; [`Space::release_some`] does the rest.
    pub fn release(&mut self, stamp: u64) {
        let limit = self.pins.keys().next().map_or(stamp, |pin| stamp.min(*pin));
        while self.retired.front().is_some_and(|(at, _)| *at <= limit) {
            let (_, extents) = self.retired.pop_front().expect("just seen");
            match self.leaving.is_empty() {
                true => self.leaving = extents,
                false => self.leaving.extend(extents),
            }
        }
    }

    /// Makes up to `count` extents that leave free. Returns them.
    pub fn release_some(&mut self, count: usize) -> Vec<Extent> {
        let rest = self.leaving.len().saturating_sub(count);
        let released = self.leaving.split_off(rest);
        for extent in &released {
            self.mark_free(*extent);
            self.retired_units -= extent.units;
        }
        released
    }

    /// Whether units wait to be made free.
    pub fn is_releasing(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// One checkpoint is over: remembers how much room it took, forgetting older ones by half.
    pub fn note_checkpoint(&mut self) {
        self.slack_units = (self.slack_units / 2).max(self.taken_units);
        self.taken_units = 0;
        self.is_trimmed = false;
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
        let retired =
            self.retired.iter().filter(|(at, _)| *at <= stamp).map(|(_, extents)| extents);
        for extent in retired.flatten().chain(&self.leaving) {
            for unit in extent.start..extent.end() {
                words[unit as usize / 64] &= !(1 << (unit % 64));
            }
        }
        let used = words.iter().map(|word| word.count_ones()).sum();
        (words, used)
    }
}
