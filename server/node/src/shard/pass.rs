//! Owns one pass over the rows of a range, over all its slices: what to ask for, which row is next,
//! and what the reply says of the whole. Holds no more than a page of each slice.
//! Never asks itself; the shard carries its asks. Invariant: the rows are those of one point of the
//! history, in key order, whatever happens meanwhile.

use base::SliceId;
use bytes::Bytes;
use slice::{Fields, KeyRange, RangeEnd, ReadRequest};

use super::merge::{Merge, Row, Want};
use super::range::{Columns, RangeSpec};

/// Bytes of pages that all slices of one pass hold together, unless they are many.
const PAGES_BYTES: usize = 1 << 20;
/// Smallest and largest page of one slice in bytes.
const PAGE_BYTES: std::ops::RangeInclusive<usize> = 16 << 10..=256 << 10;
/// Rows of one page.
const PAGE_ROWS: usize = 4096;

/// A pass under way.
#[derive(Debug)]
pub struct Pass {
    spec: RangeSpec,
    /// `None` if no rows are wanted.
    merge: Option<Merge>,
    counts: Counts,
    count: i64,
    /// Rows that passed the filter, also those beyond the limit.
    passed: usize,
    page_bytes: usize,
}

/// Slices whose count is still missing, when counts are asked for apart from rows.
#[derive(Debug)]
enum Counts {
    FromRows,
    ToAsk(Vec<SliceId>),
    Missing(usize),
}

/// What the reply says of the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Keys in the range before limit and filters.
    pub count: i64,
    /// The limit cut rows off.
    pub more: bool,
}

impl Pass {
    /// Begins; `slices` are those that may hold keys of the span.
    pub fn new(spec: RangeSpec, slices: &[SliceId]) -> Pass {
        let wants_rows = spec.columns != Columns::Count;
        let apart = !wants_rows || spec.cuts_early();
        let page_bytes = PAGES_BYTES / slices.len().max(1);
        Pass {
            merge: wants_rows.then(|| Merge::new(slices.iter().copied())),
            counts: if apart { Counts::ToAsk(slices.to_vec()) } else { Counts::FromRows },
            count: 0,
            passed: 0,
            page_bytes: page_bytes.clamp(*PAGE_BYTES.start(), *PAGE_BYTES.end()),
            spec,
        }
    }

    /// What is read.
    pub fn spec(&self) -> &RangeSpec {
        &self.spec
    }

    /// What should be asked now. Each question is given once.
    pub fn asks(&mut self) -> Vec<(SliceId, ReadRequest)> {
        let mut asks = Vec::new();
        if let Counts::ToAsk(slices) = &mut self.counts {
            let slices = std::mem::take(slices);
            self.counts = Counts::Missing(slices.len());
            let (keys, at) = (key_range(&self.spec.span), self.spec.at);
            let count = |slice| (slice, ReadRequest::Count { keys: keys.clone(), at });
            asks.extend(slices.into_iter().map(count));
        }
        let left = self.rows_left();
        if let Some(merge) = self.merge.as_mut().filter(|_| left != Some(0)) {
            let limit = left.unwrap_or(PAGE_ROWS).min(PAGE_ROWS);
            let (spec, page_bytes) = (&self.spec, self.page_bytes);
            let rows = |want| rows_request(spec, want, limit, page_bytes);
            asks.extend(merge.wants().into_iter().map(rows));
        }
        asks
    }

    /// Rows that may still come out, if the limit acts while reading.
    fn rows_left(&self) -> Option<usize> {
        self.spec.cuts_early().then(|| self.spec.fetch_max().saturating_sub(self.passed))
    }

    /// Takes a slice's count.
    pub fn counted(&mut self, count: u64) {
        let Counts::Missing(missing) = &mut self.counts else {
            panic!("a count that nobody asked for");
        };
        *missing -= 1;
        self.count += i64::try_from(count).expect("keys are counted in i64");
    }

    /// Takes a slice's rows; `resume` tells where it goes on.
    pub fn supply(&mut self, slice: SliceId, rows: Vec<Row>, resume: Option<Bytes>) {
        let merge = self.merge.as_mut().expect("rows were asked for");
        merge.supply(slice, rows, resume);
    }

    /// The next row of the reply, if it is known; `None` also at the end.
    pub fn pop(&mut self) -> Option<Row> {
        loop {
            if self.rows_left() == Some(0) {
                return None;
            }
            let row = self.merge.as_mut()?.pop()?;
            if matches!(self.counts, Counts::FromRows) {
                self.count += 1;
            }
            if !self.spec.filter.passes(&row) {
                continue;
            }
            self.passed += 1;
            // Behind a filter the limit cuts nothing short: the count needs the rest.
            let is_beyond = 0 < self.spec.limit && self.spec.limit < self.passed;
            if self.spec.sort.is_some() || !is_beyond {
                return Some(row);
            }
        }
    }

    /// Is every row out?
    pub fn is_over(&self) -> bool {
        self.rows_left() == Some(0) || self.merge.as_ref().is_none_or(Merge::finished)
    }

    /// What the reply says of the whole, once nothing is missing.
    pub fn totals(&self) -> Option<Totals> {
        let counted = match &self.counts {
            Counts::FromRows => true,
            Counts::ToAsk(slices) => slices.is_empty(),
            Counts::Missing(missing) => *missing == 0,
        };
        if !counted || !self.is_over() {
            return None;
        }
        let limited = self.spec.columns != Columns::Count && self.spec.limit > 0;
        let cut_early = self.spec.cuts_early() && self.count > self.passed as i64;
        let more = limited && (cut_early || self.passed > self.spec.limit);
        Some(Totals { count: self.count, more })
    }
}

fn rows_request(
    spec: &RangeSpec,
    want: Want,
    limit: usize,
    limit_bytes: usize,
) -> (SliceId, ReadRequest) {
    let keys = key_range(&spec.span);
    let start = want.from.unwrap_or(keys.start);
    let request = ReadRequest::Range {
        keys: KeyRange { start, end: keys.end },
        at: spec.at,
        limit,
        limit_bytes,
        fields: match spec.columns {
            Columns::All => Fields::WithValues,
            // A sort by value needs values even if the reply leaves them out.
            Columns::Keys | Columns::Count if spec.sorts_by_value() => Fields::WithValues,
            Columns::Keys | Columns::Count => Fields::KeysOnly,
        },
    };
    (want.slice, request)
}

fn key_range(span: &state::Span) -> KeyRange {
    let end = match span {
        state::Span::Key(_) => RangeEnd::Single,
        state::Span::From(_) => RangeEnd::Unbounded,
        state::Span::Between { end, .. } => RangeEnd::Before(end.clone()),
    };
    KeyRange { start: span.start().clone(), end }
}
