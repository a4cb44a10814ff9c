//! Owns the reading of history over all slices for the watch hub: records of whole revisions, in
//! order.
//! Invariant: what is handed over ends with a revision that is complete in every slice.

use base::{Rev, SliceId};
use bytes::Bytes;
use history::Record;
use slice::{KeyRange, Prev, RangeEnd, ReadRequest, ReadResult};
use watch::{History, HistoryRead, Previous};

use super::Shard;

/// One read of history under way.
#[derive(Debug)]
pub struct HistoryJob {
    read: HistoryRead,
    parts: Vec<Part>,
    missing: usize,
    compacted: Option<i64>,
}

#[derive(Debug)]
struct Part {
    slice: SliceId,
    records: Vec<Record>,
    resume: Option<Rev>,
}

impl HistoryJob {
    fn new(read: HistoryRead, slices: impl Iterator<Item = SliceId>) -> HistoryJob {
        let from = read.from;
        let part = |slice| Part { slice, records: Vec::new(), resume: Some(from) };
        HistoryJob { read, parts: slices.map(part).collect(), missing: 0, compacted: None }
    }

    /// Slices that must say more before even the first revision is whole.
    fn asks(&mut self) -> Vec<(SliceId, ReadRequest)> {
        let first = self.read.from.main;
        let keys: Vec<KeyRange> = self.read.spans.iter().map(key_range).collect();
        let asks: Vec<(SliceId, ReadRequest)> = self
            .parts
            .iter()
            .filter_map(|part| Some((part.slice, part.resume.filter(|at| at.main <= first)?)))
            .map(|(slice, from)| {
                let request = ReadRequest::History {
                    from,
                    to: self.read.to_main,
                    keys: keys.clone(),
                    limit_bytes: self.read.limit_bytes,
                    prev: match self.read.previous {
                        Previous::Wanted => Prev::Wanted,
                        Previous::Unwanted => Prev::Unwanted,
                    },
                };
                (slice, request)
            })
            .collect();
        self.missing = asks.len();
        asks
    }

    fn supply(&mut self, slice: SliceId, result: ReadResult) {
        self.missing -= 1;
        let part = self.parts.iter_mut().find(|part| part.slice == slice);
        let part = part.expect("only slices of the job are asked");
        match result {
            ReadResult::History { records, resume } => {
                part.records.extend(records);
                part.resume = resume;
            }
            ReadResult::Compacted { compact } => {
                part.resume = None;
                self.compacted = Some(compact);
            }
            ReadResult::Range { .. } | ReadResult::Count(_) => panic!("history was asked for"),
        }
    }

    /// What the hub gets, once every slice is past the first revision.
    fn finish(self) -> History {
        if let Some(main) = self.compacted {
            return History::Compacted { main };
        }
        let ends = self.parts.iter().filter_map(|part| part.resume);
        let upto = ends.map(|at| at.main - 1).min().unwrap_or(self.read.to_main);
        assert!(self.read.from.main <= upto);
        let mut records: Vec<Record> =
            self.parts.into_iter().flat_map(|part| part.records).collect();
        records.retain(|record| record.rev.main <= upto);
        records.sort_by_key(|record| record.rev);
        History::Records { records, upto }
    }
}

fn key_range(span: &watch::Span) -> KeyRange {
    let end = match span.end() {
        None if span.only().is_some() => RangeEnd::Single,
        None => RangeEnd::Unbounded,
        Some(end) => RangeEnd::Before(Bytes::copy_from_slice(end)),
    };
    KeyRange { start: Bytes::copy_from_slice(span.start()), end }
}

impl Shard {
    /// The watch hub needs history.
    pub(super) fn start_history(&mut self, read: HistoryRead) {
        let job = HistoryJob::new(read, self.config.partition.key_slices());
        self.drive_history(job);
    }

    fn drive_history(&mut self, mut job: HistoryJob) {
        let asks = job.asks();
        if asks.is_empty() {
            let id = job.read.job;
            let found = job.finish();
            return self.hub.history(id, found);
        }
        let id = job.read.job;
        self.histories.insert(id, job);
        for (slice, request) in asks {
            let read = self.name_history_read(id);
            self.send_read(read, slice, request);
        }
    }

    /// A slice answered a history read.
    pub(super) fn history_done(&mut self, id: watch::JobId, slice: SliceId, result: ReadResult) {
        let job = self.histories.get_mut(&id).expect("the job waits for this answer");
        job.supply(slice, result);
        if job.missing == 0 {
            let job = self.histories.remove(&id).expect("found a moment ago");
            self.drive_history(job);
        }
    }
}
