//! Owns what clients ask: random requests over few keys, each write with a value of its own, so
//! that what happened tells who did it.
//! Invariant: no two writes that are made up here carry the same value.

use std::collections::BTreeMap;

use base::Prng;
use bytes::Bytes;
use ringleader_model::Request;
use ringleader_sim::ops::everything;
use wire::etcdserverpb as pb;

use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request as Part;

/// What a client knows when it makes up a request.
#[derive(Debug)]
pub struct Known<'a> {
    /// How many keys there are.
    pub keys: u64,
    /// The highest revision that anybody was told.
    pub seen: i64,
    /// The highest compaction that was asked for.
    pub compacted: i64,
    /// Leases that may be used.
    pub leases: &'a [i64],
    /// Revisions of keys, as last heard.
    pub revisions: &'a BTreeMap<Bytes, i64>,
    /// A value that nobody has written.
    pub value: Bytes,
}

/// Some request.
pub fn draw(dice: &mut Prng, known: &Known<'_>) -> Request {
    match dice.below(100) {
        0..36 => Request::Put(put(dice, known)),
        36..44 => Request::DeleteRange(delete(dice, known)),
        44..62 => Request::Txn(swap(dice, known)),
        62..66 => Request::Txn(glance(dice, known)),
        66..68 if 2 < known.seen => {
            let revision = known.compacted.max(1) + dice.below(known.seen as u64) as i64 / 2;
            let revision = revision.clamp(1, known.seen);
            Request::Compact(pb::CompactionRequest { revision, physical: dice.chance(200) })
        }
        _ => Request::Range(range(dice, known)),
    }
}

/// Some key.
pub fn key(number: u64) -> Bytes {
    Bytes::from(format!("k{number:02}"))
}

fn span(dice: &mut Prng, known: &Known<'_>) -> (Bytes, Bytes) {
    let first = dice.below(known.keys);
    (key(first), key(first + 1 + dice.below(3)))
}

fn put(dice: &mut Prng, known: &Known<'_>) -> pb::PutRequest {
    let lease = match known.leases.is_empty() || dice.chance(700) {
        true => 0,
        false => *dice.pick(known.leases),
    };
    pb::PutRequest {
        key: key(dice.below(known.keys)),
        value: known.value.clone(),
        lease,
        prev_kv: dice.chance(200),
        ..Default::default()
    }
}

fn delete(dice: &mut Prng, known: &Known<'_>) -> pb::DeleteRangeRequest {
    let (key, range_end) = match dice.chance(700) {
        true => (key(dice.below(known.keys)), Bytes::new()),
        false => span(dice, known),
    };
    pb::DeleteRangeRequest { key, range_end, prev_kv: dice.chance(200) }
}

/// Compares the revision that the client last heard of, and writes if it still holds.
fn swap(dice: &mut Prng, known: &Known<'_>) -> pb::TxnRequest {
    let put = put(dice, known);
    let revision = known.revisions.get(&put.key).copied().unwrap_or(0);
    let compare = pb::Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Mod as i32,
        key: put.key.clone(),
        range_end: Bytes::new(),
        target_union: Some(TargetUnion::ModRevision(revision)),
    };
    let own = pb::RangeRequest { key: put.key.clone(), ..Default::default() };
    let mut success = vec![Part::RequestPut(put.clone())];
    // A second change in the same revision, of another key.
    let other = key(dice.below(known.keys));
    if other != put.key {
        success.push(match dice.chance(500) {
            true => Part::RequestPut(pb::PutRequest { key: other, ..put }),
            false => Part::RequestDeleteRange(pb::DeleteRangeRequest {
                key: other,
                ..Default::default()
            }),
        });
    }
    if dice.chance(300) {
        success.push(Part::RequestRange(everything(0)));
    }
    let parts = |parts: Vec<Part>| {
        parts.into_iter().map(|part| pb::RequestOp { request: Some(part) }).collect()
    };
    pb::TxnRequest {
        compare: vec![compare],
        success: parts(success),
        failure: parts(vec![Part::RequestRange(own)]),
    }
}

/// A transaction that only reads.
fn glance(dice: &mut Prng, known: &Known<'_>) -> pb::TxnRequest {
    let one = pb::RangeRequest { key: key(dice.below(known.keys)), ..Default::default() };
    let parts = [one, everything(0)]
        .map(|range| pb::RequestOp { request: Some(Part::RequestRange(range)) });
    pb::TxnRequest { compare: Vec::new(), success: parts.to_vec(), failure: Vec::new() }
}

fn range(dice: &mut Prng, known: &Known<'_>) -> pb::RangeRequest {
    let (key, range_end) = match dice.below(4) {
        0 | 1 => (key(dice.below(known.keys)), Bytes::new()),
        2 => span(dice, known),
        _ => (everything(0).key, everything(0).range_end),
    };
    let old = dice.chance(150);
    let revision = if old { 1 + dice.below(known.seen as u64) as i64 } else { 0 };
    let serializable = dice.chance(250);
    pb::RangeRequest { key, range_end, revision, serializable, ..Default::default() }
}
