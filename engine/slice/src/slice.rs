//! Owns the machine's outside: options, effects, the verbs that its owner calls.
//! Never waits. Invariant: nothing happens outside `step`, `work` and `io_done`; each does a
//! bounded amount.

use std::collections::VecDeque;

use base::{Change, FileId, IoError, IoRequest, OpId, SliceId};

use crate::apply::{Deed, Stream, Task};
use crate::background::{Purge, Relocate, Scrub};
use crate::checkpoint::Checkpoint;
use crate::io::{Io, Op, Waiter};
use crate::past::Past;
use crate::pins::Pins;
use crate::reads::Reads;
use crate::request::{ReadId, ReadRequest, ReadResult};
use crate::root::SliceRoot;

/// Whether a slice remembers the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryMode {
    /// Every change since the compact revision; deleted keys stay as tombstones until then.
    Kept(history::Options),
    /// Keys and values only, deletes remove. Reads see the newest state whatever their point.
    None,
}

/// How a slice behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Of the tree.
    pub tree: tree::Options,
    /// Of the history.
    pub history: HistoryMode,
    /// Entries, or versions of an entry, that a read looks at before others have their turn.
    pub turn_entries: usize,
    /// Bytes likewise.
    pub turn_bytes: usize,
    /// Queued changes whose pages are read ahead while one waits.
    pub prefetch_changes: usize,
    /// Writes in flight.
    pub writes_max: usize,
}

/// Time for what somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepBudget {
    /// Changes to apply.
    pub changes: usize,
    /// Turns to give to reads, `turn_entries` each.
    pub turns: usize,
}

/// Time for what can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkBudget {
    /// Bytes of checkpoint and history to hand out for writing.
    pub write_bytes: usize,
    /// Tombstones to purge.
    pub purge_entries: usize,
    /// Pages to move from the end of the tree's file towards its front, each with the next
    /// checkpoint; more than 0 only when idle.
    pub relocate_pages: usize,
    /// Whether a page at rest may be read to verify it.
    pub scrub: ScrubPace,
}

/// Whether pages at rest are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrubPace {
    /// Not now.
    Rest,
    /// One page, unless one is being read.
    OnePage,
}

/// Whether calling again makes sense before anything else happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// There is more to do.
    Busy,
    /// Everything is done or waits for an answer.
    Idle,
}

/// What a slice wants done or has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SliceEffect {
    /// Do this and answer with [`Slice::io_done`].
    Io {
        /// Unique in this slice.
        op: OpId,
        /// What.
        request: IoRequest,
    },
    /// A read is over.
    ReadDone {
        /// Which.
        job: ReadId,
        /// Its answer.
        result: ReadResult,
    },
    /// All that the frozen state needs is durable. Write the manifest, then [`Slice::commit`].
    Durable {
        /// Of the freeze.
        generation: u64,
        /// What the manifest must hold of this slice.
        root: SliceRoot,
    },
    /// No tombstone at or below this revision is left in the working tree; on disk it is so with
    /// the next checkpoint.
    Purged {
        /// The compact revision.
        compact: i64,
    },
    /// A write found no room. Call [`Slice::retry`] when there may be some.
    NoSpace {
        /// Of which file.
        file: FileId,
    },
    /// The disk failed or lied. The slice stands still from here on; the process must stop.
    Broken(Failure),
}

/// How the disk failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It said so.
    Io {
        /// Of which file.
        file: FileId,
        /// What it said.
        error: IoError,
    },
    /// It gave back other bytes than were written.
    Rot {
        /// In which file.
        file: FileId,
        /// Byte offset of the page.
        offset: u64,
        /// What did not fit.
        why: RotWhy,
    },
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Io { file, error } => write!(
                f,
                "{file} cannot be read or written ({error:?}): check the disk, then start again"
            ),
            Failure::Rot { file, offset, why } => write!(
                f,
                "{file} is damaged at byte {offset} ({why:?}): the disk gave back other bytes than \
                 were written; restore the data directory from a backup"
            ),
        }
    }
}

/// What did not fit, in the words of the part that found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotWhy {
    /// The tree.
    Tree(tree::Why),
    /// The history.
    History(history::RotKind),
}

/// What a slice weighs and waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Everything up to this revision is visible.
    pub applied: i64,
    /// The compact revision.
    pub compact: i64,
    /// Live keys.
    pub live: u64,
    /// Live keys and tombstones.
    pub total: u64,
    /// Changes that wait to be applied.
    pub queued_changes: usize,
    /// Bytes of their keys and values.
    pub queued_bytes: usize,
    /// Reads without an answer.
    pub reads: usize,
    /// Pages being read.
    pub loads: usize,
    /// Writes in flight.
    pub writes: usize,
    /// Pages verified at rest since the slice was opened.
    pub scrubbed_pages: u64,
    /// Times that everything at rest was verified.
    pub scrub_rounds: u64,
    /// The tree's memory.
    pub cache: tree::CacheStats,
    /// The tree's file.
    pub space: tree::SpaceStats,
    /// The history, if one is kept and opened.
    pub history: Option<history::Stats>,
}

/// Bytes of a slice's files, tree and history together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Their lengths.
    pub file_bytes: u64,
    /// What of them is in use.
    pub used_bytes: u64,
}

/// One partition of the key space.
pub struct Slice {
    pub(crate) id: SliceId,
    pub(crate) options: Options,
    pub(crate) tree: tree::Tree,
    pub(crate) past: Past,
    pub(crate) pins: Pins,
    pub(crate) io: Io,
    pub(crate) stream: Stream,
    pub(crate) reads: Reads,
    pub(crate) checkpoint: Checkpoint,
    /// Generations of the last freeze that began and of the last commit, since it was opened.
    pub(crate) frozen: u64,
    pub(crate) committed: u64,
    pub(crate) purge: Purge,
    pub(crate) scrub: Scrub,
    pub(crate) relocate: Relocate,
    /// Reads below are refused from here on; the history follows with the next freeze.
    pub(crate) compact: i64,
    pub(crate) effects: VecDeque<SliceEffect>,
    pub(crate) failure: Option<Failure>,
}

impl Slice {
    /// An empty slice of an empty store, which is at revision 1.
    pub fn create(id: SliceId, options: Options) -> Slice {
        let past = Past::create(id, options.history);
        Slice::assemble(id, options, tree::Tree::create(options.tree), past, 1, 0)
    }

    /// The slice that `root` names. Panics if the root is another slice's, or of another mode.
    pub fn open(id: SliceId, options: Options, root: SliceRoot) -> Slice {
        assert_eq!(id, root.slice);
        let past = Past::open(id, options.history, root.history);
        let tree = tree::Tree::open(options.tree, root.tree);
        let mut slice = Slice::assemble(id, options, tree, past, root.applied, root.compact);
        if let Some(request) = slice.past.opening_request() {
            slice.io.begin(Op::Directory, request);
        }
        slice
    }

    fn assemble(
        id: SliceId,
        options: Options,
        tree: tree::Tree,
        past: Past,
        applied: i64,
        compact: i64,
    ) -> Slice {
        assert!(0 < options.turn_entries);
        assert!(0 < options.turn_bytes);
        assert!(0 < options.writes_max);
        Slice {
            id,
            options,
            tree,
            past,
            pins: Pins::new(compact),
            io: Io::new(),
            stream: Stream::new(applied),
            reads: Reads::new(),
            checkpoint: Checkpoint::Idle,
            frozen: 0,
            committed: 0,
            purge: Purge::new(),
            scrub: Scrub::new(),
            relocate: Relocate::new(),
            compact,
            effects: VecDeque::new(),
            failure: None,
        }
    }

    /// Queues changes of this slice, in revision order. `through` is the revision that the store
    /// has reached with this batch, whether or not it touched this slice.
    pub fn apply(&mut self, changes: &[Change], through: i64) {
        changes.iter().for_each(|change| self.change(change.clone()));
        self.through(through);
    }

    /// Queues one change, for owners that deal a batch to many slices in one pass.
    pub fn change(&mut self, change: Change) {
        self.stream.push(Task::Change(change, Deed::Sequenced));
    }

    /// The store has reached this revision, and every change up to it was queued before.
    pub fn through(&mut self, revision: i64) {
        self.stream.push(Task::Through(revision));
    }

    /// Queues pairs that another member's store held at its compact revision, in any order. Only
    /// for a slice that was created and holds nothing else yet; follow it with
    /// [`Slice::compact`] and [`Slice::copy`].
    pub fn load(&mut self, rows: Vec<Change>) {
        rows.into_iter().for_each(|row| self.stream.push(Task::Change(row, Deed::Row)));
    }

    /// Queues changes of another member's history, in revision order; what they replaced is found
    /// here. `through` as in [`Slice::apply`].
    pub fn copy(&mut self, changes: Vec<Change>, through: i64) {
        for change in changes {
            self.stream.push(Task::Change(change, Deed::Copied));
        }
        self.stream.push(Task::Through(through));
    }

    /// Everything at or below this revision is visible to reads.
    pub fn applied(&self) -> i64 {
        self.stream.applied
    }

    /// Changes that wait to be applied.
    pub fn queued_changes(&self) -> usize {
        self.stream.queued_changes()
    }

    /// Whether a read waits for a revision that has not come yet.
    pub fn awaits_revision(&self) -> bool {
        self.reads.any_waits()
    }

    /// Makes what was queued before the state of checkpoint `generation`. The checkpoint before
    /// must have been committed when this takes effect.
    pub fn freeze(&mut self, generation: u64) {
        self.stream.push(Task::Freeze(generation));
    }

    /// Raises the compact revision once what was queued before is applied. `main` must not be
    /// above the revision reached by then.
    ///
    /// From then on reads of lower points answer [`ReadResult::Compacted`]. Points inside
    /// transaction `main` stay readable until the next freeze, so that a transaction that was
    /// sequenced just before the compaction can still be answered.
    pub fn compact(&mut self, main: i64) {
        self.stream.push(Task::Compact(main));
    }

    /// Asks for something; answered by [`SliceEffect::ReadDone`]. Panics if the id is in use.
    pub fn read(&mut self, job: ReadId, request: ReadRequest) {
        self.reads.add(job, request, self.stream.applied);
    }

    /// Nobody waits for that answer any more. Unknown ids are fine.
    pub fn cancel(&mut self, job: ReadId) {
        self.reads.remove(job);
    }

    /// Applies queued changes and answers reads, within the budget.
    pub fn step(&mut self, budget: StepBudget) -> Pace {
        if self.failure.is_some() || self.past.is_opening() {
            return Pace::Idle;
        }
        let stream = self.run_stream(budget.changes);
        self.reads.release(self.stream.applied);
        let reads = self.run_reads(budget.turns);
        if stream == Pace::Busy { Pace::Busy } else { reads }
    }

    /// Hands out checkpoint and history writes, purges, gives space back, moves pages, scrubs,
    /// within the budget. Call it after results of writes have come in, too.
    pub fn work(&mut self, budget: WorkBudget) -> Pace {
        if self.failure.is_some() || self.past.is_opening() {
            return Pace::Idle;
        }
        let writes = self.run_writes(budget.write_bytes);
        let purge = self.run_purge(budget.purge_entries);
        self.run_trim();
        self.run_relocate(budget.relocate_pages);
        match budget.scrub {
            ScrubPace::Rest => {}
            ScrubPace::OnePage => self.run_scrub(),
        }
        if writes == Pace::Busy { Pace::Busy } else { purge }
    }

    /// The next thing to do; `None` when all were handed out.
    pub fn poll_effect(&mut self) -> Option<SliceEffect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        self.io.poll().map(|(op, request)| SliceEffect::Io { op, request })
    }

    /// The manifest of this generation is durable.
    pub fn commit(&mut self, generation: u64) {
        self.begin_commit(generation);
    }

    /// Tries writes again that found no room.
    pub fn retry(&mut self) {
        self.io.retry();
    }

    /// Has the slice been opened? Until then nothing is applied or answered.
    pub fn is_open(&self) -> bool {
        !self.past.is_opening()
    }

    /// What its files weigh now.
    pub fn sizes(&self) -> Sizes {
        let (space, past_bytes) = (self.tree.space(), self.past.file_bytes());
        Sizes {
            file_bytes: space.file_bytes + past_bytes,
            used_bytes: space.used_bytes + past_bytes,
        }
    }

    /// What it weighs now.
    pub fn stats(&self) -> Stats {
        Stats {
            applied: self.stream.applied,
            compact: self.compact,
            live: self.tree.live(),
            total: self.tree.total(),
            queued_changes: self.stream.queued_changes(),
            queued_bytes: self.stream.queued_bytes(),
            reads: self.reads.len(),
            loads: self.io.loads(),
            writes: self.io.writes(),
            scrubbed_pages: self.scrub.pages,
            scrub_rounds: self.scrub.rounds,
            cache: self.tree.cache_stats(),
            space: self.tree.space(),
            history: self.past.stats(),
        }
    }

    pub(crate) fn fail(&mut self, failure: Failure) {
        if self.failure.is_none() {
            self.failure = Some(failure);
            self.effects.push_back(SliceEffect::Broken(failure));
        }
    }

    /// Lets everybody go on who waited for a page.
    pub(crate) fn wake(&mut self, waiters: Vec<Waiter>) {
        for waiter in waiters {
            match waiter {
                Waiter::Stream => self.stream.is_parked = false,
                Waiter::Read(job) => self.reads.wake(job),
                Waiter::Purge => self.purge.is_parked = false,
                Waiter::Scrub => self.scrub.is_parked = false,
                Waiter::Relocate => self.relocate.is_parked = false,
                Waiter::Nobody => {}
            }
        }
    }
}
