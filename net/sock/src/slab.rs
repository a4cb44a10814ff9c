//! Owns the open calls of one core and their names. Knows no protocol.
//! Invariant: an id names at most one call, ever (until a slot was used 2^32 times).

use std::rc::Rc;

use h2::SendStream;
use h2::server::SendResponse;

use crate::body::Body;
use crate::bundle;
use crate::chunk::{CallMeter, Chunk, Prefix};
use crate::line::Line;
use crate::pack::Packing;
use crate::service::CallId;

/// How a call is answered.
pub(crate) enum Sink {
    /// HTTP/2, head not sent.
    Head(SendResponse<Chunk>),
    /// HTTP/2, head sent.
    Body(SendStream<Chunk>),
    /// HTTP/1.1: through the connection's queue.
    Http1,
}

/// Whether the answer may carry a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A gRPC call.
    Grpc,
    /// Any other method.
    Http,
    /// `HEAD`.
    HttpHeadOnly,
}

/// An open call.
pub(crate) struct Call {
    pub(crate) line: Rc<Line>,
    pub(crate) stream: u32,
    pub(crate) sink: Sink,
    pub(crate) answer: Answer,
    /// What is still to come from the client; absent while it is being read.
    pub(crate) body: Option<Box<Body>>,
    /// Made when the first part of a longer answer is queued.
    pub(crate) meter: Option<Rc<CallMeter>>,
    /// Message bytes announced by `begin` and not yet given.
    pub(crate) owed: u32,
    /// What to write before the next part.
    pub(crate) prefix: Option<Prefix>,
    /// Whether messages are packed.
    pub(crate) packing: Packing,
}

impl Call {
    /// Queues the small messages that wait, if there are any.
    pub(crate) fn send_bundle(&mut self) -> Result<(), h2::Error> {
        match (&mut self.sink, &self.meter) {
            (Sink::Body(stream), Some(meter)) => bundle::send(stream, meter),
            (Sink::Head(_) | Sink::Body(_) | Sink::Http1, _) => Ok(()),
        }
    }
}

struct Slot {
    generation: u32,
    call: Option<Call>,
}

/// The open calls of a core.
#[derive(Default)]
pub(crate) struct Slab {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Slab {
    pub(crate) fn insert(&mut self, call: Call) -> CallId {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.slots[slot as usize];
            assert!(entry.call.is_none());
            entry.call = Some(call);
            return CallId { slot, generation: entry.generation };
        }
        let slot = u32::try_from(self.slots.len()).expect("fewer calls than 2^32");
        self.slots.push(Slot { generation: 0, call: Some(call) });
        CallId { slot, generation: 0 }
    }

    pub(crate) fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.call.as_mut()
    }

    pub(crate) fn remove(&mut self, id: CallId) -> Option<Call> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let call = slot.call.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Peer;

    fn call() -> Call {
        Call {
            line: Rc::new(Line::new(Peer::Unix)),
            stream: 1,
            sink: Sink::Http1,
            answer: Answer::Http,
            body: None,
            meter: None,
            owed: 0,
            prefix: None,
            packing: Packing::Plain,
        }
    }

    #[test]
    fn an_id_dies_with_its_call() {
        let mut slab = Slab::default();
        let first = slab.insert(call());
        assert!(slab.get_mut(first).is_some());
        assert!(slab.remove(first).is_some());
        let second = slab.insert(call());
        assert_eq!(first.slot, second.slot);
        assert_ne!(first, second);
        assert!(slab.get_mut(first).is_none());
        assert!(slab.remove(first).is_none());
        assert_eq!(CallId::from_bits(second.to_bits()), second);
        assert!(slab.get_mut(CallId { slot: 7, generation: 0 }).is_none());
    }
}
