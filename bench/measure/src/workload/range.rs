//! Owns the workload of one range, asked again and again, and the judgement of any range's answer.
//! Invariant: rows are within the range, in order, and no more than the limit.

use bytes::Bytes;
use wire::Method;
use wire::etcdserverpb::{RangeRequest, RangeResponse};
use wire::mvccpb::KeyValue;

use crate::op::{Op, Seen, Wrong, decode, revision};
use crate::workload::{Consistency, Workload};

/// The range.
#[derive(Clone, Debug)]
pub struct RangeOptions {
    /// First key.
    pub key: Bytes,
    /// Behind the last key; empty for `key` alone; one zero byte for no end.
    pub range_end: Bytes,
    /// Rows at most; 0 for all.
    pub limit: i64,
    /// How fresh.
    pub consistency: Consistency,
    /// Only how many there are.
    pub count_only: bool,
    /// Without values.
    pub keys_only: bool,
    /// How many there must be, if the caller knows.
    pub expect_count: Option<i64>,
}

impl RangeOptions {
    /// The request.
    pub fn request(&self) -> RangeRequest {
        RangeRequest {
            key: self.key.clone(),
            range_end: self.range_end.clone(),
            limit: self.limit,
            serializable: self.consistency == Consistency::Serializable,
            count_only: self.count_only,
            keys_only: self.keys_only,
            ..RangeRequest::default()
        }
    }

    /// Holds a count against the one that the caller knows.
    pub(crate) fn check_expected(&self, count: i64) -> Result<(), Wrong> {
        match self.expect_count {
            Some(expected) if expected != count => {
                Err(Wrong(format!("a count of {count}, not of {expected}")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// One range.
#[derive(Debug)]
pub struct Range {
    options: RangeOptions,
    op: Op,
    seen: Seen,
}

impl Range {
    /// One client's reads.
    pub fn new(options: RangeOptions) -> Range {
        let op = Op::new(0, Method::Range, &options.request());
        Range { options, op, seen: Seen::default() }
    }
}

impl Workload for Range {
    fn next(&mut self, _: u64) -> Op {
        self.op.clone()
    }

    fn answered(&mut self, reply: Bytes) -> Result<(), Wrong> {
        let reply: RangeResponse = decode(reply)?;
        match self.options.consistency {
            Consistency::Linearizable => self.seen.read(reply.header.as_ref())?,
            Consistency::Serializable => revision(reply.header.as_ref())?,
        };
        check(&self.options.request(), &reply)?;
        self.options.check_expected(reply.count)
    }
}

/// What holds of every answer to `request`.
pub(crate) fn check(request: &RangeRequest, reply: &RangeResponse) -> Result<(), Wrong> {
    check_count(request, reply.kvs.len() as i64, reply)?;
    check_rows(request, &reply.kvs)
}

/// What holds of the end of an answer that had so many rows.
pub(crate) fn check_count(
    request: &RangeRequest,
    rows: i64,
    reply: &RangeResponse,
) -> Result<(), Wrong> {
    if (0 < request.limit && request.limit < rows) || (request.count_only && rows != 0) {
        return Err(Wrong::new("more rows than asked for"));
    }
    if reply.count < rows || (!request.count_only && !reply.more && reply.count != rows) {
        return Err(Wrong(format!("a count of {} beside {rows} rows", reply.count)));
    }
    Ok(())
}

/// What holds of all rows of an answer.
pub(crate) fn check_rows(request: &RangeRequest, rows: &[KeyValue]) -> Result<(), Wrong> {
    let is_inside = |key: &[u8]| match &request.range_end[..] {
        [] => request.key == key,
        [0] => request.key[..] <= *key,
        end => request.key[..] <= *key && key < end,
    };
    if !rows.iter().all(|kv| is_inside(&kv.key)) {
        return Err(Wrong::new("a row outside of the range"));
    }
    if !rows.is_sorted_by(|one, next| one.key < next.key) {
        return Err(Wrong::new("rows out of order"));
    }
    if request.keys_only && rows.iter().any(|kv| !kv.value.is_empty()) {
        return Err(Wrong::new("a value where keys alone were asked for"));
    }
    Ok(())
}
