//! Owns transactions: what is refused beforehand, which branches are taken, and their execution.
//! Never touches a clock or a lease's time. Invariant: a refused txn has changed nothing.

use super::{Model, TXN_OPS_MAX, check_key, check_put, check_range, header, no_key, store};
use bytes::Bytes;
use pb::compare::TargetUnion;
use pb::request_op::Request as Op;
use pb::response_op::Response as Reply;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use wire::etcdserverpb as pb;
use wire::mvccpb::KeyValue;
use wire::{Code, Status};

/// Which branch a txn takes, and its nested txns, in order of appearance.
struct Path {
    succeeded: bool,
    nested: Vec<Path>,
}

impl Model {
    /// Checks and runs one txn; see [`Model::execute`].
    pub(super) fn txn(&mut self, txn: &pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        check_shape(txn, TXN_OPS_MAX)?;
        Touched::of(&txn.success)?;
        Touched::of(&txn.failure)?;
        let path = self.choose(txn);
        self.check_puts(txn, &path)?;
        self.check_ranges(txn, &path)?;
        let before = self.store.clone();
        self.store.begin();
        match self.run(txn, &path) {
            Ok(mut reply) => {
                self.store.end();
                reply.header = self.header();
                Ok(reply)
            }
            Err(status) => {
                self.store = before;
                Err(status)
            }
        }
    }

    /// Decides every compare of the whole txn on the state before it.
    fn choose(&self, txn: &pb::TxnRequest) -> Path {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let nested = branch(txn, succeeded)
            .iter()
            .filter_map(|op| match &op.request {
                Some(Op::RequestTxn(inner)) => Some(self.choose(inner)),
                _ => None,
            })
            .collect();
        Path { succeeded, nested }
    }

    /// A compare must hold for every key of its range; no key acts as one that is missing.
    fn holds(&self, compare: &pb::Compare) -> bool {
        let pairs = self.store.pairs(&compare.key, &compare.range_end, self.store.revision());
        if pairs.is_empty() {
            return compare.target != pb::compare::CompareTarget::Value as i32
                && matches(compare, &KeyValue::default());
        }
        pairs.iter().all(|pair| matches(compare, pair))
    }

    fn check_puts(&self, txn: &pb::TxnRequest, path: &Path) -> Result<(), Status> {
        let mut nested = path.nested.iter();
        for op in branch(txn, path.succeeded) {
            match &op.request {
                Some(Op::RequestPut(put)) => {
                    self.check_ignored(put)?;
                    self.check_lease(put)?;
                }
                Some(Op::RequestTxn(inner)) => {
                    self.check_puts(inner, nested.next().expect("a path for each nested txn"))?;
                }
                Some(Op::RequestRange(_) | Op::RequestDeleteRange(_)) | None => {}
            }
        }
        Ok(())
    }

    fn check_ranges(&self, txn: &pb::TxnRequest, path: &Path) -> Result<(), Status> {
        let mut nested = path.nested.iter();
        for op in branch(txn, path.succeeded) {
            match &op.request {
                Some(Op::RequestRange(range)) => {
                    self.store.check_revision(range.revision)?;
                    if range.revision < 0 && range.revision < self.store.compacted() {
                        // Real etcd (3.5.1, watched): inside a txn a negative revision is compared
                        // with the compacted one like any other; outside it means now.
                        return Err(store::compacted());
                    }
                }
                Some(Op::RequestTxn(inner)) => {
                    self.check_ranges(inner, nested.next().expect("a path for each nested txn"))?;
                }
                Some(Op::RequestPut(_) | Op::RequestDeleteRange(_)) | None => {}
            }
        }
        Ok(())
    }

    /// Runs the chosen branches; each op sees what the ones before it did. Fails at a put that
    /// keeps the value or lease of a key that an op before it deleted.
    fn run(&mut self, txn: &pb::TxnRequest, path: &Path) -> Result<pb::TxnResponse, Status> {
        let mut nested = path.nested.iter();
        let mut responses = Vec::new();
        for op in branch(txn, path.succeeded) {
            let reply = match op.request.as_ref().expect("an op without body was refused") {
                Op::RequestRange(range) => Reply::ResponseRange(self.store.range(range)),
                Op::RequestPut(put) => {
                    self.check_ignored(put)?;
                    Reply::ResponsePut(self.apply_put(put))
                }
                Op::RequestDeleteRange(delete) => {
                    Reply::ResponseDeleteRange(self.apply_delete(delete))
                }
                Op::RequestTxn(inner) => {
                    let path = nested.next().expect("a path for each nested txn");
                    Reply::ResponseTxn(self.run(inner, path)?)
                }
            };
            responses.push(pb::ResponseOp { response: Some(reply) });
        }
        Ok(pb::TxnResponse { header: header(0), succeeded: path.succeeded, responses })
    }
}

fn branch(txn: &pb::TxnRequest, succeeded: bool) -> &[pb::RequestOp] {
    if succeeded { &txn.success } else { &txn.failure }
}

/// Sizes and fields; the budget of a nested txn is what its parent left.
fn check_shape(txn: &pb::TxnRequest, budget: usize) -> Result<(), Status> {
    let longest = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    if longest > budget {
        return Err(Status::new(
            Code::InvalidArgument,
            "etcdserver: too many operations in txn request",
        ));
    }
    txn.compare.iter().try_for_each(|compare| check_key(&compare.key))?;
    for op in txn.success.iter().chain(&txn.failure) {
        match &op.request {
            Some(Op::RequestRange(range)) => check_range(range)?,
            Some(Op::RequestPut(put)) => check_put(put)?,
            Some(Op::RequestDeleteRange(delete)) => check_key(&delete.key)?,
            Some(Op::RequestTxn(inner)) => check_shape(inner, budget - longest)?,
            None => return Err(no_key()),
        }
    }
    Ok(())
}

/// The keys that a list of ops puts and the ranges that it deletes.
#[derive(Default)]
struct Touched {
    puts: BTreeSet<Bytes>,
    deletes: Vec<(Bytes, Bytes)>,
}

impl Touched {
    /// Collects a list of ops; refuses a key that is put twice, or put and deleted.
    fn of(ops: &[pb::RequestOp]) -> Result<Touched, Status> {
        let mut all = Touched::default();
        for op in ops {
            if let Some(Op::RequestDeleteRange(delete)) = &op.request {
                all.deletes.push((delete.key.clone(), delete.range_end.clone()));
            }
        }
        for op in ops {
            if let Some(Op::RequestTxn(inner)) = &op.request {
                let then = Touched::of(&inner.success)?;
                let otherwise = Touched::of(&inner.failure)?;
                for key in then.puts.union(&otherwise.puts) {
                    all.put(key)?;
                }
                // Real etcd (3.5.1, watched): the deletes of a nested txn meet the puts of later
                // nested txns and of this level, but not the puts of earlier nested txns.
                all.deletes.extend(then.deletes);
                all.deletes.extend(otherwise.deletes);
            }
        }
        for op in ops {
            if let Some(Op::RequestPut(put)) = &op.request {
                all.put(&put.key)?;
            }
        }
        Ok(all)
    }

    fn put(&mut self, key: &Bytes) -> Result<(), Status> {
        let deleted = self.deletes.iter().any(|(begin, end)| overlaps(begin, end, key));
        if deleted || !self.puts.insert(key.clone()) {
            return Err(Status::new(
                Code::InvalidArgument,
                "etcdserver: duplicate key given in txn request",
            ));
        }
        Ok(())
    }
}

/// Real etcd (3.5.1, watched): here the one zero byte that means "everything above" is taken as a
/// plain key, so a delete of everything above a key never meets a put.
fn overlaps(begin: &[u8], end: &[u8], key: &[u8]) -> bool {
    end != [0] && store::covers(begin, end, key)
}

fn matches(compare: &pb::Compare, pair: &KeyValue) -> bool {
    let wanted = compare.target_union.as_ref();
    let ordering = match compare.target {
        0 => pair.version.cmp(&number(wanted, |union| match union {
            TargetUnion::Version(version) => Some(*version),
            _ => None,
        })),
        1 => pair.create_revision.cmp(&number(wanted, |union| match union {
            TargetUnion::CreateRevision(revision) => Some(*revision),
            _ => None,
        })),
        2 => pair.mod_revision.cmp(&number(wanted, |union| match union {
            TargetUnion::ModRevision(revision) => Some(*revision),
            _ => None,
        })),
        3 => match wanted {
            Some(TargetUnion::Value(value)) => pair.value.cmp(value),
            _ => pair.value.cmp(&Bytes::new()),
        },
        4 => pair.lease.cmp(&number(wanted, |union| match union {
            TargetUnion::Lease(lease) => Some(*lease),
            _ => None,
        })),
        _ => Ordering::Equal,
    };
    match compare.result {
        0 => ordering == Ordering::Equal,
        1 => ordering == Ordering::Greater,
        2 => ordering == Ordering::Less,
        3 => ordering != Ordering::Equal,
        _ => true,
    }
}

/// The number to compare with; one of another target counts as 0.
fn number(union: Option<&TargetUnion>, pick: impl Fn(&TargetUnion) -> Option<i64>) -> i64 {
    union.and_then(pick).unwrap_or(0)
}
