//! Owns what a request costs and whether the store has room for it. Local to the serving member:
//! store sizes differ between members, so nothing here may enter the log except the alarm.
//! Never measures: it is told the store's size.
//! Invariant: what frees space (deletes, compaction, clearing an alarm) costs nothing and is always
//! admitted.

use wire::etcdserverpb::request_op::Request;
use wire::etcdserverpb::{
    AlarmRequest, AlarmType, PutRequest, RequestOp, TxnRequest, alarm_request,
};

/// What a key-value pair costs besides its bytes (etcd).
const PAIR_OVERHEAD_BYTES: u64 = 256;
/// What granting a lease costs (etcd).
pub const LEASE_COST_BYTES: u64 = 64;

/// How large the store may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Any size.
    Unlimited,
    /// Requests that would reach this many bytes are refused.
    Bytes(u64),
}

/// Whether a request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// It may.
    Admitted,
    /// Refuse it with `NoSpace` and raise this member's alarm ([`raise_no_space`]).
    Full,
}

impl Quota {
    /// Reads `--quota-backend-bytes`: 0 is the default, a negative number is no quota (etcd).
    pub fn of_flag(bytes: i64) -> Quota {
        match u64::try_from(bytes) {
            Ok(0) => Quota::Bytes(base::limits::QUOTA_BYTES_DEFAULT),
            Ok(bytes) => Quota::Bytes(bytes),
            Err(_) => Quota::Unlimited,
        }
    }

    /// Decides whether a request of this cost fits a store of this size.
    pub fn admit(self, store_bytes: u64, cost_bytes: u64) -> Admit {
        match self {
            Quota::Unlimited => Admit::Admitted,
            Quota::Bytes(_) if cost_bytes == 0 => Admit::Admitted,
            Quota::Bytes(limit) if store_bytes.saturating_add(cost_bytes) < limit => {
                Admit::Admitted
            }
            Quota::Bytes(_) => Admit::Full,
        }
    }
}

/// What a put may add to the store.
pub fn put_cost_bytes(request: &PutRequest) -> u64 {
    PAIR_OVERHEAD_BYTES + request.key.len() as u64 + request.value.len() as u64
}

/// What the dearer branch of a transaction may add to the store.
pub fn txn_cost_bytes(request: &TxnRequest) -> u64 {
    let branch = |ops: &[RequestOp]| ops.iter().map(op_cost_bytes).sum::<u64>();
    branch(&request.success).max(branch(&request.failure))
}

/// The request that turns this member's NOSPACE alarm on.
pub fn raise_no_space(member: u64) -> AlarmRequest {
    AlarmRequest {
        action: alarm_request::AlarmAction::Activate as i32,
        member_id: member,
        alarm: AlarmType::Nospace as i32,
    }
}

fn op_cost_bytes(op: &RequestOp) -> u64 {
    match &op.request {
        Some(Request::RequestPut(put)) => put_cost_bytes(put),
        Some(Request::RequestTxn(txn)) => txn_cost_bytes(txn),
        Some(Request::RequestRange(_) | Request::RequestDeleteRange(_)) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(value: &'static [u8]) -> RequestOp {
        let put = PutRequest { key: "k".into(), value: value.into(), ..PutRequest::default() };
        RequestOp { request: Some(Request::RequestPut(put)) }
    }

    #[test]
    fn a_txn_costs_its_dearer_branch() {
        let inner = TxnRequest { success: vec![put(b"12")], ..TxnRequest::default() };
        let nested = RequestOp { request: Some(Request::RequestTxn(inner)) };
        let txn = TxnRequest {
            compare: vec![],
            success: vec![put(b""), nested],
            failure: vec![put(b"123456")],
        };
        assert_eq!(txn_cost_bytes(&txn), 257 + 259);
        assert_eq!(txn_cost_bytes(&TxnRequest::default()), 0);
    }

    #[test]
    fn what_frees_space_is_always_admitted() {
        let quota = Quota::Bytes(1000);
        assert_eq!(quota.admit(900, 99), Admit::Admitted);
        assert_eq!(quota.admit(900, 100), Admit::Full);
        assert_eq!(quota.admit(u64::MAX, 1), Admit::Full);
        assert_eq!(quota.admit(u64::MAX, 0), Admit::Admitted);
        assert_eq!(Quota::of_flag(-1).admit(u64::MAX, u64::MAX), Admit::Admitted);
        assert_eq!(Quota::of_flag(0), Quota::Bytes(2 << 30));
    }
}
