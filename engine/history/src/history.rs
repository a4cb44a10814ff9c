//! Owns the machine: which segments are sealed, which one is open, the block being filled, and the
//! compact revision. Never reads or writes; it says what it needs.
//! Invariant: records are appended in rising revision order, and none is in two blocks.

use std::collections::VecDeque;

use base::limits::HISTORY_RECORD_BYTES_MAX;
use base::{IoRequest, Rev, SliceId};
use bytes::Bytes;

use crate::block::{BlockMeta, Builder, encode_index};
use crate::cache::{Cache, Page};
use crate::directory::{self, HistoryRoot, SegmentMeta};
use crate::flush::Flush;
use crate::frame::{PageAt, Rot};
use crate::record::Record;

/// Sizes that a slice chooses; the usual ones stand in `base::limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A block is closed once it is this long.
    pub block_bytes: usize,
    /// A segment is sealed once it is this long.
    pub segment_bytes: u64,
    /// Closed blocks wait for so many bytes before they are written, unless a freeze waits.
    pub flush_bytes: usize,
    /// Budget of blocks and indexes that were read or written.
    pub cache_bytes: usize,
}

/// The segment that takes new blocks.
pub(crate) struct OpenSegment {
    pub number: u64,
    pub blocks: Vec<BlockMeta>,
    /// Where the next block goes.
    pub offset: u64,
    /// Last revision in `blocks`.
    pub last: Rev,
}

/// The event log of one slice.
pub struct History {
    pub(crate) slice: SliceId,
    pub(crate) options: Options,
    /// Numbered without gaps up to the open one.
    pub(crate) sealed: VecDeque<SegmentMeta>,
    /// Bytes of their files.
    sealed_bytes: u64,
    pub(crate) open: OpenSegment,
    pub(crate) builder: Builder,
    /// Newest revision ever appended.
    pub(crate) last: Rev,
    pub(crate) compact: i64,
    /// Tombstones up to this revision are gone from the tree.
    pub(crate) purged: Rev,
    pub(crate) cache: Cache,
    pub(crate) flush: Flush,
}

/// What a slice's history weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Live segment files, the open one included.
    pub segments: u64,
    /// Bytes of the live segment files.
    pub file_bytes: u64,
    /// Records in memory that no file holds yet, in bytes.
    pub unwritten_bytes: usize,
    /// Blocks and indexes kept for readers, in bytes.
    pub cache_bytes: usize,
    /// The compact revision.
    pub compact: i64,
    /// Tombstones up to this revision are purged.
    pub purged: Rev,
}

/// A history whose directory has not been read yet.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    slice: SliceId,
    options: Options,
    root: HistoryRoot,
}

impl Opening {
    /// Begins to open what `root` names.
    pub fn new(slice: SliceId, options: Options, root: HistoryRoot) -> Opening {
        Opening { slice, options, root }
    }

    /// The read whose bytes [`Opening::supply`] wants.
    pub fn request(&self) -> IoRequest {
        self.root.directory_read(self.slice)
    }

    /// Opens with the directory's bytes.
    pub fn supply(self, bytes: &Bytes) -> Result<History, Rot> {
        let Opening { slice, options, root } = self;
        let page = root.directory();
        let (sealed, blocks) =
            directory::decode(bytes, slice, &root).map_err(|kind| page.at.rot(slice, kind))?;
        let mut history = History::create(slice, options);
        history.sealed_bytes = sealed.iter().map(SegmentMeta::file_bytes).sum();
        history.sealed = VecDeque::from(sealed);
        history.open = OpenSegment {
            number: root.open_segment,
            last: if blocks.is_empty() { Rev::ZERO } else { root.last },
            blocks,
            offset: root.open_offset,
        };
        history.last = root.last;
        history.compact = root.compact;
        history.purged = root.purged;
        history.flush = Flush::reopened(root);
        Ok(history)
    }
}

impl History {
    /// An empty history. Files of that slice that may lie around are overwritten.
    pub fn create(slice: SliceId, options: Options) -> History {
        History {
            slice,
            options,
            sealed: VecDeque::new(),
            sealed_bytes: 0,
            open: OpenSegment::numbered(1),
            builder: Builder::new(options.block_bytes),
            last: Rev::ZERO,
            compact: 0,
            purged: Rev::ZERO,
            cache: Cache::new(options.cache_bytes),
            flush: Flush::new(),
        }
    }

    /// Adds the newest record. Panics if it is not the newest.
    pub fn append(&mut self, record: &Record) {
        assert!(self.last < record.rev);
        assert!(record.encoded_bytes() <= HISTORY_RECORD_BYTES_MAX);
        self.last = record.rev;
        self.builder.push(record);
        self.flush.changed();
        if self.options.block_bytes <= self.builder.bytes() {
            self.cut();
        }
    }

    /// Raises the compact revision: records before `main` may go, whole segments at a time, once
    /// their tombstones are purged. Lower or equal marks change nothing.
    pub fn compact(&mut self, main: i64) {
        if self.compact < main {
            self.compact = main;
            self.flush.changed();
        }
    }

    /// The compact revision; 0 if never compacted.
    pub fn compacted(&self) -> i64 {
        self.compact
    }

    /// Revision of the newest record.
    pub fn last(&self) -> Rev {
        self.last
    }

    /// Bytes of the live segment files.
    pub fn file_bytes(&self) -> u64 {
        self.sealed_bytes + self.open.offset
    }

    /// What it weighs now.
    pub fn stats(&self) -> Stats {
        Stats {
            segments: self.sealed.len() as u64 + 1,
            file_bytes: self.file_bytes(),
            unwritten_bytes: self.builder.bytes() + self.flush.unwritten_bytes(),
            cache_bytes: self.cache.bytes(),
            compact: self.compact,
            purged: self.purged,
        }
    }

    /// Number of the oldest live segment.
    pub(crate) fn first_segment(&self) -> u64 {
        self.open.number - self.sealed.len() as u64
    }

    /// Closes the block being filled, and the segment if it is full.
    pub(crate) fn cut(&mut self) {
        if self.builder.is_empty() {
            return;
        }
        let builder = std::mem::replace(&mut self.builder, Builder::new(self.options.block_bytes));
        let at = PageAt { segment: self.open.number, offset: self.open.offset };
        let (meta, block) = builder.seal(self.slice, at);
        self.open.offset += u64::from(meta.page.len);
        self.open.blocks.push(meta);
        self.open.last = self.last;
        self.flush.queue(at, block.bytes().clone(), Some(Page::Records(block)));
        if self.options.segment_bytes <= self.open.offset {
            self.seal();
        }
    }

    /// Writes the open segment's index behind its blocks and begins the next one.
    fn seal(&mut self) {
        let next = OpenSegment::numbered(self.open.number + 1);
        let open = std::mem::replace(&mut self.open, next);
        let at = PageAt { segment: open.number, offset: open.offset };
        let (index, bytes) = encode_index(self.slice, at, &open.blocks, open.last);
        let sealed = SegmentMeta {
            number: open.number,
            first: open.blocks[0].first,
            last: open.last,
            index,
            records: open.blocks.iter().map(|meta| meta.records).sum(),
            tombstones: open.blocks.iter().map(|meta| meta.tombstones).sum(),
        };
        self.sealed_bytes += sealed.file_bytes();
        self.sealed.push_back(sealed);
        self.flush.queue(at, bytes, Some(Page::Index(open.blocks.into())));
    }

    /// Lets go of the segments that nobody may read any more. Answers their numbers.
    pub(crate) fn drop_compacted(&mut self) -> std::ops::Range<u64> {
        let from = self.first_segment();
        let (compact, purged) = (self.compact, self.purged);
        let over = |last: Rev| last.main < compact && last <= purged;
        while let Some(segment) = self.sealed.pop_front_if(|segment| over(segment.last)) {
            self.sealed_bytes -= segment.file_bytes();
        }
        let open_is_over = !self.open.blocks.is_empty() && over(self.open.last);
        if self.sealed.is_empty() && open_is_over {
            self.open = OpenSegment::numbered(self.open.number + 1);
        }
        let to = self.first_segment();
        if from < to {
            self.cache.forget_before(to);
        }
        from..to
    }
}

impl OpenSegment {
    fn numbered(number: u64) -> OpenSegment {
        OpenSegment { number, blocks: Vec::new(), offset: 0, last: Rev::ZERO }
    }
}
