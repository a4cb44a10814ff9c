//! Owns the workload of transactions of several puts, without a guard.
//! Invariant: a transaction never puts one key twice.

use base::Prng;
use bytes::Bytes;
use wire::Method;
use wire::etcdserverpb::request_op::Request;
use wire::etcdserverpb::{PutRequest, RequestOp, TxnRequest, TxnResponse};

use crate::keys::{KeySpace, Values};
use crate::op::{Op, Seen, Wrong, decode};
use crate::workload::Workload;

/// Transactions of puts.
#[derive(Debug)]
pub struct TxnPut {
    keys: KeySpace,
    values: Values,
    ops: u64,
    dice: Prng,
    seen: Seen,
}

impl TxnPut {
    /// One client's transactions of `ops` puts each; the key space must have as many keys.
    pub fn new(keys: KeySpace, values: Values, ops: u64, seed: u64) -> TxnPut {
        assert!(ops <= keys.size);
        TxnPut { keys, values, ops, dice: Prng::from_seed(seed), seen: Seen::default() }
    }

    fn put(&mut self, number: u64) -> RequestOp {
        let (key, value) = (self.keys.key(number), self.values.draw(&mut self.dice));
        let put = PutRequest { key, value, ..PutRequest::default() };
        RequestOp { request: Some(Request::RequestPut(put)) }
    }
}

impl Workload for TxnPut {
    fn next(&mut self, turn: u64) -> Op {
        // Neighbours, as etcd's benchmark takes them: keys of one transaction must differ.
        let first = turn.wrapping_mul(self.ops);
        let success = (0..self.ops).map(|at| self.put(first.wrapping_add(at) % self.keys.size));
        let request = TxnRequest { success: success.collect(), ..TxnRequest::default() };
        Op::new(0, Method::Txn, &request)
    }

    fn answered(&mut self, reply: Bytes) -> Result<(), Wrong> {
        let reply: TxnResponse = decode(reply)?;
        if !reply.succeeded || reply.responses.len() as u64 != self.ops {
            return Err(Wrong::new("an unguarded transaction without all of its puts"));
        }
        self.seen.wrote(reply.header.as_ref()).map(drop)
    }
}
