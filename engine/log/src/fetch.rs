//! Owns the reading of old entries back from the segments, for a peer that lags behind what is in
//! memory. Follows the chain of batches from a place before the first entry, checks everything, and
//! takes what counts. Never guesses: all that it looks for was acknowledged, so what is not there,
//! or is not whole, is rot. Never looks beyond what was durable when it began.
//! Invariant: an entry that is handed out has the index and the term that the log gave it last.

use base::limits::{BLOCK_BYTES, LOG_FETCH_READ_BYTES};
use base::{FileId, IoError, IoRequest, IoResult};
use bytes::Bytes;

use crate::batch::{BadHeader, HEADER_BYTES, Header, Identity};
use crate::held::Point;
use crate::position::{Geometry, Place, Position};
use crate::record::{Entry, Record};
use crate::terms::Terms;
use crate::verdict::Why;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchStep {
    /// Do this and hand the result to [`Fetch::handle`].
    Io(IoRequest),
    /// Nothing until the outstanding request is answered.
    Waiting,
    /// The entries, at least one, in order.
    Done(Vec<Entry>),
    /// Acknowledged data is damaged or gone, or is not ours.
    Rot {
        /// In which segment.
        segment: u64,
        /// At which byte offset.
        offset: u64,
        /// What is wrong.
        why: Why,
    },
    /// The disk could not read it.
    Unreadable {
        /// Which segment.
        segment: u64,
        /// What the disk said.
        error: IoError,
    },
}

/// What is wanted, and what is known beforehand.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub identity: Identity,
    pub geometry: Geometry,
    /// Of the log as it counts, at least up to `high`.
    pub terms: Terms,
    /// Not after the first entry.
    pub from: Place,
    /// Everything before is whole.
    pub durable: Position,
    /// The first entry, and the one after the last.
    pub low: u64,
    pub high: u64,
    /// Data of all entries but the first.
    pub bytes_max: u64,
}

/// One read of old entries. Drive it with [`Fetch::poll`] and [`Fetch::handle`].
#[derive(Debug)]
pub struct Fetch {
    order: Order,
    at: Place,
    /// The chain does not go on here: does it in the next segment?
    hole: Option<Place>,
    /// Header checksum and epoch of the batch before `at`.
    last: Option<(u32, u32)>,
    /// One run of bytes of one segment.
    buffer: (Place, Bytes),
    asked: Option<IoRequest>,
    found: Vec<Entry>,
    found_bytes: u64,
    /// The batch of the last entry that was found.
    end: Option<Point>,
    ended: Option<FetchStep>,
}

impl Fetch {
    pub(crate) fn new(order: Order) -> Fetch {
        assert!(order.low < order.high);
        assert!(order.high <= order.terms.last().index + 1);
        Fetch {
            at: order.from,
            hole: None,
            last: None,
            buffer: (Place { segment: 0, offset: 0 }, Bytes::new()),
            asked: None,
            found: Vec::new(),
            found_bytes: 0,
            end: None,
            ended: None,
            order,
        }
    }

    /// The next step. The last ones are only repeated.
    pub fn poll(&mut self) -> FetchStep {
        loop {
            if let Some(ended) = &self.ended {
                return ended.clone();
            }
            if self.asked.is_some() {
                return FetchStep::Waiting;
            }
            if let Err(request) = self.follow() {
                self.asked = Some(request.clone());
                return FetchStep::Io(request);
            }
        }
    }

    /// The answer to the outstanding request.
    pub fn handle(&mut self, result: IoResult) {
        let Some(IoRequest::Read { file: FileId::Log(segment), offset, len }) = self.asked.take()
        else {
            unreachable!("an answer belongs to a read of the log");
        };
        match result {
            IoResult::Read(bytes) => {
                assert!(bytes.len() == len as usize);
                self.buffer = (Place { segment, offset: offset as u32 }, bytes);
            }
            IoResult::Failed(error) => {
                self.ended = Some(FetchStep::Unreadable { segment, error });
            }
            IoResult::Done => unreachable!("a read is answered by bytes"),
        }
    }

    /// Where the next read in order may begin.
    pub(crate) fn end(&self) -> Option<Point> {
        self.end
    }

    /// One batch, or the request that it needs first.
    fn follow(&mut self) -> Result<(), IoRequest> {
        let at = self.at;
        if self.order.durable <= self.order.geometry.position(at) {
            // Everything was read and it was not there.
            self.rot(at, Why::Lost { through: self.order.durable });
            return Ok(());
        }
        if let Some(hole) = self.hole {
            return self.cross(hole);
        }
        if self.order.geometry.room(at) < BLOCK_BYTES {
            self.hole = Some(at);
            return Ok(());
        }
        let block = self.bytes(at, BLOCK_BYTES)?;
        let Some((header, sum)) = self.continues(at, &block) else {
            self.hole = Some(at);
            return Ok(());
        };
        let bytes = self.bytes(at, header.batch_bytes() as usize)?;
        let payload = bytes.slice(HEADER_BYTES..);
        if !header.vouches_for(&payload) {
            self.rot(at, Why::Lost { through: self.order.durable });
            return Ok(());
        }
        self.last = Some((sum, header.epoch));
        self.at = Place { offset: at.offset + header.batch_bytes() as u32, ..at };
        self.take(at, &header, payload.slice(..header.payload_bytes as usize));
        Ok(())
    }

    /// The header at `place`, if it is sound and continues the chain.
    fn continues(&mut self, place: Place, block: &[u8]) -> Option<(Header, u32)> {
        let (header, sum) = match Header::take(block) {
            Ok(taken) => taken,
            Err(BadHeader::Version { found }) => {
                self.rot(place, Why::Newer { version: found });
                return None;
            }
            Err(BadHeader::Magic { .. } | BadHeader::Sum | BadHeader::Short) => return None,
        };
        if header.place != place {
            return None;
        }
        if header.identity != self.order.identity {
            self.rot(place, Why::Foreign { identity: header.identity });
            return None;
        }
        let fits = header.batch_bytes() <= self.order.geometry.room(place) as u64;
        let chained =
            self.last.is_none_or(|(sum, epoch)| header.previous == sum && epoch <= header.epoch);
        (fits && chained).then_some((header, sum))
    }

    /// The chain does not go on at `hole`: the segment ended early and the next one continues it.
    fn cross(&mut self, hole: Place) -> Result<(), IoRequest> {
        let next = Place { segment: hole.segment + 1, offset: 0 };
        let there = self.order.geometry.position(next) < self.order.durable;
        if self.last.is_some() && there {
            let block = self.bytes(next, BLOCK_BYTES)?;
            if self.continues(next, &block).is_some() {
                self.at = next;
                self.hole = None;
                return Ok(());
            }
        }
        self.rot(hole, Why::Lost { through: self.order.durable });
        Ok(())
    }

    /// Takes the entries of a batch that are wanted, count and come next.
    fn take(&mut self, place: Place, header: &Header, mut payload: Bytes) {
        let mut first = None;
        for _ in 0..header.records {
            let entry = match Record::take(&mut payload) {
                Ok(Record::Entry(entry)) => entry,
                Ok(Record::HardState(_) | Record::Mark(_) | Record::Past(_)) => continue,
                Err(bad) => return self.rot(place, Why::BadRecord(bad)),
            };
            let first = *first.get_or_insert(entry.index);
            let wanted = self.order.low + self.found.len() as u64;
            // One that was replaced by a later one has another term.
            if entry.index != wanted || self.order.terms.term(wanted) != Some(entry.term) {
                continue;
            }
            let bytes = entry.data.len() as u64 + 1;
            if !self.found.is_empty() && self.order.bytes_max < self.found_bytes + bytes {
                return self.done();
            }
            self.found_bytes += bytes;
            self.end = Some(Point { index: first, place });
            let Entry { index, .. } = entry;
            self.found.push(entry);
            if index + 1 == self.order.high {
                return self.done();
            }
        }
    }

    fn done(&mut self) {
        self.ended = Some(FetchStep::Done(std::mem::take(&mut self.found)));
    }

    /// The first thing that is found wrong counts.
    fn rot(&mut self, place: Place, why: Why) {
        let (segment, offset) = (place.segment, u64::from(place.offset));
        self.ended.get_or_insert(FetchStep::Rot { segment, offset, why });
    }

    /// Exactly `len` bytes from `place`, or the request that brings them.
    fn bytes(&self, place: Place, len: usize) -> Result<Bytes, IoRequest> {
        let (start, bytes) = &self.buffer;
        if start.segment == place.segment && start.offset <= place.offset {
            let from = (place.offset - start.offset) as usize;
            if from + len <= bytes.len() {
                return Ok(bytes.slice(from..from + len));
            }
        }
        let room = self.order.geometry.room(place);
        assert!(len <= room);
        let len = len.max(LOG_FETCH_READ_BYTES as usize).min(room) as u32;
        let offset = u64::from(place.offset);
        Err(IoRequest::Read { file: FileId::Log(place.segment), offset, len })
    }
}

#[cfg(test)]
mod tests;
