//! Owns the load of reads beside writes. Invariant: both kinds are counted apart.

use std::rc::Rc;

use clap::Args;
use measure::keys::Values;
use measure::workload::{Consistency, Mixed, MixedOptions};

use super::stalled;
use crate::flags::{Common, KeyFlags, consistency};
use crate::run::{Counted, Seat};

/// By the workload's series.
pub const NAMES: [&str; 2] = ["read", "write"];

#[derive(Args, Clone, Debug)]
pub struct Flags {
    #[command(flatten)]
    keys: KeyFlags,
    /// Bytes of a value
    #[arg(long, default_value_t = 8)]
    val_size: usize,
    /// Reads among 100 requests
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u64).range(0..=100))]
    read_percent: u64,
    /// l: as of now; s: as of what the asked member knows
    #[arg(long, default_value = "l", value_parser = consistency)]
    consistency: Consistency,
    /// Requests a second, sent whatever the answers do; 0 sends the next when the last is answered
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Requests
    #[arg(long, default_value_t = 10_000)]
    total: u64,
    #[command(flatten)]
    stalled: stalled::StalledFlags,
}

pub async fn work(flags: &Flags, common: &Common, seat: Rc<Seat>) -> Result<Counted, String> {
    let held = stalled::open(&flags.stalled, &flags.keys.prefix, &seat).await?;
    let options = MixedOptions {
        keys: flags.keys.space(),
        values: Values::new(flags.val_size, common.seed),
        reads_permille: flags.read_percent * 10,
        consistency: flags.consistency,
    };
    let phase = common.phase(&NAMES, flags.total, flags.rate);
    let series = seat
        .ask(phase, |client| Box::new(Mixed::new(options.clone(), seat.dice(client.number))))
        .await;
    Ok(Counted { series, notes: held.notes() })
}
