//! Owns one HTTP/1.1 connection: one request at a time, its body complete before the service sees
//! it, answers in the order of requests, kept alive in between.
//! Never holds more input than the limits say. Invariant: whatever comes in, it ends in an answer
//! or in a closed connection.

use std::task::Context;

use bytes::BytesMut;
use futures_lite::{AsyncRead, AsyncWrite};
use http::Method;

use crate::conn::{Seat, Turn, millis};
use crate::limits::{HTTP1_HEAD_BYTES_MAX, WRITE_BYTES};
use crate::line::{NEVER_MS, Outgoing};
use crate::pack::Packing;
use crate::pipe::Read;
use crate::reply::HttpReply;
use crate::service::HttpRequest;
use crate::slab::{Answer, Call, Sink};
use crate::stats;

pub(crate) mod alone;
mod body;
mod head;
mod write;

use body::Plan;
use head::{Bad, Head};
use write::Framing;

/// After an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Keep,
    Close,
}

enum State {
    /// Between requests, or inside a head.
    Idle,
    Body {
        request: Box<HttpRequest>,
        plan: Plan,
        head: Head,
        bytes: BytesMut,
    },
    /// The service answers.
    Answer {
        head: Head,
        framing: Option<Framing>,
    },
}

/// One HTTP/1.1 connection.
pub(crate) struct Http1 {
    input: BytesMut,
    state: State,
    ended: bool,
}

/// What a step led to.
enum Step {
    /// Look again.
    On,
    /// More input is needed.
    Read,
    /// Nothing to do before the service or the socket goes on.
    Wait,
    Turn(Turn),
}

impl Http1 {
    /// Begins with what was read so far.
    pub(crate) fn new<S>(seat: &Seat<S>, seen: &[u8]) -> Http1 {
        // The time for the head runs since the connection was accepted.
        assert!(seat.line.due_ms.get() != NEVER_MS);
        Http1 { input: BytesMut::from(seen), state: State::Idle, ended: false }
    }

    /// Reads and answers as far as possible; output stays in the pipe.
    pub(crate) fn turn<S>(&mut self, seat: &Seat<S>, context: &mut Context<'_>) -> Turn
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if seat.take_due() {
            stats::add(&seat.core().counters.timeouts_http1, 1);
            return Turn::Drop;
        }
        loop {
            let step = match &self.state {
                State::Idle => self.idle(seat),
                State::Body { .. } => self.body(seat),
                State::Answer { .. } => self.answer(seat),
            };
            match step {
                Step::On => {}
                Step::Turn(turn) => return turn,
                Step::Read | Step::Wait if self.ended => return self.after_end(),
                Step::Wait if HTTP1_HEAD_BYTES_MAX <= self.input.len() => return Turn::Wait,
                Step::Read | Step::Wait => {
                    let mut pipe = seat.pipe.borrow_mut();
                    match pipe.read(context) {
                        Read::Later => return Turn::Wait,
                        Read::Lost => return Turn::Drop,
                        Read::End => self.ended = true,
                        Read::Bytes(_) => pipe.take(|bytes| self.input.extend_from_slice(bytes)),
                    }
                }
            }
        }
    }

    /// The client sends no more: an answer that was asked for is still given, a stream is not.
    fn after_end(&self) -> Turn {
        match &self.state {
            State::Idle | State::Body { .. } => Turn::Close,
            State::Answer { framing: None, .. } => Turn::Wait,
            State::Answer { framing: Some(Framing::Length), .. } => Turn::Wait,
            State::Answer { framing: Some(Framing::Chunked | Framing::UntilClose), .. } => {
                Turn::Close
            }
        }
    }

    fn idle<S: AsyncRead + AsyncWrite + Unpin>(&mut self, seat: &Seat<S>) -> Step {
        if self.input.is_empty() {
            if seat.core().stopping.get() {
                return Step::Turn(Turn::Close);
            }
            if seat.line.due_ms.get() == NEVER_MS {
                seat.due_in(millis(seat.core().options.idle_timeout));
            }
            return Step::Read;
        }
        let parsed = head::parse(&mut self.input, seat.line.peer);
        match parsed {
            Ok(Some((request, head, plan))) => {
                let limit = u64::from(seat.core().options.http_body_bytes_max);
                if plan.length().is_some_and(|length| limit < length) {
                    stats::add(&seat.core().counters.bodies_too_large, 1);
                    return bad(seat, &Bad::TooLarge);
                }
                seat.due_in(millis(seat.core().options.body_timeout));
                let complete = plan.is_done();
                if head.expects_continue && !complete && self.input.is_empty() {
                    seat.pipe.borrow_mut().put(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                self.state = State::Body { request, plan, head, bytes: BytesMut::new() };
                Step::On
            }
            Ok(None) => {
                if seat.line.due_ms.get() == NEVER_MS {
                    seat.due_in(millis(seat.core().options.handshake_timeout));
                }
                Step::Read
            }
            Err(why) => bad(seat, &why),
        }
    }

    fn body<S: AsyncRead + AsyncWrite + Unpin>(&mut self, seat: &Seat<S>) -> Step {
        let State::Body { plan, bytes, .. } = &mut self.state else { unreachable!("by state") };
        let limit = seat.core().options.http_body_bytes_max as usize;
        match plan.take(&mut self.input, bytes, limit) {
            Err(why) => {
                if matches!(why, Bad::TooLarge) {
                    stats::add(&seat.core().counters.bodies_too_large, 1);
                }
                return bad(seat, &why);
            }
            Ok(()) if !plan.is_done() => return Step::Read,
            Ok(()) => {}
        }
        let done = std::mem::replace(&mut self.state, State::Idle);
        let State::Body { mut request, head, bytes, .. } = done else { unreachable!("by state") };
        request.body = bytes.freeze();
        seat.line.due_ms.set(NEVER_MS);
        let answer = match request.method == Method::HEAD {
            true => Answer::HttpHeadOnly,
            false => Answer::Http,
        };
        let call = seat.core().insert(Call {
            line: seat.line.clone(),
            stream: 0,
            sink: Sink::Http1,
            answer,
            body: None,
            meter: None,
            owed: 0,
            prefix: None,
            packing: Packing::Plain,
        });
        self.state = State::Answer { head, framing: None };
        seat.service.http(*request, HttpReply::new(seat.hub.clone(), call));
        Step::On
    }

    fn answer<S: AsyncRead + AsyncWrite + Unpin>(&mut self, seat: &Seat<S>) -> Step {
        let State::Answer { head, framing, .. } = &mut self.state else { unreachable!("by state") };
        if WRITE_BYTES <= seat.pipe.borrow().out_bytes() {
            seat.pipe.borrow_mut().starve();
            return Step::Wait;
        }
        let next = seat.line.outgoing.borrow_mut().pop_front();
        match next {
            None => self.drained(seat),
            Some(Outgoing::Head { status, headers, length }) => {
                if seat.core().stopping.get() {
                    head.after = After::Close;
                }
                let mut pipe = seat.pipe.borrow_mut();
                *framing = Some(write::head(pipe.out(), status, &headers, length, head));
                Step::On
            }
            Some(Outgoing::Body(mut bytes, meter)) => {
                let framing = framing.expect("the head comes first");
                let rest = bytes.split_off(bytes.len().min(WRITE_BYTES));
                write::body(seat.pipe.borrow_mut().out(), &bytes, framing);
                meter.take(bytes.len());
                if !rest.is_empty() {
                    let rest = Outgoing::Body(rest, meter);
                    seat.line.outgoing.borrow_mut().push_front(rest);
                }
                Step::On
            }
            Some(Outgoing::End) => {
                let framing = framing.expect("the head comes first");
                write::end(seat.pipe.borrow_mut().out(), framing);
                let after = head.after;
                self.state = State::Idle;
                match after {
                    After::Close => Step::Turn(Turn::Close),
                    After::Keep => Step::On,
                }
            }
            Some(Outgoing::Abort) => Step::Turn(Turn::Close),
        }
    }

    /// All that was queued is written: whoever waits for room may go on.
    fn drained<S>(&mut self, seat: &Seat<S>) -> Step {
        match seat.line.pop_drained() {
            None => Step::Wait,
            Some(call) => {
                seat.service.drained(call);
                Step::On
            }
        }
    }
}

/// Answers what cannot be understood, in Go's words, and ends.
fn bad<S: AsyncRead + AsyncWrite + Unpin>(seat: &Seat<S>, why: &Bad) -> Step {
    stats::add(&seat.core().counters.errors_http1, 1);
    let (status, detail) = why.words();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut pipe = seat.pipe.borrow_mut();
    let text = format!("{} {reason}{detail}", status.as_u16());
    let head = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Connection: close\r\n\r\n",
        status.as_u16()
    );
    pipe.put(head.as_bytes());
    pipe.put(text.as_bytes());
    Step::Turn(Turn::Close)
}
