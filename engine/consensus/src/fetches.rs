//! Owns the old entries that peers wait for: which are being read, and when more are read for a
//! peer that has not answered yet. Never reads. Invariants: what is under way is bounded; entries
//! that come are handed on at once or forgotten, since peers, terms and leaders may have changed.
//!
//! The library asks again with every answer of a peer, to an append or to a heartbeat, so a
//! question that is dropped is not lost.

use std::collections::{BTreeMap, BTreeSet};

use raft::{ProgressState, StateRole};
use wal::Entry;

use crate::config::{FETCH_AHEAD_MAX, FETCH_PATIENCE_TICKS, FETCHES_MAX, MESSAGE_BYTES_MAX};
use crate::effect::Effect;
use crate::machine::Consensus;

/// Reads of old entries.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    /// By their first index.
    under_way: BTreeSet<u64>,
    ticks: u64,
    /// The tick of the last read for a peer.
    latest: BTreeMap<u64, u64>,
}

impl Fetches {
    pub(crate) fn tick(&mut self) {
        self.ticks += 1;
    }

    /// Whether more should be read for a peer that has so many messages to answer.
    fn is_time(&self, peer: u64, unanswered: usize) -> bool {
        let latest = self.latest.get(&peer).copied().unwrap_or(0);
        unanswered < FETCH_AHEAD_MAX || latest + FETCH_PATIENCE_TICKS <= self.ticks
    }
}

impl Consensus {
    /// Asks for the old entries that the library found missing in the last call.
    pub(crate) fn fetch_asked(&mut self) {
        for low in self.raw.store().take_asked() {
            let full = FETCHES_MAX <= self.fetches.under_way.len();
            if full || self.fetches.under_way.contains(&low) {
                continue;
            }
            let now = self.fetches.ticks;
            let mut peers = self.peers_at(low);
            peers.retain(|(peer, unanswered)| self.fetches.is_time(*peer, *unanswered));
            if peers.is_empty() {
                continue;
            }
            self.fetches.latest.extend(peers.into_iter().map(|(peer, _)| (peer, now)));
            self.fetches.under_way.insert(low);
            let high = self.raw.store().window.first_index();
            self.effects.push_back(Effect::Fetch { low, high, bytes_max: MESSAGE_BYTES_MAX });
        }
    }

    /// Old entries have come: they go to the peers that wait for them now.
    pub(crate) fn fetched(&mut self, low: u64, entries: Vec<Entry>) {
        assert!(self.fetches.under_way.remove(&low), "nobody asked for entry {low}");
        assert!(entries.first().is_none_or(|first| first.index == low));
        if entries.is_empty() {
            return;
        }
        let peers = self.peers_at(low);
        self.raw.mut_store().fetched = entries;
        for (peer, _) in peers {
            self.raw.raft.send_append(peer);
            // The next ones are read, or sent if they are in memory, before these are answered.
            let raft = &self.raw.raft;
            let progress = raft.prs().get(peer).expect("it was there");
            let next = progress.next_idx;
            if low < next && next <= raft.raft_log.last_index() {
                self.raw.raft.send_append(peer);
            }
        }
        self.raw.mut_store().fetched = Vec::new();
    }

    /// Peers whose next entry this is, each with its messages without an answer.
    fn peers_at(&self, low: u64) -> Vec<(u64, usize)> {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return Vec::new();
        }
        let mut peers: Vec<(u64, usize)> = raft
            .prs()
            .iter()
            .filter(|(_, peer)| peer.next_idx == low && peer.state != ProgressState::Snapshot)
            .map(|(id, peer)| (*id, peer.ins.count()))
            .collect();
        peers.sort_unstable();
        peers
    }
}
