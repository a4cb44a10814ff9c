//! Owns compactions whose client wants to hear when their space is given back (`physical`).
//! Compacts nothing itself. Invariant: such a call is answered once every slice of every shard has
//! given back what pins and the file system allow.
//!
//! ```text
//!  decided --> ask all shards --all done--> reply
//!                 ^      |
//!                 +------+ one wants a checkpoint: the leader makes one
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use slice::Compaction;
use wire::etcdserverpb as pb;

use super::call::Waits;
use super::reply::full_header;
use super::{Shard, ShardEffect};
use crate::message::{CallId, Question, ShardId, ToLeader, ToShard};

/// Compactions that somebody waits for.
pub struct Physicals {
    /// Ours: who has not answered yet, and what the others said.
    asking: BTreeMap<CallId, Asking>,
    /// Anybody's, to be told of our own slices.
    watching: Vec<Watching>,
}

struct Asking {
    main: i64,
    missing: u16,
    wants: Compaction,
}

struct Watching {
    shard: ShardId,
    call: CallId,
    main: i64,
}

impl Physicals {
    /// None yet.
    pub fn new() -> Physicals {
        Physicals { asking: BTreeMap::new(), watching: Vec::new() }
    }

    /// Does anybody wait for our slices?
    pub fn are_watched(&self) -> bool {
        !self.watching.is_empty()
    }

    /// Nobody waits any more.
    pub fn clear(&mut self) {
        *self = Physicals::new();
    }
}

impl Shard {
    /// A compaction was decided whose client waits for its space.
    pub(super) fn wait_for_space(&mut self, call: CallId) {
        self.calls.now_waits(call, Waits::Space);
        self.ask_for_space(call, self.facts.compact_revision);
    }

    fn ask_for_space(&mut self, call: CallId, main: i64) {
        let missing = self.config.partition.shards;
        self.physicals.asking.insert(call, Asking { main, missing, wants: Compaction::Done });
        let from = self.config.id;
        for shard in self.others() {
            let message = ToShard::WatchCompaction { from, call, main };
            self.out.push_back(ShardEffect::ToShard { shard, message });
        }
        self.watch_compaction(from, call, main);
    }

    /// Somebody wants to know when our slices are done with a compaction, or want a checkpoint.
    pub(super) fn watch_compaction(&mut self, shard: ShardId, call: CallId, main: i64) {
        self.physicals.watching.push(Watching { shard, call, main });
    }

    /// Tells those whose compaction does not go on by itself. Looks at each tick.
    pub(super) fn tell_compactions(&mut self) {
        if self.compact_due.is_some() {
            return;
        }
        for watching in std::mem::take(&mut self.physicals.watching) {
            let Watching { shard, call, main } = watching;
            match self.compaction(main) {
                Compaction::Working => self.physicals.watching.push(watching),
                state if shard == self.config.id => self.compaction_at(call, state),
                state => {
                    let message = ToShard::CompactionAt { call, state };
                    self.out.push_back(ShardEffect::ToShard { shard, message });
                }
            }
        }
    }

    /// The state of the slice that lags behind all others.
    fn compaction(&mut self, main: i64) -> Compaction {
        let states = self.slices.iter_mut().map(|(_, slice)| slice.compaction(main));
        states.fold(Compaction::Done, behind)
    }

    /// A shard told how far its slices are.
    pub(super) fn compaction_at(&mut self, call: CallId, state: Compaction) {
        // Its client may have left.
        let Some(asking) = self.physicals.asking.get_mut(&call) else { return };
        asking.missing -= 1;
        asking.wants = behind(asking.wants, state);
        if asking.missing > 0 {
            return;
        }
        match asking.wants {
            Compaction::Working => unreachable!("who works on does not tell"),
            Compaction::WantsCheckpoint => {
                let question = Question::Checkpoint;
                self.out.push_back(ShardEffect::ToLeader(ToLeader::Ask { call, question }));
            }
            Compaction::Done => {
                self.physicals.asking.remove(&call);
                self.calls.remove(call);
                let header = Some(full_header(self.header()));
                let reply = pb::CompactionResponse { header }.encode_to_vec();
                self.reply(call, Bytes::from(reply));
            }
        }
    }

    /// The checkpoint is durable that a compaction wanted.
    pub(super) fn checkpoint_for(&mut self, call: CallId) {
        if let Some(Asking { main, .. }) = self.physicals.asking.remove(&call) {
            self.ask_for_space(call, main);
        }
    }

    /// The client of a call left.
    pub(super) fn forget_physical(&mut self, call: CallId) {
        self.physicals.asking.remove(&call);
    }
}

/// The one that needs more.
fn behind(one: Compaction, other: Compaction) -> Compaction {
    match (one, other) {
        (Compaction::Working, _) | (_, Compaction::Working) => Compaction::Working,
        (Compaction::WantsCheckpoint, _) | (_, Compaction::WantsCheckpoint) => {
            Compaction::WantsCheckpoint
        }
        (Compaction::Done, Compaction::Done) => Compaction::Done,
    }
}
