//! Owns the way of an image to disk: freeze, paced writes from the leaves up, free map, root
//! reference, commit. Never writes itself: it hands out bytes and is told when they are there.
//! Invariant: an image on disk is never written over; what a root reference names was written
//! before the reference is handed out. In what order pages of one image arrive does not matter:
//! nothing refers to them before the manifest does.
//!
//! ```text
//!  freeze(g)           poll_write / wrote ...           frozen_root -> sync, manifest   commit(g)
//!  ----|---------------------------------------------------------|---------------------------|--->
//!  working tree copies what it changes                                 units freed on the way to
//!  (frozen pages stay as they are)                                     g become free
//! ```
//! A frozen page gets its address and checksum when its turn comes, children first. Then both
//! its parents are told: the frozen one, and the one in the working tree if that is another by
//! now; that one is found by walking down from the root by the lowest key of the page's range,
//! which costs a lookup a page and saves parent pointers in every node.

mod place;
mod run;

use bytes::Bytes;

use crate::cell::{At, Link, SlotId};
use crate::root::{MapRef, RootRef};
use crate::space::{Extent, Trim};
use crate::tree::Tree;

pub(crate) use run::Run;

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

/// Extents that each placed page makes free of those that the last commit let go.
const RELEASE_A_PAGE: usize = 16;
/// The same for each change of the tree.
pub(crate) const RELEASE_A_CHANGE: usize = 4;
/// The same for each look for space to give back.
const RELEASE_IDLE: usize = 1024;

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
            let Some(piece) = self.run.pop() else {
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
        let starts = self.run.wrote(ticket);
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
        self.space.release(stamp);
        if self.space.is_releasing() {
            self.epoch += 1;
        }
    }

    /// Makes some of the units free that the latest commit let go. Spread over later calls, so
    /// that a commit after a large checkpoint holds nobody up.
    pub(crate) fn release_some(&mut self, count: usize) {
        if self.space.is_releasing() {
            let released = self.space.release_some(count);
            released.iter().for_each(|extent| self.nodes.forget(extent.start));
        }
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
        self.release_some(RELEASE_IDLE);
        if self.space.is_releasing() {
            return None;
        }
        self.trim = self.space.next_trim();
        self.trim.map(|trim| trim.to_trim())
    }

    /// Is space on its way back to the file system, or will be with the next [`Tree::poll_trim`]?
    pub fn is_returning(&self) -> bool {
        let may_look = self.frozen.is_none() && self.map_is_loaded;
        self.trim.is_some() || (may_look && (self.space.is_releasing() || !self.space.is_trimmed()))
    }

    /// The space is given back.
    pub fn trimmed(&mut self) {
        let trim = self.trim.take().expect("told once of each trim");
        self.space.trimmed(trim);
    }
}

impl MapRef {
    fn extent(&self) -> Option<Extent> {
        (self.units > 0).then_some(Extent { start: self.start, units: self.units })
    }
}
