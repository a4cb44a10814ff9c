//! Owns the load of reads while watchers catch up with the past.
//! Invariant: reading goes on exactly as long as a watcher is behind.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use measure::Pace;
use measure::op::revision;
use wire::etcdserverpb::{PutRequest, PutResponse, RangeRequest, RangeResponse};
use wire::grpc::{decode, frame};
use wire::{Method, Status};

use super::watcher::{Watcher, Watching};
use crate::flags::Common;
use crate::net::Link;
use crate::run::{Client, Counted, End, Phase, Seat, Turns};

const GETS: &str = "Get during watch";
pub const EVENTS: &str = "Watch events";
const KEY: &[u8] = b"watchkey";

#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Watchers that begin in the past
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    watchers: u64,
    /// Watch streams that they share
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    streams: u64,
    /// Events that each has to catch up with
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
}

pub async fn work(flags: &Flags, _: &Common, seat: Rc<Seat>) -> Result<Counted, String> {
    if seat.core == 0 {
        let first = put_past(&seat.clients[0].link, flags.events).await;
        let first = first.map_err(|status| format!("no past to watch: {}", status.message))?;
        seat.shared.table(1)[0].store(first as u64, std::sync::atomic::Ordering::Relaxed);
    }
    seat.meet().await;
    let first = seat.shared.table(1)[0].load(std::sync::atomic::Ordering::Relaxed) as i64;
    let numbers: Vec<u64> = (seat.core as u64..flags.streams).step_by(seat.cores).collect();
    let behind = Rc::new(Cell::new(numbers.len()));
    let clients = clients(&seat, numbers.len()).await?;
    let shares: Rc<Vec<u64>> = Rc::new(
        numbers
            .iter()
            .map(|number| {
                flags.watchers / flags.streams + u64::from(*number < flags.watchers % flags.streams)
            })
            .collect(),
    );
    let phase = Phase {
        names: vec![GETS.to_string(), EVENTS.to_string()],
        pace: Pace::Closed,
        end: End::Total(u64::MAX),
        warm_up: Duration::ZERO,
    };
    let (streams, started) = (numbers.len(), RefCell::new(0));
    let events = flags.events;
    let series = seat
        .phase(phase, &clients, |client, turns| {
            let is_reader = started.replace_with(|count| *count + 1) < streams;
            let (behind, shares) = (behind.clone(), shares.clone());
            async move {
                if is_reader {
                    catch_up(&client, &turns, first, shares[client.number], events).await;
                    behind.set(behind.get() - 1);
                } else {
                    get(&client.link, &turns, &behind).await;
                }
            }
        })
        .await;
    Ok(Counted { series, notes: Vec::new() })
}

/// A client for each stream, and one more, with a connection of its own, that reads meanwhile.
async fn clients(seat: &Rc<Seat>, streams: usize) -> Result<Vec<Client>, String> {
    let own = seat.dial(&seat.dialer, &[seat.core]).await?;
    let per = seat.clients.len();
    let reader = |number: usize| Client { number, link: seat.clients[number % per].link.clone() };
    let mut clients: Vec<Client> = (0..streams).map(reader).collect();
    clients.extend(own.into_iter().map(|link| Client { number: 0, link }));
    Ok(clients)
}

/// Puts so many versions; the revision of the first.
async fn put_past(link: &Link, events: u64) -> Result<i64, Status> {
    let mut first = None;
    for number in 0..events {
        let (key, value) = (Bytes::from_static(KEY), Bytes::from(number.to_string()));
        let request = PutRequest { key, value, ..PutRequest::default() };
        let reply = link.unary(Method::Put, frame(&request)).await?;
        let header = decode::<PutResponse>(reply)?.header.unwrap_or_default();
        first.get_or_insert(header.revision);
    }
    Ok(first.unwrap_or_default())
}

async fn get(link: &Link, turns: &Turns, behind: &Cell<usize>) {
    let key = Bytes::from_static(b"abc");
    let request = RangeRequest { key, serializable: true, ..RangeRequest::default() };
    let request = frame(&request);
    while behind.get() > 0 {
        let Some(turn) = turns.next().await else { return };
        let reply = link.unary(Method::Range, request.clone()).await;
        match reply.and_then(decode::<RangeResponse>) {
            Ok(reply) => match revision(reply.header.as_ref()) {
                Ok(_) => turns.good(0, turn),
                Err(wrong) => turns.failed(0, turn, measure::failures::WRONG, &wrong.0),
            },
            Err(status) => turns.refused(0, turn, &status),
        }
    }
}

/// Opens the watchers of one stream and reads until all have seen all.
async fn catch_up(client: &Client, turns: &Turns, first: i64, watchers: u64, events: u64) {
    if watchers == 0 {
        return;
    }
    turns.due();
    let watching =
        Watching { key: Bytes::from_static(KEY), start_revision: first, ..Watching::default() };
    let begun_ns = turns.now_ns();
    if let Err(status) = read_all(client, turns, &watching, watchers, events, begun_ns).await {
        turns.note_failure(1, status.code.name(), &status.message);
    }
    turns.came();
}

async fn read_all(
    client: &Client,
    turns: &Turns,
    watching: &Watching,
    watchers: u64,
    events: u64,
    begun_ns: u64,
) -> Result<(), Status> {
    let mut watcher = Watcher::open(&client.link, watching).await?;
    for _ in 1..watchers {
        watcher.ask(watching)?;
    }
    let mut due = watchers * events;
    while due > 0 && !turns.is_ending() {
        let reply = watcher.next().await?;
        if let Err(wrong) = watcher.check(&reply) {
            turns.note_failure(1, measure::failures::WRONG, &wrong.0);
        }
        for _ in &reply.events {
            turns.arrived(1, turns.now_ns() - begun_ns);
            due = due.saturating_sub(1);
        }
    }
    Ok(())
}
