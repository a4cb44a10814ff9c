//! Owns what operators are told about one member's part in the group.

use crate::convert::Membership;
use crate::effect::RoleChange;

/// What operators ask about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Who leads.
    pub role: RoleChange,
    /// Highest committed index.
    pub commit: u64,
    /// Highest index reported applied.
    pub applied: u64,
    /// Highest index in the log.
    pub last: u64,
    /// First index that is in memory.
    pub first: u64,
    /// Who is in the group.
    pub membership: Membership,
    /// How far each other member is, by id; only a leader knows.
    pub progress: Vec<Progress>,
}

/// How far a peer is, as its leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The peer.
    pub id: u64,
    /// Highest index that is durable there.
    pub matched: u64,
    /// Whether it was heard from lately.
    pub active: bool,
}
