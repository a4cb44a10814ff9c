//! Owns what a batch carries: entries, hard states and marks, and their bytes.
//! Invariant: whatever is put is taken back equal; bytes we did not write are an error.

use base::bytes_le::Take;
use base::limits::LOG_ENTRY_BYTES_MAX;
use bytes::{Buf, BufMut, Bytes};

/// What an entry means to the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Data of the proposer; empty for the entry that opens a leader's term.
    Normal,
    /// A membership change of one step.
    Change,
    /// A membership change through a joint configuration.
    ChangeV2,
}

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Term of the leader that made it.
    pub term: u64,
    /// Its number in the log, from 1, without gaps.
    pub index: u64,
    /// What it means.
    pub kind: EntryKind,
    /// What was proposed.
    pub data: Bytes,
}

/// What Raft must not forget besides entries. A later one replaces all earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HardState {
    /// Current term.
    pub term: u64,
    /// Who got this member's vote in that term; 0 for nobody.
    pub vote: u64,
    /// Highest index known to be committed. May lag.
    pub commit: u64,
}

impl HardState {
    /// Before anything happened.
    pub const START: HardState = HardState { term: 0, vote: 0, commit: 0 };
}

/// The log starts over after this entry: a snapshot that ends here was installed, and what stood
/// in the log before does not belong to what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Term of the last entry that the store already holds.
    pub term: u64,
    /// Index of that entry.
    pub index: u64,
}

/// One record of a batch.
///
/// ```text
/// entry       |1|entry kind|0 0|data bytes u32|term u64|index u64|data ...|
/// hard state  |2|0         |0 0|24        u32|term u64|vote u64|commit u64|
/// mark        |3|0         |0 0|16        u32|term u64|index u64|
/// ```
/// The u32 is the number of data bytes in an entry and of body bytes in the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An entry.
    Entry(Entry),
    /// A hard state.
    HardState(HardState),
    /// A new start.
    Mark(Mark),
}

/// Checked bytes that are no record of ours: a newer program's, or our mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Its first byte, if there was one.
    pub kind: Option<u8>,
}

const ENTRY: u8 = 1;
const HARD_STATE: u8 = 2;
const MARK: u8 = 3;
const HEAD_BYTES: usize = 8;
pub(crate) const ENTRY_HEAD_BYTES: usize = HEAD_BYTES + 16;
pub(crate) const HARD_STATE_BYTES: usize = HEAD_BYTES + 24;

impl EntryKind {
    fn code(self) -> u8 {
        match self {
            EntryKind::Normal => 0,
            EntryKind::Change => 1,
            EntryKind::ChangeV2 => 2,
        }
    }

    fn of(code: u8) -> Option<EntryKind> {
        match code {
            0 => Some(EntryKind::Normal),
            1 => Some(EntryKind::Change),
            2 => Some(EntryKind::ChangeV2),
            3.. => None,
        }
    }
}

impl Record {
    /// Bytes it takes in a batch.
    pub fn encoded_bytes(&self) -> usize {
        match self {
            Record::Entry(entry) => ENTRY_HEAD_BYTES + entry.data.len(),
            Record::HardState(_) => HARD_STATE_BYTES,
            Record::Mark(_) => HEAD_BYTES + 16,
        }
    }

    /// Writes it.
    pub(crate) fn put(&self, to: &mut impl BufMut) {
        match self {
            Record::Entry(entry) => {
                assert!(entry.data.len() <= LOG_ENTRY_BYTES_MAX);
                put_head(to, ENTRY, entry.kind.code(), entry.data.len() as u32);
                to.put_u64_le(entry.term);
                to.put_u64_le(entry.index);
                to.put_slice(&entry.data);
            }
            Record::HardState(state) => {
                put_head(to, HARD_STATE, 0, 24);
                to.put_u64_le(state.term);
                to.put_u64_le(state.vote);
                to.put_u64_le(state.commit);
            }
            Record::Mark(mark) => {
                put_head(to, MARK, 0, 16);
                to.put_u64_le(mark.term);
                to.put_u64_le(mark.index);
            }
        }
    }

    /// Takes the next record off the records of a batch, or says that they are none of ours. An
    /// entry's data stays a view of the same memory.
    pub fn take(payload: &mut Bytes) -> Result<Record, BadRecord> {
        let bad = BadRecord { kind: payload.first().copied() };
        let (record, used) = parse(payload).ok_or(bad)?;
        payload.advance(used);
        Ok(record)
    }
}

fn put_head(to: &mut impl BufMut, kind: u8, detail: u8, len: u32) {
    to.put_u8(kind);
    to.put_u8(detail);
    to.put_u16_le(0);
    to.put_u32_le(len);
}

fn parse(payload: &Bytes) -> Option<(Record, usize)> {
    let mut take = Take::new(payload);
    let (kind, detail) = (take.u8().ok()?, take.u8().ok()?);
    let (zero, len) = (take.u16().ok()?, take.u32().ok()? as usize);
    if zero != 0 {
        return None;
    }
    match (kind, detail, len) {
        (ENTRY, code, len) if len <= LOG_ENTRY_BYTES_MAX => {
            let kind = EntryKind::of(code)?;
            let (term, index) = (take.u64().ok()?, take.u64().ok()?);
            take.bytes(len).ok()?;
            let data = payload.slice(ENTRY_HEAD_BYTES..ENTRY_HEAD_BYTES + len);
            Some((Record::Entry(Entry { term, index, kind, data }), ENTRY_HEAD_BYTES + len))
        }
        (HARD_STATE, 0, 24) => {
            let (term, vote, commit) = (take.u64().ok()?, take.u64().ok()?, take.u64().ok()?);
            Some((Record::HardState(HardState { term, vote, commit }), HARD_STATE_BYTES))
        }
        (MARK, 0, 16) => {
            let (term, index) = (take.u64().ok()?, take.u64().ok()?);
            Some((Record::Mark(Mark { term, index }), HEAD_BYTES + 16))
        }
        // Numbers from disk, not variants of ours.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Prng;
    use bytes::BytesMut;

    fn drawn(prng: &mut Prng) -> Record {
        match prng.below(3) {
            0 => {
                let mut data = vec![0; prng.below(300) as usize];
                prng.fill(&mut data);
                let kind = *prng.pick(&[EntryKind::Normal, EntryKind::Change, EntryKind::ChangeV2]);
                let (term, index) = (prng.next_u64(), prng.next_u64());
                Record::Entry(Entry { term, index, kind, data: data.into() })
            }
            1 => Record::HardState(HardState {
                term: prng.next_u64(),
                vote: prng.next_u64(),
                commit: prng.next_u64(),
            }),
            _ => Record::Mark(Mark { term: prng.next_u64(), index: prng.next_u64() }),
        }
    }

    #[test]
    fn what_is_put_is_taken_back_equal() {
        let mut prng = Prng::from_seed(11);
        for _ in 0..200 {
            let records: Vec<Record> = (0..prng.below(20)).map(|_| drawn(&mut prng)).collect();
            let mut bytes = BytesMut::new();
            records.iter().for_each(|record| record.put(&mut bytes));
            assert_eq!(bytes.len(), records.iter().map(Record::encoded_bytes).sum::<usize>());
            let mut payload = bytes.freeze();
            for record in &records {
                assert_eq!(Record::take(&mut payload).as_ref(), Ok(record));
            }
            assert!(payload.is_empty());
        }
    }

    #[test]
    fn cut_or_foreign_bytes_are_an_error_and_never_a_panic() {
        let mut prng = Prng::from_seed(12);
        for _ in 0..2000 {
            let mut bytes = BytesMut::new();
            drawn(&mut prng).put(&mut bytes);
            let cut = prng.below(bytes.len() as u64) as usize;
            assert!(Record::take(&mut bytes.clone().freeze().slice(..cut)).is_err());
            let mut noise = vec![0; prng.below(64) as usize];
            prng.fill(&mut noise);
            let _ = Record::take(&mut Bytes::from(noise));
        }
    }
}
