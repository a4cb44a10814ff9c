//! Owns the words for bytes that are not what they must be. Decides nothing.
//! Invariant: whoever reports rot says where it lies in the file and which rule it breaks.

use crate::sizes::offset_of;

/// Bytes of the tree file that are not what the tree wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rot {
    /// Byte offset of the extent.
    pub offset: u64,
    /// What is wrong with it.
    pub why: Why,
}

/// Which rule the bytes break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The checksum in the parent is another.
    Checksum,
    /// Fewer or more bytes than the reference says.
    Length,
    /// Not the header of a tree page, or of this level.
    Header,
    /// A cell does not parse.
    Cell,
    /// Keys do not rise.
    Order,
    /// Counts differ from the parent's.
    Counts,
    /// The free map does not parse or does not agree with the root.
    Map,
    /// A key lies outside the range that its parent gives it.
    Range,
    /// Two references claim one unit, or one past the end of the file.
    Overlap,
    /// The free map says free where a page lies, or used where none does.
    Leak,
}

impl Rot {
    pub(crate) fn at(unit: u32, why: Why) -> Rot {
        Rot { offset: offset_of(unit), why }
    }
}
