//! Laws of the model, each a line or two of `compat/grpc.md`. Wider: `against_etcd.py`.

use super::*;
use bytes::Bytes;
use pb::request_op::Request as Op;
use pb::response_op::Response as Reply;

fn put(key: &'static str, value: &'static str) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: value.into(), ..Default::default() }
}

fn everything() -> pb::RangeRequest {
    pb::RangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        ..Default::default()
    }
}

fn ops(requests: Vec<Op>) -> Vec<pb::RequestOp> {
    requests.into_iter().map(|request| pb::RequestOp { request: Some(request) }).collect()
}

fn run(model: &mut Model, request: Request) -> Response {
    model.execute(&request).expect("this request is fine")
}

fn keys(model: &mut Model, revision: i64) -> Vec<Bytes> {
    let Response::Range(reply) =
        run(model, Request::Range(pb::RangeRequest { revision, ..everything() }))
    else {
        unreachable!("a range answers a range");
    };
    reply.kvs.into_iter().map(|pair| pair.key).collect()
}

#[test]
fn an_empty_store_is_at_revision_one_and_every_put_raises_it() {
    let mut model = Model::new();
    assert_eq!(1, model.revision());
    run(&mut model, Request::Put(put("a", "1")));
    run(&mut model, Request::Put(put("a", "1")));
    assert_eq!(3, model.revision());
}

#[test]
fn a_delete_of_nothing_raises_nothing() {
    let mut model = Model::new();
    let delete = pb::DeleteRangeRequest { key: "a".into(), ..Default::default() };
    run(&mut model, Request::DeleteRange(delete));
    assert_eq!(1, model.revision());
}

#[test]
fn a_revoked_lease_takes_its_keys_in_one_revision() {
    let mut model = Model::new();
    run(&mut model, Request::LeaseGrant(pb::LeaseGrantRequest { id: 5, ttl: 60 }));
    for key in ["b", "a"] {
        run(&mut model, Request::Put(pb::PutRequest { lease: 5, ..put(key, "1") }));
    }
    run(&mut model, Request::LeaseRevoke(pb::LeaseRevokeRequest { id: 5 }));
    assert_eq!(4, model.revision());
    assert!(keys(&mut model, 0).is_empty());
    assert_eq!(2, keys(&mut model, 3).len());
}

#[test]
fn a_txn_shares_one_revision_and_reads_its_own_writes() {
    let mut model = Model::new();
    let success = ops(vec![
        Op::RequestPut(put("a", "1")),
        Op::RequestPut(put("b", "2")),
        Op::RequestRange(everything()),
    ]);
    let txn = pb::TxnRequest { success, ..Default::default() };
    let Response::Txn(reply) = run(&mut model, Request::Txn(txn)) else {
        unreachable!("a txn answers a txn");
    };
    assert_eq!(2, model.revision());
    let Some(Reply::ResponseRange(range)) = &reply.responses[2].response else {
        panic!("the third op was a range");
    };
    assert_eq!(2, range.kvs.len());
    assert!(range.kvs.iter().all(|pair| pair.mod_revision == 2));
}

#[test]
fn a_failed_txn_changes_nothing() {
    let mut model = Model::new();
    let success = ops(vec![
        Op::RequestPut(put("a", "1")),
        Op::RequestRange(pb::RangeRequest { revision: 99, ..everything() }),
    ]);
    let txn = pb::TxnRequest { success, ..Default::default() };
    assert!(model.execute(&Request::Txn(txn)).is_err());
    assert_eq!(1, model.revision());
    assert!(keys(&mut model, 0).is_empty());
}

#[test]
fn compaction_keeps_what_is_live_at_it_and_refuses_what_is_older() {
    let mut model = Model::new();
    for value in ["1", "2", "3"] {
        run(&mut model, Request::Put(put("a", value)));
    }
    run(&mut model, Request::Put(put("b", "1")));
    run(&mut model, Request::Compact(pb::CompactionRequest { revision: 4, physical: false }));
    assert_eq!(1, keys(&mut model, 4).len());
    let old = pb::RangeRequest { revision: 3, ..everything() };
    assert!(model.execute(&Request::Range(old)).is_err());
    let watch = pb::WatchCreateRequest { key: "a".into(), start_revision: 3, ..Default::default() };
    assert_eq!(Err(WatchEnd::Compacted(4)), model.watch(&watch));
}

#[test]
fn a_watch_sees_every_change_of_its_range_once() {
    let mut model = Model::new();
    run(&mut model, Request::Put(put("a", "1")));
    run(&mut model, Request::Put(put("c", "1")));
    let delete = pb::DeleteRangeRequest { key: "a".into(), ..Default::default() };
    run(&mut model, Request::DeleteRange(delete));
    let watch = pb::WatchCreateRequest {
        key: "a".into(),
        start_revision: 1,
        prev_kv: true,
        ..Default::default()
    };
    let events = model.watch(&watch).expect("nothing is compacted");
    assert_eq!(2, events.len());
    assert!(events[0].prev_kv.is_none());
    assert_eq!(4, events[1].kv.as_ref().map_or(0, |pair| pair.mod_revision));
    assert!(events[1].prev_kv.is_some());
}

#[test]
fn random_commands_never_break_the_order_of_revisions() {
    for seed in 0..40 {
        let mut model = Model::new();
        let mut generator = Generator::new(seed);
        for _ in 0..150 {
            let before = model.revision();
            let request = generator.next(before, model.compacted());
            let answer = model.execute(&request);
            let after = model.revision();
            assert!(before <= after, "seed {seed}");
            assert!(after <= before + 1, "seed {seed}");
            assert!(answer.is_ok() || before == after, "seed {seed}");
        }
    }
}
