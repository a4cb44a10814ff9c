//! Owns the directory (which segments live, which blocks the open one has) and the root that names
//! it. Never writes them. Invariant: a decoded directory rises in number, revision and place.

use base::bytes_le::{Take, put_rev};
use base::limits::{BLOCK_BYTES, HISTORY_DIRECTORY_BYTES_MAX};
use base::{FileId, IoRequest, Rev, SliceId};
use bytes::{BufMut, Bytes};

use crate::block::{BlockMeta, decode_metas, units};
use crate::frame::{self, HEADER_BYTES, Head, Kind, PageAt, PageRef, RotKind};

/// The file that holds the two directory areas; record segments count from 1.
pub(crate) const DIRECTORY_SEGMENT: u64 = 0;
const SEGMENT_META_BYTES: usize = 44;

/// What the directory says about one sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentMeta {
    pub number: u64,
    pub first: Rev,
    pub last: Rev,
    pub index: PageRef,
    pub records: u32,
    pub tombstones: u32,
}

impl SegmentMeta {
    /// Bytes of the file.
    pub fn file_bytes(&self) -> u64 {
        self.index.at.offset + u64::from(self.index.len)
    }
}

/// One of the two places that directories alternate between, so that the one which the durable
/// manifest names is never overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    A,
    B,
}

impl Area {
    pub fn other(self) -> Area {
        match self {
            Area::A => Area::B,
            Area::B => Area::A,
        }
    }

    pub fn at(self) -> PageAt {
        let offset = match self {
            Area::A => 0,
            Area::B => HISTORY_DIRECTORY_BYTES_MAX,
        };
        PageAt { segment: DIRECTORY_SEGMENT, offset }
    }
}

/// All that a checkpoint must remember to find a slice's history again. Fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRoot {
    pub(crate) first_segment: u64,
    pub(crate) open_segment: u64,
    pub(crate) open_offset: u64,
    pub(crate) swept: u64,
    pub(crate) compact: i64,
    pub(crate) purged: Rev,
    pub(crate) last: Rev,
    pub(crate) area: Area,
    pub(crate) directory_len: u32,
    pub(crate) directory_sum: u32,
}

impl HistoryRoot {
    /// Bytes of an encoded root.
    pub const BYTES: usize = 72;

    /// Revision of the newest record.
    pub fn last(&self) -> Rev {
        self.last
    }

    /// The compact revision.
    pub fn compact(&self) -> i64 {
        self.compact
    }

    /// The root's bytes, for the manifest, which checksums them.
    pub fn encode(&self) -> [u8; HistoryRoot::BYTES] {
        let mut to = Vec::with_capacity(HistoryRoot::BYTES);
        to.put_u64_le(self.first_segment);
        to.put_u64_le(self.open_segment);
        to.put_u64_le(self.swept);
        to.put_i64_le(self.compact);
        put_rev(&mut to, self.purged);
        put_rev(&mut to, self.last);
        to.put_u32_le(units(self.open_offset));
        to.put_u32_le(match self.area {
            Area::A => 0,
            Area::B => 1,
        });
        to.put_u32_le(units(u64::from(self.directory_len)));
        to.put_u32_le(self.directory_sum);
        to.try_into().expect("72 bytes were put")
    }

    /// The way back; total.
    pub fn decode(bytes: &[u8]) -> Result<HistoryRoot, RotKind> {
        let mut take = Take::new(bytes);
        let (first_segment, open_segment) = (take.u64()?, take.u64()?);
        let (swept, compact) = (take.u64()?, take.i64()?);
        let (purged, last) = (take.rev()?, take.rev()?);
        let open_offset = u64::from(take.u32()?) * BLOCK_BYTES as u64;
        let area = match take.u32()? {
            0 => Area::A,
            1 => Area::B,
            _ => return Err(RotKind::Header),
        };
        let directory_len = u64::from(take.u32()?) * BLOCK_BYTES as u64;
        let directory_sum = take.u32()?;
        let fits = take.rest().is_empty()
            && 0 < swept
            && swept <= first_segment
            && first_segment <= open_segment
            && 0 < directory_len
            && directory_len <= HISTORY_DIRECTORY_BYTES_MAX;
        if !fits {
            return Err(RotKind::Header);
        }
        let directory_len = u32::try_from(directory_len).map_err(|_| RotKind::Header)?;
        Ok(HistoryRoot {
            first_segment,
            open_segment,
            open_offset,
            swept,
            compact,
            purged,
            last,
            area,
            directory_len,
            directory_sum,
        })
    }

    pub(crate) fn directory(&self) -> PageRef {
        PageRef { at: self.area.at(), len: self.directory_len, sum: self.directory_sum }
    }

    /// The read that opening needs.
    pub(crate) fn directory_read(&self, slice: SliceId) -> IoRequest {
        let file = FileId::History { slice, segment: DIRECTORY_SEGMENT };
        IoRequest::Read { file, offset: self.area.at().offset, len: self.directory_len }
    }
}

/// The directory as a frame.
pub(crate) fn encode(
    slice: SliceId,
    area: Area,
    sealed: &[SegmentMeta],
    open: &[BlockMeta],
    last: Rev,
) -> (PageRef, Bytes) {
    let mut bytes = frame::begin();
    bytes.put_u32_le(count(sealed.len()));
    bytes.put_u32_le(count(open.len()));
    for segment in sealed {
        put_rev(&mut bytes, segment.first);
        put_rev(&mut bytes, segment.last);
        bytes.put_u32_le(units(segment.index.at.offset));
        bytes.put_u32_le(units(u64::from(segment.index.len)));
        bytes.put_u32_le(segment.index.sum);
        bytes.put_u32_le(segment.records);
        bytes.put_u32_le(segment.tombstones);
    }
    open.iter().for_each(|meta| meta.encode(&mut bytes));
    let head = Head {
        kind: Kind::Directory,
        count: count(sealed.len() + open.len()),
        first: sealed.first().map_or(Rev::ZERO, |segment| segment.first),
        last,
    };
    let page = frame::finish(&mut bytes, slice, area.at(), head);
    // 1.4 million segments of 8 MiB: 11 TiB of history in one slice come before this.
    assert!(u64::from(page.len) <= HISTORY_DIRECTORY_BYTES_MAX);
    (page, Bytes::from(bytes))
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("bounded by the directory's area")
}

/// The way back from [`encode`], checked against the root that named it.
pub(crate) fn decode(
    bytes: &[u8],
    slice: SliceId,
    root: &HistoryRoot,
) -> Result<(Vec<SegmentMeta>, Vec<BlockMeta>), RotKind> {
    let (head, body_len) = frame::open(bytes, slice, root.directory(), Kind::Directory)?;
    let mut take = Take::new(&bytes[HEADER_BYTES..HEADER_BYTES + body_len]);
    let (sealed_count, open_count) = (take.u32()? as usize, take.u32()? as usize);
    let fits = take.rest().len() / SEGMENT_META_BYTES >= sealed_count
        && root.open_segment - root.first_segment == sealed_count as u64
        && head.last == root.last;
    if !fits {
        return Err(RotKind::Body);
    }
    let mut sealed: Vec<SegmentMeta> = Vec::with_capacity(sealed_count);
    for number in root.first_segment..root.open_segment {
        let segment = decode_segment(&mut take, number)?;
        let rises = sealed.last().is_none_or(|before| before.last < segment.first);
        if !rises || segment.last < segment.first {
            return Err(RotKind::Body);
        }
        sealed.push(segment);
    }
    let open = decode_metas(&mut take, root.open_segment, open_count)?;
    let end = open.last().map_or(0, |meta| meta.page.at.offset + u64::from(meta.page.len));
    let low = sealed.last().map_or(Rev::ZERO, |segment| segment.last);
    let fits = take.rest().is_empty()
        && end <= root.open_offset
        && low <= root.last
        && open.first().is_none_or(|meta| low < meta.first)
        && open.last().is_none_or(|meta| meta.first <= root.last);
    if fits { Ok((sealed, open)) } else { Err(RotKind::Body) }
}

fn decode_segment(take: &mut Take<'_>, number: u64) -> Result<SegmentMeta, RotKind> {
    let (first, last) = (take.rev()?, take.rev()?);
    let offset = u64::from(take.u32()?) * BLOCK_BYTES as u64;
    let len = u64::from(take.u32()?) * BLOCK_BYTES as u64;
    let len = u32::try_from(len).map_err(|_| RotKind::Body)?;
    let index = PageRef { at: PageAt { segment: number, offset }, len, sum: take.u32()? };
    Ok(SegmentMeta { number, first, last, index, records: take.u32()?, tombstones: take.u32()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_comes_back_and_a_bent_one_never_panics() {
        let root = HistoryRoot {
            first_segment: 3,
            open_segment: 5,
            open_offset: 8192,
            swept: 2,
            compact: 17,
            purged: Rev::new(17, 2),
            last: Rev::new(90, 1),
            area: Area::B,
            directory_len: 4096,
            directory_sum: 77,
        };
        let bytes = root.encode();
        assert_eq!(HistoryRoot::decode(&bytes), Ok(root));
        for at in 0..bytes.len() {
            let mut bent = bytes;
            bent[at] ^= 0x81;
            let _ = HistoryRoot::decode(&bent);
            assert!(HistoryRoot::decode(&bytes[..at]).is_err());
        }
    }
}
