//! Owns the way of an image to disk: freeze, paced writes from the leaves up, free map, root
//! reference, commit. Never writes itself: it hands out bytes and is told when they are there.
//! Invariant: an image on disk is never written over; what a root reference names was written
//! before the reference is handed out. In what order pages of one image arrive does not matter:
//! nothing refers to them before the manifest does.
//!
//! ```text
//!  freeze(g)            poll_write / wrote ...            frozen_root -> sync, manifest   commit(g)
//!  ----|---------------------------------------------------------|---------------------------|--->
//!  working tree copies what it changes                                 units freed on the way to
//!  (frozen pages stay as they are)                                     g become free
//! ```
//! A frozen page gets its address and checksum when its turn comes, children first. Then both
//! its parents are told: the frozen one, and the one in the working tree if that is another by
//! now; that one is found by walking down from the root by the lowest key of the page's range, which
//! costs a lookup a page and saves parent pointers in every node.

use std::collections::{BTreeMap, VecDeque};

use base::checksum::checksum;
use bytes::{BufMut, Bytes, BytesMut};

use crate::cell::{At, Link, PageRef, SlotId, Stored};
use crate::codec::encode;
use crate::entry::ExtentRef;
use crate::free_map;
use crate::root::{MapRef, RootRef};
use crate::sizes::{UNIT_BYTES, WRITE_BYTES_MAX, offset_of, units_for};
use crate::space::{Extent, Trim};
use crate::tree::{Step, Tree};

/// Names one write until it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Bytes to be written into the tree's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageWrite {
    /// For [`Tree::wrote`].
    pub ticket: Ticket,
    /// Where, a multiple of 4 KiB.
    pub offset: u64,
    /// What, a multiple of 4 KiB long.
    pub bytes: Bytes,
}

/// Holds an image on disk readable, see [`Tree::pin`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an image stays pinned until it is given back"]
pub struct Pin {
    stamp: u64,
}

/// The image on its way to disk.
pub(crate) struct Frozen {
    generation: u64,
    stamp: u64,
    root: Option<Link>,
    level: u8,
    /// The way to the page whose turn it is.
    stack: Vec<Visit>,
    stage: Stage,
    map: MapRef,
}

/// A frozen inner node, and the child to look at next.
#[derive(Clone, Copy, Debug)]
struct Visit {
    slot: SlotId,
    next: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Nodes,
    Map,
    Done,
}

/// Placed pages that are gathered into one write, and writes under way.
#[derive(Default)]
pub(crate) struct Run {
    ready: VecDeque<Piece>,
    offset_unit: u32,
    bytes: BytesMut,
    starts: Vec<u32>,
    inflight: BTreeMap<Ticket, Vec<u32>>,
    ticket: u64,
}

/// One placed page.
struct Piece {
    start: u32,
    bytes: Bytes,
}

impl Tree {
    /// Makes the tree as of now the image of checkpoint `generation`. The image before must have
    /// been committed.
    pub fn freeze(&mut self, generation: u64) {
        assert!(self.frozen.is_none(), "one image at a time");
        assert!(self.generation < generation);
        let changed = self.space.has_retired(self.stamp)
            || matches!(self.root, Some(Link { at: At::Memory(_), .. }))
            || self.map_lies_far();
        assert!(!changed || self.map_is_loaded);
        let stack = match self.root {
            Some(Link { at: At::Memory(slot), .. }) => vec![Visit { slot, next: 0 }],
            Some(Link { at: At::Disk(_), .. }) | None => Vec::new(),
        };
        self.frozen = Some(Frozen {
            generation,
            stamp: self.stamp,
            root: self.root,
            level: self.level,
            stack,
            stage: if changed { Stage::Nodes } else { Stage::Done },
            map: self.map,
        });
        self.stamp += 1;
        self.waiting_frozen = self.waiting_next;
    }

    /// Whether the free map holds the end of a file that should shrink.
    fn map_lies_far(&self) -> bool {
        let target = self.space.target_units().filter(|_| self.map_is_loaded);
        target.is_some_and(|target| self.map.extent().is_some_and(|map| map.end() > target))
    }

    /// The next write of the frozen image. `None` if there is none now: all are handed out, or
    /// space is just being given back (call again after [`Tree::trimmed`]).
    pub fn poll_write(&mut self) -> Option<PageWrite> {
        if self.trim.is_some() {
            return None;
        }
        loop {
            let Some(piece) = self.run.ready.pop_front() else {
                match self.advance() {
                    true => continue,
                    false => return self.run.flush(),
                }
            };
            if let Some(full) = self.run.add(piece) {
                return Some(full);
            }
        }
    }

    /// The write is complete.
    pub fn wrote(&mut self, ticket: Ticket) {
        let starts = self.run.inflight.remove(&ticket).expect("told once of each write");
        starts.iter().for_each(|start| self.nodes.wrote(*start));
    }

    /// The root of the frozen image, once all of it is written. Sync the file, make the manifest
    /// durable, then call [`Tree::commit`].
    pub fn frozen_root(&self) -> Option<RootRef> {
        let frozen = self.frozen.as_ref()?;
        if frozen.stage != Stage::Done || !self.run.is_idle() {
            return None;
        }
        Some(RootRef {
            generation: frozen.generation,
            live: frozen.root.map_or(0, |root| root.live),
            total: frozen.root.map_or(0, |root| root.total),
            page: frozen.root.map(|root| match root.at {
                At::Disk(page) => page,
                At::Memory(_) => unreachable!("all pages are placed"),
            }),
            level: frozen.level,
            map: frozen.map,
        })
    }

    /// The manifest with the frozen root is durable. What the image before needed and this one
    /// does not is free from now on.
    pub fn commit(&mut self, generation: u64) {
        assert!(self.frozen_root().is_some(), "committed before it was written");
        let frozen = self.frozen.take().expect("just seen");
        assert_eq!(generation, frozen.generation);
        self.generation = generation;
        self.map = frozen.map;
        self.committed_stamp = frozen.stamp;
        self.space.note_checkpoint();
        self.release(frozen.stamp);
    }

    fn release(&mut self, stamp: u64) {
        let released = self.space.release(stamp);
        if !released.is_empty() {
            self.epoch += 1;
        }
        released.iter().for_each(|extent| self.nodes.forget(extent.start));
    }

    /// Whether an image is on its way: frozen and not committed.
    pub fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Keeps the committed image readable (for a snapshot, by another [`Tree`] opened on its
    /// root) until the pin is given back.
    pub fn pin(&mut self) -> Pin {
        self.space.pin(self.committed_stamp);
        Pin { stamp: self.committed_stamp }
    }

    /// Gives a pin back.
    pub fn unpin(&mut self, pin: Pin) {
        self.space.unpin(pin.stamp);
        self.release(self.committed_stamp);
    }

    /// Space to give back to the file system, at most one at a time and none while an image is
    /// being written. Do it, then call [`Tree::trimmed`].
    pub fn poll_trim(&mut self) -> Option<Trim> {
        if self.trim.is_some() || self.frozen.is_some() || !self.map_is_loaded {
            return None;
        }
        self.trim = self.space.next_trim();
        self.trim.map(|trim| trim.to_trim())
    }

    /// The space is given back.
    pub fn trimmed(&mut self) {
        let trim = self.trim.take().expect("told once of each trim");
        self.space.trimmed(trim);
    }

    /// Places one page more. False if there is none left.
    fn advance(&mut self) -> bool {
        let Some(mut frozen) = self.frozen.take() else { return false };
        let more = match frozen.stage {
            Stage::Nodes => {
                match self.next_node(&mut frozen) {
                    Some(slot) => self.place_node(&mut frozen, slot),
                    None => frozen.stage = Stage::Map,
                }
                true
            }
            Stage::Map => {
                self.place_map(&mut frozen);
                frozen.stage = Stage::Done;
                true
            }
            Stage::Done => false,
        };
        self.frozen = Some(frozen);
        more
    }

    /// The next page all of whose children are placed, taken off the stack.
    fn next_node(&self, frozen: &mut Frozen) -> Option<SlotId> {
        loop {
            let top = frozen.stack.last_mut()?;
            match self.nodes.page(top.slot).next_in_memory(top.next) {
                Some((index, child)) => {
                    top.next = index + 1;
                    frozen.stack.push(Visit { slot: child, next: 0 });
                }
                None => return frozen.stack.pop().map(|visit| visit.slot),
            }
        }
    }

    fn place_node(&mut self, frozen: &mut Frozen, slot: SlotId) {
        assert!(self.nodes.stamp(slot).is_some_and(|stamp| stamp <= frozen.stamp));
        if self.nodes.page(slot).is_leaf() {
            self.place_values(slot);
        }
        let page = self.nodes.page(slot);
        let bytes = encode(page, frozen.generation);
        let extent = self.alloc(page.units());
        let at = At::Disk(PageRef {
            start: extent.start,
            units: extent.units,
            crc: checksum(&bytes),
            reach: self.nodes.page(slot).reach_below().max(extent.end()),
        });
        self.run.ready.push_back(Piece { start: extent.start, bytes: Bytes::from(bytes) });
        let parent =
            frozen.stack.last().map(|visit| Step { slot: visit.slot, index: visit.next - 1 });
        match parent {
            Some(step) => self.point(Some(step), at),
            None => frozen.root.as_mut().expect("it has this page").at = at,
        }
        if self.nodes.is_detached(slot) {
            self.nodes.discard(slot);
            self.retire(extent);
            return;
        }
        if parent.is_none_or(|step| self.nodes.is_detached(step.slot)) {
            let low = self.low_key(frozen);
            self.tell_working(&low, slot, at);
        }
        self.nodes.place(slot, extent.start);
    }

    /// Gives the waiting values of a frozen leaf their extents.
    fn place_values(&mut self, leaf: SlotId) {
        for index in 0..self.nodes.page(leaf).count() {
            let cell = self.nodes.page(leaf).entry(index);
            let Stored::Waiting { id, len } = cell.value else { continue };
            let key = cell.key.to_vec();
            let value = self.waiting.remove(&id).expect("frozen values wait until placed");
            self.waiting_bytes -= value.len();
            let place = self.alloc(units_for(value.len()));
            let extent = ExtentRef { start: place.start, len, crc: checksum(&value) };
            let mut padded = BytesMut::with_capacity(place.units as usize * UNIT_BYTES);
            padded.put_slice(&value);
            padded.resize(place.units as usize * UNIT_BYTES, 0);
            self.run.ready.push_back(Piece { start: place.start, bytes: padded.freeze() });
            self.nodes.edit(leaf, |page| page.set_value(index, Stored::Extent(extent)));
            let is_wanted = match self.nodes.is_detached(leaf) {
                true => self.tell_value(&key, id, extent),
                false => true,
            };
            match is_wanted {
                true => self.nodes.place_value(place.start, value),
                false => self.retire(place),
            }
        }
    }

    fn alloc(&mut self, units: u32) -> Extent {
        self.space.alloc(units).expect("the file is below 16 TiB")
    }

    /// The lowest key of the range of the page whose parent is on top of the stack.
    fn low_key(&self, frozen: &Frozen) -> Vec<u8> {
        let bounded = frozen.stack.iter().rev().find(|visit| visit.next > 1);
        bounded.map_or(Vec::new(), |visit| self.nodes.page(visit.slot).key(visit.next - 1).to_vec())
    }

    /// Tells the working tree where a page that it shares with the image lies now.
    fn tell_working(&mut self, low: &[u8], slot: SlotId, at: At) {
        let mut parent: Option<Step> = None;
        let mut link = *self.root_mut();
        while link.at != At::Memory(slot) {
            let At::Memory(inner) = link.at else { unreachable!("ancestors of dirty are dirty") };
            let index = self.nodes.page(inner).child_index(low);
            link = self.nodes.page(inner).link(index);
            parent = Some(Step { slot: inner, index });
        }
        self.point(parent, at);
    }

    /// Tells the working tree where a value lies, if its key still has it.
    fn tell_value(&mut self, key: &[u8], id: u64, extent: ExtentRef) -> bool {
        let Some(mut link) = self.root else { return false };
        loop {
            // What is on disk, or frozen itself, does not hold a value of a detached leaf.
            let At::Memory(slot) = link.at else { return false };
            let page = self.nodes.page(slot);
            if !page.is_leaf() {
                link = page.link(page.child_index(key));
                continue;
            }
            let Ok(index) = page.search(key) else { return false };
            let has_it =
                matches!(page.entry(index).value, Stored::Waiting { id: at, .. } if at == id);
            if has_it {
                self.nodes.edit(slot, |page| page.set_value(index, Stored::Extent(extent)));
            }
            return has_it;
        }
    }

    /// Writes the free map as the image sees it. The map that it replaces is free in it.
    fn place_map(&mut self, frozen: &mut Frozen) {
        if let Some(old) = frozen.map.extent() {
            self.space.retire(frozen.stamp, old);
        }
        // The map may have to cover itself at the end of the file.
        let file = u64::from(self.space.file_units());
        let units = free_map::map_units(file + u64::from(free_map::map_units(file)) + 64);
        let place = self.alloc(units);
        let (words, used_units) = self.space.words_at(frozen.stamp);
        let file_units = self.space.file_units();
        let mut map = MapRef { start: place.start, units, crc: 0, file_units, used_units };
        let bytes = free_map::encode(&words, &map, frozen.generation);
        map.crc = checksum(&bytes);
        self.run.ready.push_back(Piece { start: place.start, bytes: Bytes::from(bytes) });
        frozen.map = map;
    }
}

impl MapRef {
    fn extent(&self) -> Option<Extent> {
        (self.units > 0).then_some(Extent { start: self.start, units: self.units })
    }
}

impl Run {
    fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.bytes.is_empty() && self.inflight.is_empty()
    }

    /// Adds a page to the write being gathered. Returns that write if the page does not go with it.
    fn add(&mut self, piece: Piece) -> Option<PageWrite> {
        let end = self.offset_unit + units_for(self.bytes.len());
        let fits = self.bytes.len() + piece.bytes.len() <= WRITE_BYTES_MAX;
        let full = match self.bytes.is_empty() || (end == piece.start && fits) {
            true => None,
            false => self.flush(),
        };
        if self.bytes.is_empty() {
            self.offset_unit = piece.start;
        }
        self.bytes.put_slice(&piece.bytes);
        self.starts.push(piece.start);
        full
    }

    /// The write being gathered.
    fn flush(&mut self) -> Option<PageWrite> {
        if self.bytes.is_empty() {
            return None;
        }
        self.ticket += 1;
        let ticket = Ticket(self.ticket);
        self.inflight.insert(ticket, std::mem::take(&mut self.starts));
        let bytes = std::mem::take(&mut self.bytes).freeze();
        Some(PageWrite { ticket, offset: offset_of(self.offset_unit), bytes })
    }
}
