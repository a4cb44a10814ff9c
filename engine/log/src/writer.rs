//! Owns the writing end of the log: which records go into which batch, when a batch is written and
//! when its records count as durable. Never writes; it hands out [`Flush`]es and is told when they
//! are done. Invariants: no block is handed out twice; durability is reported in log order whatever
//! the order of completions; at most `flushes_max` batches lie beyond what is durable.

use std::collections::VecDeque;

use base::{FileId, IoRequest};

use crate::batch::{self, HEADER_BYTES, Heading};
use crate::fetch::{Fetch, Order};
use crate::flush::{Backlog, Durable, Flush, Lsn, RECORDS_MAX, Ticket, Urgency, WriterConfig};
use crate::held::Held;
use crate::position::{Place, Position, padded};
use crate::record::{HardState, Mark, Past, Record};
use crate::segments::Segments;
use crate::terms::Terms;
use crate::verdict::Resume;

#[derive(Debug)]
struct Waiting {
    record: Record,
    lsn: Lsn,
    urgency: Urgency,
}

#[derive(Debug)]
struct InFlight {
    ticket: Ticket,
    segment: u64,
    after: Durable,
    done: bool,
}

/// The writing end of one log.
#[derive(Debug)]
pub struct Writer {
    config: WriterConfig,
    segments: Segments,
    /// Where the next batch goes, unless it does not fit.
    next: Option<Place>,
    epoch: u32,
    previous: u32,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Records of `waiting` that somebody waits for.
    urgent: usize,
    /// Latest hard state that was put into a batch; each new segment starts with it.
    hard_state: Option<HardState>,
    /// What of the log can be read back.
    held: Held,
    in_flight: VecDeque<InFlight>,
    lsn: Lsn,
    ticket: Ticket,
    durable: Durable,
    /// What the latest batch promised, and the end of the latest batch that is worth a promise.
    promised: Position,
    worth_promising: Position,
    seal_wanted: bool,
}

/// Fewer than these bytes wait for the flush that is under way to end, as a share of the cap.
/// Measured: 64 KiB cost as much as 4 KiB, so a quarter of 256 KiB is where gathering stops to pay.
const GATHER_SHARE: usize = 4;

impl Writer {
    /// Starts a log in an empty directory. Nothing can be flushed before the first
    /// [`Writer::poll_upkeep`] is carried out.
    pub fn create(config: WriterConfig) -> Writer {
        let resume = Resume {
            next: None,
            previous: 0,
            epoch: 1,
            live: vec![],
            ready: vec![],
            state: None,
            held: Held::default(),
        };
        Writer::resume(config, resume)
    }

    /// Goes on where recovery found the end. What recovery read is durable (it synced first), so
    /// the first batch promises all of it; a seal is queued in case no other batch comes soon.
    pub fn resume(config: WriterConfig, resume: Resume) -> Writer {
        config.check();
        let end = resume.next.map_or(Position::START, |place| config.geometry.position(place));
        Writer {
            segments: Segments::new(
                config.geometry,
                config.segments_ahead,
                config.segments_spare_max,
                config.kept,
                &resume.live,
                &resume.ready,
            ),
            config,
            next: resume.next,
            epoch: resume.epoch,
            previous: resume.previous,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            urgent: 0,
            hard_state: resume.state,
            held: resume.held,
            in_flight: VecDeque::new(),
            lsn: Lsn(0),
            ticket: Ticket(0),
            durable: Durable { lsn: Lsn(0), position: end },
            promised: Position::START,
            worth_promising: end,
            seal_wanted: resume.next.is_some(),
        }
    }

    /// Queues a record behind all others. Durable once [`Writer::durable`] reaches the answer.
    pub fn append(&mut self, record: Record, urgency: Urgency) -> Lsn {
        if let Record::Entry(entry) = &record {
            assert!(entry.data.len() <= self.config.entry_bytes_max);
        }
        if let Record::HardState(state) = &record
            && let Some(lsn) = self.replace_waiting_state(*state, urgency)
        {
            return lsn;
        }
        self.lsn = Lsn(self.lsn.0 + 1);
        self.waiting_bytes += record.encoded_bytes();
        self.urgent += usize::from(urgency == Urgency::Wait);
        self.waiting.push_back(Waiting { record, lsn: self.lsn, urgency });
        self.lsn
    }

    /// The next batch, if one should be written now: at once while nothing is under way, otherwise
    /// when enough has gathered. `None` also while no segment is prepared; see
    /// [`Writer::poll_upkeep`].
    pub fn poll_flush(&mut self, backlog: Backlog) -> Option<Flush> {
        let cap = match backlog {
            Backlog::Short => self.config.batch_bytes,
            Backlog::Long => self.config.batch_backlog_bytes,
        };
        if !self.should_flush(cap) {
            return None;
        }
        let place = self.place_for_next()?;
        Some(self.build(place, cap))
    }

    /// A flush is durable. Completions may come in any order.
    pub fn flushed(&mut self, ticket: Ticket) {
        let flush = self
            .in_flight
            .iter_mut()
            .find(|flush| flush.ticket == ticket && !flush.done)
            .unwrap_or_else(|| unreachable!("completed but not in flight: {ticket:?}"));
        flush.done = true;
        while let Some(first) = self.in_flight.pop_front_if(|flush| flush.done) {
            assert!(self.durable.position < first.after.position);
            assert!(self.durable.lsn <= first.after.lsn);
            self.durable = first.after;
            self.settle(first.segment);
        }
    }

    /// How far the log is durable.
    pub fn durable(&self) -> Durable {
        self.durable
    }

    /// Tells the writer that the log is idle: if the latest acknowledged batch has no later one to
    /// promise it, an empty one is queued (with it, what rides along). Call it some 100 ms after
    /// the last flush and before stopping. Cheap when there is nothing to do.
    pub fn seal(&mut self) {
        if self.in_flight.is_empty() && self.promised < self.worth_promising {
            self.seal_wanted = true;
        }
    }

    /// Whether anything is queued or under way: an orderly stop seals and drains until it is not.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.urgent == 0 && !self.seal_wanted
    }

    /// Bytes of records that wait for a batch.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Upkeep of segments: a `Prepare`, answered by [`Writer::prepared`], or a `Remove`, answered
    /// by [`Writer::removed`]. One at a time.
    pub fn poll_upkeep(&mut self) -> Option<IoRequest> {
        self.segments.poll_upkeep()
    }

    /// Takes over segments on disk that recovery left out because the log did not need them:
    /// numbers, rising, below those that it read. Those whose entries can still be read are kept as
    /// the configuration says, others are recycled or removed.
    pub fn adopt(&mut self, freed: &[u64]) {
        let first = freed.first().copied().or(self.segments.first_needed()).unwrap_or(0);
        self.held.forget_below(first);
        let holds = self.held.first_segment().unwrap_or(u64::MAX);
        let last_index = |number: &u64| {
            let after = || self.held.first_after(*number).map_or(u64::MAX, |first| first - 1);
            (*number, (holds <= *number).then(after))
        };
        let freed: Vec<(u64, Option<u64>)> = freed.iter().map(last_index).collect();
        self.segments.adopt(&freed);
    }

    /// The member goes on from `checkpoint` with a log that ends with `last`. What the segments
    /// hold counts only if it leads there: a store that was taken in whole may stand between.
    pub fn go_on(&mut self, checkpoint: Mark, last: Mark) {
        let terms = self.held.terms();
        let leads_there = terms.is_some_and(|terms| {
            terms.term(checkpoint.index) == Some(checkpoint.term) && terms.last() == last
        });
        if !leads_there {
            self.held.reset(last);
            let past = Past { terms: Terms::new(last), segments: Vec::new() };
            self.append(Record::Past(past), Urgency::Ride);
        }
    }

    /// The terms of all entries that can be read from segments, written or about to be.
    pub fn held(&self) -> Option<&Terms> {
        self.held.terms()
    }

    /// Begins to read entries `low..high`, as many from the front as have `bytes_max` of data
    /// together, but at least one. All must be durable and applied. `None` if the first is not
    /// held any more. One at a time, until [`Writer::fetched`]; no segment that it needs goes.
    pub fn fetch(&mut self, low: u64, high: u64, bytes_max: u64) -> Option<Fetch> {
        let from = self.held.place_of(low)?;
        let terms = self.held.terms()?.clone();
        self.segments.read(Some(from.segment));
        Some(Fetch::new(Order {
            identity: self.config.identity,
            geometry: self.config.geometry,
            terms,
            from,
            durable: self.durable.position,
            low,
            high,
            bytes_max,
        }))
    }

    /// That read is over.
    pub fn fetched(&mut self, fetch: &Fetch) {
        if let Some(end) = fetch.end() {
            self.held.remember(end);
        }
        self.segments.read(None);
        self.settle_durable();
    }

    /// Entries after this one are needed by a peer that is behind: they stay, up to
    /// [`crate::Kept::segments_max`].
    pub fn keep(&mut self, after: Option<u64>) {
        self.segments.need(after);
        self.settle_durable();
    }

    /// Segments that are kept for peers alone, for metrics.
    pub fn kept_segments(&self) -> usize {
        self.segments.kept_count()
    }

    /// Segment `number` is ready under its name.
    pub fn prepared(&mut self, number: u64) {
        self.segments.prepared(number);
    }

    /// Segment `number` is gone.
    pub fn removed(&mut self, number: u64) {
        self.segments.removed(number);
    }

    /// Entries up to `index` are not needed again: the checkpoint that holds them is durable.
    pub fn release(&mut self, index: u64) {
        self.segments.release(index);
        self.settle_durable();
    }

    /// The oldest segment that recovery must read, for the manifest.
    pub fn first_needed(&self) -> Option<u64> {
        self.segments.first_needed()
    }

    /// Every segment on disk, rising, for whoever reads the log anew. No request of upkeep may be
    /// under way.
    pub fn on_disk(&self) -> Vec<u64> {
        self.segments.on_disk()
    }

    /// Segments that hold the log, for metrics and for deciding on a checkpoint.
    pub fn live_segments(&self) -> usize {
        self.segments.live_count()
    }

    /// A waiting hard state at the very end of the queue is replaced by its successor.
    fn replace_waiting_state(&mut self, state: HardState, urgency: Urgency) -> Option<Lsn> {
        let last = self.waiting.back_mut()?;
        let Record::HardState(old) = &mut last.record else { return None };
        assert!(old.term <= state.term);
        *old = state;
        if last.urgency == Urgency::Ride && urgency == Urgency::Wait {
            last.urgency = Urgency::Wait;
            self.urgent += 1;
        }
        Some(last.lsn)
    }

    fn should_flush(&self, cap: usize) -> bool {
        if self.urgent == 0 && !self.seal_wanted {
            return false;
        }
        match self.in_flight.len() {
            0 => true,
            busy if busy < self.config.flushes_max => cap / GATHER_SHARE <= self.waiting_bytes,
            _ => false,
        }
    }

    /// Where the next batch goes: here if at least its first record fits, else the next segment.
    fn place_for_next(&mut self) -> Option<Place> {
        let first = self.waiting.front().map_or(0, |waiting| waiting.record.encoded_bytes());
        let need = padded(HEADER_BYTES + first);
        match self.next {
            Some(place) if need <= self.config.geometry.room(place) => Some(place),
            Some(_) | None => {
                let segment = self.segments.open_next()?;
                let place = Place { segment, offset: 0 };
                self.next = Some(place);
                Some(place)
            }
        }
    }

    fn build(&mut self, place: Place, cap: usize) -> Flush {
        let urgent = self.urgent;
        let records = self.gather(place, cap);
        let heading = Heading {
            identity: self.config.identity,
            place,
            epoch: self.epoch,
            previous: self.previous,
            synced_through: self.durable.position,
        };
        let sealed = batch::encode(heading, &records);
        assert!(sealed.bytes.len() <= self.config.geometry.room(place));
        let next = Place { offset: place.offset + sealed.bytes.len() as u32, ..place };
        let after = Durable { lsn: self.taken(), position: self.config.geometry.position(next) };
        self.next = Some(next);
        self.previous = sealed.sum;
        self.promised = heading.synced_through;
        if self.urgent < urgent {
            // Otherwise only records that may be forgotten: a seal needs no seal.
            self.worth_promising = after.position;
        }
        self.seal_wanted = false;
        self.ticket = Ticket(self.ticket.0 + 1);
        let ticket = self.ticket;
        self.in_flight.push_back(InFlight { ticket, segment: place.segment, after, done: false });
        let (file, offset) = (FileId::Log(place.segment), u64::from(place.offset));
        Flush { ticket, file, offset, bytes: sealed.bytes }
    }

    /// Takes the records of one batch: at least one if any waits, at most what cap and segment
    /// hold.
    fn gather(&mut self, place: Place, cap: usize) -> Vec<Record> {
        let room = cap.min(self.config.geometry.room(place)) - HEADER_BYTES;
        let mut records = self.repeated(place);
        let mut used: usize = records.iter().map(Record::encoded_bytes).sum();
        let repeated = records.len();
        while let Some(waiting) = self.waiting.front() {
            let bytes = waiting.record.encoded_bytes();
            if repeated < records.len() && room < used + bytes {
                break;
            }
            used += bytes;
            self.waiting_bytes -= bytes;
            self.urgent -= usize::from(waiting.urgency == Urgency::Wait);
            match &waiting.record {
                Record::Entry(entry) => {
                    self.segments.holds(entry.index);
                    self.held.entry(place, Mark { term: entry.term, index: entry.index });
                }
                Record::HardState(state) => self.hard_state = Some(*state),
                Record::Mark(mark) => self.held.reset(*mark),
                // Made by [`Writer::go_on`] after what it says.
                Record::Past(_) => {}
            }
            records.extend(self.waiting.pop_front().map(|waiting| waiting.record));
        }
        records
    }

    /// What a segment begins with, so that older ones can go whatever they hold, or need not be
    /// read.
    fn repeated(&self, place: Place) -> Vec<Record> {
        let mut records = Vec::with_capacity(2 + self.waiting.len().min(RECORDS_MAX));
        if place.offset == 0 {
            records.extend(self.hard_state.map(Record::HardState));
            records.extend(self.held.past().map(Record::Past));
        }
        records
    }

    fn settle_durable(&mut self) {
        if let Some(durable) = self.durable_segment() {
            self.settle(durable);
        }
    }

    fn settle(&mut self, durable_segment: u64) {
        if let Some(oldest) = self.segments.settle(durable_segment) {
            self.held.forget_below(oldest);
        }
    }

    /// The last record that is in some batch.
    fn taken(&self) -> Lsn {
        self.waiting.front().map_or(self.lsn, |waiting| Lsn(waiting.lsn.0 - 1))
    }

    /// The segment in which the last durable batch of this run, or what recovery found, stands.
    fn durable_segment(&self) -> Option<u64> {
        let place = self.next?;
        Some(self.in_flight.front().map_or(place.segment, |flush| flush.segment - 1))
    }
}

#[cfg(test)]
mod tests;
