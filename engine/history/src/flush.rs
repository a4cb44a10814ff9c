//! Owns the way to disk: what waits to be written, what is in flight, what a freeze still lacks,
//! which files may be removed. Never decides what a block holds.
//! Invariant: a root is answered after every byte that it names was written and synced, and a
//! segment is removed after the manifest that dropped it is durable and nothing writes to it.
//!
//! ```text
//!  freeze ──> writes out ──> files synced ──> root answered ──> commit ──> files removed
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use base::{FileId, SliceId};
use bytes::{Bytes, BytesMut};

use crate::cache::Page;
use crate::directory::{self, Area, DIRECTORY_SEGMENT, HistoryRoot};
use crate::frame::PageAt;
use crate::history::History;

/// Most bytes of neighbouring blocks that go out as one write. A commit that comes at the same
/// time waits for it. But each write makes the file longer, which the kernel does on a thread of
/// its own and then wakes this core: with 64 KiB a member under puts had more of these writes than
/// writes of its log, and they woke its second core more often than all its mail.
const WRITE_BYTES_MAX: usize = 256 << 10;

/// Buffers that neighbouring blocks are joined in, kept for the next writes. Fresh memory for each
/// write was half of all page faults of a member under puts.
const JOINTS: usize = 2;

/// Names one write or sync of one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Bytes to write; tell [`History::wrote`] when they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// To which file.
    pub file: FileId,
    /// Byte offset, a multiple of 4 KiB.
    pub offset: u64,
    /// What, a multiple of 4 KiB long.
    pub bytes: Bytes,
    /// To be handed back.
    pub ticket: Ticket,
}

struct Frozen {
    generation: u64,
    root: HistoryRoot,
    /// Writes that the root depends on.
    writes: BTreeSet<PageAt>,
    /// Files to sync once the writes are done, and those being synced.
    unsynced: BTreeSet<u64>,
    syncing: BTreeMap<Ticket, u64>,
    /// Segments to remove after the commit.
    dropped: Range<u64>,
}

pub(crate) struct Flush {
    queue: VecDeque<(PageAt, Bytes)>,
    queued_bytes: usize,
    /// Each gets its memory back when the write that it was lent to is done.
    joints: [BytesMut; JOINTS],
    joint_next: usize,
    flights: BTreeMap<Ticket, Vec<PageAt>>,
    /// Pages that only memory holds.
    unwritten: BTreeMap<PageAt, Page>,
    unwritten_bytes: usize,
    ticket_next: u64,
    /// Files with writes that no freeze has claimed.
    dirty: BTreeSet<u64>,
    frozen: Option<Frozen>,
    /// The newest root; `None` before the first freeze.
    root: Option<HistoryRoot>,
    is_changed: bool,
    /// Segments to remove, and those being removed.
    remove: Range<u64>,
    removing: BTreeSet<u64>,
}

impl Flush {
    pub fn new() -> Flush {
        Flush {
            queue: VecDeque::new(),
            queued_bytes: 0,
            joints: Default::default(),
            joint_next: 0,
            flights: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            unwritten_bytes: 0,
            ticket_next: 0,
            dirty: BTreeSet::new(),
            frozen: None,
            root: None,
            is_changed: true,
            remove: 1..1,
            removing: BTreeSet::new(),
        }
    }

    /// After opening: what an earlier life dropped and may not have removed is removed again.
    pub fn reopened(root: HistoryRoot) -> Flush {
        let remove = root.swept..root.first_segment;
        Flush { root: Some(root), is_changed: false, remove, ..Flush::new() }
    }

    pub fn changed(&mut self) {
        self.is_changed = true;
    }

    pub fn unwritten_bytes(&self) -> usize {
        self.unwritten_bytes
    }

    pub fn unwritten(&self, at: PageAt) -> Option<&Page> {
        self.unwritten.get(&at)
    }

    pub fn queue(&mut self, at: PageAt, bytes: Bytes, page: Option<Page>) {
        self.queued_bytes += bytes.len();
        self.queue.push_back((at, bytes));
        self.dirty.insert(at.segment);
        if let Some(page) = page {
            self.unwritten_bytes += page.bytes();
            assert!(self.unwritten.insert(at, page).is_none());
        }
    }

    /// Forgets what waits for segments that are gone.
    fn forget(&mut self, gone: &Range<u64>) {
        self.queue.retain(|(at, _)| !gone.contains(&at.segment));
        self.queued_bytes = self.queue.iter().map(|(_, bytes)| bytes.len()).sum();
        self.unwritten.retain(|at, _| !gone.contains(&at.segment));
        self.unwritten_bytes = self.unwritten.values().map(Page::bytes).sum();
        self.dirty.retain(|segment| !gone.contains(segment));
    }

    /// The lowest number whose file may still exist although it was dropped.
    fn swept(&self) -> u64 {
        self.removing.first().copied().unwrap_or(self.remove.start)
    }

    fn ticket(&mut self) -> Ticket {
        self.ticket_next += 1;
        Ticket(self.ticket_next)
    }

    /// Takes neighbouring pages off the queue as one write.
    fn next_write(&mut self) -> Option<(PageAt, Bytes, Vec<PageAt>)> {
        let (at, first) = self.queue.pop_front()?;
        let mut pages = vec![at];
        let mut len = first.len();
        let mut parts = vec![first];
        while let Some((next, bytes)) = self.queue.front() {
            let joins = next.segment == at.segment && next.offset == at.offset + len as u64;
            if !joins || WRITE_BYTES_MAX < len + bytes.len() {
                break;
            }
            let (next, bytes) = self.queue.pop_front().expect("front was there");
            len += bytes.len();
            pages.push(next);
            parts.push(bytes);
        }
        self.queued_bytes -= len;
        if parts.len() == 1 {
            return parts.pop().map(|bytes| (at, bytes, pages));
        }
        let joint = &mut self.joints[self.joint_next];
        self.joint_next = (self.joint_next + 1) % JOINTS;
        assert!(joint.is_empty() && len <= WRITE_BYTES_MAX);
        joint.reserve(WRITE_BYTES_MAX);
        parts.iter().for_each(|part| joint.extend_from_slice(part));
        Some((at, joint.split().freeze(), pages))
    }
}

impl History {
    /// Fixes what the next root will hold: all that was appended, compacted and purged so far.
    /// At most one freeze is open at a time.
    pub fn freeze(&mut self, generation: u64) {
        assert!(self.flush.frozen.is_none());
        self.cut();
        let dropped = self.drop_compacted();
        self.flush.forget(&dropped);
        let root = match self.flush.root {
            Some(root) if !self.flush.is_changed && dropped.is_empty() => root,
            Some(_) | None => self.next_root(),
        };
        self.flush.is_changed = false;
        let flights = self.flush.flights.values().flatten();
        let writes = self.flush.queue.iter().map(|(at, _)| at).chain(flights).copied();
        let writes = writes.filter(|at| !dropped.contains(&at.segment)).collect();
        self.flush.frozen = Some(Frozen {
            generation,
            root,
            writes,
            unsynced: std::mem::take(&mut self.flush.dirty),
            syncing: BTreeMap::new(),
            dropped,
        });
    }

    fn next_root(&mut self) -> HistoryRoot {
        let area = self.flush.root.map_or(Area::A, |root| root.area.other());
        let sealed = self.sealed.make_contiguous();
        let (page, bytes) =
            directory::encode(self.slice, area, sealed, &self.open.blocks, self.last);
        self.flush.queue(page.at, bytes, None);
        HistoryRoot {
            first_segment: self.first_segment(),
            open_segment: self.open.number,
            open_offset: self.open.offset,
            swept: self.flush.swept(),
            compact: self.compact,
            purged: self.purged,
            last: self.last,
            area,
            directory_len: page.len,
            directory_sum: page.sum,
        }
    }

    /// The next write, if one is due: always during a freeze, else once enough has gathered.
    pub fn poll_write(&mut self) -> Option<Write> {
        let due =
            self.flush.frozen.is_some() || self.options.flush_bytes <= self.flush.queued_bytes;
        if !due {
            return None;
        }
        let (at, bytes, pages) = self.flush.next_write()?;
        let ticket = self.flush.ticket();
        self.flush.flights.insert(ticket, pages);
        Some(Write { file: file(self.slice, at.segment), offset: at.offset, bytes, ticket })
    }

    /// The write is done in full.
    pub fn wrote(&mut self, ticket: Ticket) {
        let pages = self.flush.flights.remove(&ticket).expect("a ticket comes back once");
        for at in pages {
            if let Some(page) = self.flush.unwritten.remove(&at) {
                self.flush.unwritten_bytes -= page.bytes();
                self.cache.keep(at, page);
            }
            if let Some(frozen) = &mut self.flush.frozen {
                frozen.writes.remove(&at);
            }
        }
    }

    /// The next file to sync for the open freeze, when its writes are done.
    pub fn poll_sync(&mut self) -> Option<(FileId, Ticket)> {
        let ticket = Ticket(self.flush.ticket_next + 1);
        let frozen = self.flush.frozen.as_mut()?;
        if !frozen.writes.is_empty() {
            return None;
        }
        let segment = frozen.unsynced.pop_first()?;
        frozen.syncing.insert(ticket, segment);
        self.flush.ticket_next += 1;
        Some((file(self.slice, segment), ticket))
    }

    /// The sync is done.
    pub fn synced(&mut self, ticket: Ticket) {
        let frozen = self.flush.frozen.as_mut().expect("a sync belongs to a freeze");
        frozen.syncing.remove(&ticket).expect("a ticket comes back once");
    }

    /// The frozen root, once all that it names is durable.
    pub fn frozen_root(&self) -> Option<HistoryRoot> {
        let frozen = self.flush.frozen.as_ref()?;
        let durable =
            frozen.writes.is_empty() && frozen.unsynced.is_empty() && frozen.syncing.is_empty();
        durable.then_some(frozen.root)
    }

    /// The manifest that names the frozen root is durable: what it dropped may be removed.
    pub fn commit(&mut self, generation: u64) {
        assert!(self.frozen_root().is_some());
        let frozen = self.flush.frozen.take().expect("a commit follows its freeze");
        assert_eq!(frozen.generation, generation);
        self.flush.root = Some(frozen.root);
        if !frozen.dropped.is_empty() {
            assert_eq!(self.flush.remove.end, frozen.dropped.start);
            self.flush.remove.end = frozen.dropped.end;
        }
    }

    /// Are files of dropped segments still there?
    pub fn is_removing(&self) -> bool {
        !self.flush.remove.is_empty() || !self.flush.removing.is_empty()
    }

    /// The next file to remove.
    pub fn poll_remove(&mut self) -> Option<FileId> {
        let segment = self.flush.remove.start;
        let writing = self.flush.flights.values().flatten().any(|at| at.segment == segment);
        if self.flush.remove.is_empty() || writing {
            return None;
        }
        self.flush.remove.start += 1;
        self.flush.removing.insert(segment);
        Some(file(self.slice, segment))
    }

    /// The file is gone.
    pub fn removed(&mut self, removed: FileId) {
        let FileId::History { slice, segment } = removed else {
            unreachable!("not a file of history: {removed:?}")
        };
        assert_eq!(slice, self.slice);
        assert!(segment != DIRECTORY_SEGMENT);
        assert!(self.flush.removing.remove(&segment));
    }
}

pub(crate) fn file(slice: SliceId, segment: u64) -> FileId {
    FileId::History { slice, segment }
}
