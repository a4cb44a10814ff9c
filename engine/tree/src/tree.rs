//! Owns the tree as a whole: its root, what is in memory, what is free, and the way pages come in.
//! Never reads a file: what is missing is named, read by the caller and supplied. The verbs stand
//! in read.rs, edit.rs, merge.rs, checkpoint.rs, relocate.rs and scrub.rs.
//! Invariant: a dirty node's ancestors are dirty; a page is checked against its reference exactly
//! once, when it comes into memory.

use std::collections::BTreeMap;

use base::checksum::checksum;
use bytes::Bytes;

use crate::cell::{At, Link, SlotId};
use crate::checkpoint::{Frozen, Run};
use crate::codec::{Expected, decode};
use crate::entry::{ExtentRef, Value};
use crate::free_map;
use crate::nodes::{CacheStats, Nodes, Touch};
use crate::root::{MapRef, RootRef};
use crate::rot::{Rot, Why};
use crate::scrub::ScrubCursor;
use crate::sizes::{UNIT_BYTES, offset_of, units_for};
use crate::space::{Extent, Space, SpaceStats, TrimUnits};

/// How a tree behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes that clean pages may take in memory. Dirty pages, pages being written and pages that
    /// the operation under way needs come on top.
    pub cache_bytes: usize,
}

/// A page that is needed and not in memory: read these bytes of the tree's file and call
/// [`Tree::supply`], then try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    /// Names the page to [`Tree::supply`].
    pub page: PageId,
    /// Where to read.
    pub offset: u64,
    /// How much.
    pub len: u32,
}

/// A page of one tree at one time. Equal ids need be read only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageId {
    pub(crate) start: u32,
    /// Releases of freed pages so far: an answer that comes after a later one is ignored, since
    /// something else may lie there by now.
    pub(crate) epoch: u64,
    pub(crate) what: What,
}

/// What a page id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum What {
    Node(Expected),
    Value { len: u32, crc: u32 },
    Map,
}

/// Path from the root to a leaf: an inner node and the child taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub slot: SlotId,
    pub index: usize,
}

/// The counted copy-on-write B-tree of one slice.
pub struct Tree {
    pub(crate) nodes: Nodes,
    /// `None` while the tree is empty.
    pub(crate) root: Option<Link>,
    /// Level of the root page.
    pub(crate) level: u8,
    /// The image that the working tree will become, counted since the tree was opened.
    pub(crate) stamp: u64,
    pub(crate) space: Space,
    /// The free map on disk; not in memory yet while `map_is_loaded` is false.
    pub(crate) map: MapRef,
    pub(crate) map_is_loaded: bool,
    /// Large values without an extent, by rising number.
    pub(crate) waiting: BTreeMap<u64, Bytes>,
    pub(crate) waiting_next: u64,
    pub(crate) waiting_bytes: usize,
    /// Values numbered below this belong to the frozen image.
    pub(crate) waiting_frozen: u64,
    pub(crate) frozen: Option<Frozen>,
    pub(crate) run: Run,
    pub(crate) trim: Option<TrimUnits>,
    pub(crate) generation: u64,
    pub(crate) committed_stamp: u64,
    pub(crate) epoch: u64,
    pub(crate) path: Vec<Step>,
    pub(crate) scrub: ScrubCursor,
    /// Where relocation goes on.
    pub(crate) relocate_from: Vec<u8>,
}

impl Tree {
    /// The empty tree of a new file.
    pub fn create(options: Options) -> Tree {
        Tree::open(options, RootRef::EMPTY)
    }

    /// The tree of a durable checkpoint. Reads nothing yet.
    pub fn open(options: Options, root: RootRef) -> Tree {
        let link = |page| Link { at: At::Disk(page), live: root.live, total: root.total };
        Tree {
            nodes: Nodes::new(options.cache_bytes),
            root: root.page.map(link),
            level: root.level,
            stamp: 1,
            space: Space::new(),
            map: root.map,
            map_is_loaded: root.map.units == 0,
            waiting: BTreeMap::new(),
            waiting_next: 0,
            waiting_bytes: 0,
            waiting_frozen: 0,
            frozen: None,
            run: Run::default(),
            trim: None,
            generation: root.generation,
            committed_stamp: 0,
            epoch: 0,
            path: Vec::new(),
            scrub: ScrubCursor::default(),
            relocate_from: Vec::new(),
        }
    }

    /// Live entries.
    pub fn live(&self) -> u64 {
        self.root.map_or(0, |root| root.live)
    }

    /// Live entries and tombstones.
    pub fn total(&self) -> u64 {
        self.root.map_or(0, |root| root.total)
    }

    /// What the cache holds and did.
    pub fn cache_stats(&self) -> CacheStats {
        let mut stats = self.nodes.stats();
        stats.dirty_pages += self.waiting.len();
        stats.dirty_bytes += self.waiting_bytes;
        stats
    }

    /// Sizes of the file.
    pub fn space(&self) -> SpaceStats {
        if self.map_is_loaded {
            return self.space.stats();
        }
        let bytes = |units: u32| u64::from(units) * UNIT_BYTES as u64;
        SpaceStats {
            file_bytes: bytes(self.map.file_units),
            used_bytes: bytes(self.map.used_units),
            free_bytes: bytes(self.map.file_units - self.map.used_units),
            retired_bytes: 0,
        }
    }

    /// Length of the file once all writes handed out are done.
    pub fn file_bytes(&self) -> u64 {
        self.space().file_bytes
    }

    /// The bytes of a value.
    pub fn value(&mut self, value: &Value) -> Result<Bytes, Miss> {
        let extent = match value {
            Value::Inline(bytes) => return Ok(bytes.clone()),
            Value::Extent(extent) => *extent,
        };
        let slot = self.load_value(extent)?;
        let bytes = self.nodes.value(slot).clone();
        self.nodes.next_pulse();
        Ok(bytes)
    }

    /// Hands over a page that was missed, exactly the bytes that were asked for. Bytes of a page
    /// that has come by another way, or may be another's by now, are ignored.
    pub fn supply(&mut self, page: PageId, bytes: Bytes) -> Result<(), Rot> {
        if page.epoch != self.epoch {
            return Ok(());
        }
        let rot = |why| Rot::at(page.start, why);
        match page.what {
            What::Map if self.map_is_loaded => Ok(()),
            What::Map => {
                self.space = free_map::decode(&bytes, &self.map).map_err(rot)?;
                self.map_is_loaded = true;
                Ok(())
            }
            What::Node(_) | What::Value { .. } if self.nodes.is_in_memory(page.start) => Ok(()),
            What::Node(expected) => {
                self.nodes.load(decode(&bytes, &expected).map_err(rot)?, page.start);
                Ok(())
            }
            What::Value { len, crc } => {
                let bytes = check_value(bytes, len, crc).map_err(rot)?;
                self.nodes.load_value(bytes, page.start);
                Ok(())
            }
        }
    }

    /// The slot of a node, if it is in memory. `level` is what it must be.
    pub(crate) fn load(&mut self, link: &Link, level: u8, touch: Touch) -> Result<SlotId, Miss> {
        let page = match link.at {
            At::Memory(slot) => {
                self.nodes.touch(slot, touch);
                return Ok(slot);
            }
            At::Disk(page) => page,
        };
        if let Some(slot) = self.nodes.find(page.start, touch) {
            return Ok(slot);
        }
        Err(self.miss_of(link, level).expect("it is on disk"))
    }

    /// What to read for a node on disk.
    pub(crate) fn miss_of(&self, link: &Link, level: u8) -> Option<Miss> {
        let At::Disk(page) = link.at else { return None };
        let expected = Expected {
            units: page.units,
            crc: page.crc,
            level,
            live: link.live,
            total: link.total,
        };
        Some(self.miss(page.start, page.units, What::Node(expected)))
    }

    /// The slot of a large value, if it is in memory.
    pub(crate) fn load_value(&mut self, extent: ExtentRef) -> Result<SlotId, Miss> {
        let missing = self.value_miss(extent);
        self.nodes.find(extent.start, Touch::Warm).ok_or(missing)
    }

    pub(crate) fn value_miss(&self, extent: ExtentRef) -> Miss {
        let ExtentRef { start, len, crc } = extent;
        self.miss(start, units_for(len as usize), What::Value { len, crc })
    }

    /// Misses the free map if it was not read yet.
    pub(crate) fn need_map(&self) -> Result<(), Miss> {
        match self.map_is_loaded {
            true => Ok(()),
            false => Err(self.miss(self.map.start, self.map.units, What::Map)),
        }
    }

    pub(crate) fn miss(&self, start: u32, units: u32, what: What) -> Miss {
        let page = PageId { start, epoch: self.epoch, what };
        let len = u32::try_from(u64::from(units) * UNIT_BYTES as u64);
        Miss { page, offset: offset_of(start), len: len.expect("an extent is below 4 GiB") }
    }

    /// The working tree no longer needs what lies there.
    pub(crate) fn retire(&mut self, extent: Extent) {
        self.space.retire(self.stamp, extent);
    }

    /// The root, for callers that know that there is one.
    pub(crate) fn root_mut(&mut self) -> &mut Link {
        self.root.as_mut().expect("the tree is not empty here")
    }
}

/// The value in an extent of padded bytes.
pub(crate) fn check_value(bytes: Bytes, len: u32, crc: u32) -> Result<Bytes, Why> {
    if bytes.len() != units_for(len as usize) as usize * UNIT_BYTES {
        return Err(Why::Length);
    }
    let value = bytes.slice(..len as usize);
    if checksum(&value) == crc { Ok(value) } else { Err(Why::Checksum) }
}
