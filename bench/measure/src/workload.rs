//! Owns what one client asks, request by request, and what it makes of the answers. One file per
//! workload. Invariant: a workload is asked for its next request only when it has judged the last.

use bytes::Bytes;

use crate::op::{Op, Wrong};

pub mod churn;
mod keep_alive;
pub mod mixed;
mod put;
mod range;
mod range_parts;
pub mod txn_mixed;
mod txn_put;

pub use churn::{Churn, ChurnOptions};
pub use keep_alive::KeepAlive;
pub use mixed::{Mixed, MixedOptions};
pub use put::Put;
pub use range::{Range, RangeOptions};
pub use range_parts::{PartKind, RangeParts};
pub use txn_mixed::{TxnMixed, TxnMixedOptions};
pub use txn_put::TxnPut;

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// As of when it was asked.
    Linearizable,
    /// As of what the asked member knows.
    Serializable,
}

/// What one client does.
pub trait Workload {
    /// The next request. `turn` counts the requests of all clients together.
    fn next(&mut self, turn: u64) -> Op;

    /// Judges the answer to the request made last.
    fn answered(&mut self, reply: Bytes) -> Result<(), Wrong>;

    /// The request made last has failed: nobody knows whether it was carried out.
    fn failed(&mut self) {}
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::keys::{KeyOrder, KeySpace, Values};
    use prost::Message;
    use wire::Method;
    use wire::etcdserverpb::{PutRequest, PutResponse, RangeResponse, ResponseHeader, TxnRequest};

    pub(super) fn keys(size: u64) -> KeySpace {
        KeySpace { size, key_bytes: 8, prefix: Bytes::new(), order: KeyOrder::Sequential }
    }

    pub(crate) fn header(revision: i64) -> Option<ResponseHeader> {
        Some(ResponseHeader { revision, ..ResponseHeader::default() })
    }

    pub(crate) fn message<M: Message + Default>(op: &Op) -> M {
        M::decode(op.frame.slice(wire::grpc::PREFIX_BYTES..)).unwrap()
    }

    pub(crate) fn bytes(message: &impl Message) -> Bytes {
        Bytes::from(message.encode_to_vec())
    }

    #[test]
    fn puts_take_their_keys_in_turn_and_know_old_revisions() {
        let mut put = Put::new(keys(2), Values::new(16, 1), 1);
        let op = put.next(0);
        let request: PutRequest = message(&op);
        assert_eq!((op.method, request.value.len()), (Method::Put, 16));
        assert_eq!(request.key, keys(2).key(0));
        let reply = PutResponse { header: header(9), prev_kv: None };
        assert_eq!(put.answered(bytes(&reply)), Ok(()));
        assert_eq!(message::<PutRequest>(&put.next(3)).key, keys(2).key(1));
        assert!(put.answered(bytes(&reply)).is_err());
    }

    #[test]
    fn a_range_that_misses_its_limit_or_count_is_wrong() {
        let options = RangeOptions {
            key: Bytes::from_static(b"a"),
            range_end: Bytes::from_static(b"b"),
            limit: 1,
            consistency: Consistency::Serializable,
            count_only: false,
            keys_only: false,
            expect_count: Some(7),
        };
        let mut range = Range::new(options);
        range.next(0);
        let kv = |key: &'static [u8]| wire::mvccpb::KeyValue {
            key: Bytes::from_static(key),
            ..wire::mvccpb::KeyValue::default()
        };
        let good = RangeResponse { header: header(3), kvs: vec![kv(b"a1")], more: true, count: 7 };
        assert_eq!(range.answered(bytes(&good)), Ok(()));
        let miscounted = RangeResponse { count: 6, ..good.clone() };
        assert!(range.answered(bytes(&miscounted)).is_err());
        let outside = RangeResponse { kvs: vec![kv(b"c")], ..good.clone() };
        assert!(range.answered(bytes(&outside)).is_err());
        let too_many = RangeResponse { kvs: vec![kv(b"a1"), kv(b"a2")], ..good };
        assert!(range.answered(bytes(&too_many)).is_err());
    }

    #[test]
    fn a_txn_of_puts_takes_different_keys() {
        let mut txn = TxnPut::new(keys(100), Values::new(4, 1), 3, 1);
        let request: TxnRequest = message(&txn.next(5));
        assert_eq!((request.compare.len(), request.success.len()), (0, 3));
    }
}
