//! Owns the law of agreement: whatever a member decides at a revision, every member decides there,
//! in every life; and a term has one leader.
//! Invariant: what was once decided at a revision is never forgotten here.

use std::collections::BTreeMap;

use base::Change;
use node::message::ApplyBatch;

use crate::history::Stamp;
use crate::world::Wrong;

/// What happened at one revision.
#[derive(Clone, Debug)]
pub struct Decided {
    /// What keys became.
    pub changes: Vec<Change>,
    /// When the first member decided it.
    pub at: Stamp,
}

/// What members agree on.
#[derive(Default)]
pub struct Agreement {
    revisions: BTreeMap<i64, Decided>,
    leaders: BTreeMap<u64, u64>,
    // The highest compaction that any member decided.
    compacted: i64,
}

impl Agreement {
    /// Nothing was decided.
    pub fn new() -> Agreement {
        Agreement { compacted: -1, ..Agreement::default() }
    }

    /// A member decided this batch.
    pub fn decided(&mut self, at: Stamp, member: u64, batch: &ApplyBatch) -> Result<(), Wrong> {
        self.compacted = self.compacted.max(batch.compact.unwrap_or(-1));
        for changes in batch.changes.chunk_by(|a, b| a.rev.main == b.rev.main) {
            self.happened(at, member, changes)?;
        }
        Ok(())
    }

    /// A member tells of one revision; `at` is when anybody first knew of it.
    pub fn happened(&mut self, at: Stamp, member: u64, changes: &[Change]) -> Result<(), Wrong> {
        let revision = changes[0].rev.main;
        let first = self
            .revisions
            .entry(revision)
            .or_insert_with(|| Decided { changes: changes.to_vec(), at });
        match first.changes == changes {
            true => Ok(()),
            false => Err(format!(
                "agreement: member {member} decided {changes:?} at {revision}, where another \
                 life had decided {:?}",
                first.changes
            )),
        }
    }

    /// A member says that this one leads in the term.
    pub fn leads(&mut self, term: u64, leader: u64) -> Result<(), Wrong> {
        let first = *self.leaders.entry(term).or_insert(leader);
        match first == leader {
            true => Ok(()),
            false => Err(format!("agreement: {first} and {leader} lead in term {term}")),
        }
    }

    /// All revisions with what happened there.
    pub fn revisions(&self) -> &BTreeMap<i64, Decided> {
        &self.revisions
    }

    /// The last revision that was decided.
    pub fn last(&self) -> i64 {
        self.revisions.last_key_value().map_or(1, |(revision, _)| *revision)
    }

    /// The highest compaction that was decided.
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// Terms that had a leader.
    pub fn terms(&self) -> u64 {
        self.leaders.len() as u64
    }
}
