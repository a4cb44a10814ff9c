//! Owns which segments exist and what each is for: prepared ahead, holding the log, kept for peers
//! that lag, or spare.
//! Never decides what is written. Invariants: numbers on disk have no gap, because a segment is
//! made, recycled or removed one at a time, at the ends only; a segment is freed only once a
//! durable batch, which repeats the hard state, stands in a later one, and not while it is read.

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

/// How many segments stay that recovery does not need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Whatever they hold.
    pub segments: usize,
    /// While somebody needs their entries, see [`crate::Writer::keep`]; not less.
    pub segments_max: usize,
}

/// `spare < kept < live < ready`, each without a gap.
#[derive(Debug)]
pub(crate) struct Segments {
    geometry: Geometry,
    ahead: usize,
    spare_max: usize,
    spare: VecDeque<u64>,
    kept: VecDeque<Live>,
    keep: Kept,
    /// Entries after this one are needed by somebody who is behind.
    needed: Option<u64>,
    /// The segment that is being read.
    read: Option<u64>,
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
        keep: Kept,
        live: &[(u64, u64)],
        ready: &[u64],
    ) -> Segments {
        assert!(ahead >= 1);
        assert!(keep.segments <= keep.segments_max);
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
            kept: VecDeque::new(),
            keep,
            needed: None,
            read: None,
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

    /// Segments on disk below those that hold the log, with the last index in each: freed before a
    /// restart. Of those that hold nothing that can be read it is `None`; they come first.
    pub(crate) fn adopt(&mut self, freed: &[(u64, Option<u64>)]) {
        assert!(self.spare.is_empty() && self.kept.is_empty());
        assert!(freed.is_sorted());
        let first = self.first_needed().unwrap_or(self.next);
        assert!(freed.iter().all(|(number, _)| *number < first), "{freed:?} are not below {first}");
        for (number, last_index) in freed {
            match last_index {
                Some(last_index) => {
                    self.kept.push_back(Live { number: *number, last_index: *last_index });
                }
                None if self.kept.is_empty() => self.spare.push_back(*number),
                None => unreachable!("segment {number} holds nothing, but one before it does"),
            }
        }
    }

    /// Every segment on disk, rising.
    pub(crate) fn on_disk(&self) -> Vec<u64> {
        let holding = self.kept.iter().chain(&self.live).map(|live| live.number);
        self.spare.iter().copied().chain(holding).chain(self.ready.iter().copied()).collect()
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

    /// Frees what is released, given the segment in which the last durable batch stands. Answers
    /// the oldest segment that still holds entries.
    pub(crate) fn settle(&mut self, durable_segment: u64) -> Option<u64> {
        while let Some(live) = self.live.front()
            && live.number < durable_segment
            && live.last_index <= self.released
        {
            self.kept.extend(self.live.pop_front());
        }
        self.forget();
        self.kept.iter().chain(&self.live).map(|live| live.number).next()
    }

    /// Gives up the oldest of those that are kept, as far as there are too many.
    fn forget(&mut self) {
        while let Some(oldest) = self.kept.front() {
            let needed = self.needed.is_some_and(|needed| needed < oldest.last_index);
            let most = if needed { self.keep.segments_max } else { self.keep.segments };
            let read = self.read.is_some_and(|read| read <= oldest.number);
            if self.kept.len() <= most || read {
                break;
            }
            self.spare.push_back(oldest.number);
            self.kept.pop_front();
        }
    }

    /// Entries after this one are needed by somebody who is behind.
    pub(crate) fn need(&mut self, after: Option<u64>) {
        self.needed = after;
    }

    /// This segment and later ones are being read.
    pub(crate) fn read(&mut self, from: Option<u64>) {
        self.read = from;
    }

    /// Segments that are kept for peers alone.
    pub(crate) fn kept_count(&self) -> usize {
        self.kept.len()
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
        keeping(Kept { segments: 0, segments_max: 0 })
    }

    fn keeping(keep: Kept) -> Segments {
        Segments::new(Geometry::of(8192), 1, 1, keep, &[(4, 10), (5, 20), (6, 30), (7, 0)], &[8])
    }

    #[test]
    fn so_many_are_kept_and_more_while_somebody_needs_them_or_reads() {
        let mut segments = keeping(Kept { segments: 1, segments_max: 2 });
        segments.adopt(&[(2, None), (3, Some(5))]);
        segments.release(30);
        segments.need(Some(9));
        assert_eq!(segments.settle(5), Some(4), "entries up to 5 are not needed");
        assert_eq!((segments.kept_count(), segments.first_needed()), (1, Some(5)));
        assert_eq!(segments.settle(6), Some(4), "entry 10 is");
        segments.read(Some(4));
        segments.need(None);
        assert_eq!(segments.settle(7), Some(4), "it is being read");
        assert_eq!(segments.on_disk(), vec![2, 3, 4, 5, 6, 7, 8]);
        segments.read(None);
        assert_eq!(segments.settle(7), Some(6));
        segments.need(Some(9));
        assert_eq!(segments.settle(7), Some(6), "what is given up stays so");
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
        segments.adopt(&[(2, None), (3, None)]);
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
