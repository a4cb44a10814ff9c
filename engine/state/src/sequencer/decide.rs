//! Owns the decision of each kind of command. Reads nothing but the replicated state, the command
//! and the values it was given.
//! Invariant: a decision that refuses, or needs values, has changed nothing.

use wire::ApiError;
use wire::etcdserverpb::alarm_request::AlarmAction;
use wire::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest,
    LeaseRevokeRequest, PutRequest, TxnRequest,
};

use super::{Done, Refused, Sequencer};
use crate::command::Request;
use crate::leases::{Granted, LEASE_TTL_S_MAX, LeaseCheckpoint};
use crate::members::MemberAttributes;
use crate::meta::{Fact, MetaChange};
use crate::outcome::Outcome;
use crate::quota;
use crate::txn::{self, Needs};
use crate::values::Values;

impl Sequencer {
    pub(super) fn decide(
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
            Request::DowngradeTarget(target) => Ok(self.set_downgrade_target(target)),
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
            | Request::ClusterVersion(_)
            | Request::DowngradeTarget(_) => (false, false),
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

    fn set_downgrade_target(&mut self, target: String) -> Done {
        let fact = Fact::DowngradeTarget(target.clone());
        let meta = vec![if target.is_empty() { fact.erase() } else { fact.write() }];
        self.downgrade_target = Some(target).filter(|target| !target.is_empty());
        Done { outcome: Outcome::DowngradeTarget, meta }
    }

    fn set_cluster_version(&mut self, version: String) -> Done {
        let meta = vec![Fact::ClusterVersion(version.clone()).write()];
        self.cluster_version = Some(version);
        Done { outcome: Outcome::ClusterVersion, meta }
    }
}
