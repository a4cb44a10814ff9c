//! Owns what the leader counts of the commands that it decided, and the reading of its figures.
//! Decides nothing. Invariant: a decided command is counted once, whoever sent it.

use base::ChangeKind;
use state::{Applied, MemberRole, OpPlan, Outcome, Quota, TxnPlan};
use wire::ApiError;

use super::Leader;
use crate::figures::LeaderFigures;

impl Leader {
    /// Everything that was counted, and where the member stands.
    pub fn figures(&self) -> LeaderFigures {
        let mut counts = self.counts.clone();
        counts.rounds_slow = self.rounds.retries();
        let size = self.store_size();
        LeaderFigures {
            counts,
            member_id: self.config.member_id,
            leader: self.role.leader,
            is_learner: self.is_learner(),
            is_installing: self.incoming.installs(),
            committed: self.consensus.as_ref().map_or(0, |group| group.status().commit),
            applied: self.sequencer.applied().index,
            proposals_pending: self.proposals.undecided() as u64,
            revision: self.sequencer.revision(),
            compact_revision: self.sequencer.compact_revision(),
            keys: self.sequencer.head().len() as u64,
            segments_kept: self.writer.as_ref().map_or(0, |log| log.kept_segments() as u64),
            file_bytes: size.file_bytes,
            used_bytes: size.used_bytes,
            quota_bytes: match self.config.quota {
                Quota::Unlimited => 0,
                Quota::Bytes(bytes) => bytes,
            },
            alarms: self.sequencer.alarms().iter().collect(),
            cluster_version: self.standing().cluster,
        }
    }

    fn is_learner(&self) -> bool {
        let own = self.sequencer.members().get(self.config.member_id);
        own.is_some_and(|own| own.role == MemberRole::Learner)
    }

    /// Counts a learner that may not vote, in the words of etcd's own metric.
    pub(super) fn count_refused_promotion(&mut self, why: &ApiError) {
        let reason = match why {
            ApiError::MemberNotFound => "membership: ID not found",
            ApiError::MemberNotLearner => "membership: can only promote a learner member",
            ApiError::MemberLearnerNotReady => {
                "etcdserver: can only promote a learner member which is in sync with leader"
            }
            ApiError::MemberNotEnoughStarted => {
                "etcdserver: re-configuration failed due to not enough started members"
            }
            other => other.message(),
        };
        *self.counts.promotions_refused.entry(reason.to_owned()).or_default() += 1;
    }

    /// Counts a decided command.
    pub(super) fn count(&mut self, applied: &Applied) {
        let counts = &mut self.counts;
        for change in &applied.changes {
            if let ChangeKind::Put { value, .. } = &change.kind {
                counts.puts += 1;
                counts.put_bytes += (change.key.len() + value.len()) as u64;
            }
        }
        match &applied.outcome {
            Outcome::DeleteRange(_) => counts.deletes += 1,
            Outcome::Txn(plan) => {
                let ops = operations(plan);
                counts.deletes += ops.deletes;
                counts.txns += u64::from(ops.all > 1);
            }
            Outcome::LeaseGrant { ttl_s, .. } => {
                counts.leases_granted += 1;
                counts.lease_ttl.observe(u64::try_from(*ttl_s).unwrap_or(0));
            }
            // Every key of the lease went by itself.
            Outcome::LeaseRevoke => {
                counts.leases_revoked += 1;
                counts.deletes += applied.changes.len() as u64;
            }
            Outcome::LeasesExpired { revoked } => {
                counts.leases_revoked += revoked.len() as u64;
                counts.leases_expired += revoked.len() as u64;
                counts.deletes += applied.changes.len() as u64;
            }
            Outcome::Failed(_)
            | Outcome::Put(_)
            | Outcome::Compact { .. }
            | Outcome::LeaseCheckpoint
            | Outcome::Alarm(_)
            | Outcome::MemberAttributes
            | Outcome::MemberChange
            | Outcome::DowngradeTarget
            | Outcome::ClusterVersion => {}
        }
    }

    /// Counts a transaction that only reads.
    pub(super) fn count_read(&mut self, plan: &TxnPlan) {
        self.counts.txns += u64::from(operations(plan).all > 1);
    }
}

/// Operations of a transaction and of those inside it.
struct Operations {
    all: u64,
    deletes: u64,
}

fn operations(plan: &TxnPlan) -> Operations {
    let mut sum = Operations { all: 0, deletes: 0 };
    for op in &plan.ops {
        match op {
            OpPlan::Range(_) | OpPlan::Put(_) => sum.all += 1,
            OpPlan::DeleteRange(_) => {
                sum.all += 1;
                sum.deletes += 1;
            }
            OpPlan::Txn(inner) => {
                let inner = operations(inner);
                sum.all += inner.all;
                sum.deletes += inner.deletes;
            }
        }
    }
    sum
}
