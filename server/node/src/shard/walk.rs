//! Owns the walk over everything that the store keeps up to a revision: live rows at a point, slice
//! after slice, then the records after them, merged over all slices.
//! Never asks itself; the shard carries its asks. Invariant: records come out in the order of
//! revisions, each once, and at most one page of each slice is in memory.

use std::collections::VecDeque;

use base::{Rev, SliceId};
use bytes::Bytes;
use history::Record;
use slice::{Fields, Item, KeyRange, Prev, RangeEnd, ReadRequest, ReadResult};

/// Bytes of pages that all slices together hold in memory.
const PAGES_BYTES: usize = 1 << 20;
/// Smallest page of one slice.
const PAGE_BYTES_MIN: usize = 16 << 10;
/// Rows of one page.
const PAGE_ROWS: usize = 4096;

/// What a walk passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Live rows at this point come first; `None` for no rows.
    pub rows_at: Option<Rev>,
    /// Main revision of the first record.
    pub from: i64,
    /// Main revision of the last record.
    pub to: i64,
}

/// One thing on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A live row.
    Row(Item),
    /// A change.
    Record(Record),
}

/// The point was compacted away on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactedAway {
    /// The compact revision.
    pub compact: i64,
}

/// A walk under way.
#[derive(Debug)]
pub struct Walk {
    course: Course,
    /// Slices whose rows are still to come; the first one is being read.
    rows_left: VecDeque<SliceId>,
    rows_from: Bytes,
    rows: VecDeque<Item>,
    rows_asked: bool,
    parts: Vec<Part>,
    page_bytes: usize,
}

/// The records of one slice.
#[derive(Debug)]
struct Part {
    slice: SliceId,
    records: VecDeque<Record>,
    state: PartState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartState {
    Owes { from: Rev },
    Asked,
    Finished,
}

impl Walk {
    /// A walk over these slices.
    pub fn new(course: Course, slices: &[SliceId]) -> Walk {
        let state = match course.from <= course.to {
            true => PartState::Owes { from: Rev::new(course.from, 0) },
            false => PartState::Finished,
        };
        let part = |slice: &SliceId| Part { slice: *slice, records: VecDeque::new(), state };
        Walk {
            course,
            rows_left: course.rows_at.iter().flat_map(|_| slices.iter().copied()).collect(),
            rows_from: Bytes::new(),
            rows: VecDeque::new(),
            rows_asked: false,
            parts: slices.iter().map(part).collect(),
            page_bytes: (PAGES_BYTES / slices.len().max(1)).max(PAGE_BYTES_MIN),
        }
    }

    /// Another walk over the same slices.
    pub fn again(&self, course: Course) -> Walk {
        let slices: Vec<SliceId> = self.parts.iter().map(|part| part.slice).collect();
        Walk::new(course, &slices)
    }

    /// Reads that must be done before more comes out. Each is returned once.
    pub fn asks(&mut self) -> Vec<(SliceId, ReadRequest)> {
        if !self.rows.is_empty() || self.rows_asked {
            return Vec::new();
        }
        if let (Some(slice), Some(at)) = (self.rows_left.front(), self.course.rows_at) {
            self.rows_asked = true;
            let request = ReadRequest::Range {
                keys: KeyRange { start: self.rows_from.clone(), end: RangeEnd::Unbounded },
                at,
                limit: PAGE_ROWS,
                limit_bytes: self.page_bytes,
                fields: Fields::WithValues,
            };
            return vec![(*slice, request)];
        }
        let mut asks = Vec::new();
        for part in self.parts.iter_mut().filter(|part| part.records.is_empty()) {
            if let PartState::Owes { from } = part.state {
                part.state = PartState::Asked;
                let request = ReadRequest::History {
                    from,
                    to: self.course.to,
                    keys: Vec::new(),
                    limit_bytes: self.page_bytes,
                    prev: Prev::Unwanted,
                };
                asks.push((part.slice, request));
            }
        }
        asks
    }

    /// Takes a slice's answer.
    pub fn supply(&mut self, slice: SliceId, result: ReadResult) -> Result<(), CompactedAway> {
        match result {
            ReadResult::Range { items, resume } => {
                assert!(self.rows_asked);
                assert_eq!(self.rows_left.front(), Some(&slice), "rows come slice by slice");
                self.rows_asked = false;
                self.rows.extend(items);
                if resume.is_none() {
                    self.rows_left.pop_front();
                }
                self.rows_from = resume.unwrap_or_default();
            }
            ReadResult::History { records, resume } => {
                let part = self.parts.iter_mut().find(|part| part.slice == slice);
                let part = part.expect("only slices of the walk are asked");
                assert_eq!(part.state, PartState::Asked);
                part.records.extend(records);
                part.state = match resume {
                    Some(from) => PartState::Owes { from },
                    None => PartState::Finished,
                };
            }
            ReadResult::Compacted { compact } => return Err(CompactedAway { compact }),
            ReadResult::Count(_) => panic!("a walk never counts"),
        }
        Ok(())
    }

    /// The next thing on the way, if it is known.
    pub fn pop(&mut self) -> Option<Piece> {
        if let Some(row) = self.rows.pop_front() {
            return Some(Piece::Row(row));
        }
        if !self.rows_left.is_empty() {
            return None;
        }
        let mut least: Option<(Rev, usize)> = None;
        for (at, part) in self.parts.iter().enumerate() {
            match part.records.front() {
                None if part.state != PartState::Finished => return None,
                None => {}
                Some(record) if least.is_none_or(|(rev, _)| record.rev < rev) => {
                    least = Some((record.rev, at));
                }
                Some(_) => {}
            }
        }
        let (_, at) = least?;
        self.parts[at].records.pop_front().map(Piece::Record)
    }

    /// Is everything out?
    pub fn finished(&self) -> bool {
        let done = |part: &Part| part.records.is_empty() && part.state == PartState::Finished;
        self.rows.is_empty() && self.rows_left.is_empty() && self.parts.iter().all(done)
    }
}

#[cfg(test)]
mod tests {
    use base::{ChangeKind, Prng, Version};

    use super::*;

    fn row(key: u64) -> Item {
        let version = Version { create: 2, modified: Rev::new(2, 0), version: 1, lease: 0 };
        Item { key: Bytes::from(format!("{key:05}")), version, value: Bytes::new(), value_bytes: 0 }
    }

    fn record(main: i64) -> Record {
        let (key, kind) = (Bytes::from_static(b"k"), ChangeKind::Delete);
        Record { rev: Rev::new(main, 0), key, kind, prev: None, tombstone: None }
    }

    /// What a slice would answer, a few things at a time.
    fn answer(
        dice: &mut Prng,
        rows: &[Item],
        records: &[Record],
        request: ReadRequest,
    ) -> ReadResult {
        let take = 1 + dice.below(7) as usize;
        match request {
            ReadRequest::Range { keys, .. } => {
                let rest: Vec<&Item> = rows.iter().filter(|row| keys.contains(&row.key)).collect();
                let resume = rest.get(take).map(|row| row.key.clone());
                let items = rest.into_iter().take(take).cloned().collect();
                ReadResult::Range { items, resume }
            }
            ReadRequest::History { from, to, .. } => {
                let known = |record: &&Record| from <= record.rev && record.rev.main <= to;
                let rest: Vec<&Record> = records.iter().filter(known).collect();
                let resume = rest.get(take).map(|record| record.rev);
                let records = rest.into_iter().take(take).cloned().collect();
                ReadResult::History { records, resume }
            }
            ReadRequest::Count { .. } => unreachable!("a walk never counts"),
        }
    }

    #[test]
    fn a_walk_passes_all_rows_and_then_all_records_in_order() {
        for seed in 0..100 {
            let mut dice = Prng::from_seed(seed);
            let slices = 1 + dice.below(4) as u16;
            let mut rows = vec![Vec::new(); usize::from(slices)];
            let mut records = vec![Vec::new(); usize::from(slices)];
            for number in 0..dice.below(60) {
                rows[dice.below(u64::from(slices)) as usize].push(row(number));
            }
            let last = 10 + dice.below(60) as i64;
            for main in 3..last + 5 {
                records[dice.below(u64::from(slices)) as usize].push(record(main));
            }
            let ids: Vec<SliceId> = (0..slices).map(SliceId).collect();
            let course = Course { rows_at: Some(Rev::end_of(5)), from: 6, to: last };
            let mut walk = Walk::new(course, &ids);
            let (mut asked, mut out): (Vec<(SliceId, ReadRequest)>, _) = (Vec::new(), Vec::new());
            while !walk.finished() {
                asked.extend(walk.asks());
                if !asked.is_empty() {
                    let at = dice.below(asked.len() as u64) as usize;
                    let (slice, request) = asked.swap_remove(at);
                    let at = usize::from(slice.0);
                    let result = answer(&mut dice, &rows[at], &records[at], request);
                    walk.supply(slice, result).unwrap();
                }
                out.extend(std::iter::from_fn(|| walk.pop()));
            }
            let count: usize = rows.iter().map(Vec::len).sum();
            let mains: Vec<i64> = out[count..]
                .iter()
                .map(|piece| match piece {
                    Piece::Record(record) => record.rev.main,
                    Piece::Row(_) => panic!("a row after a record"),
                })
                .collect();
            assert_eq!(mains, (6..=last).collect::<Vec<i64>>(), "seed {seed}");
        }
    }
}
