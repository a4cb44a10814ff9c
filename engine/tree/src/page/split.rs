//! Owns how a node that became too large is cut: by bytes, and where a run of inserts stands.
//! Invariant: the pieces hold the same cells in the same order, and each separator is above all
//! keys before it and not above any behind it.

use crate::codec::HEADER_BYTES;
use crate::sizes::NODE_BYTES_MAX;

use super::{Page, Run, common};

impl Page {
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
        self.places.partition_point(|place| place.start < half).clamp(min, self.count() - min)
    }

    /// Takes the cells from `cut` on into a new node.
    pub(super) fn split_off(&mut self, cut: usize) -> Page {
        let base = self.places[cut].start;
        let cells = self.cells[base as usize..].to_vec();
        let starts: Vec<u32> = self.places[cut..].iter().map(|place| place.start - base).collect();
        self.cells.truncate(base as usize);
        self.places.truncate(cut);
        self.set_heads();
        self.trim();
        let run = match self.run {
            Run::Rising(index) if index as usize >= cut => Run::Rising(index - cut as u32),
            Run::Rising(_) | Run::Once(_) | Run::Unknown => Run::Unknown,
        };
        if !matches!(run, Run::Unknown) {
            self.run = Run::Unknown;
        }
        Page { run, ..Page::from_parts(self.level, cells, &starts) }
    }
}

/// The shortest key that is above `left` and not above `right`.
fn separator(left: &[u8], right: &[u8]) -> Vec<u8> {
    assert!(left < right);
    right[..=common(left, right)].to_vec()
}
