//! Owns what a decided command hands out: the changes, what goes to the meta slice, and the plan
//! of the reply. Reads nothing and encodes nothing.
//! Invariant: a plan names every read with its exact point, so that whoever executes it, whenever,
//! gives the same answer (until the point is compacted away: execute a plan before a later
//! compaction reaches the slice).

use base::{Change, Rev};
use bytes::Bytes;
use wire::ApiError;
use wire::etcdserverpb::{AlarmMember, RangeRequest};

use crate::meta::MetaChange;
use crate::span::Span;
use crate::values::ValueNeed;

/// What one attempt to apply a command came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Decided and done.
    Done(Applied),
    /// Nothing was changed: fetch these, then `apply_with` the same command before any other.
    NeedValues(Vec<ValueNeed>),
}

/// What planning a read-only txn came to.
#[derive(Clone, Debug, PartialEq)]
pub enum TxnStep {
    /// The plan.
    Done(TxnPlan),
    /// Fetch these and plan again with them.
    NeedValues(Vec<ValueNeed>),
}

/// A decided command.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// What to answer.
    pub outcome: Outcome,
    /// What became of the keys, in order of execution, revisions rising. All of one main
    /// revision, except for `LeasesExpired`, where each lease takes one of its own.
    pub changes: Vec<Change>,
    /// What to write to the meta slice.
    pub meta: Vec<MetaChange>,
    /// The store's revision after the command.
    pub revision: i64,
    /// The new compact revision, if this command moved it.
    pub compacted: Option<i64>,
}

/// The plan of a reply. A failed command changed nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Refused.
    Failed(ApiError),
    /// One key was put.
    Put(PutPlan),
    /// A range was deleted.
    DeleteRange(DeletePlan),
    /// A transaction ran.
    Txn(TxnPlan),
    /// The compact revision moved.
    Compact {
        /// The client waits until the history is gone from disk.
        physical: bool,
    },
    /// A lease was granted.
    LeaseGrant {
        /// Its id.
        id: i64,
        /// Its seconds, raised to the minimum.
        ttl_s: i64,
    },
    /// A lease was revoked.
    LeaseRevoke,
    /// Leases whose time was over were revoked.
    LeasesExpired {
        /// Those that still existed, in the order of their revisions.
        revoked: Vec<i64>,
    },
    /// Remaining seconds were noted.
    LeaseCheckpoint,
    /// What the reply lists.
    Alarm(Vec<AlarmMember>),
    /// A member's name and client URLs were noted.
    MemberAttributes,
    /// A member came, went or changed.
    MemberChange,
    /// The cluster version was noted.
    ClusterVersion,
    /// The version to go back to was noted, or that there is none.
    DowngradeTarget,
}

/// One key as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRead {
    /// The key; it lives at that point.
    pub key: Bytes,
    /// Inclusive.
    pub at: Rev,
}

/// A range as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRead {
    /// Which keys.
    pub span: Span,
    /// Inclusive.
    pub at: Rev,
}

/// Reply of a put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutPlan {
    /// For the header.
    pub revision: i64,
    /// The pair before, if it was asked for and there was one.
    pub prev: Option<KeyRead>,
}

/// Reply of a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletePlan {
    /// For the header: the revision as it was seen right after this operation.
    pub revision: i64,
    /// Number of keys.
    pub deleted: i64,
    /// The pairs before, if they were asked for and there were any.
    pub prev: Option<RangeRead>,
}

/// Reply of a range inside a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct RangePlan {
    /// For the header: the revision as it was seen at this operation.
    pub revision: i64,
    /// What was asked; its `revision` is already in `at`.
    pub request: RangeRequest,
    /// Inclusive.
    pub at: Rev,
}

/// Reply of a transaction, also of a nested one.
#[derive(Clone, Debug, PartialEq)]
pub struct TxnPlan {
    /// For the header of the outermost one.
    pub revision: i64,
    /// Which branch ran.
    pub succeeded: bool,
    /// One for each operation of that branch.
    pub ops: Vec<OpPlan>,
}

/// Reply of one operation of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub enum OpPlan {
    /// A range.
    Range(RangePlan),
    /// A put.
    Put(PutPlan),
    /// A delete.
    DeleteRange(DeletePlan),
    /// A nested transaction.
    Txn(TxnPlan),
}
