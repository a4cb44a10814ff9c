//! Owns one member's part in one Raft group: elections, replication, commitment, linearizable
//! read points and membership, behind [`Consensus::handle`] and [`Consensus::poll_effect`]. The
//! only crate that names `raft`. Never touches a disk, a socket or a clock, and draws no dice but
//! its own seed's.
//! Invariants: a message that claims durability leaves only after the records it speaks of were
//! reported durable; entries are given out to be applied once each, in order, only when committed
//! and durable here; equal seeds and equal events give equal effects.
//!
//! The flow of one proposal at a leader:
//!
//! ```text
//! propose ── poll_effect ──> Send to followers    (before it is durable here)
//!                       └──> Persist { number } ── the log ──> Event::Persisted(number)
//! Event::Received(acknowledgements) ── quorum ──> Apply(entries) ──> Event::Applied
//! ```
#![forbid(unsafe_code)]

mod change;
mod config;
mod convert;
mod effect;
mod fetches;
mod haste;
mod held;
mod machine;
mod message;
mod notices;
mod reads;
mod status;
mod store;
mod timer;

pub use change::{BadChange, Change, MemberChange};
pub use config::{Config, Start};
pub use convert::Membership;
pub use effect::{
    Delivery, Effect, Event, Persist, ProposeError, Proposed, ReadContext, ReadyNumber, Role,
    RoleChange, Snapshot,
};
pub use machine::Consensus;
pub use message::{BadMessage, PeerMessage};
pub use status::{Progress, Status};
