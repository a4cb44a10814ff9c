//! Owns one record: what a key became at one revision, and the version that this replaced.
//! Never knows where records lie.
//! Invariant: `decode(encode(r)) == r`, and any bytes decode to a record or to rot.

use base::bytes_le::{Take, put_rev};
use base::{ChangeKind, Rev, Version};
use bytes::{BufMut, Bytes};

use crate::frame::RotKind;

/// One change of one key, as history remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it happened.
    pub rev: Rev,
    /// The key, never empty.
    pub key: Bytes,
    /// What the key became.
    pub kind: ChangeKind,
    /// The live version that this change replaced; `None` if the key was absent.
    pub prev: Option<Previous>,
    /// If the key was absent: the tombstone that was still known of it. Without this link a key
    /// that was deleted and came back would have no way to its earlier life.
    pub tombstone: Option<Rev>,
}

/// The version that a change replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Its metadata; `modified` is the revision of its own record.
    pub version: Version,
    /// Its value.
    pub value: Bytes,
}

/// From this size on a record may keep its whole block in memory.
const SHARE_BYTES_MIN: usize = 4 << 10;

const PUT: u8 = 1;
const DELETE: u8 = 2;
/// What follows the fixed part about the key's earlier life.
const BEFORE_NOTHING: u8 = 0;
const BEFORE_LIVE: u8 = 1;
const BEFORE_TOMBSTONE: u8 = 2;
/// Length, revision, kind, what was before, key length.
const FIXED_BYTES: usize = 4 + 12 + 1 + 1 + 4;
const PUT_BYTES: usize = 8 + 8 + 8 + 4;
const PREV_BYTES: usize = 12 + 8 + 8 + 8 + 4;
const TOMBSTONE_BYTES: usize = 12;

impl Record {
    /// Did the key end with this record?
    pub fn is_tombstone(&self) -> bool {
        match self.kind {
            ChangeKind::Put { .. } => false,
            ChangeKind::Delete => true,
        }
    }

    /// Bytes of key and values, what a reader pays for.
    pub fn payload_bytes(&self) -> usize {
        let value = match &self.kind {
            ChangeKind::Put { value, .. } => value.len(),
            ChangeKind::Delete => 0,
        };
        self.key.len() + value + self.prev.as_ref().map_or(0, |prev| prev.value.len())
    }

    /// A copy in memory of its own, unless the record is large: whoever keeps a few small records
    /// of many blocks would keep all the blocks alive.
    pub fn detach(self) -> Record {
        if SHARE_BYTES_MIN <= self.payload_bytes() {
            return self;
        }
        let mut bytes = Vec::with_capacity(self.payload_bytes());
        bytes.put_slice(&self.key);
        if let ChangeKind::Put { value, .. } = &self.kind {
            bytes.put_slice(value);
        }
        if let Some(prev) = &self.prev {
            bytes.put_slice(&prev.value);
        }
        let mut rest = Bytes::from(bytes);
        let key = rest.split_to(self.key.len());
        let kind = match self.kind {
            ChangeKind::Put { value, create, version, lease } => {
                let value = rest.split_to(value.len());
                ChangeKind::Put { value, create, version, lease }
            }
            ChangeKind::Delete => ChangeKind::Delete,
        };
        let prev = self.prev.map(|prev| Previous { value: rest, ..prev });
        Record { rev: self.rev, key, kind, prev, tombstone: self.tombstone }
    }

    /// Bytes that [`Record::encode`] writes.
    pub(crate) fn encoded_bytes(&self) -> usize {
        let put = match self.kind {
            ChangeKind::Put { .. } => PUT_BYTES,
            ChangeKind::Delete => 0,
        };
        let before = match (&self.prev, self.tombstone) {
            (Some(_), None) => PREV_BYTES,
            (None, Some(_)) => TOMBSTONE_BYTES,
            (None, None) => 0,
            (Some(_), Some(_)) => unreachable!("{:?} replaced life and death at once", self.rev),
        };
        FIXED_BYTES + put + before + self.payload_bytes()
    }

    /// Appends the record's bytes.
    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        let start = to.len();
        to.put_u32_le(length(self.encoded_bytes()));
        put_rev(to, self.rev);
        to.put_u8(if self.is_tombstone() { DELETE } else { PUT });
        to.put_u8(match (&self.prev, self.tombstone) {
            (Some(_), _) => BEFORE_LIVE,
            (None, Some(_)) => BEFORE_TOMBSTONE,
            (None, None) => BEFORE_NOTHING,
        });
        to.put_u32_le(length(self.key.len()));
        if let ChangeKind::Put { value, create, version, lease } = &self.kind {
            to.put_i64_le(*create);
            to.put_i64_le(*version);
            to.put_i64_le(*lease);
            to.put_u32_le(length(value.len()));
        }
        if let Some(prev) = &self.prev {
            put_rev(to, prev.version.modified);
            to.put_i64_le(prev.version.create);
            to.put_i64_le(prev.version.version);
            to.put_i64_le(prev.version.lease);
            to.put_u32_le(length(prev.value.len()));
        }
        if let Some(tombstone) = self.tombstone {
            put_rev(to, tombstone);
        }
        to.put_slice(&self.key);
        if let ChangeKind::Put { value, .. } = &self.kind {
            to.put_slice(value);
        }
        if let Some(prev) = &self.prev {
            to.put_slice(&prev.value);
        }
        assert_eq!(to.len() - start, self.encoded_bytes());
    }

    /// Reads exactly one record; key and values share the bytes of `from`.
    pub(crate) fn decode(from: &Bytes) -> Result<Record, RotKind> {
        let mut take = Take::new(from);
        if take.u32()? as usize != from.len() {
            return Err(RotKind::Body);
        }
        let rev = take.rev()?;
        let (kind, before) = (take.u8()?, take.u8()?);
        let key_len = take.u32()? as usize;
        let put = match kind {
            PUT => Some((take.i64()?, take.i64()?, take.i64()?, take.u32()? as usize)),
            DELETE => None,
            _ => return Err(RotKind::Body),
        };
        let (mut prev, mut tombstone) = (None, None);
        match before {
            BEFORE_NOTHING => {}
            BEFORE_LIVE => {
                let (modified, create, version) = (take.rev()?, take.i64()?, take.i64()?);
                let version = Version { create, modified, version, lease: take.i64()? };
                prev = Some((version, take.u32()? as usize));
            }
            BEFORE_TOMBSTONE => tombstone = Some(take.rev()?),
            _ => return Err(RotKind::Body),
        }
        // Slices share the block's buffer: a reader that keeps a value keeps its block alive.
        let mut at = from.len() - take.rest().len();
        let mut next = |len: usize| -> Result<Bytes, RotKind> {
            take.bytes(len)?;
            at += len;
            Ok(from.slice(at - len..at))
        };
        let key = next(key_len)?;
        let kind = match put {
            Some((create, version, lease, len)) => {
                ChangeKind::Put { value: next(len)?, create, version, lease }
            }
            None => ChangeKind::Delete,
        };
        let prev = match prev {
            Some((version, len)) => Some(Previous { version, value: next(len)? }),
            None => None,
        };
        if !take.rest().is_empty() || key.is_empty() {
            return Err(RotKind::Body);
        }
        Ok(Record { rev, key, kind, prev, tombstone })
    }
}

/// The length of the record that `bytes` begin with.
pub(crate) fn peek_length(bytes: &[u8]) -> Result<usize, RotKind> {
    let len = Take::new(bytes).u32()? as usize;
    if len < FIXED_BYTES { Err(RotKind::Body) } else { Ok(len) }
}

/// The revision of the record that `bytes` begin with.
pub(crate) fn peek_rev(bytes: &[u8]) -> Result<Rev, RotKind> {
    let mut take = Take::new(bytes);
    take.u32()?;
    Ok(take.rev()?)
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("append refuses records of this size")
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Prng;

    fn sample() -> Record {
        let version = Version { create: 2, modified: Rev::new(3, 4), version: 5, lease: -6 };
        Record {
            rev: Rev::new(9, 1),
            key: Bytes::from_static(b"key"),
            kind: ChangeKind::Put {
                value: Bytes::from_static(b"value"),
                create: 2,
                version: 6,
                lease: 7,
            },
            prev: Some(Previous { version, value: Bytes::from_static(b"old") }),
            tombstone: None,
        }
    }

    #[test]
    fn every_shape_of_record_comes_back_as_it_went() {
        let full = sample();
        let bare = Record { prev: None, ..full.clone() };
        let gone = Record { kind: ChangeKind::Delete, ..full.clone() };
        let back = Record { tombstone: Some(Rev::new(8, 2)), ..bare.clone() };
        for record in [full, bare, gone, back] {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(record.clone().detach(), record);
            assert_eq!(Record::decode(&Bytes::from(bytes)), Ok(record));
        }
    }

    #[test]
    fn any_bytes_are_a_record_or_rot() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        let mut dice = Prng::from_seed(11);
        for _ in 0..20_000 {
            let mut bent = bytes.clone();
            for _ in 0..=dice.below(3) {
                let at = dice.below(bent.len() as u64) as usize;
                bent[at] = dice.next_u64() as u8;
            }
            bent.truncate(dice.below(bent.len() as u64 + 1) as usize);
            if bent.len() >= 4 && dice.chance(900) {
                let len = bent.len() as u32;
                bent[..4].copy_from_slice(&len.to_le_bytes());
            }
            let _ = Record::decode(&Bytes::from(bent));
        }
    }
}
