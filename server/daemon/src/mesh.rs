//! Owns the ways between cores: one queue for each ordered pair, one flag and one bell for each
//! core. Never looks into a message. Invariant: messages of one pair arrive in the order they were
//! put, all of one turn at once; whatever was put is taken in before the other core does anything
//! else, whenever it next does something.
//!
//! To wake a core that sleeps costs 10 to 20 us on both sides, more than most messages are worth.
//! So a message says whether it can wait: then it lies in the queue until the other core wakes for
//! its own reasons, until so much lies there that it is woken for that, or for its next tick.
//!
//! ```text
//!   put ──> queue ── flag raised ──> [ bell, if somebody should wake ]
//!                         └── looked at before anything else: take ──> messages
//! ```

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::mpsc;

use glommio::channels::shared_channel::{self, SharedReceiver, SharedSender};

use crate::wake::Bell;

/// Messages that can wait lie there at most so many, and then the core is woken.
const WAITING_MAX: u32 = 64;
/// And so many bytes.
const WAITING_BYTES_MAX: usize = 64 << 10;

/// Whether a message is worth waking a core for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// It is.
    Now,
    /// It can wait for others; so many bytes of memory wait with it.
    CanWait {
        /// Roughly.
        bytes: usize,
    },
}

/// Whether somebody on a core waits for messages that could wait otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// Nobody does.
    None,
    /// They are worth waking the core for.
    Paid,
}

/// What all cores see of one core.
#[derive(Default)]
struct Flags {
    /// Something lies in a queue of its.
    mail: AtomicBool,
    /// Somebody there waits for messages that could wait otherwise.
    attentive: AtomicBool,
}

/// Where one core puts batches for another, and how it rings.
type Sending<M> = (mpsc::Sender<Vec<M>>, SharedSender<()>);
/// Where the other takes them, and hears the rings.
type Receiving<M> = (mpsc::Receiver<Vec<M>>, SharedReceiver<()>);

/// One core's unconnected ends, made before the cores start.
pub struct Ends<M: Send + 'static> {
    own: usize,
    flags: Arc<[Flags]>,
    senders: Vec<Option<Sending<M>>>,
    receivers: Vec<Option<Receiving<M>>>,
}

/// Makes the ends for `cores` cores; element `i` belongs to core `i`.
pub fn build<M: Send + 'static>(cores: usize) -> Vec<Ends<M>> {
    let flags: Arc<[Flags]> = (0..cores).map(|_| Flags::default()).collect();
    let mut ends: Vec<Ends<M>> = (0..cores)
        .map(|own| Ends {
            own,
            flags: flags.clone(),
            senders: (0..cores).map(|_| None).collect(),
            receivers: (0..cores).map(|_| None).collect(),
        })
        .collect();
    for from in 0..cores {
        for to in (0..cores).filter(|to| *to != from) {
            let (sender, receiver) = mpsc::channel();
            // One ring is enough: who has not heard it yet will look afterwards.
            let (ring, rung) = shared_channel::new_bounded(1);
            ends[from].senders[to] = Some((sender, ring));
            ends[to].receivers[from] = Some((receiver, rung));
        }
    }
    ends
}

/// One core's connected side.
pub struct Mesh<M> {
    own: usize,
    flags: Arc<[Flags]>,
    out: Vec<Option<Outgoing<M>>>,
    queues: Vec<(usize, mpsc::Receiver<Vec<M>>)>,
}

struct Outgoing<M> {
    queue: RefCell<Vec<M>>,
    sender: mpsc::Sender<Vec<M>>,
    bell: Rc<Bell>,
    hurries: Cell<bool>,
    /// What of the queue can wait.
    patient: Cell<Heap>,
    /// What waits in the other core's mail, as far as it came from here.
    waiting: Cell<Heap>,
}

/// Messages that can wait.
#[derive(Clone, Copy, Default)]
struct Heap {
    messages: u32,
    bytes: usize,
}

impl Heap {
    fn and(self, more: Heap) -> Heap {
        Heap { messages: self.messages + more.messages, bytes: self.bytes + more.bytes }
    }

    fn is_much(self) -> bool {
        WAITING_MAX <= self.messages || WAITING_BYTES_MAX <= self.bytes
    }
}

impl<M: Send + 'static> Mesh<M> {
    /// Connects the ends on the current executor. `rung` is called when there is mail worth
    /// waking for.
    pub fn connect(ends: Ends<M>, rung: Rc<dyn Fn()>) -> Mesh<M> {
        let out = ends.senders.into_iter().map(|ends| {
            ends.map(|(sender, ring)| {
                let bell = Rc::new(Bell::default());
                glommio::spawn_local(ring_for(bell.clone(), ring)).detach();
                Outgoing {
                    queue: RefCell::new(Vec::new()),
                    sender,
                    bell,
                    hurries: Cell::new(false),
                    patient: Cell::default(),
                    waiting: Cell::default(),
                }
            })
        });
        let out = out.collect();
        let mut queues = Vec::new();
        for (from, ends) in ends.receivers.into_iter().enumerate() {
            let Some((receiver, bell)) = ends else { continue };
            queues.push((from, receiver));
            let rung = rung.clone();
            glommio::spawn_local(async move {
                let bell = bell.connect().await;
                while bell.recv().await.is_some() {
                    rung();
                }
            })
            .detach();
        }
        Mesh { own: ends.own, flags: ends.flags, out, queues }
    }

    /// Queues a message for another core. It leaves with the next [`Mesh::flush`].
    pub fn put(&self, to: usize, message: M, haste: Haste) {
        let outgoing = self.out[to].as_ref().expect("a core does not send to itself");
        outgoing.queue.borrow_mut().push(message);
        match haste {
            Haste::Now => outgoing.hurries.set(true),
            Haste::CanWait { bytes } => {
                let more = Heap { messages: 1, bytes };
                outgoing.patient.set(outgoing.patient.get().and(more));
            }
        }
    }

    /// Sends what was put, and wakes who should take it now.
    pub fn flush(&self) {
        for (to, outgoing) in self.out.iter().enumerate() {
            let Some(outgoing) = outgoing else { continue };
            if !outgoing.queue.borrow().is_empty() {
                self.send(&self.flags[to], outgoing);
            }
        }
    }

    fn send(&self, flags: &Flags, outgoing: &Outgoing<M>) {
        let batch = std::mem::take(&mut *outgoing.queue.borrow_mut());
        // A core that has stopped takes nothing any more; so does this one soon.
        let _ = outgoing.sender.send(batch);
        // Either the other core finds the flag up, or this one sees that it is attentive, or has
        // heard the last ring: each side writes first and then looks.
        let before = match flags.mail.swap(true, Ordering::SeqCst) {
            true => outgoing.waiting.get(),
            false => Heap::default(),
        };
        fence(Ordering::SeqCst);
        let waiting = before.and(outgoing.patient.take());
        let hurries = outgoing.hurries.take() || waiting.is_much();
        if hurries || flags.attentive.load(Ordering::SeqCst) {
            outgoing.waiting.set(Heap::default());
            outgoing.bell.ring();
        } else {
            outgoing.waiting.set(waiting);
        }
    }

    /// Whether mail lies here, as far as can be said without waiting for others.
    pub fn has_mail(&self) -> bool {
        self.flags[self.own].mail.load(Ordering::Relaxed)
    }

    /// What lies here, by sender, in order.
    pub fn take(&self) -> Vec<(usize, Vec<M>)> {
        if !self.flags[self.own].mail.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        for (from, queue) in &self.queues {
            taken.extend(queue.try_iter().map(|batch| (*from, batch)));
        }
        taken
    }

    /// Says whether somebody here waits for messages that could wait otherwise. True if there is
    /// mail that its sender may have thought could wait.
    pub fn attend(&self, attention: Attention) -> bool {
        let attentive = attention == Attention::Paid;
        let flags = &self.flags[self.own];
        if flags.attentive.load(Ordering::Relaxed) == attentive {
            return false;
        }
        flags.attentive.store(attentive, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        attentive && flags.mail.load(Ordering::SeqCst)
    }
}

/// Carries the rings of one bell to another core.
async fn ring_for(bell: Rc<Bell>, ring: SharedSender<()>) {
    let ring = ring.connect().await;
    loop {
        bell.wait().await;
        fence(Ordering::SeqCst);
        // Full: the other core has not heard the one before, and will look when it has.
        if let Err(glommio::GlommioError::Closed(_)) = ring.try_send(()) {
            return;
        }
    }
}
