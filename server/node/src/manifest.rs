//! Owns the manifest: the one place where everything that must agree is written down together.
//! Never touches a file. Invariant: of two slots the valid one with the higher generation is the
//! truth; a checkpoint only ever overwrites the other one.
//!
//! ```text
//! slot (SLOT_BYTES, at 0 and at SLOT_BYTES), little-endian
//!   0  magic "RLMANIF1"          8
//!   8  format version  u16       2
//!  10  slices          u16       2   including the meta slice, which is the last
//!  12  body length     u32       4   bytes after this header
//!  16  generation      u64       8
//!  24  cluster id      u64       8
//!  32  member id       u64       8
//!  40  applied index   u64       8
//!  48  applied term    u64       8
//!  56  revision        i64       8
//!  64  compact revision i64      8
//!  72  first log segment u64     8   recovery need not read older ones
//!  80  log position    u64       8   the log was durable through here
//!  88  checksum        u32       4   over the header with this field zero, then the body
//!  92  body: voters u16 + u64 each, learners u16 + u64 each,
//!      then per slice: root length u32, root bytes
//!      zeros to the end of the slot
//! ```

use base::bytes_le::{Short, Take};
use base::checksum::Checksum;
use base::limits::BLOCK_BYTES;
use bytes::{BufMut, Bytes, BytesMut};

use crate::shard::Side;

/// Bytes of one slot. More than one block: a torn write of a slot is told by its checksum, and
/// the other slot is never touched meanwhile, so the slot itself need not be atomic.
pub const SLOT_BYTES: usize = 16 * BLOCK_BYTES;
const MAGIC: &[u8; 8] = b"RLMANIF1";
const HEADER_BYTES: usize = 92;
const SUM_AT: usize = HEADER_BYTES - 4;
/// What one slice's root takes, and what members may take.
const ROOT_BYTES: usize = 4 + slice::SliceRoot::BYTES;
const MEMBERS_BYTES: usize = 4096;
const _: () = assert!(
    HEADER_BYTES + (base::limits::SLICES_MAX as usize + 1) * ROOT_BYTES + MEMBERS_BYTES
        <= SLOT_BYTES
);
/// The format that this build writes, and the newest that it reads.
pub const FORMAT_VERSION: u16 = 1;

/// Everything that a checkpoint makes durable in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Rises by one with every checkpoint; its parity picks the slot.
    pub generation: u64,
    /// Cluster that the data belongs to.
    pub cluster_id: u64,
    /// Member that the data belongs to.
    pub member_id: u64,
    /// Last log entry whose effects are in the roots.
    pub applied_index: u64,
    /// Its term.
    pub applied_term: u64,
    /// Revision of the store after that entry.
    pub revision: i64,
    /// Highest compacted revision; -1 if never compacted.
    pub compact_revision: i64,
    /// Oldest log segment that recovery must read.
    pub log_first: u64,
    /// How far the log was known to be durable.
    pub log_position: u64,
    /// Voting members.
    pub voters: Vec<u64>,
    /// Learners.
    pub learners: Vec<u64>,
    /// One encoded root per slice, the meta slice last.
    pub roots: Vec<Bytes>,
}

/// Why no manifest could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// Both slots are empty: a new data directory.
    Absent,
    /// The very first manifest was not written to its end, and no other ever was: if there is no
    /// log either, the directory is as good as new.
    Unborn,
    /// Something stands there, but neither slot is whole.
    Rot,
    /// Written by a newer program.
    NewerFormat {
        /// The version found.
        found: u16,
    },
}

impl Manifest {
    /// Byte offset of the slot that this generation is written to.
    pub fn slot_offset(&self) -> u64 {
        (self.generation % 2) * SLOT_BYTES as u64
    }

    /// Which ids its slices have, as the first root says; a root that cannot be read is told by
    /// whoever opens its slice.
    pub fn side(&self) -> Side {
        let first = self.roots.first().map(|root| slice::SliceRoot::decode(root));
        match first {
            Some(Ok(root)) => Side::of(root.slice),
            Some(Err(_)) | None => Side::Even,
        }
    }

    /// The whole slot. Panics if the roots do not fit, which the slice limit rules out.
    pub fn encode(&self) -> Bytes {
        let body = self.encode_body();
        let mut slot = BytesMut::with_capacity(SLOT_BYTES);
        slot.put_slice(MAGIC);
        slot.put_u16_le(FORMAT_VERSION);
        slot.put_u16_le(u16::try_from(self.roots.len()).expect("slices are counted in u16"));
        slot.put_u32_le(u32::try_from(body.len()).expect("the body fits a slot"));
        slot.put_u64_le(self.generation);
        slot.put_u64_le(self.cluster_id);
        slot.put_u64_le(self.member_id);
        slot.put_u64_le(self.applied_index);
        slot.put_u64_le(self.applied_term);
        slot.put_i64_le(self.revision);
        slot.put_i64_le(self.compact_revision);
        slot.put_u64_le(self.log_first);
        slot.put_u64_le(self.log_position);
        assert_eq!(slot.len() + 4, HEADER_BYTES);
        let sum = Checksum::new().add(&slot).add(&[0; 4]).add(&body).sum();
        slot.put_u32_le(sum);
        slot.put_slice(&body);
        assert!(slot.len() <= SLOT_BYTES, "manifest of {} bytes", slot.len());
        slot.resize(SLOT_BYTES, 0);
        slot.freeze()
    }

    fn encode_body(&self) -> BytesMut {
        let mut body = BytesMut::new();
        for ids in [&self.voters, &self.learners] {
            body.put_u16_le(u16::try_from(ids.len()).expect("members are counted in u16"));
            ids.iter().for_each(|id| body.put_u64_le(*id));
        }
        for root in &self.roots {
            body.put_u32_le(u32::try_from(root.len()).expect("a root is small"));
            body.put_slice(root);
        }
        body
    }

    /// Picks the newest whole slot of the file's first `2 * SLOT_BYTES`. A slot of a newer format
    /// counts against an older one that is whole: the newer program has gone on from there.
    pub fn choose(file: &Bytes) -> Result<Manifest, ManifestError> {
        let slots = [decode(file, 0), decode(file, SLOT_BYTES)];
        let newer = slots.iter().find_map(|slot| match slot {
            Err(error @ ManifestError::NewerFormat { .. }) => Some(*error),
            Ok(_) | Err(ManifestError::Absent | ManifestError::Unborn | ManifestError::Rot) => None,
        });
        let newest = slots.into_iter().flatten().max_by_key(|slot| slot.generation);
        match (newer, newest) {
            (Some(error), _) => Err(error),
            (None, Some(newest)) => Ok(newest),
            (None, None) if file.iter().all(|byte| *byte == 0) => Err(ManifestError::Absent),
            // Generation 1 has the second slot; the first is written from generation 2 on.
            (None, None) if file.iter().take(SLOT_BYTES).all(|byte| *byte == 0) => {
                Err(ManifestError::Unborn)
            }
            (None, None) => Err(ManifestError::Rot),
        }
    }
}

fn decode(file: &Bytes, at: usize) -> Result<Manifest, ManifestError> {
    let Some(slot) = file.get(at..at + SLOT_BYTES) else { return Err(ManifestError::Absent) };
    if slot[..8] != *MAGIC {
        return Err(ManifestError::Rot);
    }
    let length = u32::from_le_bytes(slot[12..16].try_into().expect("four bytes")) as usize;
    let Some(body) = slot.get(HEADER_BYTES..HEADER_BYTES + length) else {
        return Err(ManifestError::Rot);
    };
    let stored = u32::from_le_bytes(slot[SUM_AT..HEADER_BYTES].try_into().expect("four bytes"));
    let sum = Checksum::new().add(&slot[..SUM_AT]).add(&[0; 4]).add(body).sum();
    if sum != stored {
        return Err(ManifestError::Rot);
    }
    let found = u16::from_le_bytes([slot[8], slot[9]]);
    if found > FORMAT_VERSION {
        return Err(ManifestError::NewerFormat { found });
    }
    parse(slot, body).map_err(|Short| ManifestError::Rot)
}

fn parse(slot: &[u8], body: &[u8]) -> Result<Manifest, Short> {
    let mut head = Take::new(&slot[10..]);
    let slices = head.u16()?;
    head.u32()?;
    let mut manifest = Manifest {
        generation: head.u64()?,
        cluster_id: head.u64()?,
        member_id: head.u64()?,
        applied_index: head.u64()?,
        applied_term: head.u64()?,
        revision: head.i64()?,
        compact_revision: head.i64()?,
        log_first: head.u64()?,
        log_position: head.u64()?,
        voters: Vec::new(),
        learners: Vec::new(),
        roots: Vec::new(),
    };
    let mut rest = Take::new(body);
    for ids in [&mut manifest.voters, &mut manifest.learners] {
        for _ in 0..rest.u16()? {
            ids.push(rest.u64()?);
        }
    }
    for _ in 0..slices {
        let length = rest.u32()? as usize;
        manifest.roots.push(Bytes::copy_from_slice(rest.bytes(length)?));
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(generation: u64) -> Manifest {
        Manifest {
            generation,
            cluster_id: 0xcdf8_1819_4e3a_8c32,
            member_id: 0x8e9e_05c5_2164_694d,
            applied_index: 77,
            applied_term: 3,
            revision: 41,
            compact_revision: -1,
            log_first: 3,
            log_position: 99,
            voters: vec![1, 2],
            learners: vec![9],
            roots: vec![Bytes::from_static(b"root zero"), Bytes::new()],
        }
    }

    fn file(slots: &[&Manifest]) -> BytesMut {
        let mut file = BytesMut::zeroed(2 * SLOT_BYTES);
        for manifest in slots {
            let at = manifest.slot_offset() as usize;
            file[at..at + SLOT_BYTES].copy_from_slice(&manifest.encode());
        }
        file
    }

    #[test]
    fn the_newest_whole_slot_wins() {
        let (old, new) = (sample(4), sample(5));
        let both = file(&[&old, &new]);
        assert_eq!(Manifest::choose(&both.clone().freeze()), Ok(new.clone()));
        let mut torn = both;
        let at = new.slot_offset() as usize + 100;
        torn[at] ^= 1;
        assert_eq!(Manifest::choose(&torn.freeze()), Ok(old));
    }

    #[test]
    fn a_torn_first_manifest_is_told_from_rot() {
        let mut torn = file(&[&sample(1)]);
        torn[SLOT_BYTES + 4] ^= 1;
        assert_eq!(Manifest::choose(&torn.clone().freeze()), Err(ManifestError::Unborn));
        torn[0] = 1;
        assert_eq!(Manifest::choose(&torn.freeze()), Err(ManifestError::Rot));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let whole = file(&[&sample(2)]);
        for at in 0..HEADER_BYTES + sample(2).encode_body().len() {
            let mut bad = whole.clone();
            bad[at] ^= 0x10;
            assert_eq!(Manifest::choose(&bad.freeze()), Err(ManifestError::Rot), "byte {at}");
        }
    }

    #[test]
    fn an_empty_file_is_a_new_directory() {
        let empty = BytesMut::zeroed(2 * SLOT_BYTES).freeze();
        assert_eq!(Manifest::choose(&empty), Err(ManifestError::Absent));
    }

    #[test]
    fn a_newer_format_is_refused_by_its_number() {
        let mut newer = BytesMut::from(&sample(2).encode()[..]);
        newer[8] = 2;
        newer[SUM_AT..HEADER_BYTES].fill(0);
        let end = HEADER_BYTES + sample(2).encode_body().len();
        let sum = base::checksum::checksum(&newer[..end]);
        newer[SUM_AT..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
        newer.resize(SLOT_BYTES, 0);
        let refused = Err(ManifestError::NewerFormat { found: 2 });
        // Alone, or beside a slot that this version wrote before or could still read.
        for beside in
            [vec![0; SLOT_BYTES], sample(1).encode().to_vec(), sample(3).encode().to_vec()]
        {
            let file = [&newer[..], &beside].concat();
            assert_eq!(Manifest::choose(&Bytes::from(file)), refused);
        }
    }

    #[test]
    fn the_first_bytes_never_change() {
        let slot = sample(2).encode();
        assert_eq!(&slot[..16], b"RLMANIF1\x01\x00\x02\x00\x2d\x00\x00\x00");
    }
}
