//! Owns membership changes as entries. Invariant: a change takes effect when its entry is applied
//! and the member accepts it, never before and never twice.

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2};
use wal::{Entry, EntryKind, Mark};

/// One step of a membership change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// A new voter, or a learner is promoted.
    AddVoter(u64),
    /// A new member without a vote.
    AddLearner(u64),
    /// A member goes.
    Remove(u64),
}

/// What a change entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The steps; none means that a joint configuration is left.
    pub steps: Vec<MemberChange>,
    /// What the proposer attached.
    pub context: Bytes,
}

/// An entry that is no change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChange {
    /// Its index.
    pub index: u64,
}

impl Change {
    /// Reads a change entry.
    pub fn decode(entry: &Entry) -> Result<Change, BadChange> {
        let change = parse(entry)?;
        let steps = change.changes.iter().map(MemberChange::of).collect();
        Ok(Change { steps, context: change.context })
    }
}

impl MemberChange {
    /// The change as an entry of the log, for a member that goes on alone and asks nobody.
    pub fn entry(self, at: Mark, context: Bytes) -> Entry {
        let data =
            self.for_raft(context).write_to_bytes().expect("a change that was built is whole");
        Entry { term: at.term, index: at.index, kind: EntryKind::Change, data: data.into() }
    }

    fn of(single: &ConfChangeSingle) -> MemberChange {
        match single.change_type {
            ConfChangeType::AddNode => MemberChange::AddVoter(single.node_id),
            ConfChangeType::AddLearnerNode => MemberChange::AddLearner(single.node_id),
            ConfChangeType::RemoveNode => MemberChange::Remove(single.node_id),
        }
    }

    pub(crate) fn for_raft(self, context: Bytes) -> ConfChange {
        let (kind, id) = match self {
            MemberChange::AddVoter(id) => (ConfChangeType::AddNode, id),
            MemberChange::AddLearner(id) => (ConfChangeType::AddLearnerNode, id),
            MemberChange::Remove(id) => (ConfChangeType::RemoveNode, id),
        };
        let mut change = ConfChange::default();
        change.set_change_type(kind);
        change.node_id = id;
        change.context = context;
        change
    }
}

pub(crate) fn parse(entry: &Entry) -> Result<ConfChangeV2, BadChange> {
    let bad = BadChange { index: entry.index };
    match entry.kind {
        EntryKind::Normal => Err(bad),
        EntryKind::Change => {
            let one = ConfChange::parse_from_carllerche_bytes(&entry.data).map_err(|_| bad)?;
            let mut single = ConfChangeSingle::default();
            single.set_change_type(one.change_type);
            single.node_id = one.node_id;
            let mut change = ConfChangeV2::default();
            change.mut_changes().push(single);
            change.context = one.context;
            Ok(change)
        }
        EntryKind::ChangeV2 => {
            ConfChangeV2::parse_from_carllerche_bytes(&entry.data).map_err(|_| bad)
        }
    }
}
