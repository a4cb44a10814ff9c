//! Owns what can wait: purging tombstones, giving space back, drawing the tree's file together,
//! verifying pages at rest.
//! Never holds up a change or a read for longer than its budget.
//! Invariant: a tombstone leaves the tree only if it is the very one that history lists, so a key
//! that came back stays.

use base::{FileId, IoRequest};
use bytes::Bytes;
use history::PurgeBatch;
use tree::Relocation;

use crate::io::{Op, Page, Waiter, history_rot};
use crate::slice::{Failure, Pace, Slice, SliceEffect};

pub(crate) struct Purge {
    run: Option<PurgeRun>,
    pub is_parked: bool,
    /// The compact revision whose purge was announced.
    pub announced: i64,
    /// The last freeze that had begun then: what was purged goes with a later one.
    pub done_in: u64,
}

struct PurgeRun {
    batch: PurgeBatch,
    position: usize,
}

/// Whose pages are being verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Tree,
    History,
}

pub(crate) struct Scrub {
    part: Part,
    at: history::Scrub,
    pub is_parked: bool,
    pub pages: u64,
    pub rounds: u64,
}

/// Moves what lies at the end of the tree's file to its front.
pub(crate) struct Relocate {
    pub is_parked: bool,
    /// Nothing is left to move before the next commit.
    pub is_settled: bool,
}

impl Purge {
    pub fn new() -> Purge {
        Purge { run: None, is_parked: false, announced: 0, done_in: 0 }
    }
}

impl Scrub {
    pub fn new() -> Scrub {
        let at = history::Scrub::default();
        Scrub { part: Part::Tree, at, is_parked: false, pages: 0, rounds: 0 }
    }

    fn next_round(&mut self) {
        self.part = Part::Tree;
        self.at = history::Scrub::default();
        self.rounds += 1;
    }
}

impl Relocate {
    pub fn new() -> Relocate {
        Relocate { is_parked: false, is_settled: false }
    }
}

impl Slice {
    /// Purges up to `budget` tombstones.
    pub(crate) fn run_purge(&mut self, budget: usize) -> Pace {
        let mut room = budget;
        while 0 < room {
            if self.purge.is_parked {
                return Pace::Idle;
            }
            match self.purge_some(room) {
                Ok(0) => return Pace::Idle,
                Ok(done) => room = room.saturating_sub(done),
                Err(page) => {
                    self.purge.is_parked = true;
                    self.want(page, Waiter::Purge);
                    return Pace::Idle;
                }
            }
        }
        Pace::Busy
    }

    /// Does a piece and answers its size; 0 if nothing is left.
    fn purge_some(&mut self, room: usize) -> Result<usize, Page> {
        let Some(run) = &mut self.purge.run else {
            let Some(history) = self.past.get() else { return Ok(0) };
            let batch = history.poll_purge(room).map_err(Page::History)?;
            let compact = history.compacted();
            match batch {
                Some(batch) => self.purge.run = Some(PurgeRun { batch, position: 0 }),
                None => {
                    if self.purge.announced < compact {
                        self.purge.announced = compact;
                        self.purge.done_in = self.frozen;
                        self.effects.push_back(SliceEffect::Purged { compact });
                    }
                    return Ok(0);
                }
            }
            return Ok(1);
        };
        let start = run.position;
        while let Some(tombstone) = run.batch.tombstones.get(run.position) {
            if room <= run.position - start {
                return Ok(room);
            }
            let entry = self.tree.get(&tombstone.key).map_err(Page::Tree)?;
            if entry.is_some_and(|entry| !entry.is_live() && entry.modified == tombstone.rev) {
                self.tree.remove(&tombstone.key).map_err(Page::Tree)?;
            }
            run.position += 1;
        }
        let (done, through) = (run.position - start, run.batch.through);
        self.purge.run = None;
        self.past.get().expect("it gave the batch").purged(through);
        Ok(done.max(1))
    }

    /// Gives space back, one request at a time for the tree, all that is due for the history.
    pub(crate) fn run_trim(&mut self) {
        if let Some(trim) = self.tree.poll_trim() {
            let file = FileId::Tree(self.id);
            let request = match trim {
                tree::Trim::Punch { offset, len } => IoRequest::Punch { file, offset, len },
                tree::Trim::Truncate { len } => IoRequest::Truncate { file, len },
            };
            self.io.begin(Op::TreeTrim, request);
        }
        let Some(history) = self.past.get() else { return };
        while let Some(file) = history.poll_remove() {
            self.io.begin(Op::HistoryRemove, IoRequest::Remove { file });
        }
    }

    /// Marks up to `budget` pages for moving with the next checkpoint.
    pub(crate) fn run_relocate(&mut self, budget: usize) {
        for _ in 0..budget {
            if self.relocate.is_parked || self.relocate.is_settled {
                return;
            }
            match self.tree.relocate() {
                Ok(Relocation::Moved | Relocation::Searching) => {}
                Ok(Relocation::Settled) => self.relocate.is_settled = true,
                Err(miss) => {
                    self.relocate.is_parked = true;
                    self.want(Page::Tree(miss), Waiter::Relocate);
                }
            }
        }
    }

    /// Reads the next page back, one at a time; tree and history in turn, over and over.
    pub(crate) fn run_scrub(&mut self) {
        if self.scrub.is_parked {
            return;
        }
        match self.scrub.part {
            Part::Tree => match self.tree.poll_scrub() {
                tree::Scrub::Read(miss) => self.want_scrub(Page::Tree(miss)),
                tree::Scrub::Pause => {}
                tree::Scrub::Finished if self.past.get().is_some() => {
                    self.scrub.part = Part::History;
                }
                tree::Scrub::Finished => self.scrub.next_round(),
            },
            Part::History => self.scrub_history(),
        }
    }

    fn scrub_history(&mut self) {
        let history = self.past.get().expect("its turn comes only if there is one");
        match history.scrub(self.scrub.at) {
            Ok(Some((miss, next))) => {
                self.scrub.at = next;
                self.want_scrub(Page::History(miss));
            }
            Ok(None) => self.scrub.next_round(),
            Err(miss) => {
                self.scrub.is_parked = true;
                self.want(Page::History(miss), Waiter::Scrub);
            }
        }
    }

    /// Reads a page only to verify it.
    fn want_scrub(&mut self, page: Page) {
        self.scrub.is_parked = true;
        self.io.begin(Op::Scrub(page), page.request(self.id));
    }

    /// A page to verify has come.
    pub(crate) fn check_page(&mut self, page: Page, bytes: Bytes) -> Result<(), Failure> {
        self.scrub.is_parked = false;
        self.scrub.pages += 1;
        match page {
            Page::Tree(miss) => {
                let checked = self.tree.scrubbed(miss.page, bytes);
                checked.map_err(|rot| self.tree_rot(&rot))
            }
            Page::History(miss) => {
                let history = self.past.get().expect("it named the page");
                history.check(&miss, bytes).map_err(|rot| history_rot(&rot))
            }
        }
    }
}
