//! Owns the load of ranges. Invariant: every answer is held against what was asked.

use std::rc::Rc;

use bytes::Bytes;
use clap::Args;
use measure::Wrong;
use measure::failures::WRONG;
use measure::workload::{Consistency, PartKind, Range, RangeOptions, RangeParts};
use wire::Status;

use crate::flags::{Common, consistency};
use crate::net::Link;
use crate::run::{Client, Counted, Seat, Turns};

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
    /// All rows as one stream of answers (etcd 3.7); the whole is one range
    #[arg(long, conflicts_with = "paginate")]
    stream: bool,
    /// All rows page by page, at one revision; the whole is one range
    #[arg(long, conflicts_with = "count_only")]
    paginate: bool,
    /// Rows of a page
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(i64).range(1..))]
    page_size: i64,
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

    fn parts(&self) -> Option<PartKind> {
        match (self.stream, self.paginate) {
            (true, _) => Some(PartKind::Stream),
            (false, true) => Some(PartKind::Pages { rows: self.page_size }),
            (false, false) => None,
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
    let series = match flags.parts() {
        None => seat.ask(phase, |_| Box::new(Range::new(options.clone()))).await,
        Some(kind) => {
            let body = |client: Client, turns| {
                ask_in_parts(client.link, turns, RangeParts::new(options.clone(), kind))
            };
            seat.phase(phase, &seat.clients, body).await
        }
    };
    Ok(Counted { series, notes: Vec::new() })
}

async fn ask_in_parts(link: Rc<Link>, turns: Turns, mut parts: RangeParts) {
    while let Some(turn) = turns.next().await {
        match read(&link, &mut parts).await {
            Ok(Ok(())) => turns.good(0, turn),
            Ok(Err(wrong)) => turns.failed(0, turn, WRONG, &wrong.0),
            Err(status) => turns.refused(0, turn, &status),
        }
    }
}

/// Reads the range once, with as many requests as that takes.
async fn read(link: &Link, parts: &mut RangeParts) -> Result<Result<(), Wrong>, Status> {
    parts.begin();
    while let Some(op) = parts.ask() {
        let mut judged = Ok(());
        let take = |message| {
            if judged.is_ok() {
                judged = parts.part(message);
            }
        };
        link.replies(op.method, op.frame, take).await?;
        if let Err(wrong) = judged.and_then(|()| parts.ended()) {
            return Ok(Err(wrong));
        }
    }
    Ok(Ok(()))
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
