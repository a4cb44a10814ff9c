//! Owns reading: one record by revision, records forward from a revision, pages one by one for the
//! scrub. Never waits; what is not in memory is a [`Miss`].
//! Invariant: after a miss is supplied the same call gets at least one page further.

use std::sync::Arc;

use base::{FileId, IoRequest, Rev, SliceId};
use bytes::Bytes;

use crate::block::{Block, BlockMeta, decode_index};
use crate::cache::{Page, Use};
use crate::flush::file;
use crate::frame::{Kind, PageAt, PageRef, Rot, RotKind};
use crate::history::History;
use crate::record::Record;

/// A page that is needed and not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Miss {
    slice: SliceId,
    page: PageRef,
    kind: Kind,
}

impl Miss {
    /// The read whose bytes [`History::supply`] wants.
    pub fn request(&self) -> IoRequest {
        IoRequest::Read { file: self.file(), offset: self.page.at.offset, len: self.page.len }
    }

    fn file(&self) -> FileId {
        file(self.slice, self.page.at.segment)
    }
}

/// What the visitor of a scan wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// The next record.
    Continue,
    /// Nothing more now.
    Stop,
}

/// Where a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// All there is was visited.
    End,
    /// The limit or the visitor stopped it; go on from `resume`.
    Paused {
        /// First revision not visited.
        resume: Rev,
    },
    /// A page is missing; supply it and go on from `resume`.
    Missed {
        /// First revision not visited.
        resume: Rev,
        /// The page.
        miss: Miss,
    },
}

/// A position of the scrub: a segment and a page in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Scrub {
    segment: u64,
    position: usize,
}

/// Where a search stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A closed block; `position` may be just past the segment's last one.
    Block { segment: u64, position: usize },
    /// The block being filled.
    Growing,
}

impl PageAt {
    pub(crate) fn rot(self, slice: SliceId, kind: RotKind) -> Rot {
        Rot { file: file(slice, self.segment), offset: self.offset, kind }
    }
}

impl History {
    /// The record at exactly `rev`. `None` if this slice has none or compaction took it.
    pub fn find(&mut self, rev: Rev) -> Result<Option<Record>, Miss> {
        let record = match self.seek(rev, Use::Point)? {
            Place::Growing => {
                let position = self.builder.lower_bound(rev);
                (position < self.builder.len()).then(|| self.builder.record(position))
            }
            Place::Block { segment, position } => {
                let meta = self.meta(segment, position, Use::Point)?.expect("seek found it");
                let block = self.block(meta, Use::Point)?;
                let position = block.lower_bound(rev);
                (position < block.len()).then(|| block.record(position).detach())
            }
        };
        Ok(record.filter(|record| record.rev == rev))
    }

    /// Visits records from `from` on in revision order (they share the memory of their blocks; see
    /// [`Record::detach`]), until the visitor stops, until records of
    /// `limit_bytes` were passed (at least one), or until a page is missing.
    pub fn scan(
        &mut self,
        from: Rev,
        limit_bytes: usize,
        mut visit: impl FnMut(Record) -> Visit,
    ) -> Scanned {
        let mut resume = from;
        let mut room = limit_bytes;
        let mut place = match self.seek(from, Use::Scan) {
            Ok(place) => place,
            Err(miss) => return Scanned::Missed { resume, miss },
        };
        let mut step = |record: Record, resume: &mut Rev| {
            *resume = record.rev.after();
            room = room.saturating_sub(record.encoded_bytes());
            match visit(record) {
                Visit::Continue if 0 < room => Visit::Continue,
                Visit::Continue | Visit::Stop => Visit::Stop,
            }
        };
        while let Place::Block { segment, position } = place {
            let block = match self.meta(segment, position, Use::Scan) {
                Ok(Some(meta)) => self.block(meta, Use::Scan),
                Ok(None) => {
                    place = self.following(segment);
                    continue;
                }
                Err(miss) => Err(miss),
            };
            let block = match block {
                Ok(block) => block,
                Err(miss) => return Scanned::Missed { resume, miss },
            };
            for at in block.lower_bound(resume)..block.len() {
                if step(block.record(at), &mut resume) == Visit::Stop {
                    return Scanned::Paused { resume };
                }
            }
            place = Place::Block { segment, position: position + 1 };
        }
        for at in self.builder.lower_bound(resume)..self.builder.len() {
            if step(self.builder.record(at), &mut resume) == Visit::Stop {
                return Scanned::Paused { resume };
            }
        }
        Scanned::End
    }

    /// Does anybody still want this page? Compaction may have dropped it since.
    pub fn wants(&self, miss: &Miss) -> bool {
        self.first_segment() <= miss.page.at.segment
    }

    /// Takes the bytes of a missed page. Bytes of dropped segments are ignored.
    pub fn supply(&mut self, miss: &Miss, bytes: Bytes) -> Result<(), Rot> {
        if !self.wants(miss) {
            return Ok(());
        }
        let page = self.verify(miss, bytes)?;
        self.cache.supply(miss.page.at, page);
        Ok(())
    }

    /// Checks the bytes of a page without keeping it, for the scrub.
    pub fn check(&self, miss: &Miss, bytes: Bytes) -> Result<(), Rot> {
        if self.wants(miss) { self.verify(miss, bytes).map(|_| ()) } else { Ok(()) }
    }

    fn verify(&self, miss: &Miss, bytes: Bytes) -> Result<Page, Rot> {
        assert_eq!(miss.slice, self.slice);
        let page = match miss.kind {
            Kind::Records => Block::verify(bytes, self.slice, miss.page).map(Page::Records),
            Kind::Index => decode_index(&bytes, self.slice, miss.page).map(Page::Index),
            Kind::Directory => unreachable!("directories are read by Opening"),
        };
        page.map_err(|kind| miss.page.at.rot(self.slice, kind))
    }

    /// The written page at or after `from`, for the scrub to read and [`History::check`], and where
    /// to go on. `None` at the end. An `Err` is a page to supply first.
    pub fn scrub(&mut self, from: Scrub) -> Result<Option<(Miss, Scrub)>, Miss> {
        let mut at = from;
        if at.segment < self.first_segment() {
            at = Scrub { segment: self.first_segment(), position: 0 };
        }
        while at.segment <= self.open.number {
            let next = Scrub { position: at.position + 1, ..at };
            let meta = self.meta(at.segment, at.position, Use::Scan)?;
            let found = match meta {
                Some(meta) => Some((self.miss(meta.page, Kind::Records), next)),
                None => {
                    let index = self.sealed_segment(at.segment).map(|segment| segment.index);
                    let next = Scrub { segment: at.segment + 1, position: 0 };
                    at = next;
                    index.map(|page| (self.miss(page, Kind::Index), next))
                }
            };
            match found {
                Some((miss, next)) if self.flush.unwritten(miss.page.at).is_none() => {
                    return Ok(Some((miss, next)));
                }
                Some((_, next)) => at = next,
                None => {}
            }
        }
        Ok(None)
    }

    /// The block that holds the first record at or after `from`, or the one before it.
    pub(crate) fn seek(&mut self, from: Rev, purpose: Use) -> Result<Place, Miss> {
        let sealed = self.sealed.partition_point(|segment| segment.last < from);
        let (segment, position) = match self.sealed.get(sealed).copied() {
            Some(segment) => {
                let metas = self.index(segment.number, segment.index, purpose)?;
                (segment.number, metas.partition_point(|meta| meta.first <= from))
            }
            None if from <= self.open.last => {
                let blocks = &self.open.blocks;
                (self.open.number, blocks.partition_point(|meta| meta.first <= from))
            }
            None => return Ok(Place::Growing),
        };
        Ok(Place::Block { segment, position: position.saturating_sub(1) })
    }

    /// The first block after `segment`.
    pub(crate) fn following(&self, segment: u64) -> Place {
        if segment < self.open.number {
            Place::Block { segment: segment + 1, position: 0 }
        } else {
            Place::Growing
        }
    }

    /// One block's index entry; `None` past the segment's last.
    pub(crate) fn meta(
        &mut self,
        segment: u64,
        position: usize,
        purpose: Use,
    ) -> Result<Option<BlockMeta>, Miss> {
        match self.sealed_segment(segment).copied() {
            Some(sealed) => {
                let metas = self.index(segment, sealed.index, purpose)?;
                Ok(metas.get(position).copied())
            }
            None => Ok(self.open.blocks.get(position).copied()),
        }
    }

    pub(crate) fn block(&mut self, meta: BlockMeta, purpose: Use) -> Result<Block, Miss> {
        match self.page(meta.page, Kind::Records, purpose)? {
            Page::Records(block) => Ok(block),
            Page::Index(_) => unreachable!("a block was supplied as an index"),
        }
    }

    fn index(
        &mut self,
        segment: u64,
        page: PageRef,
        purpose: Use,
    ) -> Result<Arc<[BlockMeta]>, Miss> {
        assert_eq!(segment, page.at.segment);
        match self.page(page, Kind::Index, purpose)? {
            Page::Index(metas) => Ok(metas),
            Page::Records(_) => unreachable!("an index was supplied as a block"),
        }
    }

    fn page(&mut self, page: PageRef, kind: Kind, purpose: Use) -> Result<Page, Miss> {
        if let Some(found) = self.flush.unwritten(page.at) {
            return Ok(found.clone());
        }
        let miss = self.miss(page, kind);
        self.cache.get(page.at, purpose).ok_or(miss)
    }

    fn miss(&self, page: PageRef, kind: Kind) -> Miss {
        Miss { slice: self.slice, page, kind }
    }

    pub(crate) fn sealed_segment(&self, number: u64) -> Option<&crate::directory::SegmentMeta> {
        let position = number.checked_sub(self.first_segment())?;
        self.sealed.get(usize::try_from(position).ok()?)
    }
}
