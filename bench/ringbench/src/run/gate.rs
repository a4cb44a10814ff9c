//! Owns who may send when, in an open loop: intended times in order, to clients that are free.
//! Invariant: every intended time goes to one client; one that is late goes to the next that is
//! free.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use measure::{Latency, Schedule};

use super::shared::Shared;

/// Longest sleep of the dispatcher: how soon it notices that the run ends.
const SLEEP_MAX: Duration = Duration::from_millis(50);

pub(super) struct Gate {
    schedule: RefCell<Schedule>,
    from_ns: u64,
    idle: RefCell<VecDeque<Waker>>,
    /// The dispatcher, when it waits for a free client.
    dispatcher: RefCell<Option<Waker>>,
    closed: Cell<bool>,
    /// How late free clients were sent out.
    pub(super) late: RefCell<Latency>,
}

impl Gate {
    /// Times count from `from_ns` of the run.
    pub(super) fn new(schedule: Schedule, from_ns: u64) -> Gate {
        Gate {
            schedule: RefCell::new(schedule),
            from_ns,
            idle: RefCell::default(),
            dispatcher: RefCell::default(),
            closed: Cell::new(false),
            late: RefCell::default(),
        }
    }

    /// The next intended time that has come; None when the gate is closed.
    pub(super) async fn take(&self, shared: &Shared) -> Option<u64> {
        let mut waited = false;
        poll_fn(|context| {
            if self.closed.get() {
                return Poll::Ready(None);
            }
            let mut schedule = self.schedule.borrow_mut();
            let intended_ns = self.from_ns + schedule.next_ns();
            let now_ns = shared.now_ns();
            if intended_ns <= now_ns {
                schedule.advance();
                if waited {
                    self.late.borrow_mut().record(now_ns - intended_ns);
                }
                return Poll::Ready(Some(intended_ns));
            }
            waited = true;
            self.idle.borrow_mut().push_back(context.waker().clone());
            if let Some(dispatcher) = self.dispatcher.borrow_mut().take() {
                dispatcher.wake();
            }
            Poll::Pending
        })
        .await
    }

    /// Sends everybody home.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.idle.borrow_mut().drain(..).for_each(Waker::wake);
        if let Some(dispatcher) = self.dispatcher.borrow_mut().take() {
            dispatcher.wake();
        }
    }

    /// Wakes free clients when their time comes, until the gate is closed.
    pub(super) async fn dispatch(self: Rc<Gate>, shared: &Shared) {
        while !self.closed.get() {
            if shared.is_ending() {
                return self.close();
            }
            let next_ns = self.from_ns + self.schedule.borrow().next_ns();
            let now_ns = shared.now_ns();
            if now_ns < next_ns {
                let wait = Duration::from_nanos(next_ns - now_ns);
                glommio::timer::sleep(wait.min(SLEEP_MAX)).await;
                continue;
            }
            let free = self.idle.borrow_mut().pop_front();
            match free {
                Some(client) => {
                    client.wake();
                    futures_lite::future::yield_now().await;
                }
                None => self.somebody_free().await,
            }
        }
    }

    async fn somebody_free(&self) {
        let mut asked = false;
        poll_fn(|context| {
            if asked || self.closed.get() || !self.idle.borrow().is_empty() {
                return Poll::Ready(());
            }
            asked = true;
            *self.dispatcher.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
