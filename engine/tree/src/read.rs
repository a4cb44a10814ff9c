//! Owns the reading verbs: get, count, scan. They change nothing but what is in memory.
//! Invariant: an answer is the whole answer; a page that is missing is named before anything is
//! said, and a scan that misses one says where to go on.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::cell::{LeafCell, SlotId, Stored};
use crate::entry::{Entry, EntryRef, ValueRef};
use crate::nodes::Touch;
use crate::sizes::READ_AHEAD_LEAVES;
use crate::tree::{Miss, Step, Tree};

/// How a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanEnd {
    /// Everything in the range has been visited.
    Finished,
    /// The visitor had enough.
    Stopped,
}

/// A scan came to a page that is not in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanMiss {
    /// The page, and behind it leaves that the scan will want soon, worth reading now. The scan can
    /// go on once the first has been supplied.
    pub misses: Vec<Miss>,
    /// Where to go on: everything before has been visited.
    pub resume: Bound<Bytes>,
}

impl Tree {
    /// What the key is; `None` if the tree does not know it.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Entry>, Miss> {
        self.view(key, |entry| entry.map(|entry| entry.to_entry()))
    }

    /// Lets `see` look at what the key is, without a copy.
    pub fn view<T>(
        &mut self,
        key: &[u8],
        see: impl FnOnce(Option<EntryRef<'_>>) -> T,
    ) -> Result<T, Miss> {
        let seen = match self.descend(key, Touch::Warm)? {
            Some(leaf) => {
                let page = self.nodes.page(leaf);
                let at = page.search(key);
                see(at.ok().map(|index| self.entry_ref(&page.entry(index))))
            }
            None => see(None),
        };
        self.nodes.next_pulse();
        Ok(seen)
    }

    /// Live entries in `start..end`; `end` of `None` is the end of everything.
    pub fn count_live(&mut self, start: &[u8], end: Option<&[u8]>) -> Result<u64, Miss> {
        if end.is_some_and(|end| end <= start) {
            return Ok(0);
        }
        let below = self.live_below(start)?;
        let up_to = match end {
            Some(end) => self.live_below(end)?,
            None => self.live(),
        };
        self.nodes.next_pulse();
        Ok(up_to - below)
    }

    /// Live entries below `key`.
    fn live_below(&mut self, key: &[u8]) -> Result<u64, Miss> {
        let Some(leaf) = self.descend(key, Touch::Warm)? else { return Ok(0) };
        let page = self.nodes.page(leaf);
        let (Ok(index) | Err(index)) = page.search(key);
        let above = self.path.iter().map(|step| self.nodes.page(step.slot).live_before(step.index));
        Ok(page.live_before(index) + above.sum::<u64>())
    }

    /// Visits the entries from `from` to below `end`, tombstones included, in the order of keys.
    /// Visits as much as is in memory; after a miss, supply and go on at `resume`.
    pub fn scan(
        &mut self,
        from: Bound<&[u8]>,
        end: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], EntryRef<'_>) -> ControlFlow<()>,
    ) -> Result<ScanEnd, ScanMiss> {
        let (mut at, mut after) = match from {
            Bound::Included(key) => (key.to_vec(), false),
            Bound::Excluded(key) => (key.to_vec(), true),
            Bound::Unbounded => (Vec::new(), false),
        };
        while end.is_none_or(|end| at.as_slice() < end) {
            let leaf = match self.descend(&at, Touch::Passing) {
                Ok(Some(leaf)) => leaf,
                Ok(None) => break,
                Err(miss) => {
                    let mut misses = vec![miss];
                    misses.extend(self.leaves_ahead(end));
                    let resume = Bytes::from(at);
                    let resume =
                        if after { Bound::Excluded(resume) } else { Bound::Included(resume) };
                    return Err(ScanMiss { misses, resume });
                }
            };
            if self.visit_leaf(leaf, &at, after, end, visit).is_break() {
                self.nodes.next_pulse();
                return Ok(ScanEnd::Stopped);
            }
            self.nodes.next_pulse();
            let Some(next) = self.next_range() else { break };
            (at, after) = (next, false);
        }
        Ok(ScanEnd::Finished)
    }

    fn visit_leaf(
        &self,
        leaf: SlotId,
        from: &[u8],
        after: bool,
        end: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], EntryRef<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let page = self.nodes.page(leaf);
        let first = match page.search(from) {
            Ok(index) if after => index + 1,
            Ok(index) | Err(index) => index,
        };
        for index in first..page.count() {
            let cell = page.entry(index);
            if end.is_some_and(|end| cell.key >= end) {
                return ControlFlow::Continue(());
            }
            visit(cell.key, self.entry_ref(&cell))?;
        }
        ControlFlow::Continue(())
    }

    /// Where the next leaf's range begins, after a descent.
    pub(crate) fn next_range(&self) -> Option<Vec<u8>> {
        self.path.iter().rev().find_map(|step| {
            let page = self.nodes.page(step.slot);
            (step.index + 1 < page.count()).then(|| page.key(step.index + 1).to_vec())
        })
    }

    /// The leaves behind the one that a descent missed, under the same parent, not in memory.
    fn leaves_ahead(&mut self, end: Option<&[u8]>) -> Vec<Miss> {
        let Some(step) = self.path.last().copied() else { return Vec::new() };
        let page = self.nodes.page(step.slot);
        if page.level() != 1 {
            return Vec::new();
        }
        let wanted = (step.index + 1..page.count())
            .take(READ_AHEAD_LEAVES)
            .take_while(|index| end.is_none_or(|end| page.key(*index) < end));
        let links: Vec<_> = wanted.map(|index| page.link(index)).collect();
        links.iter().filter_map(|link| self.load(link, 0, Touch::Passing).err()).collect()
    }

    /// Walks to the leaf whose range holds the key, leaving the way in `path`. On a miss the path
    /// ends at the parent of the missing node.
    pub(crate) fn descend(&mut self, key: &[u8], touch: Touch) -> Result<Option<SlotId>, Miss> {
        self.path.clear();
        let Some(root) = self.root else { return Ok(None) };
        let mut level = self.level;
        let inner = |level| if level > 0 { Touch::Warm } else { touch };
        let mut slot = self.load(&root, level, inner(level))?;
        while level > 0 {
            let page = self.nodes.page(slot);
            let index = page.child_index(key);
            let link = page.link(index);
            self.path.push(Step { slot, index });
            level -= 1;
            slot = self.load(&link, level, inner(level))?;
        }
        Ok(Some(slot))
    }

    pub(crate) fn entry_ref<'a>(&'a self, cell: &LeafCell<'a>) -> EntryRef<'a> {
        let value = match cell.value {
            Stored::Inline(bytes) => ValueRef::Inline(bytes),
            Stored::Extent(extent) => ValueRef::Extent(extent),
            Stored::Waiting { id, .. } => {
                ValueRef::Waiting(self.waiting.get(&id).expect("values wait until placed"))
            }
        };
        let LeafCell { modified, create, version, lease, .. } = *cell;
        EntryRef { modified, create, version, lease, value }
    }
}
