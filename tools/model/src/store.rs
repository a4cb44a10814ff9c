//! Owns the list of all changes and every question that it answers: ranges at any revision,
//! deletes, compaction, watches. Knows nothing of leases but the number in a pair. Invariant:
//! changes are in (revision, order of execution) order, and the changes of one batch share one
//! revision.

use bytes::Bytes;
use std::collections::BTreeMap;
use wire::etcdserverpb as pb;
use wire::mvccpb::{self, KeyValue};
use wire::{Code, Status};

/// One change of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The revision it made.
    pub revision: i64,
    /// The key.
    pub key: Bytes,
    /// The pair from then on; `None` after a delete.
    pub pair: Option<KeyValue>,
}

/// Why a watch sees nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchEnd {
    /// The end is not above the key.
    EmptyRange,
    /// The past it asks for is gone up to this revision.
    Compacted(i64),
}

/// All changes since the beginning, less what compaction took away.
#[derive(Clone, Debug)]
pub struct Store {
    changes: Vec<Change>,
    revision: i64,
    compacted: i64,
    /// Whether the open batch has changed anything.
    dirty: bool,
}

impl Default for Store {
    fn default() -> Store {
        Store { changes: Vec::new(), revision: 1, compacted: -1, dirty: false }
    }
}

impl Store {
    /// The current revision, without the open batch.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The compacted revision; -1 when nothing was ever compacted.
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// The current revision as a reader inside the open batch sees it.
    pub fn written_revision(&self) -> i64 {
        self.revision + i64::from(self.dirty)
    }

    /// Opens a batch: everything up to `end` shares one revision.
    pub fn begin(&mut self) {
        assert!(!self.dirty, "a batch inside of a batch");
    }

    /// Closes the batch. Without a change the revision stays.
    pub fn end(&mut self) {
        self.revision = self.written_revision();
        self.dirty = false;
    }

    /// Whether a read at this revision can be answered; 0 and less is now.
    pub fn check_revision(&self, revision: i64) -> Result<(), Status> {
        if revision > self.revision {
            return Err(future());
        }
        if revision > 0 && revision < self.compacted {
            return Err(compacted());
        }
        Ok(())
    }

    /// The live pairs with revision <= `at`, in key order.
    fn live(&self, at: i64) -> BTreeMap<Bytes, KeyValue> {
        let mut live = BTreeMap::new();
        for change in self.changes.iter().take_while(|change| change.revision <= at) {
            match &change.pair {
                Some(pair) => live.insert(change.key.clone(), pair.clone()),
                None => live.remove(&change.key),
            };
        }
        live
    }

    /// The live pairs of a range at a revision, in key order.
    pub fn pairs(&self, key: &[u8], end: &[u8], at: i64) -> Vec<KeyValue> {
        self.live(at).into_values().filter(|pair| covers(key, end, &pair.key)).collect()
    }

    /// The pair of a key as the open batch sees it.
    pub fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.pairs(key, b"", self.written_revision()).pop()
    }

    /// Puts a pair in the open batch; answers the batch's revision.
    pub fn put(&mut self, key: Bytes, value: Bytes, lease: i64) -> i64 {
        let before = self.get(&key);
        self.dirty = true;
        let revision = self.written_revision();
        let pair = KeyValue {
            key: key.clone(),
            create_revision: before.as_ref().map_or(revision, |pair| pair.create_revision),
            mod_revision: revision,
            version: before.map_or(0, |pair| pair.version) + 1,
            value,
            lease,
        };
        self.changes.push(Change { revision, key, pair: Some(pair) });
        revision
    }

    /// Deletes a range in the open batch, in key order; answers the pairs that are gone.
    pub fn delete(&mut self, key: &[u8], end: &[u8]) -> Vec<KeyValue> {
        let gone = self.pairs(key, end, self.written_revision());
        self.dirty |= !gone.is_empty();
        let revision = self.written_revision();
        for pair in &gone {
            self.changes.push(Change { revision, key: pair.key.clone(), pair: None });
        }
        gone
    }

    /// Answers a range whose revision was checked, as the open batch sees it.
    pub fn range(&self, range: &pb::RangeRequest) -> pb::RangeResponse {
        let now = self.written_revision();
        let at = if range.revision > 0 { range.revision } else { now };
        let mut pairs = self.pairs(&range.key, &range.range_end, at);
        let mut reply = pb::RangeResponse {
            header: super::header(now),
            count: pairs.len() as i64,
            ..Default::default()
        };
        if range.count_only {
            return reply;
        }
        let unfiltered = !filters(range);
        let limit = usize::try_from(range.limit).unwrap_or(0);
        if limit > 0 && range.sort_order == pb::range_request::SortOrder::None as i32 && unfiltered
        {
            // Real etcd (3.5.1, watched): without an order only the first limit + 1 keys are
            // fetched, and a sort target then sorts just these.
            pairs.truncate(limit + 1);
        }
        pairs.retain(|pair| passes(range, pair));
        sort(range, &mut pairs);
        if limit > 0 && pairs.len() > limit {
            pairs.truncate(limit);
            reply.more = true;
        }
        if range.keys_only {
            pairs.iter_mut().for_each(|pair| pair.value = Bytes::new());
        }
        reply.kvs = pairs;
        reply
    }

    /// Takes away every change up to `revision` that no read from there on can see.
    pub fn compact(&mut self, revision: i64) -> Result<(), Status> {
        if revision <= self.compacted {
            return Err(compacted());
        }
        if revision > self.revision {
            return Err(future());
        }
        self.compacted = revision;
        let live = self.live(revision);
        self.changes.retain(|change| {
            change.revision >= revision || live.get(&change.key) == change.pair.as_ref()
        });
        Ok(())
    }

    /// The events of a watch up to now; see `Model::watch`.
    pub fn watch(&self, create: &pb::WatchCreateRequest) -> Result<Vec<mvccpb::Event>, WatchEnd> {
        let key: &[u8] = if create.key.is_empty() { b"\0" } else { &create.key };
        let end: &[u8] = &create.range_end;
        if !end.is_empty() && end != [0] && end <= key {
            return Err(WatchEnd::EmptyRange);
        }
        if create.start_revision != 0 && create.start_revision < self.compacted {
            return Err(WatchEnd::Compacted(self.compacted));
        }
        let start =
            if create.start_revision == 0 { self.revision + 1 } else { create.start_revision };
        let seen = self.changes.iter().filter(|change| {
            start <= change.revision && covers(key, &create.range_end, &change.key)
        });
        Ok(seen
            .map(|change| self.event(change, create.prev_kv))
            .filter(|event| !create.filters.contains(&event.r#type))
            .collect())
    }

    fn event(&self, change: &Change, with_previous: bool) -> mvccpb::Event {
        let (kind, pair) = match &change.pair {
            Some(pair) => (mvccpb::event::EventType::Put, pair.clone()),
            None => (
                mvccpb::event::EventType::Delete,
                KeyValue {
                    key: change.key.clone(),
                    mod_revision: change.revision,
                    ..Default::default()
                },
            ),
        };
        let made = pair.create_revision == pair.mod_revision;
        let before = change.revision - 1;
        let previous = (with_previous && !made && before >= self.compacted)
            .then(|| self.pairs(&change.key, b"", before).pop())
            .flatten();
        mvccpb::Event { r#type: kind as i32, kv: Some(pair), prev_kv: previous }
    }
}

/// Whether a range request covers a key: no end is one key, one zero byte is everything above.
pub fn covers(begin: &[u8], end: &[u8], key: &[u8]) -> bool {
    match end {
        [] => key == begin,
        [0] => begin <= key,
        _ => begin <= key && key < end,
    }
}

fn filters(range: &pb::RangeRequest) -> bool {
    range.min_mod_revision != 0
        || range.max_mod_revision != 0
        || range.min_create_revision != 0
        || range.max_create_revision != 0
}

fn passes(range: &pb::RangeRequest, pair: &KeyValue) -> bool {
    let within = |least: i64, most: i64, number: i64| {
        (least == 0 || least <= number) && (most == 0 || number <= most)
    };
    within(range.min_mod_revision, range.max_mod_revision, pair.mod_revision)
        && within(range.min_create_revision, range.max_create_revision, pair.create_revision)
}

/// Sorts as asked; pairs that are equal by the target stay in key order.
fn sort(range: &pb::RangeRequest, pairs: &mut [KeyValue]) {
    let by = |a: &KeyValue, b: &KeyValue| match range.sort_target {
        1 => a.version.cmp(&b.version),
        2 => a.create_revision.cmp(&b.create_revision),
        3 => a.mod_revision.cmp(&b.mod_revision),
        4 => a.value.cmp(&b.value),
        _ => a.key.cmp(&b.key),
    };
    if range.sort_order == pb::range_request::SortOrder::Descend as i32 {
        pairs.sort_by(|a, b| by(b, a));
    } else {
        pairs.sort_by(by);
    }
}

fn future() -> Status {
    Status::new(Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision")
}

/// The one error of a past that is gone.
pub fn compacted() -> Status {
    Status::new(Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted")
}
