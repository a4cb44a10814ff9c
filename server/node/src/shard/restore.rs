//! Owns the opening of a shard's slices at start, and the scan that gives the leader its head index
//! back.
//! Invariant: of each opened slice every live key is reported once, then its end.

use base::{Rev, SliceId};
use bytes::Bytes;
use slice::{
    Fields, HistoryMode, KeyRange, Options, RangeEnd, ReadRequest, ReadResult, Slice, SliceRoot,
};

use super::stage::Presence;
use super::{Partition, Shard, ShardEffect, Side};
use crate::message::{RestoredKey, ToLeader};

/// Keys of one message to the leader.
const CHUNK_KEYS: usize = 4096;
/// Bytes of one message to the leader.
const CHUNK_BYTES: usize = 1 << 20;

impl Shard {
    /// Makes or opens the slices of this shard.
    pub(super) fn open_slices(
        &mut self,
        side: Side,
        slices: Vec<(SliceId, Bytes)>,
        revision: i64,
        compact_revision: i64,
    ) {
        self.config.partition.side = side;
        self.store = Presence::Open;
        self.clear_other_side();
        self.facts.revision = revision;
        self.facts.compact_revision = compact_revision;
        let store = watch::Store { revision, compact: compact_revision.max(0) };
        self.hub = watch::WatchHub::new(self.config.watch.clone(), store, self.facts.term);
        for (id, root) in slices {
            let options = self.slice_options(id);
            if root.is_empty() {
                self.slices.insert(id, Slice::create(id, options));
                continue;
            }
            match SliceRoot::decode(&root) {
                Ok(root) => {
                    self.slices.insert(id, Slice::open(id, options, root));
                    self.compact_due = Some(compact_revision).filter(|main| *main > 0);
                    self.scan(id, Bytes::new());
                }
                Err(error) => {
                    let what = format!("the root of slice {} cannot be used: {error:?}", id.0);
                    self.out.push_back(ShardEffect::ToLeader(ToLeader::Broken { what }));
                }
            }
        }
        self.serve_early_reads();
    }

    pub(super) fn slice_options(&self, id: SliceId) -> Options {
        let cache_bytes = usize::try_from(self.config.cache_bytes).unwrap_or(usize::MAX);
        let side = Side::of(id);
        let history = match id == (Partition { side, ..self.config.partition }).meta() {
            true => HistoryMode::None,
            false => HistoryMode::Kept(history::Options {
                block_bytes: 16 << 10,
                segment_bytes: 8 << 20,
                flush_bytes: 1 << 20,
                cache_bytes: cache_bytes / 8,
            }),
        };
        Options {
            tree: tree::Options { cache_bytes: cache_bytes - cache_bytes / 8 },
            history,
            turn_entries: 1024,
            turn_bytes: 256 << 10,
            prefetch_changes: 64,
            writes_max: 8,
        }
    }

    fn scan(&mut self, slice: SliceId, from: Bytes) {
        let meta = slice == self.config.partition.meta();
        let request = ReadRequest::Range {
            keys: KeyRange { start: from, end: RangeEnd::Unbounded },
            // The meta slice knows only now, and counts its changes in its own way.
            at: if meta { Rev::ZERO } else { Rev::end_of(self.facts.revision) },
            limit: CHUNK_KEYS,
            limit_bytes: CHUNK_BYTES,
            fields: if meta { Fields::WithValues } else { Fields::KeysOnly },
        };
        let read = self.name_scan(slice);
        self.send_read(read, slice, request);
    }

    /// Part of a scan has been read.
    pub(super) fn scanned(&mut self, slice: SliceId, result: &ReadResult) {
        let ReadResult::Range { items, resume } = result else {
            panic!("a scan reads a range at the newest revision");
        };
        let keys = items
            .iter()
            .map(|item| RestoredKey {
                key: item.key.clone(),
                version: item.version,
                value: item.value.clone(),
            })
            .collect();
        let last = resume.is_none();
        self.out.push_back(ShardEffect::ToLeader(ToLeader::Restored { slice, keys, last }));
        if let Some(from) = resume {
            self.scan(slice, from.clone());
        }
    }
}
