//! Owns what happens below: nodes that became too small merge with a neighbour, empty ones go, the
//! root follows. Planned before anything changes, since a neighbour may have to be read first.
//! Invariant: the plan is carried out as it was made; no node but the root's leaf is ever empty.

use crate::cell::{At, Link, SlotId};
use crate::codec::HEADER_BYTES;
use crate::nodes::Touch;
use crate::page::Page;
use crate::sizes::{MERGE_BYTES_MAX, UNIT_BYTES};
use crate::space::Extent;
use crate::tree::{Miss, Step, Tree};

/// What to do with the node at one level of the path, from the leaf upward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is empty: take it out of its parent.
    Drop,
    /// Its cells go to the left neighbour.
    IntoLeft,
    /// It takes the cells of the right neighbour.
    TakeRight,
}

impl Tree {
    /// What will have to be done once the leaf at the end of the path has `bytes` and `count`.
    pub(crate) fn plan_merges(
        &mut self,
        mut bytes: usize,
        mut count: usize,
    ) -> Result<Vec<Action>, Miss> {
        let mut plan = Vec::new();
        for depth in (0..self.path.len()).rev() {
            let step = self.path[depth];
            let action = match count {
                0 => Some(Action::Drop),
                _ if Page::underflows(bytes) => self.partner(step, bytes)?,
                _ => None,
            };
            let Some(action) = action else { break };
            plan.push(action);
            let lost = match action {
                Action::Drop | Action::IntoLeft => step.index,
                Action::TakeRight => step.index + 1,
            };
            (bytes, count) = self.nodes.page(step.slot).without(lost);
        }
        Ok(plan)
    }

    /// The neighbour to merge with, if the smaller of the two is small enough.
    fn partner(&mut self, step: Step, bytes: usize) -> Result<Option<Action>, Miss> {
        let parent = self.nodes.page(step.slot);
        let level = parent.level() - 1;
        let left = step.index.checked_sub(1).map(|at| (Action::IntoLeft, parent.link(at)));
        let right = (step.index + 1 < parent.count())
            .then(|| (Action::TakeRight, parent.link(step.index + 1)));
        let candidates = left.into_iter().chain(right);
        let smaller = candidates.min_by_key(|(_, link)| self.bytes_at_most(link));
        let Some((action, link)) = smaller else { return Ok(None) };
        if self.bytes_at_most(&link) > MERGE_BYTES_MAX + UNIT_BYTES {
            return Ok(None);
        }
        let separator = match (level, action) {
            (0, _) => 0,
            (_, Action::TakeRight) => self.nodes.page(step.slot).key(step.index + 1).len(),
            (_, Action::IntoLeft | Action::Drop) => {
                self.nodes.page(step.slot).key(step.index).len()
            }
        };
        let slot = self.load(&link, level, Touch::Warm)?;
        let merged = bytes + self.nodes.page(slot).bytes() - HEADER_BYTES + separator;
        Ok((merged <= MERGE_BYTES_MAX).then_some(action))
    }

    fn bytes_at_most(&self, link: &Link) -> usize {
        match link.at {
            At::Memory(slot) => self.nodes.page(slot).bytes(),
            At::Disk(page) => page.units as usize * UNIT_BYTES,
        }
    }

    /// Carries a plan out. `leaf` and the path are own.
    pub(crate) fn merge(&mut self, leaf: SlotId, plan: Vec<Action>) {
        let mut node = leaf;
        for (action, depth) in plan.into_iter().zip((0..self.path.len()).rev()) {
            let step = self.path[depth];
            match action {
                Action::Drop => self.drop_child(step, node),
                Action::IntoLeft => {
                    let left = Step { index: step.index - 1, ..step };
                    let left_slot = self.child_in_memory(left);
                    let left_slot = self.own(Some(left), left_slot);
                    self.join(left, left_slot, node);
                }
                Action::TakeRight => {
                    let right = self.child_in_memory(Step { index: step.index + 1, ..step });
                    self.join(step, node, right);
                }
            }
            node = step.slot;
        }
        self.settle_root();
    }

    fn child_in_memory(&mut self, step: Step) -> SlotId {
        let page = self.nodes.page(step.slot);
        let (link, level) = (page.link(step.index), page.level() - 1);
        self.load(&link, level, Touch::Warm).expect("the plan has loaded it")
    }

    fn drop_child(&mut self, step: Step, node: SlotId) {
        assert_eq!(self.nodes.page(node).count(), 0);
        self.nodes.edit(step.slot, |page| page.remove(step.index));
        self.let_go(node);
    }

    /// Moves the cells of `right`, the neighbour behind `step`, into `left`, the child at `step`.
    fn join(&mut self, step: Step, left: SlotId, right: SlotId) {
        let separator = self.nodes.page(step.slot).key(step.index + 1).to_vec();
        let cells = self.nodes.page(right).clone();
        self.nodes.edit(left, |page| page.absorb(&cells, &separator));
        self.nodes.edit(step.slot, |page| {
            let (link, more) = (page.link(step.index), page.link(step.index + 1));
            let (live, total) = (link.live + more.live, link.total + more.total);
            page.remove(step.index + 1);
            page.set_link(step.index, Link { at: At::Memory(left), live, total });
        });
        self.let_go(right);
    }

    /// The working tree refers to this node no longer.
    pub(crate) fn let_go(&mut self, slot: SlotId) {
        if self.nodes.stamp(slot).is_some_and(|stamp| stamp < self.stamp) {
            self.nodes.detach(slot);
            return;
        }
        let units = self.nodes.page(slot).units();
        if let Some(start) = self.nodes.discard(slot) {
            self.retire(Extent { start, units });
        }
    }

    /// A root with one child gives way to it; one without goes.
    fn settle_root(&mut self) {
        while let Some(Link { at: At::Memory(slot), .. }) = self.root {
            let page = self.nodes.page(slot);
            match page.count() {
                0 => {
                    self.let_go(slot);
                    (self.root, self.level) = (None, 0);
                }
                1 if !page.is_leaf() => {
                    let link = page.link(0);
                    self.let_go(slot);
                    self.root = Some(link);
                    self.level -= 1;
                }
                _ => return,
            }
        }
    }
}
