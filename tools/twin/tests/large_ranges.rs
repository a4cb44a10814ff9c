//! Replies that are sent while they are read, and a compaction and checkpoints that land meanwhile.
//! A snapshot under way used to end with "compacted", a unary range used to be built whole.

use std::collections::{BTreeMap, VecDeque};

use base::Prng;
use bytes::Bytes;
use node::shard::Partition;
use node::snapshot::{ITEM_HEAD_BYTES, SnapshotItem, SnapshotReader};
use node::{CallId, ShardEvent, ShardId};
use prost::Message;
use ringleader_twin::member::{Heard, Member, Shape};
use wire::{Method, etcdserverpb as pb};

const KEYS: u64 = 60;
const VALUE_BYTES: u64 = 100_000;

struct World {
    dice: Prng,
    member: Member,
    store: BTreeMap<String, Bytes>,
    revision: i64,
    /// What came while something else was waited for.
    aside: VecDeque<(CallId, Heard)>,
}

impl World {
    fn new(seed: u64) -> World {
        println!("seed {seed}");
        let mut dice = Prng::from_seed(seed);
        let partition = Partition::new(1 + dice.below(3) as u16, 1 + dice.below(3) as u16);
        // Every few writes a checkpoint: what is compacted goes soon.
        let member = Member::new(Shape { partition, checkpoint_log_bytes: 300_000 }, seed);
        let mut world =
            World { dice, member, store: BTreeMap::new(), revision: 1, aside: VecDeque::new() };
        world.write(KEYS * 2);
        world
    }

    /// The next thing that the client of this call hears.
    fn hear(&mut self, of: CallId) -> Heard {
        if let Some(at) = self.aside.iter().position(|(call, _)| *call == of) {
            return self.aside.remove(at).expect("found just now").1;
        }
        loop {
            let (call, heard) = self.member.hear().expect("something is still to come");
            if call == of {
                return heard;
            }
            self.aside.push_back((call, heard));
        }
    }

    fn answer(&mut self, call: CallId) -> Bytes {
        match self.hear(call) {
            Heard::Reply(reply) => reply,
            Heard::Failed(error) => panic!("{error:?}"),
            Heard::Message(_) | Heard::Finished => panic!("{call:?} is no stream"),
        }
    }

    fn message(&mut self, call: CallId) -> Option<Bytes> {
        match self.hear(call) {
            Heard::Message(message) => Some(message),
            Heard::Finished => None,
            Heard::Failed(error) => panic!("{error:?}"),
            Heard::Reply(_) => panic!("{call:?} is a stream"),
        }
    }

    /// Goes on until the client of this call reads no more.
    fn until_full(&mut self, call: CallId) {
        while !self.member.is_full(call) {
            assert!(self.member.step(), "it ended before");
        }
    }

    fn ask(&mut self, shard: ShardId, method: Method, request: &impl Message) -> Bytes {
        let call = self.member.unary(shard, method, request.encode_to_vec().into());
        self.answer(call)
    }

    fn write(&mut self, count: u64) {
        for _ in 0..count {
            let key = format!("k{:03}", self.dice.below(KEYS));
            self.revision += 1;
            if self.dice.chance(150) && self.store.remove(&key).is_some() {
                let delete = pb::DeleteRangeRequest { key: key.into(), ..Default::default() };
                self.ask(ShardId(0), Method::DeleteRange, &delete);
                continue;
            }
            let mut value = vec![0; self.dice.below(VALUE_BYTES) as usize];
            self.dice.fill(&mut value);
            let value = Bytes::from(value);
            self.store.insert(key.clone(), value.clone());
            let put = pb::PutRequest { key: key.into(), value, ..Default::default() };
            self.ask(ShardId(0), Method::Put, &put);
            self.member.tick();
        }
    }

    /// Writes on, compacts everything before, and lets checkpoints take it away.
    fn bury(&mut self) {
        self.write(20);
        let compact = pb::CompactionRequest { revision: self.revision, physical: false };
        self.ask(ShardId(0), Method::Compact, &compact);
        for _ in 0..4 {
            self.write(20);
            self.member.rest();
        }
    }

    fn everything(&self) -> pb::RangeRequest {
        let end = Bytes::from_static(b"l");
        pb::RangeRequest { key: Bytes::from_static(b"k"), range_end: end, ..Default::default() }
    }
}

fn pairs(reply: &pb::RangeResponse) -> BTreeMap<String, Bytes> {
    let text = |key: &Bytes| String::from_utf8(key.to_vec()).expect("made of letters");
    reply.kvs.iter().map(|pair| (text(&pair.key), pair.value.clone())).collect()
}

#[test]
fn a_large_range_is_whole_and_of_one_point_though_what_it_reads_is_compacted_meanwhile() {
    for seed in 0..12 {
        let mut world = World::new(seed);
        let (want, revision) = (world.store.clone(), world.revision);
        let shard = world.member.any_shard();
        let request = world.everything().encode_to_vec();
        let call = world.member.unary(shard, Method::Range, request.into());
        world.member.slow_down(call, 200_000);
        world.until_full(call);
        world.bury();
        world.member.event(shard, ShardEvent::Drained { call });
        let reply = pb::RangeResponse::decode(world.answer(call)).expect("a reply");
        assert_eq!(pairs(&reply), want);
        assert!(reply.kvs.is_sorted_by(|one, two| one.key < two.key));
        assert_eq!((reply.count, reply.more), (want.len() as i64, false));
        assert_eq!(reply.header.expect("every reply has one").revision, revision);
        world.member.settle();
        assert_eq!(world.member.pins(), 0);
    }
}

#[test]
fn limits_filters_and_orders_act_in_large_replies_as_in_small_ones() {
    let mut world = World::new(77);
    let shard = world.member.any_shard();
    let all = world.everything();
    let whole = pb::RangeResponse::decode(world.ask(shard, Method::Range, &all)).expect("all");
    let half = whole.kvs.len() / 2;
    let limited = pb::RangeRequest { limit: half as i64 + 7, ..all.clone() };
    let reply = pb::RangeResponse::decode(world.ask(shard, Method::Range, &limited)).expect("some");
    assert_eq!(reply.kvs, whole.kvs[..half + 7]);
    assert_eq!((reply.count, reply.more), (whole.count, true));
    let since = whole.kvs.iter().map(|pair| pair.mod_revision).min().expect("not empty") + 3;
    let filtered = pb::RangeRequest { min_mod_revision: since, limit: half as i64, ..all.clone() };
    let reply =
        pb::RangeResponse::decode(world.ask(shard, Method::Range, &filtered)).expect("some");
    let mut want: Vec<_> = whole.kvs.clone();
    want.retain(|pair| since <= pair.mod_revision);
    assert_eq!(reply.kvs, want[..half]);
    assert_eq!((reply.count, reply.more), (whole.count, true));
    let sorted = pb::RangeRequest { sort_target: 3, sort_order: 2, ..all };
    let reply = pb::RangeResponse::decode(world.ask(shard, Method::Range, &sorted)).expect("all");
    let mut want = whole.kvs;
    want.sort_by_key(|pair| -pair.mod_revision);
    assert_eq!((reply.kvs, reply.count, reply.more), (want, whole.count, false));
}

#[test]
fn a_client_that_leaves_in_the_middle_keeps_nothing() {
    for seed in 100..110 {
        let mut world = World::new(seed);
        let shard = world.member.any_shard();
        let request = world.everything().encode_to_vec();
        let call = world.member.unary(shard, Method::Range, request.into());
        let steps = world.dice.below(40);
        for _ in 0..steps {
            world.member.step();
        }
        world.member.event(shard, ShardEvent::Gone { call });
        world.member.settle();
        assert_eq!(world.member.pins(), 0);
        world.bury();
    }
}

#[test]
fn a_streamed_range_is_of_one_point_though_it_is_compacted_meanwhile() {
    for seed in 200..208 {
        let mut world = World::new(seed);
        let (want, revision) = (world.store.clone(), world.revision);
        let shard = world.member.any_shard();
        let call = world.member.open(shard, Method::RangeStream);
        let message = Bytes::from(world.everything().encode_to_vec());
        world.member.event(shard, ShardEvent::Message { call, message });
        world.member.slow_down(call, 1);
        world.until_full(call);
        world.bury();
        world.member.event(shard, ShardEvent::Drained { call });
        let mut got = BTreeMap::new();
        let last = loop {
            let message = world.message(call).expect("it ends with totals");
            let reply = pb::RangeStreamResponse::decode(message).expect("a page");
            let reply = reply.range_response.expect("it has one");
            assert!(!got.is_empty() || reply.kvs.len() <= 10);
            got.append(&mut pairs(&reply));
            if reply.header.is_some() {
                break reply;
            }
        };
        assert_eq!(got, want);
        assert_eq!(last.header.expect("just seen").revision, revision);
        assert_eq!((last.count, last.more), (want.len() as i64, false));
        assert_eq!(world.message(call), None);
        world.member.settle();
        assert_eq!(world.member.pins(), 0);
    }
}

#[test]
fn a_snapshot_ends_well_though_what_it_holds_is_compacted_meanwhile() {
    for seed in 300..308 {
        let mut world = World::new(seed);
        let want = world.store.clone();
        let shard = world.member.any_shard();
        let call = world.member.open(shard, Method::Snapshot);
        let message = Bytes::from(pb::SnapshotRequest {}.encode_to_vec());
        world.member.event(shard, ShardEvent::Message { call, message });
        world.member.slow_down(call, 100_000);
        world.until_full(call);
        world.bury();
        world.member.event(shard, ShardEvent::Drained { call });
        let mut file = Vec::new();
        while let Some(message) = world.message(call) {
            file.extend(pb::SnapshotResponse::decode(message).expect("a blob").blob);
        }
        assert_eq!(state_of(&file), want);
        world.member.settle();
        assert_eq!(world.member.pins(), 0);
    }
}

/// The newest state in a snapshot.
fn state_of(file: &[u8]) -> BTreeMap<String, Bytes> {
    let (header, rest) = file.split_first_chunk().expect("it has a header");
    let mut reader = SnapshotReader::begin(header).expect("it is a snapshot");
    let (mut state, mut rest) = (BTreeMap::new(), rest);
    let text = |key: &Bytes| String::from_utf8(key.to_vec()).expect("made of letters");
    loop {
        let (head, after) = rest.split_first_chunk::<ITEM_HEAD_BYTES>().expect("an item");
        let (body, after) = after.split_at(SnapshotReader::body_bytes(head));
        rest = after;
        match reader.item(head, &Bytes::copy_from_slice(body)).expect("it is whole") {
            SnapshotItem::Row { key, value, .. } | SnapshotItem::Put { key, value, .. } => {
                state.insert(text(&key), value);
            }
            SnapshotItem::Delete { key, .. } => drop(state.remove(&text(&key))),
            SnapshotItem::Meta { .. } => {}
            SnapshotItem::End(_) => return state,
        }
    }
}
