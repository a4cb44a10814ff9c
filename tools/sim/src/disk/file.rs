//! Owns one simulated file: its blocks, solid and not, and what a crash makes of them.
//! Never knows what the bytes mean. Invariant: a block without bytes reads as zeros.

use std::collections::BTreeMap;

use base::Prng;
use base::limits::BLOCK_BYTES;
use bytes::{Bytes, BytesMut};

/// What a disk writes whole, at least.
const PIECE_BYTES: usize = 512;
/// Longest read that meets nothing but holes without copying.
const ZEROS_MAX: usize = 1 << 20;
static ZEROS: [u8; ZEROS_MAX] = [0; ZEROS_MAX];

/// Whether the file's name survives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It does.
    Durable,
    /// Not before a sync.
    Unsynced,
}

/// One file, sparse.
#[derive(Debug)]
pub struct File {
    /// Its name.
    pub entry: Entry,
    solid: BTreeMap<u64, Bytes>,
    // Versions since the last sync, with their stamps, oldest first; `None` is a hole.
    loose: BTreeMap<u64, Vec<(u64, Option<Bytes>)>>,
}

impl File {
    /// A file that was just made.
    pub fn unsynced() -> File {
        File { entry: Entry::Unsynced, solid: BTreeMap::new(), loose: BTreeMap::new() }
    }

    /// What a reader sees.
    pub fn read(&self, offset: u64, len: usize) -> Bytes {
        let first = offset / BLOCK_BYTES as u64;
        let count = len.div_ceil(BLOCK_BYTES) as u64;
        if count == 1 {
            return self.block(first).unwrap_or_else(|| zeros(BLOCK_BYTES)).slice(..len);
        }
        let found = self.blocks_in(first, first + count);
        if found.is_empty() {
            return zeros(len);
        }
        let mut bytes = BytesMut::zeroed(count as usize * BLOCK_BYTES);
        for block in found {
            if let Some(found) = self.block(block) {
                let at = (block - first) as usize * BLOCK_BYTES;
                bytes[at..at + BLOCK_BYTES].copy_from_slice(&found);
            }
        }
        bytes.freeze().slice(..len)
    }

    fn block(&self, block: u64) -> Option<Bytes> {
        match self.loose.get(&block).and_then(|versions| versions.last()) {
            Some((_, bytes)) => bytes.clone(),
            None => self.solid(block),
        }
    }

    /// Blocks of `first..end` that may hold something.
    pub fn blocks_in(&self, first: u64, end: u64) -> Vec<u64> {
        let solid = self.solid.range(first..end).map(|(block, _)| *block);
        let loose = self.loose.range(first..end).map(|(block, _)| *block);
        let mut found: Vec<u64> = solid.chain(loose).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// A write or a hole that no sync covers yet.
    pub fn put(&mut self, block: u64, stamp: u64, bytes: Option<Bytes>) {
        self.loose.entry(block).or_default().push((stamp, bytes));
    }

    /// A write that is durable at once.
    pub fn put_solid(&mut self, block: u64, bytes: Bytes) {
        self.loose.remove(&block);
        self.solid.insert(block, bytes);
    }

    /// A block as it was, or a hole.
    pub fn restore(&mut self, block: u64, bytes: Option<Bytes>) {
        match bytes {
            Some(bytes) => drop(self.solid.insert(block, bytes)),
            None => drop(self.solid.remove(&block)),
        }
    }

    /// What survives a crash for certain.
    pub fn solid(&self, block: u64) -> Option<Bytes> {
        self.solid.get(&block).cloned()
    }

    /// The blocks that hold something for certain.
    pub fn solid_blocks(&self) -> impl Iterator<Item = u64> {
        self.solid.keys().copied()
    }

    /// Everything that was complete when the sync came is solid now.
    pub fn sync(&mut self, came: u64) {
        self.entry = Entry::Durable;
        let mut settled = Vec::new();
        self.loose.retain(|block, versions| {
            let old = versions.partition_point(|(stamp, _)| *stamp <= came);
            if let Some((_, bytes)) = versions.drain(..old).next_back() {
                settled.push((*block, bytes));
            }
            !versions.is_empty()
        });
        settled.into_iter().for_each(|(block, bytes)| self.restore(block, bytes));
    }

    /// The crash: each loose block is drawn for.
    pub fn settle(&mut self, dice: &mut Prng) {
        self.entry = Entry::Durable;
        // Some disks lose everything that was not synced, some almost nothing.
        let keep_per_mille = *dice.pick(&[0, 300, 500, 800, 1000]);
        for (block, versions) in std::mem::take(&mut self.loose) {
            if !dice.chance(keep_per_mille) {
                continue;
            }
            let version = dice.pick(&versions).1.clone();
            let after = match dice.chance(250) {
                true => Some(torn(self.solid(block), version, dice)),
                false => version,
            };
            self.restore(block, after);
        }
    }
}

/// A mixture of old and new in pieces.
fn torn(old: Option<Bytes>, new: Option<Bytes>, dice: &mut Prng) -> Bytes {
    let whole = |bytes: Option<Bytes>| bytes.unwrap_or_else(|| zeros(BLOCK_BYTES));
    let (old, new) = (whole(old), whole(new));
    let mut mixed = BytesMut::with_capacity(BLOCK_BYTES);
    for at in (0..BLOCK_BYTES).step_by(PIECE_BYTES) {
        let from = if dice.chance(500) { &old } else { &new };
        mixed.extend_from_slice(&from[at..at + PIECE_BYTES]);
    }
    mixed.freeze()
}

/// Zeros, shared where they can be.
pub fn zeros(len: usize) -> Bytes {
    match len <= ZEROS_MAX {
        true => Bytes::from_static(&ZEROS[..len]),
        false => BytesMut::zeroed(len).freeze(),
    }
}
