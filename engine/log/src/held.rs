//! Owns what can be read back of the log from its segments: which entries, and where about each
//! stands. Never reads. Invariants: every entry after the base stands in some segment, at or behind
//! the last point whose index is not above its own; points rise in place.
//!
//! A point names a batch by its first entry. When that was written, everything in the log from its
//! index on was written anew behind it, so whoever looks for a later entry may begin there.

use std::collections::VecDeque;

use base::limits::LOG_SEGMENTS_TOLD_MAX;

use crate::position::Place;
use crate::record::{Mark, Past};
use crate::terms::Terms;

/// A batch, by the first entry in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub index: u64,
    pub place: Place,
}

/// Bytes of a segment between two points.
const POINT_BYTES: u32 = 1 << 20;
/// Ends of reads that are remembered, so that the next read in order begins there.
const RECENT_MAX: usize = 8;
/// Most segments before the one that is written that a record tells of. Older ones count as gone.
pub(crate) const SEGMENTS_MAX: usize = LOG_SEGMENTS_TOLD_MAX;

/// What segments hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// `None` until the first entry.
    terms: Option<Terms>,
    points: VecDeque<Point>,
    recent: VecDeque<Point>,
}

impl Held {
    /// An entry stands in the batch at `place`.
    pub fn entry(&mut self, place: Place, entry: Mark) {
        match &mut self.terms {
            Some(terms) => {
                terms.push(entry);
                if terms.base() == entry {
                    self.forget_places();
                }
            }
            // Its own predecessor is not known, so it can be followed but not read.
            None => self.terms = Some(Terms::new(entry)),
        }
        let far = self.points.back().is_none_or(|last| {
            let near = last.place.offset + POINT_BYTES;
            last.place.segment < place.segment || near <= place.offset
        });
        if far {
            self.points.push_back(Point { index: entry.index, place });
        }
    }

    /// The log goes on after `base`, which the store holds: nothing before can be read.
    pub fn reset(&mut self, base: Mark) {
        self.terms = Some(Terms::new(base));
        self.forget_places();
    }

    fn forget_places(&mut self) {
        self.points.clear();
        self.recent.clear();
    }

    /// A segment's record of those before it. Points in the segment itself are not in it.
    pub fn past(&self) -> Option<Past> {
        let mut terms = self.terms.clone()?;
        let mut segments: VecDeque<(u64, u64)> = VecDeque::new();
        for point in &self.points {
            if segments.back().is_none_or(|(segment, _)| *segment < point.place.segment) {
                segments.push_back((point.place.segment, point.index));
            }
        }
        while SEGMENTS_MAX < segments.len() {
            segments.pop_front();
            terms.drop_to(segments[0].1 - 1);
        }
        Some(Past { terms, segments: segments.into() })
    }

    /// Takes over such a record, in place of everything.
    pub fn recall(&mut self, past: Past) {
        let own = std::mem::take(&mut self.points);
        for (segment, index) in past.segments {
            let in_it = |point: &&Point| point.place.segment == segment;
            let known = own.iter().filter(in_it).copied();
            let before = self.points.len();
            self.points.extend(known);
            if self.points.len() == before {
                self.points.push_back(Point { index, place: Place { segment, offset: 0 } });
            }
        }
        self.recent.clear();
        self.terms = Some(past.terms);
    }

    /// Segments below `first` are gone.
    pub fn forget_below(&mut self, first: u64) {
        let gone = |point: &Point| point.place.segment < first;
        let mut any = false;
        while self.points.pop_front_if(|point| gone(point)).is_some() {
            any = true;
        }
        self.recent.retain(|point| !gone(point));
        if let (Some(terms), true) = (&mut self.terms, any) {
            let before = self.points.front().map(|point| point.index - 1);
            terms.drop_to(before.unwrap_or(terms.last().index));
        }
    }

    /// The oldest segment in which an entry stands that can be read.
    pub fn first_segment(&self) -> Option<u64> {
        self.points.front().map(|point| point.place.segment)
    }

    /// The first entry of the first segment after this one that has any.
    pub fn first_after(&self, segment: u64) -> Option<u64> {
        let next = self.points.iter().find(|point| segment < point.place.segment);
        next.map(|point| point.index)
    }

    /// The terms of what can be read.
    pub fn terms(&self) -> Option<&Terms> {
        self.terms.as_ref()
    }

    /// Where to look for entry `index`, if it can be read.
    pub fn place_of(&self, index: u64) -> Option<Place> {
        let terms = self.terms.as_ref()?;
        if index <= terms.base().index || terms.last().index < index {
            return None;
        }
        let before = |point: &&Point| point.index <= index;
        let known = self.points.iter().rev().find(before);
        let recent = self.recent.iter().filter(before);
        known.into_iter().chain(recent).map(|point| point.place).max()
    }

    /// Somebody who reads in order will go on here.
    pub fn remember(&mut self, point: Point) {
        self.recent.push_back(point);
        if RECENT_MAX < self.recent.len() {
            self.recent.pop_front();
        }
    }
}
