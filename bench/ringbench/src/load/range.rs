//! Owns the load of ranges. Invariant: every answer is held against what was asked.

use std::rc::Rc;

use bytes::Bytes;
use clap::Args;
use measure::workload::{Consistency, Range, RangeOptions};

use crate::flags::{Common, consistency};
use crate::run::{Counted, Seat};

#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// First key
    key: String,
    /// Behind the last key
    end: Option<String>,
    /// Every key that begins with KEY
    #[arg(long, conflicts_with = "end")]
    prefix: bool,
    /// l: as of now; s: as of what the asked member knows
    #[arg(long, default_value = "l", value_parser = consistency)]
    consistency: Consistency,
    /// Rows at most; 0 for all
    #[arg(long, default_value_t = 0)]
    limit: i64,
    /// Only how many there are
    #[arg(long)]
    count_only: bool,
    /// Without values
    #[arg(long)]
    keys_only: bool,
    /// An answer with another count is wrong
    #[arg(long)]
    expect_count: Option<i64>,
    /// Ranges a second, sent whatever the answers do; 0 sends the next when the last is answered
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Ranges
    #[arg(long, default_value_t = 10_000)]
    total: u64,
}

impl Flags {
    /// What etcd's benchmark says first.
    pub fn opening(&self) -> &'static str {
        match self.consistency {
            Consistency::Linearizable => "bench with linearizable range",
            Consistency::Serializable => "bench with serializable range",
        }
    }

    fn options(&self) -> RangeOptions {
        let (key, end) = match (&self.end, self.prefix) {
            (_, true) => match successor(self.key.as_bytes()) {
                Some(end) if !self.key.is_empty() => (self.key.clone().into_bytes(), end),
                // No key follows, or every key begins with nothing.
                Some(_) | None => {
                    let first = if self.key.is_empty() { "\0" } else { self.key.as_str() };
                    (first.as_bytes().to_vec(), vec![0])
                }
            },
            (Some(end), false) => (self.key.clone().into_bytes(), end.clone().into_bytes()),
            (None, false) => (self.key.clone().into_bytes(), Vec::new()),
        };
        RangeOptions {
            key: Bytes::from(key),
            range_end: Bytes::from(end),
            limit: self.limit,
            consistency: self.consistency,
            count_only: self.count_only,
            keys_only: self.keys_only,
            expect_count: self.expect_count,
        }
    }
}

/// The first key behind all that begin with `prefix`; None if there is none.
pub(super) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

pub async fn work(flags: &Flags, common: &Common, seat: Rc<Seat>) -> Result<Counted, String> {
    let options = flags.options();
    let phase = common.phase(&["range"], flags.total, flags.rate);
    let series = seat.ask(phase, |_| Box::new(Range::new(options.clone()))).await;
    Ok(Counted { series, notes: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_its_successor() {
        assert_eq!(successor(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(successor(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(successor(b"\xff\xff"), None);
        assert_eq!(successor(b""), None);
    }
}
