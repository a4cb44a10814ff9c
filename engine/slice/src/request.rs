//! Owns the words of reading a slice: what is asked, what is answered. Does nothing.
//! Invariant: every read gets exactly one answer, unless it is cancelled.

use base::{Rev, Version};
use bytes::Bytes;
use history::Record;

/// Names one outstanding read. The asker chooses it, unique among its outstanding ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadId(pub u64);

/// A range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key.
    pub start: Bytes,
    /// Where it ends.
    pub end: RangeEnd,
}

/// Where a range of keys ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeEnd {
    /// It is the start key alone.
    Single,
    /// Before this key. A key at or below the start makes the range empty.
    Before(Bytes),
    /// It has no end.
    Unbounded,
}

/// Whether values are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fields {
    /// Keys with their values.
    WithValues,
    /// Keys alone; values come back empty and are not read from disk.
    KeysOnly,
}

/// Whether the replaced version is wanted with each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prev {
    /// Records carry it.
    Wanted,
    /// Records come with `prev: None`.
    Unwanted,
}

/// What to read. Answered once the slice has applied everything up to the point's main revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadRequest {
    /// Live keys at a point, ascending. Go on with `start` at the answer's `resume`.
    Range {
        /// Which keys.
        keys: KeyRange,
        /// The point.
        at: Rev,
        /// Most entries to answer, more than 0.
        limit: usize,
        /// Stop after so many bytes of keys and values; at least one entry is answered.
        limit_bytes: usize,
        /// With or without values.
        fields: Fields,
    },
    /// Number of live keys at a point.
    Count {
        /// Which keys.
        keys: KeyRange,
        /// The point.
        at: Rev,
    },
    /// Records in revision order. Go on at the answer's `resume`.
    History {
        /// First revision.
        from: Rev,
        /// Last main revision.
        to: i64,
        /// Keys in any of these ranges; none means all keys.
        keys: Vec<KeyRange>,
        /// Stop after so many bytes of answered records; at least one is answered.
        limit_bytes: usize,
        /// With or without the replaced versions.
        prev: Prev,
    },
}

/// One live key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Bytes,
    /// Its metadata.
    pub version: Version,
    /// Its value, empty if unwanted.
    pub value: Bytes,
    /// Length of its value, also if that is unwanted.
    pub value_bytes: usize,
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadResult {
    /// Of [`ReadRequest::Range`].
    Range {
        /// In key order.
        items: Vec<Item>,
        /// Where to go on; `None` if the range is exhausted. Keys may follow or not.
        resume: Option<Bytes>,
    },
    /// Of [`ReadRequest::Count`].
    Count(u64),
    /// Of [`ReadRequest::History`].
    History {
        /// In revision order.
        records: Vec<Record>,
        /// Where to go on; `None` if everything up to `to` was answered.
        resume: Option<Rev>,
    },
    /// The point lies below the compact revision.
    Compacted {
        /// The compact revision.
        compact: i64,
    },
}

impl KeyRange {
    /// Is the key in the range?
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => self.start == key,
            RangeEnd::Before(end) => self.start <= key && key < end,
            RangeEnd::Unbounded => self.start <= key,
        }
    }
}

impl ReadRequest {
    /// The main revision that must have been applied.
    pub(crate) fn required(&self) -> i64 {
        match self {
            ReadRequest::Range { at, .. } | ReadRequest::Count { at, .. } => at.main,
            ReadRequest::History { to, .. } => *to,
        }
    }

    /// The lowest point that is looked at. Records of the compact revision itself stay, so a
    /// history read needs only its main revision.
    pub(crate) fn floor(&self) -> Rev {
        match self {
            ReadRequest::Range { at, .. } | ReadRequest::Count { at, .. } => *at,
            ReadRequest::History { from, .. } => Rev::end_of(from.main),
        }
    }
}
