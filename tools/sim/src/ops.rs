//! Owns the requests that clients make: their making, their protobuf, and what a reply tells.
//! Never judges. Invariant: every put writes a value that no other put writes, so that what is
//! found tells who wrote it.

use base::Prng;
use bytes::Bytes;
use prost::Message;
use wire::etcdserverpb as pb;
use wire::{Method, mvccpb};

use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request as Part;
use pb::response_op::Response;

use crate::plan::Shape;

/// A request that changes something.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// KV.Put
    Put(pb::PutRequest),
    /// KV.DeleteRange
    Delete(pb::DeleteRangeRequest),
    /// KV.Txn
    Txn(pb::TxnRequest),
    /// KV.Compact
    Compact(pb::CompactionRequest),
    /// Lease.LeaseGrant
    Grant(pb::LeaseGrantRequest),
    /// Lease.LeaseRevoke
    Revoke(pb::LeaseRevokeRequest),
}

/// What a reply tells beside its revision.
#[derive(Clone, Debug, PartialEq)]
pub enum Facts {
    /// A put was done; the pair before, if it was asked for.
    Put(Option<mvccpb::KeyValue>),
    /// So many keys went.
    Delete(i64),
    /// A branch was taken.
    Txn {
        /// Which.
        succeeded: bool,
        /// What its operations told.
        parts: Vec<Facts>,
    },
    /// Pairs inside a transaction.
    Range(Vec<mvccpb::KeyValue>),
    /// Nothing.
    Done,
}

impl Facts {
    /// Whether this made a revision; `None` if the reply does not tell.
    pub fn changed(&self) -> Option<bool> {
        match self {
            Facts::Put(_) => Some(true),
            Facts::Delete(count) => Some(0 < *count),
            Facts::Txn { parts, .. } => Some(parts.iter().any(|part| part.changed() == Some(true))),
            Facts::Range(_) => Some(false),
            Facts::Done => None,
        }
    }
}

impl Op {
    /// The method and message of the call.
    pub fn encode(&self) -> (Method, Bytes) {
        match self {
            Op::Put(request) => (Method::Put, request.encode_to_vec().into()),
            Op::Delete(request) => (Method::DeleteRange, request.encode_to_vec().into()),
            Op::Txn(request) => (Method::Txn, request.encode_to_vec().into()),
            Op::Compact(request) => (Method::Compact, request.encode_to_vec().into()),
            Op::Grant(request) => (Method::LeaseGrant, request.encode_to_vec().into()),
            Op::Revoke(request) => (Method::LeaseRevoke, request.encode_to_vec().into()),
        }
    }

    /// The revision of a reply, and what else it tells.
    pub fn decode(&self, reply: Bytes) -> Result<(i64, Facts), String> {
        let read = |error: prost::DecodeError| format!("a reply cannot be read: {error}");
        let (header, facts) = match self {
            Op::Put(_) => {
                let reply = pb::PutResponse::decode(reply).map_err(read)?;
                (reply.header, Facts::Put(reply.prev_kv))
            }
            Op::Delete(_) => {
                let reply = pb::DeleteRangeResponse::decode(reply).map_err(read)?;
                (reply.header, Facts::Delete(reply.deleted))
            }
            Op::Txn(_) => {
                let reply = pb::TxnResponse::decode(reply).map_err(read)?;
                let parts = reply.responses.into_iter().map(part_facts).collect();
                (reply.header, Facts::Txn { succeeded: reply.succeeded, parts })
            }
            Op::Compact(_) => {
                (pb::CompactionResponse::decode(reply).map_err(read)?.header, Facts::Done)
            }
            Op::Grant(_) => {
                (pb::LeaseGrantResponse::decode(reply).map_err(read)?.header, Facts::Done)
            }
            Op::Revoke(_) => {
                (pb::LeaseRevokeResponse::decode(reply).map_err(read)?.header, Facts::Done)
            }
        };
        Ok((header.ok_or("a reply without a header")?.revision, facts))
    }
}

fn part_facts(part: pb::ResponseOp) -> Facts {
    match part.response {
        Some(Response::ResponsePut(put)) => Facts::Put(put.prev_kv),
        Some(Response::ResponseDeleteRange(delete)) => Facts::Delete(delete.deleted),
        Some(Response::ResponseRange(range)) => Facts::Range(range.kvs),
        Some(Response::ResponseTxn(_)) | None => Facts::Done,
    }
}

/// A range over everything, at a revision or now.
pub fn everything(revision: i64) -> pb::RangeRequest {
    let all = Bytes::from_static(b"\0");
    pb::RangeRequest { key: all.clone(), range_end: all, revision, ..Default::default() }
}

/// Makes requests.
#[derive(Clone, Debug)]
pub struct Source {
    /// Different keys.
    pub keys: u64,
    /// Longest value.
    pub value_bytes_max: u64,
    small_per_mille: u64,
    made: u64,
    leases: i64,
}

impl Source {
    /// A source as the shape has it.
    pub fn new(shape: &Shape) -> Source {
        let Shape { keys, value_bytes_max, small_per_mille, .. } = *shape;
        Source { keys, value_bytes_max, small_per_mille, made: 0, leases: 1000 }
    }

    /// A key; some are long.
    pub fn key(&self, dice: &mut Prng) -> Bytes {
        let number = dice.below(self.keys);
        let tail = "x".repeat((number % 7 * number % 90) as usize);
        Bytes::from(format!("key-{number:03}{tail}"))
    }

    /// Two keys, the lower one first, not far apart.
    pub fn span(&self, dice: &mut Prng) -> (Bytes, Bytes) {
        let start = dice.below(self.keys);
        let end = start + 1 + dice.below(5);
        (Bytes::from(format!("key-{start:03}")), Bytes::from(format!("key-{end:03}")))
    }

    fn value(&mut self, dice: &mut Prng) -> Bytes {
        self.made += 1;
        let mut value = format!("{}.", self.made).into_bytes();
        // Small ones are common, however large the largest may be.
        let most = match dice.chance(self.small_per_mille) {
            true => self.value_bytes_max.min(200),
            false => self.value_bytes_max,
        };
        let start = value.len();
        value.resize(start + dice.below(most + 1) as usize, 0);
        dice.fill(&mut value[start..]);
        value.into()
    }

    /// A put under one of these leases, or none.
    pub fn put(&mut self, dice: &mut Prng, leases: &[i64]) -> pb::PutRequest {
        let lease = match leases.is_empty() || dice.chance(800) {
            true => 0,
            false => *dice.pick(leases),
        };
        pb::PutRequest {
            key: self.key(dice),
            value: self.value(dice),
            lease,
            prev_kv: dice.chance(100),
            ..Default::default()
        }
    }

    /// A delete of one key or a few.
    pub fn delete(&mut self, dice: &mut Prng) -> pb::DeleteRangeRequest {
        let (key, range_end) = match dice.chance(700) {
            true => (self.key(dice), Bytes::new()),
            false => self.span(dice),
        };
        pb::DeleteRangeRequest { key, range_end, prev_kv: false }
    }

    /// A grant of a new lease that outlives the run.
    pub fn grant(&mut self) -> pb::LeaseGrantRequest {
        self.leases += 1;
        pb::LeaseGrantRequest { ttl: 1_000_000, id: self.leases }
    }

    /// A transaction over several keys.
    pub fn txn(&mut self, dice: &mut Prng, leases: &[i64], revision: i64) -> pb::TxnRequest {
        let compares = dice.below(3);
        pb::TxnRequest {
            compare: (0..compares).map(|_| self.compare(dice, revision)).collect(),
            success: self.branch(dice, leases),
            failure: self.branch(dice, leases),
        }
    }

    /// Operations on different keys: a branch that touches one twice is refused.
    fn branch(&mut self, dice: &mut Prng, leases: &[i64]) -> Vec<pb::RequestOp> {
        let mut ops: Vec<Part> = Vec::new();
        let mut touched: Vec<Bytes> = Vec::new();
        for _ in 0..dice.below(5) {
            let put = self.put(dice, leases);
            if touched.contains(&put.key) {
                continue;
            }
            touched.push(put.key.clone());
            ops.push(match dice.below(10) {
                0..5 => Part::RequestPut(put),
                5..8 => {
                    let key = put.key;
                    Part::RequestDeleteRange(pb::DeleteRangeRequest { key, ..Default::default() })
                }
                _ => Part::RequestRange(everything(0)),
            });
        }
        ops.into_iter().map(|op| pb::RequestOp { request: Some(op) }).collect()
    }

    fn compare(&mut self, dice: &mut Prng, revision: i64) -> pb::Compare {
        let near = revision - dice.below(20) as i64;
        let (target, union) = match dice.below(4) {
            0 => (CompareTarget::Version, TargetUnion::Version(dice.below(4) as i64)),
            1 => (CompareTarget::Create, TargetUnion::CreateRevision(near)),
            2 => (CompareTarget::Mod, TargetUnion::ModRevision(near)),
            // No value is below a dot, and most are above a five.
            _ => (CompareTarget::Value, TargetUnion::Value(Bytes::from_static(b"5"))),
        };
        let results = [
            CompareResult::Equal,
            CompareResult::Greater,
            CompareResult::Less,
            CompareResult::NotEqual,
        ];
        pb::Compare {
            result: *dice.pick(&results) as i32,
            target: target as i32,
            key: self.key(dice),
            range_end: Bytes::new(),
            target_union: Some(union),
        }
    }
}
