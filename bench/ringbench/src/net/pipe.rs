//! Owns one connection's bytes between the socket and h2: what h2 writes is gathered and sent once
//! a turn, what is read comes through a buffer that all connections of the core share.
//! Invariant: nothing that h2 wrote is lost or reordered.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use tokio::io::ReadBuf;

/// Read at once.
const READ_BYTES: usize = 128 << 10;
/// Gathered before it is sent in the middle of a turn.
const WRITE_BYTES: usize = 64 << 10;
/// Kept allocated by a connection that has nothing to send.
const KEPT_BYTES: usize = 4 << 10;

/// The read buffer of one core.
#[derive(Clone)]
pub(super) struct Scratch(Rc<RefCell<Vec<u8>>>);

impl Scratch {
    pub(super) fn new() -> Scratch {
        Scratch(Rc::new(RefCell::new(vec![0; READ_BYTES])))
    }
}

pub(super) struct Pipe {
    stream: TcpStream,
    scratch: Scratch,
    held: Vec<u8>,
    held_at: usize,
    out: Vec<u8>,
    out_at: usize,
    starved: bool,
}

impl Pipe {
    pub(super) fn new(stream: TcpStream, scratch: Scratch) -> Pipe {
        let (held, out) = (Vec::new(), Vec::new());
        Pipe { stream, scratch, held, held_at: 0, out, out_at: 0, starved: false }
    }

    /// Sends what is gathered.
    pub(super) fn flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.out_at < self.out.len() {
            let rest = &self.out[self.out_at..];
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out_at += sent;
        }
        self.out_at = 0;
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        Poll::Ready(Ok(()))
    }

    /// Whether h2 had more to write than could be gathered, since the last call.
    pub(super) fn take_starved(&mut self) -> bool {
        std::mem::take(&mut self.starved)
    }

    fn give_held(&mut self, to: &mut ReadBuf<'_>) {
        let bytes = to.remaining().min(self.held.len() - self.held_at);
        to.put_slice(&self.held[self.held_at..][..bytes]);
        self.held_at += bytes;
        if self.held_at == self.held.len() {
            (self.held, self.held_at) = (Vec::new(), 0);
        }
    }

    fn read(&mut self, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            self.give_held(to);
            return Poll::Ready(Ok(()));
        }
        let mut scratch = self.scratch.0.borrow_mut();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut scratch))?;
        let now = read.min(to.remaining());
        to.put_slice(&scratch[..now]);
        self.held.extend_from_slice(&scratch[now..read]);
        Poll::Ready(Ok(()))
    }
}

/// The end that h2 has.
pub(super) struct PipeEnd(pub(super) Rc<RefCell<Pipe>>);

impl tokio::io::AsyncRead for PipeEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.borrow_mut().read(context, to)
    }
}

impl tokio::io::AsyncWrite for PipeEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.0.borrow_mut();
        if WRITE_BYTES <= pipe.out.len() - pipe.out_at && pipe.flush(context)?.is_pending() {
            pipe.starved = true;
            return Poll::Pending;
        }
        pipe.out.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// The turn flushes, once, when h2 has nothing more to say.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// As for flushing.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
