//! Owns the bytes of one cell, of a leaf and of an inner node. One writer and one reader each.
//! Never allocates. Invariant: any bytes parse to a cell or to a reason; a cell that was put is
//! taken back as it was.
//!
//! ```text
//! leaf cell                                   inner cell
//!  0 key_len        u32                        0 key_len  u32
//!  4 value_len      u16                        4 start    u32   unit, or slot if units = 0
//!  6 kind           u8  1 inline 2 extent      8 units    u32
//!  7 zero           u8    (3 waiting: memory) 12 crc      u32   of all bytes of the child
//!  8 modified.main  i64                       16 reach    u32   end of the farthest unit below
//! 16 modified.sub   u32                       20 live     u64
//! 20 create         i64                       28 total    u64
//! 28 version        i64                       36 key
//! 36 lease          i64
//! 44 key, value                               extent value: start u32, len u32, crc u32
//! ```

use base::Rev;
use base::bytes_le::{Short, Take, put_rev};
use bytes::BufMut;

use crate::entry::ExtentRef;
use crate::rot::Why;
use crate::sizes::{FILE_UNITS_MAX, PAGE_UNITS_MAX, VALUE_BYTES_MAX, VALUE_INLINE_BYTES_MAX};

/// Bytes of a leaf cell before its key.
pub(crate) const LEAF_FIXED_BYTES: usize = 44;
/// Bytes of an inner cell before its key.
pub(crate) const LINK_FIXED_BYTES: usize = 36;
/// Bytes of an extent reference, and of the number of a waiting value.
pub(crate) const EXTENT_BYTES: usize = 12;

/// Index of a node in memory.
pub(crate) type SlotId = u32;

/// One entry of a leaf, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeafCell<'a> {
    pub key: &'a [u8],
    pub modified: Rev,
    pub create: i64,
    pub version: i64,
    pub lease: i64,
    pub value: Stored<'a>,
}

/// The value field of a leaf cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored<'a> {
    Inline(&'a [u8]),
    Extent(ExtentRef),
    /// In memory only: the value waits under this number for its extent.
    Waiting {
        id: u64,
        len: u32,
    },
}

/// A reference to a child, with what is below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub at: At,
    pub live: u64,
    pub total: u64,
}

/// Where a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Disk(PageRef),
    Memory(SlotId),
}

/// An extent on disk that holds a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageRef {
    pub start: u32,
    pub units: u32,
    pub crc: u32,
    /// End of the farthest unit used by this page or anything below it.
    pub reach: u32,
}

const KIND_INLINE: u8 = 1;
const KIND_EXTENT: u8 = 2;
const KIND_WAITING: u8 = 3;

/// Whether numbers of waiting values are legal: in memory, not on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Memory,
    Disk,
}

impl From<Short> for Why {
    fn from(_: Short) -> Why {
        Why::Cell
    }
}

impl<'a> LeafCell<'a> {
    /// Bytes of the cell.
    pub fn len(&self) -> usize {
        LEAF_FIXED_BYTES + self.key.len() + self.value.len()
    }

    /// Writes the cell into exactly `len()` bytes.
    pub fn put(&self, to: &mut [u8]) {
        assert_eq!(to.len(), self.len());
        let (mut fixed, rest) = to.split_at_mut(LEAF_FIXED_BYTES);
        let kind = match self.value {
            Stored::Inline(_) => KIND_INLINE,
            Stored::Extent(_) => KIND_EXTENT,
            Stored::Waiting { .. } => KIND_WAITING,
        };
        fixed.put_u32_le(self.key.len() as u32);
        fixed.put_u16_le(self.value.len() as u16);
        fixed.put_u8(kind);
        fixed.put_u8(0);
        put_rev(&mut fixed, self.modified);
        fixed.put_i64_le(self.create);
        fixed.put_i64_le(self.version);
        fixed.put_i64_le(self.lease);
        let (key, value) = rest.split_at_mut(self.key.len());
        key.copy_from_slice(self.key);
        self.value.put(value);
    }

    /// Reads the cell at the front of `from`.
    pub fn take(from: &mut Take<'a>, origin: Origin) -> Result<LeafCell<'a>, Why> {
        let key_len = from.u32()? as usize;
        let value_len = usize::from(from.u16()?);
        let (kind, zero) = (from.u8()?, from.u8()?);
        let modified = from.rev()?;
        let (create, version, lease) = (from.i64()?, from.i64()?, from.i64()?);
        let key = from.bytes(key_len)?;
        let value = Stored::take(kind, from.bytes(value_len)?, origin)?;
        if zero != 0 || (version == 0 && value.value_bytes() != 0) {
            return Err(Why::Cell);
        }
        Ok(LeafCell { key, modified, create, version, lease, value })
    }
}

impl<'a> Stored<'a> {
    /// Bytes of the field in the cell.
    pub fn len(&self) -> usize {
        match self {
            Stored::Inline(bytes) => bytes.len(),
            Stored::Extent(_) | Stored::Waiting { .. } => EXTENT_BYTES,
        }
    }

    fn value_bytes(&self) -> usize {
        match self {
            Stored::Inline(bytes) => bytes.len(),
            Stored::Extent(extent) => extent.value_bytes(),
            Stored::Waiting { len, .. } => *len as usize,
        }
    }

    fn put(&self, mut to: &mut [u8]) {
        match self {
            Stored::Inline(bytes) => to.copy_from_slice(bytes),
            Stored::Extent(extent) => {
                to.put_u32_le(extent.start);
                to.put_u32_le(extent.len);
                to.put_u32_le(extent.crc);
            }
            Stored::Waiting { id, len } => {
                to.put_u64_le(*id);
                to.put_u32_le(*len);
            }
        }
    }

    fn take(kind: u8, field: &'a [u8], origin: Origin) -> Result<Stored<'a>, Why> {
        let mut from = Take::new(field);
        let stored = match (kind, origin) {
            (KIND_INLINE, _) if field.len() <= VALUE_INLINE_BYTES_MAX => {
                return Ok(Stored::Inline(field));
            }
            (KIND_EXTENT, _) => {
                let (start, len, crc) = (from.u32()?, from.u32()?, from.u32()?);
                let extent = ExtentRef { start, len, crc };
                let bytes = VALUE_INLINE_BYTES_MAX + 1..=VALUE_BYTES_MAX;
                if !bytes.contains(&(len as usize)) || extent.place().end() > FILE_UNITS_MAX {
                    return Err(Why::Cell);
                }
                Stored::Extent(extent)
            }
            (KIND_WAITING, Origin::Memory) => Stored::Waiting { id: from.u64()?, len: from.u32()? },
            _ => return Err(Why::Cell),
        };
        if from.rest().is_empty() { Ok(stored) } else { Err(Why::Cell) }
    }
}

impl Link {
    /// Writes the 32 bytes after the key length of an inner cell.
    pub fn put(&self, mut to: &mut [u8]) {
        assert_eq!(to.len(), LINK_FIXED_BYTES - 4);
        let at = match self.at {
            At::Disk(page) => page,
            At::Memory(slot) => PageRef { start: slot, units: 0, crc: 0, reach: 0 },
        };
        to.put_u32_le(at.start);
        to.put_u32_le(at.units);
        to.put_u32_le(at.crc);
        to.put_u32_le(at.reach);
        to.put_u64_le(self.live);
        to.put_u64_le(self.total);
    }

    /// Reads what [`Link::put`] wrote.
    pub fn take(from: &mut Take<'_>) -> Result<Link, Why> {
        let (start, units, crc, reach) = (from.u32()?, from.u32()?, from.u32()?, from.u32()?);
        let (live, total) = (from.u64()?, from.u64()?);
        let at = match units {
            0 => At::Memory(start),
            _ => At::Disk(PageRef { start, units, crc, reach }),
        };
        Ok(Link { at, live, total })
    }

    /// As [`Link::take`], for bytes from disk: only references to disk make sense there.
    pub fn take_disk(from: &mut Take<'_>) -> Result<Link, Why> {
        let link = Link::take(from)?;
        let At::Disk(page) = link.at else { return Err(Why::Cell) };
        let end = page.start.checked_add(page.units).ok_or(Why::Cell)?;
        let bounded = page.units <= PAGE_UNITS_MAX && page.reach <= FILE_UNITS_MAX;
        let sane = bounded && end <= page.reach && link.live <= link.total && link.total > 0;
        if sane { Ok(link) } else { Err(Why::Cell) }
    }
}
