//! A watch that is opened on one core right after a write was acknowledged through another one.
//! The creating core knew only what it had been told: the watch began at the write's own revision
//! and saw it again.

use bytes::Bytes;
use node::shard::Partition;
use node::{CallId, ShardEvent, ShardId};
use prost::Message;
use ringleader_twin::member::{Heard, Member, Shape};
use wire::etcdserverpb::watch_request::RequestUnion;
use wire::{Method, etcdserverpb as pb};

const KEY: Bytes = Bytes::from_static(b"k");

fn member(seed: u64) -> Member {
    println!("seed {seed}");
    let partition = Partition::new(2, 2);
    Member::new(Shape { partition, checkpoint_log_bytes: 8 << 20 }, seed)
}

fn put(member: &mut Member, shard: ShardId) -> CallId {
    let put = pb::PutRequest { key: KEY, value: KEY, ..pb::PutRequest::default() };
    member.unary(shard, Method::Put, Bytes::from(put.encode_to_vec()))
}

fn acknowledged(member: &mut Member, put: CallId) -> i64 {
    let (call, heard) = member.hear().expect("a put is answered");
    let Heard::Reply(reply) = heard else { panic!("{call:?}: {heard:?}") };
    assert_eq!(call, put);
    let reply = pb::PutResponse::decode(reply).expect("a reply to a put");
    reply.header.expect("every reply has one").revision
}

fn ask(member: &mut Member, shard: ShardId, call: CallId, request: RequestUnion) {
    let request = pb::WatchRequest { request_union: Some(request) };
    let message = Bytes::from(request.encode_to_vec());
    member.event(shard, ShardEvent::Message { call, message });
}

fn create(watch_id: i64) -> RequestUnion {
    let create = pb::WatchCreateRequest { key: KEY, watch_id, ..Default::default() };
    RequestUnion::CreateRequest(create)
}

fn told(member: &mut Member) -> Option<pb::WatchResponse> {
    match member.hear()? {
        (_, Heard::Message(reply)) => Some(pb::WatchResponse::decode(reply).expect("a reply")),
        (call, other) => panic!("{call:?}: {other:?}"),
    }
}

#[test]
fn a_watch_from_now_on_begins_after_every_write_that_was_acknowledged_before() {
    for seed in 0..200 {
        let mut member = member(seed);
        let stream = member.open(ShardId(1), Method::Watch);
        for _ in 0..4 {
            let put = put(&mut member, ShardId(0));
            let revision = acknowledged(&mut member, put);
            ask(&mut member, ShardId(1), stream, create(0));
            let created = told(&mut member).expect("a creation is answered");
            assert!(created.created);
            assert!(revision <= created.header.expect("every reply has one").revision);
            let cancel = pb::WatchCancelRequest { watch_id: created.watch_id };
            ask(&mut member, ShardId(1), stream, RequestUnion::CancelRequest(cancel));
            let canceled = told(&mut member).expect("a cancel is answered");
            assert!(canceled.canceled, "the write was seen again: {canceled:?}");
        }
    }
}

#[test]
fn requests_behind_a_watch_that_waits_for_its_point_keep_their_order() {
    for seed in 0..50 {
        let mut member = member(seed);
        let stream = member.open(ShardId(1), Method::Watch);
        let explicit = pb::WatchCreateRequest { start_revision: 1, ..created_of(&create(2)) };
        let requests = [
            create(1),
            RequestUnion::CreateRequest(explicit),
            create(1),
            RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 1 }),
            create(1),
        ];
        for request in requests {
            ask(&mut member, ShardId(1), stream, request);
        }
        let mut heard = Vec::new();
        while let Some(reply) = told(&mut member) {
            heard.push((reply.watch_id, reply.created, reply.canceled));
        }
        let want = [
            (1, true, false),
            (2, true, false),
            // The id is taken.
            (-1, true, true),
            (1, false, true),
            (1, true, false),
        ];
        assert_eq!(heard, want);
    }
}

fn created_of(request: &RequestUnion) -> pb::WatchCreateRequest {
    match request {
        RequestUnion::CreateRequest(create) => create.clone(),
        RequestUnion::CancelRequest(_) | RequestUnion::ProgressRequest(_) => unreachable!(),
    }
}

#[test]
fn a_client_that_leaves_while_its_watch_waits_is_forgotten() {
    let mut member = member(7);
    let stream = member.open(ShardId(1), Method::Watch);
    ask(&mut member, ShardId(1), stream, create(1));
    member.event(ShardId(1), ShardEvent::Gone { call: stream });
    assert!(member.hear().is_none());
}
