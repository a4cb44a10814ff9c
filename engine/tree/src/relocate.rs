//! Owns the shrinking of a file whose end is not rewritten by itself: finds pages that lie far
//! back and marks them changed, so that the next checkpoint writes them further to the front.
//! Never writes, never moves more than one page a call.
//! Invariant: relocation changes where things lie, never what they say.
//!
//! Every reference carries the reach of what is below it (the farthest unit in use), so what lies
//! at the end is found by walking down, not by reading everything.

use crate::cell::{At, Link, SlotId, Stored};
use crate::nodes::Touch;
use crate::space::Extent;
use crate::tree::{Miss, Step, Tree};

/// What a call of [`Tree::relocate`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relocation {
    /// There is nothing to move before the next checkpoint.
    Settled,
    /// One page or value will move with the next checkpoint.
    Moved,
    /// Looked at many pages and found none yet.
    Searching,
}

/// Nodes that one call looks at, at most.
const LOOKS_MAX: usize = 64;

/// What one look found.
enum Look {
    Moved,
    /// Nothing in the range; go on at this key.
    Past(Vec<u8>),
    /// Nothing up to the end.
    End,
}

impl Tree {
    /// If the file is much longer than what it holds, picks one page at its end to be written again
    /// by the next checkpoint. Call in idle time, as often as the checkpoint may grow pages.
    pub fn relocate(&mut self) -> Result<Relocation, Miss> {
        self.need_map()?;
        let Some(target) = self.space.target_units() else { return Ok(Relocation::Settled) };
        for _ in 0..LOOKS_MAX {
            let look = self.look(target)?;
            self.nodes.next_pulse();
            match look {
                Look::Moved => return Ok(Relocation::Moved),
                Look::Past(key) => self.relocate_from = key,
                Look::End => {
                    self.relocate_from.clear();
                    return Ok(Relocation::Settled);
                }
            }
        }
        Ok(Relocation::Searching)
    }

    /// Walks down to the first thing beyond `target` at or after the cursor.
    fn look(&mut self, target: u32) -> Result<Look, Miss> {
        self.path.clear();
        let Some(mut link) = self.root else { return Ok(Look::End) };
        let mut level = self.level;
        let mut from = std::mem::take(&mut self.relocate_from);
        let found = loop {
            let slot = match self.load(&link, level, Touch::Passing) {
                Ok(slot) => slot,
                Err(miss) => {
                    self.relocate_from = from;
                    return Err(miss);
                }
            };
            if lies_beyond(&link, target) {
                self.own_path(slot);
                break Ok(Look::Moved);
            }
            if level == 0 {
                break self.look_at_values(slot, target);
            }
            let page = self.nodes.page(slot);
            let first = page.child_index(&from);
            let reaches = |index: &usize| reaches_beyond(&page.link(*index), target);
            let Some(index) = (first..page.count()).find(reaches) else {
                break Ok(self.past());
            };
            if index > first {
                from = page.key(index).to_vec();
            }
            link = page.link(index);
            self.path.push(Step { slot, index });
            level -= 1;
        };
        self.relocate_from = from;
        found
    }

    fn past(&self) -> Look {
        self.next_range().map_or(Look::End, Look::Past)
    }

    /// Takes a value that lies beyond `target` back into memory.
    fn look_at_values(&mut self, leaf: SlotId, target: u32) -> Result<Look, Miss> {
        let page = self.nodes.page(leaf);
        let far = (0..page.count()).find_map(|index| match page.entry(index).value {
            Stored::Extent(extent) if extent.place().end() > target => Some((index, extent)),
            Stored::Extent(_) | Stored::Inline(_) | Stored::Waiting { .. } => None,
        });
        let Some((index, extent)) = far else { return Ok(self.past()) };
        let slot = self.load_value(extent)?;
        let bytes = self.nodes.value(slot).clone();
        let leaf = self.own_path(leaf);
        self.retire(extent.place());
        let len = extent.len;
        let id = self.wait(bytes);
        self.nodes.edit(leaf, |page| page.set_value(index, Stored::Waiting { id, len }));
        Ok(Look::Moved)
    }
}

fn lies_beyond(link: &Link, target: u32) -> bool {
    match link.at {
        At::Disk(page) => Extent { start: page.start, units: page.units }.end() > target,
        At::Memory(_) => false,
    }
}

fn reaches_beyond(link: &Link, target: u32) -> bool {
    match link.at {
        At::Disk(page) => page.reach > target,
        // What is below a changed node is not summed up before it is written.
        At::Memory(_) => true,
    }
}
