//! Owns what the library reads of the past: the window of entries, members, and a snapshot to send.
//! Never waits: what left the window is asked for, and given when it has come; what is nowhere is
//! answered by a snapshot.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use raft::eraftpb;
use raft::{GetEntriesContext, RaftState, StorageError};
use wal::{Compacted, Entry, HardState, Window};

use crate::convert::{Membership, conf_state, raft_entry, raft_hard_state};
use crate::effect::Snapshot;

/// The library's view of the log.
pub(crate) struct Store {
    pub window: Window,
    initial: HardState,
    pub membership: Membership,
    /// The latest snapshots that the member made, each for one peer.
    pub snapshots: BTreeMap<u64, Snapshot>,
    /// A peer asked for one that is not there. The library asks through a shared reference.
    wanted: Cell<Option<(u64, u64)>>,
    /// First indexes of old entries that peers asked for in vain.
    asked: RefCell<Vec<u64>>,
    /// Old entries that have come, while they are being sent.
    pub fetched: Vec<Entry>,
}

impl Store {
    pub(crate) fn new(window: Window, initial: HardState, membership: Membership) -> Store {
        Store {
            window,
            initial,
            membership,
            snapshots: BTreeMap::new(),
            wanted: Cell::new(None),
            asked: RefCell::default(),
            fetched: Vec::new(),
        }
    }

    /// First indexes of old entries that were asked for since the last call.
    pub(crate) fn take_asked(&self) -> Vec<u64> {
        self.asked.take()
    }

    /// Old entries: those that have come, or a question for them.
    fn old_entries(&self, low: u64, high: u64, bytes_max: u64) -> Option<Vec<Entry>> {
        let Some(first) = self.fetched.first().filter(|first| first.index == low) else {
            let mut asked = self.asked.borrow_mut();
            if !asked.contains(&low) {
                asked.push(low);
            }
            return None;
        };
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += entry.data.len() as u64 + 1;
            entry.index == first.index || (entry.index < high && bytes <= bytes_max)
        };
        Some(self.fetched.iter().take_while(fits).cloned().collect())
    }

    /// The peer and index of a snapshot that was asked for in vain, once.
    pub(crate) fn take_wanted(&self) -> Option<(u64, u64)> {
        self.wanted.take()
    }
}

impl raft::Storage for Store {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(raft_hard_state(self.initial), conf_state(&self.membership)))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        let held = self.window.first_held() <= low;
        let entries = match self.window.entries(low, high, bytes_max) {
            Ok(entries) => entries,
            // Only messages to peers can wait. What is not applied is always in the window, and the
            // library asks for nothing else on behalf of this member itself.
            Err(Compacted) if held && context.can_async() => self
                .old_entries(low, high, bytes_max)
                .ok_or(raft::Error::Store(StorageError::LogTemporarilyUnavailable))?,
            Err(Compacted) => return Err(raft::Error::Store(StorageError::Compacted)),
        };
        Ok(entries.into_iter().map(raft_entry).collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if self.window.last().index < index {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        self.window.term(index).map_err(|_| raft::Error::Store(StorageError::Compacted))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.window.first_held())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.window.last().index)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        // Older than what the log begins after, it would leave the peer with a gap again.
        let least = request_index.max(self.window.first_held() - 1);
        match self.snapshots.get(&to) {
            Some(snapshot) if least <= snapshot.at.index => Ok(raft_snapshot(snapshot)),
            Some(_) | None => {
                self.wanted.set(Some((to, least)));
                Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}

fn raft_snapshot(from: &Snapshot) -> eraftpb::Snapshot {
    let mut snapshot = eraftpb::Snapshot::default();
    let meta = snapshot.mut_metadata();
    meta.set_conf_state(conf_state(&from.membership));
    meta.index = from.at.index;
    meta.term = from.at.term;
    snapshot.data = from.data.clone();
    snapshot
}
