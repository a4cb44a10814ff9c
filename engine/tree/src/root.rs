//! Owns the root reference: 64 bytes in the manifest from which a whole tree is reached.
//! Invariant: whoever holds a root reference of a durable checkpoint can verify every byte of the
//! tree: it carries the checksum of the root page and of the free map, they carry the rest.
//!
//! ```text
//!  0 generation  u64   checkpoint that wrote it
//!  8 root start  u32   unit; with units = 0 the tree is empty
//! 12 root units  u32
//! 16 root crc    u32
//! 20 root reach  u32
//! 24 live        u64   entries that are no tombstones
//! 32 total       u64   entries
//! 40 map start   u32   unit of the free map; with units = 0 there is none yet
//! 44 map units   u32
//! 48 map crc     u32
//! 52 file units  u32   units that the map covers; the file is not longer
//! 56 used units  u32
//! 60 level       u8    of the root page
//! 61 zero        [3]
//! ```

use base::bytes_le::Take;
use bytes::BufMut;

use crate::cell::PageRef;
use crate::rot::Why;
use crate::sizes::{FILE_UNITS_MAX, PAGE_UNITS_MAX};

/// Bytes of an encoded root reference.
pub const ROOT_BYTES: usize = 64;

/// From where a tree is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootRef {
    /// The checkpoint that wrote it.
    pub generation: u64,
    /// Live entries.
    pub live: u64,
    /// Live entries and tombstones.
    pub total: u64,
    pub(crate) page: Option<PageRef>,
    pub(crate) level: u8,
    pub(crate) map: MapRef,
}

/// Where the free map lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapRef {
    pub start: u32,
    pub units: u32,
    pub crc: u32,
    pub file_units: u32,
    pub used_units: u32,
}

impl MapRef {
    pub const NONE: MapRef = MapRef { start: 0, units: 0, crc: 0, file_units: 0, used_units: 0 };
}

impl RootRef {
    /// The tree without entries, of a file without bytes.
    pub const EMPTY: RootRef =
        RootRef { generation: 0, live: 0, total: 0, page: None, level: 0, map: MapRef::NONE };

    /// Writes 64 bytes.
    pub fn put(&self, to: &mut impl BufMut) {
        let page = self.page.unwrap_or(PageRef { start: 0, units: 0, crc: 0, reach: 0 });
        to.put_u64_le(self.generation);
        to.put_u32_le(page.start);
        to.put_u32_le(page.units);
        to.put_u32_le(page.crc);
        to.put_u32_le(page.reach);
        to.put_u64_le(self.live);
        to.put_u64_le(self.total);
        to.put_u32_le(self.map.start);
        to.put_u32_le(self.map.units);
        to.put_u32_le(self.map.crc);
        to.put_u32_le(self.map.file_units);
        to.put_u32_le(self.map.used_units);
        to.put_u8(self.level);
        to.put_slice(&[0; 3]);
    }

    /// Reads what [`RootRef::put`] wrote, and checks that the parts can belong together.
    pub fn take(from: &mut Take<'_>) -> Result<RootRef, Why> {
        let generation = from.u64()?;
        let page = PageRef {
            start: from.u32()?,
            units: from.u32()?,
            crc: from.u32()?,
            reach: from.u32()?,
        };
        let (live, total) = (from.u64()?, from.u64()?);
        let map = MapRef {
            start: from.u32()?,
            units: from.u32()?,
            crc: from.u32()?,
            file_units: from.u32()?,
            used_units: from.u32()?,
        };
        let (level, zero) = (from.u8()?, from.bytes(3)?);
        let page = if page.units == 0 { None } else { Some(page) };
        let root = RootRef { generation, live, total, page, level, map };
        if zero == [0; 3] && root.is_sane() { Ok(root) } else { Err(Why::Header) }
    }

    fn is_sane(&self) -> bool {
        let inside = |start: u32, units: u32| {
            start.checked_add(units).is_some_and(|end| end <= self.map.file_units)
        };
        let page = self
            .page
            .is_none_or(|page| inside(page.start, page.units) && page.reach <= self.map.file_units);
        let units = self.page.map_or(0, |page| page.units).max(self.map.units);
        page && units <= PAGE_UNITS_MAX
            && inside(self.map.start, self.map.units)
            && self.map.file_units <= FILE_UNITS_MAX
            && self.map.used_units <= self.map.file_units
            && self.live <= self.total
            && (self.total == 0) == self.page.is_none()
            && (self.map.units > 0 || self.page.is_none())
    }
}
