//! Owns the part of the log that stays in memory: a run of entries by index, from which Raft is
//! answered without waiting, and the terms of those before it that can be read from segments. Never
//! reads the disk. Invariant: indexes are consecutive and terms never fall; the entry before the
//! first is known by term and index.

use std::collections::VecDeque;

use crate::record::{Entry, Mark};
use crate::terms::Terms;

/// The entry was dropped from the front of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted;

/// Entries `first_index()..=last().index`.
#[derive(Clone, Debug)]
pub struct Window {
    /// The entries before the first, as far as segments hold them. Its last is the base.
    past: Terms,
    /// Segments hold the entries after this one.
    held_after: u64,
    entries: VecDeque<Entry>,
    data_bytes: usize,
}

impl Window {
    /// An empty window after `base`; index and term are 0 at the beginning of a log. Entries that
    /// are dropped are gone, until [`Window::hold`] says otherwise.
    pub fn new(base: Mark) -> Window {
        let (entries, data_bytes) = (VecDeque::new(), 0);
        Window { past: Terms::new(base), held_after: u64::MAX, entries, data_bytes }
    }

    /// Segments hold these entries too; what is beyond the base is not looked at.
    pub fn recall(&mut self, held: &Terms) {
        let base = self.base();
        if held.term(base.index) == Some(base.term) {
            self.past = held.clone();
            self.past.cut_after(base.index);
        }
        self.hold(held.base().index);
    }

    /// Segments hold the entries after this one, and no others.
    pub fn hold(&mut self, after: u64) {
        self.held_after = after;
        self.past.drop_to(after);
    }

    /// The entry before the first, by term and index.
    pub fn base(&self) -> Mark {
        self.past.last()
    }

    /// Index of the first entry that is in memory or in a segment, or will be.
    pub fn first_held(&self) -> u64 {
        self.past.base().index + 1
    }

    /// Index of the first entry that is in memory, or will be.
    pub fn first_index(&self) -> u64 {
        self.base().index + 1
    }

    /// The last entry by term and index; the base if there is none.
    pub fn last(&self) -> Mark {
        let last = self.entries.back().map(|entry| Mark { term: entry.term, index: entry.index });
        last.unwrap_or(self.base())
    }

    /// Bytes of data held.
    pub fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// Adds entries that follow each other. What stands at their indexes and after is replaced.
    pub fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        assert!(self.base().index < first.index, "the store already holds entry {}", first.index);
        assert!(first.index <= self.last().index + 1, "entries before {} are missing", first.index);
        while let Some(dropped) = self.entries.pop_back_if(|entry| first.index <= entry.index) {
            self.data_bytes -= dropped.data.len();
        }
        for entry in entries {
            let last = self.last();
            assert!(entry.index == last.index + 1);
            assert!(last.term <= entry.term);
            self.data_bytes += entry.data.len();
            self.entries.push_back(entry);
        }
    }

    /// The term of entry `index`, in memory or in a segment, or the one before those.
    ///
    /// `index` must not be beyond the last.
    pub fn term(&self, index: u64) -> Result<u64, Compacted> {
        if index <= self.base().index {
            return self.past.term(index).ok_or(Compacted);
        }
        Ok(self.entries[self.slot(index)?].term)
    }

    /// Entries `low..high`, as many from the front as have `bytes_max` of data together, but at
    /// least one.
    ///
    /// `high` must not be beyond the last by more than one.
    pub fn entries(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, Compacted> {
        assert!(low <= high);
        assert!(high <= self.last().index + 1);
        let start = match self.slot(low) {
            Ok(start) => start,
            Err(Compacted) => return Err(Compacted),
        };
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += entry.data.len() as u64 + 1;
            first || bytes <= bytes_max
        };
        let count = (high - low) as usize;
        Ok(self.entries.range(start..start + count).take_while(fits).cloned().collect())
    }

    /// Drops entries up to `index`, which becomes the base. Lower ones are dropped already.
    pub fn compact(&mut self, index: u64) {
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.index <= index) {
            self.dropped(&entry);
        }
    }

    /// Drops entries up to `index` from the front until at most `bytes_max` of data are left.
    pub fn trim(&mut self, index: u64, bytes_max: usize) {
        while bytes_max < self.data_bytes
            && let Some(entry) = self.entries.pop_front_if(|entry| entry.index <= index)
        {
            self.dropped(&entry);
        }
    }

    fn dropped(&mut self, entry: &Entry) {
        self.data_bytes -= entry.data.len();
        self.past.push(Mark { term: entry.term, index: entry.index });
        self.past.drop_to(self.held_after);
    }

    /// Forgets everything; the log goes on after `base`.
    pub fn reset(&mut self, base: Mark) {
        *self = Window::new(base);
    }

    fn slot(&self, index: u64) -> Result<usize, Compacted> {
        index.checked_sub(self.first_index()).map(|slot| slot as usize).ok_or(Compacted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::EntryKind;
    use base::Prng;

    /// The same as a plain vector of (term, length), with everything ever appended.
    #[derive(Default)]
    struct Twin {
        base: usize,
        entries: Vec<(u64, usize)>,
    }

    fn entry(term: u64, index: u64, bytes: usize) -> Entry {
        Entry { term, index, kind: EntryKind::Normal, data: vec![index as u8; bytes].into() }
    }

    fn same(window: &Window, twin: &Twin, prng: &mut Prng) {
        let held = &twin.entries[twin.base..];
        assert_eq!(window.first_index(), twin.base as u64 + 1);
        assert_eq!(window.last().index, twin.entries.len() as u64);
        assert_eq!(window.data_bytes(), held.iter().map(|(_, bytes)| bytes).sum::<usize>());
        for index in twin.base.max(1)..=twin.entries.len() {
            assert_eq!(window.term(index as u64), Ok(twin.entries[index - 1].0));
        }
        if twin.base > 1 {
            assert_eq!(window.term(twin.base as u64 - 1), Err(Compacted));
            assert_eq!(window.entries(twin.base as u64, twin.base as u64, 9), Err(Compacted));
        }
        let low = twin.base as u64 + 1 + prng.below(held.len() as u64 + 1);
        let high = low + prng.below(twin.entries.len() as u64 + 2 - low);
        let bytes_max = prng.below(300);
        let got = window.entries(low, high, bytes_max).unwrap();
        assert_eq!(got.is_empty(), low == high);
        let bytes: usize = got.iter().map(|entry| entry.data.len() + 1).sum();
        assert!(got.len() <= 1 || bytes as u64 <= bytes_max);
        for (at, entry) in got.iter().enumerate() {
            let (term, bytes) = twin.entries[low as usize - 1 + at];
            assert_eq!((entry.index, entry.term), (low + at as u64, term));
            assert_eq!(entry.data.len(), bytes);
        }
    }

    #[test]
    fn a_window_is_a_vector_with_its_front_cut_off() {
        for seed in 0..50 {
            println!("seed {seed}");
            let mut prng = Prng::from_seed(seed);
            let (mut window, mut twin) = (Window::new(Mark { term: 0, index: 0 }), Twin::default());
            for term in 1..200 {
                match prng.below(4) {
                    0 => {
                        let index = prng.below(twin.entries.len() as u64 + 1);
                        window.compact(index);
                        twin.base = twin.base.max(index as usize);
                    }
                    1 => {
                        let limit = prng.below(twin.entries.len() as u64 + 1);
                        let bytes_max = prng.below(1000) as usize;
                        window.trim(limit, bytes_max);
                        let held = |from: usize| -> usize {
                            twin.entries[from..].iter().map(|(_, bytes)| bytes).sum()
                        };
                        while twin.base < limit as usize && bytes_max < held(twin.base) {
                            twin.base += 1;
                        }
                    }
                    _ => {
                        let held = (twin.entries.len() - twin.base) as u64;
                        twin.entries.truncate(twin.base + prng.below(held + 1) as usize);
                        let from = twin.entries.len() as u64 + 1;
                        let count = 1 + prng.below(8);
                        let new: Vec<Entry> = (from..from + count)
                            .map(|index| entry(term, index, prng.below(100) as usize))
                            .collect();
                        twin.entries.extend(new.iter().map(|entry| (term, entry.data.len())));
                        window.append(new);
                    }
                }
                same(&window, &twin, &mut prng);
            }
        }
    }
}
