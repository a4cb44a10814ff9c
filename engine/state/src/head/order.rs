//! Owns the order of the live keys: chunks of slots, ascending by the keys that they name.
//! Never owns a key. Invariant: no chunk is empty, none holds more than `CHUNK_MAX`, and the keys
//! rise within and across chunks (except while a checkpoint is being restored).

use super::{Slab, Slot};

/// Slots in one chunk.
const CHUNK_MAX: usize = 512;
/// Neighbours that together are at most this long become one.
const CHUNK_JOIN: usize = CHUNK_MAX / 2;
/// Slots in a chunk after a restore, so that the next inserts do not split every chunk.
const CHUNK_RESTORED: usize = CHUNK_MAX / 4 * 3;

#[derive(Default)]
pub(super) struct Order {
    chunks: Vec<Vec<Slot>>,
}

/// A place between keys.
#[derive(Clone, Copy)]
pub(super) struct Place {
    chunk: usize,
    at: usize,
}

pub(super) const START: Place = Place { chunk: 0, at: 0 };

impl Order {
    /// Where the first key at or after `key` stands, or would stand.
    pub(super) fn seek(&self, slab: &Slab, key: &[u8]) -> Place {
        let key_of = |slot: Slot| &*slab.entry(slot).key;
        let after = self.chunks.partition_point(|chunk| key_of(chunk[0]) <= key);
        let chunk = after.saturating_sub(1);
        let at = self
            .chunks
            .get(chunk)
            .map_or(0, |slots| slots.partition_point(|slot| key_of(*slot) < key));
        Place { chunk, at }
    }

    pub(super) fn walk(&self, from: Place) -> impl Iterator<Item = Slot> + '_ {
        let first = self.chunks.get(from.chunk).map_or(&[][..], |chunk| &chunk[from.at..]);
        let rest = self.chunks.iter().skip(from.chunk + 1).flatten();
        first.iter().chain(rest).copied()
    }

    pub(super) fn insert(&mut self, slab: &Slab, slot: Slot) {
        let place = self.seek(slab, &slab.entry(slot).key);
        if self.chunks.is_empty() {
            self.chunks.push(chunk_of(&[slot]));
            return;
        }
        let full = self.chunks[place.chunk].len() == CHUNK_MAX;
        let last = place.chunk + 1 == self.chunks.len();
        if full && last && place.at == CHUNK_MAX {
            // Rising keys fill their chunks instead of leaving each half empty.
            self.chunks.push(chunk_of(&[slot]));
            return;
        }
        let mut place = place;
        if full {
            let right = chunk_of(&self.chunks[place.chunk][CHUNK_MAX / 2..]);
            self.chunks[place.chunk].truncate(CHUNK_MAX / 2);
            self.chunks.insert(place.chunk + 1, right);
            if place.at > CHUNK_MAX / 2 {
                place = Place { chunk: place.chunk + 1, at: place.at - CHUNK_MAX / 2 };
            }
        }
        self.chunks[place.chunk].insert(place.at, slot);
    }

    pub(super) fn remove(&mut self, slab: &Slab, slot: Slot) {
        let place = self.seek(slab, &slab.entry(slot).key);
        let removed = self.chunks[place.chunk].remove(place.at);
        assert_eq!(removed, slot);
        let left = self.chunks[place.chunk].len();
        if left == 0 {
            self.chunks.remove(place.chunk);
        } else if self.chunks.get(place.chunk + 1).is_some_and(|r| r.len() + left <= CHUNK_JOIN) {
            let right = self.chunks.remove(place.chunk + 1);
            self.chunks[place.chunk].extend(right);
        }
    }

    pub(super) fn push_unsorted(&mut self, slot: Slot) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_RESTORED => chunk.push(slot),
            Some(_) | None => self.chunks.push(chunk_of(&[slot])),
        }
    }

    pub(super) fn sort(&mut self, slab: &Slab) {
        let mut all: Vec<Slot> = self.walk(START).collect();
        // Stable, for its speed on runs; keys are unique.
        all.sort_by(|left, right| slab.entry(*left).key.cmp(&slab.entry(*right).key));
        self.chunks = all.chunks(CHUNK_RESTORED).map(chunk_of).collect();
    }

    #[cfg(test)]
    pub(super) fn chunk_sizes(&self) -> Vec<usize> {
        self.chunks.iter().map(Vec::len).collect()
    }
}

fn chunk_of(slots: &[Slot]) -> Vec<Slot> {
    let mut chunk = Vec::with_capacity(CHUNK_MAX);
    chunk.extend_from_slice(slots);
    chunk
}
