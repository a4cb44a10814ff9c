//! Owns the rule that one branch of a transaction changes a key at most once: no two puts of it,
//! and no put of a key that the branch also deletes, nested transactions included. Deletes may
//! overlap, and the two branches of a nested transaction may repeat each other. As in etcd, which
//! takes the end of "from this key on" for a small key here, such a delete meets no put.
//! Invariant: the work is O(n log² n) in the operations, however they are nested: sets are merged
//! the smaller into the larger, since a hostile client picks the shape.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use wire::ApiError;
use wire::etcdserverpb::request_op::Request;
use wire::etcdserverpb::{DeleteRangeRequest, RequestOp};

/// Checks one branch.
pub(crate) fn check(ops: &[RequestOp]) -> Result<(), ApiError> {
    touched(ops).map(|_| ())
}

/// What a branch changes.
#[derive(Default)]
struct Touched<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Spans<'a>,
}

fn touched(ops: &[RequestOp]) -> Result<Touched<'_>, ApiError> {
    let mut all = Touched::default();
    for op in ops {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            all.deletes.add(delete);
        }
    }
    // A nested transaction's puts meet this level's deletes and those of its elder siblings;
    // that a younger sibling may delete them is etcd's rule too.
    for op in ops {
        if let Some(Request::RequestTxn(txn)) = &op.request {
            let (success, failure) = (touched(&txn.success)?, touched(&txn.failure)?);
            all.meets(&success)?;
            all.meets(&failure)?;
            all.absorb(success);
            all.absorb(failure);
        }
    }
    for op in ops {
        if let Some(Request::RequestPut(put)) = &op.request {
            let key = put.key.as_ref();
            if all.deletes.contains(key) || !all.puts.insert(key) {
                return Err(ApiError::DuplicateKey);
            }
        }
    }
    Ok(all)
}

impl<'a> Touched<'a> {
    fn meets(&self, nested: &Touched<'a>) -> Result<(), ApiError> {
        let (few, many) = if self.puts.len() < nested.puts.len() {
            (&self.puts, &nested.puts)
        } else {
            (&nested.puts, &self.puts)
        };
        if few.iter().any(|key| many.contains(key)) || self.deletes.meets(&nested.puts) {
            return Err(ApiError::DuplicateKey);
        }
        Ok(())
    }

    fn absorb(&mut self, mut nested: Touched<'a>) {
        if self.puts.len() < nested.puts.len() {
            std::mem::swap(&mut self.puts, &mut nested.puts);
        }
        // Not `append`, which rebuilds the larger set too.
        self.puts.extend(nested.puts);
        if self.deletes.by_start.len() < nested.deletes.by_start.len() {
            std::mem::swap(&mut self.deletes, &mut nested.deletes);
        }
        for (start, end) in nested.deletes.by_start {
            self.deletes.join(start, end);
        }
    }
}

/// Where a span ends. Ordered by how far it reaches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct End<'a> {
    key: &'a [u8],
    side: Side,
}

/// Whether the end itself is outside the span, or its last key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Before,
    At,
}

/// Spans that do not overlap, by their starts.
#[derive(Default)]
struct Spans<'a> {
    by_start: BTreeMap<&'a [u8], End<'a>>,
}

impl<'a> Spans<'a> {
    fn add(&mut self, delete: &'a DeleteRangeRequest) {
        let start = delete.key.as_ref();
        match delete.range_end.as_ref() {
            [] => self.join(start, End { key: start, side: Side::At }),
            end if start < end => self.join(start, End { key: end, side: Side::Before }),
            _ => {} // Nothing is in it, or it goes on without end.
        }
    }

    fn join(&mut self, mut start: &'a [u8], mut end: End<'a>) {
        if let Some((&left, &left_end)) = self.by_start.range(..=start).next_back()
            && reaches(left_end, start)
        {
            start = left;
            end = end.max(left_end);
        }
        // Each span swallowed here is gone for good, so this is O(log n) amortized.
        while let Some((&right, &right_end)) = self.by_start.range(start..).next() {
            if right != start && !reaches(end, right) {
                break;
            }
            end = end.max(right_end);
            self.by_start.remove(right);
        }
        self.by_start.insert(start, end);
    }

    fn contains(&self, key: &[u8]) -> bool {
        let mut left = self.by_start.range::<[u8], _>((Bound::Unbounded, Bound::Included(key)));
        left.next_back().is_some_and(|(_, end)| reaches(*end, key))
    }

    fn meets(&self, keys: &BTreeSet<&'a [u8]>) -> bool {
        if keys.len() < self.by_start.len() {
            return keys.iter().any(|key| self.contains(key));
        }
        self.by_start.iter().any(|(start, end)| {
            let first = keys.range::<[u8], _>((Bound::Included(*start), Bound::Unbounded)).next();
            first.is_some_and(|key| reaches(*end, key))
        })
    }
}

/// Whether a span that starts at or before the key and ends there contains the key.
fn reaches(end: End<'_>, key: &[u8]) -> bool {
    match end.side {
        Side::At => key <= end.key,
        Side::Before => key < end.key,
    }
}
