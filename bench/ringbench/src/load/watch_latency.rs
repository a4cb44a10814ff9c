//! Owns the load that tells how long after a put its watchers know.
//! Invariant: times of puts and of events are of one clock, so they may be on different cores.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base::Prng;
use bytes::Bytes;
use clap::Args;
use measure::Series;
use measure::op::Seen;
use measure::series::Times;
use wire::etcdserverpb::PutRequest;

use super::stamped::{self, Sight};
use super::watch::{PUTS, count_put};
use super::watcher::{Watcher, Watching};
use crate::flags::Common;
use crate::run::{Client, Counted, End, Phase, Seat, Turns};

/// From the end of the put, as etcd's benchmark counts.
const EVENTS: &str = "Watch events";
/// From its begin: what a reader of the watched key waits for.
pub const SINCE_SENT: &str = "Watch events, from the sending of the put";

#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Watch streams
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    streams: u64,
    /// Watches of one stream
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    watchers_per_stream: u64,
    /// Events come with the pair that was there before
    #[arg(long)]
    prevkv: bool,
    /// Puts; --total in etcd 3.5
    #[arg(long, default_value_t = 1000, alias = "total")]
    put_total: u64,
    /// Puts a second; 0 puts the next when the last is answered
    #[arg(long, default_value_t = 100)]
    put_rate: u64,
    /// Bytes of the key
    #[arg(long, default_value_t = 32)]
    key_size: usize,
    /// Bytes of a value, at least 16
    #[arg(long, default_value_t = 32)]
    val_size: usize,
}

type Sights = Rc<RefCell<Vec<Sight>>>;

pub async fn work(flags: &Flags, common: &Common, seat: Rc<Seat>) -> Result<Counted, String> {
    let mut key = vec![0; flags.key_size];
    Prng::from_seed(common.seed).fill(&mut key);
    let key = Bytes::from(key);
    let watching = Watching { key: key.clone(), prev_kv: flags.prevkv, ..Watching::default() };
    let mut watchers = Vec::new();
    for number in (seat.core as u64..flags.streams).step_by(seat.cores) {
        let link = &seat.clients[number as usize / seat.cores % seat.clients.len()].link;
        let told = |status: wire::Status| format!("no watch: {}", status.message);
        let mut watcher = Watcher::open(link, &watching).await.map_err(told)?;
        for _ in 1..flags.watchers_per_stream {
            watcher.add(&watching).await.map_err(told)?;
        }
        watchers.push(RefCell::new(Some(watcher)));
    }
    let phase = Phase {
        names: vec![PUTS.to_string(), SINCE_SENT.to_string()],
        pace: common.pace(flags.put_rate),
        end: End::Total(flags.put_total),
        warm_up: Duration::ZERO,
    };
    let (readers, due) = (watchers.len(), flags.put_total * flags.watchers_per_stream);
    let watchers = Rc::new(watchers);
    // One client puts, on the core of the first: what the others do would blur the times.
    let putters = seat.clients.iter().take(usize::from(seat.core == 0));
    let number_of = |number| Client { number, link: seat.clients[0].link.clone() };
    let clients: Vec<Client> = (0..readers).map(number_of).chain(putters.cloned()).collect();
    let started = Cell::new(0);
    let sights = Sights::default();
    let pad = flags.val_size;
    let mut series = seat
        .phase(phase, &clients, |client, turns| {
            let is_reader = started.replace(started.get() + 1) < readers;
            let (watchers, sights) = (watchers.clone(), sights.clone());
            let (key, shared) = (key.clone(), seat.shared.clone());
            let total = flags.put_total;
            async move {
                if !is_reader {
                    return put(&client, &turns, &key, pad, shared.table(total)).await;
                }
                let watcher = watchers[client.number].borrow_mut().take();
                let watcher = watcher.expect("one reader each");
                stamped::read(&turns, watcher, due, |sight| sights.borrow_mut().push(sight)).await;
            }
        })
        .await;
    // Every core has counted its events before the times of the puts are read.
    seat.meet().await;
    let since_done = (EVENTS.to_string(), since_done(&seat, &sights.borrow(), flags.put_total));
    series.insert(series.len().min(1), since_done);
    Ok(Counted { series, notes: Vec::new() })
}

/// How long after the answer to its put each event was seen, not below 0.
fn since_done(seat: &Seat, sights: &[Sight], total: u64) -> Series {
    let from_ns = seat.shared.measured_from_ns.load(Ordering::Relaxed);
    let mut series = Series::default();
    for sight in sights {
        let Some(done_ns) = seat.shared.table(total).get(sight.number as usize) else { continue };
        let done_ns = done_ns.load(Ordering::Relaxed);
        if done_ns > 0 {
            let sent_ns = done_ns.saturating_sub(from_ns);
            let seen_ns = sight.seen_ns.max(done_ns).saturating_sub(from_ns);
            series.good(Times { intended_ns: sent_ns, sent_ns, done_ns: seen_ns });
        }
    }
    series
}

async fn put(client: &Client, turns: &Turns, key: &Bytes, pad: usize, done: &[AtomicU64]) {
    let mut seen = Seen::default();
    while let Some(turn) = turns.next().await {
        let value = stamped::stamped(turns.now_ns(), turn.number, pad);
        let request = PutRequest { key: key.clone(), value, ..PutRequest::default() };
        count_put(&client.link, turns, turn, &request, &mut seen).await;
        done[turn.number as usize].store(turns.now_ns(), Ordering::Relaxed);
    }
}
