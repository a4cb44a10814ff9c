//! Laws of the sequencer, spoken to as the node does: commands in, changes and plans out.

use std::collections::BTreeMap;

use base::{Change, ChangeKind, Rev, Version};
use bytes::Bytes;
use prost::Message;
use wire::etcdserverpb::alarm_request::AlarmAction;
use wire::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use wire::etcdserverpb::request_op::Request as Op;
use wire::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, Compare, DeleteRangeRequest,
    LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp,
};

use super::*;
use crate::command::{Kind, Origin};
use crate::leases::{Granted, LEASE_TTL_S_MAX, LeaseCheckpoint};
use crate::members::MemberAttributes;
use crate::outcome::{DeletePlan, KeyRead, OpPlan, PutPlan, RangeRead, TxnPlan};
use crate::span::Span;
use crate::values::{ValueAnswer, ValueAsk, ValueTest};

mod admin;
mod keys;
mod random;
mod txns;

/// A sequencer with slices made of maps: what the node would keep on disk.
struct World {
    sequencer: Sequencer,
    at: LogPosition,
    pairs: BTreeMap<Bytes, (Version, Bytes)>,
    meta: BTreeMap<Bytes, Bytes>,
    /// Every value ever, by key and revision.
    history: BTreeMap<(Bytes, Rev), Option<Bytes>>,
    log: Vec<Command>,
}

fn options(hash_seed: u64) -> SequencerOptions {
    SequencerOptions { hash_seed, lease_checkpoints: CheckpointPolicy::Off }
}

fn origin() -> Origin {
    Origin { member: 1, sequence: 1 }
}

impl World {
    fn new() -> World {
        World {
            sequencer: Sequencer::new(options(1)),
            at: LogPosition { term: 1, index: 0 },
            pairs: BTreeMap::new(),
            meta: BTreeMap::new(),
            history: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    /// Applies a command, answering what it needs, and keeps what it changes.
    fn apply(&mut self, command: Command) -> Applied {
        self.at.index += 1;
        let before = self.sequencer.revision();
        let applied = match self.sequencer.apply(self.at, &command) {
            Step::Done(applied) => applied,
            Step::NeedValues(needs) => {
                assert!(!needs.is_empty());
                assert_eq!(self.sequencer.revision(), before);
                let values = self.answers(needs);
                match self.sequencer.apply_with(self.at, &command, &values) {
                    Step::Done(applied) => applied,
                    Step::NeedValues(needs) => panic!("asked twice: {needs:?}"),
                }
            }
        };
        self.keep(&applied, before);
        self.log.push(command);
        applied
    }

    fn answers(&self, needs: Vec<ValueNeed>) -> Values {
        let mut values = Values::none();
        for need in needs {
            assert_eq!(need.at, Rev::end_of(self.sequencer.revision()));
            let inside = self.pairs.iter().filter(|(key, _)| need.span.contains(key));
            let found: Vec<&Bytes> = inside.map(|(_, (_, value))| value).collect();
            let answer = match &need.ask {
                ValueAsk::Value => ValueAnswer::Value(found[0].clone()),
                ValueAsk::Every { test, than } => {
                    assert!(!found.is_empty());
                    ValueAnswer::Holds(found.iter().all(|value| test.holds(value, than)))
                }
            };
            values.answer(need, answer);
        }
        values
    }

    /// What slices do, with every promise about changes checked.
    fn keep(&mut self, applied: &Applied, before: i64) {
        let mut last = Rev::end_of(before);
        for change in &applied.changes {
            let next = [Rev::new(last.main, last.sub.wrapping_add(1)), Rev::new(last.main + 1, 0)];
            assert!(next.contains(&change.rev), "{last:?} {change:?}");
            last = change.rev;
            let old = self.pairs.get(&change.key);
            assert_eq!(change.prev, old.map(|(version, _)| version.modified));
            self.keep_one(change);
        }
        assert_eq!(applied.revision, last.main);
        assert_eq!(applied.revision, self.sequencer.revision());
        for meta in &applied.meta {
            match &meta.value {
                Some(value) => drop(self.meta.insert(meta.key.clone(), value.clone())),
                None => assert!(self.meta.remove(&meta.key).is_some(), "{meta:?}"),
            }
        }
        if let Outcome::Failed(_) = applied.outcome {
            assert!(applied.changes.is_empty() && applied.meta.is_empty());
            assert_eq!(applied.compacted, None);
        }
    }

    fn keep_one(&mut self, change: &Change) {
        let key = change.key.clone();
        match &change.kind {
            ChangeKind::Put { value, create, version, lease } => {
                let (create, version, lease) = (*create, *version, *lease);
                let version = Version { create, modified: change.rev, version, lease };
                self.pairs.insert(key.clone(), (version, value.clone()));
                self.history.insert((key, change.rev), Some(value.clone()));
            }
            ChangeKind::Delete => {
                assert!(self.pairs.remove(&key).is_some());
                self.history.insert((key, change.rev), None);
            }
        }
    }

    /// The value of a key at a point, as a slice would read it.
    fn read(&self, key: &str, at: Rev) -> Option<Bytes> {
        let key = Bytes::copy_from_slice(key.as_bytes());
        let upto = (key.clone(), Rev::ZERO)..=(key, at);
        self.history.range(upto).next_back().and_then(|(_, value)| value.clone())
    }

    fn send(&mut self, kind: Kind, request: &impl Message) -> Applied {
        let body = Bytes::from(request.encode_to_vec());
        self.apply(Command { kind, origin: origin(), body })
    }

    fn put(&mut self, put: PutRequest) -> Applied {
        self.send(Kind::Put, &put)
    }

    fn delete(&mut self, delete: DeleteRangeRequest) -> Applied {
        self.send(Kind::DeleteRange, &delete)
    }

    fn txn(&mut self, txn: TxnRequest) -> Applied {
        self.send(Kind::Txn, &txn)
    }

    /// A txn that succeeds, as its plan.
    fn plan(&mut self, txn: TxnRequest) -> TxnPlan {
        match self.txn(txn).outcome {
            Outcome::Txn(plan) => plan,
            other => panic!("{other:?}"),
        }
    }

    fn compact(&mut self, revision: i64) -> Applied {
        self.send(Kind::Compact, &CompactionRequest { revision, physical: false })
    }

    fn grant(&mut self, id: i64, ttl: i64) -> Applied {
        self.send(Kind::LeaseGrant, &LeaseGrantRequest { ttl, id })
    }

    fn revoke(&mut self, id: i64) -> Applied {
        self.send(Kind::LeaseRevoke, &LeaseRevokeRequest { id })
    }

    fn alarm(&mut self, action: AlarmAction, member: u64, alarm: AlarmType) -> Applied {
        let (action, alarm) = (action as i32, alarm as i32);
        self.send(Kind::Alarm, &AlarmRequest { action, member_id: member, alarm })
    }

    fn version(&self, key: &str) -> Option<Version> {
        let head = self.sequencer.head().get(key.as_bytes());
        assert_eq!(head, self.pairs.get(key.as_bytes()).map(|(version, _)| *version));
        head
    }

    /// A second sequencer made of what the first one wrote.
    fn restored(&self) -> Sequencer {
        let mut sequencer = Sequencer::new(options(99));
        for (key, (version, _)) in &self.pairs {
            sequencer.restore_key(key, *version).expect("ours");
        }
        for (key, value) in &self.meta {
            sequencer.restore_meta(key, value).expect("ours");
        }
        let at = RestoredAt {
            applied: self.at,
            revision: self.sequencer.revision(),
            compact_revision: self.sequencer.compact_revision(),
        };
        sequencer.finish_restore(at).expect("ours");
        sequencer
    }
}

fn put(key: &str, value: &str) -> PutRequest {
    let [key, value] = [key, value].map(|text| Bytes::copy_from_slice(text.as_bytes()));
    PutRequest { key, value, ..PutRequest::default() }
}

fn delete(key: &str, end: &str) -> DeleteRangeRequest {
    let [key, range_end] = [key, end].map(|text| Bytes::copy_from_slice(text.as_bytes()));
    DeleteRangeRequest { key, range_end, prev_kv: false }
}

fn put_op(put: PutRequest) -> RequestOp {
    RequestOp { request: Some(Op::RequestPut(put)) }
}

fn delete_op(delete: DeleteRangeRequest) -> RequestOp {
    RequestOp { request: Some(Op::RequestDeleteRange(delete)) }
}

fn range_op(key: &str, revision: i64) -> RequestOp {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let range = RangeRequest { key, revision, ..RangeRequest::default() };
    RequestOp { request: Some(Op::RequestRange(range)) }
}

fn txn_op(txn: TxnRequest) -> RequestOp {
    RequestOp { request: Some(Op::RequestTxn(txn)) }
}

fn all_of(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { compare: vec![], success, failure: vec![] }
}

fn when(compare: Vec<Compare>, success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { compare, success, failure }
}

fn compare(target: CompareTarget, result: CompareResult, key: &str, with: TargetUnion) -> Compare {
    Compare {
        result: result as i32,
        target: target as i32,
        key: Bytes::copy_from_slice(key.as_bytes()),
        target_union: Some(with),
        range_end: Bytes::new(),
    }
}

fn value_is(result: CompareResult, key: &str, value: &str) -> Compare {
    let value = Bytes::copy_from_slice(value.as_bytes());
    compare(CompareTarget::Value, result, key, TargetUnion::Value(value))
}

fn error(applied: Applied) -> ApiError {
    match applied.outcome {
        Outcome::Failed(error) => error,
        other => panic!("not refused: {other:?}"),
    }
}
