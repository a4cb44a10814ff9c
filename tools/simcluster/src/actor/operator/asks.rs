//! Owns what an operator can ask for, as words of the interface, and which of it may ever be done.
//! Never decides what is asked. Invariant: a request that makes no sense is never said to be done.

use base::Prng;
use bytes::Bytes;
use prost::Message;
use wire::{Method, etcdserverpb as pb};

use crate::world::{World, Wrong};

/// A request of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Who is a member?
    List {
        /// As a majority knows it.
        linearizable: bool,
    },
    /// A new member.
    Add {
        /// Where its peers will reach it.
        url: String,
        /// Without a vote.
        learner: bool,
    },
    /// A member goes for good.
    Remove(u64),
    /// A learner votes from now on.
    Promote(u64),
    /// A member's peers reach it elsewhere.
    Update {
        /// Which member.
        id: u64,
        /// Where.
        url: String,
    },
    /// Leadership goes to this one.
    Move(u64),
    /// A wish for an older version.
    Downgrade {
        /// What to do about it.
        action: i32,
        /// The version.
        version: &'static str,
    },
}

impl Ask {
    /// Some wish for an older version, or against it.
    pub fn downgrade(dice: &mut Prng) -> Ask {
        let version = dice.pick(&["3.6", "3.6.0", "3.5", "3", "older"]);
        Ask::Downgrade { action: dice.below(4) as i32, version }
    }

    /// Whether it changes the members.
    pub fn changes(&self) -> bool {
        match self {
            Ask::Add { .. } | Ask::Remove(_) | Ask::Promote(_) | Ask::Update { .. } => true,
            Ask::List { .. } | Ask::Move(_) | Ask::Downgrade { .. } => false,
        }
    }

    /// In the interface's words.
    pub fn encode(&self) -> (Method, Bytes) {
        let (method, bytes) = match self {
            Ask::List { linearizable } => {
                let request = pb::MemberListRequest { linearizable: *linearizable };
                (Method::MemberList, request.encode_to_vec())
            }
            Ask::Add { url, learner } => {
                let request =
                    pb::MemberAddRequest { peer_urls: vec![url.clone()], is_learner: *learner };
                (Method::MemberAdd, request.encode_to_vec())
            }
            Ask::Remove(id) => {
                (Method::MemberRemove, pb::MemberRemoveRequest { id: *id }.encode_to_vec())
            }
            Ask::Promote(id) => {
                (Method::MemberPromote, pb::MemberPromoteRequest { id: *id }.encode_to_vec())
            }
            Ask::Update { id, url } => {
                let request = pb::MemberUpdateRequest { id: *id, peer_urls: vec![url.clone()] };
                (Method::MemberUpdate, request.encode_to_vec())
            }
            Ask::Move(id) => {
                (Method::MoveLeader, pb::MoveLeaderRequest { target_id: *id }.encode_to_vec())
            }
            Ask::Downgrade { action, version } => {
                let version = (*version).to_owned();
                let request = pb::DowngradeRequest { action: *action, version };
                (Method::Downgrade, request.encode_to_vec())
            }
        };
        (method, Bytes::from(bytes))
    }

    /// It is said to be done: that must be possible, by what is in the logs by now.
    pub fn may_be_done(&self, world: &World) -> Result<(), Wrong> {
        let wrong = || Err(format!("members: {self:?} is said to be done"));
        match self {
            Ask::Remove(id) if !world.logs.may_be_removed(*id) => wrong(),
            Ask::Promote(id) if !world.logs.may_be_promoted(*id) => wrong(),
            Ask::Add { url, .. } if !url.contains("://") => wrong(),
            Ask::Downgrade { version: "3.5" | "3" | "older", action: 0 | 1 } => wrong(),
            Ask::List { .. }
            | Ask::Add { .. }
            | Ask::Remove(_)
            | Ask::Promote(_)
            | Ask::Update { .. }
            | Ask::Move(_)
            | Ask::Downgrade { .. } => Ok(()),
        }
    }
}
