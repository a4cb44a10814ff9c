//! Owns what peers have been told of the commit index, so that a leader need not say it to each of
//! them at every commit: an append or a heartbeat says it too, and one of them is mostly due.
//! Never decides when somebody who is behind should hear of it. Invariant: a peer that is not
//! behind was sent a message that names the commit index.

use std::collections::BTreeMap;

use crate::message::PeerMessage;

/// The highest commit index that was sent to each peer in this reign.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    told: BTreeMap<u64, u64>,
}

impl Notices {
    /// A message leaves.
    pub(crate) fn sent(&mut self, message: &PeerMessage) {
        if let Some(commit) = message.tells_commit() {
            let told = self.told.entry(message.to()).or_default();
            *told = commit.max(*told);
        }
    }

    /// Whether the peer has not been sent this commit index or a later one.
    pub(crate) fn is_behind(&self, peer: u64, commit: u64) -> bool {
        self.told.get(&peer).is_none_or(|told| *told < commit)
    }

    /// What was sent earlier may be lost, or said by somebody who leads no more.
    pub(crate) fn forget(&mut self) {
        self.told.clear();
    }
}
