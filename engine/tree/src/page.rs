//! Owns one node in memory: its cells, sorted and contiguous, and where each starts. What lies
//! here is what goes to disk. Never knows other nodes. Changes stand in page/edit.rs and
//! page/split.rs.
//! Invariant: keys rise strictly; the first key of an inner node is empty and stands for "from
//! the beginning of the parent's range".
//!
//! One buffer of cells instead of an allocation per key: 1 M keys cost their bytes and eight more
//! each, and a node is encoded by one copy. The price is moving half a node per insert, which
//! is some 100 ns for 16 KiB; a heap with slots inside the page was not worth its garbage.
//!
//! Beside each start stand four bytes of the key, behind what all keys of the node share. A search
//! compares those first, so that it touches one or two cells instead of six: with leaves that
//! are not in the processor's cache that is most of its cost. They are hints: the answer is always
//! checked against the keys, and a wrong hint costs time only. (Trusting them, and counting
//! through them instead of halving, were measured and won nothing.)

mod edit;
mod split;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ops::Range;

use base::bytes_le::Take;

use crate::cell::{At, LEAF_FIXED_BYTES, LINK_FIXED_BYTES, LeafCell, Link, Origin, SlotId, Stored};
use crate::codec::HEADER_BYTES;
use crate::sizes::{NODE_BYTES_MAX, NODE_BYTES_MIN, units_for};

/// A node. Level 0 is a leaf.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    level: u8,
    cells: Vec<u8>,
    places: Vec<Place>,
    /// Bytes that all keys begin with, as far as we know.
    shared: u32,
    run: Run,
}

/// One cell's place.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    /// Four bytes of the key behind the shared ones, big-endian.
    head: u32,
}

/// Where inserts went last. A hint for splits, not part of what the node says.
#[derive(Clone, Copy, Debug)]
enum Run {
    Unknown,
    Once(u32),
    /// The last insert was right behind the one before it.
    Rising(u32),
}

impl Page {
    /// A node without cells.
    pub fn empty(level: u8) -> Page {
        Page { level, cells: Vec::new(), places: Vec::new(), shared: 0, run: Run::Unknown }
    }

    /// A node of checked cells, see codec.rs.
    pub fn from_parts(level: u8, cells: Vec<u8>, starts: &[u32]) -> Page {
        let places = starts.iter().map(|start| Place { start: *start, head: 0 }).collect();
        let mut page = Page { level, cells, places, shared: 0, run: Run::Unknown };
        page.set_heads();
        page
    }

    pub fn level(&self) -> u8 {
        self.level
    }

    pub fn is_leaf(&self) -> bool {
        self.level == 0
    }

    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// All cells, as they go to disk.
    pub fn cells(&self) -> &[u8] {
        &self.cells
    }

    /// Bytes that the node takes on disk before padding.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.cells.len()
    }

    /// Bytes that the node takes in memory.
    pub fn heap_bytes(&self) -> usize {
        self.cells.capacity() + self.places.capacity() * size_of::<Place>()
    }

    /// Units that the node takes on disk.
    pub fn units(&self) -> u32 {
        units_for(self.bytes())
    }

    /// Whether the node is too large and can be split: a leaf keeps one cell at least on each
    /// side, an inner node two.
    pub fn overflows(&self) -> bool {
        self.bytes() > NODE_BYTES_MAX && self.count() >= 2 * self.cells_min()
    }

    /// Whether the node should look for a neighbour to merge with, were it `bytes` long.
    pub fn underflows(bytes: usize) -> bool {
        bytes < NODE_BYTES_MIN
    }

    fn cells_min(&self) -> usize {
        if self.is_leaf() { 1 } else { 2 }
    }

    fn fixed_bytes(&self) -> usize {
        if self.is_leaf() { LEAF_FIXED_BYTES } else { LINK_FIXED_BYTES }
    }

    fn range(&self, index: usize) -> Range<usize> {
        let end = self.places.get(index + 1).map_or(self.cells.len(), |next| next.start as usize);
        self.places[index].start as usize..end
    }

    /// Bytes of one cell.
    pub fn cell_bytes(&self, index: usize) -> usize {
        self.range(index).len()
    }

    /// The key of a cell.
    pub fn key(&self, index: usize) -> &[u8] {
        let start = self.places[index].start as usize;
        let cell = &self.cells[start..];
        let len = u32::from_le_bytes([cell[0], cell[1], cell[2], cell[3]]) as usize;
        let fixed = self.fixed_bytes();
        &cell[fixed..fixed + len]
    }

    /// Where the key is, or where it would be inserted.
    pub fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let head = self.head(key);
        let low = self.places.partition_point(|place| place.head < head);
        let alike = self.places[low..].iter().take_while(|place| place.head == head).count();
        match self.search_in(low..low + alike, key) {
            Err(index) if !self.fits(index, key) => self.search_in(0..self.count(), key),
            found => found,
        }
    }

    fn search_in(&self, range: Range<usize>, key: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (range.start, range.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(middle).cmp(key) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Whether an absent key belongs at `index`.
    fn fits(&self, index: usize, key: &[u8]) -> bool {
        (index == 0 || self.key(index - 1) < key)
            && (index == self.count() || key < self.key(index))
    }

    fn head(&self, key: &[u8]) -> u32 {
        let rest = key.get(self.shared as usize..).unwrap_or(&[]);
        match rest.first_chunk::<4>() {
            Some(four) => u32::from_be_bytes(*four),
            None => {
                let mut four = [0; 4];
                four[..rest.len()].copy_from_slice(rest);
                u32::from_be_bytes(four)
            }
        }
    }

    /// The first cell with a real key: that of an inner node's first child is empty.
    fn first_real(&self) -> usize {
        if self.is_leaf() { 0 } else { 1 }
    }

    /// Finds out what the keys share and sets all heads.
    fn set_heads(&mut self) {
        let (first, count) = (self.first_real(), self.count());
        self.shared = match first < count {
            true => common(self.key(first), self.key(count - 1)) as u32,
            false => 0,
        };
        for index in 0..count {
            self.places[index].head = self.head(self.key(index));
        }
    }

    /// Sets the head of a new key; if it does not share what the others do, sets all.
    fn set_head(&mut self, index: usize) {
        let (first, last) = (self.first_real(), self.count() - 1);
        // Between two keys that share their beginning a key shares it too.
        if index > first && index < last {
            self.places[index].head = self.head(self.key(index));
            return;
        }
        let shared = common(self.key(first.min(last)), self.key(last));
        match shared == self.shared as usize {
            true => self.places[index].head = self.head(self.key(index)),
            false => self.set_heads(),
        }
    }

    /// Which child's range holds the key.
    pub fn child_index(&self, key: &[u8]) -> usize {
        assert!(!self.is_leaf());
        match self.search(key) {
            Ok(index) => index,
            Err(index) => index.checked_sub(1).expect("the first key is empty"),
        }
    }

    /// The entry at `index` of a leaf.
    pub fn entry(&self, index: usize) -> LeafCell<'_> {
        assert!(self.is_leaf());
        let mut from = Take::new(&self.cells[self.range(index)]);
        LeafCell::take(&mut from, Origin::Memory).expect("cells are checked on the way in")
    }

    /// The child at `index` of an inner node.
    pub fn link(&self, index: usize) -> Link {
        assert!(!self.is_leaf());
        let start = self.places[index].start as usize;
        let mut from = Take::new(&self.cells[start + 4..start + LINK_FIXED_BYTES]);
        Link::take(&mut from).expect("cells are checked on the way in")
    }

    /// Points the child at `index` elsewhere or changes its counts.
    pub fn set_link(&mut self, index: usize, link: Link) {
        assert!(!self.is_leaf());
        let start = self.places[index].start as usize;
        link.put(&mut self.cells[start + 4..start + LINK_FIXED_BYTES]);
    }

    /// The first child in memory at or after `from`.
    pub fn next_in_memory(&self, from: usize) -> Option<(usize, SlotId)> {
        if self.is_leaf() {
            return None;
        }
        (from..self.count()).find_map(|index| match self.link(index).at {
            At::Memory(slot) => Some((index, slot)),
            At::Disk(_) => None,
        })
    }

    /// Live and all entries at or below this node.
    pub fn counts(&self) -> (u64, u64) {
        if self.is_leaf() {
            let live = (0..self.count()).filter(|i| self.is_live(*i)).count();
            return (live as u64, self.count() as u64);
        }
        (0..self.count()).map(|i| self.link(i)).fold((0, 0), |sum, link| {
            (sum.0.saturating_add(link.live), sum.1.saturating_add(link.total))
        })
    }

    /// Live entries of a leaf, or below the children of an inner node, before `index`.
    pub fn live_before(&self, index: usize) -> u64 {
        if self.is_leaf() {
            return (0..index).filter(|i| self.is_live(*i)).count() as u64;
        }
        (0..index).map(|i| self.link(i).live).fold(0, u64::saturating_add)
    }

    fn is_live(&self, index: usize) -> bool {
        let at = self.places[index].start as usize + 28;
        self.cells[at..at + 8] != [0; 8]
    }

    /// End of the farthest unit that anything below this node uses, itself not counted.
    pub fn reach_below(&self) -> u32 {
        let reach = |index| match self.is_leaf() {
            true => match self.entry(index).value {
                Stored::Extent(extent) => extent.place().end(),
                Stored::Inline(_) | Stored::Waiting { .. } => 0,
            },
            false => match self.link(index).at {
                At::Disk(page) => page.reach,
                At::Memory(_) => 0,
            },
        };
        (0..self.count()).map(reach).max().unwrap_or(0)
    }
}

/// Bytes that two keys begin with alike.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
