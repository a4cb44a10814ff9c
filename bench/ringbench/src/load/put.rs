//! Owns the load of puts. Invariant: every acknowledged put raises the store's revision.

use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use measure::keys::Values;
use measure::workload::Put;

use super::{compactor, stalled};
use crate::flags::{Common, KeyFlags, span};
use crate::run::{Counted, Seat};

pub const NAME: &str = "put";

#[derive(Args, Clone, Debug)]
pub struct Flags {
    #[command(flatten)]
    keys: KeyFlags,
    /// Bytes of a value
    #[arg(long, default_value_t = 8)]
    val_size: usize,
    /// Puts a second, sent whatever the answers do; 0 sends the next when the last is answered
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Puts
    #[arg(long, default_value_t = 10_000)]
    total: u64,
    /// Compact the store so often; 0 never
    #[arg(long, default_value = "0s", value_parser = span)]
    compact_interval: Duration,
    /// Keep so many revisions when compacting
    #[arg(long, default_value_t = 1000)]
    compact_index_delta: i64,
    /// Ask for the hash of the store when all is put
    #[arg(long)]
    check_hashkv: bool,
    #[command(flatten)]
    stalled: stalled::StalledFlags,
}

pub async fn work(flags: &Flags, common: &Common, seat: Rc<Seat>) -> Result<Counted, String> {
    let held = stalled::open(&flags.stalled, &flags.keys.prefix, &seat).await?;
    let compacting = compactor::start(flags.compact_interval, flags.compact_index_delta, &seat);
    let (space, values) = (flags.keys.space(), Values::new(flags.val_size, common.seed));
    let phase = common.phase(&[NAME], flags.total, flags.rate);
    let series = seat
        .ask(phase, |client| {
            Box::new(Put::new(space.clone(), values.clone(), seat.dice(client.number)))
        })
        .await;
    let mut notes = held.notes();
    if let Some(compacting) = compacting {
        notes.extend(compacting.end().await);
    }
    if flags.check_hashkv && seat.core == 0 {
        notes.push(compactor::hash_kv(&seat, &common.endpoints).await?);
    }
    Ok(Counted { series, notes })
}
