//! Owns the channels between cores: one bounded single-producer channel for each ordered pair.
//! Never looks into a message. Invariant: messages of one pair arrive in the order they were put,
//! and everything put in one turn crosses in as few sends as possible.

use std::cell::RefCell;
use std::rc::Rc;

use glommio::channels::shared_channel::{self, SharedReceiver, SharedSender};

use crate::wake::Bell;

/// Batches in flight between two cores before the sender's own queue grows.
const CHANNEL_BATCHES: usize = 256;

/// One core's unconnected ends, made before the cores start.
pub struct Ends<M: Send + 'static> {
    senders: Vec<Option<SharedSender<Vec<M>>>>,
    receivers: Vec<Option<SharedReceiver<Vec<M>>>>,
}

/// Makes the ends for `cores` cores; element `i` belongs to core `i`.
pub fn build<M: Send + 'static>(cores: usize) -> Vec<Ends<M>> {
    let mut ends: Vec<Ends<M>> = (0..cores)
        .map(|_| Ends {
            senders: (0..cores).map(|_| None).collect(),
            receivers: (0..cores).map(|_| None).collect(),
        })
        .collect();
    for from in 0..cores {
        for to in (0..cores).filter(|to| *to != from) {
            let (sender, receiver) = shared_channel::new_bounded(CHANNEL_BATCHES);
            ends[from].senders[to] = Some(sender);
            ends[to].receivers[from] = Some(receiver);
        }
    }
    ends
}

/// One core's connected side.
pub struct Mesh<M> {
    out: Vec<Option<Rc<Outgoing<M>>>>,
}

struct Outgoing<M> {
    queue: RefCell<Vec<M>>,
    bell: Bell,
}

impl<M: Send + 'static> Mesh<M> {
    /// Connects the ends on the current executor. `arrived` gets each batch with its sender.
    pub async fn connect(ends: Ends<M>, arrived: Rc<dyn Fn(usize, Vec<M>)>) -> Mesh<M> {
        let mut out = Vec::new();
        for sender in ends.senders {
            out.push(sender.map(|sender| {
                let outgoing =
                    Rc::new(Outgoing { queue: RefCell::new(Vec::new()), bell: Bell::default() });
                glommio::spawn_local(send_all(sender, outgoing.clone())).detach();
                outgoing
            }));
        }
        for (from, receiver) in ends.receivers.into_iter().enumerate() {
            if let Some(receiver) = receiver {
                let arrived = arrived.clone();
                glommio::spawn_local(async move {
                    let receiver = receiver.connect().await;
                    while let Some(batch) = receiver.recv().await {
                        arrived(from, batch);
                    }
                })
                .detach();
            }
        }
        Mesh { out }
    }

    /// Queues a message for another core. It leaves with everything else of this turn.
    pub fn put(&self, to: usize, message: M) {
        let outgoing = self.out[to].as_ref().expect("a core does not send to itself");
        outgoing.queue.borrow_mut().push(message);
        outgoing.bell.ring();
    }
}

async fn send_all<M: Send + 'static>(sender: SharedSender<Vec<M>>, outgoing: Rc<Outgoing<M>>) {
    let sender = sender.connect().await;
    loop {
        outgoing.bell.wait().await;
        let batch = std::mem::take(&mut *outgoing.queue.borrow_mut());
        if !batch.is_empty() && sender.send(batch).await.is_err() {
            // The other core has stopped; so does this one soon.
            return;
        }
    }
}
