//! Owns one connection's bytes between the socket and h2: what h2 writes is gathered, sealed if it
//! is to be, and sent once a turn; buffers are those that all connections of the core share.
//! Invariant: nothing that h2 wrote is lost or reordered.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use tokio::io::ReadBuf;

use super::tls::Tls;

/// Read at once.
const READ_BYTES: usize = 128 << 10;
/// Gathered before it is sent in the middle of a turn.
const WRITE_BYTES: usize = 64 << 10;
/// Buffers that wait for the next connection which has something to send.
const SPARES_MAX: usize = 16;
/// Largest of them: a few that were gathered at once would keep it otherwise.
const SPARE_BYTES_MAX: usize = 4 * WRITE_BYTES;

/// The buffers of one core.
#[derive(Clone)]
pub(super) struct Scratch(Rc<Buffers>);

struct Buffers {
    read: RefCell<Vec<u8>>,
    /// Empty, but allocated.
    spares: RefCell<Vec<Vec<u8>>>,
}

impl Scratch {
    pub(super) fn new() -> Scratch {
        let read = RefCell::new(vec![0; READ_BYTES]);
        Scratch(Rc::new(Buffers { read, spares: RefCell::default() }))
    }

    fn spare(&self) -> Vec<u8> {
        self.0.spares.borrow_mut().pop().unwrap_or_default()
    }

    fn give_back(&self, mut spent: Vec<u8>) {
        let mut spares = self.0.spares.borrow_mut();
        if (1..=SPARE_BYTES_MAX).contains(&spent.capacity()) && spares.len() < SPARES_MAX {
            spent.clear();
            spares.push(spent);
        }
    }
}

pub(super) struct Pipe {
    stream: TcpStream,
    tls: Option<Tls>,
    scratch: Scratch,
    /// Read, and not yet taken by h2.
    held: Vec<u8>,
    held_at: usize,
    /// Written by h2.
    out: Vec<u8>,
    /// What the socket gets of it.
    sending: Vec<u8>,
    sent: usize,
    starved: bool,
}

impl Pipe {
    pub(super) fn new(stream: TcpStream, scratch: Scratch, tls: Option<Tls>) -> Pipe {
        let (held, out, sending) = (Vec::new(), Vec::new(), Vec::new());
        Pipe { stream, tls, scratch, held, held_at: 0, out, sending, sent: 0, starved: false }
    }

    /// Over TLS: finds out who the server is. Nothing is to be written before.
    pub(super) fn shake_hands(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.flush(context))?;
            let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(())) };
            if !tls.is_shaking() {
                return Poll::Ready(match tls.speaks_http2() {
                    true => Ok(()),
                    false => Err(io::Error::other("the server does not speak HTTP/2")),
                });
            }
            let mut buffer = self.scratch.0.read.borrow_mut();
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            if read == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            tls.open(&buffer[..read], &mut self.held)?;
        }
    }

    /// Sends what is gathered.
    pub(super) fn flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.sent < self.sending.len() {
                let rest = &self.sending[self.sent..];
                let sent = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
                if sent == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.sent += sent;
            }
            self.sent = 0;
            self.scratch.give_back(std::mem::take(&mut self.sending));
            match &mut self.tls {
                None => self.sending = std::mem::take(&mut self.out),
                Some(tls) => {
                    self.sending = self.scratch.spare();
                    tls.seal(&self.out, &mut self.sending)?;
                    self.scratch.give_back(std::mem::take(&mut self.out));
                }
            }
            if self.sending.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
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
        loop {
            if !self.held.is_empty() {
                self.give_held(to);
                return Poll::Ready(Ok(()));
            }
            let mut buffer = self.scratch.0.read.borrow_mut();
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            match &mut self.tls {
                Some(tls) if read > 0 => tls.open(&buffer[..read], &mut self.held)?,
                Some(_) | None => {
                    let now = read.min(to.remaining());
                    to.put_slice(&buffer[..now]);
                    self.held.extend_from_slice(&buffer[now..read]);
                    return Poll::Ready(Ok(()));
                }
            }
        }
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
        if WRITE_BYTES <= pipe.out.len() && pipe.flush(context)?.is_pending() {
            pipe.starved = true;
            return Poll::Pending;
        }
        if pipe.out.capacity() == 0 {
            pipe.out = pipe.scratch.spare();
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
