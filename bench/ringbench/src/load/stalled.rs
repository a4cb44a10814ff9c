//! Owns watchers that never read: they watch what a load writes, and what that does to the others
//! is what is measured. Invariant: nothing of what they are sent is taken, beyond the first answer.

use std::rc::Rc;

use bytes::Bytes;
use clap::Args;

use super::range::successor;
use super::watcher::{Watcher, Watching};
use crate::run::Seat;

/// The window of their streams: as small as HTTP/2 servers expect it.
const WINDOW_BYTES: u32 = (64 << 10) - 1;
/// Streams on one connection.
const STREAMS: usize = 100;

#[derive(Args, Clone, Debug)]
pub struct StalledFlags {
    /// Watchers of everything that is put, that never read
    #[arg(long, default_value_t = 0)]
    stalled_watchers: usize,
}

/// Watchers that are held open.
pub struct Held {
    watchers: Vec<Watcher>,
}

impl Held {
    pub fn notes(&self) -> Vec<String> {
        match self.watchers.len() {
            0 => Vec::new(),
            count => vec![format!("{count} watchers did not read")],
        }
    }
}

/// Opens this core's part of them, on connections of their own.
pub async fn open(flags: &StalledFlags, prefix: &str, seat: &Rc<Seat>) -> Result<Held, String> {
    let mine = (0..flags.stalled_watchers).filter(|number| number % seat.cores == seat.core);
    let mine = mine.count();
    let numbers: Vec<usize> = (0..mine.div_ceil(STREAMS)).collect();
    let dialer = Rc::new(seat.dialer.with_window(WINDOW_BYTES));
    let links = seat.dial(&dialer, &numbers).await?;
    let (key, range_end) = match successor(prefix.as_bytes()) {
        Some(end) => (prefix.as_bytes().to_vec(), end),
        None => (vec![0], vec![0]),
    };
    let watching = Watching {
        key: Bytes::from(key),
        range_end: Bytes::from(range_end),
        ..Watching::default()
    };
    let mut watchers = Vec::with_capacity(mine);
    for number in 0..mine {
        let watcher = Watcher::open(&links[number / STREAMS], &watching).await;
        watchers.push(watcher.map_err(|status| format!("no watch: {}", status.message))?);
    }
    Ok(Held { watchers })
}
