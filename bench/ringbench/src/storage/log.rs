//! Owns the measurement of the log: so many writers that each wait until their entry is durable.
//! Invariant: an entry counts when the log says that it is durable.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use base::{FileId, IoRequest};
use bytes::Bytes;
use clap::Args;
use disk::DataDir;
use measure::Series;
use measure::keys::Values;
use measure::series::Times;
use wal::{
    Backlog, Entry, EntryKind, Identity, Lsn, Record, Ticket, Urgency, Writer, WriterConfig,
};

use super::desk::Desk;
use super::{Measured, fio};

/// Segments that hold the log before the older ones are given back.
const SEGMENTS_MAX: usize = 2;

#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// A directory on the disk that is meant
    pub dir: PathBuf,
    /// Bytes of an entry
    #[arg(long, default_value_t = 256)]
    entry_size: usize,
    /// Writers that each wait for their entry: what a flush can gather
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    writers: u64,
    /// Flushes under way at most
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    depth: u64,
    /// Entries
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    total: u64,
}

enum Op {
    Flush(Ticket, u64),
    Prepare(u64),
    Remove(u64),
}

struct Run {
    writer: Writer,
    desk: Desk,
    ops: BTreeMap<u64, Op>,
    waiting: VecDeque<(Lsn, u64)>,
    appends: Series,
    flushes: Series,
    begun: Instant,
}

pub(super) async fn measure(
    flags: &Flags,
    dir: Arc<DataDir>,
    seed: u64,
) -> Result<Measured, String> {
    let config = WriterConfig {
        flushes_max: flags.depth as usize,
        ..WriterConfig::standard(Identity { cluster: 1, member: 1 })
    };
    if config.entry_bytes_max < flags.entry_size {
        return Err(format!("--entry-size is at most {}", config.entry_bytes_max));
    }
    let mut run = Run {
        writer: Writer::create(config),
        desk: Desk::open(dir).await?,
        ops: BTreeMap::new(),
        waiting: VecDeque::new(),
        appends: Series::default(),
        flushes: Series::default(),
        begun: Instant::now(),
    };
    run.prepare().await?;
    run.begun = Instant::now();
    let values = Values::new(flags.entry_size, seed);
    let mut dice = base::Prng::from_seed(seed);
    let mut index = 0;
    while index < flags.total || !run.waiting.is_empty() {
        while index < flags.total && (run.waiting.len() as u64) < flags.writers {
            index += 1;
            run.append(index, values.draw(&mut dice));
        }
        run.turn(index).await?;
    }
    let mut notes = Vec::new();
    let flushed = run.flushes.latency.count();
    let seconds = run.flushes.last_ns as f64 / 1e9;
    let entries = flags.total as f64 / flushed.max(1) as f64;
    notes.push(format!("{flushed} flushes of {entries:.1} entries each"));
    notes.extend(fio::beside(&flags.dir, flushed as f64 / seconds.max(1e-9)));
    let series = vec![("append".to_string(), run.appends), ("flush".to_string(), run.flushes)];
    Ok(Measured { series, notes })
}

impl Run {
    fn now_ns(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// Waits for the first segments: a member does that before it serves.
    async fn prepare(&mut self) -> Result<(), String> {
        self.upkeep();
        while !self.ops.is_empty() {
            self.take_done().await?;
            self.upkeep();
        }
        Ok(())
    }

    fn append(&mut self, index: u64, data: Bytes) {
        let entry = Entry { term: 1, index, kind: EntryKind::Normal, data };
        let lsn = self.writer.append(Record::Entry(entry), Urgency::Wait);
        self.waiting.push_back((lsn, self.now_ns()));
    }

    /// Hands out what can be written, and waits for something to be done.
    async fn turn(&mut self, index: u64) -> Result<(), String> {
        while let Some(flush) = self.writer.poll_flush(Backlog::Short) {
            let sent_ns = self.now_ns();
            let request =
                IoRequest::Write { file: flush.file, offset: flush.offset, bytes: flush.bytes };
            let number = self.desk.submit(request);
            self.ops.insert(number, Op::Flush(flush.ticket, sent_ns));
        }
        self.upkeep();
        self.take_done().await?;
        if SEGMENTS_MAX < self.writer.live_segments() {
            self.writer.release(index.saturating_sub(self.waiting.len() as u64));
        }
        Ok(())
    }

    fn upkeep(&mut self) {
        while let Some(request) = self.writer.poll_upkeep() {
            let op = match &request {
                IoRequest::Prepare { file: FileId::Log(number), .. } => Op::Prepare(*number),
                IoRequest::Remove { file: FileId::Log(number) } => Op::Remove(*number),
                other => unreachable!("upkeep prepares and removes segments, not {other:?}"),
            };
            let number = self.desk.submit(request);
            self.ops.insert(number, op);
        }
    }

    async fn take_done(&mut self) -> Result<(), String> {
        for (number, _) in self.desk.done().await? {
            let done_ns = self.now_ns();
            match self.ops.remove(&number).expect("a request is answered once") {
                Op::Prepare(segment) => self.writer.prepared(segment),
                Op::Remove(segment) => self.writer.removed(segment),
                Op::Flush(ticket, sent_ns) => {
                    self.writer.flushed(ticket);
                    self.flushes.good(Times { intended_ns: sent_ns, sent_ns, done_ns });
                }
            }
        }
        let (durable, done_ns) = (self.writer.durable().lsn, self.now_ns());
        while let Some((_, sent_ns)) = self.waiting.pop_front_if(|(lsn, _)| *lsn <= durable) {
            self.appends.good(Times { intended_ns: sent_ns, sent_ns, done_ns });
        }
        Ok(())
    }
}
