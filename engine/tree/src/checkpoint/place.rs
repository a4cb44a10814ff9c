//! Owns how frozen pages, their large values and the free map get their places on disk, one page a
//! call, children before parents, and how both trees learn of it.
//! Invariant: when a page is encoded, every reference in it is one to disk.

use base::checksum::checksum;
use bytes::{BufMut, Bytes, BytesMut};

use crate::cell::{At, PageRef, SlotId, Stored};
use crate::codec::encode;
use crate::entry::ExtentRef;
use crate::free_map;
use crate::root::MapRef;
use crate::sizes::{UNIT_BYTES, units_for};
use crate::space::Extent;
use crate::tree::{Step, Tree};

use super::{Frozen, RELEASE_A_PAGE, Stage, Visit};

impl Tree {
    /// Places one page more. False if there is none left.
    pub(super) fn advance(&mut self) -> bool {
        self.release_some(RELEASE_A_PAGE);
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
        self.run.push(extent.start, Bytes::from(bytes));
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
            let padded = padded.freeze();
            self.run.push(place.start, padded);
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
        self.run.push(place.start, Bytes::from(bytes));
        frozen.map = map;
    }
}
