//! Owns one core's network as a whole: its connections' tasks, its clock, its orderly stop.
//! Never decides which core a connection belongs to. Invariant: after `stop`, no connection is
//! left on this core.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};

use crate::conn::{Conn, millis};
use crate::hub::{Core, Hub};
use crate::limits::TICK_MS;
use crate::listen::{Acceptor, Arrival};
use crate::service::{Peer, Service};

/// How often `stop` looks whether everybody has left.
const STOP_LOOK: Duration = Duration::from_millis(5);

/// One core's network.
#[derive(Clone)]
pub struct Server {
    hub: Hub,
    service: Rc<dyn Service>,
}

/// Those who wait for the stop to begin.
#[derive(Default)]
pub(crate) struct StopWaiters(RefCell<Vec<Waker>>);

impl Server {
    /// Starts the clock of this core's network. Runs on a glommio executor.
    pub fn new(hub: Hub, service: Rc<dyn Service>) -> Server {
        if !hub.0.ticking.replace(true) {
            glommio::spawn_local(tick(Rc::downgrade(&hub.0))).detach();
        }
        Server { hub, service }
    }

    /// Serves a connection on this core.
    pub fn adopt(&self, arrival: Arrival) {
        let Arrival { stream, peer, ticket } = arrival;
        let serving = self.connection(stream, peer);
        let task = async move {
            serving.await;
            drop(ticket);
        };
        glommio::spawn_local(task).detach();
    }

    /// The task of one connection over any stream (TLS, a test's pipe).
    pub fn connection<S>(&self, stream: S, peer: Peer) -> impl Future<Output = ()> + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        Conn::new(stream, peer, self.hub.clone(), self.service.clone())
    }

    /// Connections open on this core.
    pub fn connections(&self) -> usize {
        self.hub.0.roster.borrow().count()
    }

    /// Accepts and serves on this core until the stop begins; then stops listening.
    pub async fn serve(&self, acceptor: Acceptor) {
        let accept = async {
            loop {
                let arrival = acceptor.next().await;
                self.adopt(arrival);
            }
        };
        futures_lite::future::or(accept, self.stopping()).await;
    }

    /// Waits until the stop begins.
    pub async fn stopping(&self) {
        let core = &self.hub.0;
        poll_fn(|context| {
            if core.stopping.get() {
                return Poll::Ready(());
            }
            core.stop_waiters.0.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Stops in order: no new connections, GOAWAY to all, at most `grace` for open calls to end,
    /// then closes what is left. The daemon ends its own long streams meanwhile.
    pub async fn stop(&self, grace: Duration) {
        let core = &self.hub.0;
        core.stopping.set(true);
        for waiter in core.stop_waiters.0.take() {
            waiter.wake();
        }
        core.roster.borrow().ring_all();
        let end_ms = core.exact_ms().saturating_add(millis(grace));
        while self.connections() > 0 && core.exact_ms() < end_ms {
            glommio::timer::sleep(STOP_LOOK).await;
        }
        core.aborting.set(true);
        core.roster.borrow().ring_all();
        while self.connections() > 0 {
            glommio::timer::sleep(STOP_LOOK).await;
        }
    }
}

/// Moves the core's clock on and rings connections whose time has come.
async fn tick(core: std::rc::Weak<Core>) {
    loop {
        glommio::timer::sleep(Duration::from_millis(TICK_MS)).await;
        let Some(core) = core.upgrade() else { return };
        core.now_ms.set(core.exact_ms());
        core.roster.borrow().ring_due(core.now_ms.get());
    }
}
