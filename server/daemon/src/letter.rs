//! Owns the words between cores of one member, and which of them are worth waking a core for.
//! Carries nothing itself. Invariant: what can wait is taken in at the latest with the next letter
//! that cannot, in order.

use node::{ToLeader, ToShard};
use sock::Parcel;

use crate::mesh::Haste;
use crate::metrics::Figures;
use crate::ports::Role;

/// What crosses between cores.
pub enum Letter {
    /// For the leader.
    ToLeader(ToLeader),
    /// For a shard.
    ToShard(ToShard),
    /// A connection that core 0 accepted.
    Connection(Role, Parcel),
    /// Figures are wanted.
    Look(u64),
    /// Here they are.
    Seen(u64, Box<Figures>),
}

impl Letter {
    /// What only makes a slice or a watcher newer, or says how far one has come, wakes nobody: who
    /// waits for it is attentive.
    pub fn haste(&self) -> Haste {
        match self {
            Letter::ToShard(ToShard::Apply(batch)) => match batch.is_patient() {
                true => Haste::CanWait { bytes: batch.bytes() },
                false => Haste::Now,
            },
            Letter::ToLeader(ToLeader::Progress { .. }) => Haste::CanWait { bytes: 0 },
            Letter::ToShard(_)
            | Letter::ToLeader(_)
            | Letter::Connection(..)
            | Letter::Look(_)
            | Letter::Seen(..) => Haste::Now,
        }
    }
}
