//! A compaction whose client wants to hear when the space is given back used to be answered after
//! one checkpoint, while the space came back with the second.

use bytes::Bytes;
use node::shard::Partition;
use node::{ShardEvent, ShardId};
use prost::Message;
use ringleader_twin::member::{Heard, Member, Shape};
use wire::{Method, etcdserverpb as pb};

fn member(seed: u64, shards: u16) -> Member {
    println!("seed {seed}");
    // No checkpoint but those that are wanted.
    Member::new(Shape { partition: Partition::new(2, shards), checkpoint_log_bytes: 1 << 40 }, seed)
}

fn write(member: &mut Member, count: usize) {
    for number in 0..count {
        let key = Bytes::from(format!("k{}", number % 50));
        let value = Bytes::from(vec![7; 20_000]);
        let put = pb::PutRequest { key, value, ..pb::PutRequest::default() };
        member.unary(ShardId(0), Method::Put, put.encode_to_vec().into());
        assert!(matches!(member.hear(), Some((_, Heard::Reply(_)))));
        member.tick();
    }
}

fn physical(revision: i64) -> Bytes {
    pb::CompactionRequest { revision, physical: true }.encode_to_vec().into()
}

fn history_bytes(member: &Member) -> u64 {
    let blocks = member.disk().blocks();
    let of_history = blocks.iter().filter(|(file, _)| match file {
        base::FileId::History { segment, .. } => 0 < *segment,
        base::FileId::Tree(_) | base::FileId::Log(_) | base::FileId::Manifest => false,
    });
    of_history.count() as u64 * 4096
}

#[test]
fn a_physical_compaction_is_answered_when_its_space_is_back() {
    for seed in 0..6 {
        let mut member = member(seed, 1 + (seed % 3) as u16);
        write(&mut member, 600);
        // A checkpoint puts history on disk.
        let first = member.unary(ShardId(0), Method::Compact, physical(2));
        answered(&mut member, first);
        let before = history_bytes(&member);
        assert!(10 << 20 < before, "{before}");
        let shard = member.any_shard();
        let call = member.unary(shard, Method::Compact, physical(601));
        answered(&mut member, call);
        let after = history_bytes(&member);
        // Records of the compact revision itself stay, and with them their segment.
        assert!(after < before / 4, "{before} -> {after}");
    }
}

fn answered(member: &mut Member, call: node::CallId) {
    for _ in 0..20_000 {
        member.tick();
        match member.hear() {
            None => {}
            Some((of, Heard::Reply(_))) if of == call => return,
            Some(other) => panic!("{other:?}"),
        }
    }
    panic!("it is never answered");
}

#[test]
fn whoever_leaves_while_space_is_given_back_leaves_nothing_behind() {
    let mut member = member(9, 2);
    write(&mut member, 100);
    let call = member.unary(ShardId(1), Method::Compact, physical(101));
    for _ in 0..10 {
        member.step();
    }
    member.event(ShardId(1), ShardEvent::Gone { call });
    for _ in 0..200 {
        member.tick();
        assert!(member.hear().is_none());
    }
    let again = member.unary(ShardId(1), Method::Compact, physical(101));
    assert!(matches!(member.hear(), Some((of, Heard::Failed(_))) if of == again));
}
