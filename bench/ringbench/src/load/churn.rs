//! Owns the load of a Kubernetes control plane: its requests come from `measure`, here are its
//! watchers. Invariant: every acknowledged write of a namespace is seen by that namespace's
//! watcher.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures_lite::future;
use glommio::Task;
use measure::Wrong;
use measure::keys::Values;
use measure::workload::{Churn, ChurnOptions, Workload, churn};
use wire::{Method, Status};

use super::range::successor;
use super::watcher::{Watcher, Watching};
use crate::flags::Common;
use crate::run::{Client, Counted, Seat};

/// By the workload's series.
const NAMES: [&str; 4] = ["objects", "node leases", "gets", "list pages"];

#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Objects of each client, which is a namespace of its own
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    objects: u64,
    /// Rows of a list page
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(i64).range(1..))]
    page_size: i64,
    /// Bytes of an object
    #[arg(long, default_value_t = 2048)]
    val_size: usize,
    /// Watch streams on each namespace
    #[arg(long, default_value_t = 1)]
    watchers: usize,
    /// Requests a second, sent whatever the answers do; 0 sends the next when the last is answered
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Requests
    #[arg(long, default_value_t = 10_000)]
    total: u64,
}

/// A workload that counts its acknowledged writes of objects.
struct Counting {
    churn: Churn,
    last: usize,
    written: Rc<Cell<u64>>,
}

impl Workload for Counting {
    fn next(&mut self, turn: u64) -> measure::Op {
        let op = self.churn.next(turn);
        self.last = op.series;
        op
    }

    fn answered(&mut self, reply: Bytes) -> Result<(), Wrong> {
        self.churn.answered(reply)?;
        self.written.set(self.written.get() + u64::from(self.last == churn::OBJECT));
        Ok(())
    }

    fn failed(&mut self) {
        self.churn.failed();
    }
}

/// One watch of a namespace.
struct Sighted {
    namespace: usize,
    task: Task<()>,
    seen: Rc<RefCell<Seen>>,
}

#[derive(Default)]
struct Seen {
    events: u64,
    failed: Option<String>,
}

pub async fn work(flags: &Flags, common: &Common, seat: Rc<Seat>) -> Result<Counted, String> {
    let told = |status: Status| format!("cannot prepare: {}", status.message);
    if seat.core == 0 {
        clear(&seat).await.map_err(told)?;
    }
    seat.meet().await;
    let mut sighted = Vec::new();
    for client in &seat.clients {
        for _ in 0..flags.watchers {
            sighted.push(watch(client).await.map_err(told)?);
        }
    }
    let values = Values::new(flags.val_size, common.seed);
    let written: BTreeMap<usize, Rc<Cell<u64>>> =
        seat.clients.iter().map(|client| (client.number, Rc::default())).collect();
    let phase = common.phase(&NAMES, flags.total, flags.rate);
    let mut series = seat
        .ask(phase, |client| {
            let options = ChurnOptions {
                client: client.number as u64,
                objects: flags.objects as usize,
                page_rows: flags.page_size,
                values: values.clone(),
            };
            let churn = Churn::new(options, seat.dice(client.number));
            Box::new(Counting { churn, last: 0, written: written[&client.number].clone() })
        })
        .await;
    let wrong = settle(&seat, sighted, &written).await;
    let events = wrong.events;
    if let Some((_, objects)) = series.first_mut() {
        for text in wrong.texts {
            objects.failed(objects.last_ns, measure::failures::WRONG, &text);
        }
    }
    let notes = match (flags.watchers, seat.cores) {
        (0, _) => Vec::new(),
        (_, 1) => vec![format!("watchers saw {events} events")],
        (_, _) => vec![format!("watchers of core {} saw {events} events", seat.core)],
    };
    Ok(Counted { series, notes })
}

/// Removes what an earlier run has left: this workload's guards begin with nothing.
async fn clear(seat: &Seat) -> Result<(), Status> {
    use wire::etcdserverpb::DeleteRangeRequest;
    let link = &seat.clients[0].link;
    for prefix in Churn::prefixes() {
        let end = successor(prefix).expect("these have one");
        let (key, range_end) = (Bytes::from_static(prefix), Bytes::from(end));
        let request = DeleteRangeRequest { key, range_end, prev_kv: false };
        link.unary(Method::DeleteRange, wire::grpc::frame(&request)).await?;
    }
    Ok(())
}

async fn watch(client: &Client) -> Result<Sighted, Status> {
    let key = Churn::namespace(client.number as u64);
    let range_end = Bytes::from(successor(&key).expect("it ends with a slash"));
    let watching = Watching { key, range_end, ..Watching::default() };
    let mut watcher = Watcher::open(&client.link, &watching).await?;
    let seen = Rc::new(RefCell::new(Seen::default()));
    let told = seen.clone();
    let task = glommio::spawn_local(async move {
        loop {
            let reply = watcher.next().await;
            let mut seen = told.borrow_mut();
            match reply {
                Ok(reply) => {
                    if let Err(wrong) = watcher.check(&reply) {
                        seen.failed = Some(wrong.0);
                    }
                    seen.events += reply.events.len() as u64;
                }
                Err(status) => {
                    seen.failed = Some(format!("{}: {}", status.code.name(), status.message));
                    return;
                }
            }
        }
    });
    Ok(Sighted { namespace: client.number, task, seen })
}

/// What was wrong with the watches, and how many events they saw.
struct Settled {
    texts: Vec<String>,
    events: u64,
}

/// Waits until the watchers have seen every acknowledged write, or for the patience of the run.
async fn settle(
    seat: &Rc<Seat>,
    sighted: Vec<Sighted>,
    written: &BTreeMap<usize, Rc<Cell<u64>>>,
) -> Settled {
    const LOOK: Duration = Duration::from_millis(5);
    let missing = || {
        sighted.iter().any(|one| {
            let seen = one.seen.borrow();
            seen.failed.is_none() && seen.events < written[&one.namespace].get()
        })
    };
    let all_seen = async {
        while missing() && !seat.shared.is_ending() {
            glommio::timer::sleep(LOOK).await;
        }
    };
    let late = glommio::timer::sleep(seat.patience);
    future::or(all_seen, late).await;
    let mut settled = Settled { texts: Vec::new(), events: 0 };
    for one in sighted {
        one.task.cancel().await;
        let (seen, due) = (one.seen.borrow(), written[&one.namespace].get());
        settled.events += seen.events;
        if let Some(why) = &seen.failed {
            settled.texts.push(format!("a watch of a namespace failed: {why}"));
        } else if seen.events < due && !seat.shared.is_ending() {
            let text = format!("a watcher saw {} of {due} acknowledged writes", seen.events);
            settled.texts.push(text);
        }
    }
    settled
}
