//! Owns blocks: records in revision order behind one frame, and the index entry of each.
//! Never writes one. Invariant: a [`Block`] has been verified, so what it holds can be trusted.

use std::sync::Arc;

use base::bytes_le::{Take, put_rev};
use base::limits::BLOCK_BYTES;
use base::{Rev, SliceId};
use bytes::{BufMut, Bytes};

use crate::frame::{self, HEADER_BYTES, Head, Kind, PageAt, PageRef, RotKind};
use crate::record::{Record, peek_length, peek_rev};

/// What an index says about one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockMeta {
    pub first: Rev,
    pub page: PageRef,
    pub records: u32,
    pub tombstones: u32,
}

/// Bytes of one [`BlockMeta`] on disk.
pub(crate) const META_BYTES: usize = 32;

/// A block being filled.
pub(crate) struct Builder {
    bytes: Vec<u8>,
    /// Offset of each record.
    starts: Vec<u32>,
    tombstones: u32,
    last: Rev,
}

/// A verified block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    bytes: Bytes,
    /// Offset of each record, and of the end.
    starts: Arc<[u32]>,
}

impl Builder {
    /// An empty block with room for `block_bytes` before it must grow.
    pub fn new(block_bytes: usize) -> Builder {
        let mut bytes = frame::begin();
        bytes.reserve(block_bytes + BLOCK_BYTES);
        Builder { bytes, starts: Vec::new(), tombstones: 0, last: Rev::ZERO }
    }

    pub fn push(&mut self, record: &Record) {
        assert!(self.last < record.rev);
        self.starts.push(u32::try_from(self.bytes.len()).expect("a block is below 4 GiB"));
        record.encode(&mut self.bytes);
        self.tombstones += u32::from(record.is_tombstone());
        self.last = record.rev;
    }

    /// Bytes that the block would take on disk now, unpadded.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn len(&self) -> usize {
        self.starts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    pub fn tombstones(&self) -> u32 {
        self.tombstones
    }

    /// Position of the first record at or after `from`.
    pub fn lower_bound(&self, from: Rev) -> usize {
        self.starts.partition_point(|&at| rev_at(&self.bytes, at) < from)
    }

    /// The record at `position`, copied: the buffer is still growing.
    pub fn record(&self, position: usize) -> Record {
        let from = self.starts[position] as usize;
        let to = self.starts.get(position + 1).map_or(self.bytes.len(), |&at| at as usize);
        let bytes = Bytes::copy_from_slice(&self.bytes[from..to]);
        Record::decode(&bytes).expect("written by push")
    }

    /// Closes the block for its place.
    pub fn seal(mut self, slice: SliceId, at: PageAt) -> (BlockMeta, Block) {
        let first = rev_at(&self.bytes, self.starts[0]);
        let records = u32::try_from(self.starts.len()).expect("a block is below 4 GiB");
        let head = Head { kind: Kind::Records, count: records, first, last: self.last };
        self.starts.push(u32::try_from(self.bytes.len()).expect("a block is below 4 GiB"));
        let page = frame::finish(&mut self.bytes, slice, at, head);
        let block = Block { bytes: Bytes::from(self.bytes), starts: Arc::from(self.starts) };
        (BlockMeta { first, page, records, tombstones: self.tombstones }, block)
    }
}

impl Block {
    /// Trusts nothing: frame, every record, order and counts are checked once, here.
    pub fn verify(bytes: Bytes, slice: SliceId, page: PageRef) -> Result<Block, RotKind> {
        let (head, body_len) = frame::open(&bytes, slice, page, Kind::Records)?;
        let end = HEADER_BYTES + body_len;
        let mut starts = Vec::new();
        let (mut at, mut last) = (HEADER_BYTES, Rev::ZERO);
        while at < end {
            let len = peek_length(&bytes[at..end])?;
            if end - at < len {
                return Err(RotKind::Body);
            }
            let record = Record::decode(&bytes.slice(at..at + len))?;
            if record.rev <= last || (starts.is_empty() && record.rev != head.first) {
                return Err(RotKind::Body);
            }
            last = record.rev;
            starts.push(u32::try_from(at).map_err(|_| RotKind::Body)?);
            at += len;
        }
        if starts.is_empty() || last != head.last || starts.len() != head.count as usize {
            return Err(RotKind::Body);
        }
        starts.push(u32::try_from(end).map_err(|_| RotKind::Body)?);
        Ok(Block { bytes, starts: Arc::from(starts) })
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Position of the first record at or after `from`.
    pub fn lower_bound(&self, from: Rev) -> usize {
        self.starts[..self.len()].partition_point(|&at| rev_at(&self.bytes, at) < from)
    }

    /// The record at `position`; shares the block's bytes.
    pub fn record(&self, position: usize) -> Record {
        let (from, to) = (self.starts[position] as usize, self.starts[position + 1] as usize);
        Record::decode(&self.bytes.slice(from..to)).expect("verified or built here")
    }
}

fn rev_at(bytes: &[u8], at: u32) -> Rev {
    peek_rev(&bytes[at as usize..]).expect("verified or built here")
}

impl BlockMeta {
    /// Appends the entry. See the picture in `docs/data_file.md`.
    pub fn encode(&self, to: &mut Vec<u8>) {
        put_rev(to, self.first);
        to.put_u32_le(units(self.page.at.offset));
        to.put_u32_le(units(u64::from(self.page.len)));
        to.put_u32_le(self.page.sum);
        to.put_u32_le(self.records);
        to.put_u32_le(self.tombstones);
    }

    /// Reads one entry of `segment`.
    pub fn decode(take: &mut Take<'_>, segment: u64) -> Result<BlockMeta, RotKind> {
        let first = take.rev()?;
        let offset = u64::from(take.u32()?) * BLOCK_BYTES as u64;
        let len = u64::from(take.u32()?) * BLOCK_BYTES as u64;
        let len = u32::try_from(len).map_err(|_| RotKind::Body)?;
        let page = PageRef { at: PageAt { segment, offset }, len, sum: take.u32()? };
        let meta = BlockMeta { first, page, records: take.u32()?, tombstones: take.u32()? };
        let fits = 0 < len && 0 < meta.records && meta.tombstones <= meta.records;
        if fits { Ok(meta) } else { Err(RotKind::Body) }
    }
}

/// Reads `count` entries of `segment`, which must rise in revision and place.
pub(crate) fn decode_metas(
    take: &mut Take<'_>,
    segment: u64,
    count: usize,
) -> Result<Vec<BlockMeta>, RotKind> {
    if take.rest().len() / META_BYTES < count {
        return Err(RotKind::Body);
    }
    let mut metas: Vec<BlockMeta> = Vec::with_capacity(count);
    let mut free_from = 0;
    for _ in 0..count {
        let meta = BlockMeta::decode(take, segment)?;
        let rises = metas.last().is_none_or(|before| before.first < meta.first);
        if !rises || meta.page.at.offset < free_from {
            return Err(RotKind::Body);
        }
        free_from = meta.page.at.offset + u64::from(meta.page.len);
        metas.push(meta);
    }
    Ok(metas)
}

/// A sealed segment's index as a frame.
pub(crate) fn encode_index(
    slice: SliceId,
    at: PageAt,
    metas: &[BlockMeta],
    last: Rev,
) -> (PageRef, Bytes) {
    let mut bytes = frame::begin();
    metas.iter().for_each(|meta| meta.encode(&mut bytes));
    let count = u32::try_from(metas.len()).expect("a segment has few blocks");
    let head = Head { kind: Kind::Index, count, first: metas[0].first, last };
    let page = frame::finish(&mut bytes, slice, at, head);
    (page, Bytes::from(bytes))
}

/// The way back from [`encode_index`].
pub(crate) fn decode_index(
    bytes: &[u8],
    slice: SliceId,
    page: PageRef,
) -> Result<Arc<[BlockMeta]>, RotKind> {
    let (head, body_len) = frame::open(bytes, slice, page, Kind::Index)?;
    let mut take = Take::new(&bytes[HEADER_BYTES..HEADER_BYTES + body_len]);
    let metas = decode_metas(&mut take, page.at.segment, head.count as usize)?;
    if metas.is_empty() || !take.rest().is_empty() {
        return Err(RotKind::Body);
    }
    Ok(Arc::from(metas))
}

/// Bytes as a count of 4 KiB units.
pub(crate) fn units(bytes: u64) -> u32 {
    assert_eq!(bytes % BLOCK_BYTES as u64, 0);
    u32::try_from(bytes / BLOCK_BYTES as u64).expect("files stay below 16 TiB")
}
