//! Owns the cost of the log's writing end: entries into a batch, its checksums and its padding.

use base::limits::LOG_BATCH_BYTES;
use base::{FileId, IoRequest};
use divan::Bencher;
use wal::{Backlog, Entry, EntryKind, Identity, Record, Urgency, Writer, WriterConfig};

use crate::data::value;

/// Segments before the older ones are given back.
const SEGMENTS_MAX: usize = 2;

/// A log whose disk is done with everything at once.
struct Log {
    writer: Writer,
    index: u64,
}

impl Log {
    fn new() -> Log {
        let config = WriterConfig::standard(Identity { cluster: 1, member: 1 });
        let mut log = Log { writer: Writer::create(config), index: 0 };
        log.upkeep();
        log
    }

    fn upkeep(&mut self) {
        while let Some(request) = self.writer.poll_upkeep() {
            match request {
                IoRequest::Prepare { file: FileId::Log(number), .. } => {
                    self.writer.prepared(number);
                }
                IoRequest::Remove { file: FileId::Log(number) } => self.writer.removed(number),
                other => unreachable!("upkeep prepares and removes segments, not {other:?}"),
            }
        }
    }

    /// Appends entries and writes them; the bytes of the batches.
    fn append(&mut self, entries: u64, data: &bytes::Bytes) -> usize {
        for _ in 0..entries {
            self.index += 1;
            let (index, data) = (self.index, data.clone());
            let entry = Entry { term: 1, index, kind: EntryKind::Normal, data };
            self.writer.append(Record::Entry(entry), Urgency::Wait);
        }
        let mut written = 0;
        while let Some(flush) = self.writer.poll_flush(Backlog::Short) {
            written += flush.bytes.len();
            self.writer.flushed(flush.ticket);
        }
        if SEGMENTS_MAX < self.writer.live_segments() {
            self.writer.release(self.index);
        }
        self.upkeep();
        written
    }
}

/// Entries of one put each, gathered into one batch.
#[divan::bench(args = [1, 100])]
fn batch(bencher: Bencher, entries: u64) {
    let (mut log, value) = (Log::new(), value());
    bencher.bench_local(|| log.append(entries, &value));
}

/// One entry as long as a batch may be: what a byte costs.
#[divan::bench]
fn batch_full(bencher: Bencher) {
    let (mut log, data) = (Log::new(), bytes::Bytes::from(vec![7; LOG_BATCH_BYTES]));
    bencher.bench_local(|| log.append(1, &data));
}
