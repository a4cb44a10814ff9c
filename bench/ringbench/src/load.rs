//! Owns the loads: for each, its flags and what one core does. One file per load.
//! Invariant: what a load asks comes from `measure`; here is only who asks and when.

use std::rc::Rc;

use clap::Subcommand;
pub use measure::workload::Consistency;

use crate::flags::Common;
use crate::run::{Counted, Seat};

mod churn;
pub mod compactor;
mod lease;
mod lock;
mod mixed;
mod put;
mod range;
mod stalled;
mod stamped;
mod stm;
mod txn_mixed;
mod txn_put;
mod watch;
mod watch_get;
mod watch_latency;
mod watcher;

/// One load and its flags.
#[derive(Subcommand, Clone, Debug)]
pub enum Load {
    /// Put keys
    Put(put::Flags),
    /// Read a key or a range
    Range(range::Flags),
    /// Put keys in transactions
    TxnPut(txn_put::Flags),
    /// Transactions of one range or one put
    TxnMixed(txn_mixed::Flags),
    /// Read single keys beside puts
    Mixed(mixed::Flags),
    /// What a Kubernetes control plane asks: guarded transactions, lists in pages, watches, node
    /// leases
    #[command(visible_alias = "churn")]
    Kubernetes(churn::Flags),
    /// Create watches, then put what they watch
    Watch(watch::Flags),
    /// How long after a put its watchers know
    WatchLatency(watch_latency::Flags),
    /// Read while watchers catch up
    WatchGet(watch_get::Flags),
    /// Keep leases alive
    LeaseKeepalive(lease::Flags),
    /// Transactions in software, with or without locks
    Stm(stm::Flags),
}

impl Load {
    /// What one core does.
    pub async fn work(&self, common: &Common, seat: Rc<Seat>) -> Result<Counted, String> {
        match self {
            Load::Put(flags) => put::work(flags, common, seat).await,
            Load::Range(flags) => range::work(flags, common, seat).await,
            Load::TxnPut(flags) => txn_put::work(flags, common, seat).await,
            Load::TxnMixed(flags) => txn_mixed::work(flags, common, seat).await,
            Load::Mixed(flags) => mixed::work(flags, common, seat).await,
            Load::Kubernetes(flags) => churn::work(flags, common, seat).await,
            Load::Watch(flags) => watch::work(flags, common, seat).await,
            Load::WatchLatency(flags) => watch_latency::work(flags, common, seat).await,
            Load::WatchGet(flags) => watch_get::work(flags, common, seat).await,
            Load::LeaseKeepalive(flags) => lease::work(flags, common, seat).await,
            Load::Stm(flags) => stm::work(flags, common, seat).await,
        }
    }

    /// What it is called on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Load::Put(_) => "put",
            Load::Range(_) => "range",
            Load::TxnPut(_) => "txn-put",
            Load::TxnMixed(_) => "txn-mixed",
            Load::Mixed(_) => "mixed",
            Load::Kubernetes(_) => "kubernetes",
            Load::Watch(_) => "watch",
            Load::WatchLatency(_) => "watch-latency",
            Load::WatchGet(_) => "watch-get",
            Load::LeaseKeepalive(_) => "lease-keepalive",
            Load::Stm(_) => "stm",
        }
    }

    /// What can be wrong with the flags together.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Load::TxnPut(flags) => flags.check(),
            Load::Stm(flags) => flags.check(),
            Load::Put(_)
            | Load::Range(_)
            | Load::TxnMixed(_)
            | Load::Mixed(_)
            | Load::Kubernetes(_)
            | Load::Watch(_)
            | Load::WatchLatency(_)
            | Load::WatchGet(_)
            | Load::LeaseKeepalive(_) => Ok(()),
        }
    }

    /// The rows whose every good answer raised the store's revision.
    pub fn writes(&self) -> &'static [&'static str] {
        match self {
            Load::Put(_) => &[put::NAME],
            Load::TxnPut(_) => &[txn_put::NAME],
            Load::TxnMixed(_) => &[txn_mixed::NAMES[measure::workload::txn_mixed::WRITE]],
            Load::Mixed(_) => &[mixed::NAMES[measure::workload::mixed::WRITE]],
            Load::Kubernetes(_) => &["objects", "node leases"],
            Load::Watch(_) | Load::WatchLatency(_) => &[watch::PUTS],
            Load::Range(_) | Load::WatchGet(_) | Load::LeaseKeepalive(_) | Load::Stm(_) => &[],
        }
    }

    /// What etcd's benchmark prints for this load, beside the reports of its rows: before all, and
    /// for each row that it reports what comes before and after.
    pub fn etcd_frame(&self, row: &str, count: u64) -> Option<(String, &'static str)> {
        let summary = |text: &str| Some((format!("{text} summary:\n"), ""));
        match (self, row) {
            (Load::Put(_) | Load::TxnPut(_), _) => Some((String::new(), "\n")),
            (Load::TxnMixed(_), row) => {
                let kind = if row == txn_mixed::NAMES[0] { "Read" } else { "Write" };
                Some((format!("Total {kind} Ops: {count}\nDetails:"), "\n"))
            }
            (Load::Watch(_), watch::PUTS)
            | (Load::WatchLatency(_), watch_latency::SINCE_SENT)
            | (Load::WatchGet(_), watch_get::EVENTS) => None,
            (Load::Watch(_) | Load::WatchLatency(_) | Load::WatchGet(_), row) => summary(row),
            (Load::Range(_) | Load::LeaseKeepalive(_) | Load::Stm(_), _) => {
                Some((String::new(), ""))
            }
            (Load::Mixed(_) | Load::Kubernetes(_), row) => summary(row),
        }
    }

    /// The line that etcd's benchmark opens with.
    pub fn opening(&self) -> Option<&'static str> {
        match self {
            Load::Range(flags) => Some(flags.opening()),
            Load::Put(_)
            | Load::TxnPut(_)
            | Load::TxnMixed(_)
            | Load::Mixed(_)
            | Load::Kubernetes(_)
            | Load::Watch(_)
            | Load::WatchLatency(_)
            | Load::WatchGet(_)
            | Load::LeaseKeepalive(_)
            | Load::Stm(_) => None,
        }
    }
}
