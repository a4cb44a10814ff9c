//! Owns the bell that wakes a core's loop. Single-threaded.
//! Invariant: a ring between two waits is never lost; many rings are one wake.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// A bell for one waiter.
#[derive(Default)]
pub struct Bell {
    rung: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

impl Bell {
    /// Wakes the waiter, now or when it next waits.
    pub fn ring(&self) {
        if !self.rung.replace(true)
            && let Some(waiter) = self.waiter.borrow_mut().take()
        {
            waiter.wake();
        }
    }

    /// Whether it was rung since the last wait.
    pub fn is_rung(&self) -> bool {
        self.rung.get()
    }

    /// Waits for a ring since the last wait.
    pub async fn wait(&self) {
        poll_fn(|context| {
            if self.rung.replace(false) {
                return Poll::Ready(());
            }
            *self.waiter.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
