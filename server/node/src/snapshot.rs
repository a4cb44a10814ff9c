//! Owns the snapshot file: what a backup of the store looks like as bytes, written once and read
//! back by the offline tool. Never reads the store and never touches a file. Invariant: what passes
//! the reader is what the writer was given, whole, in the same order.
//!
//! ```text
//! header (72 bytes), little-endian
//!   0 magic "RLSNAP01"   8     32 revision          i64
//!   8 format 1           u64   40 compact revision  i64, -1 for never
//!  16 cluster id         u64   48 term              u64
//!  24 member id          u64   56 index             u64   position in the log
//!                              64 crc32 of 0..64    u32, then 4 zeros
//! items: tag u8, length of the rest u32, then
//!   1 row     revision 12, create i64, version i64, lease i64, key length u32, key, value
//!             live at the compact revision; in no order
//!   2 put     the same; a change after the compact revision, in the order of revisions
//!   3 delete  revision 12, key
//!   4 meta    key length u32, key, value: a fact of the meta slice
//!   9 end     rows u64, changes u64, metas u64, crc32 of everything before it u32
//! zeros to a multiple of 512
//! ```
//! Clients append the SHA-256 of all that; they tell a file with it from one without by its length
//! modulo 512, which is why the padding is there.

use base::bytes_le::{Short, Take, put_rev};
use base::checksum::{Checksum, checksum};
use base::{Rev, Version};
use bytes::{BufMut, Bytes};

/// Bytes of the header.
pub const HEADER_BYTES: usize = 72;
/// The length of a snapshot is a multiple of this.
pub const ALIGN_BYTES: u64 = 512;
/// Tag and length before each item.
pub const ITEM_HEAD_BYTES: usize = 5;
const MAGIC: &[u8; 8] = b"RLSNAP01";
const FORMAT: u64 = 1;
const SUMMED_BYTES: usize = 64;
const END_BYTES: usize = 28;

const ROW: u8 = 1;
const PUT: u8 = 2;
const DELETE: u8 = 3;
const META: u8 = 4;
const END: u8 = 9;

/// What a snapshot says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The cluster that it was taken of.
    pub cluster_id: u64,
    /// The member that it was taken of.
    pub member_id: u64,
    /// The newest revision in it.
    pub revision: i64,
    /// The compact revision; -1 for never.
    pub compact_revision: i64,
    /// Term of the last entry of the log in it.
    pub term: u64,
    /// Index of that entry.
    pub index: u64,
}

/// One thing in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotItem {
    /// A key that lived at the compact revision.
    Row {
        /// The key.
        key: Bytes,
        /// Its metadata.
        version: Version,
        /// Its value.
        value: Bytes,
    },
    /// A put after it.
    Put {
        /// The key.
        key: Bytes,
        /// Its metadata.
        version: Version,
        /// Its value.
        value: Bytes,
    },
    /// A delete after it.
    Delete {
        /// When.
        rev: Rev,
        /// Of what.
        key: Bytes,
    },
    /// A fact of the meta slice.
    Meta {
        /// Its key.
        key: Bytes,
        /// Its value.
        value: Bytes,
    },
    /// Nothing follows but zeros.
    End(Counts),
}

/// How much is in a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows.
    pub rows: u64,
    /// Puts and deletes.
    pub changes: u64,
    /// Facts.
    pub metas: u64,
}

/// Why bytes are no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSnapshot {
    /// It begins with something else.
    Magic,
    /// A newer program wrote it.
    NewerFormat {
        /// The format found.
        found: u64,
    },
    /// It ends too early.
    Short,
    /// An item does not parse.
    Item {
        /// Its offset in bytes.
        offset: u64,
    },
    /// A checksum or a count differs.
    Sum,
}

impl From<Short> for BadSnapshot {
    fn from(_: Short) -> BadSnapshot {
        BadSnapshot::Short
    }
}

/// Writes a snapshot piece by piece.
#[derive(Clone)]
pub struct SnapshotWriter {
    counts: Counts,
    sum: Checksum,
    written: u64,
}

impl SnapshotWriter {
    /// Begins with the header.
    pub fn begin(header: &Header, to: &mut Vec<u8>) -> SnapshotWriter {
        let start = to.len();
        to.put_slice(MAGIC);
        to.put_u64_le(FORMAT);
        to.put_u64_le(header.cluster_id);
        to.put_u64_le(header.member_id);
        to.put_i64_le(header.revision);
        to.put_i64_le(header.compact_revision);
        to.put_u64_le(header.term);
        to.put_u64_le(header.index);
        let sum = checksum(&to[start..]);
        to.put_u32_le(sum);
        to.put_u32_le(0);
        assert_eq!(to.len() - start, HEADER_BYTES);
        let mut writer = SnapshotWriter::nothing();
        writer.wrote(&to[start..]);
        writer
    }

    fn nothing() -> SnapshotWriter {
        SnapshotWriter { counts: Counts::default(), sum: Checksum::new(), written: 0 }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.sum.add(bytes);
        self.written += bytes.len() as u64;
    }

    /// Adds an item. Panics on [`SnapshotItem::End`], which [`SnapshotWriter::finish`] writes.
    pub fn item(&mut self, item: &SnapshotItem, to: &mut Vec<u8>) {
        let start = to.len();
        match item {
            SnapshotItem::Row { key, version, value } => {
                self.counts.rows += 1;
                put_pair(ROW, key, version, value, to);
            }
            SnapshotItem::Put { key, version, value } => {
                self.counts.changes += 1;
                put_pair(PUT, key, version, value, to);
            }
            SnapshotItem::Delete { rev, key } => {
                self.counts.changes += 1;
                put_head(DELETE, 12 + key.len(), to);
                put_rev(to, *rev);
                to.put_slice(key);
            }
            SnapshotItem::Meta { key, value } => {
                self.counts.metas += 1;
                put_head(META, 4 + key.len() + value.len(), to);
                to.put_u32_le(length(key.len()));
                to.put_slice(key);
                to.put_slice(value);
            }
            SnapshotItem::End(_) => panic!("the writer counts by itself"),
        }
        self.wrote(&to[start..]);
    }

    /// Writes the end and the padding. Returns the length of the whole in bytes.
    pub fn finish(mut self, to: &mut Vec<u8>) -> u64 {
        let start = to.len();
        put_head(END, END_BYTES, to);
        to.put_u64_le(self.counts.rows);
        to.put_u64_le(self.counts.changes);
        to.put_u64_le(self.counts.metas);
        self.wrote(&to[start..]);
        to.put_u32_le(self.sum.sum());
        let end = self.written + 4;
        let padding = end.next_multiple_of(ALIGN_BYTES) - end;
        to.put_bytes(0, usize::try_from(padding).expect("less than a sector"));
        end + padding
    }
}

fn put_pair(tag: u8, key: &[u8], version: &Version, value: &[u8], to: &mut Vec<u8>) {
    put_head(tag, 12 + 24 + 4 + key.len() + value.len(), to);
    put_rev(to, version.modified);
    to.put_i64_le(version.create);
    to.put_i64_le(version.version);
    to.put_i64_le(version.lease);
    to.put_u32_le(length(key.len()));
    to.put_slice(key);
    to.put_slice(value);
}

fn put_head(tag: u8, len: usize, to: &mut Vec<u8>) {
    to.put_u8(tag);
    to.put_u32_le(length(len));
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("requests are smaller than 4 GiB")
}

/// Reads a snapshot back: header, then item by item, each given as its head and its body.
pub struct SnapshotReader {
    header: Header,
    seen: SnapshotWriter,
}

impl SnapshotReader {
    /// Takes the header.
    pub fn begin(bytes: &[u8; HEADER_BYTES]) -> Result<SnapshotReader, BadSnapshot> {
        let mut take = Take::new(bytes);
        if take.bytes(8)? != MAGIC {
            return Err(BadSnapshot::Magic);
        }
        let found = take.u64()?;
        let header = Header {
            cluster_id: take.u64()?,
            member_id: take.u64()?,
            revision: take.i64()?,
            compact_revision: take.i64()?,
            term: take.u64()?,
            index: take.u64()?,
        };
        if take.u32()? != checksum(&bytes[..SUMMED_BYTES]) {
            return Err(BadSnapshot::Sum);
        }
        if found != FORMAT {
            return Err(BadSnapshot::NewerFormat { found });
        }
        let mut seen = SnapshotWriter::nothing();
        seen.wrote(bytes);
        Ok(SnapshotReader { header, seen })
    }

    /// What the snapshot says of itself.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Bytes read so far: the offset of the next item.
    pub fn offset(&self) -> u64 {
        self.seen.written
    }

    /// Bytes that follow an item's head.
    pub fn body_bytes(head: &[u8; ITEM_HEAD_BYTES]) -> usize {
        u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize
    }

    /// Takes an item. The end is given out only if counts and checksum are right.
    pub fn item(
        &mut self,
        head: &[u8; ITEM_HEAD_BYTES],
        body: &Bytes,
    ) -> Result<SnapshotItem, BadSnapshot> {
        let offset = self.offset();
        let item = take_item(head[0], body).map_err(|Short| BadSnapshot::Item { offset })?;
        match &item {
            SnapshotItem::Row { .. } => self.seen.counts.rows += 1,
            SnapshotItem::Put { .. } | SnapshotItem::Delete { .. } => self.seen.counts.changes += 1,
            SnapshotItem::Meta { .. } => self.seen.counts.metas += 1,
            SnapshotItem::End(counts) => {
                let (summed, sum) = body.split_at(END_BYTES - 4);
                self.seen.wrote(head);
                self.seen.wrote(summed);
                let right = *counts == self.seen.counts && sum == self.seen.sum.sum().to_le_bytes();
                return if right { Ok(item) } else { Err(BadSnapshot::Sum) };
            }
        }
        self.seen.wrote(head);
        self.seen.wrote(body);
        Ok(item)
    }

    /// Bytes of the whole snapshot, once the end was taken.
    pub fn whole_bytes(&self) -> u64 {
        (self.seen.written + 4).next_multiple_of(ALIGN_BYTES)
    }
}

/// One item by itself, without regard to sums: of a snapshot that was read whole before.
pub fn parse(head: &[u8; ITEM_HEAD_BYTES], body: &Bytes) -> Option<SnapshotItem> {
    take_item(head[0], body).ok()
}

fn take_item(tag: u8, body: &Bytes) -> Result<SnapshotItem, Short> {
    let mut take = Take::new(body);
    let item = match tag {
        ROW | PUT => {
            let modified = take.rev()?;
            let (create, version, lease) = (take.i64()?, take.i64()?, take.i64()?);
            let version = Version { create, modified, version, lease };
            let (key, value) = take_key(&mut take, body)?;
            match tag {
                ROW => SnapshotItem::Row { key, version, value },
                _ => SnapshotItem::Put { key, version, value },
            }
        }
        DELETE => SnapshotItem::Delete { rev: take.rev()?, key: body.slice(12..) },
        META => {
            let (key, value) = take_key(&mut take, body)?;
            SnapshotItem::Meta { key, value }
        }
        END if body.len() == END_BYTES => {
            let counts = Counts { rows: take.u64()?, changes: take.u64()?, metas: take.u64()? };
            return Ok(SnapshotItem::End(counts));
        }
        _ => return Err(Short),
    };
    let key = match &item {
        SnapshotItem::Row { key, .. }
        | SnapshotItem::Put { key, .. }
        | SnapshotItem::Delete { key, .. }
        | SnapshotItem::Meta { key, .. } => key,
        SnapshotItem::End(_) => unreachable!("it was returned above"),
    };
    if key.is_empty() { Err(Short) } else { Ok(item) }
}

/// A key after its length, and the value that is the rest of the body.
fn take_key(take: &mut Take<'_>, body: &Bytes) -> Result<(Bytes, Bytes), Short> {
    let len = take.u32()? as usize;
    let at = body.len() - take.rest().len();
    take.bytes(len)?;
    Ok((body.slice(at..at + len), body.slice(at + len..)))
}

#[cfg(test)]
mod tests;
