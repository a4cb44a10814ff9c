//! Owns the changing verbs: put and remove, with the copying and the splits they cause.
//! Invariant: an operation that misses a page has changed nothing; after one that did not, counts
//! on the path are right and no node is too large that could be split.

use bytes::Bytes;

use crate::cell::{At, LeafCell, Link, SlotId, Stored};
use crate::checkpoint::RELEASE_A_CHANGE;
use crate::entry::{Entry, ExtentRef, Value};
use crate::nodes::Touch;
use crate::page::Page;
use crate::sizes::{KEY_BYTES_MAX, VALUE_BYTES_MAX, VALUE_INLINE_BYTES_MAX};
use crate::space::Extent;
use crate::tree::{Miss, Step, Tree};

impl Tree {
    /// Makes the key this entry and answers what was there. A value that is an extent must be
    /// the one that the key already has.
    pub fn put(&mut self, key: &[u8], entry: &Entry) -> Result<Option<Entry>, Miss> {
        assert!(key.len() <= KEY_BYTES_MAX);
        self.need_map()?;
        self.release_some(RELEASE_A_CHANGE);
        let Some(leaf) = self.descend(key, Touch::Warm)? else {
            self.plant(key, entry);
            return Ok(None);
        };
        let page = self.nodes.page(leaf);
        let at = page.search(key);
        let old = at.ok().map(|index| page.entry(index));
        let was = old.map(|cell| self.entry_ref(&cell).to_entry());
        let old_bytes = old.map_or(0, |cell| cell.len());
        let old_live = old.is_some_and(|cell| cell.version != 0);
        let new_bytes = cell_bytes(key, entry);
        let (bytes, count) = (page.bytes() + new_bytes - old_bytes, page.count());
        let plan = match new_bytes < old_bytes {
            true => self.plan_merges(bytes, count)?,
            false => Vec::new(),
        };
        let leaf = self.own_path(leaf);
        let keep = self.free_value(leaf, at.ok(), &entry.value);
        self.write_cell(leaf, at, key, entry, keep);
        let live = i64::from(entry.is_live()) - i64::from(old_live);
        self.add_counts(live, i64::from(at.is_err()));
        self.settle_overflow(leaf);
        self.merge(leaf, plan);
        self.nodes.next_pulse();
        Ok(was)
    }

    /// Takes the key out of the tree and answers what was there.
    pub fn remove(&mut self, key: &[u8]) -> Result<Option<Entry>, Miss> {
        self.need_map()?;
        self.release_some(RELEASE_A_CHANGE);
        let Some(leaf) = self.descend(key, Touch::Warm)? else { return Ok(None) };
        let page = self.nodes.page(leaf);
        let Ok(index) = page.search(key) else {
            self.nodes.next_pulse();
            return Ok(None);
        };
        let old = page.entry(index);
        let (live, was) = (i64::from(old.version != 0), self.entry_ref(&old).to_entry());
        let (bytes, count) = page.without(index);
        let plan = self.plan_merges(bytes, count)?;
        let leaf = self.own_path(leaf);
        self.free_value(leaf, Some(index), &Value::Inline(Bytes::new()));
        self.nodes.edit(leaf, |page| page.remove(index));
        self.add_counts(-live, -1);
        self.merge(leaf, plan);
        self.nodes.next_pulse();
        Ok(Some(was))
    }

    /// The first entry.
    fn plant(&mut self, key: &[u8], entry: &Entry) {
        let leaf = self.nodes.alloc(Page::empty(0), self.stamp);
        self.write_cell(leaf, Err(0), key, entry, None);
        let live = u64::from(entry.is_live());
        self.root = Some(Link { at: At::Memory(leaf), live, total: 1 });
        self.level = 0;
        self.nodes.next_pulse();
    }

    fn write_cell(
        &mut self,
        leaf: SlotId,
        at: Result<usize, usize>,
        key: &[u8],
        entry: &Entry,
        keep: Option<ExtentRef>,
    ) {
        let value = match &entry.value {
            Value::Inline(bytes) if bytes.len() <= VALUE_INLINE_BYTES_MAX => Stored::Inline(bytes),
            Value::Inline(bytes) => {
                assert!(bytes.len() <= VALUE_BYTES_MAX);
                Stored::Waiting {
                    id: self.wait(Bytes::copy_from_slice(bytes)),
                    len: bytes.len() as u32,
                }
            }
            Value::Extent(_) => Stored::Extent(keep.expect("the key has this extent")),
        };
        let Entry { modified, create, version, lease, value: _ } = *entry;
        assert!(version != 0 || matches!(value, Stored::Inline([])), "a tombstone has no value");
        let cell = LeafCell { key, modified, create, version, lease, value };
        self.nodes.edit(leaf, |page| page.put_entry(at, &cell));
    }

    /// Keeps a large value until the next checkpoint gives it an extent. A copy: the caller's bytes
    /// may be a small part of something large.
    pub(crate) fn wait(&mut self, bytes: Bytes) -> u64 {
        let id = self.waiting_next;
        self.waiting_next += 1;
        self.waiting_bytes += bytes.len();
        self.waiting.insert(id, bytes);
        id
    }

    /// Lets go of the value of an entry that is about to be replaced by `new`. Returns the extent
    /// if it stays.
    fn free_value(&mut self, leaf: SlotId, index: Option<usize>, new: &Value) -> Option<ExtentRef> {
        let index = index?;
        match self.nodes.page(leaf).entry(index).value {
            Stored::Inline(_) => None,
            Stored::Extent(old) if *new == Value::Extent(old) => Some(old),
            Stored::Extent(old) => {
                self.retire(old.place());
                None
            }
            Stored::Waiting { id, .. } => {
                // A frozen image may need it still; then it goes when its leaf is placed.
                if id >= self.waiting_frozen {
                    let bytes = self.waiting.remove(&id).expect("values wait until placed");
                    self.waiting_bytes -= bytes.len();
                }
                None
            }
        }
    }

    /// Adds to the counts of every link on the path.
    fn add_counts(&mut self, live: i64, total: i64) {
        if live == 0 && total == 0 {
            return;
        }
        let add = |link: Link| Link {
            live: link.live.checked_add_signed(live).expect("counts match the leaves"),
            total: link.total.checked_add_signed(total).expect("counts match the leaves"),
            ..link
        };
        let root = self.root_mut();
        *root = add(*root);
        for step in &self.path {
            self.nodes
                .edit(step.slot, |page| page.set_link(step.index, add(page.link(step.index))));
        }
    }

    /// Makes every node on the path, and the leaf, one that may be changed.
    pub(crate) fn own_path(&mut self, leaf: SlotId) -> SlotId {
        if self.is_own(leaf) {
            return leaf;
        }
        let mut path = std::mem::take(&mut self.path);
        let mut parent: Option<Step> = None;
        for step in path.iter_mut() {
            step.slot = self.own(parent, step.slot);
            parent = Some(*step);
        }
        let leaf = self.own(parent, leaf);
        self.path = path;
        leaf
    }

    /// Whether a page belongs to the working tree alone.
    pub(crate) fn is_own(&self, slot: SlotId) -> bool {
        self.nodes.stamp(slot) == Some(self.stamp)
    }

    /// Makes one node one that may be changed: as it is, by taking the clean page over, or by a
    /// copy if a frozen image needs it. `parent` must be own already.
    pub(crate) fn own(&mut self, parent: Option<Step>, slot: SlotId) -> SlotId {
        if self.is_own(slot) {
            return slot;
        }
        let own = match self.nodes.stamp(slot) {
            Some(_) => {
                let copy = self.nodes.page(slot).clone();
                self.nodes.detach(slot);
                self.nodes.alloc(copy, self.stamp)
            }
            None => {
                let units = self.nodes.page(slot).units();
                let start = self.nodes.take_over(slot, self.stamp);
                self.retire(Extent { start, units });
                slot
            }
        };
        self.point(parent, At::Memory(own));
        own
    }

    /// Changes where a link points, of a parent or of the root.
    pub(crate) fn point(&mut self, parent: Option<Step>, at: At) {
        match parent {
            Some(step) => self.nodes.edit(step.slot, |page| {
                page.set_link(step.index, Link { at, ..page.link(step.index) });
            }),
            None => self.root_mut().at = at,
        }
    }

    /// Splits the leaf and whatever overflows above it in turn.
    fn settle_overflow(&mut self, leaf: SlotId) {
        let mut node = leaf;
        let mut depth = self.path.len();
        while self.nodes.page(node).overflows() {
            if depth == 0 {
                self.grow_root(node);
                depth = 1;
            }
            let step = self.path[depth - 1];
            let pieces = self.nodes.edit(node, Page::split);
            self.recount(step, node);
            for (place, (separator, page)) in pieces.into_iter().enumerate() {
                let (live, total) = page.counts();
                let slot = self.nodes.alloc(page, self.stamp);
                let link = Link { at: At::Memory(slot), live, total };
                let index = step.index + 1 + place;
                self.nodes.edit(step.slot, |page| page.insert_link(index, &separator, link));
            }
            node = step.slot;
            depth -= 1;
        }
    }

    /// Sets the counts of a link from the node behind it.
    fn recount(&mut self, step: Step, node: SlotId) {
        let (live, total) = self.nodes.page(node).counts();
        let link = Link { at: At::Memory(node), live, total };
        self.nodes.edit(step.slot, |page| page.set_link(step.index, link));
    }

    fn grow_root(&mut self, old: SlotId) {
        let link = *self.root_mut();
        assert_eq!(link.at, At::Memory(old));
        self.level = self.level.checked_add(1).expect("256 levels hold any file");
        let slot = self.nodes.alloc(Page::empty(self.level), self.stamp);
        self.nodes.edit(slot, |page| page.insert_link(0, &[], link));
        self.root_mut().at = At::Memory(slot);
        self.path.insert(0, Step { slot, index: 0 });
    }
}

/// Bytes of the cell of an entry.
fn cell_bytes(key: &[u8], entry: &Entry) -> usize {
    let value = match &entry.value {
        Value::Inline(bytes) if bytes.len() <= VALUE_INLINE_BYTES_MAX => bytes.len(),
        Value::Inline(_) | Value::Extent(_) => crate::cell::EXTENT_BYTES,
    };
    crate::cell::LEAF_FIXED_BYTES + key.len() + value
}
