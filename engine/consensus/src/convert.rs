//! Owns the crossing between our words and the library's. Invariant: crossing and coming back
//! changes nothing.

use raft::eraftpb;
use wal::{Entry, EntryKind, HardState};

/// Who is in the group. In a joint configuration `voters_outgoing` is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Members that vote, rising.
    pub voters: Vec<u64>,
    /// Members that only receive, rising.
    pub learners: Vec<u64>,
    /// Voters of the configuration that is being left.
    pub voters_outgoing: Vec<u64>,
    /// Voters that become learners once it is left.
    pub learners_next: Vec<u64>,
    /// Whether Raft leaves the joint configuration by itself.
    pub auto_leave: bool,
}

impl Membership {
    /// A group of these voters.
    pub fn of_voters(voters: impl IntoIterator<Item = u64>) -> Membership {
        let mut voters: Vec<u64> = voters.into_iter().collect();
        voters.sort_unstable();
        Membership { voters, ..Membership::default() }
    }
}

pub(crate) fn membership(state: &eraftpb::ConfState) -> Membership {
    // The library keeps hash sets; sorted, the same members are the same bytes.
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    Membership {
        voters: sorted(&state.voters),
        learners: sorted(&state.learners),
        voters_outgoing: sorted(&state.voters_outgoing),
        learners_next: sorted(&state.learners_next),
        auto_leave: state.auto_leave,
    }
}

pub(crate) fn conf_state(members: &Membership) -> eraftpb::ConfState {
    eraftpb::ConfState {
        voters: members.voters.clone(),
        learners: members.learners.clone(),
        voters_outgoing: members.voters_outgoing.clone(),
        learners_next: members.learners_next.clone(),
        auto_leave: members.auto_leave,
        ..eraftpb::ConfState::default()
    }
}

pub(crate) fn entry(from: eraftpb::Entry) -> Entry {
    let kind = match from.entry_type {
        eraftpb::EntryType::EntryNormal => EntryKind::Normal,
        eraftpb::EntryType::EntryConfChange => EntryKind::Change,
        eraftpb::EntryType::EntryConfChangeV2 => EntryKind::ChangeV2,
    };
    Entry { term: from.term, index: from.index, kind, data: from.data }
}

pub(crate) fn raft_entry(from: Entry) -> eraftpb::Entry {
    let kind = match from.kind {
        EntryKind::Normal => eraftpb::EntryType::EntryNormal,
        EntryKind::Change => eraftpb::EntryType::EntryConfChange,
        EntryKind::ChangeV2 => eraftpb::EntryType::EntryConfChangeV2,
    };
    eraftpb::Entry {
        entry_type: kind,
        term: from.term,
        index: from.index,
        data: from.data,
        ..eraftpb::Entry::default()
    }
}

pub(crate) fn hard_state(from: &eraftpb::HardState) -> HardState {
    HardState { term: from.term, vote: from.vote, commit: from.commit }
}

pub(crate) fn raft_hard_state(from: HardState) -> eraftpb::HardState {
    eraftpb::HardState {
        term: from.term,
        vote: from.vote,
        commit: from.commit,
        ..eraftpb::HardState::default()
    }
}
