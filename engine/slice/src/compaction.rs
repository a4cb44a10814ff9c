//! Owns the answer to how far a compaction has come on disk. Never compacts.
//! Invariant: `Done` is said only when what the compaction freed has been given back to the file
//! system, as far as pins and the file system allow.
//!
//! ```text
//!  compact --freeze--> history follows --purge--> tombstones gone --freeze, commit--> files go
//! ```

use base::Rev;

use crate::slice::Slice;

/// How far a compaction has come on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compaction {
    /// It goes on by itself, given time.
    Working,
    /// It goes on with the next checkpoint.
    WantsCheckpoint,
    /// What it freed is given back.
    Done,
}

impl Slice {
    /// How far the compaction to `main` has come. What a pin holds back is not waited for.
    pub fn compaction(&mut self, main: i64) -> Compaction {
        if self.past.is_opening() {
            return Compaction::Working;
        }
        let target = self.pins.lowest().map_or(main, |lowest| lowest.min(main));
        // Who keeps no past is never compacted.
        let Some(history) = self.past.get() else { return Compaction::Done };
        if self.compact < main {
            return Compaction::Working;
        }
        if history.compacted() < target {
            return Compaction::WantsCheckpoint;
        }
        // Both are said only once nothing of their kind is left to do.
        if history.stats().purged < Rev::end_of(target) || self.purge.announced < target {
            return Compaction::Working;
        }
        if self.committed <= self.purge.done_in {
            return Compaction::WantsCheckpoint;
        }
        let returns = history.is_removing() || self.tree.is_returning();
        if returns { Compaction::Working } else { Compaction::Done }
    }
}
