//! Owns what must be true: every state of the store by revision, what clients were told, and what
//! may or may not have happened.
//! Shares no code with the member. Invariant: a state is entered once, when it has been read back,
//! and explained by exactly one request.

mod apply;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use node::CallId;
use wire::mvccpb::KeyValue;

use crate::ops::{Facts, Op};
pub use apply::{apply, covered};

/// All pairs, by key.
pub type Rows = BTreeMap<Bytes, KeyValue>;

/// Something that a client was told about the state at a revision.
#[derive(Clone, Debug)]
enum Claim {
    /// This request changed nothing there.
    Idle(Op, Facts),
    /// These are the pairs of this span.
    Rows { key: Bytes, end: Bytes, rows: Vec<KeyValue> },
}

/// What is known of the member's promises.
#[derive(Default)]
pub struct Oracle {
    states: BTreeMap<i64, Rows>,
    /// Requests under way, and those whose fate a crash left open.
    open: BTreeMap<CallId, Op>,
    told: BTreeMap<i64, (Op, Facts)>,
    revokes: Vec<(i64, i64)>,
    claims: Vec<(i64, Claim)>,
    /// The highest revision that anybody was told.
    pub seen: i64,
    /// The highest compaction that was acknowledged.
    pub compacted: i64,
    /// Leases that are there for certain.
    pub leases: BTreeSet<i64>,
    /// Leases that are gone for certain.
    gone: BTreeSet<i64>,
    /// Acknowledged changes.
    pub acknowledged: u64,
}

impl Oracle {
    /// Of an empty store.
    pub fn new() -> Oracle {
        let mut oracle = Oracle { seen: 1, compacted: -1, ..Oracle::default() };
        oracle.states.insert(1, Rows::new());
        oracle
    }

    /// The highest revision whose state is known.
    pub fn base(&self) -> i64 {
        *self.states.last_key_value().expect("never empty").0
    }

    /// A known state.
    pub fn state(&self, revision: i64) -> Option<&Rows> {
        self.states.get(&revision)
    }

    /// A request goes out.
    pub fn sent(&mut self, call: CallId, op: Op) {
        if let Op::Revoke(revoke) = &op {
            self.leases.remove(&revoke.id);
        }
        self.open.insert(call, op);
    }

    /// A request was refused before it could do anything.
    pub fn refused(&mut self, call: CallId) {
        self.open.remove(&call);
    }

    /// A request was acknowledged.
    pub fn acknowledged(&mut self, call: CallId, reply: Bytes) -> Result<(), String> {
        let op = self.open.remove(&call).ok_or("a reply that nobody waits for")?;
        let (revision, facts) = op.decode(reply)?;
        self.acknowledged += 1;
        self.seen = self.seen.max(revision);
        match (&op, facts.changed()) {
            (_, Some(true)) => {
                if let Some((other, _)) = self.told.insert(revision, (op.clone(), facts)) {
                    return Err(format!("{revision} was told to {op:?} and to {other:?}"));
                }
                if revision <= self.base() {
                    return Err(format!("{op:?} was told {revision}, which is older than it"));
                }
            }
            (_, Some(false)) => self.claims.push((revision, Claim::Idle(op, facts))),
            (Op::Compact(compact), None) => {
                self.compacted = self.compacted.max(compact.revision);
            }
            (Op::Grant(grant), None) => drop(self.leases.insert(grant.id)),
            (Op::Revoke(revoke), None) => {
                self.gone.insert(revoke.id);
                self.revokes.push((revision, revoke.id));
            }
            (Op::Put(_) | Op::Delete(_) | Op::Txn(_), None) => {
                return Err(format!("{op:?} was answered by {facts:?}"));
            }
        }
        Ok(())
    }

    /// A range was answered at this revision.
    pub fn read(&mut self, at: i64, key: Bytes, end: Bytes, rows: Vec<KeyValue>) {
        self.claims.push((at, Claim::Rows { key, end, rows }));
    }

    /// The state at the next revision was read back: somebody must have made it. The model's rows
    /// are kept, since they share their values.
    pub fn enter(&mut self, revision: i64, found: &Rows) -> Result<(), String> {
        assert_eq!(revision, self.base() + 1);
        let before = &self.states[&self.base()];
        let rows = match self.told.remove(&revision) {
            Some((op, facts)) => {
                let mut rows = before.clone();
                let made = apply(&op, &mut rows, revision);
                if made.as_ref() != Some(&facts) || rows != *found {
                    return Err(format!(
                        "revision {revision} was told to {op:?} with {facts:?}; it should have \
                         told {made:?}; {}",
                        difference(&rows, found)
                    ));
                }
                rows
            }
            None => self.explain(revision, found)?,
        };
        self.states.insert(revision, rows);
        Ok(())
    }

    /// Looks for a request that nobody was told about, or a revoke, which tells too little.
    fn explain(&mut self, revision: i64, found: &Rows) -> Result<Rows, String> {
        let before = &self.states[&self.base()];
        for (_, id) in self.revokes.iter().filter(|(told, _)| *told == revision) {
            let mut rows = before.clone();
            rows.retain(|_, pair| pair.lease != *id);
            if rows == *found {
                return Ok(rows);
            }
        }
        let made = self.open.iter().find_map(|(call, op)| {
            let mut rows = before.clone();
            let facts = apply(op, &mut rows, revision);
            let changed = facts.is_some_and(|facts| facts.changed() != Some(false));
            (changed && rows == *found).then_some((*call, rows))
        });
        let Some((call, rows)) = made else {
            return Err(format!(
                "nobody asked for what revision {revision} did, or not in full: {}; open: {:?}",
                difference(before, found),
                self.open
            ));
        };
        // A revoke's lease is settled by the list of leases.
        if !matches!(self.open[&call], Op::Revoke(_)) {
            self.open.remove(&call);
        }
        Ok(rows)
    }

    /// All states up to `revision` are known: everything that was told can be judged.
    pub fn judge(&mut self, revision: i64) -> Result<(), String> {
        assert_eq!(revision, self.base());
        if let Some((at, (op, _))) = self.told.first_key_value() {
            return Err(format!("{op:?} was acknowledged at {at} and is lost: now is {revision}"));
        }
        for (at, claim) in std::mem::take(&mut self.claims) {
            let Some(state) = self.states.get(&at) else {
                return Err(format!("revision {at} was told to a client and does not exist"));
            };
            match claim {
                Claim::Idle(op, facts) => {
                    let mut rows = state.clone();
                    let made = apply(&op, &mut rows, at + 1);
                    if made.as_ref() != Some(&facts) {
                        return Err(format!("at {at} {op:?} cannot have told {facts:?}"));
                    }
                }
                Claim::Rows { key, end, rows } => {
                    let right = covered(state, &key, &end);
                    if right != rows {
                        let index = |rows: Vec<KeyValue>| -> Rows {
                            rows.into_iter().map(|pair| (pair.key.clone(), pair)).collect()
                        };
                        return Err(format!(
                            "a read of {key:?}..{end:?} at {at} was wrong: {}",
                            difference(&index(right), &index(rows))
                        ));
                    }
                }
            }
        }
        self.revokes.clear();
        Ok(())
    }

    /// The member lists these leases: each must be one that may be there, none may be missing.
    pub fn judge_leases(&mut self, listed: &BTreeSet<i64>) -> Result<(), String> {
        let now = &self.states[&self.base()];
        if let Some(lost) = self.leases.iter().find(|id| !listed.contains(id)) {
            return Err(format!("lease {lost} was granted and is gone"));
        }
        if let Some(back) = self.gone.iter().find(|id| listed.contains(id)) {
            return Err(format!("lease {back} was revoked and is back"));
        }
        let stray = now.values().find(|pair| pair.lease != 0 && !listed.contains(&pair.lease));
        if let Some(pair) = stray {
            return Err(format!("{:?} hangs on lease {}, which is gone", pair.key, pair.lease));
        }
        let asked = self.open.values().filter_map(|op| match op {
            Op::Grant(grant) => Some(grant.id),
            Op::Revoke(revoke) => Some(revoke.id),
            Op::Put(_) | Op::Delete(_) | Op::Txn(_) | Op::Compact(_) => None,
        });
        let asked: BTreeSet<i64> = asked.collect();
        if let Some(new) = listed.iter().find(|id| !self.leases.contains(id) && !asked.contains(id))
        {
            return Err(format!("nobody asked for lease {new}"));
        }
        Ok(())
    }

    /// The highest compaction that may have happened.
    pub fn compacted_max(&self) -> i64 {
        let asked = self.open.values().filter_map(|op| match op {
            Op::Compact(compact) => Some(compact.revision),
            Op::Put(_) | Op::Delete(_) | Op::Txn(_) | Op::Grant(_) | Op::Revoke(_) => None,
        });
        asked.max().unwrap_or(-1).max(self.compacted)
    }

    /// Nothing is under way, and what has not happened by now never will. Old states that nobody
    /// can read any more are forgotten.
    pub fn settle(&mut self, leases: BTreeSet<i64>, compacted: i64) {
        self.open.clear();
        self.leases = leases;
        self.compacted = compacted;
        self.states = self.states.split_off(&compacted.min(self.base()));
    }
}

fn difference(right: &Rows, found: &Rows) -> String {
    let short = |pair: Option<&KeyValue>| match pair {
        None => "nothing".to_owned(),
        Some(pair) => format!(
            "create {} mod {} version {} lease {} value {:?}+{}",
            pair.create_revision,
            pair.mod_revision,
            pair.version,
            pair.lease,
            &pair.value.slice(..pair.value.len().min(12)),
            pair.value.len()
        ),
    };
    let keys: BTreeSet<&Bytes> = right.keys().chain(found.keys()).collect();
    let differ = keys.into_iter().filter(|key| right.get(*key) != found.get(*key));
    let lines = differ.take(6).map(|key| {
        format!("{key:?}: expected {}, found {}", short(right.get(key)), short(found.get(key)))
    });
    lines.collect::<Vec<_>>().join("; ")
}
