//! Owns one HTTP/2 connection: feeds h2, takes its new calls, and looks after the streams that the
//! frame headers name. Never sends from a call-back: answers are queued and go out with the turn.
//! Invariant: when a turn ends, h2 has seen every byte read and every answer queued so far, unless
//! its output is stalled by the socket.

use std::collections::BTreeSet;
use std::future::Future;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use h2::server::{Builder, Connection};

use crate::authority::{Authority, Gaps};
use crate::chunk::Chunk;
use crate::conn::{Seat, Turn, millis};
use crate::guard::{Guard, Moment, Offence};
use crate::limits::{
    CONNECTION_CALLS_MAX, CONNECTION_WINDOW_BYTES, DATA_BYTES_MAX, HEADER_LIST_BYTES_MAX,
    READ_ROUNDS_MAX, RESETS_UNSEEN_MAX, STREAM_WINDOW_BYTES, UNFINISHED_BYTES_MAX,
};
use crate::line::NEVER_MS;
use crate::options::Options;
use crate::pipe::{Edited, PipeEnd, Read};
use crate::scan::{FLAG_END_OR_ACK, FrameKind, HEADER_BYTES, Scanner, Seen};
use crate::stats;

mod accept;

/// Turns of h2 in one turn of the connection, when answers make room for more answers.
const DRIVE_ROUNDS_MAX: u32 = 64;

/// A frame of our own: PING with a payload that h2 does not use.
const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, b'k', b'e', b'e', b'p', b'l', b'i', b'v', b'e'];

/// Where a silent connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alive {
    /// Waiting for the client's SETTINGS.
    Greeting,
    /// Heard from lately.
    Heard,
    /// Pinged then, and not heard since.
    Pinged { at_ms: u64 },
}

/// One HTTP/2 connection.
pub(crate) struct Http2<S> {
    h2: Connection<PipeEnd<S>, Chunk>,
    scanner: Scanner,
    authority: Authority,
    guard: Guard,
    /// Streams with news for calls that were open before this turn.
    touched: BTreeSet<u32>,
    /// Streams that the client reset.
    reset: Vec<u32>,
    /// The newest call that was taken.
    newest: u32,
    alive: Alive,
    heard_ms: u64,
    leaving: Leaving,
}

/// Whether h2 had its turn since the last input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driven {
    Yes,
    No,
}

/// Whether the connection was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// GOAWAY is on its way; open calls may finish.
    Gracefully,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Http2<S> {
    /// Begins with the preface in the pipe, and after it what else was read.
    pub(crate) fn new(seat: &Seat<S>, context: &mut Context<'_>) -> Result<Http2<S>, Turn> {
        let options = &seat.core().options;
        let mut handshake = Box::pin(builder(options).handshake(PipeEnd(seat.pipe.clone())));
        // The whole preface is there and our SETTINGS fit the output: this never waits.
        let h2 = match handshake.as_mut().poll(context) {
            Poll::Ready(Ok(h2)) => h2,
            Poll::Ready(Err(_)) => return Err(Turn::Drop),
            Poll::Pending => unreachable!("the preface was complete"),
        };
        let mut http2 = Http2 {
            h2,
            scanner: Scanner::default(),
            authority: Authority::new(seat.line.peer),
            guard: Guard::new(millis(options.ping_interval_min)),
            touched: BTreeSet::new(),
            reset: Vec::new(),
            newest: 0,
            alive: Alive::Greeting,
            heard_ms: seat.now_ms(),
            leaving: Leaving::No,
        };
        match http2.scan_input(seat) {
            Ok(()) => Ok(http2),
            Err(offence) => Err(http2.offended(seat, offence)),
        }
    }

    /// Reads, answers, and leaves the output in the pipe.
    pub(crate) fn turn(&mut self, seat: &Seat<S>, context: &mut Context<'_>) -> Turn {
        if seat.core().stopping.get() && self.leaving == Leaving::No {
            self.leaving = Leaving::Gracefully;
            self.h2.graceful_shutdown();
        }
        if seat.take_due()
            && let Some(turn) = self.due(seat)
        {
            return turn;
        }
        let mut driven = Driven::No;
        for _ in 0..READ_ROUNDS_MAX {
            if seat.pipe.borrow().has_input() {
                if let Some(turn) = self.drive(seat, context) {
                    return turn;
                }
                driven = Driven::Yes;
                if seat.pipe.borrow().has_input() {
                    // h2 takes no input before the socket takes output.
                    return Turn::Wait;
                }
            }
            let read = seat.pipe.borrow_mut().read(context);
            match read {
                Read::Later if driven == Driven::Yes => return Turn::Wait,
                Read::Later => return self.drive(seat, context).unwrap_or(Turn::Wait),
                Read::End => return self.drive(seat, context).unwrap_or(Turn::Close),
                Read::Lost => {
                    stats::add(&seat.core().counters.errors_io, 1);
                    return Turn::Drop;
                }
                Read::Bytes(_) => {
                    if let Err(offence) = self.heard(seat) {
                        return self.offended(seat, offence);
                    }
                }
            }
        }
        Turn::Yield
    }

    /// Lets h2 work until it has nothing more to do.
    fn drive(&mut self, seat: &Seat<S>, context: &mut Context<'_>) -> Option<Turn> {
        for _ in 0..DRIVE_ROUNDS_MAX {
            loop {
                seat.line.bell.silence();
                send_bundles(seat);
                match self.h2.poll_accept(context) {
                    Poll::Ready(Some(Ok((request, respond)))) => {
                        self.newest = request.body().stream_id().as_u32();
                        accept::accept(seat, self.newest, request, respond);
                    }
                    Poll::Ready(Some(Err(error))) => return Some(self.broken(seat, &error)),
                    Poll::Ready(None) => return Some(Turn::Close),
                    Poll::Pending => break,
                }
            }
            // Frames that h2 has not looked at yet will be touched again.
            let stalled = seat.pipe.borrow_mut().take_stalled();
            self.settle(seat, if stalled { Touched::Keep } else { Touched::Forget });
            if !seat.line.bell.is_rung() {
                return None;
            }
        }
        Some(Turn::Yield)
    }

    /// Tells the service what became of its calls.
    fn settle(&mut self, seat: &Seat<S>, touched: Touched) {
        for stream in std::mem::take(&mut self.reset) {
            let call = seat.line.calls.borrow().get(&stream).copied();
            if let Some(call) = call {
                seat.core().forsake(&*seat.service, call);
            }
        }
        if !self.touched.is_empty() {
            let streams = match touched {
                Touched::Keep => self.touched.clone(),
                Touched::Forget => std::mem::take(&mut self.touched),
            };
            for stream in streams {
                let call = seat.line.calls.borrow().get(&stream).copied();
                if let Some(call) = call {
                    accept::pump(seat, call);
                }
            }
        }
        while let Some(call) = seat.line.pop_drained() {
            seat.service.drained(call);
            accept::pump(seat, call);
        }
    }

    /// Looks at new input before h2 does.
    fn scan_input(&mut self, seat: &Seat<S>) -> Result<(), Offence> {
        seat.pipe.borrow_mut().edit(|bytes| {
            let scanned = self.scan(seat, bytes);
            match scanned {
                Ok(edited) => (Ok(()), edited),
                Err(offence) => (Err(offence), Edited { bytes: 0, unfinished: 0 }),
            }
        })
    }

    /// Walks over the frames of new input, and cuts off what h2 would refuse and etcd does not.
    fn scan(&mut self, seat: &Seat<S>, bytes: &mut [u8]) -> Result<Edited, Offence> {
        let (mut gaps, mut end) = (Gaps::default(), 0);
        loop {
            let mut rest = &bytes[end..];
            let Some(frame) = self.scanner.next(&mut rest) else { break };
            end = bytes.len() - rest.len();
            if frame.kind == FrameKind::Headers {
                self.headers(&frame, bytes, end, &mut gaps);
            }
            self.seen(seat, &frame)?;
        }
        let unfinished = self.scanner.unfinished_headers(bytes.len() - end);
        Ok(Edited { bytes: gaps.close(bytes), unfinished })
    }

    /// A HEADERS frame ends there.
    fn headers(&mut self, frame: &Seen, bytes: &mut [u8], end: usize, gaps: &mut Gaps) {
        let frame_bytes = HEADER_BYTES + frame.payload_bytes as usize;
        if end < frame_bytes || UNFINISHED_BYTES_MAX < frame_bytes {
            return self.authority.lose();
        }
        let begin = end - frame_bytes;
        if let Some(left) = self.authority.strip(&mut bytes[begin..end]) {
            gaps.add(bytes, begin + left, end);
        }
    }

    /// Notes and judges one frame.
    fn seen(&mut self, seat: &Seat<S>, frame: &Seen) -> Result<(), Offence> {
        let core = seat.core();
        match frame.kind {
            // News for a call that is taken already; new calls are read when they are taken.
            FrameKind::Data | FrameKind::Headers if frame.stream <= self.newest => {
                self.touched.insert(frame.stream);
            }
            FrameKind::Reset => {
                self.reset.push(frame.stream);
                self.guard.finished(seat.line.finished.take());
            }
            FrameKind::Ping if frame.flags & FLAG_END_OR_ACK == 0 => {
                if seat.line.answered.take() {
                    self.guard.answered();
                }
            }
            FrameKind::Settings => self.greeted(seat),
            FrameKind::Data
            | FrameKind::Headers
            | FrameKind::Priority
            | FrameKind::PushPromise
            | FrameKind::Ping
            | FrameKind::GoAway
            | FrameKind::WindowUpdate
            | FrameKind::Continuation
            | FrameKind::Unknown => {}
        }
        let moment =
            || Moment { now_ms: core.exact_ms(), is_busy: !seat.line.calls.borrow().is_empty() };
        self.guard.judge(frame, core.now_ms.get(), moment)
    }

    fn greeted(&mut self, seat: &Seat<S>) {
        if self.alive == Alive::Greeting {
            self.alive = Alive::Heard;
            seat.line.due_ms.set(NEVER_MS);
            self.rest(seat);
        }
    }

    fn heard(&mut self, seat: &Seat<S>) -> Result<(), Offence> {
        self.heard_ms = seat.now_ms();
        if let Alive::Pinged { .. } = self.alive {
            self.alive = Alive::Heard;
            self.rest(seat);
        }
        self.scan_input(seat)
    }

    /// Asks for a turn when the client will have been silent for too long.
    fn rest(&self, seat: &Seat<S>) {
        let interval = millis(seat.core().options.keepalive_interval);
        if interval > 0 {
            seat.due_in(interval.saturating_sub(seat.now_ms() - self.heard_ms).max(1));
        }
    }

    fn due(&mut self, seat: &Seat<S>) -> Option<Turn> {
        let options = &seat.core().options;
        match self.alive {
            Alive::Greeting => {
                stats::add(&seat.core().counters.timeouts_handshake, 1);
                Some(Turn::Close)
            }
            Alive::Heard if seat.now_ms() - self.heard_ms < millis(options.keepalive_interval) => {
                self.rest(seat);
                None
            }
            Alive::Heard => {
                self.alive = Alive::Pinged { at_ms: seat.now_ms() };
                if millis(options.keepalive_timeout) > 0 {
                    seat.due_in(millis(options.keepalive_timeout));
                }
                // Between two frames, unless h2 is in the middle of one and the socket is full.
                let mut pipe = seat.pipe.borrow_mut();
                if !pipe.has_input() && pipe.out_bytes() == 0 {
                    pipe.put(&PING);
                }
                None
            }
            Alive::Pinged { at_ms } => {
                assert!(at_ms <= seat.now_ms());
                stats::add(&seat.core().counters.timeouts_keepalive, 1);
                Some(Turn::Drop)
            }
        }
    }

    /// Ends the connection with a GOAWAY that says why; h2 offers no way to add a text.
    fn offended(&mut self, seat: &Seat<S>, offence: Offence) -> Turn {
        let counters = &seat.core().counters;
        let counter = match offence {
            Offence::Pings => &counters.floods_ping,
            Offence::Settings => &counters.floods_settings,
            Offence::Resets => &counters.floods_reset,
            Offence::IdleFrames => &counters.floods_idle_frames,
            Offence::Preface => &counters.errors_http2,
        };
        stats::add(counter, 1);
        let mut pipe = seat.pipe.borrow_mut();
        if pipe.take_stalled() {
            return Turn::Drop;
        }
        let text = offence.text().as_bytes();
        let out = pipe.out();
        out.extend_from_slice(&(8 + text.len() as u32).to_be_bytes()[1..]);
        out.extend_from_slice(&[7, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&self.newest.to_be_bytes());
        out.extend_from_slice(&u32::from(offence.code()).to_be_bytes());
        out.extend_from_slice(text);
        Turn::Close
    }

    /// h2 has queued its GOAWAY already, if there is anybody to read it.
    fn broken(&self, seat: &Seat<S>, error: &h2::Error) -> Turn {
        let counters = &seat.core().counters;
        let counter = match error.reason() {
            Some(h2::Reason::ENHANCE_YOUR_CALM) => &counters.floods_idle_frames,
            Some(_) => &counters.errors_http2,
            None => &counters.errors_io,
        };
        stats::add(counter, 1);
        Turn::Close
    }
}

/// Queues the small messages that wait for this turn.
fn send_bundles<S>(seat: &Seat<S>) {
    while let Some(id) = seat.line.pop_bundle() {
        let sent = match seat.core().calls.borrow_mut().get_mut(id) {
            Some(call) => call.send_bundle(),
            None => Ok(()),
        };
        if sent.is_err() {
            // h2 has no use for the stream any more: a reset that it would report later.
            seat.core().forsake(&*seat.service, id);
        }
    }
}

/// Whether the streams with news must be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touched {
    Keep,
    Forget,
}

fn builder(options: &Options) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(options.concurrent_streams_max.min(CONNECTION_CALLS_MAX))
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_frame_size(DATA_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(RESETS_UNSEEN_MAX);
    builder
}
