//! Owns the batch: the header's bytes, the checksums, the padding.
//! Invariant: a header that is taken without error says exactly what some writer put there.

use base::bytes_le::{Short, Take};
use base::checksum::checksum;
use bytes::{BufMut, Bytes};

use crate::position::{Place, Position, padded};
use crate::record::Record;

/// Bytes of a batch header.
pub const HEADER_BYTES: usize = 64;
/// First bytes of every batch: `RngB`.
const MAGIC: u32 = u32::from_le_bytes(*b"RngB");
/// What we write. Version 1 had no records of the past; it is read as well.
pub(crate) const VERSION: u16 = 2;

/// Whose log it is. Stands in every batch, so that a foreign file is told from damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: u64,
    /// The member.
    pub member: u64,
}

/// What a batch says of itself and of those before it.
///
/// ```text
///  0  magic "RngB"    u32      4  version   u16      6  records        u16
///  8  cluster         u64     16  member    u64     24  segment        u64
/// 32  synced_through  u64     40  offset    u32     44  payload bytes  u32
/// 48  epoch           u32     52  previous  u32     56  payload crc    u32
/// 60  header crc      u32, over bytes 0..60
/// ```
/// The header has a checksum of its own which covers the payload's: so the promise in a header
/// can be trusted even if its payload is torn, and beyond a break headers are found without reading
/// payloads. The padding is in neither checksum; nothing is lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose log.
    pub identity: Identity,
    /// Where the batch stands.
    pub place: Place,
    /// Counts the runs of the writer: a batch never follows one of a later epoch. Without it, a
    /// torn run's leftovers could chain to a batch that the next run wrote again byte for byte.
    pub epoch: u32,
    /// Header checksum of the batch before; 0 in the first of a log.
    pub previous: u32,
    /// Every batch ending at or below this was durable when this one was built.
    pub synced_through: Position,
    /// Number of records; 0 in a seal.
    pub records: u16,
    /// Bytes of all records.
    pub payload_bytes: u32,
    payload_crc: u32,
}

/// Why bytes are no batch header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// It does not start like one.
    Magic {
        /// What stood there.
        found: u32,
    },
    /// It starts like one of a version that we do not know.
    Version {
        /// The version.
        found: u16,
    },
    /// The header's checksum is wrong.
    Sum,
    /// Fewer bytes than a header has.
    Short,
}

impl From<Short> for BadHeader {
    fn from(_: Short) -> BadHeader {
        BadHeader::Short
    }
}

/// What the maker of a batch decides; the rest follows from the records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heading {
    pub identity: Identity,
    pub place: Place,
    pub epoch: u32,
    pub previous: u32,
    pub synced_through: Position,
}

/// A batch ready to be written.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// Header, records and padding.
    pub bytes: Bytes,
    /// The header's checksum, which the next batch carries as `previous`.
    pub sum: u32,
}

/// Lays out a batch.
pub(crate) fn encode(heading: Heading, records: &[Record]) -> Sealed {
    let payload_bytes: usize = records.iter().map(Record::encoded_bytes).sum();
    let total = padded(HEADER_BYTES + payload_bytes);
    let mut bytes = Vec::with_capacity(total);
    bytes.put_bytes(0, HEADER_BYTES);
    records.iter().for_each(|record| record.put(&mut bytes));
    assert!(bytes.len() == HEADER_BYTES + payload_bytes);
    let header = Header {
        identity: heading.identity,
        place: heading.place,
        epoch: heading.epoch,
        previous: heading.previous,
        synced_through: heading.synced_through,
        records: u16::try_from(records.len()).expect("the writer bounds records per batch"),
        payload_bytes: u32::try_from(payload_bytes).expect("the writer bounds batches"),
        payload_crc: checksum(&bytes[HEADER_BYTES..]),
    };
    let (head, sum) = header.put();
    bytes[..HEADER_BYTES].copy_from_slice(&head);
    bytes.resize(total, 0);
    Sealed { bytes: bytes.into(), sum }
}

impl Header {
    fn put(&self) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = [0; HEADER_BYTES];
        let mut to = &mut bytes[..];
        to.put_u32_le(MAGIC);
        to.put_u16_le(VERSION);
        to.put_u16_le(self.records);
        to.put_u64_le(self.identity.cluster);
        to.put_u64_le(self.identity.member);
        to.put_u64_le(self.place.segment);
        to.put_u64_le(self.synced_through.0);
        to.put_u32_le(self.place.offset);
        to.put_u32_le(self.payload_bytes);
        to.put_u32_le(self.epoch);
        to.put_u32_le(self.previous);
        to.put_u32_le(self.payload_crc);
        assert!(to.len() == 4);
        let sum = checksum(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
        (bytes, sum)
    }

    /// Reads the header at the front of `bytes` and its checksum. Says nothing of the payload, nor
    /// whether the batch stands where it should.
    pub fn take(bytes: &[u8]) -> Result<(Header, u32), BadHeader> {
        let mut take = Take::new(bytes);
        let magic = take.u32()?;
        if magic != MAGIC {
            return Err(BadHeader::Magic { found: magic });
        }
        let version = take.u16()?;
        if version == 0 || VERSION < version {
            return Err(BadHeader::Version { found: version });
        }
        let records = take.u16()?;
        let identity = Identity { cluster: take.u64()?, member: take.u64()? };
        let segment = take.u64()?;
        let synced_through = Position(take.u64()?);
        let place = Place { segment, offset: take.u32()? };
        let (payload_bytes, epoch) = (take.u32()?, take.u32()?);
        let (previous, payload_crc, sum) = (take.u32()?, take.u32()?, take.u32()?);
        if sum != checksum(&bytes[..HEADER_BYTES - 4]) {
            return Err(BadHeader::Sum);
        }
        let header = Header {
            identity,
            place,
            epoch,
            previous,
            synced_through,
            records,
            payload_bytes,
            payload_crc,
        };
        Ok((header, sum))
    }

    /// Bytes of the batch on disk.
    pub fn batch_bytes(&self) -> u64 {
        padded(HEADER_BYTES + self.payload_bytes as usize) as u64
    }

    /// Whether these bytes, which may be longer, start with the header's own payload.
    pub(crate) fn vouches_for(&self, payload: &[u8]) -> bool {
        payload
            .get(..self.payload_bytes as usize)
            .is_some_and(|payload| checksum(payload) == self.payload_crc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Entry, EntryKind, HardState, Mark, Past};
    use crate::terms::Terms;

    fn heading() -> Heading {
        Heading {
            identity: Identity { cluster: 0x1122_3344_5566_7788, member: 0x99aa_bbcc_ddee_ff00 },
            place: Place { segment: 7, offset: 8192 },
            epoch: 3,
            previous: 0xdead_beef,
            synced_through: Position(7 * (64 << 20) + 4096),
        }
    }

    fn records() -> Vec<Record> {
        let entry = Entry { term: 2, index: 9, kind: EntryKind::Normal, data: "put k v".into() };
        let mut terms = Terms::new(Mark { term: 1, index: 2 });
        terms.push(Mark { term: 2, index: 3 });
        vec![
            Record::Entry(entry),
            Record::HardState(HardState { term: 2, vote: 1, commit: 8 }),
            Record::Mark(Mark { term: 1, index: 5 }),
            Record::Past(Past { terms, segments: vec![(6, 3)] }),
        ]
    }

    #[test]
    fn the_bytes_of_a_batch_never_change() {
        let golden = include_str!("batch.golden");
        let bytes = encode(heading(), &records()).bytes;
        assert_eq!(bytes.len(), 4096);
        let used = HEADER_BYTES + 31 + 32 + 24 + 72;
        assert!(bytes[used..].iter().all(|byte| *byte == 0));
        let lines: Vec<String> = bytes[..used]
            .chunks(16)
            .map(|row| row.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(lines.join("\n"), golden.trim_end());
    }

    #[test]
    fn any_flipped_bit_of_header_or_payload_is_noticed() {
        let batch = encode(heading(), &records());
        let (header, sum) = Header::take(&batch.bytes).unwrap();
        assert_eq!(sum, batch.sum);
        assert_eq!(
            (header.place, header.records, header.batch_bytes()),
            (heading().place, 4, 4096)
        );
        assert!(header.vouches_for(&batch.bytes[HEADER_BYTES..]));
        let used = HEADER_BYTES + header.payload_bytes as usize;
        for bit in 0..used * 8 {
            let mut bytes = batch.bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let sound = Header::take(&bytes)
                .is_ok_and(|(header, _)| header.vouches_for(&bytes[HEADER_BYTES..]));
            assert!(!sound, "bit {bit}");
        }
    }

    #[test]
    fn a_seal_is_one_block() {
        let batch = encode(heading(), &[]);
        let (header, _) = Header::take(&batch.bytes).unwrap();
        assert_eq!((batch.bytes.len(), header.records, header.payload_bytes), (4096, 0, 0));
        assert!(header.vouches_for(&[]));
    }
}
