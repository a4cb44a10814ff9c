//! Owns the measurement of the tree: filled by chance, check pointed, read with a cache that may be
//! smaller than it, scanned, and written over. Invariant: what was put is what is read.

use std::ops::{Bound, ControlFlow};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ::tree::{Entry, Miss, Options, Tree, Value};
use base::{FileId, IoRequest, IoResult, Prng, Rev, SliceId};
use bytes::Bytes;
use clap::Args;
use disk::DataDir;
use measure::keys::Values;
use measure::series::Times;
use measure::{KeyOrder, KeySpace, Series};

use super::Measured;
use super::desk::Desk;

/// Writes of a checkpoint under way.
const WRITES: usize = 4;
const FILE: FileId = FileId::Tree(SliceId(0));

#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// A directory on the disk that is meant
    pub dir: PathBuf,
    /// Keys
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 256)]
    val_size: usize,
    /// Bytes of pages that may stay in memory
    #[arg(long, default_value_t = 64 << 20)]
    cache_size: usize,
    /// Point reads
    #[arg(long, default_value_t = 100_000)]
    reads: u64,
}

struct Run {
    tree: Tree,
    desk: Desk,
    keys: KeySpace,
    values: Values,
    dice: Prng,
    begun: Instant,
}

pub(super) async fn measure(
    flags: &Flags,
    dir: Arc<DataDir>,
    seed: u64,
) -> Result<Measured, String> {
    let order = KeyOrder::Uniform;
    let mut run = Run {
        tree: Tree::create(Options { cache_bytes: flags.cache_size }),
        desk: Desk::open(dir).await?,
        keys: KeySpace { size: flags.keys, key_bytes: 16, prefix: Bytes::new(), order },
        values: Values::new(flags.val_size, seed),
        dice: Prng::from_seed(seed),
        begun: Instant::now(),
    };
    let mut numbers: Vec<u64> = (0..flags.keys).collect();
    for at in (1..numbers.len()).rev() {
        numbers.swap(at, run.dice.below(at as u64 + 1) as usize);
    }
    let mut series = Vec::new();
    series.push(("insert".to_string(), run.put_all(&numbers, 1).await?));
    series.push(("checkpoint".to_string(), run.checkpoint(1).await?));
    series.push(("point read".to_string(), run.read(flags.reads).await?));
    series.push(("scan, a key".to_string(), run.scan(flags.keys).await?));
    series.push(("overwrite".to_string(), run.put_all(&numbers, 2).await?));
    series.push(("second checkpoint".to_string(), run.checkpoint(2).await?));
    let (mib, stats) = (run.tree.file_bytes() >> 20, run.tree.cache_stats());
    let notes = vec![format!("the file has {mib} MiB; {} pages were read from it", stats.loads)];
    Ok(Measured { series, notes })
}

impl Run {
    fn now_ns(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    fn count(&self, series: &mut Series, sent_ns: u64) {
        let done_ns = self.now_ns();
        series.good(Times { intended_ns: sent_ns, sent_ns, done_ns });
    }

    async fn put_all(&mut self, numbers: &[u64], version: i64) -> Result<Series, String> {
        let mut series = Series::default();
        self.begun = Instant::now();
        for number in numbers {
            let value = Value::Inline(self.values.draw(&mut self.dice));
            let modified = Rev::new(version, 0);
            let entry = Entry { modified, create: 1, version, lease: 0, value };
            let (key, sent_ns) = (self.keys.key(*number), self.now_ns());
            while let Err(miss) = self.tree.put(&key, &entry) {
                self.fetch(miss).await?;
            }
            self.count(&mut series, sent_ns);
        }
        Ok(series)
    }

    async fn read(&mut self, reads: u64) -> Result<Series, String> {
        let mut series = Series::default();
        self.begun = Instant::now();
        for _ in 0..reads {
            let key = self.keys.key(self.dice.below(self.keys.size));
            let sent_ns = self.now_ns();
            let found = loop {
                match self.tree.get(&key) {
                    Ok(found) => break found,
                    Err(miss) => self.fetch(miss).await?,
                }
            };
            let entry = found.ok_or("a key that was put is not in the tree")?;
            while let Err(miss) = self.tree.value(&entry.value) {
                self.fetch(miss).await?;
            }
            self.count(&mut series, sent_ns);
        }
        Ok(series)
    }

    async fn scan(&mut self, keys: u64) -> Result<Series, String> {
        let mut series = Series::default();
        self.begun = Instant::now();
        let mut from: Bound<Bytes> = Bound::Unbounded;
        let (mut seen, mut before_ns) = (0, 0);
        loop {
            let begun = self.begun;
            let bound = match &from {
                Bound::Unbounded => Bound::Unbounded,
                Bound::Included(key) => Bound::Included(&key[..]),
                Bound::Excluded(key) => Bound::Excluded(&key[..]),
            };
            let scanned = self.tree.scan(bound, None, &mut |_, _| {
                let done_ns = begun.elapsed().as_nanos() as u64;
                series.good(Times { intended_ns: before_ns, sent_ns: before_ns, done_ns });
                (seen, before_ns) = (seen + 1, done_ns);
                ControlFlow::Continue(())
            });
            match scanned {
                Ok(_) if seen == keys => return Ok(series),
                Ok(_) => return Err(format!("a scan saw {seen} of {keys} keys")),
                Err(missed) => {
                    for miss in missed.misses {
                        self.fetch(miss).await?;
                    }
                    from = missed.resume;
                }
            }
        }
    }

    /// Writes the tree as it is, makes it durable, and goes on from there.
    async fn checkpoint(&mut self, generation: u64) -> Result<Series, String> {
        let mut series = Series::default();
        self.begun = Instant::now();
        self.tree.freeze(generation);
        let mut under_way = std::collections::BTreeMap::new();
        loop {
            while under_way.len() < WRITES {
                let Some(write) = self.tree.poll_write() else { break };
                let request =
                    IoRequest::Write { file: FILE, offset: write.offset, bytes: write.bytes };
                let (number, sent_ns) = (self.desk.submit(request), self.now_ns());
                under_way.insert(number, (write.ticket, sent_ns));
            }
            if under_way.is_empty() {
                break;
            }
            for (number, _) in self.desk.done().await? {
                let (ticket, sent_ns) = under_way.remove(&number).expect("answered once");
                self.tree.wrote(ticket);
                self.count(&mut series, sent_ns);
            }
        }
        if self.tree.frozen_root().is_none() {
            return Err("a checkpoint whose pages are all written has no root".to_string());
        }
        self.desk.carry(IoRequest::Sync { file: FILE }).await?;
        self.tree.commit(generation);
        Ok(series)
    }

    async fn fetch(&mut self, miss: Miss) -> Result<(), String> {
        let request = IoRequest::Read { file: FILE, offset: miss.offset, len: miss.len };
        match self.desk.carry(request).await? {
            IoResult::Read(bytes) => self
                .tree
                .supply(miss.page, bytes)
                .map_err(|rot| format!("a page came back damaged: {rot:?}")),
            other => Err(format!("a read was answered with {other:?}")),
        }
    }
}
