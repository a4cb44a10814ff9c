//! Owns one node in memory: its cells, sorted and contiguous, and where each starts. What lies
//! here is what goes to disk. Never knows other nodes.
//! Invariant: keys rise strictly; the first key of an inner node is empty and stands for "from
//! the beginning of the parent's range".
//!
//! One buffer of cells instead of an allocation per key: 1 M keys cost their bytes and four more
//! each, and a node is encoded by one copy. The price is moving half a node per insert, which
//! is some 100 ns for 16 KiB; a heap with slots inside the page was not worth its garbage.

use std::ops::Range;

use base::bytes_le::Take;

use crate::cell::{At, LEAF_FIXED_BYTES, LINK_FIXED_BYTES, LeafCell, Link, Origin, SlotId, Stored};
use crate::codec::HEADER_BYTES;
use crate::entry::ExtentRef;
use crate::sizes::{NODE_BYTES_MAX, NODE_BYTES_MIN, units_for};

/// A node. Level 0 is a leaf.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    level: u8,
    cells: Vec<u8>,
    starts: Vec<u32>,
    run: Run,
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
        Page { level, cells: Vec::new(), starts: Vec::new(), run: Run::Unknown }
    }

    /// A node of checked cells, see codec.rs.
    pub fn from_parts(level: u8, cells: Vec<u8>, starts: Vec<u32>) -> Page {
        Page { level, cells, starts, run: Run::Unknown }
    }

    pub fn level(&self) -> u8 {
        self.level
    }

    pub fn is_leaf(&self) -> bool {
        self.level == 0
    }

    pub fn count(&self) -> usize {
        self.starts.len()
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
        self.cells.capacity() + self.starts.capacity() * 4
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
        let end = self.starts.get(index + 1).map_or(self.cells.len(), |next| *next as usize);
        self.starts[index] as usize..end
    }

    /// Bytes of one cell.
    pub fn cell_bytes(&self, index: usize) -> usize {
        self.range(index).len()
    }

    /// The key of a cell.
    pub fn key(&self, index: usize) -> &[u8] {
        let start = self.starts[index] as usize;
        let cell = &self.cells[start..];
        let len = u32::from_le_bytes([cell[0], cell[1], cell[2], cell[3]]) as usize;
        let fixed = self.fixed_bytes();
        &cell[fixed..fixed + len]
    }

    /// Where the key is, or where it would be inserted.
    pub fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
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
        let start = self.starts[index] as usize;
        let mut from = Take::new(&self.cells[start + 4..start + LINK_FIXED_BYTES]);
        Link::take(&mut from).expect("cells are checked on the way in")
    }

    /// Points the child at `index` elsewhere or changes its counts.
    pub fn set_link(&mut self, index: usize, link: Link) {
        assert!(!self.is_leaf());
        let start = self.starts[index] as usize;
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
        (0..index).map(|i| self.link(i).live).sum()
    }

    fn is_live(&self, index: usize) -> bool {
        let at = self.starts[index] as usize + 28;
        self.cells[at..at + 8] != [0; 8]
    }

    /// End of the farthest unit that anything below this node uses, itself not counted.
    pub fn reach_below(&self) -> u32 {
        let reach = |index| match self.is_leaf() {
            true => match self.entry(index).value {
                Stored::Extent(ExtentRef { start, len, .. }) => start + units_for(len as usize),
                Stored::Inline(_) | Stored::Waiting { .. } => 0,
            },
            false => match self.link(index).at {
                At::Disk(page) => page.reach,
                At::Memory(_) => 0,
            },
        };
        (0..self.count()).map(reach).max().unwrap_or(0)
    }

    /// Puts an entry into a leaf, new at `Err(index)` or over what is at `Ok(index)`.
    pub fn put_entry(&mut self, at: Result<usize, usize>, cell: &LeafCell<'_>) {
        assert!(self.is_leaf());
        let room = match at {
            Ok(index) => self.resize(index, cell.len()),
            Err(index) => self.open(index, cell.len()),
        };
        cell.put(room);
    }

    /// Changes the value field of an entry to another of the same length.
    pub fn set_extent(&mut self, index: usize, extent: ExtentRef) {
        let range = self.range(index);
        let mut cell = self.cells[range.clone()].to_vec();
        let mut taken = self.entry(index);
        taken.value = Stored::Extent(extent);
        taken.put(&mut cell);
        self.cells[range].copy_from_slice(&cell);
    }

    /// Puts a child into an inner node.
    pub fn insert_link(&mut self, index: usize, key: &[u8], link: Link) {
        assert!(!self.is_leaf());
        assert_eq!(index == 0, key.is_empty());
        let cell = self.open(index, LINK_FIXED_BYTES + key.len());
        cell[..4].copy_from_slice(&(key.len() as u32).to_le_bytes());
        link.put(&mut cell[4..LINK_FIXED_BYTES]);
        cell[LINK_FIXED_BYTES..].copy_from_slice(key);
    }

    /// Takes a cell out. The next child of an inner node takes over the range of the first.
    pub fn remove(&mut self, index: usize) {
        let range = self.range(index);
        let len = range.len() as u32;
        self.cells.drain(range);
        self.starts.remove(index);
        self.starts[index..].iter_mut().for_each(|start| *start -= len);
        self.run = Run::Unknown;
        if !self.is_leaf() && index == 0 && self.count() > 0 {
            self.take_first_key();
        }
        self.trim();
    }

    /// Bytes and cells that would be left without the cell at `index`.
    pub fn without(&self, index: usize) -> (usize, usize) {
        let second = match index {
            0 if !self.is_leaf() && self.count() > 1 => self.key(1).len(),
            _ => 0,
        };
        (self.bytes() - self.cell_bytes(index) - second, self.count() - 1)
    }

    /// Moves all cells of the right neighbour here. `separator` is its key in the parent.
    pub fn absorb(&mut self, right: &Page, separator: &[u8]) {
        assert_eq!(self.level, right.level);
        for index in 0..right.count() {
            let cell = &right.cells[right.range(index)];
            let at = self.count();
            if index == 0 && !self.is_leaf() {
                self.insert_link(at, separator, right.link(0));
            } else {
                self.open(at, cell.len()).copy_from_slice(cell);
            }
        }
        self.run = Run::Unknown;
    }

    /// Cuts the node until nothing overflows. Keeps the first piece; the others come with the
    /// key that separates each from what is left of it.
    pub fn split(&mut self) -> Vec<(Vec<u8>, Page)> {
        assert!(self.overflows());
        let mut rest = vec![self.split_off(self.first_cut())];
        while self.overflows() {
            rest.push(self.split_off(self.middle()));
        }
        let mut pieces: Vec<(Vec<u8>, Page)> = Vec::new();
        while let Some(mut piece) = rest.pop() {
            while piece.overflows() {
                rest.push(piece.split_off(piece.middle()));
            }
            let left = pieces.last().map_or(&*self, |(_, page)| page);
            let separator = match piece.is_leaf() {
                true => separator(left.key(left.count() - 1), piece.key(0)),
                false => piece.take_first_key(),
            };
            pieces.push((separator, piece));
        }
        pieces
    }

    /// Where to cut first. A run of rising inserts leaves a full node behind it, so that loading
    /// in order fills pages; anything else is cut in the middle.
    fn first_cut(&self) -> usize {
        let (count, min) = (self.count(), self.cells_min());
        let Run::Rising(index) = self.run else { return self.middle() };
        let index = index as usize;
        let fits = |cut: usize| HEADER_BYTES + self.range(cut - 1).end <= NODE_BYTES_MAX;
        let cut = if index + 1 < count && fits(index + 1) { index + 1 } else { index };
        cut.clamp(min, count - min)
    }

    /// The cut that halves the bytes as well as cells allow.
    fn middle(&self) -> usize {
        let half = (self.cells.len() / 2) as u32;
        let min = self.cells_min();
        self.starts.partition_point(|start| *start < half).clamp(min, self.count() - min)
    }

    /// Takes the cells from `cut` on into a new node.
    fn split_off(&mut self, cut: usize) -> Page {
        let base = self.starts[cut];
        let cells = self.cells[base as usize..].to_vec();
        let starts = self.starts[cut..].iter().map(|start| start - base).collect();
        self.cells.truncate(base as usize);
        self.starts.truncate(cut);
        self.trim();
        let run = match self.run {
            Run::Rising(index) if index as usize >= cut => Run::Rising(index - cut as u32),
            Run::Rising(_) | Run::Once(_) | Run::Unknown => Run::Unknown,
        };
        if !matches!(run, Run::Unknown) {
            self.run = Run::Unknown;
        }
        Page { level: self.level, cells, starts, run }
    }

    /// Empties the first key of an inner node and returns what it was.
    fn take_first_key(&mut self) -> Vec<u8> {
        assert!(!self.is_leaf());
        let key = self.key(0).to_vec();
        let start = self.starts[0] as usize;
        self.cells[start..start + 4].fill(0);
        self.cells.drain(LINK_FIXED_BYTES..LINK_FIXED_BYTES + key.len());
        self.starts[1..].iter_mut().for_each(|start| *start -= key.len() as u32);
        key
    }

    /// Makes room for a new cell.
    fn open(&mut self, index: usize, len: usize) -> &mut [u8] {
        let at = self.starts.get(index).map_or(self.cells.len(), |start| *start as usize);
        reserve(&mut self.cells, len);
        let end = self.cells.len();
        self.cells.resize(end + len, 0);
        self.cells.copy_within(at..end, at + len);
        if self.starts.len() == self.starts.capacity() {
            self.starts.reserve_exact(self.starts.len() / 8 + 4);
        }
        self.starts.insert(index, at as u32);
        self.starts[index + 1..].iter_mut().for_each(|start| *start += len as u32);
        self.run = match self.run {
            Run::Once(last) | Run::Rising(last) if last + 1 == index as u32 => {
                Run::Rising(index as u32)
            }
            Run::Once(_) | Run::Rising(_) | Run::Unknown => Run::Once(index as u32),
        };
        &mut self.cells[at..at + len]
    }

    /// Makes a cell shorter or longer. What was in it is lost.
    fn resize(&mut self, index: usize, len: usize) -> &mut [u8] {
        let old = self.range(index);
        if len > old.len() {
            let more = len - old.len();
            reserve(&mut self.cells, more);
            let end = self.cells.len();
            self.cells.resize(end + more, 0);
            self.cells.copy_within(old.end..end, old.end + more);
            self.starts[index + 1..].iter_mut().for_each(|start| *start += more as u32);
        } else if len < old.len() {
            let less = old.len() - len;
            self.cells.drain(old.end - less..old.end);
            self.starts[index + 1..].iter_mut().for_each(|start| *start -= less as u32);
            self.trim();
        }
        &mut self.cells[old.start..old.start + len]
    }

    /// Gives memory back once a quarter of it is idle.
    fn trim(&mut self) {
        if self.cells.capacity() > self.cells.len() + self.cells.len() / 4 + 256 {
            self.cells.shrink_to(self.cells.len());
            self.starts.shrink_to(self.starts.len());
        }
    }
}

/// Grows in steps of an eighth: doubling would leave a third of all memory idle.
fn reserve(cells: &mut Vec<u8>, more: usize) {
    if cells.capacity() - cells.len() < more {
        cells.reserve_exact(more + cells.len() / 8);
    }
}

/// The shortest key that is above `left` and not above `right`.
fn separator(left: &[u8], right: &[u8]) -> Vec<u8> {
    assert!(left < right);
    let common = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    right[..=common].to_vec()
}
