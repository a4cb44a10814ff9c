//! Owns the frame around everything that history puts on disk: 64 bytes of header, a body, zeros
//! up to the next 4 KiB. Never knows what the body means.
//! Invariant: a frame is accepted only at the place, in the file and with the checksum that its
//! parent names, so torn, stale and misdirected bytes are told from good ones.

use base::bytes_le::{Short, Take, put_rev};
use base::checksum::checksum;
use base::limits::BLOCK_BYTES;
use base::{FileId, Rev, SliceId};
use bytes::BufMut;

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 64;
const MAGIC: u32 = u32::from_le_bytes(*b"RHST");
const FORMAT: u16 = 1;
/// Where the bytes begin that the checksum covers.
const SUMMED_FROM: usize = 12;

/// What a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Records in revision order.
    Records,
    /// The blocks of one sealed segment.
    Index,
    /// The segments of the slice and the blocks of the open one.
    Directory,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Kind::Records => 1,
            Kind::Index => 2,
            Kind::Directory => 3,
        }
    }
}

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PageAt {
    /// Number of the segment file; 0 is the file of the directories.
    pub segment: u64,
    /// Byte offset in it.
    pub offset: u64,
}

/// A parent's word about a frame: where, how long, with which sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PageRef {
    pub at: PageAt,
    pub len: u32,
    pub sum: u32,
}

/// Bytes on disk that are not what was written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rot {
    /// In which file.
    pub file: FileId,
    /// Byte offset of the frame.
    pub offset: u64,
    /// What did not fit.
    pub kind: RotKind,
}

/// What did not fit in a rotten frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotKind {
    /// Not as many bytes as the parent says.
    Length,
    /// The checksum is not the one that the parent or the header names.
    Checksum,
    /// A header field differs from what this place must hold.
    Header,
    /// The body's structure does not add up although the sum is right.
    Body,
}

impl From<Short> for RotKind {
    fn from(_: Short) -> RotKind {
        RotKind::Body
    }
}

/// What the header says besides the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub kind: Kind,
    pub count: u32,
    pub first: Rev,
    pub last: Rev,
}

/// Room for the header, to be followed by the body.
pub(crate) fn begin() -> Vec<u8> {
    vec![0; HEADER_BYTES]
}

/// Pads `frame` (begun with [`begin`]) and fills its header in. Answers the reference to it.
pub(crate) fn finish(frame: &mut Vec<u8>, slice: SliceId, at: PageAt, head: Head) -> PageRef {
    assert!(HEADER_BYTES <= frame.len());
    let body_len = u32::try_from(frame.len() - HEADER_BYTES).expect("bodies stay below 4 GiB");
    frame.resize(frame.len().next_multiple_of(BLOCK_BYTES), 0);
    let mut to = Vec::with_capacity(HEADER_BYTES);
    to.put_u32_le(MAGIC);
    to.put_u16_le(FORMAT);
    to.put_u8(head.kind.code());
    to.put_u8(0);
    to.put_u32_le(0);
    to.put_u32_le(body_len);
    to.put_u16_le(slice.0);
    to.put_u16_le(0);
    to.put_u32_le(head.count);
    to.put_u64_le(at.segment);
    to.put_u64_le(at.offset);
    put_rev(&mut to, head.first);
    put_rev(&mut to, head.last);
    assert_eq!(to.len(), HEADER_BYTES);
    frame[..HEADER_BYTES].copy_from_slice(&to);
    let sum = checksum(&frame[SUMMED_FROM..]);
    frame[8..SUMMED_FROM].copy_from_slice(&sum.to_le_bytes());
    let len = u32::try_from(frame.len()).expect("frames stay below 4 GiB");
    PageRef { at, len, sum }
}

/// Checks `bytes` against what the parent says and answers the header and the body's length.
/// Total: any bytes are either a frame of this very place or rot.
pub(crate) fn open(
    bytes: &[u8],
    slice: SliceId,
    page: PageRef,
    kind: Kind,
) -> Result<(Head, usize), RotKind> {
    if bytes.len() != page.len as usize || bytes.len() < HEADER_BYTES {
        return Err(RotKind::Length);
    }
    let mut take = Take::new(bytes);
    let (magic, format) = (take.u32()?, take.u16()?);
    let (code, zero, sum) = (take.u8()?, take.u8()?, take.u32()?);
    if sum != page.sum || checksum(&bytes[SUMMED_FROM..]) != sum {
        return Err(RotKind::Checksum);
    }
    let body_len = take.u32()? as usize;
    let (owner, reserved, count) = (take.u16()?, take.u16()?, take.u32()?);
    let at = PageAt { segment: take.u64()?, offset: take.u64()? };
    let (first, last) = (take.rev()?, take.rev()?);
    let fits = (magic, format, code) == (MAGIC, FORMAT, kind.code())
        && (zero, reserved) == (0, 0)
        && owner == slice.0
        && at == page.at
        && body_len <= bytes.len() - HEADER_BYTES;
    if !fits {
        return Err(RotKind::Header);
    }
    Ok((Head { kind, count, first, last }, body_len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_good_only_in_its_own_place_and_without_any_flip() {
        let at = PageAt { segment: 3, offset: 8192 };
        let head =
            Head { kind: Kind::Index, count: 1, first: Rev::new(2, 0), last: Rev::new(3, 1) };
        let mut bytes = begin();
        bytes.extend_from_slice(b"body");
        let page = finish(&mut bytes, SliceId(1), at, head);
        assert_eq!(open(&bytes, SliceId(1), page, Kind::Index), Ok((head, 4)));

        let moved = PageRef { at: PageAt { offset: 0, ..at }, ..page };
        assert_eq!(open(&bytes, SliceId(1), moved, Kind::Index), Err(RotKind::Header));
        assert_eq!(open(&bytes, SliceId(2), page, Kind::Index), Err(RotKind::Header));
        assert_eq!(open(&bytes, SliceId(1), page, Kind::Records), Err(RotKind::Header));
        assert_eq!(open(&bytes[..64], SliceId(1), page, Kind::Index), Err(RotKind::Length));
        for at in 0..bytes.len() {
            bytes[at] ^= 0x10;
            assert!(open(&bytes, SliceId(1), page, Kind::Index).is_err(), "flip at {at}");
            bytes[at] ^= 0x10;
        }
    }
}
