//! Laws of the messages: what is written by hand is what prost writes, random messages come back
//! as they were, and random bytes are refused without a panic.

use base::Prng;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::encode::{
    Event, EventKind, Header, KeyValue, PutResponse, RANGE_KVS_FIELD, RangeTail, WatchHead,
};
use crate::{authpb, etcdserverpb as pb, health, mvccpb, v3electionpb, v3lockpb};

/// Numbers of every varint length, zero and negative ones among them.
fn number(dice: &mut Prng) -> i64 {
    let bits = dice.below(65) as u32;
    let value = dice.next_u64().checked_shr(bits).unwrap_or(0) as i64;
    if dice.chance(200) { -value } else { value }
}

fn bytes(dice: &mut Prng) -> Bytes {
    let len = *dice.pick(&[0, 1, 3, 127, 128, 300, 17_000]);
    let mut out = vec![0; len];
    dice.fill(&mut out);
    Bytes::from(out)
}

fn key_value(dice: &mut Prng) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: bytes(dice),
        create_revision: number(dice),
        mod_revision: number(dice),
        version: number(dice),
        value: bytes(dice),
        lease: number(dice),
    }
}

fn by_hand(kv: &mvccpb::KeyValue) -> KeyValue<'_> {
    KeyValue {
        key: &kv.key,
        create: kv.create_revision,
        modified: kv.mod_revision,
        version: kv.version,
        value: &kv.value,
        lease: kv.lease,
    }
}

fn header(dice: &mut Prng) -> Header {
    Header {
        cluster_id: number(dice) as u64,
        member_id: number(dice) as u64,
        revision: number(dice),
        raft_term: number(dice) as u64,
    }
}

fn maybe<T>(dice: &mut Prng, make: impl FnOnce(&mut Prng) -> T) -> Option<T> {
    if dice.chance(500) { Some(make(dice)) } else { None }
}

#[test]
fn replies_written_from_parts_are_what_prost_writes() {
    let mut dice = Prng::from_seed(5);
    for _ in 0..2000 {
        let head = header(&mut dice);
        let prev_kv = maybe(&mut dice, key_value);
        let ours = PutResponse { header: head, prev_kv: prev_kv.as_ref().map(by_hand) };
        let mut written = BytesMut::new();
        ours.put(&mut written);
        assert_eq!(written.len(), ours.len());
        let theirs = pb::PutResponse { header: Some(head.into()), prev_kv };
        assert_eq!(written, theirs.encode_to_vec());

        let kvs: Vec<_> = (0..dice.below(4)).map(|_| key_value(&mut dice)).collect();
        let tail = RangeTail { more: dice.chance(500), count: number(&mut dice) };
        let mut written = BytesMut::new();
        head.put_field(&mut written);
        kvs.iter().for_each(|kv| by_hand(kv).put_field(&mut written, RANGE_KVS_FIELD));
        tail.put(&mut written);
        let len = kvs.iter().map(|kv| by_hand(kv).field_len()).sum::<usize>();
        assert_eq!(written.len(), head.field_len() + len + tail.len());
        let RangeTail { more, count } = tail;
        let theirs = pb::RangeResponse { header: Some(head.into()), kvs, more, count };
        assert_eq!(written, theirs.encode_to_vec());
    }
}

#[test]
fn watch_replies_written_from_parts_are_what_prost_writes() {
    let mut dice = Prng::from_seed(6);
    for _ in 0..2000 {
        let head =
            WatchHead { header: header(&mut dice), watch_id: number(&mut dice), fragment: true };
        let mut written = BytesMut::new();
        written.put_slice(&head.to_bytes());
        assert_eq!(written.len(), head.len());
        let mut events = Vec::new();
        for _ in 0..dice.below(4) {
            let kind = *dice.pick(&[EventKind::Put, EventKind::Delete]);
            let (kv, prev_kv) = (key_value(&mut dice), maybe(&mut dice, key_value));
            let event = Event { kind, kv: by_hand(&kv), prev_kv: prev_kv.as_ref().map(by_hand) };
            let before = written.len();
            event.put_field(&mut written);
            assert_eq!(written.len() - before, event.field_len());
            let r#type = match kind {
                EventKind::Put => mvccpb::event::EventType::Put,
                EventKind::Delete => mvccpb::event::EventType::Delete,
            };
            events.push(mvccpb::Event { r#type: r#type.into(), kv: Some(kv), prev_kv });
        }
        let theirs = pb::WatchResponse {
            header: Some(head.header.into()),
            watch_id: head.watch_id,
            fragment: true,
            events,
            ..pb::WatchResponse::default()
        };
        assert_eq!(written, theirs.encode_to_vec());
    }
}

fn range(dice: &mut Prng) -> pb::RangeRequest {
    pb::RangeRequest {
        key: bytes(dice),
        range_end: bytes(dice),
        limit: number(dice),
        revision: number(dice),
        sort_order: number(dice) as i32,
        sort_target: number(dice) as i32,
        serializable: dice.chance(500),
        keys_only: dice.chance(500),
        count_only: dice.chance(500),
        min_mod_revision: number(dice),
        max_mod_revision: number(dice),
        min_create_revision: number(dice),
        max_create_revision: number(dice),
    }
}

fn put(dice: &mut Prng) -> pb::PutRequest {
    pb::PutRequest {
        key: bytes(dice),
        value: bytes(dice),
        lease: number(dice),
        prev_kv: dice.chance(500),
        ignore_value: dice.chance(500),
        ignore_lease: dice.chance(500),
    }
}

fn compare(dice: &mut Prng) -> pb::Compare {
    use pb::compare::TargetUnion;
    let target_union = match dice.below(6) {
        0 => None,
        1 => Some(TargetUnion::Version(number(dice))),
        2 => Some(TargetUnion::CreateRevision(number(dice))),
        3 => Some(TargetUnion::ModRevision(number(dice))),
        4 => Some(TargetUnion::Value(bytes(dice))),
        _ => Some(TargetUnion::Lease(number(dice))),
    };
    pb::Compare {
        result: number(dice) as i32,
        target: number(dice) as i32,
        key: bytes(dice),
        range_end: bytes(dice),
        target_union,
    }
}

fn op(dice: &mut Prng, depth: u64) -> pb::RequestOp {
    use pb::request_op::Request;
    let delete = |dice: &mut Prng| pb::DeleteRangeRequest {
        key: bytes(dice),
        range_end: bytes(dice),
        prev_kv: dice.chance(500),
    };
    let request = match dice.below(5) {
        0 => None,
        1 => Some(Request::RequestRange(range(dice))),
        2 => Some(Request::RequestPut(put(dice))),
        3 => Some(Request::RequestDeleteRange(delete(dice))),
        _ if depth == 0 => None,
        _ => Some(Request::RequestTxn(txn(dice, depth - 1))),
    };
    pb::RequestOp { request }
}

fn txn(dice: &mut Prng, depth: u64) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: (0..dice.below(3)).map(|_| compare(dice)).collect(),
        success: (0..dice.below(4)).map(|_| op(dice, depth)).collect(),
        failure: (0..dice.below(3)).map(|_| op(dice, depth)).collect(),
    }
}

fn watch(dice: &mut Prng) -> pb::WatchRequest {
    use pb::watch_request::RequestUnion;
    let request_union = match dice.below(4) {
        0 => None,
        1 => Some(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: number(dice) })),
        2 => Some(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})),
        _ => Some(RequestUnion::CreateRequest(pb::WatchCreateRequest {
            key: bytes(dice),
            range_end: bytes(dice),
            start_revision: number(dice),
            progress_notify: dice.chance(500),
            filters: (0..dice.below(4)).map(|_| number(dice) as i32).collect(),
            prev_kv: dice.chance(500),
            watch_id: number(dice),
            fragment: dice.chance(500),
        })),
    };
    pb::WatchRequest { request_union }
}

fn comes_back<M: Message + Default + PartialEq + std::fmt::Debug>(message: &M) {
    let bytes = Bytes::from(message.encode_to_vec());
    assert_eq!(&crate::grpc::decode::<M>(bytes).unwrap(), message);
}

#[test]
fn random_messages_come_back_as_they_were() {
    let mut dice = Prng::from_seed(7);
    for _ in 0..500 {
        comes_back(&range(&mut dice));
        comes_back(&put(&mut dice));
        comes_back(&txn(&mut dice, 3));
        comes_back(&watch(&mut dice));
        comes_back(&key_value(&mut dice));
    }
}

/// Every message that a server or a client of ours decodes.
fn decode_as_everything(bytes: &Bytes) {
    macro_rules! each {
        ($($message:ty),+ $(,)?) => {$(
            if let Ok(message) = crate::grpc::decode::<$message>(bytes.clone()) {
                let len = message.encoded_len();
                assert_eq!(message.encode_to_vec().len(), len);
            }
        )+};
    }
    each!(
        pb::RangeRequest,
        pb::RangeResponse,
        pb::RangeStreamResponse,
        pb::PutRequest,
        pb::PutResponse,
        pb::DeleteRangeRequest,
        pb::DeleteRangeResponse,
        pb::TxnRequest,
        pb::TxnResponse,
        pb::CompactionRequest,
        pb::WatchRequest,
        pb::WatchResponse,
        pb::LeaseGrantRequest,
        pb::LeaseKeepAliveRequest,
        pb::LeaseTimeToLiveResponse,
        pb::LeaseLeasesResponse,
        pb::MemberAddRequest,
        pb::MemberListResponse,
        pb::AlarmRequest,
        pb::AlarmResponse,
        pb::StatusResponse,
        pb::HashKvResponse,
        pb::SnapshotResponse,
        pb::DowngradeRequest,
        pb::AuthUserAddRequest,
        pb::AuthRoleGetResponse,
        mvccpb::KeyValue,
        mvccpb::Event,
        authpb::User,
        authpb::Role,
        v3lockpb::LockRequest,
        v3electionpb::CampaignRequest,
        v3electionpb::LeaderResponse,
        health::HealthCheckRequest,
        health::HealthListResponse,
    );
}

#[test]
fn damaged_messages_are_refused_without_a_panic() {
    let mut dice = Prng::from_seed(8);
    for _ in 0..300 {
        let mut bytes = match dice.below(3) {
            0 => txn(&mut dice, 2).encode_to_vec(),
            1 => watch(&mut dice).encode_to_vec(),
            _ => key_value(&mut dice).encode_to_vec(),
        };
        bytes.truncate(bytes.len() - dice.below(bytes.len() as u64 + 1) as usize / 2);
        for _ in 0..dice.below(5) {
            if !bytes.is_empty() {
                let at = dice.below(bytes.len().min(300) as u64) as usize;
                bytes[at] = dice.next_u64() as u8;
            }
        }
        decode_as_everything(&Bytes::from(bytes));
    }
}

#[test]
fn random_bytes_are_refused_without_a_panic() {
    let mut dice = Prng::from_seed(9);
    for _ in 0..3000 {
        let mut bytes = vec![0; dice.below(64) as usize];
        dice.fill(&mut bytes);
        if dice.chance(500) {
            // Small tags and lengths get further than uniform noise.
            bytes.iter_mut().for_each(|byte| *byte &= 0x1f);
        }
        decode_as_everything(&Bytes::from(bytes));
    }
}

#[test]
fn txns_nested_beyond_reason_are_refused() {
    let mut bytes = Vec::new();
    for _ in 0..200 {
        // success { request_txn { .. } }
        let mut outer = vec![];
        let inner_len = bytes.len();
        let mut op = vec![0x22];
        prost::encoding::encode_varint(inner_len as u64, &mut op);
        op.extend_from_slice(&bytes);
        outer.push(0x12);
        prost::encoding::encode_varint(op.len() as u64, &mut outer);
        outer.extend_from_slice(&op);
        bytes = outer;
    }
    assert!(crate::grpc::decode::<pb::TxnRequest>(Bytes::from(bytes)).is_err());
}
