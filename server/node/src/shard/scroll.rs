//! Owns replies that are sent while they are read: unary ranges that turn out large, and streamed
//! ones. Never holds more of one than a page of each slice and a part on its way. Invariant: all
//! rows are of one point, which a pin keeps; a message is as long as was announced.
//!
//! ```text
//!  unary    Waiting --> Pinning --> Measuring --length known--> Sending --> end
//!  sorted                                          (rows in memory) ^
//!  streamed Waiting --> Pinning --> Paging --> end
//! ```
//! The length of a gRPC message stands before it, so a large unary reply is read twice: once for
//! its length, once to be sent. Small ones never come here.

use std::collections::{BTreeMap, VecDeque};

use base::{Instant, SliceId};
use bytes::BytesMut;
use slice::{PinId, PinTooLate, ReadResult};
use wire::encode::{self, Header, RangePage, RangeTail};
use wire::{ApiError, Code, Status};

use super::hash::Turn;
use super::merge::Row;
use super::pass::{Pass, Totals};
use super::pins::Holder;
use super::range::{Columns, RangeOutput, RangeSpec};
use super::reads::Route;
use super::reply::pair;
use super::{Shard, ShardEffect};
use crate::message::CallId;

/// Bytes of rows from which on a reply is not built whole.
pub const LARGE_BYTES: usize = 1 << 20;
/// Bytes of rows that a reply in another order than that of keys may have: they are all in memory.
pub const SORTED_BYTES_MAX: usize = 64 << 20;
/// Bytes that gather before they are sent.
const PART_BYTES: usize = 32 << 10;
/// Room for them, and for the row that is the last.
const PART_ROOM_BYTES: usize = PART_BYTES + (4 << 10);
/// Bytes that one reply sends in a turn.
const TURN_BYTES: usize = 128 << 10;
/// Replies of one shard that are read at the same time; others wait for their turn.
const SCROLLS_MAX: usize = 32;
/// Rows of a streamed range's first message (etcd's rule); later ones double.
const FIRST_PAGE_ROWS: usize = 10;
/// Most rows of one message.
const PAGE_ROWS_MAX: usize = 10_000;
/// Bytes of rows that end a message.
const PAGE_BYTES: usize = 1 << 20;

/// Whether the client takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Yes.
    Open,
    /// Not for now.
    Full {
        /// When it had enough.
        since: Instant,
    },
}

/// How the rows are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As one message.
    Message,
    /// As messages of a stream.
    Pages,
}

/// A reply on its way.
pub struct Scroll {
    call: CallId,
    header: Header,
    slices: Vec<SliceId>,
    /// What of each row is sent.
    columns: Columns,
    source: Source,
    /// Which of the passes it is; answers to an earlier one are of no use.
    pass: u8,
    shape: Shape,
    stage: Stage,
    flow: Flow,
    pin: Option<PinId>,
}

enum Source {
    Pass(Pass),
    Rows(std::vec::IntoIter<Row>),
}

enum Stage {
    /// Others come first.
    Waiting,
    /// The point is being pinned.
    Pinning,
    /// Only lengths matter: values stay where they are, if the reply has any.
    Measuring { rows: u64, bytes: u64 },
    /// The message has begun.
    Sending(Sending),
    /// The next message of a stream gathers.
    Paging { rows: usize, rows_max: usize, buffer: BytesMut },
}

struct Sending {
    rows_left: u64,
    /// `None` once it is written.
    tail: Option<RangeTail>,
    bytes_left: u64,
    buffer: BytesMut,
}

/// All replies on their way.
pub struct Scrolls {
    by_call: BTreeMap<CallId, Scroll>,
    waiting: VecDeque<CallId>,
    active: usize,
}

impl Scrolls {
    /// None yet.
    pub fn new() -> Scrolls {
        Scrolls { by_call: BTreeMap::new(), waiting: VecDeque::new(), active: 0 }
    }

    /// Replies whose client has taken nothing since before `deadline`.
    pub fn stalled(&self, deadline: Instant) -> Vec<CallId> {
        let stalled = |scroll: &&Scroll| scroll.flow.is_stalled(deadline);
        self.by_call.values().filter(stalled).map(|scroll| scroll.call).collect()
    }

    /// Every reply.
    pub fn calls(&self) -> Vec<CallId> {
        self.by_call.keys().copied().collect()
    }
}

impl Flow {
    /// Has the client taken nothing since before `deadline`?
    pub fn is_stalled(self, deadline: Instant) -> bool {
        match self {
            Flow::Open => false,
            Flow::Full { since } => since < deadline,
        }
    }
}

impl Scroll {
    /// Does a bounded piece of work.
    fn turn(&mut self, out: &mut VecDeque<ShardEffect>) -> Result<Turn, Status> {
        match (self.flow, &self.stage) {
            (Flow::Full { .. }, _) | (_, Stage::Waiting | Stage::Pinning) => Ok(Turn::Parked),
            (Flow::Open, Stage::Measuring { .. }) => self.measure(out),
            (Flow::Open, Stage::Sending(_)) => Ok(self.send(out)),
            (Flow::Open, Stage::Paging { .. }) => Ok(self.page(out)),
        }
    }

    /// First pass of a message.
    fn measure(&mut self, out: &mut VecDeque<ShardEffect>) -> Result<Turn, Status> {
        let (Stage::Measuring { rows, bytes }, Source::Pass(pass)) =
            (&mut self.stage, &mut self.source)
        else {
            unreachable!("measured by a pass")
        };
        while let Some(row) = pass.pop() {
            let value_bytes = match self.columns {
                Columns::All => row.value_bytes,
                Columns::Keys | Columns::Count => 0,
            };
            *rows += 1;
            *bytes += pair(&row).field_len_with(value_bytes) as u64;
        }
        let Some(totals) = pass.totals() else { return Ok(Turn::Waits) };
        let (rows, bytes) = (*rows, *bytes);
        self.pass += 1;
        let spec = RangeSpec { columns: self.columns, ..pass.spec().clone() };
        let again = Pass::new(spec, &self.slices);
        self.source = Source::Pass(again);
        self.announce(rows, bytes, totals, out)?;
        Ok(Turn::More)
    }

    fn announce(
        &mut self,
        rows: u64,
        bytes: u64,
        totals: Totals,
        out: &mut VecDeque<ShardEffect>,
    ) -> Result<(), Status> {
        let tail = RangeTail { more: totals.more, count: totals.count };
        let whole = (self.header.field_len() + tail.len()) as u64 + bytes;
        let Ok(message_bytes) = u32::try_from(whole) else {
            let text = format!("a reply of {whole} bytes does not fit one message: set a limit");
            return Err(Status::new(Code::ResourceExhausted, text));
        };
        out.push_back(ShardEffect::Begin { call: self.call, message_bytes });
        let mut buffer = BytesMut::with_capacity(PART_ROOM_BYTES);
        self.header.put_field(&mut buffer);
        let sending = Sending { rows_left: rows, tail: Some(tail), bytes_left: whole, buffer };
        self.stage = Stage::Sending(sending);
        Ok(())
    }

    /// Second pass: the next parts of the message.
    fn send(&mut self, out: &mut VecDeque<ShardEffect>) -> Turn {
        let Stage::Sending(sending) = &mut self.stage else { unreachable!("sending") };
        let mut sent = 0;
        while sent < TURN_BYTES {
            while sending.buffer.len() < PART_BYTES && 0 < sending.rows_left {
                let row = match &mut self.source {
                    Source::Pass(pass) => pass.pop(),
                    Source::Rows(rows) => rows.next(),
                };
                let Some(row) = row else { return Turn::Waits };
                sending.rows_left -= 1;
                pair(&row).put_field(&mut sending.buffer, encode::RANGE_KVS_FIELD);
            }
            if sending.rows_left == 0
                && let Some(tail) = sending.tail.take()
            {
                tail.put(&mut sending.buffer);
            }
            // Not split off: what is left of the room would be too small for the next part, and
            // growing means to copy what is there.
            let room = BytesMut::with_capacity(match sending.rows_left {
                0 => 0,
                _ => PART_ROOM_BYTES,
            });
            let part = std::mem::replace(&mut sending.buffer, room).freeze();
            if part.is_empty() {
                assert_eq!(sending.bytes_left, 0, "both passes saw the same");
                return Turn::Done;
            }
            assert!(part.len() as u64 <= sending.bytes_left, "both passes saw the same");
            sending.bytes_left -= part.len() as u64;
            sent += part.len();
            out.push_back(ShardEffect::Part { call: self.call, part });
        }
        Turn::More
    }

    /// The next message of a stream, once it is full; the last one tells the totals.
    fn page(&mut self, out: &mut VecDeque<ShardEffect>) -> Turn {
        let (Stage::Paging { rows, rows_max, buffer }, Source::Pass(pass)) =
            (&mut self.stage, &mut self.source)
        else {
            unreachable!("paged by a pass")
        };
        let mut sent = false;
        while !sent {
            let Some(row) = pass.pop() else {
                let Some(totals) = pass.totals() else { return Turn::Waits };
                RangeTail { more: totals.more, count: totals.count }.put(buffer);
                let page = RangePage { header: Some(self.header), rest_bytes: buffer.len() };
                let (head, tail) = (page.to_bytes(), buffer.split().freeze());
                out.push_back(ShardEffect::SendParts { call: self.call, head, tail });
                return Turn::Done;
            };
            // Only now it is known that this is not the last message.
            if *rows_max <= *rows || PAGE_BYTES <= buffer.len() {
                let page = RangePage { header: None, rest_bytes: buffer.len() };
                *rows_max = next_page_rows(*rows_max, buffer.len());
                *rows = 0;
                let (head, tail) = (page.to_bytes(), buffer.split().freeze());
                out.push_back(ShardEffect::SendParts { call: self.call, head, tail });
                sent = true;
            }
            *rows += 1;
            pair(&row).put_field(buffer, encode::RANGE_KVS_FIELD);
        }
        Turn::More
    }
}

impl Shard {
    /// Begins a reply that is read while it is sent; `revision` is what its header tells.
    pub(super) fn start_scroll(
        &mut self,
        call: CallId,
        shape: Shape,
        revision: i64,
        spec: RangeSpec,
    ) {
        let slices = self.config.partition.slices_of(&spec.span);
        let columns = spec.columns;
        let spec = match (shape, columns) {
            (Shape::Message, Columns::All) => RangeSpec { columns: Columns::Keys, ..spec },
            (Shape::Message, Columns::Keys | Columns::Count) | (Shape::Pages, _) => spec,
        };
        let scroll = Scroll {
            call,
            header: Header { revision, ..self.header() },
            source: Source::Pass(Pass::new(spec, &slices)),
            slices,
            columns,
            pass: 0,
            shape,
            stage: Stage::Waiting,
            flow: Flow::Open,
            pin: None,
        };
        self.scrolls.by_call.insert(call, scroll);
        self.scrolls.waiting.push_back(call);
        self.next_scroll();
    }

    /// Sends a reply whose rows are in memory and large.
    pub(super) fn start_scroll_of(&mut self, call: CallId, revision: i64, output: RangeOutput) {
        let RangeOutput { rows, count, more } = output;
        let bytes = rows.iter().map(|row| pair(row).field_len() as u64).sum();
        let rows_count = rows.len() as u64;
        let mut scroll = Scroll {
            call,
            header: Header { revision, ..self.header() },
            slices: Vec::new(),
            columns: Columns::All,
            source: Source::Rows(rows.into_iter()),
            pass: 0,
            shape: Shape::Message,
            stage: Stage::Waiting,
            flow: Flow::Open,
            pin: None,
        };
        match scroll.announce(rows_count, bytes, Totals { count, more }, &mut self.out) {
            Err(error) => self.fail(call, error),
            Ok(()) => {
                self.busy = true;
                self.scrolls.active += 1;
                self.scrolls.by_call.insert(call, scroll);
            }
        }
    }

    /// Begins those that wait, if there is room.
    fn next_scroll(&mut self) {
        while self.scrolls.active < SCROLLS_MAX {
            let Some(call) = self.scrolls.waiting.pop_front() else { return };
            // Its client may have left.
            let Some(scroll) = self.scrolls.by_call.get_mut(&call) else { continue };
            scroll.stage = Stage::Pinning;
            self.scrolls.active += 1;
            let main = match &scroll.source {
                Source::Pass(pass) => pass.spec().at.main,
                Source::Rows(_) => unreachable!("what is in memory does not wait"),
            };
            let pin = self.pin(Holder::Scroll(call), main);
            if let Some(scroll) = self.scrolls.by_call.get_mut(&call) {
                scroll.pin = Some(pin);
            }
        }
    }

    /// The point of a reply is kept, or it is too late for that.
    pub(super) fn scroll_pinned(&mut self, call: CallId, late: Option<PinTooLate>) {
        let Some(scroll) = self.scrolls.by_call.get_mut(&call) else { return };
        if late.is_some() {
            return self.end_scroll(call, Some(ApiError::Compacted.into()));
        }
        scroll.stage = match scroll.shape {
            Shape::Message => Stage::Measuring { rows: 0, bytes: 0 },
            Shape::Pages => {
                Stage::Paging { rows: 0, rows_max: FIRST_PAGE_ROWS, buffer: BytesMut::new() }
            }
        };
    }

    /// Works on every reply whose client takes more.
    pub(super) fn pump_scrolls(&mut self) {
        for call in self.scrolls.calls() {
            let Some(scroll) = self.scrolls.by_call.get_mut(&call) else { continue };
            match scroll.turn(&mut self.out) {
                Err(error) => self.end_scroll(call, Some(error)),
                Ok(Turn::Done) => self.end_scroll(call, None),
                Ok(Turn::More) => self.busy = true,
                Ok(Turn::Parked) => {}
                Ok(Turn::Waits) => self.ask_for_rows(call),
            }
        }
    }

    fn ask_for_rows(&mut self, call: CallId) {
        let Some(scroll) = self.scrolls.by_call.get_mut(&call) else { return };
        let pass = scroll.pass;
        let asks = match &mut scroll.source {
            Source::Pass(pass) => pass.asks(),
            Source::Rows(_) => unreachable!("they are all there"),
        };
        for (slice, request) in asks {
            let read = self.name_read(Route::Scroll { call, pass });
            self.send_read(read, slice, request);
        }
    }

    /// A slice answered.
    pub(super) fn scroll_read(
        &mut self,
        call: CallId,
        pass: u8,
        slice: SliceId,
        result: ReadResult,
    ) {
        let Some(scroll) = self.scrolls.by_call.get_mut(&call).filter(|it| it.pass == pass) else {
            return;
        };
        self.busy = true;
        let Source::Pass(pass) = &mut scroll.source else { unreachable!("a pass asked") };
        match result {
            ReadResult::Range { items, resume } => pass.supply(slice, items, resume),
            ReadResult::Count(count) => pass.counted(count),
            ReadResult::Compacted { .. } => {
                self.end_scroll(call, Some(ApiError::Compacted.into()));
            }
            ReadResult::History { .. } => panic!("rows were asked for, not history"),
        }
    }

    /// The client takes more, or does not. False if the call is no reply on its way.
    pub(super) fn scroll_flow(&mut self, call: CallId, flow: Flow) -> bool {
        let scroll = self.scrolls.by_call.get_mut(&call);
        scroll.map(|scroll| scroll.flow = flow).is_some()
    }

    /// Ends a reply, well or not, and tells its client.
    pub(super) fn end_scroll(&mut self, call: CallId, error: Option<Status>) {
        if !self.forget_scroll(call) {
            return;
        }
        self.forget_stream(call);
        self.out.push_back(match error {
            Some(error) => ShardEffect::Fail { call, error },
            None => ShardEffect::Finish { call },
        });
    }

    /// Lets go of a reply. False if there was none.
    pub(super) fn forget_scroll(&mut self, call: CallId) -> bool {
        let Some(scroll) = self.scrolls.by_call.remove(&call) else { return false };
        match scroll.stage {
            Stage::Waiting => {}
            Stage::Pinning | Stage::Measuring { .. } | Stage::Sending(_) | Stage::Paging { .. } => {
                self.scrolls.active -= 1;
            }
        }
        if let Some(pin) = scroll.pin {
            self.unpin(pin);
        }
        self.next_scroll();
        true
    }
}

/// Pages double until they are large, and halve when rows turn out larger.
fn next_page_rows(rows: usize, bytes: usize) -> usize {
    match bytes {
        small if small < PAGE_BYTES / 2 => (rows * 2).min(PAGE_ROWS_MAX),
        large if large > PAGE_BYTES * 2 => (rows / 2).max(1),
        _ => rows,
    }
}
