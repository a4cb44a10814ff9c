//! Owns the load of transactions that read or write. Invariant: both kinds are counted apart.

use std::rc::Rc;

use bytes::Bytes;
use clap::Args;
use measure::keys::Values;
use measure::workload::{Consistency, TxnMixed, TxnMixedOptions};

use crate::flags::{Common, KeyFlags, consistency};
use crate::run::{Counted, Seat};

/// By the workload's series.
pub const NAMES: [&str; 2] = ["txn read", "txn write"];

#[derive(Args, Clone, Debug)]
pub struct Flags {
    #[command(flatten)]
    keys: KeyFlags,
    /// Bytes of a value
    #[arg(long, default_value_t = 8)]
    val_size: usize,
    /// Behind the last key of the ranges; empty for everything
    #[arg(long, default_value = "")]
    end_key: String,
    /// Rows of a range at most
    #[arg(long, default_value_t = 1000)]
    limit: i64,
    /// l: as of now; s: as of what the asked member knows
    #[arg(long, default_value = "l", value_parser = consistency)]
    consistency: Consistency,
    /// Reads for each write
    #[arg(long, default_value_t = 1.0)]
    rw_ratio: f64,
    /// Transactions a second, sent whatever the answers do; 0 sends the next when the last is
    /// answered
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Transactions
    #[arg(long, default_value_t = 10_000)]
    total: u64,
}

pub async fn work(flags: &Flags, common: &Common, seat: Rc<Seat>) -> Result<Counted, String> {
    let options = TxnMixedOptions {
        keys: flags.keys.space(),
        values: Values::new(flags.val_size, common.seed),
        range_end: Bytes::from(flags.end_key.clone().into_bytes()),
        limit: flags.limit,
        consistency: flags.consistency,
        reads_per_write: flags.rw_ratio,
    };
    let phase = common.phase(&NAMES, flags.total, flags.rate);
    let series = seat
        .ask(phase, |client| Box::new(TxnMixed::new(options.clone(), seat.dice(client.number))))
        .await;
    Ok(Counted { series, notes: Vec::new() })
}
