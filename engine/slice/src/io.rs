//! Owns the table of disk requests in flight: who waits for which page, what a finished request
//! means. Never decides what to read.
//! Invariant: one page is asked for once, however many wait for it; every request that was handed
//! out is in the table until its result came.

use std::collections::{BTreeMap, VecDeque};

use base::{FileId, IoError, IoRequest, IoResult, OpId, SliceId};
use bytes::Bytes;

use crate::request::ReadId;
use crate::slice::{Failure, RotWhy, Slice, SliceEffect};

/// Who goes on when a page has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiter {
    Stream,
    Read(ReadId),
    Purge,
    Scrub,
    Relocate,
    /// It is read ahead.
    Nobody,
}

/// A page that is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Tree(tree::Miss),
    History(history::Miss),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PageKey {
    Tree(tree::PageId),
    History(history::Miss),
}

/// What a finished request means.
pub(crate) enum Op {
    Load(Page),
    /// The history's directory, while opening.
    Directory,
    /// A page that is verified and not kept.
    Scrub(Page),
    TreeWrite(tree::Ticket),
    TreeSync,
    TreeTrim,
    HistoryWrite(history::Ticket),
    HistorySync(history::Ticket),
    HistoryRemove,
}

pub(crate) struct Io {
    op_next: u64,
    ops: BTreeMap<OpId, (Op, IoRequest)>,
    loads: BTreeMap<PageKey, Vec<Waiter>>,
    out: VecDeque<(OpId, IoRequest)>,
    /// Writes that found no room.
    stalled: Vec<OpId>,
    writes: usize,
}

impl Page {
    fn key(&self) -> PageKey {
        match self {
            Page::Tree(miss) => PageKey::Tree(miss.page),
            Page::History(miss) => PageKey::History(*miss),
        }
    }

    pub fn request(&self, slice: SliceId) -> IoRequest {
        match self {
            Page::Tree(miss) => {
                IoRequest::Read { file: FileId::Tree(slice), offset: miss.offset, len: miss.len }
            }
            Page::History(miss) => miss.request(),
        }
    }
}

impl Io {
    pub fn new() -> Io {
        Io {
            op_next: 0,
            ops: BTreeMap::new(),
            loads: BTreeMap::new(),
            out: VecDeque::new(),
            stalled: Vec::new(),
            writes: 0,
        }
    }

    pub fn begin(&mut self, op: Op, request: IoRequest) {
        self.op_next += 1;
        let id = OpId(self.op_next);
        self.writes += usize::from(matches!(request, IoRequest::Write { .. }));
        // Bytes are shared, not copied; they are needed again if the disk has no room.
        self.ops.insert(id, (op, request.clone()));
        self.out.push_back((id, request));
    }

    pub fn poll(&mut self) -> Option<(OpId, IoRequest)> {
        self.out.pop_front()
    }

    pub fn loads(&self) -> usize {
        self.loads.len()
    }

    pub fn writes(&self) -> usize {
        self.writes
    }

    pub fn retry(&mut self) {
        for op in std::mem::take(&mut self.stalled) {
            let (_, request) = self.ops.get(&op).expect("stalled ones stay in the table");
            self.out.push_back((op, request.clone()));
        }
    }

    /// Asks for a page on behalf of somebody.
    fn load(&mut self, slice: SliceId, page: Page, waiter: Waiter) {
        let key = page.key();
        if let Some(waiters) = self.loads.get_mut(&key) {
            waiters.push(waiter);
            return;
        }
        self.loads.insert(key, vec![waiter]);
        self.begin(Op::Load(page), page.request(slice));
    }
}

impl Slice {
    /// Reads a page and wakes the waiter when it is there.
    pub(crate) fn want(&mut self, page: Page, waiter: Waiter) {
        self.io.load(self.id, page, waiter);
    }

    /// A request is done.
    pub fn io_done(&mut self, op: OpId, result: IoResult) {
        let (_, request) = self.io.ops.get(&op).expect("one result for each request");
        let is_write = matches!(request, IoRequest::Write { .. });
        let file = file_of(request);
        if is_write && result == IoResult::Failed(IoError::NoSpace) {
            self.io.stalled.push(op);
            self.effects.push_back(SliceEffect::NoSpace { file });
            return;
        }
        let (op, request) = self.io.ops.remove(&op).expect("just seen");
        self.io.writes -= usize::from(is_write);
        match result {
            IoResult::Read(bytes) => self.page_read(op, bytes),
            IoResult::Done => self.done(op, &request),
            IoResult::Failed(error) => self.failed(op, &request, error),
        }
    }

    fn page_read(&mut self, op: Op, bytes: Bytes) {
        let checked = match op {
            Op::Load(page) => {
                let waiters = self.io.loads.remove(&page.key()).expect("asked once");
                self.wake(waiters);
                self.supply(page, bytes)
            }
            Op::Directory => self.past.finish_opening(&bytes).map_err(|rot| history_rot(&rot)),
            Op::Scrub(page) => self.check_page(page, bytes),
            Op::TreeWrite(_)
            | Op::TreeSync
            | Op::TreeTrim
            | Op::HistoryWrite(_)
            | Op::HistorySync(_)
            | Op::HistoryRemove => unreachable!("it was no read"),
        };
        if let Err(failure) = checked {
            self.fail(failure);
        }
    }

    fn supply(&mut self, page: Page, bytes: Bytes) -> Result<(), Failure> {
        match page {
            Page::Tree(miss) => {
                let supplied = self.tree.supply(miss.page, bytes);
                supplied.map_err(|rot| self.tree_rot(&rot))
            }
            Page::History(miss) => {
                let history = self.past.get().expect("it missed the page");
                history.supply(&miss, bytes).map_err(|rot| history_rot(&rot))
            }
        }
    }

    pub(crate) fn tree_rot(&self, rot: &tree::Rot) -> Failure {
        let file = FileId::Tree(self.id);
        Failure::Rot { file, offset: rot.offset, why: RotWhy::Tree(rot.why) }
    }

    fn done(&mut self, op: Op, request: &IoRequest) {
        match op {
            Op::TreeWrite(ticket) => self.tree.wrote(ticket),
            Op::TreeSync => self.checkpoint.tree_synced(),
            Op::TreeTrim => self.tree.trimmed(),
            Op::HistoryWrite(ticket) => self.history_of_op().wrote(ticket),
            Op::HistorySync(ticket) => self.history_of_op().synced(ticket),
            Op::HistoryRemove => self.history_of_op().removed(file_of(request)),
            Op::Load(_) | Op::Directory | Op::Scrub(_) => unreachable!("a read gives bytes"),
        }
    }

    fn history_of_op(&mut self) -> &mut history::History {
        self.past.get().expect("it asked for this")
    }

    fn failed(&mut self, op: Op, request: &IoRequest, error: IoError) {
        let is_harmless = match &op {
            // Giving space back is a courtesy; some file systems cannot punch holes.
            Op::TreeTrim => true,
            Op::Load(page) | Op::Scrub(page) => !self.still_wants(page),
            Op::Directory
            | Op::TreeWrite(_)
            | Op::TreeSync
            | Op::HistoryWrite(_)
            | Op::HistorySync(_)
            | Op::HistoryRemove => false,
        };
        match op {
            Op::TreeTrim => self.tree.trimmed(),
            Op::Load(page) if is_harmless => {
                let waiters = self.io.loads.remove(&page.key()).expect("asked once");
                self.wake(waiters);
            }
            Op::Scrub(_) if is_harmless => self.scrub.is_parked = false,
            Op::Load(_)
            | Op::Scrub(_)
            | Op::Directory
            | Op::TreeWrite(_)
            | Op::TreeSync
            | Op::HistoryWrite(_)
            | Op::HistorySync(_)
            | Op::HistoryRemove => self.fail(Failure::Io { file: file_of(request), error }),
        }
    }

    /// Compaction may have dropped the file under a read.
    fn still_wants(&mut self, page: &Page) -> bool {
        match page {
            Page::Tree(_) => true,
            Page::History(miss) => self.past.get().is_some_and(|history| history.wants(miss)),
        }
    }
}

pub(crate) fn history_rot(rot: &history::Rot) -> Failure {
    Failure::Rot { file: rot.file, offset: rot.offset, why: RotWhy::History(rot.kind) }
}

fn file_of(request: &IoRequest) -> FileId {
    match request {
        IoRequest::Read { file, .. }
        | IoRequest::Write { file, .. }
        | IoRequest::Sync { file }
        | IoRequest::Prepare { file, .. }
        | IoRequest::Remove { file }
        | IoRequest::Punch { file, .. }
        | IoRequest::Truncate { file, .. } => *file,
        IoRequest::Clear { .. } => unreachable!("the owner of the slice clears, not the slice"),
    }
}
