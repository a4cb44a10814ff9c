//! Owns the cost of messages: gRPC frames and requests that come in, replies that go out.

use bytes::{Bytes, BytesMut};
use divan::{Bencher, black_box};
use wire::encode::{Event, EventKind, PutResponse, RANGE_KVS_FIELD, RangeTail, WatchHead};
use wire::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use wire::etcdserverpb::request_op::Request;
use wire::etcdserverpb::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest};
use wire::grpc::{Decoder, Encoding, PREFIX_BYTES, decode, frame, put_prefix};

use crate::data::{header, key, pair, value};

const MESSAGE_BYTES_MAX: u32 = 2 << 20;

fn put() -> PutRequest {
    PutRequest { key: key(1), value: value(), ..PutRequest::default() }
}

/// An update as an API server makes it: if nobody has changed the key since, put it, else get it.
fn guarded() -> TxnRequest {
    let op = |request| RequestOp { request: Some(request) };
    let get = RangeRequest { key: key(1), ..RangeRequest::default() };
    TxnRequest {
        compare: vec![Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: key(1),
            target_union: Some(TargetUnion::ModRevision(1_234_567)),
            range_end: Bytes::new(),
        }],
        success: vec![op(Request::RequestPut(put()))],
        failure: vec![op(Request::RequestRange(get))],
    }
}

/// From the bytes of a stream to one message: what every unary call begins with.
fn cut(chunk: &Bytes) -> Bytes {
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX, Encoding::Identity);
    decoder.push(chunk.clone());
    decoder.next_message().expect("our own frame").expect("a whole message")
}

#[divan::bench]
fn cut_frame(bencher: Bencher) {
    let chunk = frame(&put());
    bencher.bench_local(|| cut(black_box(&chunk)));
}

#[divan::bench]
fn decode_put(bencher: Bencher) {
    let chunk = frame(&put());
    bencher.bench_local(|| decode::<PutRequest>(cut(black_box(&chunk))));
}

#[divan::bench]
fn decode_range(bencher: Bencher) {
    let chunk = frame(&RangeRequest { key: key(1), ..RangeRequest::default() });
    bencher.bench_local(|| decode::<RangeRequest>(cut(black_box(&chunk))));
}

#[divan::bench]
fn decode_guarded_txn(bencher: Bencher) {
    let chunk = frame(&guarded());
    bencher.bench_local(|| decode::<TxnRequest>(cut(black_box(&chunk))));
}

#[divan::bench]
fn encode_put_reply(bencher: Bencher) {
    bencher.bench_local(|| {
        let reply = PutResponse { header: black_box(header()), prev_kv: None };
        let mut to = BytesMut::with_capacity(PREFIX_BYTES + reply.len());
        put_prefix(&mut to, reply.len());
        reply.put(&mut to);
        to.freeze()
    });
}

#[divan::bench(args = [1, 500])]
fn encode_range_reply(bencher: Bencher, rows: u64) {
    let (keys, value) = (crate::data::keys(rows), value());
    let tail = RangeTail { more: false, count: rows as i64 };
    bencher.bench_local(|| {
        let header = black_box(header());
        let pairs = keys.iter().map(|key| pair(key, &value));
        let bytes: usize = pairs.clone().map(|pair| pair.field_len()).sum();
        let bytes = header.field_len() + bytes + tail.len();
        let mut to = BytesMut::with_capacity(PREFIX_BYTES + bytes);
        put_prefix(&mut to, bytes);
        header.put_field(&mut to);
        pairs.for_each(|pair| pair.put_field(&mut to, RANGE_KVS_FIELD));
        tail.put(&mut to);
        to.freeze()
    });
}

#[divan::bench]
fn encode_watch_event(bencher: Bencher) {
    let (key, value) = (key(1), value());
    bencher.bench_local(|| {
        let head = WatchHead { header: black_box(header()), watch_id: 3, fragment: false };
        let event = Event { kind: EventKind::Put, kv: pair(&key, &value), prev_kv: None };
        let mut to = BytesMut::with_capacity(event.field_len());
        event.put_field(&mut to);
        (head.to_bytes(), to.freeze())
    });
}
