//! Owns the changes to the cells of one node. Keeps places, heads and memory in step with them.
//! Never cuts a node in two, see split.rs.

use crate::cell::{LINK_FIXED_BYTES, LeafCell, Link, Stored};

use super::{Page, Place, Run};

impl Page {
    /// Puts an entry into a leaf, new at `Err(index)` or over what is at `Ok(index)`.
    pub fn put_entry(&mut self, at: Result<usize, usize>, cell: &LeafCell<'_>) {
        assert!(self.is_leaf());
        let room = match at {
            Ok(index) => self.resize(index, cell.len()),
            Err(index) => self.open(index, cell.len()),
        };
        cell.put(room);
        if let Err(index) = at {
            self.set_head(index);
        }
    }

    /// Changes the value of an entry from one reference to another, which is as long.
    pub fn set_value(&mut self, index: usize, value: Stored<'_>) {
        let range = self.range(index);
        let mut cell = self.cells[range.clone()].to_vec();
        LeafCell { value, ..self.entry(index) }.put(&mut cell);
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
        self.set_head(index);
    }

    /// Takes a cell out. The next child of an inner node takes over the range of the first.
    pub fn remove(&mut self, index: usize) {
        let range = self.range(index);
        let len = range.len() as u32;
        self.cells.drain(range);
        self.places.remove(index);
        self.places[index..].iter_mut().for_each(|place| place.start -= len);
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
        self.set_heads();
        self.run = Run::Unknown;
    }

    /// Empties the first key of an inner node and returns what it was.
    pub(super) fn take_first_key(&mut self) -> Vec<u8> {
        assert!(!self.is_leaf());
        let key = self.key(0).to_vec();
        let start = self.places[0].start as usize;
        self.cells[start..start + 4].fill(0);
        self.cells.drain(LINK_FIXED_BYTES..LINK_FIXED_BYTES + key.len());
        self.places[1..].iter_mut().for_each(|place| place.start -= key.len() as u32);
        self.set_heads();
        key
    }

    /// Makes room for a new cell.
    fn open(&mut self, index: usize, len: usize) -> &mut [u8] {
        let at = self.places.get(index).map_or(self.cells.len(), |place| place.start as usize);
        reserve(&mut self.cells, len);
        let end = self.cells.len();
        self.cells.resize(end + len, 0);
        self.cells.copy_within(at..end, at + len);
        if self.places.len() == self.places.capacity() {
            self.places.reserve_exact(self.places.len() / 8 + 4);
        }
        self.places.insert(index, Place { start: at as u32, head: 0 });
        self.places[index + 1..].iter_mut().for_each(|place| place.start += len as u32);
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
            self.places[index + 1..].iter_mut().for_each(|place| place.start += more as u32);
        } else if len < old.len() {
            let less = old.len() - len;
            self.cells.drain(old.end - less..old.end);
            self.places[index + 1..].iter_mut().for_each(|place| place.start -= less as u32);
            self.trim();
        }
        &mut self.cells[old.start..old.start + len]
    }

    /// Gives memory back once a quarter of it is idle.
    pub(super) fn trim(&mut self) {
        if self.cells.capacity() > self.cells.len() + self.cells.len() / 4 + 256 {
            self.cells.shrink_to(self.cells.len());
            self.places.shrink_to(self.places.len());
        }
    }
}

/// Grows in steps of an eighth: doubling would leave a third of all memory idle.
fn reserve(cells: &mut Vec<u8>, more: usize) {
    if cells.capacity() - cells.len() < more {
        cells.reserve_exact(more + cells.len() / 8);
    }
}
