//! Owns the cost of the history: appending records with the blocks that they fill, and finding one.

use ::history::{History, Options, Previous, Record};
use base::limits::{HISTORY_BLOCK_BYTES, HISTORY_FLUSH_BYTES, HISTORY_SEGMENT_BYTES};
use base::{ChangeKind, Rev, SliceId};
use divan::{Bencher, black_box};

use crate::data::{key, ring, value, version};

/// Records that are found.
const RECORDS: i64 = 10_000;

/// A history whose disk is done with everything at once.
struct Past {
    history: History,
    record: Record,
}

impl Past {
    fn new() -> Past {
        let options = Options {
            block_bytes: HISTORY_BLOCK_BYTES,
            segment_bytes: HISTORY_SEGMENT_BYTES,
            flush_bytes: HISTORY_FLUSH_BYTES,
            cache_bytes: 64 << 20,
        };
        let put = ChangeKind::Put { value: value(), create: 1, version: 2, lease: 0 };
        let prev = Some(Previous { version: version(1), value: value() });
        let record = Record { rev: Rev::new(1, 0), key: key(1), kind: put, prev, tombstone: None };
        Past { history: History::create(SliceId(0), options), record }
    }

    /// A put over another, at the next revision.
    fn append(&mut self) {
        self.record.rev.main += 1;
        self.history.append(&self.record);
        while let Some(write) = self.history.poll_write() {
            self.history.wrote(write.ticket);
        }
    }
}

#[divan::bench]
fn append(bencher: Bencher) {
    let mut past = Past::new();
    bencher.bench_local(|| past.append());
}

#[divan::bench]
fn find(bencher: Bencher) {
    let mut past = Past::new();
    for _ in 0..RECORDS {
        past.append();
    }
    let mut next = ring(RECORDS as usize);
    bencher.bench_local(|| {
        let rev = Rev::new(2 + next() as i64, 0);
        past.history.find(black_box(rev)).expect("in memory").expect("it was appended")
    });
}
