//! Owns the merge of one range over all slices: which slice owes more rows, and which row is next.
//! Never reads anything itself. Invariant: rows come out in key order, each once, and none is let
//! out while a slice that might hold a smaller key has not answered.

use std::collections::VecDeque;

use base::SliceId;
use bytes::Bytes;

/// One live key at the point that was read.
pub use slice::Item as Row;

/// A merge in progress.
#[derive(Debug)]
pub struct Merge {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    slice: SliceId,
    rows: VecDeque<Row>,
    state: PartState,
}

#[derive(Debug, PartialEq, Eq)]
enum PartState {
    /// Rows from this key on have not been asked for; `None` is the start of the range.
    Owes {
        from: Option<Bytes>,
    },
    Asked,
    Finished,
}

/// A question that a slice should be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Whom to ask.
    pub slice: SliceId,
    /// Where to go on; `None` is the start of the range.
    pub from: Option<Bytes>,
}

impl Merge {
    /// A merge over these slices.
    pub fn new(slices: impl Iterator<Item = SliceId>) -> Merge {
        let state = || PartState::Owes { from: None };
        let part = |slice| Part { slice, rows: VecDeque::new(), state: state() };
        Merge { parts: slices.map(part).collect() }
    }

    /// The slices whose rows ran out and that may hold more. Each is returned once.
    pub fn wants(&mut self) -> Vec<Want> {
        let mut wants = Vec::new();
        for part in self.parts.iter_mut().filter(|part| part.rows.is_empty()) {
            match std::mem::replace(&mut part.state, PartState::Asked) {
                PartState::Owes { from } => wants.push(Want { slice: part.slice, from }),
                other @ (PartState::Asked | PartState::Finished) => part.state = other,
            }
        }
        wants
    }

    /// Takes a slice's answer; `resume` tells where it goes on, `None` that it is finished.
    pub fn supply(&mut self, slice: SliceId, rows: Vec<Row>, resume: Option<Bytes>) {
        let part = self.parts.iter_mut().find(|part| part.slice == slice);
        let part = part.expect("only slices of the merge are asked");
        assert_eq!(part.state, PartState::Asked);
        part.rows.extend(rows);
        part.state = match resume {
            Some(from) => PartState::Owes { from: Some(from) },
            None => PartState::Finished,
        };
    }

    /// The next row in key order, if it is known.
    pub fn pop(&mut self) -> Option<Row> {
        let mut least: Option<usize> = None;
        for (at, part) in self.parts.iter().enumerate() {
            match part.rows.front() {
                None if part.state != PartState::Finished => return None,
                None => {}
                Some(row) => {
                    let smaller = |best: usize| row.key < self.parts[best].rows[0].key;
                    if least.is_none_or(smaller) {
                        least = Some(at);
                    }
                }
            }
        }
        least.and_then(|at| self.parts[at].rows.pop_front())
    }

    /// True when every slice is finished and every row is out.
    pub fn finished(&self) -> bool {
        self.parts.iter().all(|part| part.rows.is_empty() && part.state == PartState::Finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Prng, Rev, Version};

    fn row(key: u64) -> Row {
        let version = Version { create: 2, modified: Rev::new(2, 0), version: 1, lease: 0 };
        Row { key: Bytes::from(format!("{key:06}")), version, value: Bytes::new(), value_bytes: 0 }
    }

    #[test]
    fn a_merge_of_pieces_in_any_order_is_the_sorted_whole() {
        for seed in 0..200 {
            let mut dice = Prng::from_seed(seed);
            let slices = 1 + dice.below(5) as u16;
            let mut of = vec![Vec::new(); usize::from(slices)];
            for key in 0..dice.below(200) {
                of[dice.below(u64::from(slices)) as usize].push(row(key));
            }
            let mut merge = Merge::new((0..slices).map(SliceId));
            let mut asked: Vec<Want> = Vec::new();
            let mut out = Vec::new();
            while !merge.finished() {
                asked.extend(merge.wants());
                if !asked.is_empty() {
                    let want = asked.swap_remove(dice.below(asked.len() as u64) as usize);
                    let rows = &of[usize::from(want.slice.0)];
                    let from = want.from.unwrap_or_default();
                    let rest: Vec<Row> =
                        rows.iter().filter(|row| row.key >= from).cloned().collect();
                    let size = (1 + dice.below(20) as usize).min(rest.len());
                    let resume = rest.get(size).map(|row| row.key.clone());
                    merge.supply(want.slice, rest[..size].to_vec(), resume);
                }
                while let Some(row) = merge.pop() {
                    out.push(row);
                }
            }
            let mut all: Vec<Row> = of.concat();
            all.sort_by(|a, b| a.key.cmp(&b.key));
            assert_eq!(out, all, "seed {seed}");
        }
    }
}
