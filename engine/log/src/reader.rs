//! Owns recovery: follows the chain of batches from the oldest segment, yields their records, and
//! judges what stands where the chain ends. Never guesses: either the end is one that a
//! crash explains, or it is [`Verdict::Rot`]. Never holds more than one read of at most a batch.
//! Invariant: every segment is synced before the first byte of any is trusted, so that nothing is
//! answered from data which a power cut could still take away.

use std::collections::VecDeque;

use base::limits::{BLOCK_BYTES, LOG_READ_BYTES, LOG_SCAN_BYTES};
use base::{FileId, IoRequest, IoResult};
use bytes::Bytes;

use crate::batch::{BadHeader, HEADER_BYTES, Header, Identity};
use crate::held::Held;
use crate::position::{Geometry, Place, Position};
use crate::record::{BadRecord, HardState, Mark, Record};
use crate::scan::Scan;
use crate::verdict::{Resume, Tail, Verdict, Why};

/// What recovery is told.
#[derive(Clone, Debug)]
pub struct ReaderConfig {
    /// Whose log it must be.
    pub identity: Identity,
    /// Size of segments.
    pub geometry: Geometry,
    /// Numbers of the segments on disk that should be read, rising. Those below
    /// [`crate::Writer::first_needed`] as the manifest recorded it may be left out and given to
    /// [`crate::Writer::adopt`].
    pub segments: Vec<u64>,
    /// A promise from elsewhere, such as the manifest: the log was durable through here.
    pub promised: Position,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Do this and hand the result to [`Reader::handle`].
    Io(IoRequest),
    /// The next record.
    Record(Record),
    /// Nothing until the outstanding request is answered.
    Waiting,
    /// No more records.
    Done(Verdict),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Syncing `segments[.0]`.
    Syncing(usize),
    /// The next batch should stand here.
    Following(Place),
    /// It does not; if the segment ended early, the next segment continues the chain.
    Crossing(Place),
    /// The chain broke at `hole`; `at` is searched for promises.
    Scanning { hole: Place, at: Place },
}

/// Recovery of one log.
#[derive(Debug)]
pub struct Reader {
    config: ReaderConfig,
    stage: Stage,
    /// One run of bytes of one segment.
    buffer: (Place, Bytes),
    asked: Option<IoRequest>,
    records: Bytes,
    records_left: u16,
    /// End of the last sound batch.
    last: Option<Last>,
    live: VecDeque<(u64, u64)>,
    state: Option<HardState>,
    held: Held,
    scan: Scan,
    verdict: Option<Verdict>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    place: Place,
    end: Place,
    sum: u32,
    epoch: u32,
}

impl Reader {
    /// A reader of these segments. Drive it with [`Reader::poll`] and [`Reader::handle`].
    pub fn new(config: ReaderConfig) -> Reader {
        let mut reader = Reader {
            stage: Stage::Syncing(0),
            buffer: (Place { segment: 0, offset: 0 }, Bytes::new()),
            asked: None,
            records: Bytes::new(),
            records_left: 0,
            last: None,
            live: VecDeque::new(),
            state: None,
            held: Held::default(),
            scan: Scan::new(config.identity, config.promised, 0),
            verdict: None,
            config,
        };
        let segments = &reader.config.segments;
        let gap = segments.windows(2).find(|pair| pair[0] + 1 != pair[1]).map(|pair| pair[0] + 1);
        if let Some(segment) = gap {
            reader.verdict = Some(Verdict::Rot { segment, offset: 0, why: Why::Missing });
        } else if segments.is_empty() {
            reader.verdict = Some(reader.judge(Place { segment: 1, offset: 0 }));
        }
        reader
    }

    /// The next step. After [`Step::Done`] it only repeats the verdict.
    pub fn poll(&mut self) -> Step {
        loop {
            if self.records_left > 0 {
                match self.next_record() {
                    Ok(record) => return Step::Record(record),
                    Err(bad) => self.condemn(Why::BadRecord(bad)),
                }
            }
            if let Some(verdict) = &self.verdict {
                return Step::Done(verdict.clone());
            }
            if self.asked.is_some() {
                return Step::Waiting;
            }
            if let Err(request) = self.advance() {
                self.asked = Some(request.clone());
                return Step::Io(request);
            }
        }
    }

    /// The answer to the outstanding request.
    pub fn handle(&mut self, result: IoResult) {
        let asked = self.asked.take().expect("an answer belongs to a request");
        match (asked, result) {
            (IoRequest::Sync { .. }, IoResult::Done) => {
                let Stage::Syncing(at) = self.stage else { unreachable!("{:?}", self.stage) };
                self.stage = match self.config.segments.get(at + 1) {
                    Some(_) => Stage::Syncing(at + 1),
                    None => Stage::Following(self.first()),
                };
            }
            (
                IoRequest::Read { file: FileId::Log(segment), offset, len },
                IoResult::Read(bytes),
            ) => {
                assert!(bytes.len() == len as usize);
                self.buffer = (Place { segment, offset: offset as u32 }, bytes);
            }
            (
                IoRequest::Read { file: FileId::Log(segment), .. }
                | IoRequest::Sync { file: FileId::Log(segment) },
                IoResult::Failed(error),
            ) => self.verdict = Some(Verdict::Unreadable { segment, error }),
            (asked, result) => unreachable!("{asked:?} was answered by {result:?}"),
        }
    }

    fn first(&self) -> Place {
        Place { segment: self.config.segments[0], offset: 0 }
    }

    /// One move of the machine, or the request that it needs first.
    fn advance(&mut self) -> Result<(), IoRequest> {
        match self.stage {
            Stage::Syncing(at) => {
                Err(IoRequest::Sync { file: FileId::Log(self.config.segments[at]) })
            }
            Stage::Following(place) => self.follow(place),
            Stage::Crossing(hole) => self.cross(hole),
            Stage::Scanning { hole, at } => self.search(hole, at),
        }
    }

    fn follow(&mut self, place: Place) -> Result<(), IoRequest> {
        if self.config.geometry.room(place) < BLOCK_BYTES {
            self.stage = Stage::Crossing(place);
            return Ok(());
        }
        let block = self.bytes(place, BLOCK_BYTES)?;
        let Some((header, sum)) = self.continues(place, &block) else {
            self.stage = Stage::Crossing(place);
            return Ok(());
        };
        let bytes = self.bytes(place, header.batch_bytes() as usize)?;
        let payload = bytes.slice(HEADER_BYTES..);
        if !header.vouches_for(&payload) {
            self.stage = Stage::Crossing(place);
            return Ok(());
        }
        self.accept(place, header, sum, payload);
        Ok(())
    }

    fn accept(&mut self, place: Place, header: Header, sum: u32, payload: Bytes) {
        let end = Place { offset: place.offset + header.batch_bytes() as u32, ..place };
        if self.live.back().is_none_or(|(segment, _)| *segment != place.segment) {
            self.live.push_back((place.segment, 0));
        }
        self.last = Some(Last { place, end, sum, epoch: header.epoch });
        self.scan.promised = self.scan.promised.max(header.synced_through);
        self.scan.epoch = self.scan.epoch.max(header.epoch);
        self.records = payload.slice(..header.payload_bytes as usize);
        self.records_left = header.records;
        self.stage = Stage::Following(end);
    }

    /// The header at `place`, if it is sound and continues the chain. Condemns what is not ours.
    fn continues(&mut self, place: Place, block: &[u8]) -> Option<(Header, u32)> {
        let (header, sum) = match Header::take(block) {
            Ok(taken) => taken,
            Err(BadHeader::Version { found }) => {
                self.verdict = Some(Verdict::rot(place, Why::Newer { version: found }));
                return None;
            }
            Err(BadHeader::Magic { .. } | BadHeader::Sum | BadHeader::Short) => return None,
        };
        if header.place != place {
            return None;
        }
        if header.identity != self.config.identity {
            let why = Why::Foreign { identity: header.identity };
            self.verdict = Some(Verdict::rot(place, why));
            return None;
        }
        let fits = header.batch_bytes() <= self.config.geometry.room(place) as u64;
        let chained = match self.last {
            Some(last) => header.previous == last.sum && last.epoch <= header.epoch,
            // The first batch that is read may follow others in segments that are gone.
            None => true,
        };
        (fits && chained).then_some((header, sum))
    }

    /// The chain does not go on at `hole`. A segment ends early when the next record did not
    /// fit; then the chain goes on at the start of the next one.
    fn cross(&mut self, hole: Place) -> Result<(), IoRequest> {
        let next = Place { segment: hole.segment + 1, offset: 0 };
        if self.last.is_some() && self.config.segments.contains(&next.segment) {
            let block = self.bytes(next, BLOCK_BYTES)?;
            if self.continues(next, &block).is_some() {
                self.stage = Stage::Following(next);
                return Ok(());
            }
        }
        self.stage = Stage::Scanning { hole, at: hole };
        Ok(())
    }

    fn search(&mut self, hole: Place, at: Place) -> Result<(), IoRequest> {
        let geometry = self.config.geometry;
        let segment_bytes = u64::from(geometry.segment_bytes());
        let until = if at.segment == hole.segment {
            segment_bytes
        } else {
            // A later segment was written from its start, so promises stand near its start.
            LOG_SCAN_BYTES.min(segment_bytes)
        };
        let left = until - u64::from(at.offset);
        if left > 0 {
            let bytes = self.bytes(at, left.min(u64::from(LOG_READ_BYTES)) as usize)?;
            self.scan.blocks(at, &bytes);
            let offset = at.offset + bytes.len() as u32;
            self.stage = Stage::Scanning { hole, at: Place { offset, ..at } };
            return Ok(());
        }
        let next = at.segment + 1;
        if self.config.segments.contains(&next) {
            self.stage = Stage::Scanning { hole, at: Place { segment: next, offset: 0 } };
        } else {
            self.verdict = Some(self.judge(hole));
        }
        Ok(())
    }

    /// The end, or rot: somebody promised that batches beyond the hole were durable.
    fn judge(&self, hole: Place) -> Verdict {
        if self.config.geometry.position(hole) < self.scan.promised {
            return Verdict::rot(hole, Why::Lost { through: self.scan.promised });
        }
        if self.last.is_none() && 1 < hole.segment {
            // A segment goes only once a durable batch stands in a later one, and every log begins
            // in segment 1: before a segment without batches there was another.
            let missing = Place { segment: hole.segment - 1, offset: 0 };
            return Verdict::rot(missing, Why::Missing);
        }
        let ready_from = self.last.map_or(0, |last| last.place.segment + 1);
        let resume = Resume {
            next: self.last.map(|last| last.end),
            previous: self.last.map_or(0, |last| last.sum),
            epoch: self.scan.epoch + 1,
            live: self.live.iter().copied().collect(),
            ready: self.config.segments.iter().copied().filter(|at| ready_from <= *at).collect(),
            state: self.state,
            held: self.held.clone(),
        };
        let tail = if self.scan.headers == 0 { Tail::Clean } else { Tail::Torn };
        Verdict::End { resume, tail }
    }

    fn next_record(&mut self) -> Result<Record, BadRecord> {
        let record = Record::take(&mut self.records)?;
        self.records_left -= 1;
        if self.records_left == 0 && !self.records.is_empty() {
            return Err(BadRecord { kind: self.records.first().copied() });
        }
        match &record {
            Record::Entry(entry) => {
                let live = self.live.back_mut().expect("a record stands in a segment");
                live.1 = live.1.max(entry.index);
                let place = self.last.expect("a record stands in a batch").place;
                self.held.entry(place, Mark { term: entry.term, index: entry.index });
            }
            Record::HardState(state) => self.state = Some(*state),
            Record::Mark(mark) => self.held.reset(*mark),
            Record::Past(past) => self.held.recall(past.clone()),
        }
        Ok(record)
    }

    fn condemn(&mut self, why: Why) {
        self.records_left = 0;
        let last = self.last.expect("records come from a batch");
        self.verdict = Some(Verdict::rot(last.place, why));
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
        let room = self.config.geometry.room(place);
        assert!(len <= room);
        let len = len.max(LOG_READ_BYTES as usize).min(room) as u32;
        let offset = u64::from(place.offset);
        Err(IoRequest::Read { file: FileId::Log(place.segment), offset, len })
    }
}

#[cfg(test)]
mod tests;
