//! Owns the slow walk that reads everything back and compares it with the checksums above it.
//! Never decides how fast: the caller reads when it is idle. Never fills the cache, but for inner
//! nodes that lead on.
//! Invariant: one pass reads every page and value that was on disk when it came to it.
//!
//! The walk goes level by level from the root, in the order of keys, and keeps a key as its place:
//! the tree may change as it likes in between.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::cell::{At, Link, Stored};
use crate::codec::decode;
use crate::entry::ExtentRef;
use crate::free_map;
use crate::nodes::Touch;
use crate::page::Page;
use crate::rot::Rot;
use crate::tree::{Miss, PageId, Step, Tree, What, check_value};

/// What the walk wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrub {
    /// Read this and call [`Tree::scrubbed`].
    Read(Miss),
    /// Nothing to read here; ask again when idle.
    Pause,
    /// A pass is over. The next call begins another.
    Finished,
}

/// Changed pages that one call passes by, at most.
const STEPS_MAX: usize = 256;

/// Where the walk is.
#[derive(Default)]
pub(crate) struct ScrubCursor {
    stage: Stage,
    key: Vec<u8>,
    /// Extents of the leaf that was read last, good in this epoch.
    values: VecDeque<ExtentRef>,
    epoch: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Next is the free map.
    #[default]
    Map,
    /// Next is a node of this level, or of the root's if that is lower.
    Level(u8),
    /// All has been read.
    End,
}

impl Tree {
    /// The next thing to verify.
    pub fn poll_scrub(&mut self) -> Scrub {
        if self.scrub.epoch != self.epoch {
            self.scrub.values.clear();
        }
        while let Some(extent) = self.scrub.values.pop_front() {
            if self.nodes.is_on_disk(extent.start) {
                return Scrub::Read(self.value_miss(extent));
            }
        }
        let level = match self.scrub.stage {
            Stage::Map => {
                self.scrub.stage = Stage::Level(u8::MAX);
                self.scrub.key.clear();
                match self.map.units {
                    0 => return Scrub::Pause,
                    units => return Scrub::Read(self.miss(self.map.start, units, What::Map)),
                }
            }
            Stage::Level(level) => level,
            Stage::End => {
                self.scrub.stage = Stage::Map;
                return Scrub::Finished;
            }
        };
        self.scrub_nodes(level.min(self.level))
    }

    fn scrub_nodes(&mut self, mut level: u8) -> Scrub {
        for _ in 0..STEPS_MAX {
            let key = std::mem::take(&mut self.scrub.key);
            let link = self.descend_to(&key, level);
            self.scrub.key = key;
            let link = match link {
                Ok(Some(link)) => link,
                Ok(None) => {
                    self.scrub.stage = Stage::End;
                    return Scrub::Pause;
                }
                Err(miss) => return Scrub::Read(miss),
            };
            let miss = match link.at {
                At::Disk(page) if self.nodes.is_on_disk(page.start) => self.miss_of(&link, level),
                At::Disk(_) | At::Memory(_) => None,
            };
            let next = self.next_range();
            match (&next, level) {
                (Some(_), _) => {}
                (None, 0) => self.scrub.stage = Stage::End,
                (None, _) => level -= 1,
            }
            if self.scrub.stage != Stage::End {
                self.scrub.stage = Stage::Level(level);
                self.scrub.key = next.unwrap_or_default();
            }
            match (miss, self.scrub.stage) {
                (Some(miss), _) => return Scrub::Read(miss),
                (None, Stage::End) => return Scrub::Pause,
                (None, Stage::Level(_) | Stage::Map) => {}
            }
        }
        Scrub::Pause
    }

    /// The link to the node of `level` whose range holds the key.
    fn descend_to(&mut self, key: &[u8], level: u8) -> Result<Option<Link>, Miss> {
        self.path.clear();
        let Some(mut link) = self.root else { return Ok(None) };
        for at in (level + 1..=self.level).rev() {
            let slot = self.load(&link, at, Touch::Passing)?;
            let page = self.nodes.page(slot);
            let index = page.child_index(key);
            link = page.link(index);
            self.path.push(Step { slot, index });
        }
        self.nodes.next_pulse();
        Ok(Some(link))
    }

    /// What the disk says where [`Scrub::Read`] pointed.
    pub fn scrubbed(&mut self, page: PageId, bytes: Bytes) -> Result<(), Rot> {
        if page.epoch != self.epoch {
            return Ok(());
        }
        let rot = |why| Rot::at(page.start, why);
        match page.what {
            What::Map if page.start != self.map.start => Ok(()),
            What::Map => free_map::decode(&bytes, &self.map).map(drop).map_err(rot),
            What::Value { len, crc } => check_value(bytes, len, crc).map(drop).map_err(rot),
            What::Node(expected) => {
                let node = decode(&bytes, &expected).map_err(rot)?;
                self.scrub.values.extend(extents(&node));
                self.scrub.epoch = self.epoch;
                if !node.is_leaf() && !self.nodes.is_in_memory(page.start) {
                    self.nodes.load(node, page.start);
                }
                Ok(())
            }
        }
    }
}

fn extents(node: &Page) -> Vec<ExtentRef> {
    if !node.is_leaf() {
        return Vec::new();
    }
    let extent = |index| match node.entry(index).value {
        Stored::Extent(extent) => Some(extent),
        Stored::Inline(_) | Stored::Waiting { .. } => None,
    };
    (0..node.count()).filter_map(extent).collect()
}
