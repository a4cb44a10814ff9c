//! Owns the calls that the process makes to its own shard, for pages such as `/health`.
//! Invariant: an inside call's number never equals one of the network's, and each is answered once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use bytes::Bytes;
use node::CallId;
use wire::Status;

/// The network's call numbers are a slot and a generation; no slot has this bit in reach.
const INSIDE: u64 = 1 << 31;

type Then = Box<dyn FnOnce(Result<Bytes, Status>)>;

/// Inside calls of one core.
#[derive(Default)]
pub struct Inside {
    waiting: RefCell<BTreeMap<CallId, Then>>,
    next: Cell<u64>,
}

impl Inside {
    /// Whether the number is one of ours.
    pub fn owns(call: CallId) -> bool {
        call.0 & INSIDE != 0
    }

    /// A new number; `then` gets the answer.
    pub fn begin(&self, then: Then) -> CallId {
        self.next.set(self.next.get() + 1);
        let number = self.next.get();
        let call = CallId((number >> 31) << 32 | INSIDE | (number & (INSIDE - 1)));
        self.waiting.borrow_mut().insert(call, then);
        call
    }

    /// The answer.
    pub fn reply(&self, call: CallId, message: Bytes) {
        self.end(call, Ok(message));
    }

    /// No answer.
    pub fn fail(&self, call: CallId, status: Status) {
        self.end(call, Err(status));
    }

    fn end(&self, call: CallId, result: Result<Bytes, Status>) {
        let then = self.waiting.borrow_mut().remove(&call);
        then.expect("every inside call is answered once")(result);
    }
}
