//! Owns the wake of one task on one core: whoever has something for it knocks.
//! Invariant: a knock before the task waits is not lost.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
pub(super) struct Knock {
    knocked: Cell<bool>,
    task: RefCell<Option<Waker>>,
}

impl Knock {
    pub(super) fn knock(&self) {
        self.knocked.set(true);
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    /// Whether somebody knocked since the last answer of yes; wakes the task if not yet.
    pub(super) fn poll(&self, context: &Context<'_>) -> bool {
        let knocked = self.knocked.replace(false);
        if !knocked {
            let mut task = self.task.borrow_mut();
            match &mut *task {
                Some(known) if known.will_wake(context.waker()) => {}
                task => *task = Some(context.waker().clone()),
            }
        }
        knocked
    }

    /// Whoever knocked so far did not mean it.
    pub(super) fn forget(&self) {
        self.knocked.set(false);
    }

    pub(super) async fn wait(&self) {
        poll_fn(|context| if self.poll(context) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}
