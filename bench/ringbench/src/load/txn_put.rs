//! Owns the load of transactions of puts. Invariant: no transaction puts one key twice.

use std::rc::Rc;

use clap::Args;
use measure::keys::Values;
use measure::workload::TxnPut;

use crate::flags::{Common, KeyFlags};
use crate::run::{Counted, Seat};

pub const NAME: &str = "txn-put";

#[derive(Args, Clone, Debug)]
pub struct Flags {
    #[command(flatten)]
    keys: KeyFlags,
    /// Bytes of a value
    #[arg(long, default_value_t = 8)]
    val_size: usize,
    /// Puts of one transaction; at most --key-space-size
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    txn_ops: u64,
    /// Transactions a second, sent whatever the answers do; 0 sends the next when the last is
    /// answered
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Transactions
    #[arg(long, default_value_t = 10_000)]
    total: u64,
}

impl Flags {
    pub fn check(&self) -> Result<(), String> {
        match self.txn_ops <= self.keys.key_space_size {
            true => Ok(()),
            false => Err("--txn-ops must not be above --key-space-size: one transaction cannot \
                          put a key twice"
                .to_string()),
        }
    }
}

pub async fn work(flags: &Flags, common: &Common, seat: Rc<Seat>) -> Result<Counted, String> {
    let (space, values) = (flags.keys.space(), Values::new(flags.val_size, common.seed));
    let phase = common.phase(&[NAME], flags.total, flags.rate);
    let series = seat
        .ask(phase, |client| {
            let dice = seat.dice(client.number);
            Box::new(TxnPut::new(space.clone(), values.clone(), flags.txn_ops, dice))
        })
        .await;
    Ok(Counted { series, notes: Vec::new() })
}
