//! Owns the checks of a request that need no state: they are made where it arrives, before the
//! log, in etcd's order, so that the first wrong thing gives etcd's error.
//! Invariant: what passes here can be decided by the sequencer without a panic.

use base::Prng;
use wire::ApiError;
use wire::etcdserverpb::range_request::{SortOrder, SortTarget};
use wire::etcdserverpb::request_op::Request;
use wire::etcdserverpb::{
    DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

use std::time::Duration;

use crate::leases::{LEASE_TTL_S_MAX, Leases};
use crate::overlap;

#[cfg(test)]
mod tests;

/// A range: a key, and sort options that exist.
pub fn range(request: &RangeRequest) -> Result<(), ApiError> {
    if request.key.is_empty() {
        return Err(ApiError::EmptyKey);
    }
    let order = SortOrder::try_from(request.sort_order);
    let target = SortTarget::try_from(request.sort_target);
    if order.is_err() || target.is_err() { Err(ApiError::InvalidSortOption) } else { Ok(()) }
}

/// A put: a key, and no value or lease together with the wish to keep the old one.
pub fn put(request: &PutRequest) -> Result<(), ApiError> {
    if request.key.is_empty() {
        return Err(ApiError::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(ApiError::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(ApiError::LeaseProvided);
    }
    Ok(())
}

/// A delete: a key.
pub fn delete_range(request: &DeleteRangeRequest) -> Result<(), ApiError> {
    if request.key.is_empty() { Err(ApiError::EmptyKey) } else { Ok(()) }
}

/// A transaction of at most `ops_max` entries in each of its lists: sizes, keys and operations
/// first, the success branch before the failure branch, then keys that are changed twice.
pub fn txn(request: &TxnRequest, ops_max: u32) -> Result<(), ApiError> {
    shape(request, ops_max as usize)?;
    overlap::check(&request.success)?;
    overlap::check(&request.failure)?;
    Ok(())
}

/// Any request on its way through the log: its encoded size.
pub fn size(request_bytes: usize, request_bytes_max: u32) -> Result<(), ApiError> {
    if request_bytes > request_bytes_max as usize { Err(ApiError::RequestTooLarge) } else { Ok(()) }
}

/// Shortest time that a lease can have, in seconds: one and a half election timeouts, rounded up.
pub fn lease_ttl_s_min(election_timeout: Duration) -> i64 {
    let ms = election_timeout.as_millis() * 3 / 2;
    i64::try_from(ms.div_ceil(1000)).unwrap_or(LEASE_TTL_S_MAX)
}

/// Settles what a member's settings and dice decide about a grant, before it enters the log, so
/// that every member computes the same: a free positive id for id 0, and the shortest TTL.
/// Returns the request to log; the reply shows what it holds.
pub fn settle_lease_grant(
    request: &LeaseGrantRequest,
    ttl_s_min: i64,
    leases: &Leases,
    dice: &mut Prng,
) -> LeaseGrantRequest {
    let mut settled = *request;
    while settled.id == 0 || (request.id == 0 && leases.contains(settled.id)) {
        settled.id = (dice.next_u64() >> 1).cast_signed();
    }
    settled.ttl = settled.ttl.max(ttl_s_min);
    settled
}

/// Whether a transaction only reads, and so does not go through the log. As in etcd, one with a
/// nested transaction never counts as reading only.
pub fn is_read_only(request: &TxnRequest) -> bool {
    ops(request).all(|op| matches!(op.request, Some(Request::RequestRange(_))))
}

/// Whether a transaction that only reads may be answered from local state.
pub fn is_serializable(request: &TxnRequest) -> bool {
    ops(request).all(|op| match &op.request {
        Some(Request::RequestRange(range)) => range.serializable,
        Some(Request::RequestPut(_) | Request::RequestDeleteRange(_) | Request::RequestTxn(_))
        | None => false,
    })
}

fn ops(request: &TxnRequest) -> impl Iterator<Item = &RequestOp> {
    request.success.iter().chain(&request.failure)
}

fn shape(request: &TxnRequest, ops_max: usize) -> Result<(), ApiError> {
    let longest = request.compare.len().max(request.success.len()).max(request.failure.len());
    if longest > ops_max {
        return Err(ApiError::TooManyOps);
    }
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(ApiError::EmptyKey);
    }
    ops(request).try_for_each(|op| match &op.request {
        Some(Request::RequestRange(request)) => range(request),
        Some(Request::RequestPut(request)) => put(request),
        Some(Request::RequestDeleteRange(request)) => delete_range(request),
        Some(Request::RequestTxn(request)) => shape(request, ops_max - longest),
        None => Err(ApiError::KeyNotFound),
    })
}
