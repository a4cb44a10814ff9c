//! Owns reading live keys at a point, in key order. Never sees more than one turn's worth at once.
//! Invariant: an entry changed after the point is followed back through history to the version
//! that the point saw; a key that the tree does not know did not exist then.
//!
//! ```text
//!  scan the tree ──> found entries ──> version at the point ──> value ──> items
//!    (a turn)          (queue)         (hops through history)   (extent)
//! ```

use std::collections::VecDeque;
use std::ops::{Bound, ControlFlow};

use base::{Rev, Version};
use bytes::{Bytes, BytesMut};
use tree::{Entry, EntryRef, ScanEnd, Value, ValueRef};

use crate::apply::version_of;
use crate::io::{Page, Waiter};
use crate::reads::Turn;
use crate::request::{Fields, Item, KeyRange, RangeEnd, ReadId, ReadResult};
use crate::slice::Slice;

/// Large values that are read at once for one read.
const VALUES_AHEAD: usize = 8;
/// Bytes of keys and values that share a piece of memory: as long as one of them is held, so are
/// the others.
const BLOCK_BYTES: usize = 16 << 10;

pub(crate) struct Range {
    at: Rev,
    limit: usize,
    room_bytes: usize,
    fields: Fields,
    end: RangeEnd,
    /// Where the tree's scan goes on.
    from: Bound<Bytes>,
    is_exhausted: bool,
    /// Entries that were scanned and not answered yet.
    found: VecDeque<Found>,
    /// How far the first of them was followed back: the revision to look up next.
    hop: Option<Rev>,
    items: Vec<Item>,
}

struct Found {
    key: Bytes,
    /// As the tree had it; without its value if that is not needed.
    entry: Entry,
    /// Length of the value that the tree had.
    value_bytes: usize,
}

/// A version of a key, and where its value is.
struct Seen {
    version: Version,
    value: Value,
}

impl Range {
    pub fn new(keys: KeyRange, at: Rev, limit: usize, limit_bytes: usize, fields: Fields) -> Range {
        assert!(0 < limit);
        Range {
            at,
            limit,
            room_bytes: limit_bytes.max(1),
            fields,
            end: keys.end,
            from: Bound::Included(keys.start),
            is_exhausted: false,
            found: VecDeque::new(),
            hop: None,
            items: Vec::new(),
        }
    }

    pub fn turn(&mut self, slice: &mut Slice, id: ReadId) -> Turn {
        if self.found.is_empty()
            && !self.is_exhausted
            && let Err(turn) = self.scan(slice, id)
        {
            return turn;
        }
        let mut hops = slice.options.turn_entries;
        while let Some(mut found) = self.found.pop_front() {
            match self.resolve(slice, &mut found, &mut hops) {
                Ok(seen) => {
                    self.hop = None;
                    if let Some(Told { version, value, value_bytes }) = seen {
                        let bytes = found.key.len() + value.len();
                        self.room_bytes = self.room_bytes.saturating_sub(bytes);
                        self.items.push(Item { key: found.key, version, value, value_bytes });
                    }
                }
                Err(Stop::Tired(hop)) => {
                    self.hop = Some(hop);
                    self.found.push_front(found);
                    return Turn::Again;
                }
                Err(Stop::Missed { page, hop }) => {
                    self.hop = hop;
                    self.found.push_front(found);
                    self.values_ahead(slice);
                    return Turn::Wait(page);
                }
            }
            if self.items.len() == self.limit || self.room_bytes == 0 {
                return self.done();
            }
        }
        if self.is_exhausted { self.done() } else { Turn::Again }
    }

    /// Places of large values may have been reused: look those entries up again.
    pub fn forget_extents(&mut self) {
        let is_extent = |found: &Found| matches!(found.entry.value, Value::Extent(_));
        let Some(first) = self.found.iter().position(is_extent) else { return };
        if first == 0 {
            self.hop = None;
        }
        self.from = Bound::Included(self.found[first].key.clone());
        self.found.truncate(first);
        self.is_exhausted = false;
    }

    fn done(&mut self) -> Turn {
        let is_end = self.found.is_empty() && self.is_exhausted;
        let last = self.items.last().filter(|_| !is_end);
        let resume = last.map(|last| successor(&last.key));
        let items = std::mem::take(&mut self.items);
        Turn::Done(ReadResult::Range { items, resume })
    }

    /// Gathers one turn's entries from the tree.
    fn scan(&mut self, slice: &mut Slice, id: ReadId) -> Result<(), Turn> {
        if self.end == RangeEnd::Single {
            return self.get(slice);
        }
        let (at, fields) = (self.at, self.fields);
        let has_past = slice.past.get().is_some();
        let limit = slice.options.turn_entries.min(self.limit - self.items.len());
        let mut looks = slice.options.turn_entries;
        let mut room = slice.options.turn_bytes.min(self.room_bytes);
        let found = &mut self.found;
        let mut last = Bytes::new();
        let mut block = Block::default();
        let from = self.from.clone();
        let end = match &self.end {
            RangeEnd::Before(end) => Some(end.clone()),
            RangeEnd::Unbounded => None,
            RangeEnd::Single => unreachable!("handled above"),
        };
        let mut visit = |key: &[u8], entry: EntryRef<'_>| {
            looks -= 1;
            let is_seen = !has_past || entry.modified <= at;
            if entry.is_live() || !is_seen {
                let value_bytes = entry.value.value_bytes();
                let is_wanted = is_seen && fields == Fields::WithValues;
                room = room.saturating_sub(key.len() + if is_wanted { value_bytes } else { 0 });
                let key = block.copy(key);
                let entry = block.entry(&entry, is_wanted);
                found.push_back(Found { key, entry, value_bytes });
            }
            if looks == 0 || room == 0 || found.len() == limit {
                last = Bytes::copy_from_slice(key);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let from = from.as_ref().map(|key| key.as_ref());
        match slice.tree.scan(from, end.as_deref(), &mut visit) {
            Ok(ScanEnd::Finished) => self.is_exhausted = true,
            Ok(ScanEnd::Stopped) => self.from = Bound::Excluded(last),
            Err(missed) => {
                self.from = missed.resume;
                let mut misses = missed.misses.into_iter().map(Page::Tree);
                let first = misses.next().expect("a miss names the page");
                misses.for_each(|page| slice.want(page, Waiter::Nobody));
                if self.found.is_empty() {
                    return Err(Turn::Wait(first));
                }
                slice.want(first, Waiter::Read(id));
            }
        }
        Ok(())
    }

    fn get(&mut self, slice: &mut Slice) -> Result<(), Turn> {
        let (Bound::Included(key) | Bound::Excluded(key)) = self.from.clone() else {
            unreachable!("ranges have a start")
        };
        let entry = slice.tree.get(&key).map_err(|miss| Turn::Wait(Page::Tree(miss)))?;
        self.is_exhausted = true;
        if let Some(entry) = entry {
            let value_bytes = entry.value.value_bytes();
            self.found.push_back(Found { key, entry, value_bytes });
        }
        Ok(())
    }

    /// What the point sees of an entry; `None` if it was absent. Takes a value that is at hand out
    /// of the entry: cloning would cost an allocation.
    fn resolve(
        &self,
        slice: &mut Slice,
        found: &mut Found,
        hops: &mut usize,
    ) -> Result<Option<Told>, Stop> {
        let entry = &mut found.entry;
        let is_seen = slice.past.get().is_none() || entry.modified <= self.at;
        if is_seen && !entry.is_live() {
            return Ok(None);
        }
        let mut looked_back = None;
        let (version, value_bytes, value) = if is_seen {
            (version_of(entry), found.value_bytes, &mut entry.value)
        } else {
            let from = self.hop.unwrap_or(entry.modified);
            match self.look_back(slice, from, hops)? {
                Some(seen) => {
                    let bytes = seen.value.value_bytes();
                    (seen.version, bytes, &mut looked_back.insert(seen).value)
                }
                None => return Ok(None),
            }
        };
        let value = match (self.fields, value) {
            (Fields::KeysOnly, _) => Bytes::new(),
            (Fields::WithValues, Value::Inline(bytes)) => std::mem::take(bytes),
            (Fields::WithValues, value) => slice
                .tree
                .value(value)
                .map_err(|miss| Stop::Missed { page: Page::Tree(miss), hop: self.hop })?,
        };
        Ok(Some(Told { version, value, value_bytes }))
    }

    /// Follows previous versions from the change at `from` (after the point) to the one that the
    /// point sees.
    fn look_back(
        &self,
        slice: &mut Slice,
        from: Rev,
        hops: &mut usize,
    ) -> Result<Option<Seen>, Stop> {
        let mut rev = from;
        loop {
            assert!(self.at < rev);
            if *hops == 0 {
                return Err(Stop::Tired(rev));
            }
            *hops -= 1;
            let before = before(slice, rev)
                .map_err(|miss| Stop::Missed { page: Page::History(miss), hop: Some(rev) })?;
            match before {
                Before::Nothing => return Ok(None),
                Before::Tombstone(ended) if ended <= self.at => return Ok(None),
                Before::Tombstone(ended) => rev = ended,
                Before::Live(seen) if seen.version.modified <= self.at => return Ok(Some(seen)),
                Before::Live(seen) => rev = seen.version.modified,
            }
        }
    }

    /// Reads the large values of the next entries while one is being read.
    fn values_ahead(&mut self, slice: &mut Slice) {
        if self.fields == Fields::KeysOnly {
            return;
        }
        for found in self.found.iter().take(VALUES_AHEAD) {
            let is_seen = found.entry.modified <= self.at && found.entry.is_live();
            if let (true, Err(miss)) = (is_seen, slice.tree.value(&found.entry.value)) {
                slice.want(Page::Tree(miss), Waiter::Nobody);
            }
        }
    }
}

/// What a reader is told of a key.
struct Told {
    version: Version,
    /// Empty if it is not wanted.
    value: Bytes,
    value_bytes: usize,
}

/// Copies of keys and small values, many to a piece of memory: an allocation for each would cost
/// more than the copy.
#[derive(Default)]
struct Block {
    free: BytesMut,
}

impl Block {
    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if BLOCK_BYTES / 4 < bytes.len() {
            return Bytes::copy_from_slice(bytes);
        }
        if self.free.capacity() < bytes.len() {
            self.free = BytesMut::with_capacity(BLOCK_BYTES);
        }
        self.free.extend_from_slice(bytes);
        self.free.split().freeze()
    }

    /// An entry with its value, or with an empty one.
    fn entry(&mut self, entry: &EntryRef<'_>, is_value_wanted: bool) -> Entry {
        let value = match entry.value {
            _ if !is_value_wanted => Value::Inline(Bytes::new()),
            ValueRef::Inline(bytes) => Value::Inline(self.copy(bytes)),
            ValueRef::Waiting(bytes) => Value::Inline(bytes.clone()),
            ValueRef::Extent(extent) => Value::Extent(extent),
        };
        let EntryRef { modified, create, version, lease, value: _ } = *entry;
        Entry { modified, create, version, lease, value }
    }
}

/// Why an entry is not resolved yet.
enum Stop {
    /// Enough for this turn; go on at this revision.
    Tired(Rev),
    /// A page is missing.
    Missed { page: Page, hop: Option<Rev> },
}

/// What a key was before a change.
enum Before {
    /// Absent, and as far back as can be read.
    Nothing,
    /// Absent since then.
    Tombstone(Rev),
    Live(Seen),
}

/// What the key was before the change at `rev`.
fn before(slice: &mut Slice, rev: Rev) -> Result<Before, history::Miss> {
    if let Some(half) = slice.stream.half.as_ref().filter(|half| half.change.rev == rev) {
        return Ok(Before::Live(Seen { version: half.was, value: half.value.clone() }));
    }
    let history = slice.past.get().expect("points matter only with a history");
    let record = history.find(rev)?;
    let record = record.expect("history has every change since the compact revision");
    Ok(match (record.prev, record.tombstone) {
        (Some(prev), _) => {
            let value = Value::Inline(prev.value);
            Before::Live(Seen { version: prev.version, value })
        }
        (None, Some(ended)) => Before::Tombstone(ended),
        (None, None) => Before::Nothing,
    })
}

/// The least key above.
fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    Bytes::from(next)
}
