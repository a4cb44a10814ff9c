//! The hash against numbers that etcd 3.5.1 answered (`etcdctl endpoint hashkv`) after the same
//! commands, before and after compactions, however the keys are dealt to slices.

use base::{ChangeKind, SliceId, Version};
use bytes::Bytes;
use slice::{ReadRequest, ReadResult};

use super::*;
use crate::shard::Partition;

/// What etcd gave to the lease that one of the keys hangs on.
const LEASE: i64 = 0x30ea_a1fb_cdab_c70d;

fn put(rev: (i64, u32), key: &str, value: &str, life: (i64, i64, i64)) -> Record {
    let (create, version, lease) = life;
    let value = Bytes::copy_from_slice(value.as_bytes());
    let kind = ChangeKind::Put { value, create, version, lease };
    record(rev, key, kind)
}

fn record(rev: (i64, u32), key: &str, kind: ChangeKind) -> Record {
    let key = Bytes::copy_from_slice(key.as_bytes());
    Record { rev: Rev::new(rev.0, rev.1), key, kind, prev: None, tombstone: None }
}

fn script() -> Vec<Record> {
    let mut log: Vec<Record> = (1..=5)
        .map(|n| put((n + 1, 0), &format!("k{n}"), &format!("v{n}"), (n + 1, 1, 0)))
        .collect();
    log.push(put((7, 0), "k1", "second", (2, 2, 0)));
    log.push(record((8, 0), "k2", ChangeKind::Delete));
    log.push(put((9, 0), "a", "1", (9, 1, 0)));
    log.push(put((9, 1), "b", "2", (9, 1, 0)));
    log.push(record((9, 2), "k4", ChangeKind::Delete));
    log.push(put((9, 3), "a2", "x", (9, 1, 0)));
    log.push(put((10, 0), "leased", "x", (10, 1, LEASE)));
    log.push(put((11, 0), "k2", "again", (11, 1, 0)));
    log.push(put((12, 0), "k3", "again", (4, 2, 0)));
    let keys = ["a", "a2", "b", "k1", "k2", "k3", "k5", "leased"];
    log.extend((0..).zip(keys).map(|(sub, key)| record((13, sub), key, ChangeKind::Delete)));
    log.push(put((14, 0), "z", "z", (14, 1, 0)));
    log
}

fn live_at(log: &[Record], at: Rev) -> BTreeMap<Bytes, Item> {
    let mut live = BTreeMap::new();
    for Record { rev, key, kind, .. } in log.iter().filter(|record| record.rev <= at).cloned() {
        match kind {
            ChangeKind::Put { value, create, version, lease } => {
                let version = Version { create, modified: rev, version, lease };
                live.insert(key.clone(), Item { key, version, value_bytes: value.len(), value });
            }
            ChangeKind::Delete => drop(live.remove(&key)),
        }
    }
    live
}

/// What a slice of the log would answer; rows and records three at a time.
fn answer(log: &[Record], request: ReadRequest) -> ReadResult {
    match request {
        ReadRequest::Range { keys, at, .. } => {
            let live = live_at(log, at);
            let mut rest: Vec<Item> =
                live.into_values().filter(|row| keys.contains(&row.key)).collect();
            let resume = rest.get(3).map(|row| row.key.clone());
            rest.truncate(3);
            ReadResult::Range { items: rest, resume }
        }
        ReadRequest::History { from, to, .. } => {
            let known = |record: &&Record| from <= record.rev && record.rev.main <= to;
            let mut rest: Vec<Record> = log.iter().filter(known).cloned().collect();
            let resume = rest.get(3).map(|record| record.rev);
            rest.truncate(3);
            ReadResult::History { records: rest, resume }
        }
        ReadRequest::Count { .. } => unreachable!("a hash never counts"),
    }
}

fn hash(slices: u16, compact: i64, revision: i64) -> u32 {
    let partition = Partition::new(slices, 1);
    let of = |slice: SliceId| -> Vec<Record> {
        script().into_iter().filter(|record| partition.slice_of(&record.key) == slice).collect()
    };
    let ask = HashAsk { whose: Whose::Leader(1), kind: HashKind::At(revision), head: 14 };
    let mut job = HashJob::new(ask, revision, compact);
    let ids: Vec<SliceId> = partition.key_slices().collect();
    let mut walk = Walk::new(job.course(), &ids);
    while job.turn(&mut walk) != Turn::Done {
        for (slice, request) in walk.asks() {
            walk.supply(slice, answer(&of(slice), request)).unwrap();
        }
    }
    job.total.sum
}

#[test]
fn the_hash_is_the_one_that_etcd_computes() {
    let recorded = [
        (-1, 1, 1_084_519_789),
        (-1, 8, 693_128_047),
        (-1, 4, 4_178_063_679),
        (-1, 10, 430_150_688),
        (6, 10, 3_416_676_087),
        (6, 7, 1_032_041_364),
        (6, 8, 1_313_627_178),
        (6, 12, 3_505_863_037),
        (11, 12, 3_423_305_354),
        (11, 13, 4_230_333_749),
        // Nothing is alive: what lived at the compact revision counts.
        (12, 13, 212_329_111),
        (12, 14, 2_174_177_848),
    ];
    for (compact, revision, expected) in recorded {
        for slices in [1, 2, 5] {
            assert_eq!(hash(slices, compact, revision), expected, "{revision} after {compact}");
        }
    }
}
