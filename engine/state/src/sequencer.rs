//! Owns the replicated state of one member and decides every command in log order. Never reads a
//! value, the time or a disk.
//! Invariant: two sequencers that applied the same log, from any checkpoint of it, are equal; a
//! command either does all that it says or changes nothing.

use bytes::Bytes;
use wire::ApiError;
use wire::etcdserverpb::alarm_request::AlarmAction;
use wire::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest,
    LeaseRevokeRequest, PutRequest, TxnRequest,
};

use crate::alarms::Alarms;
use crate::command::{Command, Request};
use crate::head::HeadIndex;
use crate::leases::{CheckpointPolicy, Granted, LEASE_TTL_S_MAX, LeaseCheckpoint, Leases};
use crate::members::{MemberAttributes, MemberChange, Members};
use crate::meta::{Fact, MetaChange};
use crate::outcome::{Applied, Outcome, Step, TxnStep};
use crate::quota;
use crate::store::Store;
use crate::txn::{self, Needs};
use crate::values::{ValueNeed, Values};

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
    cluster_version: Option<String>,
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
            cluster_version: None,
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

    fn advance(&mut self, at: LogPosition) {
        assert!(!self.restoring.is_under_way());
        assert!(self.applied.index <= at.index);
        assert!(self.applied.term <= at.term);
        self.applied = at;
    }

    fn decide(
        &mut self,
        request: Request,
        values: &Values,
        changes: &mut Vec<base::Change>,
    ) -> Result<Done, Refused> {
        if let Err(error) = self.refuse_by_alarm(&request) {
            if let Request::LeasesExpired(ids) = &request {
                self.store.leases.park(ids);
            }
            return Err(error.into());
        }
        match request {
            Request::Put(put) => self.put(&put, values, changes),
            Request::DeleteRange(delete) => Ok(self.delete_range(&delete, changes)),
            Request::Txn(txn) => self.txn(&txn, values, changes),
            Request::Compact(compact) => self.compact(&compact),
            Request::LeaseGrant(grant) => self.lease_grant(&grant),
            Request::LeaseRevoke(revoke) => self.lease_revoke(&revoke, changes),
            Request::LeasesExpired(ids) => Ok(self.leases_expired(&ids, changes)),
            Request::Alarm(alarm) => Ok(self.alarm(&alarm)),
            Request::LeaseCheckpoint(all) => Ok(self.lease_checkpoint(&all)),
            Request::MemberAttributes(attributes) => self.member_attributes(attributes),
            Request::ClusterVersion(version) => Ok(self.set_cluster_version(version)),
        }
    }

    /// CORRUPT stops all that writes; NOSPACE what grows the store.
    fn refuse_by_alarm(&self, request: &Request) -> Result<(), ApiError> {
        let (writes, grows) = match request {
            Request::Put(_) | Request::LeaseGrant(_) => (true, true),
            Request::Txn(txn) => (true, quota::txn_cost_bytes(txn) > 0),
            Request::DeleteRange(_)
            | Request::Compact(_)
            | Request::LeaseRevoke(_)
            | Request::LeasesExpired(_) => (true, false),
            Request::Alarm(_)
            | Request::LeaseCheckpoint(_)
            | Request::MemberAttributes(_)
            | Request::ClusterVersion(_) => (false, false),
        };
        if writes && self.alarms.corrupt() {
            return Err(ApiError::Corrupt);
        }
        if grows && self.alarms.no_space() { Err(ApiError::NoSpace) } else { Ok(()) }
    }

    fn put(
        &mut self,
        put: &PutRequest,
        values: &Values,
        changes: &mut Vec<base::Change>,
    ) -> Result<Done, Refused> {
        txn::check_put(&self.store, put)?;
        if let Some(need) = txn::kept_value_need(&self.store, put, values) {
            return Err(Refused::Needs(vec![need]));
        }
        let mut writer = self.store.write();
        let plan = txn::run_put(&mut writer, put, values);
        changes.extend(writer.finish());
        Ok(Done { outcome: Outcome::Put(plan), meta: Vec::new() })
    }

    fn delete_range(
        &mut self,
        delete: &DeleteRangeRequest,
        changes: &mut Vec<base::Change>,
    ) -> Done {
        let mut writer = self.store.write();
        let plan = txn::run_delete(&mut writer, delete);
        changes.extend(writer.finish());
        Done { outcome: Outcome::DeleteRange(plan), meta: Vec::new() }
    }

    fn txn(
        &mut self,
        request: &TxnRequest,
        values: &Values,
        changes: &mut Vec<base::Change>,
    ) -> Result<Done, Refused> {
        let mut needs = Needs::new();
        let Some(path) = txn::decide(&self.store, request, values, &mut needs) else {
            return Err(Refused::Needs(needs.into_iter().collect()));
        };
        txn::check(&self.store, request, &path)?;
        let mut writer = self.store.write();
        let plan = txn::run(&mut writer, request, &path, values);
        changes.extend(writer.finish());
        Ok(Done { outcome: Outcome::Txn(plan), meta: Vec::new() })
    }

    fn compact(&mut self, compact: &CompactionRequest) -> Result<Done, Refused> {
        if compact.revision <= self.store.compacted {
            return Err(ApiError::Compacted.into());
        }
        if compact.revision > self.store.revision {
            return Err(ApiError::FutureRevision.into());
        }
        self.store.compacted = compact.revision;
        let outcome = Outcome::Compact { physical: compact.physical };
        Ok(Done { outcome, meta: Vec::new() })
    }

    fn lease_grant(&mut self, grant: &LeaseGrantRequest) -> Result<Done, Refused> {
        if grant.id == 0 {
            return Err(ApiError::LeaseNotFound.into());
        }
        if grant.ttl > LEASE_TTL_S_MAX {
            return Err(ApiError::LeaseTtlTooLarge.into());
        }
        if self.store.leases.contains(grant.id) {
            return Err(ApiError::LeaseExists.into());
        }
        let (id, ttl_s) = (grant.id, grant.ttl);
        let granted = Granted { ttl_s, remaining_s: 0 };
        self.store.leases.grant(id, granted);
        let meta = vec![Fact::Lease { id, granted }.write()];
        Ok(Done { outcome: Outcome::LeaseGrant { id, ttl_s }, meta })
    }

    fn lease_revoke(
        &mut self,
        revoke: &LeaseRevokeRequest,
        changes: &mut Vec<base::Change>,
    ) -> Result<Done, Refused> {
        if !self.store.leases.contains(revoke.id) {
            return Err(ApiError::LeaseNotFound.into());
        }
        let meta = vec![self.revoke(revoke.id, changes)];
        Ok(Done { outcome: Outcome::LeaseRevoke, meta })
    }

    fn leases_expired(&mut self, ids: &[i64], changes: &mut Vec<base::Change>) -> Done {
        let mut revoked = Vec::with_capacity(ids.len());
        let mut meta = Vec::with_capacity(ids.len());
        for id in ids {
            // One may have been revoked by its owner while this was on its way.
            if self.store.leases.contains(*id) {
                meta.push(self.revoke(*id, changes));
                revoked.push(*id);
            }
        }
        Done { outcome: Outcome::LeasesExpired { revoked }, meta }
    }

    fn revoke(&mut self, id: i64, changes: &mut Vec<base::Change>) -> MetaChange {
        let granted = self.store.leases.get(id);
        let granted = granted.unwrap_or_else(|| unreachable!("lease {id} looked up"));
        let mut writer = self.store.write();
        writer.revoke(id);
        changes.extend(writer.finish());
        Fact::Lease { id, granted }.erase()
    }

    fn lease_checkpoint(&mut self, all: &[LeaseCheckpoint]) -> Done {
        let mut meta = Vec::with_capacity(all.len());
        for checkpoint in all {
            if let Some(granted) = self.store.leases.checkpoint(*checkpoint) {
                meta.push(Fact::Lease { id: checkpoint.id, granted }.write());
            }
        }
        Done { outcome: Outcome::LeaseCheckpoint, meta }
    }

    fn alarm(&mut self, request: &AlarmRequest) -> Done {
        let (member, alarm) = (request.member_id, request.alarm);
        let named = AlarmMember { member_id: member, alarm };
        let fact = Fact::Alarm { member, alarm };
        let (listed, meta) = match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Get) => (self.alarms.list(alarm), None),
            Ok(AlarmAction::Activate) if alarm == AlarmType::None as i32 => (Vec::new(), None),
            Ok(AlarmAction::Activate) => {
                let raised = self.alarms.raise(member, alarm);
                (vec![named], raised.then(|| fact.write()))
            }
            Ok(AlarmAction::Deactivate) => match self.alarms.clear(member, alarm) {
                true => (vec![named], Some(fact.erase())),
                false => (Vec::new(), None),
            },
            Err(_) => (Vec::new(), None),
        };
        if !self.alarms.corrupt() {
            self.store.leases.unpark();
        }
        Done { outcome: Outcome::Alarm(listed), meta: meta.into_iter().collect() }
    }

    fn member_attributes(&mut self, attributes: MemberAttributes) -> Result<Done, Refused> {
        let id = attributes.id;
        if !self.members.describe(attributes) {
            return Err(ApiError::MemberNotFound.into());
        }
        let meta = vec![self.member_fact(id)];
        Ok(Done { outcome: Outcome::MemberAttributes, meta })
    }

    fn set_cluster_version(&mut self, version: String) -> Done {
        let meta = vec![Fact::ClusterVersion(version.clone()).write()];
        self.cluster_version = Some(version);
        Done { outcome: Outcome::ClusterVersion, meta }
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
