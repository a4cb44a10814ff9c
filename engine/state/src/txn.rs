//! Owns transactions: which branches run, whether they can, and running them. Decides everything
//! on the state before, then changes without a way to fail.
//! Invariant: either every operation of the branches taken is done, all in one main revision, or
//! none is.
//!
//! ```text
//!   decide  compares of all nesting levels, on the state before  -> Path, or values needed
//!   check   puts along the path, then ranges along the path      -> the first error
//!   run     operations along the path, each sees the ones before -> TxnPlan, changes
//! ```

use std::collections::BTreeSet;

use base::Rev;
use bytes::Bytes;
use wire::ApiError;
use wire::etcdserverpb::request_op::Request;
use wire::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};

use crate::compare::{self, Verdict};
use crate::outcome::{DeletePlan, KeyRead, OpPlan, PutPlan, RangePlan, RangeRead, TxnPlan};
use crate::span::Span;
use crate::store::{NewPair, Store, Writer};
use crate::validate;
use crate::values::{ValueAsk, ValueNeed, Values};

/// The branches taken by a transaction and by those nested in its branch, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    succeeded: bool,
    nested: Vec<Path>,
}

/// Values that must be known before anything is changed.
pub(crate) type Needs = BTreeSet<ValueNeed>;

impl Path {
    fn branch<'r>(&self, request: &'r TxnRequest) -> &'r [RequestOp] {
        if self.succeeded { &request.success } else { &request.failure }
    }
}

/// Chooses the branches. `None` if values are needed, which then are all in `needs`: those of
/// every branch that could still be taken, so that one round of fetching is enough.
pub(crate) fn decide(
    store: &Store,
    request: &TxnRequest,
    values: &Values,
    needs: &mut Needs,
) -> Option<Path> {
    let succeeded = match compare::all(store, &request.compare, values) {
        Verdict::Holds => true,
        Verdict::Fails => false,
        Verdict::Needs(more) => {
            needs.extend(more);
            let _ = decide_nested(store, &request.success, values, needs);
            let _ = decide_nested(store, &request.failure, values, needs);
            return None;
        }
    };
    let taken = if succeeded { &request.success } else { &request.failure };
    let nested = decide_nested(store, taken, values, needs)?;
    Some(Path { succeeded, nested })
}

fn decide_nested(
    store: &Store,
    ops: &[RequestOp],
    values: &Values,
    needs: &mut Needs,
) -> Option<Vec<Path>> {
    let mut nested = Some(Vec::new());
    for op in ops {
        match &op.request {
            Some(Request::RequestTxn(request)) => {
                let path = decide(store, request, values, needs);
                nested = nested.zip(path).map(|(mut paths, path)| {
                    paths.push(path);
                    paths
                });
            }
            Some(Request::RequestPut(put)) => {
                if let Some(need) = kept_value_need(store, put, values) {
                    needs.insert(need);
                    nested = None;
                }
            }
            Some(Request::RequestRange(_) | Request::RequestDeleteRange(_)) | None => {}
        }
    }
    nested
}

/// The value that a put wants to keep, unless it is known or there is none.
pub(crate) fn kept_value_need(
    store: &Store,
    put: &PutRequest,
    values: &Values,
) -> Option<ValueNeed> {
    let need = kept_value(store, put)?;
    values.value(&need).is_none().then_some(need)
}

fn kept_value(store: &Store, put: &PutRequest) -> Option<ValueNeed> {
    let keeps = put.ignore_value && store.head.find(&put.key).is_some();
    let span = Span::Key(put.key.clone());
    keeps.then(|| ValueNeed { span, at: store.now(), ask: ValueAsk::Value })
}

/// Whether a transaction that writes can run along its path. As in etcd 3.5, puts are checked
/// before ranges, wherever they stand. (Later sources check in one pass; which of two errors a
/// request with both gets is all that differs.)
pub(crate) fn check(store: &Store, request: &TxnRequest, path: &Path) -> Result<(), ApiError> {
    check_puts(store, request, path)?;
    check_ranges(store, request, path)?;
    check_kept(request, path, &mut None)
}

fn check_puts(store: &Store, request: &TxnRequest, path: &Path) -> Result<(), ApiError> {
    let mut nested = path.nested.iter();
    for op in path.branch(request) {
        match &op.request {
            Some(Request::RequestPut(put)) => {
                validate::put(put)?;
                check_keeps(store, put)?;
                check_lease(store, put)?;
            }
            Some(Request::RequestTxn(inner)) => check_puts(store, inner, next(&mut nested))?,
            Some(Request::RequestRange(_) | Request::RequestDeleteRange(_)) => {}
            None => return Err(ApiError::KeyNotFound),
        }
    }
    Ok(())
}

/// Whether a put of its own can be done. What was refused before the log is refused again, so
/// that no entry can stop a member.
pub(crate) fn check_put(store: &Store, put: &PutRequest) -> Result<(), ApiError> {
    validate::put(put)?;
    check_lease(store, put)?;
    check_keeps(store, put)
}

fn check_lease(store: &Store, put: &PutRequest) -> Result<(), ApiError> {
    let found = put.lease == 0 || store.leases.contains(put.lease);
    if found { Ok(()) } else { Err(ApiError::LeaseNotFound) }
}

fn check_keeps(store: &Store, put: &PutRequest) -> Result<(), ApiError> {
    let found = !keeps(put) || store.head.find(&put.key).is_some();
    if found { Ok(()) } else { Err(ApiError::KeyNotFound) }
}

fn keeps(put: &PutRequest) -> bool {
    put.ignore_value || put.ignore_lease
}

/// Whether the ranges along the path can be read. Unlike a range of its own, one inside a txn at
/// a negative revision is compacted if it is below the mark (etcd).
pub(crate) fn check_ranges(
    store: &Store,
    request: &TxnRequest,
    path: &Path,
) -> Result<(), ApiError> {
    let mut nested = path.nested.iter();
    for op in path.branch(request) {
        match &op.request {
            Some(Request::RequestRange(range)) if range.revision == 0 => {}
            Some(Request::RequestRange(range)) if range.revision > store.revision => {
                return Err(ApiError::FutureRevision);
            }
            Some(Request::RequestRange(range)) if range.revision < store.compacted => {
                return Err(ApiError::Compacted);
            }
            Some(Request::RequestTxn(inner)) => check_ranges(store, inner, next(&mut nested))?,
            Some(
                Request::RequestRange(_) | Request::RequestPut(_) | Request::RequestDeleteRange(_),
            )
            | None => {}
        }
    }
    Ok(())
}

/// Nothing can be kept of a key that the path deletes before (where etcd stops the process).
/// `gone` is the lowest key from which on everything was deleted: other deletes never meet a put
/// (`overlap.rs`).
fn check_kept<'r>(
    request: &'r TxnRequest,
    path: &Path,
    gone: &mut Option<&'r Bytes>,
) -> Result<(), ApiError> {
    let mut nested = path.nested.iter();
    for op in path.branch(request) {
        match &op.request {
            Some(Request::RequestPut(put))
                if keeps(put) && gone.is_some_and(|start| *start <= put.key) =>
            {
                return Err(ApiError::KeyNotFound);
            }
            Some(Request::RequestDeleteRange(delete)) if delete.range_end.as_ref() == [0] => {
                *gone = Some(gone.map_or(&delete.key, |start| start.min(&delete.key)));
            }
            Some(Request::RequestTxn(inner)) => check_kept(inner, next(&mut nested), gone)?,
            Some(
                Request::RequestRange(_) | Request::RequestPut(_) | Request::RequestDeleteRange(_),
            )
            | None => {}
        }
    }
    Ok(())
}

/// Runs a checked transaction that may write.
pub(crate) fn run(
    writer: &mut Writer<'_>,
    request: &TxnRequest,
    path: &Path,
    values: &Values,
) -> TxnPlan {
    let mut nested = path.nested.iter();
    let mut ops = Vec::with_capacity(path.branch(request).len());
    for op in path.branch(request) {
        ops.push(match &op.request {
            Some(Request::RequestRange(range)) => {
                OpPlan::Range(plan_range(range, writer.now(), writer.revision()))
            }
            Some(Request::RequestPut(put)) => OpPlan::Put(run_put(writer, put, values)),
            Some(Request::RequestDeleteRange(delete)) => {
                OpPlan::DeleteRange(run_delete(writer, delete))
            }
            Some(Request::RequestTxn(inner)) => {
                OpPlan::Txn(run(writer, inner, next(&mut nested), values))
            }
            None => unreachable!("refused by the check"),
        });
    }
    TxnPlan { revision: writer.revision(), succeeded: path.succeeded, ops }
}

/// Plans a checked transaction that only reads.
pub(crate) fn plan(store: &Store, request: &TxnRequest, path: &Path) -> TxnPlan {
    let plan = |op: &RequestOp| match &op.request {
        Some(Request::RequestRange(range)) => {
            OpPlan::Range(plan_range(range, store.now(), store.revision))
        }
        Some(Request::RequestPut(_) | Request::RequestDeleteRange(_) | Request::RequestTxn(_))
        | None => unreachable!("not a transaction that only reads"),
    };
    let ops = path.branch(request).iter().map(plan).collect();
    TxnPlan { revision: store.revision, succeeded: path.succeeded, ops }
}

/// Does a put that was checked and whose kept value is known.
pub(crate) fn run_put(writer: &mut Writer<'_>, put: &PutRequest, values: &Values) -> PutPlan {
    let before = writer.store().head.get(&put.key);
    let lease = match before {
        Some(before) if put.ignore_lease => before.lease,
        Some(_) | None => put.lease,
    };
    let value = if put.ignore_value { kept(writer, put, values) } else { put.value.clone() };
    let asked = put.prev_kv && before.is_some();
    let prev = asked.then(|| KeyRead { key: put.key.clone(), at: writer.now() });
    writer.put(NewPair { key: put.key.clone(), value, lease });
    PutPlan { revision: writer.revision(), prev }
}

/// Does a delete.
pub(crate) fn run_delete(writer: &mut Writer<'_>, delete: &DeleteRangeRequest) -> DeletePlan {
    let span = Span::of(&delete.key, &delete.range_end);
    let at = writer.now();
    let deleted = writer.delete(&span);
    let asked = delete.prev_kv && deleted > 0;
    let prev = asked.then_some(RangeRead { span, at });
    DeletePlan { revision: writer.revision(), deleted, prev }
}

fn plan_range(range: &RangeRequest, now: Rev, revision: i64) -> RangePlan {
    let at = if range.revision > 0 { Rev::end_of(range.revision) } else { now };
    RangePlan { revision, request: range.clone(), at }
}

fn kept(writer: &Writer<'_>, put: &PutRequest, values: &Values) -> Bytes {
    let span = Span::Key(put.key.clone());
    let need = ValueNeed { span, at: writer.before(), ask: ValueAsk::Value };
    let value = values.value(&need);
    value.unwrap_or_else(|| unreachable!("fetched before anything was changed")).clone()
}

fn next<'p>(nested: &mut std::slice::Iter<'p, Path>) -> &'p Path {
    nested.next().unwrap_or_else(|| unreachable!("one path for each nested transaction"))
}
