//! Owns the waking of one connection's task. glommio counts a task's wakers in 16 bits and h2 keeps
//! clones of what it is polled with, so h2 gets a waker with a count of its own.
//! Invariant: a ring between two turns is never lost; during a turn it costs no wake.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};

#[derive(Debug, Default)]
pub(super) struct Bell {
    task: OnceLock<Waker>,
    in_turn: AtomicBool,
    rung: AtomicBool,
}

impl Bell {
    /// A turn of the task begins: rings are only noted.
    pub(super) fn begin_turn(&self, task: &Waker) {
        self.task.get_or_init(|| task.clone());
        self.in_turn.store(true, Ordering::Relaxed);
    }

    /// Whether anybody rang since the last call.
    pub(super) fn take(&self) -> bool {
        self.rung.swap(false, Ordering::Relaxed)
    }

    /// The turn is over: the next ring wakes the task.
    pub(super) fn end_turn(&self) {
        self.in_turn.store(false, Ordering::Relaxed);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let was_rung = self.rung.swap(true, Ordering::Relaxed);
        if !was_rung
            && !self.in_turn.load(Ordering::Relaxed)
            && let Some(task) = self.task.get()
        {
            task.wake_by_ref();
        }
    }
}
