//! Owns the bytes of a whole page: header, cells, zeros up to the unit. Total: any bytes decode to
//! a page or to a reason.
//! Invariant: a page that is in memory has passed here or was built by page.rs; nothing else
//! checks cells again.
//!
//! ```text
//!  0 magic       u32  "RLtp"
//!  4 level       u8   0 leaf
//!  5 zero        [3]
//!  8 generation  u64  of the checkpoint that wrote it
//! 16 count       u32  cells
//! 20 cells_len   u32  bytes of them
//! 24 cells, then zeros to the end of the unit
//! ```
//! There is no checksum inside: it stands in the parent (or the root reference), so that a page
//! that is whole but stale or misplaced is found too.

use base::bytes_le::Take;
use base::checksum::checksum;
use bytes::BufMut;

use crate::cell::{LeafCell, Link, Origin};
use crate::page::Page;
use crate::rot::Why;
use crate::sizes::UNIT_BYTES;

/// Bytes before the first cell.
pub(crate) const HEADER_BYTES: usize = 24;
/// First bytes of every page.
pub(crate) const PAGE_MAGIC: u32 = u32::from_le_bytes(*b"RLtp");

/// What a reference says of the page behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Expected {
    pub units: u32,
    pub crc: u32,
    pub level: u8,
    pub live: u64,
    pub total: u64,
}

/// The bytes of a page, a whole number of units.
pub(crate) fn encode(page: &Page, generation: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(page.units() as usize * UNIT_BYTES);
    bytes.put_u32_le(PAGE_MAGIC);
    bytes.put_u8(page.level());
    bytes.put_slice(&[0; 3]);
    bytes.put_u64_le(generation);
    bytes.put_u32_le(page.count() as u32);
    bytes.put_u32_le(page.cells().len() as u32);
    assert_eq!(bytes.len(), HEADER_BYTES);
    bytes.put_slice(page.cells());
    bytes.resize(page.units() as usize * UNIT_BYTES, 0);
    bytes
}

/// The page in these bytes, if they are what the reference says.
pub(crate) fn decode(bytes: &[u8], expected: &Expected) -> Result<Page, Why> {
    if bytes.len() != expected.units as usize * UNIT_BYTES {
        return Err(Why::Length);
    }
    if checksum(bytes) != expected.crc {
        return Err(Why::Checksum);
    }
    let (level, count, cells) = header(bytes)?;
    if level != expected.level || count == 0 {
        return Err(Why::Header);
    }
    let page = match level {
        0 => decode_leaf(count, cells)?,
        _ => decode_inner(level, count, cells)?,
    };
    if page.counts() == (expected.live, expected.total) { Ok(page) } else { Err(Why::Counts) }
}

fn header(bytes: &[u8]) -> Result<(u8, usize, &[u8]), Why> {
    let mut from = Take::new(bytes);
    let (magic, level, zero) = (from.u32()?, from.u8()?, from.bytes(3)?);
    let (_generation, count, len) = (from.u64()?, from.u32()?, from.u32()?);
    let cells = from.bytes(len as usize).map_err(|_| Why::Header)?;
    let padding = from.rest();
    let sane = magic == PAGE_MAGIC && zero == [0; 3] && padding.len() < UNIT_BYTES;
    if sane { Ok((level, count as usize, cells)) } else { Err(Why::Header) }
}

fn decode_leaf(count: usize, cells: &[u8]) -> Result<Page, Why> {
    let mut from = Take::new(cells);
    let mut starts = Vec::new();
    let mut last: Option<&[u8]> = None;
    for _ in 0..count {
        starts.push((cells.len() - from.rest().len()) as u32);
        let cell = LeafCell::take(&mut from, Origin::Disk)?;
        if last.is_some_and(|last| cell.key <= last) {
            return Err(Why::Order);
        }
        last = Some(cell.key);
    }
    finish(0, from.rest(), cells, &starts)
}

fn decode_inner(level: u8, count: usize, cells: &[u8]) -> Result<Page, Why> {
    let mut from = Take::new(cells);
    let mut starts = Vec::new();
    let mut last: Option<&[u8]> = None;
    for _ in 0..count {
        starts.push((cells.len() - from.rest().len()) as u32);
        let key_len = from.u32()? as usize;
        Link::take_disk(&mut from)?;
        let key = from.bytes(key_len)?;
        let rises = match last {
            Some(last) => key > last,
            None => key.is_empty(),
        };
        if !rises {
            return Err(Why::Order);
        }
        last = Some(key);
    }
    finish(level, from.rest(), cells, &starts)
}

fn finish(level: u8, rest: &[u8], cells: &[u8], starts: &[u32]) -> Result<Page, Why> {
    if rest.is_empty() {
        Ok(Page::from_parts(level, cells.to_vec(), starts))
    } else {
        Err(Why::Cell)
    }
}
