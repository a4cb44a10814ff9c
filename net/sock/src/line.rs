//! Owns what a connection shares with the core's hub: its open calls, what it has queued, and
//! the bell that starts its next turn. Never touches the socket.
//! Invariant: a ring between two turns is never lost, and during a turn it costs no wake.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::chunk::CallMeter;
use crate::service::{CallId, Peer};

/// No deadline.
pub(crate) const NEVER_MS: u64 = u64::MAX;

/// Wakes the task of one connection. The executor counts the wakers of a task in 16 bits, and
/// h2 keeps clones of what it is given; so it is given this, which has a count of its own.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    task: OnceLock<Waker>,
    in_turn: AtomicBool,
    rung: AtomicBool,
}

impl Bell {
    /// A turn begins: rings are only noted from here on.
    pub(crate) fn begin_turn(&self, task: &Waker) {
        self.task.get_or_init(|| task.clone());
        self.in_turn.store(true, Ordering::Relaxed);
    }

    /// The turn is over: the next ring wakes the task.
    pub(crate) fn end_turn(&self) {
        self.in_turn.store(false, Ordering::Relaxed);
    }

    /// Forgets rings so far.
    pub(crate) fn silence(&self) {
        self.rung.store(false, Ordering::Relaxed);
    }

    /// Whether anybody rang since it was silenced.
    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed)
    }

    /// Starts the next turn, now or when this one ends.
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::Relaxed);
        if !self.in_turn.load(Ordering::Relaxed)
            && let Some(task) = self.task.get()
        {
            task.wake_by_ref();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// One step of an HTTP/1.1 answer, not yet written.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Status and fields; the body's length if it is known.
    Head { status: StatusCode, headers: Box<HeaderMap>, length: Option<u64> },
    /// A piece of the body.
    Body(Bytes, Rc<CallMeter>),
    /// The answer is complete.
    End,
    /// The answer cannot be completed: the connection must end.
    Abort,
}

/// What a connection shares with the hub.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) peer: Peer,
    pub(crate) bell: Arc<Bell>,
    /// Open calls by stream id; an HTTP/1.1 connection has at most one, under 0.
    pub(crate) calls: RefCell<BTreeMap<u32, CallId>>,
    /// HTTP/1.1 output.
    pub(crate) outgoing: RefCell<VecDeque<Outgoing>>,
    /// When the connection wants a turn although nothing happens; milliseconds of the core.
    pub(crate) due_ms: Cell<u64>,
    /// Unfinished request bodies.
    pub(crate) assembling_bytes: Cell<usize>,
    /// Whether answers went out since the last look; it forgives pings.
    pub(crate) answered: Cell<bool>,
    /// Calls answered since the last look; each earns the right to a reset.
    pub(crate) finished: Cell<u32>,
    queued_bytes: Cell<usize>,
    drained: RefCell<Vec<CallId>>,
    /// Calls with a bundle that waits for the next turn.
    bundles: RefCell<VecDeque<CallId>>,
}

impl Line {
    pub(crate) fn new(peer: Peer) -> Line {
        Line {
            peer,
            bell: Arc::default(),
            calls: RefCell::default(),
            outgoing: RefCell::default(),
            due_ms: Cell::new(NEVER_MS),
            assembling_bytes: Cell::new(0),
            answered: Cell::new(false),
            finished: Cell::new(0),
            queued_bytes: Cell::new(0),
            drained: RefCell::default(),
            bundles: RefCell::default(),
        }
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes.get()
    }

    pub(crate) fn queue_grew(&self, bytes: usize) {
        self.queued_bytes.set(self.queued_bytes.get() + bytes);
    }

    pub(crate) fn queue_shrank(&self, bytes: usize) {
        assert!(bytes <= self.queued_bytes.get());
        self.queued_bytes.set(self.queued_bytes.get() - bytes);
        self.answered.set(true);
    }

    /// A call of this connection was answered to the end.
    pub(crate) fn call_finished(&self) {
        self.answered.set(true);
        self.finished.set(self.finished.get().saturating_add(1));
    }

    /// Forgets HTTP/1.1 output that nobody will send.
    pub(crate) fn clear_outgoing(&self) {
        let outgoing = std::mem::take(&mut *self.outgoing.borrow_mut());
        for step in outgoing {
            match step {
                Outgoing::Body(bytes, meter) => meter.take(bytes.len()),
                Outgoing::Head { .. } | Outgoing::End | Outgoing::Abort => {}
            }
        }
    }

    pub(crate) fn call_drained(&self, call: CallId) {
        self.drained.borrow_mut().push(call);
        self.bell.ring();
    }

    /// A call has bundled its first small message.
    pub(crate) fn bundle_begun(&self, call: CallId) {
        self.bundles.borrow_mut().push_back(call);
        self.bell.ring();
    }

    /// The first of the calls with a bundle, if any.
    pub(crate) fn pop_bundle(&self) -> Option<CallId> {
        self.bundles.borrow_mut().pop_front()
    }

    /// A call that has room again, if any.
    pub(crate) fn pop_drained(&self) -> Option<CallId> {
        self.drained.borrow_mut().pop()
    }
}
