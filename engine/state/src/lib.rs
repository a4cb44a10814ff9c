//! Owns etcd's semantics as a sequencer of the log: revisions, puts, deletes, transactions,
//! compaction, leases, alarms, quota and members. Decides each command against the head index and
//! answers with the changes it makes and a plan for its reply. Never reads a value, a clock or a
//! disk: a command whose decision hangs on a value names it and is asked again.
//! Invariant: what it computes is a function of the log (and of a checkpoint of the log), nothing
//! else.
//!
//! ```text
//!   request --validate--> Command --log--> Sequencer::apply --> Applied { outcome, changes, meta }
//!                                               |   ^                |        |        |
//!                                   NeedValues  v   | apply_with     |        |        meta slice
//!                                      slices, at a point         reply    slices,
//!                                                                 plan     watchers
//! ```
#![forbid(unsafe_code)]

pub mod alarms;
pub mod command;
mod compare;
pub mod head;
pub mod leases;
pub mod members;
pub mod meta;
pub mod outcome;
mod overlap;
pub mod quota;
pub mod sequencer;
pub mod span;
mod store;
mod txn;
pub mod validate;
pub mod values;

pub use alarms::Alarms;
pub use command::{Command, CommandBatch, Kind, Origin, Request};
pub use head::HeadIndex;
pub use leases::{CheckpointPolicy, KeepAlive, LeaseCheckpoint, LeaseStatus, Leases};
pub use members::{Member, MemberAttributes, MemberChange, MemberRole, Members};
pub use meta::MetaChange;
pub use outcome::{
    Applied, DeletePlan, KeyRead, OpPlan, Outcome, PutPlan, RangePlan, RangeRead, Step, TxnPlan,
    TxnStep,
};
pub use quota::{Admit, Quota};
pub use sequencer::{LogPosition, RestoreError, RestoredAt, Sequencer, SequencerOptions};
pub use span::Span;
pub use values::{ValueAnswer, ValueAsk, ValueNeed, ValueTest, Values};
