//! Owns which segments exist and what each is for: prepared ahead, holding the log, or spare.
//! Never decides what is written. Invariants: numbers on disk have no gap, because a segment is
//! made, recycled or removed one at a time, at the ends only; a segment is freed only once a
//! durable batch, which repeats the hard state, stands in a later one.

use std::collections::VecDeque;

use base::{FileId, IoRequest};

use crate::position::Geometry;

/// A segment that holds batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Live {
    number: u64,
    /// Highest entry index in it; 0 if it has none.
    last_index: u64,
}

/// The one piece of upkeep that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upkeep {
    Preparing(u64),
    Removing(u64),
}

/// `spare < live < ready`, each without a gap.
#[derive(Debug)]
pub(crate) struct Segments {
    geometry: Geometry,
    ahead: usize,
    spare_max: usize,
    spare: VecDeque<u64>,
    live: VecDeque<Live>,
    ready: VecDeque<u64>,
    upkeep: Option<Upkeep>,
    /// Number that the next prepared segment gets.
    next: u64,
    /// Entries up to here are not needed.
    released: u64,
}

impl Segments {
    /// `live` are numbers and last indexes in order, `ready` the prepared ones after them.
    pub(crate) fn new(
        geometry: Geometry,
        ahead: usize,
        spare_max: usize,
        live: &[(u64, u64)],
        ready: &[u64],
    ) -> Segments {
        assert!(ahead >= 1);
        let live: VecDeque<Live> =
            live.iter().map(|&(number, last_index)| Live { number, last_index }).collect();
        let numbers: Vec<u64> =
            live.iter().map(|live| live.number).chain(ready.iter().copied()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a gap in {numbers:?}");
        Segments {
            geometry,
            ahead,
            spare_max,
            spare: VecDeque::new(),
            live,
            ready: ready.iter().copied().collect(),
            upkeep: None,
            next: numbers.last().copied().unwrap_or(0) + 1,
            released: 0,
        }
    }

    /// What should be done next, if anything: prepare a segment, or remove a spare one. One at a
    /// time, so that a crash leaves no gap in the numbers.
    pub(crate) fn poll_upkeep(&mut self) -> Option<IoRequest> {
        if self.upkeep.is_some() {
            return None;
        }
        if self.ready.len() < self.ahead {
            let number = self.next;
            self.next += 1;
            self.upkeep = Some(Upkeep::Preparing(number));
            let len = u64::from(self.geometry.segment_bytes());
            let recycle = self.spare.pop_front().map(FileId::Log);
            return Some(IoRequest::Prepare { file: FileId::Log(number), len, recycle });
        }
        if self.spare.len() > self.spare_max {
            let number = self.spare.pop_front()?;
            self.upkeep = Some(Upkeep::Removing(number));
            return Some(IoRequest::Remove { file: FileId::Log(number) });
        }
        None
    }

    /// Segments on disk below those that hold the log: freed before a restart.
    pub(crate) fn adopt(&mut self, freed: &[u64]) {
        assert!(freed.is_sorted());
        let first = self.spare.front().copied().or(self.first_needed()).unwrap_or(self.next);
        assert!(freed.iter().all(|number| *number < first), "{freed:?} are not below {first}");
        freed.iter().rev().for_each(|number| self.spare.push_front(*number));
    }

    /// Every segment on disk, rising.
    pub(crate) fn on_disk(&self) -> Vec<u64> {
        let live = self.live.iter().map(|live| live.number);
        self.spare.iter().copied().chain(live).chain(self.ready.iter().copied()).collect()
    }

    pub(crate) fn prepared(&mut self, number: u64) {
        assert!(self.upkeep == Some(Upkeep::Preparing(number)), "{:?}", self.upkeep);
        self.upkeep = None;
        self.ready.push_back(number);
    }

    pub(crate) fn removed(&mut self, number: u64) {
        assert!(self.upkeep == Some(Upkeep::Removing(number)), "{:?}", self.upkeep);
        self.upkeep = None;
    }

    /// The next prepared segment becomes the one that is written.
    pub(crate) fn open_next(&mut self) -> Option<u64> {
        let number = self.ready.pop_front()?;
        assert!(self.live.back().is_none_or(|live| live.number + 1 == number));
        self.live.push_back(Live { number, last_index: 0 });
        Some(number)
    }

    /// An entry was put into the segment that is written.
    pub(crate) fn holds(&mut self, index: u64) {
        let live = self.live.back_mut().expect("a segment is open while batches are built");
        live.last_index = live.last_index.max(index);
    }

    /// Entries up to `index` are not needed any more.
    pub(crate) fn release(&mut self, index: u64) {
        self.released = self.released.max(index);
    }

    /// Frees what is released, given the segment in which the last durable batch stands.
    pub(crate) fn settle(&mut self, durable_segment: u64) {
        while let Some(live) = self.live.front()
            && live.number < durable_segment
            && live.last_index <= self.released
        {
            self.spare.push_back(live.number);
            self.live.pop_front();
        }
    }

    /// The oldest segment that recovery must read.
    pub(crate) fn first_needed(&self) -> Option<u64> {
        self.live.front().map(|live| live.number)
    }

    /// Segments holding the log.
    pub(crate) fn live_count(&self) -> usize {
        self.live.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments() -> Segments {
        Segments::new(Geometry::of(8192), 1, 1, &[(4, 10), (5, 20), (6, 30), (7, 0)], &[8])
    }

    #[test]
    fn a_segment_is_freed_only_below_a_durable_later_one() {
        let mut segments = segments();
        segments.release(30);
        segments.settle(4);
        assert_eq!(segments.first_needed(), Some(4));
        segments.settle(6);
        assert_eq!(segments.first_needed(), Some(6));
        segments.settle(7);
        assert_eq!(segments.first_needed(), Some(7));
    }

    #[test]
    fn segments_freed_before_a_restart_are_used_up_too() {
        let mut segments = segments();
        segments.adopt(&[2, 3]);
        assert_eq!(segments.poll_upkeep(), Some(IoRequest::Remove { file: FileId::Log(2) }));
        segments.removed(2);
        assert_eq!(segments.poll_upkeep(), None);
        segments.release(10);
        segments.settle(6);
        assert_eq!(segments.poll_upkeep(), Some(IoRequest::Remove { file: FileId::Log(3) }));
    }

    #[test]
    fn freed_segments_are_recycled_oldest_first_and_the_rest_removed() {
        let mut segments = segments();
        segments.release(30);
        segments.settle(7);
        assert_eq!(segments.poll_upkeep(), Some(IoRequest::Remove { file: FileId::Log(4) }));
        assert_eq!(segments.poll_upkeep(), None, "one at a time");
        segments.removed(4);
        segments.open_next();
        let recycle = Some(FileId::Log(5));
        let prepare = IoRequest::Prepare { file: FileId::Log(9), len: 8192, recycle };
        assert_eq!(segments.poll_upkeep(), Some(prepare));
        segments.prepared(9);
        assert_eq!(segments.poll_upkeep(), None, "one spare is kept");
    }
}
