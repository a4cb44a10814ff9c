//! Owns the bytes of the free map on disk. Total: any bytes give a map or a reason.
//! Invariant: the map of an image marks exactly the units that are reachable from it, its own
//! included.
//!
//! ```text
//!  0 magic      u32  "RLfm"
//!  4 zero       u32
//!  8 generation u64
//! 16 file_units u32
//! 20 used_units u32
//! 24 words      u64 each, unit n is bit n % 64 of word n / 64, set while used; then zeros
//! ```

use base::bytes_le::Take;
use base::checksum::checksum;
use bytes::BufMut;

use crate::root::MapRef;
use crate::rot::Why;
use crate::sizes::{UNIT_BYTES, units_for};
use crate::space::Space;

const MAP_MAGIC: u32 = u32::from_le_bytes(*b"RLfm");
const HEADER_BYTES: usize = 24;

/// Units of a map of a file of so many units.
pub(crate) fn map_units(file_units: u64) -> u32 {
    units_for(HEADER_BYTES + file_units.div_ceil(64) as usize * 8)
}

/// The bytes of a map in `units` units.
pub(crate) fn encode(words: &[u64], map: &MapRef, generation: u64) -> Vec<u8> {
    let len = map.units as usize * UNIT_BYTES;
    assert!(HEADER_BYTES + words.len() * 8 <= len);
    let mut bytes = Vec::with_capacity(len);
    bytes.put_u32_le(MAP_MAGIC);
    bytes.put_u32_le(0);
    bytes.put_u64_le(generation);
    bytes.put_u32_le(map.file_units);
    bytes.put_u32_le(map.used_units);
    words.iter().for_each(|word| bytes.put_u64_le(*word));
    bytes.resize(len, 0);
    bytes
}

/// The map in these bytes, if they are what the root says.
pub(crate) fn decode(bytes: &[u8], map: &MapRef) -> Result<Space, Why> {
    if bytes.len() != map.units as usize * UNIT_BYTES {
        return Err(Why::Length);
    }
    if checksum(bytes) != map.crc {
        return Err(Why::Checksum);
    }
    let mut from = Take::new(bytes);
    let (magic, zero, _generation) = (from.u32()?, from.u32()?, from.u64()?);
    let (file_units, used_units) = (from.u32()?, from.u32()?);
    if (magic, zero, file_units, used_units) != (MAP_MAGIC, 0, map.file_units, map.used_units) {
        return Err(Why::Map);
    }
    let count = (file_units as usize).div_ceil(64);
    let words = (0..count).map(|_| from.u64()).collect::<Result<Vec<u64>, _>>()?;
    let space = Space::from_words(&words, file_units).ok_or(Why::Map)?;
    if space.used_units() == used_units { Ok(space) } else { Err(Why::Map) }
}
