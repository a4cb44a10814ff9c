//! Owns one connection's bytes between the socket and the protocol: input from the core's shared
//! read buffer, output gathered until the end of the turn. Knows no protocol.
//! Invariant: the shared read buffer is empty between turns; what h2 left there moves to `held`,
//! what it may not see yet is in `unfinished`.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_lite::{AsyncRead, AsyncWrite};
use tokio::io::ReadBuf;

use crate::hub::Core;
use crate::limits::{UNFINISHED_BYTES_MAX, WRITE_BYTES, WRITE_BYTES_FIRST};
use crate::stats;

/// What reading brought.
pub(crate) enum Read {
    /// Nothing now; the waker is registered.
    Later,
    /// So many bytes, in the shared buffer.
    Bytes(usize),
    /// The peer sends no more.
    End,
    /// The connection is lost.
    Lost,
}

/// What is left of input that was looked at.
pub(crate) struct Edited {
    /// Of the bytes shown, those in front that count.
    pub(crate) bytes: usize,
    /// Of these, those at the end that are to be shown again.
    pub(crate) unfinished: usize,
}

/// The bytes of one connection.
pub(crate) struct Pipe<S> {
    stream: S,
    core: Rc<Core>,
    held: Vec<u8>,
    held_at: usize,
    /// Input that is shown again when more of it is there.
    unfinished: Vec<u8>,
    fed_at: usize,
    fed_end: usize,
    ended: bool,
    out: Vec<u8>,
    out_at: usize,
    /// When the output began to wait, if it is timed.
    waits_since: Option<Instant>,
    stalled: bool,
    starved: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pipe<S> {
    pub(crate) fn new(stream: S, core: Rc<Core>) -> Pipe<S> {
        Pipe {
            stream,
            core,
            held: Vec::new(),
            held_at: 0,
            unfinished: Vec::new(),
            fed_at: 0,
            fed_end: 0,
            ended: false,
            out: Vec::new(),
            out_at: 0,
            waits_since: None,
            stalled: false,
            starved: false,
        }
    }

    /// Reads once into the shared buffer, which must have been emptied.
    pub(crate) fn read(&mut self, context: &mut Context<'_>) -> Read {
        assert!(!self.has_input());
        let mut scratch = self.core.scratch.borrow_mut();
        let before = self.unfinished.len();
        match Pin::new(&mut self.stream).poll_read(context, &mut scratch[before..]) {
            Poll::Pending => Read::Later,
            Poll::Ready(Ok(0)) => {
                // It stays unfinished: that is the protocol's to judge.
                (self.held, self.held_at) = (std::mem::take(&mut self.unfinished), 0);
                self.ended = true;
                Read::End
            }
            Poll::Ready(Ok(bytes)) => {
                scratch[..before].copy_from_slice(&self.unfinished);
                self.unfinished.clear();
                self.fed_at = 0;
                self.fed_end = before + bytes;
                stats::add(&self.core.counters.received_bytes, bytes as u64);
                stats::add(&self.core.counters.receives, 1);
                Read::Bytes(bytes)
            }
            Poll::Ready(Err(_)) => Read::Lost,
        }
    }

    /// Reads what nobody wants any more.
    pub(crate) fn read_and_forget(&mut self, context: &mut Context<'_>) -> Read {
        (self.held, self.held_at) = (Vec::new(), 0);
        self.unfinished = Vec::new();
        self.fed_at = self.fed_end;
        let read = self.read(context);
        self.fed_at = self.fed_end;
        read
    }

    /// Whether bytes wait that the protocol has not taken.
    pub(crate) fn has_input(&self) -> bool {
        self.held_at < self.held.len() || self.fed_at < self.fed_end
    }

    /// Shows the input, which may be changed, before the protocol takes it. The answer says how
    /// much of it counts and how much of that, at the end, is to be shown again with what follows.
    pub(crate) fn edit<T>(&mut self, edit: impl FnOnce(&mut [u8]) -> (T, Edited)) -> T {
        if self.held_at < self.held.len() {
            assert_eq!(self.fed_at, self.fed_end, "one or the other");
            let (done, edited) = edit(&mut self.held[self.held_at..]);
            let end = self.held_at + edited.bytes;
            self.unfinished.extend_from_slice(&self.held[end - edited.unfinished..end]);
            self.held.truncate(end - edited.unfinished);
            return done;
        }
        let mut scratch = self.core.scratch.borrow_mut();
        let (done, edited) = edit(&mut scratch[self.fed_at..self.fed_end]);
        let end = self.fed_at + edited.bytes;
        assert!(end <= self.fed_end);
        self.fed_end = end - edited.unfinished;
        self.unfinished.extend_from_slice(&scratch[self.fed_end..end]);
        assert!(self.unfinished.len() <= UNFINISHED_BYTES_MAX);
        done
    }

    /// Takes the bytes just read.
    pub(crate) fn take<T>(&mut self, take: impl FnOnce(&[u8]) -> T) -> T {
        let taken = take(&self.core.scratch.borrow()[self.fed_at..self.fed_end]);
        self.fed_at = self.fed_end;
        taken
    }

    /// Puts input back that somebody took too early.
    pub(crate) fn untake(&mut self, bytes: &[u8]) {
        assert!(!self.has_input());
        self.held = bytes.to_vec();
        self.held_at = 0;
    }

    /// Ends a turn: the shared buffer is for the next connection.
    pub(crate) fn stow(&mut self) {
        if self.held_at == self.held.len() {
            self.held = Vec::new();
            self.held_at = 0;
        }
        if self.fed_at < self.fed_end {
            let scratch = self.core.scratch.borrow();
            self.held.extend_from_slice(&scratch[self.fed_at..self.fed_end]);
            self.fed_at = self.fed_end;
        }
    }

    /// Queues output.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        if self.out.capacity() == 0 {
            self.out = self.core.buffer();
            self.waits_since = self.core.counters.flushes.begin().then(Instant::now);
            self.out.reserve(WRITE_BYTES_FIRST);
        }
        self.out.extend_from_slice(bytes);
    }

    /// Where output is queued, for those who format it.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        self.put(&[]);
        &mut self.out
    }

    /// Output that waits.
    pub(crate) fn out_bytes(&self) -> usize {
        self.out.len() - self.out_at
    }

    /// Whether the protocol was told to wait for the socket since the last call.
    pub(crate) fn take_stalled(&mut self) -> bool {
        std::mem::take(&mut self.stalled)
    }

    /// Notes that the protocol has more output than it may queue.
    pub(crate) fn starve(&mut self) {
        self.starved = true;
    }

    /// Whether the protocol had more output since the last call.
    pub(crate) fn take_starved(&mut self) -> bool {
        std::mem::take(&mut self.starved)
    }

    /// Sends what is queued.
    pub(crate) fn flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out_bytes() == 0 {
            return Poll::Ready(Ok(()));
        }
        while self.out_at < self.out.len() {
            let rest = &self.out[self.out_at..];
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out_at += sent;
            stats::add(&self.core.counters.sent_bytes, sent as u64);
            stats::add(&self.core.counters.sends, 1);
        }
        self.out_at = 0;
        if let Some(since) = self.waits_since.take() {
            self.core.counters.flushes.end(since.elapsed());
        }
        self.core.recycle(std::mem::take(&mut self.out));
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Tells the peer that no more comes.
    pub(crate) fn close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }

    fn fill(&mut self, to: &mut ReadBuf<'_>) -> usize {
        let room = to.remaining();
        if self.held_at < self.held.len() {
            let bytes = room.min(self.held.len() - self.held_at);
            to.put_slice(&self.held[self.held_at..][..bytes]);
            self.held_at += bytes;
            return bytes;
        }
        let bytes = room.min(self.fed_end - self.fed_at);
        to.put_slice(&self.core.scratch.borrow()[self.fed_at..][..bytes]);
        self.fed_at += bytes;
        bytes
    }
}

/// The end of a pipe that h2 reads and writes.
pub(crate) struct PipeEnd<S>(pub(crate) Rc<RefCell<Pipe<S>>>);

impl<S: AsyncRead + AsyncWrite + Unpin> tokio::io::AsyncRead for PipeEnd<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipe = self.0.borrow_mut();
        // No waker is needed: the connection reads the socket and comes back.
        match pipe.fill(to) > 0 || pipe.ended {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> tokio::io::AsyncWrite for PipeEnd<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.0.borrow_mut();
        if WRITE_BYTES <= pipe.out_bytes() {
            match pipe.flush(context) {
                Poll::Ready(done) => done?,
                Poll::Pending => {
                    pipe.stalled = true;
                    pipe.starved = true;
                    return Poll::Pending;
                }
            }
        }
        pipe.put(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// The turn flushes, once, when h2 has nothing more to say.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// As for flushing: the turn closes.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
