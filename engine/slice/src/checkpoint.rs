//! Owns the way of a checkpoint through the slice: freeze, paced writes, syncs, root, commit.
//! Never writes a manifest. Invariant: a root is announced after everything that it names is
//! durable, and nothing of the one before is let go until the owner says that the new one is.

use base::{FileId, IoRequest};

use crate::io::Op;
use crate::root::SliceRoot;
use crate::slice::{Pace, Slice, SliceEffect};

/// Where the checkpoint under way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checkpoint {
    Idle,
    /// Pages are being written.
    Writing {
        frozen: Frozen,
        tree_wrote: TreeWrote,
    },
    /// The tree's file is being synced, history perhaps still written.
    Syncing {
        frozen: Frozen,
    },
    /// The tree is durable.
    TreeDurable {
        frozen: Frozen,
    },
    /// The root was announced.
    Announced {
        frozen: Frozen,
    },
    /// The manifest is durable; a change that holds an old value's place must finish first.
    Committing {
        frozen: Frozen,
    },
}

/// Whether the image needed writing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TreeWrote {
    Something,
    Nothing,
}

/// What was frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frozen {
    generation: u64,
    applied: i64,
    compact: i64,
}

impl Checkpoint {
    pub fn tree_synced(&mut self) {
        let Checkpoint::Syncing { frozen } = *self else {
            unreachable!("a sync belongs to a checkpoint: {self:?}")
        };
        *self = Checkpoint::TreeDurable { frozen };
    }
}

impl Slice {
    /// The freeze has come to the front of the stream.
    pub(crate) fn begin_freeze(&mut self, generation: u64) {
        assert_eq!(self.checkpoint, Checkpoint::Idle);
        assert!(self.stream.half.is_none());
        self.frozen = generation;
        self.tree.freeze(generation);
        let compact = self.compact;
        if let Some(history) = self.past.get() {
            history.freeze(generation);
        }
        // Only now, see `Slice::compact`: points inside the compacted transaction have been
        // readable for as long as it took to come here.
        self.release_past();
        let frozen = Frozen { generation, applied: self.stream.applied, compact };
        self.checkpoint = Checkpoint::Writing { frozen, tree_wrote: TreeWrote::Nothing };
    }

    /// Hands out writes of up to `budget` bytes and moves the checkpoint on.
    pub(crate) fn run_writes(&mut self, budget: usize) -> Pace {
        let mut room = budget;
        let pace = loop {
            if room == 0 {
                break Pace::Busy;
            }
            if self.options.writes_max <= self.io.writes() {
                break Pace::Idle;
            }
            match self.next_write() {
                Some(bytes) => room = room.saturating_sub(bytes),
                None => break Pace::Idle,
            }
        };
        self.sync_tree();
        self.sync_history();
        self.announce();
        pace
    }

    fn next_write(&mut self) -> Option<usize> {
        if let Checkpoint::Writing { frozen, .. } = self.checkpoint
            && let Some(write) = self.tree.poll_write()
        {
            let len = write.bytes.len();
            let file = FileId::Tree(self.id);
            let request = IoRequest::Write { file, offset: write.offset, bytes: write.bytes };
            self.io.begin(Op::TreeWrite(write.ticket), request);
            self.checkpoint = Checkpoint::Writing { frozen, tree_wrote: TreeWrote::Something };
            return Some(len);
        }
        let write = self.past.get()?.poll_write()?;
        let len = write.bytes.len();
        let request =
            IoRequest::Write { file: write.file, offset: write.offset, bytes: write.bytes };
        self.io.begin(Op::HistoryWrite(write.ticket), request);
        Some(len)
    }

    fn sync_tree(&mut self) {
        let Checkpoint::Writing { frozen, tree_wrote } = self.checkpoint else { return };
        if self.tree.frozen_root().is_none() {
            return;
        }
        match tree_wrote {
            TreeWrote::Nothing => self.checkpoint = Checkpoint::TreeDurable { frozen },
            TreeWrote::Something => {
                self.checkpoint = Checkpoint::Syncing { frozen };
                self.io.begin(Op::TreeSync, IoRequest::Sync { file: FileId::Tree(self.id) });
            }
        }
    }

    fn sync_history(&mut self) {
        let Some(history) = self.past.get() else { return };
        while let Some((file, ticket)) = history.poll_sync() {
            self.io.begin(Op::HistorySync(ticket), IoRequest::Sync { file });
        }
    }

    fn announce(&mut self) {
        let Checkpoint::TreeDurable { frozen } = self.checkpoint else { return };
        let history = match self.past.get().map(|history| history.frozen_root()) {
            None => None,
            Some(None) => return,
            Some(root) => root,
        };
        let Frozen { generation, applied, compact } = frozen;
        let tree = self.tree.frozen_root().expect("it was written before it was synced");
        let root = SliceRoot { slice: self.id, applied, compact, tree, history };
        self.checkpoint = Checkpoint::Announced { frozen };
        self.effects.push_back(SliceEffect::Durable { generation, root });
    }

    pub(crate) fn begin_commit(&mut self, generation: u64) {
        let Checkpoint::Announced { frozen } = self.checkpoint else {
            panic!("committed before it was durable: {:?}", self.checkpoint)
        };
        assert_eq!(frozen.generation, generation);
        self.checkpoint = Checkpoint::Committing { frozen };
        self.finish_commit();
    }

    /// Commits unless a change still reads a value that the tree would let go of.
    pub(crate) fn finish_commit(&mut self) {
        let Checkpoint::Committing { frozen } = self.checkpoint else { return };
        if self.half_rev().is_some() {
            return;
        }
        self.committed = frozen.generation;
        self.tree.commit(frozen.generation);
        if let Some(history) = self.past.get() {
            history.commit(frozen.generation);
        }
        self.checkpoint = Checkpoint::Idle;
        self.relocate.is_settled = false;
        self.reads.forget_extents();
    }
}
