//! Owns the making of random commands: a seed in, requests out, over few keys so that they meet.
//! Never looks at a reply. Invariant: the same seed and the same hints give the same commands.

use super::Request;
use bytes::Bytes;
use pb::compare::TargetUnion;
use pb::request_op::Request as Op;
use wire::etcdserverpb as pb;

/// A source of commands.
#[derive(Clone, Debug)]
pub struct Generator {
    state: u64,
    /// The current revision, to ask for revisions that exist, existed or never will.
    revision: i64,
    compacted: i64,
}

impl Generator {
    /// The same seed gives the same commands.
    pub fn new(seed: u64) -> Generator {
        Generator { state: seed, revision: 1, compacted: -1 }
    }

    /// The next command. The hints only aim the revisions that it asks for.
    pub fn next(&mut self, revision: i64, compacted: i64) -> Request {
        self.revision = revision;
        self.compacted = compacted;
        match self.below(100) {
            0..25 => Request::Put(self.put()),
            25..40 => Request::DeleteRange(self.delete()),
            40..60 => Request::Range(self.range()),
            60..84 => Request::Txn(self.txn(0)),
            84..86 => Request::Compact(self.compact()),
            86..90 => Request::LeaseGrant(self.grant()),
            90..93 => Request::LeaseRevoke(pb::LeaseRevokeRequest { id: self.lease_id() }),
            93..95 => Request::LeaseKeepAlive(pb::LeaseKeepAliveRequest { id: self.lease_id() }),
            95..98 => {
                let keys = self.one_in(2);
                Request::LeaseTimeToLive(pb::LeaseTimeToLiveRequest { id: self.lease_id(), keys })
            }
            _ => Request::LeaseLeases(pb::LeaseLeasesRequest {}),
        }
    }

    /// A watch over some of the past, with random range, filters and previous pairs.
    pub fn watch(&mut self, revision: i64, compacted: i64) -> pb::WatchCreateRequest {
        let (key, range_end) = self.key_range();
        let start = 1 + self.below(revision.unsigned_abs() + 1) as i64;
        let mut filters = Vec::new();
        for filter in [0, 1] {
            if self.one_in(6) {
                filters.push(filter);
            }
        }
        pb::WatchCreateRequest {
            key,
            range_end,
            // Below the compacted revision one time in four; the revision itself is left to a test
            // of its own, since etcd's answer there changed between versions.
            start_revision: if self.one_in(4) { start } else { start.max(compacted + 1) },
            prev_kv: self.one_in(2),
            filters,
            ..Default::default()
        }
    }

    /// Splitmix64: small, and good enough to choose with.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random() % limit
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of six keys, some of which begin like others; rarely none. Not more than six: etcd's
    /// sort is not stable, but happens to be up to six pairs.
    fn key(&mut self) -> Bytes {
        const KEYS: [&[u8]; 6] = [b"\0", b"a", b"ab", b"b\0", b"c", b"\xff"];
        if self.one_in(60) {
            return Bytes::new();
        }
        Bytes::from_static(KEYS[self.below(6) as usize])
    }

    /// One key, a range, a prefix, everything above, everything; also ends that are below.
    fn key_range(&mut self) -> (Bytes, Bytes) {
        match self.below(10) {
            0..4 => (self.key(), Bytes::new()),
            4..7 => (self.key(), self.key()),
            7 => (Bytes::from_static(b"a"), Bytes::from_static(b"b")),
            8 => (self.key(), Bytes::from_static(b"\0")),
            _ => (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
        }
    }

    fn value(&mut self) -> Bytes {
        match self.below(8) {
            0 => Bytes::new(),
            other => Bytes::from(format!("v{}", other % 5)),
        }
    }

    fn lease_id(&mut self) -> i64 {
        [0, -7, 1, 2, 3, 4, 5, 6][self.below(8) as usize]
    }

    /// Mostly no lease, sometimes one that may exist.
    fn lease(&mut self) -> i64 {
        if self.one_in(3) { self.lease_id() } else { 0 }
    }

    /// Around every edge: now, the compacted revision, the past, the future, negative.
    fn revision(&mut self) -> i64 {
        match self.below(12) {
            0..5 => 0,
            5..8 => 1 + self.below(self.revision.unsigned_abs()) as i64,
            8 => self.revision,
            9 => self.compacted + self.below(3) as i64 - 1,
            10 => self.revision + self.below(2) as i64,
            _ => -(self.below(3) as i64),
        }
    }

    fn put(&mut self) -> pb::PutRequest {
        let ignore_value = self.one_in(10);
        let ignore_lease = self.one_in(10);
        pb::PutRequest {
            key: self.key(),
            value: if ignore_value && !self.one_in(5) { Bytes::new() } else { self.value() },
            lease: if ignore_lease && !self.one_in(5) { 0 } else { self.lease() },
            prev_kv: self.one_in(3),
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self) -> pb::DeleteRangeRequest {
        let (key, range_end) = self.key_range();
        pb::DeleteRangeRequest { key, range_end, prev_kv: self.one_in(3) }
    }

    fn range(&mut self) -> pb::RangeRequest {
        let (key, range_end) = self.key_range();
        let mut range = pb::RangeRequest {
            key,
            range_end,
            revision: self.revision(),
            serializable: self.one_in(3),
            keys_only: self.one_in(6),
            count_only: self.one_in(8),
            ..Default::default()
        };
        if self.one_in(3) {
            range.limit = self.below(5) as i64 - 1;
        }
        if self.one_in(3) {
            range.sort_order = self.below(3) as i32;
            range.sort_target = self.below(5) as i32;
        }
        if self.one_in(6) {
            range.min_mod_revision = self.revision();
            range.max_mod_revision = self.revision();
        }
        if self.one_in(6) {
            range.min_create_revision = self.revision();
            range.max_create_revision = self.revision();
        }
        range
    }

    fn compact(&mut self) -> pb::CompactionRequest {
        let revision = match self.below(6) {
            0 => self.revision + 1,
            1 => self.compacted,
            2 => self.revision,
            _ => {
                let room = (self.revision - self.compacted).unsigned_abs() + 1;
                self.compacted + self.below(room) as i64
            }
        };
        pb::CompactionRequest { revision, physical: false }
    }

    fn grant(&mut self) -> pb::LeaseGrantRequest {
        let id = loop {
            let id = self.lease_id();
            if id != 0 {
                break id;
            }
        };
        // A thousand seconds between two of them, so that time does not reorder a listing.
        let ttl = if self.one_in(12) { 9_000_000_001 } else { 1000 * (id.abs() + 1) };
        pb::LeaseGrantRequest { id, ttl }
    }

    fn compare(&mut self) -> pb::Compare {
        let (key, range_end) =
            if self.one_in(4) { self.key_range() } else { (self.key(), Bytes::new()) };
        let union = match self.below(6) {
            0 => Some(TargetUnion::Version(self.below(4) as i64)),
            1 => Some(TargetUnion::CreateRevision(self.revision())),
            2 => Some(TargetUnion::ModRevision(self.revision())),
            3 => Some(TargetUnion::Value(self.value())),
            4 => Some(TargetUnion::Lease(self.lease())),
            _ => None,
        };
        let fitting = match &union {
            Some(TargetUnion::Version(_)) | None => 0,
            Some(TargetUnion::CreateRevision(_)) => 1,
            Some(TargetUnion::ModRevision(_)) => 2,
            Some(TargetUnion::Value(_)) => 3,
            Some(TargetUnion::Lease(_)) => 4,
        };
        pb::Compare {
            result: if self.one_in(20) { 7 } else { self.below(4) as i32 },
            target: if self.one_in(10) { self.below(6) as i32 } else { fitting },
            key,
            range_end,
            target_union: union,
        }
    }

    fn txn(&mut self, depth: u32) -> pb::TxnRequest {
        let compare = (0..self.below(3)).map(|_| self.compare()).collect();
        let success = (0..self.below(4)).map(|_| self.op(depth)).collect();
        let failure = (0..self.below(4)).map(|_| self.op(depth)).collect();
        pb::TxnRequest { compare, success, failure }
    }

    fn op(&mut self, depth: u32) -> pb::RequestOp {
        let request = match self.below(100) {
            0..35 => Op::RequestPut(self.put()),
            35..55 => Op::RequestDeleteRange(self.delete()),
            55..80 => Op::RequestRange(self.range()),
            80..99 if depth < 3 => Op::RequestTxn(self.txn(depth + 1)),
            80..99 => Op::RequestRange(self.range()),
            _ => return pb::RequestOp { request: None },
        };
        pb::RequestOp { request: Some(request) }
    }
}
