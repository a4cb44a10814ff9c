//! Owns the step from records, as recovery yields them, to what Raft starts from: the window of
//! entries after the checkpoint and the hard state. Invariant: a committed entry that
//! is missing is an error, never a shorter log.

use crate::record::{Entry, HardState, Mark, Record};
use crate::window::Window;

/// The log and the checkpoint do not fit together: acknowledged entries are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// An entry follows that leaves out others.
    Entries {
        /// The index that should have come.
        expected: u64,
        /// The index that came.
        found: u64,
    },
    /// The log starts over beyond what the checkpoint holds.
    Mark {
        /// Last index that the checkpoint holds.
        checkpoint: u64,
        /// Where the log starts over.
        mark: u64,
    },
    /// More was committed than there is.
    Commit {
        /// The committed index.
        commit: u64,
        /// The last entry.
        last: u64,
    },
}

/// What recovery collected.
#[derive(Debug)]
pub struct Restored {
    /// Entries after the checkpoint.
    pub window: Window,
    /// The latest hard state, raised to what the checkpoint implies.
    pub hard_state: HardState,
    /// Whether leftovers from before an installed snapshot are being skipped.
    stale: bool,
    checkpoint: Mark,
}

impl Restored {
    /// Starts from the checkpoint's last applied entry; index and term are 0 if there is none.
    pub fn start(checkpoint: Mark) -> Restored {
        Restored {
            window: Window::new(checkpoint),
            hard_state: HardState { term: checkpoint.term, vote: 0, commit: checkpoint.index },
            stale: false,
            checkpoint,
        }
    }

    /// Takes the next record.
    pub fn take(&mut self, record: Record) -> Result<(), Gap> {
        match record {
            Record::Entry(entry) => self.entry(entry),
            Record::HardState(state) => {
                let commit = state.commit.max(self.checkpoint.index);
                if self.hard_state.term <= state.term {
                    self.hard_state = HardState { commit, ..state };
                }
                Ok(())
            }
            Record::Mark(mark) => self.mark(mark),
            // For whoever reads older segments.
            Record::Past(_) => Ok(()),
        }
    }

    /// All records are taken. Checks that what was committed is there.
    pub fn finish(mut self) -> Result<Restored, Gap> {
        let last = self.window.last();
        if last.index < self.hard_state.commit {
            return Err(Gap::Commit { commit: self.hard_state.commit, last: last.index });
        }
        if self.hard_state.term < last.term {
            // The entries of a term are written before the hard state that follows them; a crash
            // between leaves the term to be read off the entry. Nobody was told of a vote in it.
            self.hard_state.term = last.term;
            self.hard_state.vote = 0;
        }
        Ok(self)
    }

    fn entry(&mut self, entry: Entry) -> Result<(), Gap> {
        if entry.index <= self.checkpoint.index {
            return Ok(());
        }
        let expected = self.window.last().index + 1;
        if expected < entry.index {
            let gap = Gap::Entries { expected, found: entry.index };
            return if self.stale { Ok(()) } else { Err(gap) };
        }
        if self.window.term(entry.index - 1).is_ok_and(|before| entry.term < before) {
            // Terms only rise along a log, so this belongs to one that a snapshot replaced.
            self.stale = true;
            return Ok(());
        }
        self.stale = false;
        self.window.append(vec![entry]);
        Ok(())
    }

    fn mark(&mut self, mark: Mark) -> Result<(), Gap> {
        if self.checkpoint.index < mark.index {
            // The snapshot is made durable before its mark is logged.
            return Err(Gap::Mark { checkpoint: self.checkpoint.index, mark: mark.index });
        }
        self.window.reset(self.checkpoint);
        self.stale = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::EntryKind;

    fn entry(term: u64, index: u64) -> Record {
        Record::Entry(Entry { term, index, kind: EntryKind::Normal, data: "x".into() })
    }

    fn state(term: u64, commit: u64) -> Record {
        Record::HardState(HardState { term, vote: 1, commit })
    }

    fn restore(checkpoint: Mark, records: Vec<Record>) -> Result<Restored, Gap> {
        let mut restored = Restored::start(checkpoint);
        for record in records {
            restored.take(record)?;
        }
        restored.finish()
    }

    const NOTHING: Mark = Mark { term: 0, index: 0 };

    #[test]
    fn later_entries_replace_conflicting_ones() {
        let records =
            vec![entry(1, 1), entry(1, 2), entry(1, 3), state(1, 1), entry(2, 2), state(2, 2)];
        let restored = restore(NOTHING, records).unwrap();
        assert_eq!(restored.window.last(), Mark { term: 2, index: 2 });
        assert_eq!(restored.hard_state, HardState { term: 2, vote: 1, commit: 2 });
    }

    #[test]
    fn what_the_checkpoint_holds_is_skipped_and_counts_as_committed() {
        let records = vec![entry(1, 1), state(1, 1), entry(1, 2), entry(1, 3)];
        let restored = restore(Mark { term: 1, index: 2 }, records).unwrap();
        assert_eq!(restored.window.first_index(), 3);
        assert_eq!(restored.hard_state.commit, 2);
    }

    #[test]
    fn a_missing_committed_entry_is_an_error() {
        let gap = restore(NOTHING, vec![entry(1, 1), state(1, 2)]).unwrap_err();
        assert_eq!(gap, Gap::Commit { commit: 2, last: 1 });
        let gap = restore(NOTHING, vec![entry(1, 1), entry(1, 3)]).unwrap_err();
        assert_eq!(gap, Gap::Entries { expected: 2, found: 3 });
        let gap = restore(NOTHING, vec![Record::Mark(Mark { term: 1, index: 9 })]).unwrap_err();
        assert_eq!(gap, Gap::Mark { checkpoint: 0, mark: 9 });
    }

    #[test]
    fn an_entry_whose_hard_state_was_torn_off_still_raises_the_term() {
        let restored = restore(NOTHING, vec![entry(1, 1), state(1, 1), entry(4, 2)]).unwrap();
        assert_eq!(restored.hard_state, HardState { term: 4, vote: 0, commit: 1 });
    }

    #[test]
    fn leftovers_from_before_a_snapshot_are_not_continued() {
        // A snapshot through 100 of term 3 is durable, its mark is not or is; 101 and 102 are the
        // uncommitted tail of a deposed leader.
        let at = Mark { term: 3, index: 100 };
        let old = vec![entry(2, 100), entry(2, 101), entry(2, 102)];
        let restored = restore(at, old.clone()).unwrap();
        assert_eq!(restored.window.last(), at);
        let mut marked = old;
        marked.extend([Record::Mark(at), entry(3, 101)]);
        let restored = restore(at, marked).unwrap();
        assert_eq!(restored.window.last(), Mark { term: 3, index: 101 });
    }
}
