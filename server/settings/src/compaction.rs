//! Owns what `--auto-compaction-*` mean together.
//! Never compacts. Invariant: a retention that keeps nothing apart is off.

use std::time::Duration;

use crate::chosen::Chosen;
use crate::span;

/// Compaction that the server does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// None.
    Off,
    /// Keep the history of this time.
    Periodic(Duration),
    /// Keep this many revisions.
    Revision(u64),
}

impl AutoCompaction {
    /// Mode and retention as etcd's start line shows them.
    pub fn words(&self) -> (&'static str, String) {
        let of = |ns: u64| base::span::text(Duration::from_nanos(ns));
        match self {
            AutoCompaction::Off => ("periodic", of(0)),
            AutoCompaction::Periodic(keep) => ("periodic", base::span::text(*keep)),
            AutoCompaction::Revision(keep) => ("revision", of(*keep)),
        }
    }
}

/// A bare number counts hours or revisions; a duration counts time, or (as in etcd, odd as it is)
/// its nanoseconds as revisions.
pub(crate) fn auto(chosen: &Chosen) -> Result<AutoCompaction, String> {
    let text = chosen.text("auto-compaction-retention");
    let by_revision = chosen.text("auto-compaction-mode") == "revision";
    if text.is_empty() {
        return Ok(AutoCompaction::Off);
    }
    let amount = match text.parse::<u64>() {
        Ok(count) if by_revision => count,
        Ok(hours) => hours.saturating_mul(3_600_000_000_000),
        Err(_) => {
            let ns = span::parse_ns(&text)
                .map_err(|why| format!("error parsing CompactionRetention: {why}"))?;
            u64::try_from(ns).map_err(|_| {
                format!("error parsing CompactionRetention: time: negative duration {text:?}")
            })?
        }
    };
    Ok(match amount {
        0 => AutoCompaction::Off,
        keep if by_revision => AutoCompaction::Revision(keep),
        keep_ns => AutoCompaction::Periodic(Duration::from_nanos(keep_ns)),
    })
}
