//! Owns what a batch carries: entries, hard states and marks, and their bytes.
//! Invariant: whatever is put is taken back equal; bytes we did not write are an error.

use std::collections::VecDeque;

use base::bytes_le::Take;
use base::limits::LOG_ENTRY_BYTES_MAX;
use bytes::{Buf, BufMut, Bytes};

use crate::held::SEGMENTS_MAX;
use crate::terms::{RUNS_MAX, Terms};

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

/// What can be read of the log before this record, so that a start need not read it to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The terms of its entries.
    pub terms: Terms,
    /// The segments that hold them, rising, each with its first entry.
    pub segments: Vec<(u64, u64)>,
}

/// One record of a batch.
///
/// ```text
/// entry       |1|entry kind|0 0|data bytes u32|term u64|index u64|data ...|
/// hard state  |2|0         |0 0|24        u32|term u64|vote u64|commit u64|
/// mark        |3|0         |0 0|16        u32|term u64|index u64|
/// past        |4|0         |0 0|body bytes u32|base term u64|base index u64|last index u64|
///             runs u32|segments u32| term u64, index u64 each| segment u64, index u64 each|
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
    /// What stands before it.
    Past(Past),
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
const PAST: u8 = 4;
const HEAD_BYTES: usize = 8;
pub(crate) const ENTRY_HEAD_BYTES: usize = HEAD_BYTES + 16;
pub(crate) const HARD_STATE_BYTES: usize = HEAD_BYTES + 24;
const PAST_FIXED_BYTES: usize = 32;
/// The longest record of the past.
pub(crate) const PAST_BYTES_MAX: usize =
    HEAD_BYTES + PAST_FIXED_BYTES + 16 * (RUNS_MAX + SEGMENTS_MAX);

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
            Record::Past(past) => HEAD_BYTES + past.body_bytes(),
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
            Record::Past(past) => {
                put_head(to, PAST, 0, past.body_bytes() as u32);
                past.put(to);
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
        (PAST, 0, len) => {
            let past = Past::take(take.bytes(len).ok()?)?;
            Some((Record::Past(past), HEAD_BYTES + len))
        }
        // Numbers from disk, not variants of ours.
        _ => None,
    }
}

impl Past {
    fn body_bytes(&self) -> usize {
        PAST_FIXED_BYTES + 16 * (self.terms.runs().len() + self.segments.len())
    }

    fn put(&self, to: &mut impl BufMut) {
        let base = self.terms.base();
        to.put_u64_le(base.term);
        to.put_u64_le(base.index);
        to.put_u64_le(self.terms.last().index);
        to.put_u32_le(self.terms.runs().len() as u32);
        to.put_u32_le(self.segments.len() as u32);
        for run in self.terms.runs() {
            to.put_u64_le(run.term);
            to.put_u64_le(run.index);
        }
        for (segment, index) in &self.segments {
            to.put_u64_le(*segment);
            to.put_u64_le(*index);
        }
    }

    fn take(body: &[u8]) -> Option<Past> {
        let mut take = Take::new(body);
        let base = Mark { term: take.u64().ok()?, index: take.u64().ok()? };
        let last = take.u64().ok()?;
        let (runs, segments) = (take.u32().ok()? as usize, take.u32().ok()? as usize);
        if RUNS_MAX < runs || SEGMENTS_MAX < segments || take.rest().len() != 16 * (runs + segments)
        {
            return None;
        }
        let mut pair = || Some((take.u64().ok()?, take.u64().ok()?));
        let runs: Option<VecDeque<Mark>> =
            (0..runs).map(|_| pair().map(|(term, index)| Mark { term, index })).collect();
        let segments: Option<Vec<(u64, u64)>> = (0..segments).map(|_| pair()).collect();
        let segments = segments?;
        let rises = segments.windows(2).all(|two| two[0].0 < two[1].0);
        let counted = segments.iter().all(|(segment, index)| 0 < *segment && 0 < *index);
        let terms = Terms::of_runs(base, runs?, last)?;
        (rises && counted).then_some(Past { terms, segments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Prng;
    use bytes::BytesMut;

    fn past(prng: &mut Prng) -> Past {
        let mut terms = Terms::new(Mark { term: prng.below(9), index: prng.below(99) });
        for _ in 0..prng.below(40) {
            let Mark { term, index } = terms.last();
            terms.push(Mark { term: term + prng.below(2), index: index + 1 });
        }
        let first = 1 + prng.below(1 << 40);
        let segments = (first..first + prng.below(9)).map(|n| (n, 1 + prng.below(99))).collect();
        Past { terms, segments }
    }

    fn drawn(prng: &mut Prng) -> Record {
        match prng.below(4) {
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
            2 => Record::Mark(Mark { term: prng.next_u64(), index: prng.next_u64() }),
            _ => Record::Past(past(prng)),
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
