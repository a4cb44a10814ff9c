//! Owns the driving of one slice without a server: its disk requests are done at once, one after
//! the other. Decides nothing. Invariant: when a call returns, the slice has nothing left to do.

use base::{Change, SliceId};
use node::shard::Partition;
use slice::{
    HistoryMode, Options, Pace, ReadId, ReadRequest, ReadResult, ScrubPace, Slice, SliceEffect,
    SliceRoot, StepBudget, WorkBudget,
};

use crate::files::Files;

const STEP: StepBudget = StepBudget { changes: 4096, turns: 64 };
const WORK: WorkBudget = WorkBudget {
    write_bytes: 16 << 20,
    purge_entries: 4096,
    relocate_pages: 0,
    scrub: ScrubPace::Rest,
};
/// Memory for pages of one slice.
const CACHE_BYTES: usize = 64 << 20;

/// A slice and the files that it lies in.
pub struct Offline<'a> {
    files: &'a Files,
    slice: Slice,
    root: Option<SliceRoot>,
    answer: Option<ReadResult>,
    reads: u64,
}

impl<'a> Offline<'a> {
    /// An empty slice.
    pub fn create(files: &'a Files, id: SliceId, partition: Partition) -> Offline<'a> {
        Offline::of(files, Slice::create(id, options(id, partition)))
    }

    /// The slice of a checkpoint.
    pub fn open(
        files: &'a Files,
        root: SliceRoot,
        partition: Partition,
    ) -> Result<Offline<'a>, String> {
        let slice = Slice::open(root.slice, options(root.slice, partition), root);
        let mut offline = Offline::of(files, slice);
        offline.run()?;
        Ok(offline)
    }

    fn of(files: &'a Files, slice: Slice) -> Offline<'a> {
        Offline { files, slice, root: None, answer: None, reads: 0 }
    }

    /// Applies changes in the order of revisions; `through` is the revision that is reached.
    pub fn apply(&mut self, changes: &[Change], through: i64) -> Result<(), String> {
        self.slice.apply(changes, through);
        self.run()
    }

    /// Raises the compact revision.
    pub fn compact(&mut self, main: i64) -> Result<(), String> {
        self.slice.compact(main);
        self.run()
    }

    /// Makes everything durable and answers what the manifest must say.
    pub fn freeze(&mut self, generation: u64) -> Result<SliceRoot, String> {
        self.slice.freeze(generation);
        self.run()?;
        Ok(self.root.take().expect("nothing is left to wait for"))
    }

    /// Reads.
    pub fn read(&mut self, request: ReadRequest) -> Result<ReadResult, String> {
        self.reads += 1;
        self.slice.read(ReadId(self.reads), request);
        self.run()?;
        Ok(self.answer.take().expect("nothing is left to wait for"))
    }

    fn run(&mut self) -> Result<(), String> {
        loop {
            let step = self.slice.step(STEP);
            let work = self.slice.work(WORK);
            let mut did_anything = false;
            while let Some(effect) = self.slice.poll_effect() {
                did_anything = true;
                self.effect(effect)?;
            }
            if !did_anything && (step, work) == (Pace::Idle, Pace::Idle) {
                return Ok(());
            }
        }
    }

    fn effect(&mut self, effect: SliceEffect) -> Result<(), String> {
        match effect {
            SliceEffect::Io { op, request } => {
                let result = self.files.run(&request);
                self.slice.io_done(op, result);
            }
            SliceEffect::ReadDone { result, .. } => self.answer = Some(result),
            SliceEffect::Durable { root, .. } => self.root = Some(root),
            SliceEffect::Purged { .. } => {}
            SliceEffect::NoSpace { file } => {
                return Err(format!("no space left for {}", self.files.path(file).display()));
            }
            SliceEffect::Broken(failure) => return Err(format!("{failure:?}")),
        }
        Ok(())
    }
}

fn options(id: SliceId, partition: Partition) -> Options {
    let history = match id == partition.meta() {
        true => HistoryMode::None,
        false => HistoryMode::Kept(history_options()),
    };
    Options {
        tree: tree::Options { cache_bytes: CACHE_BYTES },
        history,
        turn_entries: 1024,
        turn_bytes: 256 << 10,
        prefetch_changes: 1,
        writes_max: 64,
    }
}

/// How the history of a slice is cut, as the server does.
pub fn history_options() -> history::Options {
    history::Options {
        block_bytes: base::limits::HISTORY_BLOCK_BYTES,
        segment_bytes: base::limits::HISTORY_SEGMENT_BYTES,
        flush_bytes: 1 << 20,
        cache_bytes: CACHE_BYTES / 8,
    }
}
