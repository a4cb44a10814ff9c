//! Owns the head index: every live key with its metadata, found by key in one probe and walked in
//! order. Never holds a value, a deleted key or a borrowed buffer.
//! Invariant: the table, the order and the slab name the same set of keys.
//!
//! ```text
//!   key --hash--> one of many small tables --slot--> slab[slot] = key, metadata    56 B + key
//!   order: chunks of at most 512 (tag, slot), ascending by the keys they name      8 to 16 B
//!   tables                                                                         6 to 11 B
//! ```
//! A B-tree of keys answered a point lookup with some twenty cache misses, and one large table
//! rehashes a million keys in one pause; so there are many small ones, each growing alone.

use std::hash::{DefaultHasher, Hasher};

use base::{Rev, Version};
use hashbrown::HashTable;

use crate::span::Span;

mod order;
#[cfg(test)]
mod tests;

use order::Order;

/// Tables, each growing alone: ten million keys are a thousand in each.
const TABLES: usize = 8192;
/// Entries in one block of the slab; blocks never move.
const BLOCK: usize = 1024;

/// Where a live key stands. Stable until the key is deleted, then used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u32);

impl Slot {
    /// The lowest place there can be.
    pub(crate) const FIRST: Slot = Slot(0);
    /// The highest place there can be.
    pub(crate) const LAST: Slot = Slot(u32::MAX);
}

/// The live keys.
pub struct HeadIndex {
    hash_seed: u64,
    tables: Vec<HashTable<Slot>>,
    slab: Slab,
    order: Order,
}

struct Entry {
    key: Box<[u8]>,
    create: i64,
    main: i64,
    version: i64,
    lease: i64,
    sub: u32,
}

const _: () = assert!(size_of::<Entry>() == 56);

impl HeadIndex {
    /// An empty index. The seed only spreads keys over the table: no answer depends on it.
    pub fn new(hash_seed: u64) -> HeadIndex {
        let tables = (0..TABLES).map(|_| HashTable::new()).collect();
        HeadIndex { hash_seed, tables, slab: Slab::default(), order: Order::default() }
    }

    /// Number of live keys.
    pub fn len(&self) -> usize {
        self.slab.live
    }

    /// Whether no key lives.
    pub fn is_empty(&self) -> bool {
        self.slab.live == 0
    }

    /// Metadata of a live key.
    pub fn get(&self, key: &[u8]) -> Option<Version> {
        self.find(key).map(|slot| self.version(slot))
    }

    /// Where a live key stands.
    pub fn find(&self, key: &[u8]) -> Option<Slot> {
        let hash = hash_of(self.hash_seed, key);
        self.tables[table_of(hash)].find(hash, |slot| self.key(*slot) == key).copied()
    }

    /// The key that stands there.
    pub fn key(&self, slot: Slot) -> &[u8] {
        self.slab.key(slot)
    }

    /// Metadata of the key that stands there.
    pub fn version(&self, slot: Slot) -> Version {
        let entry = self.slab.entry(slot);
        let modified = Rev::new(entry.main, entry.sub);
        Version { create: entry.create, modified, version: entry.version, lease: entry.lease }
    }

    /// Replaces the metadata of a live key.
    pub fn set(&mut self, slot: Slot, to: Version) {
        let entry = self.slab.entry_mut(slot);
        assert!(!entry.key.is_empty());
        (entry.create, entry.main, entry.sub) = (to.create, to.modified.main, to.modified.sub);
        (entry.version, entry.lease) = (to.version, to.lease);
    }

    /// Adds a key that must not live yet. The key is copied, so that no request stays in memory
    /// for the sake of its key.
    pub fn insert(&mut self, key: &[u8], version: Version) -> Slot {
        let slot = self.name(key, version);
        self.order.insert(&self.slab, slot);
        slot
    }

    /// Takes a live key out.
    pub fn remove(&mut self, slot: Slot) -> Version {
        let version = self.version(slot);
        self.order.remove(&self.slab, slot);
        let hash = hash_of(self.hash_seed, self.key(slot));
        let named = self.tables[table_of(hash)].find_entry(hash, |named| *named == slot);
        named.unwrap_or_else(|_| unreachable!("a live key is in its table")).remove();
        self.slab.free(slot);
        version
    }

    /// The live keys of a span, ascending.
    pub fn range<'a>(&'a self, span: &'a Span) -> impl Iterator<Item = Slot> + 'a {
        let from = self.order.seek(&self.slab, span.start());
        self.order.walk(from).take_while(move |slot| span.contains(self.key(*slot)))
    }

    /// All live keys, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.order.walk(order::START)
    }

    /// Adds a key of a checkpoint, in any order. Until [`HeadIndex::finish_restore`] the index
    /// answers by key but not in order. False if the key was there already.
    #[must_use]
    pub fn restore(&mut self, key: &[u8], version: Version) -> bool {
        if self.find(key).is_some() {
            return false;
        }
        let slot = self.name(key, version);
        self.order.push_unsorted(slot);
        true
    }

    /// Puts what was restored in order. Sorted runs, as slices deliver them, are merely merged.
    pub fn finish_restore(&mut self) {
        self.order.sort(&self.slab);
    }

    fn name(&mut self, key: &[u8], version: Version) -> Slot {
        assert!(!key.is_empty());
        let slot = self.slab.take(key);
        self.set(slot, version);
        let hash = hash_of(self.hash_seed, key);
        let (slab, seed) = (&self.slab, self.hash_seed);
        let rehash = |slot: &Slot| hash_of(seed, slab.key(*slot));
        self.tables[table_of(hash)].insert_unique(hash, slot, rehash);
        slot
    }
}

fn hash_of(seed: u64, key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(seed);
    hasher.write(key);
    hasher.finish()
}

/// Bits that a table itself does not look at: it takes the highest seven and the lowest ones.
fn table_of(hash: u64) -> usize {
    (hash >> 32) as usize % TABLES
}

/// Entries in blocks that never move, with a list of free places.
#[derive(Default)]
struct Slab {
    blocks: Vec<Vec<Entry>>,
    free: Vec<Slot>,
    live: usize,
}

impl Slab {
    fn key(&self, slot: Slot) -> &[u8] {
        &self.entry(slot).key
    }

    fn entry(&self, slot: Slot) -> &Entry {
        &self.blocks[slot.0 as usize / BLOCK][slot.0 as usize % BLOCK]
    }

    fn entry_mut(&mut self, slot: Slot) -> &mut Entry {
        &mut self.blocks[slot.0 as usize / BLOCK][slot.0 as usize % BLOCK]
    }

    fn take(&mut self, key: &[u8]) -> Slot {
        self.live += 1;
        if let Some(slot) = self.free.pop() {
            self.entry_mut(slot).key = key.into();
            return slot;
        }
        if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let number = (self.blocks.len() - 1) * BLOCK;
        let block = self.blocks.last_mut().unwrap_or_else(|| unreachable!("pushed above"));
        let slot = u32::try_from(number + block.len()).expect("fewer than 2^32 live keys");
        block.push(Entry { key: key.into(), create: 0, main: 0, version: 0, lease: 0, sub: 0 });
        Slot(slot)
    }

    fn free(&mut self, slot: Slot) {
        self.live -= 1;
        self.entry_mut(slot).key = Box::default();
        self.free.push(slot);
    }
}
