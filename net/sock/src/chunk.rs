//! Owns one piece of output: a gRPC prefix and a shared body, metered from the moment it is
//! queued to the moment it is copied to a socket buffer or dropped.
//! Never copies a body. Invariant: what a meter counts is exactly what its chunks have left.

use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::rc::Rc;

use bytes::{Buf, Bytes, BytesMut};

use crate::limits::{CALL_QUEUE_BYTES_HIGH, CALL_QUEUE_BYTES_LOW};
use crate::line::Line;
use crate::service::{CallId, Pressure};

/// Bytes before every gRPC message: a flag and a length.
pub(crate) const PREFIX_BYTES: usize = 5;

/// What stands before a message: whether it is packed, and its length as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    flag: u8,
    length: u32,
}

impl Prefix {
    /// Of a message as it is.
    pub(crate) fn plain(length: u32) -> Prefix {
        Prefix { flag: wire::grpc::FLAG_PLAIN, length }
    }

    /// Of a message in the call's encoding.
    pub(crate) fn packed(length: u32) -> Prefix {
        Prefix { flag: wire::grpc::FLAG_PACKED, length }
    }

    /// As it is sent.
    pub(crate) fn bytes(self) -> [u8; PREFIX_BYTES] {
        let [a, b, c, d] = self.length.to_be_bytes();
        [self.flag, a, b, c, d]
    }
}

/// What a call has queued.
#[derive(Debug)]
pub(crate) struct CallMeter {
    call: CallId,
    pub(crate) line: Rc<Line>,
    queued: Cell<usize>,
    full: Cell<bool>,
    /// Of what is queued, what still waits for the connection's turn.
    pub(crate) bundle: RefCell<BytesMut>,
}

impl CallMeter {
    pub(crate) fn new(call: CallId, line: Rc<Line>) -> CallMeter {
        CallMeter {
            call,
            line,
            queued: Cell::new(0),
            full: Cell::new(false),
            bundle: RefCell::default(),
        }
    }

    pub(crate) fn queued(&self) -> usize {
        self.queued.get()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.get()
    }

    /// What to tell whoever just queued something.
    pub(crate) fn pressure(&self) -> Pressure {
        if self.queued.get() >= CALL_QUEUE_BYTES_HIGH {
            self.full.set(true);
        }
        if self.full.get() { Pressure::Full } else { Pressure::Room }
    }

    /// Counts bytes in that do not travel as a [`Chunk`], or not yet.
    pub(crate) fn put(&self, bytes: usize) {
        self.queued.set(self.queued.get() + bytes);
        self.line.queue_grew(bytes);
    }

    /// Counts bytes out; a full call that falls low is reported to its connection.
    pub(crate) fn take(&self, bytes: usize) {
        assert!(bytes <= self.queued.get());
        self.queued.set(self.queued.get() - bytes);
        self.line.queue_shrank(bytes);
        if self.full.get() && self.queued.get() <= CALL_QUEUE_BYTES_LOW {
            self.full.set(false);
            self.line.call_drained(self.call);
        }
    }
}

/// Who counts a chunk: a whole reply needs no meter of its own.
#[derive(Debug)]
pub(crate) enum Meter {
    /// The connection alone.
    Line(Rc<Line>),
    /// The call, and through it the connection.
    Call(Rc<CallMeter>),
}

impl Meter {
    fn put(&self, bytes: usize) {
        match self {
            Meter::Line(line) => line.queue_grew(bytes),
            Meter::Call(call) => call.put(bytes),
        }
    }

    fn take(&self, bytes: usize) {
        match self {
            Meter::Line(line) => line.queue_shrank(bytes),
            Meter::Call(call) => call.take(bytes),
        }
    }
}

/// A piece of output: prefix (or none) and body.
#[derive(Debug)]
pub(crate) struct Chunk {
    prefix: [u8; PREFIX_BYTES],
    prefix_at: u8,
    body: Bytes,
    meter: Meter,
}

impl Chunk {
    /// A body alone.
    pub(crate) fn bare(body: Bytes, meter: Meter) -> Chunk {
        meter.put(body.len());
        Chunk::counted(body, meter)
    }

    /// A body alone that the meter has counted already.
    pub(crate) fn counted(body: Bytes, meter: Meter) -> Chunk {
        Chunk { prefix: [0; PREFIX_BYTES], prefix_at: PREFIX_BYTES as u8, body, meter }
    }

    /// The prefix of a message, and as much of the message as is in `body`.
    pub(crate) fn framed(prefix: Prefix, body: Bytes, meter: Meter) -> Chunk {
        meter.put(PREFIX_BYTES + body.len());
        Chunk { prefix: prefix.bytes(), prefix_at: 0, body, meter }
    }

    fn prefix_left(&self) -> &[u8] {
        &self.prefix[usize::from(self.prefix_at)..]
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.prefix_left().len() + self.body.len()
    }

    fn chunk(&self) -> &[u8] {
        let prefix = self.prefix_left();
        if prefix.is_empty() { &self.body } else { prefix }
    }

    fn chunks_vectored<'a>(&'a self, to: &mut [IoSlice<'a>]) -> usize {
        let parts = [self.prefix_left(), &self.body];
        let mut used = 0;
        for (slot, part) in to.iter_mut().zip(parts.into_iter().filter(|part| !part.is_empty())) {
            *slot = IoSlice::new(part);
            used += 1;
        }
        used
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining());
        let from_prefix = count.min(self.prefix_left().len());
        self.prefix_at += from_prefix as u8;
        self.body.advance(count - from_prefix);
        self.meter.take(count);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let left = self.remaining();
        if left > 0 {
            self.meter.take(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Peer;

    fn call_meter() -> (Rc<Line>, Rc<CallMeter>) {
        let line = Rc::new(Line::new(Peer::Unix));
        let call = CallId { slot: 1, generation: 2 };
        (line.clone(), Rc::new(CallMeter::new(call, line)))
    }

    #[test]
    fn a_chunk_reads_as_prefix_and_body_however_it_is_cut() {
        let (line, meter) = call_meter();
        for step in 1..12 {
            let body = Bytes::from_static(b"hello");
            let mut chunk = Chunk::framed(Prefix::plain(300), body, Meter::Call(meter.clone()));
            assert_eq!((meter.queued(), line.queued_bytes()), (10, 10));
            let mut read = Vec::new();
            while chunk.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 4];
                let used = chunk.chunks_vectored(&mut slices);
                let total: usize = slices[..used].iter().map(|slice| slice.len()).sum();
                assert_eq!(total, chunk.remaining());
                let count = step.min(chunk.chunk().len());
                read.extend_from_slice(&chunk.chunk()[..count]);
                chunk.advance(count);
                assert_eq!(meter.queued(), chunk.remaining());
            }
            assert_eq!(read, b"\0\0\0\x01\x2chello");
        }
    }

    #[test]
    fn a_dropped_chunk_leaves_nothing_on_the_meters() {
        let (line, meter) = call_meter();
        let mut chunk = Chunk::bare(Bytes::from_static(b"hello"), Meter::Call(meter.clone()));
        chunk.advance(2);
        drop(chunk);
        drop(Chunk::bare(Bytes::from_static(b"hello"), Meter::Line(line.clone())));
        assert_eq!((meter.queued(), line.queued_bytes()), (0, 0));
    }

    #[test]
    fn a_call_that_ends_leaves_nothing_of_its_bundle_on_the_line() {
        let (line, meter) = call_meter();
        meter.bundle.borrow_mut().extend_from_slice(b"small");
        meter.put(5);
        assert_eq!((meter.queued(), line.queued_bytes()), (5, 5));
        drop(meter);
        assert_eq!(line.queued_bytes(), 0);
    }

    #[test]
    fn a_full_call_is_reported_once_when_it_is_low() {
        let (line, meter) = call_meter();
        let chunk = |size| Chunk::bare(Bytes::from(vec![0; size]), Meter::Call(meter.clone()));
        let low = chunk(CALL_QUEUE_BYTES_LOW);
        assert_eq!(meter.pressure(), Pressure::Room);
        let high = chunk(CALL_QUEUE_BYTES_HIGH - CALL_QUEUE_BYTES_LOW);
        assert_eq!(meter.pressure(), Pressure::Full);
        assert_eq!(line.pop_drained(), None);
        drop(high);
        assert_eq!(line.pop_drained(), Some(CallId { slot: 1, generation: 2 }));
        assert_eq!(meter.pressure(), Pressure::Room);
        drop(low);
        assert_eq!(line.pop_drained(), None);
    }
}
