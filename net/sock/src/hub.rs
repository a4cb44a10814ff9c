//! Owns the open calls of one core and the verbs that answer them. Single-threaded; never touches
//! a socket: it queues, and rings the connection that sends.
//! Invariant: a verb on a call that is over does nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use h2::SendStream;
use wire::{Code, Status};

use crate::body::Kind;
use crate::bundle::{self, Bundled};
use crate::chunk::{CallMeter, Chunk, Meter, Prefix};
use crate::heads::Heads;
use crate::limits::{DATA_BYTES_MAX, READ_BYTES, WRITE_BUFFERS_SPARE};
use crate::options::Options;
use crate::pack::{Gathered, Packers};
use crate::roster::Roster;
use crate::server::StopWaiters;
use crate::service::{CallId, Pressure, Service};
use crate::slab::{Answer, Call, Sink, Slab};
use crate::stats::{self, Counters, Stats};

/// Everything that the connections of one core share.
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) counters: Counters,
    pub(crate) heads: Heads,
    pub(crate) packers: Packers,
    pub(crate) calls: RefCell<Slab>,
    pub(crate) roster: RefCell<Roster>,
    /// Where `recv` puts bytes; empty between turns.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// Milliseconds since the core began, moved on by the ticker.
    pub(crate) now_ms: Cell<u64>,
    pub(crate) assembling_bytes: Cell<usize>,
    pub(crate) stopping: Cell<bool>,
    pub(crate) aborting: Cell<bool>,
    pub(crate) ticking: Cell<bool>,
    pub(crate) stop_waiters: StopWaiters,
    pub(crate) epoch: std::time::Instant,
    spare: RefCell<Vec<Vec<u8>>>,
}

impl Core {
    /// Milliseconds since the core began, read from the clock.
    pub(crate) fn exact_ms(&self) -> u64 {
        crate::conn::millis(self.epoch.elapsed())
    }

    /// Gives up a call whose client or connection is no more, and tells the service if it was
    /// told of the call before.
    pub(crate) fn forsake(&self, service: &dyn Service, id: CallId) {
        let Some(call) = self.remove(id) else { return };
        stats::add(&self.counters.calls_gone, 1);
        let is_known = match call.body.as_ref().map(|body| &body.kind) {
            None | Some(Kind::Stream { .. }) => true,
            Some(Kind::Unary { .. } | Kind::Http { .. }) => false,
        };
        drop(call);
        if is_known {
            service.gone(id);
        }
    }

    /// An empty output buffer.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes an output buffer back.
    pub(crate) fn recycle(&self, mut buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < WRITE_BUFFERS_SPARE && buffer.capacity() > 0 {
            buffer.clear();
            spare.push(buffer);
        }
    }

    pub(crate) fn insert(&self, call: Call) -> CallId {
        let (line, stream) = (call.line.clone(), call.stream);
        let id = self.calls.borrow_mut().insert(call);
        line.calls.borrow_mut().insert(stream, id);
        stats::add(&self.counters.calls_opened, 1);
        stats::add(&self.counters.calls_now, 1);
        id
    }

    pub(crate) fn remove(&self, id: CallId) -> Option<Call> {
        let call = self.calls.borrow_mut().remove(id)?;
        call.line.calls.borrow_mut().remove(&call.stream);
        stats::sub(&self.counters.calls_now, 1);
        Some(call)
    }
}

/// The answering side of one core's network. Cheap to clone.
#[derive(Clone)]
pub struct Hub(pub(crate) Rc<Core>);

impl Hub {
    /// A hub with no connections.
    pub fn new(options: Options) -> Hub {
        Hub(Rc::new(Core {
            options,
            counters: Counters::default(),
            heads: Heads::new(),
            packers: Packers::default(),
            calls: RefCell::default(),
            roster: RefCell::default(),
            scratch: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            now_ms: Cell::new(0),
            assembling_bytes: Cell::new(0),
            stopping: Cell::new(false),
            aborting: Cell::new(false),
            ticking: Cell::new(false),
            stop_waiters: StopWaiters::default(),
            epoch: std::time::Instant::now(),
            spare: RefCell::default(),
        }))
    }

    /// Connections open on this core.
    pub fn connections(&self) -> usize {
        self.0.roster.borrow().count()
    }

    /// The counters as they stand.
    pub fn stats(&self) -> Stats {
        self.0.counters.read()
    }

    /// Ends a unary call well: head, message and trailers in one go.
    pub fn reply(&self, call: CallId, message: Bytes) {
        let Some(mut call) = self.0.remove(call) else { return };
        assert!(call.answer == Answer::Grpc);
        assert!(call.owed == 0);
        let Some(mut stream) = self.head(&mut call) else { return };
        call.line.call_finished();
        let meter = Meter::Line(call.line.clone());
        let (prefix, body) = self.0.packers.frame(&call.packing, message);
        if send_framed(&mut stream, prefix, body, || clone_meter(&meter)).is_ok() {
            let _ = stream.send_trailers(self.0.heads.trailers(&Status::OK));
        }
    }

    /// Ends a call with an error. Nothing that was queued before is lost.
    pub fn fail(&self, call: CallId, code: Code, message: &str) {
        assert!(code != Code::Ok);
        self.finish(call, &Status::new(code, message.to_owned()));
    }

    /// Ends a call, well or not, after everything that was sent.
    pub fn finish(&self, call: CallId, status: &Status) {
        let Some(mut call) = self.0.remove(call) else { return };
        assert!(call.answer == Answer::Grpc);
        assert!(call.owed == 0 || status.code != Code::Ok);
        call.line.call_finished();
        if call.send_bundle().is_err() {
            return;
        }
        match call.sink {
            Sink::Head(mut respond) => {
                let _ = respond.send_response(self.0.heads.trailers_only(status), true);
            }
            Sink::Body(mut stream) => {
                let _ = stream.send_trailers(self.0.heads.trailers(status));
            }
            Sink::Http1 => unreachable!("gRPC over HTTP/1.1"),
        }
    }

    /// Queues one message of a stream.
    pub fn send(&self, call: CallId, message: Bytes) -> Pressure {
        let length = u32::try_from(message.len()).expect("gRPC messages are below 4 GiB");
        match self.begin(call, length) {
            Pressure::Gone => Pressure::Gone,
            Pressure::Room | Pressure::Full => self.part(call, message),
        }
    }

    /// Announces a message that is given in parts; their sum must be `message_bytes`.
    pub fn begin(&self, call: CallId, message_bytes: u32) -> Pressure {
        let mut calls = self.0.calls.borrow_mut();
        let Some(entry) = calls.get_mut(call) else { return Pressure::Gone };
        assert!(entry.answer == Answer::Grpc);
        assert!(entry.owed == 0);
        assert!(entry.prefix.is_none());
        entry.owed = message_bytes;
        entry.prefix = Some(Prefix::plain(message_bytes));
        entry.packing.begin(message_bytes);
        Pressure::Room
    }

    /// Queues the next part of the message that `begin` announced.
    pub fn part(&self, call: CallId, part: Bytes) -> Pressure {
        let mut calls = self.0.calls.borrow_mut();
        let Some(entry) = calls.get_mut(call) else { return Pressure::Gone };
        assert!(part.len() <= entry.owed as usize);
        entry.owed -= part.len() as u32;
        let (prefix, part) = match entry.packing.gather(part, entry.owed) {
            Gathered::Not(part) => (entry.prefix.take(), part),
            Gathered::Unfinished => return Pressure::Room,
            Gathered::Whole(message) => {
                let (prefix, packed) = self.0.packers.pack(&message);
                entry.prefix = None;
                (Some(prefix), packed)
            }
        };
        match self.queue(call, entry, prefix, part) {
            Ok(pressure) => pressure,
            Err(_) => {
                drop(calls);
                self.lost(call)
            }
        }
    }

    /// What the call has queued and not yet handed to the connection.
    pub fn queued_bytes(&self, call: CallId) -> usize {
        let mut calls = self.0.calls.borrow_mut();
        let meter = calls.get_mut(call).and_then(|entry| entry.meter.as_ref());
        meter.map_or(0, |meter| meter.queued())
    }

    fn queue(
        &self,
        call: CallId,
        entry: &mut Call,
        prefix: Option<Prefix>,
        part: Bytes,
    ) -> Result<Pressure, h2::Error> {
        let line = entry.line.clone();
        let meter = entry.meter.get_or_insert_with(|| Rc::new(CallMeter::new(call, line))).clone();
        if let Sink::Head(respond) = &mut entry.sink {
            let head = self.0.heads.head(entry.packing.encoding());
            entry.sink = Sink::Body(respond.send_response(head, false)?);
        }
        let Sink::Body(stream) = &mut entry.sink else { unreachable!("gRPC over HTTP/1.1") };
        let begins = meter.bundle.borrow().is_empty();
        match bundle::add(stream, &meter, prefix, &part, entry.owed)? {
            Bundled::Yes if begins => entry.line.bundle_begun(call),
            Bundled::Yes => {}
            Bundled::No => {
                bundle::send(stream, &meter)?;
                let meter = || Meter::Call(meter.clone());
                match prefix {
                    Some(prefix) => send_framed(stream, prefix, part, meter)?,
                    None => send_bare(stream, part, meter)?,
                }
            }
        }
        Ok(meter.pressure())
    }

    /// h2 has no use for this stream any more: a reset that is still to be reported.
    pub(crate) fn lost(&self, call: CallId) -> Pressure {
        if self.0.remove(call).is_some() {
            stats::add(&self.0.counters.calls_gone, 1);
        }
        Pressure::Gone
    }

    fn head(&self, call: &mut Call) -> Option<SendStream<Chunk>> {
        let head = self.0.heads.head(call.packing.encoding());
        match &mut call.sink {
            Sink::Head(respond) => respond.send_response(head, false).ok(),
            Sink::Body(_) => unreachable!("reply() after send()"),
            Sink::Http1 => unreachable!("gRPC over HTTP/1.1"),
        }
    }
}

fn clone_meter(meter: &Meter) -> Meter {
    match meter {
        Meter::Line(line) => Meter::Line(line.clone()),
        Meter::Call(call) => Meter::Call(call.clone()),
    }
}

/// A prefix and the first part behind it. Parts are cut so that no DATA frame exceeds
/// [`DATA_BYTES_MAX`], even if the peer would take more.
fn send_framed(
    stream: &mut SendStream<Chunk>,
    prefix: Prefix,
    mut part: Bytes,
    meter: impl Fn() -> Meter,
) -> Result<(), h2::Error> {
    let first = part.split_to(part.len().min(DATA_BYTES_MAX - crate::chunk::PREFIX_BYTES));
    stream.send_data(Chunk::framed(prefix, first, meter()), false)?;
    send_bare(stream, part, meter)
}

pub(crate) fn send_bare(
    stream: &mut SendStream<Chunk>,
    mut part: Bytes,
    meter: impl Fn() -> Meter,
) -> Result<(), h2::Error> {
    while !part.is_empty() {
        let piece = part.split_to(part.len().min(DATA_BYTES_MAX));
        stream.send_data(Chunk::bare(piece, meter()), false)?;
    }
    Ok(())
}
