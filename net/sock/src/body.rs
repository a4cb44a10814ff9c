//! Owns what is still to come from the client of one HTTP/2 call, and turns DATA into messages.
//! Never answers. Invariant: bytes that wait here for their message are counted in the
//! connection's `assembling_bytes`, and leave that count when the body is dropped.

use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use wire::grpc::Decoder;
use wire::{Code, Status};

use crate::hub::Core;
use crate::limits::{ASSEMBLING_BYTES_MAX, CONNECTION_ASSEMBLING_BYTES_MAX};
use crate::line::Line;
use crate::service::{CallHead, HttpRequest};

/// What the bytes are for.
pub(crate) enum Kind {
    /// Exactly one message, handed over with the end of the stream.
    Unary { method: u16, head: CallHead, message: Option<Bytes>, decoder: Decoder },
    /// Messages as they come.
    Stream { decoder: Decoder },
    /// Everything, handed over at the end.
    Http { request: Option<Box<HttpRequest>>, bytes: BytesMut },
}

/// The inbound half of a call.
pub(crate) struct Body {
    pub(crate) kind: Kind,
    recv: RecvStream,
    over: bool,
    waiting: Waiting,
}

/// What one look at the stream brought.
pub(crate) enum Next {
    /// Nothing more now.
    Later,
    /// A chunk.
    Data(Bytes),
    /// The client is done.
    End,
    /// The stream was reset or its connection failed.
    Gone,
}

impl Body {
    pub(crate) fn new(kind: Kind, recv: RecvStream, core: &Rc<Core>, line: &Rc<Line>) -> Body {
        let waiting = Waiting { core: core.clone(), line: line.clone(), bytes: 0 };
        Body { kind, recv, over: false, waiting }
    }

    /// Takes what has arrived. The connection knows from the frame headers which streams to look
    /// at, so h2 is given a waker that does nothing.
    pub(crate) fn next(&mut self) -> Next {
        if self.over {
            return Next::End;
        }
        let mut context = Context::from_waker(Waker::noop());
        match self.recv.poll_data(&mut context) {
            Poll::Pending => Next::Later,
            Poll::Ready(None) => Next::End,
            Poll::Ready(Some(Err(_))) => Next::Gone,
            Poll::Ready(Some(Ok(data))) => {
                self.over = self.recv.is_end_stream();
                // What is taken is gone from the window; memory is bounded by `Waiting`. The end of
                // the call gives back what its last chunk took.
                if !self.over && self.recv.flow_control().release_capacity(data.len()).is_err() {
                    return Next::Gone;
                }
                Next::Data(data)
            }
        }
    }

    /// Counts what waits now; refuses when the memory for it is used up.
    pub(crate) fn account(&mut self) -> Result<(), Status> {
        let bytes = match &self.kind {
            Kind::Unary { decoder, message, .. } => {
                decoder.buffered() + message.as_ref().map_or(0, Bytes::len)
            }
            Kind::Stream { decoder } => decoder.buffered(),
            Kind::Http { bytes, .. } => bytes.len(),
        };
        self.waiting.set(bytes)
    }
}

/// A share of the memory for unfinished requests.
struct Waiting {
    core: Rc<Core>,
    line: Rc<Line>,
    bytes: usize,
}

impl Waiting {
    fn set(&mut self, bytes: usize) -> Result<(), Status> {
        if bytes == self.bytes {
            return Ok(());
        }
        let of_line = self.line.assembling_bytes.get() - self.bytes + bytes;
        let of_core = self.core.assembling_bytes.get() - self.bytes + bytes;
        self.line.assembling_bytes.set(of_line);
        self.core.assembling_bytes.set(of_core);
        self.bytes = bytes;
        match of_line <= CONNECTION_ASSEMBLING_BYTES_MAX && of_core <= ASSEMBLING_BYTES_MAX {
            true => Ok(()),
            false => Err(Status::new(Code::ResourceExhausted, "etcdserver: too many requests")),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.set(0);
        assert!(self.bytes == 0);
    }
}
