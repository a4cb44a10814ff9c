//! Owns the load of watches: many are created, then what they watch is put.
//! Invariant: every watch gets one event for each put of its key, in order.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use clap::Args;
use measure::failures::WRONG;
use measure::op::Seen;
use measure::{KeyOrder, KeySpace, Pace};
use wire::Method;
use wire::etcdserverpb::{PutRequest, PutResponse};
use wire::grpc::{decode, frame};

use super::stamped;
use super::watcher::{Watcher, Watching};
use crate::flags::Common;
use crate::net::Link;
use crate::run::{Client, Counted, End, Phase, Seat, Turn, Turns};

/// The row of puts.
pub const PUTS: &str = "Put";
const CREATIONS: &str = "Watch creation";
const EVENTS: &str = "Watch events received";

#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Watch streams
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    streams: u64,
    /// Watches of one stream
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    watch_per_stream: u64,
    /// Keys that are watched
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    watched_key_total: u64,
    /// Puts a second, sent whatever the answers do; 0 sends the next when the last is answered
    #[arg(long, default_value_t = 0)]
    put_rate: u64,
    /// Puts
    #[arg(long, default_value_t = 1000)]
    put_total: u64,
    /// Bytes of a key
    #[arg(long, default_value_t = 32)]
    key_size: usize,
    /// How many keys there are
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    key_space_size: u64,
    /// Take the keys one after the other, not by chance
    #[arg(long)]
    sequential_keys: bool,
}

/// The keys that are watched, equal on every core.
struct Watched {
    keys: KeySpace,
    numbers: Vec<u64>,
}

impl Watched {
    fn new(flags: &Flags, seed: u64) -> Watched {
        let order = if flags.sequential_keys { KeyOrder::Sequential } else { KeyOrder::Uniform };
        let Flags { key_size, key_space_size, watched_key_total, .. } = *flags;
        let keys =
            KeySpace { size: key_space_size, key_bytes: key_size, prefix: Bytes::new(), order };
        let mut dice = base::Prng::from_seed(seed);
        let numbers = (0..watched_key_total).map(|turn| keys.choose(turn, &mut dice)).collect();
        Watched { keys, numbers }
    }

    /// The number of the key that turn `turn` takes.
    fn number(&self, turn: u64) -> u64 {
        self.numbers[(turn % self.numbers.len() as u64) as usize]
    }

    /// How often each key is put.
    fn puts(&self, total: u64) -> BTreeMap<u64, u64> {
        let mut puts = BTreeMap::new();
        for turn in 0..total {
            *puts.entry(self.number(turn)).or_default() += 1;
        }
        puts
    }
}

/// One stream of this core.
struct Stream {
    watcher: Option<Watcher>,
    watched: Vec<u64>,
}

type Streams = Rc<Vec<RefCell<Stream>>>;

pub async fn work(flags: &Flags, common: &Common, seat: Rc<Seat>) -> Result<Counted, String> {
    let watched = Rc::new(Watched::new(flags, common.seed));
    let mine: Vec<u64> = stream_numbers(flags, &seat);
    let stream = || RefCell::new(Stream { watcher: None, watched: Vec::new() });
    let streams: Streams = Rc::new(mine.iter().map(|_| stream()).collect());
    let per_client = seat.clients.len().max(1);
    let pseudo: Vec<Client> = (0..mine.len())
        .map(|at| Client { number: at, link: seat.clients[at % per_client].link.clone() })
        .collect();
    let phase = Phase {
        names: vec![CREATIONS.to_string()],
        pace: Pace::Closed,
        end: End::Total(flags.streams * flags.watch_per_stream),
        warm_up: std::time::Duration::ZERO,
    };
    let per_stream = flags.watch_per_stream;
    let mut series = seat
        .phase(phase, &pseudo, |client, turns| {
            create_all(client, turns, watched.clone(), streams.clone(), per_stream)
        })
        .await;
    series.extend(put_all(flags, common, &seat, &watched, &streams, &pseudo).await);
    Ok(Counted { series, notes: Vec::new() })
}

/// Streams are dealt to cores in turn.
fn stream_numbers(flags: &Flags, seat: &Seat) -> Vec<u64> {
    (seat.core as u64..flags.streams).step_by(seat.cores).collect()
}

async fn create_all(
    client: Client,
    turns: Turns,
    watched: Rc<Watched>,
    streams: Streams,
    per_stream: u64,
) {
    for _ in 0..per_stream {
        let Some(turn) = turns.next().await else { return };
        let number = watched.number(turn.number);
        let watching = Watching { key: watched.keys.key(number), ..Watching::default() };
        let held = streams[client.number].borrow_mut().watcher.take();
        let opened = match held {
            None => Watcher::open(&client.link, &watching).await,
            Some(mut watcher) => watcher.add(&watching).await.map(|()| watcher),
        };
        match opened {
            Ok(watcher) => {
                turns.good(0, turn);
                let mut stream = streams[client.number].borrow_mut();
                stream.watcher = Some(watcher);
                stream.watched.push(number);
            }
            Err(status) => turns.refused(0, turn, &status),
        }
    }
}

async fn put_all(
    flags: &Flags,
    common: &Common,
    seat: &Rc<Seat>,
    watched: &Rc<Watched>,
    streams: &Streams,
    readers: &[Client],
) -> Vec<(String, measure::Series)> {
    let puts = Rc::new(watched.puts(flags.put_total));
    let phase = Phase {
        names: vec![PUTS.to_string(), EVENTS.to_string()],
        pace: common.pace(flags.put_rate),
        end: End::Total(flags.put_total),
        warm_up: std::time::Duration::ZERO,
    };
    // Readers come first: they must be waiting when the first put is made.
    let reading = Rc::new(Cell::new(readers.len()));
    let mut clients = readers.to_vec();
    clients.extend(seat.clients.iter().cloned());
    seat.phase(phase, &clients, |client, turns| {
        let (watched, streams, puts) = (watched.clone(), streams.clone(), puts.clone());
        let is_reader = reading.get() > 0;
        reading.set(reading.get().saturating_sub(1));
        async move {
            match is_reader {
                true => read(&turns, &streams[client.number], &puts).await,
                false => put(&client.link, &turns, &watched).await,
            }
        }
    })
    .await
}

/// Makes a put and counts it, in the first row.
pub(super) async fn count_put(
    link: &Link,
    turns: &Turns,
    turn: Turn,
    request: &PutRequest,
    seen: &mut Seen,
) {
    let reply = link.unary(Method::Put, frame(request)).await;
    match reply.and_then(decode::<PutResponse>) {
        Ok(reply) => match seen.wrote(reply.header.as_ref()) {
            Ok(_) => turns.good(0, turn),
            Err(wrong) => turns.failed(0, turn, WRONG, &wrong.0),
        },
        Err(status) => turns.refused(0, turn, &status),
    }
}

async fn put(link: &Link, turns: &Turns, watched: &Watched) {
    let mut seen = Seen::default();
    while let Some(turn) = turns.next().await {
        let key = watched.keys.key(watched.number(turn.number));
        let value = stamped::stamped(turns.now_ns(), turn.number, 0);
        let request = PutRequest { key, value, ..PutRequest::default() };
        count_put(link, turns, turn, &request, &mut seen).await;
    }
}

/// Reads until every watch of the stream has had an event for each put of its key.
async fn read(turns: &Turns, stream: &RefCell<Stream>, puts: &BTreeMap<u64, u64>) {
    let (watcher, watched) = {
        let mut stream = stream.borrow_mut();
        (stream.watcher.take(), std::mem::take(&mut stream.watched))
    };
    let Some(watcher) = watcher else { return };
    let due = watched.iter().map(|number| puts.get(number).copied().unwrap_or(0)).sum();
    stamped::read(turns, watcher, due, |_| ()).await;
}
