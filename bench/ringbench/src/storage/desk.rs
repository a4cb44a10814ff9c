//! Owns requests that are under way on the server's disk shell, by number.
//! Invariant: a request that fails ends the measurement.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use base::{IoRequest, IoResult};
use disk::{DataDir, Disk};

#[derive(Default)]
struct Bell {
    rung: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

/// Requests under way.
pub(super) struct Desk {
    disk: Disk<u64>,
    bell: Rc<Bell>,
    next: u64,
}

impl Desk {
    pub(super) async fn open(dir: Arc<DataDir>) -> Result<Desk, String> {
        let bell = Rc::new(Bell::default());
        let ring = bell.clone();
        let wake = Rc::new(move || {
            ring.rung.set(true);
            if let Some(waiter) = ring.waiter.borrow_mut().take() {
                waiter.wake();
            }
        });
        let disk = Disk::start(dir, wake).await.map_err(|error| format!("the disk: {error:?}"))?;
        Ok(Desk { disk, bell, next: 0 })
    }

    /// Begins a request; its number.
    pub(super) fn submit(&mut self, request: IoRequest) -> u64 {
        self.next += 1;
        self.disk.submit(self.next, request);
        self.next
    }

    /// What has come back, waiting until something has.
    pub(super) async fn done(&mut self) -> Result<Vec<(u64, IoResult)>, String> {
        poll_fn(|context| match self.bell.rung.replace(false) {
            true => Poll::Ready(()),
            false => {
                *self.bell.waiter.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await;
        let done = self.disk.take_done();
        for (_, result) in &done {
            if let IoResult::Failed(error) = result {
                return Err(format!("the disk: {error:?}"));
            }
        }
        Ok(done)
    }

    /// One request, alone.
    pub(super) async fn carry(&mut self, request: IoRequest) -> Result<IoResult, String> {
        let number = self.submit(request);
        loop {
            for (done, result) in self.done().await? {
                if done == number {
                    return Ok(result);
                }
            }
        }
    }
}
