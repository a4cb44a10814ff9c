//! Owns the dumb semantics: what a request does to a map.
//! Never fast. Invariant: a request that is refused has changed nothing.

use std::cmp::Ordering;

use bytes::Bytes;
use wire::etcdserverpb as pb;
use wire::mvccpb::KeyValue;

use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request as Part;

use super::Rows;
use crate::ops::{Facts, Op};

/// Does the request at a revision; `None` if the model knows that it is refused.
pub fn apply(op: &Op, rows: &mut Rows, revision: i64) -> Option<Facts> {
    match op {
        Op::Put(put) => Some(do_put(put, rows, revision)),
        Op::Delete(delete) => Some(do_delete(delete, rows)),
        Op::Txn(txn) => Some(do_txn(txn, rows, revision)),
        Op::Revoke(revoke) => {
            let before = rows.len();
            rows.retain(|_, pair| pair.lease != revoke.id);
            (rows.len() < before).then_some(Facts::Done)
        }
        Op::Compact(_) | Op::Grant(_) => None,
    }
}

/// The pairs of a span.
pub fn covered(rows: &Rows, key: &[u8], end: &[u8]) -> Vec<KeyValue> {
    let covers = |found: &[u8]| match end {
        [] => found == key,
        [0] => key <= found,
        _ => key <= found && found < end,
    };
    rows.values().filter(|pair| covers(&pair.key)).cloned().collect()
}

fn do_put(put: &pb::PutRequest, rows: &mut Rows, revision: i64) -> Facts {
    let before = rows.get(&put.key).cloned();
    let pair = KeyValue {
        key: put.key.clone(),
        create_revision: before.as_ref().map_or(revision, |pair| pair.create_revision),
        mod_revision: revision,
        version: before.as_ref().map_or(0, |pair| pair.version) + 1,
        value: put.value.clone(),
        lease: put.lease,
    };
    rows.insert(put.key.clone(), pair);
    Facts::Put(before.filter(|_| put.prev_kv))
}

fn do_delete(delete: &pb::DeleteRangeRequest, rows: &mut Rows) -> Facts {
    let gone: Vec<Bytes> =
        covered(rows, &delete.key, &delete.range_end).into_iter().map(|pair| pair.key).collect();
    gone.iter().for_each(|key| drop(rows.remove(key)));
    Facts::Delete(gone.len() as i64)
}

fn do_txn(txn: &pb::TxnRequest, rows: &mut Rows, revision: i64) -> Facts {
    let succeeded = txn.compare.iter().all(|compare| holds(compare, rows));
    let branch = if succeeded { &txn.success } else { &txn.failure };
    let parts = branch.iter().map(|op| match op.request.as_ref().expect("ops have bodies") {
        Part::RequestPut(put) => do_put(put, rows, revision),
        Part::RequestDeleteRange(delete) => do_delete(delete, rows),
        Part::RequestRange(range) => Facts::Range(covered(rows, &range.key, &range.range_end)),
        Part::RequestTxn(_) => unreachable!("no client here nests transactions"),
    });
    Facts::Txn { succeeded, parts: parts.collect() }
}

fn holds(compare: &pb::Compare, rows: &Rows) -> bool {
    let pair = rows.get(&compare.key);
    let order = match compare.target_union.as_ref().expect("compares have targets") {
        TargetUnion::Version(than) => pair.map_or(0, |pair| pair.version).cmp(than),
        TargetUnion::CreateRevision(than) => pair.map_or(0, |pair| pair.create_revision).cmp(than),
        TargetUnion::ModRevision(than) => pair.map_or(0, |pair| pair.mod_revision).cmp(than),
        TargetUnion::Lease(than) => pair.map_or(0, |pair| pair.lease).cmp(than),
        TargetUnion::Value(than) => match pair {
            Some(pair) => pair.value.cmp(than),
            // No value compares to anything, not even unequal.
            None => return false,
        },
    };
    debug_assert!(compare.target() != CompareTarget::Lease);
    match compare.result() {
        CompareResult::Equal => order == Ordering::Equal,
        CompareResult::Greater => order == Ordering::Greater,
        CompareResult::Less => order == Ordering::Less,
        CompareResult::NotEqual => order != Ordering::Equal,
    }
}
