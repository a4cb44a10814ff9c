//! Owns one connection from its first byte to its last: finds out what is spoken, runs that
//! protocol's turns, flushes once a turn, and closes so that the peer can read why.
//! Never waits inside a turn. Invariant: when it ends, every call it had is gone or answered.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_lite::{AsyncRead, AsyncWrite};

use crate::http1::Http1;
use crate::http2::Http2;
use crate::hub::{Core, Hub};
use crate::limits::{FIRST_LINE_BYTES_MAX, LINGER_BYTES_MAX, LINGER_MS};
use crate::line::{Line, NEVER_MS};
use crate::pipe::{Pipe, Read};
use crate::service::{Peer, Service};
use crate::stats;

/// What an HTTP/2 client says first (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a protocol wants after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// To be called when something happens.
    Wait,
    /// To be called again soon; others first.
    Yield,
    /// To send what is queued, and end.
    Close,
    /// To end now.
    Drop,
}

/// What every protocol of a connection works with.
pub(crate) struct Seat<S> {
    pub(crate) hub: Hub,
    pub(crate) service: Rc<dyn Service>,
    pub(crate) line: Rc<Line>,
    pub(crate) pipe: Rc<RefCell<Pipe<S>>>,
}

impl<S> Seat<S> {
    pub(crate) fn core(&self) -> &Rc<Core> {
        &self.hub.0
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.hub.0.now_ms.get()
    }

    pub(crate) fn due_in(&self, ms: u64) {
        self.line.due_ms.set(self.now_ms().saturating_add(ms));
    }

    /// Whether the time asked for with `due_in` has come; asks no more.
    pub(crate) fn take_due(&self) -> bool {
        let is_due = self.line.due_ms.get() <= self.now_ms();
        if is_due {
            self.line.due_ms.set(NEVER_MS);
        }
        is_due
    }
}

enum Stage<S> {
    /// Nothing decided yet.
    First {
        seen: Vec<u8>,
    },
    Http2(Box<Http2<S>>),
    Http1(Box<Http1>),
    /// Sending the rest.
    Closing,
    /// Reading what is still on its way, so that the kernel does not answer it with a reset that
    /// overtakes our last words.
    Linger {
        left: usize,
    },
}

/// A connection as a task.
pub(crate) struct Conn<S: AsyncRead + AsyncWrite + Unpin> {
    seat: Seat<S>,
    number: usize,
    waker: Waker,
    stage: Stage<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Conn<S> {
    pub(crate) fn new(stream: S, peer: Peer, hub: Hub, service: Rc<dyn Service>) -> Conn<S> {
        let core = &hub.0;
        let line = Rc::new(Line::new(peer));
        let pipe = Rc::new(RefCell::new(Pipe::new(stream, core.clone())));
        let number = core.roster.borrow_mut().seat(line.clone());
        stats::add(&core.counters.connections_opened, 1);
        stats::add(&core.counters.connections_now, 1);
        let waker = Waker::from(line.bell.clone());
        let seat = Seat { hub, service, line, pipe };
        seat.due_in(millis(seat.core().options.handshake_timeout));
        Conn { seat, number, waker, stage: Stage::First { seen: Vec::new() } }
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.seat.core().aborting.get() {
                return Poll::Ready(());
            }
            self.seat.line.bell.silence();
            let turn = match &mut self.stage {
                Stage::First { .. } => match self.first(context) {
                    Some(turn) => turn,
                    None => continue,
                },
                Stage::Http2(http2) => http2.turn(&self.seat, context),
                Stage::Http1(http1) => http1.turn(&self.seat, context),
                Stage::Closing => match self.close(context) {
                    Some(turn) => turn,
                    None => continue,
                },
                Stage::Linger { .. } => self.linger(context),
            };
            let mut pipe = self.seat.pipe.borrow_mut();
            pipe.stow();
            match turn {
                Turn::Drop => return Poll::Ready(()),
                Turn::Close => {
                    drop(pipe);
                    self.stage = Stage::Closing;
                    forsake(&self.seat);
                    continue;
                }
                Turn::Yield => self.seat.line.bell.ring(),
                Turn::Wait => {}
            }
            match pipe.flush(context) {
                Poll::Ready(Err(_)) => {
                    stats::add(&self.seat.core().counters.errors_io, 1);
                    return Poll::Ready(());
                }
                Poll::Ready(Ok(())) => {
                    // Whoever was told to wait for the socket has missed that it is free.
                    if pipe.take_starved() {
                        self.seat.line.bell.ring();
                    }
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads until it is clear what is spoken; `None` when it is.
    fn first(&mut self, context: &mut Context<'_>) -> Option<Turn> {
        if self.seat.take_due() {
            stats::add(&self.seat.core().counters.timeouts_handshake, 1);
            return Some(Turn::Drop);
        }
        let Stage::First { seen } = &mut self.stage else { unreachable!("checked by the caller") };
        let mut pipe = self.seat.pipe.borrow_mut();
        match pipe.read(context) {
            // Whoever has asked already is still answered.
            Read::Later if self.seat.core().stopping.get() => return Some(Turn::Drop),
            Read::Later => return Some(Turn::Wait),
            Read::End | Read::Lost => return Some(Turn::Drop),
            Read::Bytes(_) => pipe.take(|bytes| seen.extend_from_slice(bytes)),
        }
        let known = seen.len().min(PREFACE.len());
        if seen[..known] != PREFACE[..known] {
            match first_line(seen) {
                FirstLine::Unfinished => return None,
                FirstLine::Foreign => {
                    stats::add(&self.seat.core().counters.errors_http1, 1);
                    return Some(Turn::Close);
                }
                FirstLine::Http1 => {}
            }
            let http1 = Http1::new(&self.seat, seen);
            drop(pipe);
            self.stage = Stage::Http1(Box::new(http1));
            return None;
        }
        if known == PREFACE.len() {
            pipe.untake(seen);
            drop(pipe);
            match Http2::new(&self.seat, context) {
                Ok(http2) => self.stage = Stage::Http2(Box::new(http2)),
                Err(turn) => return Some(turn),
            }
        }
        None
    }

    /// Sends the rest, then says that no more comes; `None` when both are done.
    fn close(&mut self, context: &mut Context<'_>) -> Option<Turn> {
        if self.seat.line.due_ms.get() == NEVER_MS {
            self.seat.due_in(LINGER_MS);
        }
        if self.seat.take_due() {
            return Some(Turn::Drop);
        }
        let mut pipe = self.seat.pipe.borrow_mut();
        pipe.take(|_| ());
        match pipe.flush(context) {
            Poll::Pending => return Some(Turn::Wait),
            Poll::Ready(Err(_)) => return Some(Turn::Drop),
            Poll::Ready(Ok(())) => {}
        }
        match pipe.close(context) {
            Poll::Pending => Some(Turn::Wait),
            Poll::Ready(Err(_)) => Some(Turn::Drop),
            Poll::Ready(Ok(())) => {
                drop(pipe);
                self.seat.due_in(LINGER_MS);
                self.stage = Stage::Linger { left: LINGER_BYTES_MAX };
                None
            }
        }
    }

    fn linger(&mut self, context: &mut Context<'_>) -> Turn {
        let Stage::Linger { left } = &mut self.stage else { unreachable!("checked by the caller") };
        let mut pipe = self.seat.pipe.borrow_mut();
        loop {
            if self.seat.take_due() {
                return Turn::Drop;
            }
            match pipe.read_and_forget(context) {
                Read::Later => return Turn::Wait,
                Read::Bytes(bytes) if bytes < *left => *left -= bytes,
                Read::Bytes(_) | Read::End | Read::Lost => return Turn::Drop,
            }
        }
    }
}

/// What a connection that does not begin with the preface begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FirstLine {
    Http1,
    /// A TLS client, for example: etcd hangs up without a word, and a client knows what to say of
    /// that. An answer in HTTP would be taken for a broken record.
    Foreign,
    Unfinished,
}

/// Tells HTTP/1 from the rest by what ends its first line, as etcd does.
fn first_line(seen: &[u8]) -> FirstLine {
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        return match seen.first() {
            _ if seen.len() < FIRST_LINE_BYTES_MAX => FirstLine::Unfinished,
            // Its target is too long, which has an answer.
            Some(first) if first.is_ascii_alphabetic() => FirstLine::Http1,
            _ => FirstLine::Foreign,
        };
    };
    let line = seen[..end].strip_suffix(b"\r").unwrap_or(&seen[..end]);
    let version = line.splitn(3, |byte| *byte == b' ').nth(2);
    let minor = version.and_then(|version| version.strip_prefix(b"HTTP/1."));
    match minor.is_some_and(|minor| !minor.is_empty() && minor.iter().all(u8::is_ascii_digit)) {
        true => FirstLine::Http1,
        false => FirstLine::Foreign,
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Future for Conn<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let bell = this.seat.line.bell.clone();
        bell.begin_turn(context.waker());
        let waker = this.waker.clone();
        let done = this.turn(&mut Context::from_waker(&waker));
        bell.end_turn();
        if done.is_pending() && bell.is_rung() {
            context.waker().wake_by_ref();
        }
        done
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for Conn<S> {
    fn drop(&mut self) {
        self.stage = Stage::Closing;
        forsake(&self.seat);
        let core = self.seat.core();
        core.roster.borrow_mut().leave(self.number);
        stats::sub(&core.counters.connections_now, 1);
    }
}

/// Gives up every call of a connection that is at its end.
fn forsake<S>(seat: &Seat<S>) {
    let calls = std::mem::take(&mut *seat.line.calls.borrow_mut());
    for call in calls.into_values() {
        seat.core().forsake(&*seat.service, call);
    }
    seat.line.clear_outgoing();
    while seat.line.pop_drained().is_some() {}
}

/// A duration in the clock of deadlines.
pub(crate) fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
