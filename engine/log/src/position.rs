//! Owns the two ways to name a place in the log: segment and offset, or one rising number.
//! Invariant: a later place has a larger position, across segments too.

use base::limits::{BLOCK_BYTES, LOG_SEGMENT_BYTES};

/// A place in the whole log: segment number times segment size plus offset. 0 is before the log,
/// since segments are numbered from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Before every batch; promising this promises nothing.
    pub const START: Position = Position(0);
}

/// A segment and a byte offset in it, a multiple of 4 KiB. The offset may be the segment's size:
/// the segment is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Number of the segment, from 1.
    pub segment: u64,
    /// Bytes from the segment's start.
    pub offset: u32,
}

/// The size of all segments of a log, fixed when its data directory is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    segment_bytes: u32,
}

impl Geometry {
    /// What a data directory gets unless a test wants it smaller.
    pub const STANDARD: Geometry = Geometry::of(LOG_SEGMENT_BYTES);

    /// Segments of this many bytes, a multiple of 4 KiB and less than 4 GiB.
    pub const fn of(segment_bytes: u64) -> Geometry {
        assert!(0 < segment_bytes && segment_bytes < u32::MAX as u64);
        assert!(segment_bytes.is_multiple_of(BLOCK_BYTES as u64));
        Geometry { segment_bytes: segment_bytes as u32 }
    }

    /// Bytes in a segment.
    pub fn segment_bytes(self) -> u32 {
        self.segment_bytes
    }

    /// The rising number of a place.
    pub fn position(self, place: Place) -> Position {
        assert!(place.offset <= self.segment_bytes);
        Position(place.segment * u64::from(self.segment_bytes) + u64::from(place.offset))
    }

    /// Bytes left behind a place in its segment.
    pub(crate) fn room(self, place: Place) -> usize {
        (self.segment_bytes - place.offset) as usize
    }
}

/// `bytes` rounded up to whole blocks.
pub(crate) fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK_BYTES)
}
