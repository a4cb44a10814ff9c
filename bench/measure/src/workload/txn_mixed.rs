//! Owns the workload of transactions that are one range or one put each.
//! Invariant: reads count in series [`READ`], writes in [`WRITE`].

use base::Prng;
use bytes::Bytes;
use wire::Method;
use wire::etcdserverpb::request_op::Request;
use wire::etcdserverpb::response_op::Response;
use wire::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse};

use crate::keys::{KeySpace, Values};
use crate::op::{Op, Seen, Wrong, decode, revision};
use crate::workload::{Consistency, Workload, range};
use crate::zipf::unit;

/// The series of reads.
pub const READ: usize = 0;
/// The series of writes.
pub const WRITE: usize = 1;

/// What the transactions hold.
#[derive(Clone, Debug)]
pub struct TxnMixedOptions {
    /// Keys of the puts.
    pub keys: KeySpace,
    /// Their values.
    pub values: Values,
    /// End of the ranges; empty for everything.
    pub range_end: Bytes,
    /// Rows of a range at most.
    pub limit: i64,
    /// How fresh.
    pub consistency: Consistency,
    /// Reads for each write.
    pub reads_per_write: f64,
}

/// Transactions of one range or one put.
#[derive(Debug)]
pub struct TxnMixed {
    options: TxnMixedOptions,
    read: RangeRequest,
    last: usize,
    dice: Prng,
    seen: Seen,
}

impl TxnMixed {
    /// One client's transactions.
    pub fn new(options: TxnMixedOptions, seed: u64) -> TxnMixed {
        let range_end = match options.range_end.is_empty() {
            true => Bytes::from_static(&[0]),
            false => options.range_end.clone(),
        };
        let read = RangeRequest {
            key: Bytes::from_static(&[0]),
            range_end,
            limit: options.limit,
            serializable: options.consistency == Consistency::Serializable,
            ..RangeRequest::default()
        };
        let (dice, seen) = (Prng::from_seed(seed), Seen::default());
        TxnMixed { options, read, last: READ, dice, seen }
    }
}

impl Workload for TxnMixed {
    fn next(&mut self, turn: u64) -> Op {
        let ratio = self.options.reads_per_write;
        let request = if unit(&mut self.dice) < ratio / (1.0 + ratio) {
            self.last = READ;
            Request::RequestRange(self.read.clone())
        } else {
            self.last = WRITE;
            let number = self.options.keys.choose(turn, &mut self.dice);
            let (key, value) =
                (self.options.keys.key(number), self.options.values.draw(&mut self.dice));
            Request::RequestPut(PutRequest { key, value, ..PutRequest::default() })
        };
        let success = vec![RequestOp { request: Some(request) }];
        Op::new(self.last, Method::Txn, &TxnRequest { success, ..TxnRequest::default() })
    }

    fn answered(&mut self, reply: Bytes) -> Result<(), Wrong> {
        let reply: TxnResponse = decode(reply)?;
        let header = reply.header.as_ref();
        match &reply.responses[..] {
            [one] => match (&one.response, self.last) {
                (Some(Response::ResponsePut(_)), WRITE) => self.seen.wrote(header).map(drop),
                (Some(Response::ResponseRange(rows)), READ) => {
                    // Transactions of serializable ranges alone are serializable.
                    match self.options.consistency {
                        Consistency::Linearizable => self.seen.read(header)?,
                        Consistency::Serializable => revision(header)?,
                    };
                    range::check(&self.read, rows)
                }
                _ => Err(Wrong::new("a transaction with another's answer")),
            },
            _ => Err(Wrong::new("a transaction without its one answer")),
        }
    }
}
