//! Owns the reading of a shard's figures, and what is counted of calls that were given up.
//! Decides nothing. Invariant: what stands for "now" is asked of its owner, never kept twice.

use super::Shard;
use super::call::Waits;
use crate::figures::ShardFigures;

impl Shard {
    /// Everything that was counted, and where the shard stands.
    pub fn figures(&self) -> ShardFigures {
        ShardFigures {
            events: self.hub.events_sent(),
            watchers: self.hub.watchers() as u64,
            watchers_slow: self.hub.watchers_away() as u64,
            watch_streams: self.hub.streams() as u64,
            reads_open: self.slices.iter().map(|slice| slice.stats().reads as u64).sum(),
            pins: self.slices.iter().map(|slice| slice.pinned() as u64).sum(),
            ..self.counts
        }
    }

    /// A call waited longer than the server's limit.
    pub(super) fn count_expired(&mut self, waits: Waits) {
        if let Waits::Outcome = waits {
            self.counts.proposals_failed += 1;
        } else {
            // Everything else wants a read point.
            self.counts.reads_failed += 1;
        }
    }
}
