//! Owns the replicated state of one member and decides every command in log order. Never reads a
//! value, the time or a disk.
//! Invariant: two sequencers that applied the same log, from any checkpoint of it, are equal; a
//! command either does all that it says or changes nothing.

use bytes::Bytes;
use wire::ApiError;
use wire::etcdserverpb::TxnRequest;

use crate::alarms::Alarms;
use crate::command::Command;
use crate::head::HeadIndex;
use crate::leases::{CheckpointPolicy, Leases};
use crate::members::{Member, MemberChange, Members};
use crate::meta::{Fact, MetaChange};
use crate::outcome::{Applied, Outcome, Step, TxnStep};
use crate::store::Store;
use crate::txn::{self, Needs};
use crate::values::{ValueNeed, Values};

mod decide;
mod hash;
mod restore;
#[cfg(test)]
mod tests;

pub use restore::{RestoreError, RestoredAt};

/// What a member decides for itself; none of it changes what the sequencer computes.
#[derive(Clone, Copy, Debug)]
pub struct SequencerOptions {
    /// Spreads keys over the head index's table; drawn at start, so that no client can aim.
    pub hash_seed: u64,
    /// Whether remaining lease seconds are written to the log when we lead.
    pub lease_checkpoints: CheckpointPolicy,
}

/// Where in the log a command stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// The entry's term.
    pub term: u64,
    /// The entry's index.
    pub index: u64,
}

/// The replicated state.
pub struct Sequencer {
    store: Store,
    alarms: Alarms,
    members: Members,
    /// By hearsay, until the first snapshot brings the list itself.
    told: Vec<Member>,
    cluster_version: Option<String>,
    downgrade_target: Option<String>,
    applied: LogPosition,
    restoring: restore::Restoring,
}

/// What a command did besides changing keys.
struct Done {
    outcome: Outcome,
    meta: Vec<MetaChange>,
}

/// Why a command did nothing.
enum Refused {
    Failed(ApiError),
    Needs(Vec<ValueNeed>),
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Refused {
        Refused::Failed(error)
    }
}

impl Sequencer {
    /// The state before the first entry: revision 1, never compacted. Restore a checkpoint into
    /// it with `restore_key`, `restore_meta` and `finish_restore`, or begin at once.
    pub fn new(options: SequencerOptions) -> Sequencer {
        let head = HeadIndex::new(options.hash_seed);
        let leases = Leases::new(options.lease_checkpoints);
        Sequencer {
            store: Store { head, leases, revision: 1, compacted: -1 },
            alarms: Alarms::default(),
            members: Members::default(),
            told: Vec::new(),
            cluster_version: None,
            downgrade_target: None,
            applied: LogPosition::default(),
            restoring: restore::Restoring::default(),
        }
    }

    /// Decides the next command of the log. Commands of one entry share its position.
    pub fn apply(&mut self, at: LogPosition, command: &Command) -> Step {
        self.apply_with(at, command, &Values::none())
    }

    /// Decides a command that needed values, with them. They must be true at the points that the
    /// needs name, and no other command may come in between.
    pub fn apply_with(&mut self, at: LogPosition, command: &Command, values: &Values) -> Step {
        self.advance(at);
        let mut changes = Vec::new();
        let compacted_before = self.store.compacted;
        let decided = match command.request() {
            Ok(request) => self.decide(request, values, &mut changes),
            Err(bad) => {
                let text = format!("etcdserver: malformed {:?} request", bad.kind);
                Err(Refused::Failed(ApiError::Unknown(text)))
            }
        };
        let done = match decided {
            Ok(done) => done,
            Err(Refused::Failed(error)) => failed(error),
            Err(Refused::Needs(needs)) => {
                assert!(changes.is_empty());
                return Step::NeedValues(needs);
            }
        };
        let moved = self.store.compacted != compacted_before;
        Step::Done(Applied {
            outcome: done.outcome,
            changes,
            meta: done.meta,
            revision: self.store.revision,
            compacted: moved.then_some(self.store.compacted),
        })
    }

    /// Makes a change of the member list, which travels with a change of the Raft group. Also
    /// how the first members enter a new store.
    pub fn change_members(&mut self, at: LogPosition, change: MemberChange) -> Applied {
        self.advance(at);
        let done = match self.members.check(&change) {
            Err(error) => failed(error),
            Ok(()) => {
                let removed = matches!(change, MemberChange::Remove(_));
                let before = member_id(&change).and_then(|id| self.members.get(id)).cloned();
                let id = self.members.make(change);
                let mut meta = Vec::new();
                if removed {
                    meta.extend(before.map(|member| Fact::Member(member).erase()));
                    meta.push(Fact::Removed(id).write());
                } else {
                    meta.push(self.member_fact(id));
                }
                Done { outcome: Outcome::MemberChange, meta }
            }
        };
        let revision = self.store.revision;
        let Done { outcome, meta } = done;
        Applied { outcome, changes: Vec::new(), meta, revision, compacted: None }
    }

    /// Notes who the members of the cluster are that this new store is to become part of. It is
    /// hearsay, good for finding a peer; the list itself comes with the first snapshot, in a store
    /// of its own.
    pub fn note_told(&mut self, told: Vec<Member>) -> Applied {
        assert!(self.members.is_empty());
        let meta = told.iter().cloned().map(|member| Fact::Told(member).write()).collect();
        self.told = told;
        let outcome = Outcome::MemberChange;
        let revision = self.store.revision;
        Applied { outcome, changes: Vec::new(), meta, revision, compacted: None }
    }

    /// Who the members of the cluster were said to be when this member joined it; nobody once it
    /// knows.
    pub fn told(&self) -> &[Member] {
        &self.told
    }

    /// Notes an entry that holds no command (a new leader's first).
    pub fn skip(&mut self, at: LogPosition) {
        self.advance(at);
    }

    /// Plans a transaction that only reads ([`crate::validate::is_read_only`]), at the current
    /// revision.
    pub fn plan_txn(&self, request: &TxnRequest, values: &Values) -> Result<TxnStep, ApiError> {
        let mut needs = Needs::new();
        let Some(path) = txn::decide(&self.store, request, values, &mut needs) else {
            return Ok(TxnStep::NeedValues(needs.into_iter().collect()));
        };
        txn::check_ranges(&self.store, request, &path)?;
        Ok(TxnStep::Done(txn::plan(&self.store, request, &path)))
    }

    /// Checks the revision of a range of its own and gives the main revision to read at: 0 and
    /// below is the current one; the compact revision itself can still be read.
    pub fn read_revision(&self, requested: i64) -> Result<i64, ApiError> {
        if requested > self.store.revision {
            return Err(ApiError::FutureRevision);
        }
        if requested <= 0 {
            return Ok(self.store.revision);
        }
        if requested < self.store.compacted {
            return Err(ApiError::Compacted);
        }
        Ok(requested)
    }

    /// The store's revision: that of the latest change, 1 if there was none.
    pub fn revision(&self) -> i64 {
        self.store.revision
    }

    /// The compact revision; -1 if the store was never compacted.
    pub fn compact_revision(&self) -> i64 {
        self.store.compacted
    }

    /// Where in the log we are.
    pub fn applied(&self) -> LogPosition {
        self.applied
    }

    /// The live keys.
    pub fn head(&self) -> &HeadIndex {
        &self.store.head
    }

    /// The leases.
    pub fn leases(&self) -> &Leases {
        &self.store.leases
    }

    /// The leases, to be told the time.
    pub fn leases_mut(&mut self) -> &mut Leases {
        &mut self.store.leases
    }

    /// The keys attached to a lease, in order.
    pub fn lease_keys(&self, id: i64) -> Vec<Bytes> {
        let head = &self.store.head;
        let mut keys: Vec<&[u8]> =
            self.store.leases.attached(id).map(|slot| head.key(slot)).collect();
        keys.sort_unstable();
        keys.into_iter().map(Bytes::copy_from_slice).collect()
    }

    /// The alarms.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// The members.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The version that the whole cluster serves, once it is known.
    pub fn cluster_version(&self) -> Option<&str> {
        self.cluster_version.as_deref()
    }

    /// The version that the cluster should go back to, while it should.
    pub fn downgrade_target(&self) -> Option<&str> {
        self.downgrade_target.as_deref()
    }

    fn advance(&mut self, at: LogPosition) {
        assert!(!self.restoring.is_under_way());
        assert!(self.applied.index <= at.index);
        assert!(self.applied.term <= at.term);
        self.applied = at;
    }

    fn member_fact(&self, id: u64) -> MetaChange {
        let member = self.members.get(id).unwrap_or_else(|| unreachable!("member {id} is there"));
        Fact::Member(member.clone()).write()
    }
}

fn failed(error: ApiError) -> Done {
    Done { outcome: Outcome::Failed(error), meta: Vec::new() }
}

fn member_id(change: &MemberChange) -> Option<u64> {
    match change {
        MemberChange::Add(_) => None,
        MemberChange::Remove(id)
        | MemberChange::Promote(id)
        | MemberChange::UpdatePeerUrls { id, .. } => Some(*id),
    }
}
