//! Owns the pages that were read or have just been written: a clock with a budget in bytes.
//! Never holds the only copy of anything.
//! Invariant: a supplied page stays until it was used once (or long ago), so that a search that
//! needs two pages ends even if the budget is smaller than one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::block::{Block, BlockMeta, META_BYTES};
use crate::frame::PageAt;

/// Supplies after which a page that nobody used loses its stay.
const FRESH_SUPPLIES_MAX: u64 = 64;

/// What a cached page holds.
#[derive(Clone, Debug)]
pub(crate) enum Page {
    Records(Block),
    Index(Arc<[BlockMeta]>),
}

impl Page {
    pub fn bytes(&self) -> usize {
        match self {
            Page::Records(block) => block.bytes().len() + 4 * block.len(),
            Page::Index(metas) => metas.len() * META_BYTES * 2,
        }
    }
}

/// Why somebody looks at a page: a scan must not keep what it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Point,
    Scan,
}

struct Slot {
    page: Page,
    referenced: bool,
    /// Supply count at arrival, until the first use.
    fresh_since: Option<u64>,
}

pub(crate) struct Cache {
    bytes_max: usize,
    bytes: usize,
    supplies: u64,
    slots: BTreeMap<PageAt, Slot>,
    /// Clock order of the very keys of `slots`.
    hand: VecDeque<PageAt>,
}

impl Cache {
    pub fn new(bytes_max: usize) -> Cache {
        Cache { bytes_max, bytes: 0, supplies: 0, slots: BTreeMap::new(), hand: VecDeque::new() }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn get(&mut self, at: PageAt, purpose: Use) -> Option<Page> {
        let slot = self.slots.get_mut(&at)?;
        slot.fresh_since = None;
        slot.referenced |= purpose == Use::Point;
        Some(slot.page.clone())
    }

    /// Takes a page that somebody waits for.
    pub fn supply(&mut self, at: PageAt, page: Page) {
        self.supplies += 1;
        self.insert(at, page, Some(self.supplies));
    }

    /// Takes a page that has just been written; nobody may need it.
    pub fn keep(&mut self, at: PageAt, page: Page) {
        self.insert(at, page, None);
    }

    fn insert(&mut self, at: PageAt, page: Page, fresh_since: Option<u64>) {
        self.bytes += page.bytes();
        let slot = Slot { page, referenced: false, fresh_since };
        match self.slots.insert(at, slot) {
            Some(old) => self.bytes -= old.page.bytes(),
            None => self.hand.push_back(at),
        }
        self.evict();
    }

    fn evict(&mut self) {
        // Twice around: the first pass takes the marks, the second the pages.
        for _ in 0..2 * self.hand.len() {
            if self.bytes <= self.bytes_max {
                return;
            }
            let Some(at) = self.hand.pop_front() else { return };
            let Some(slot) = self.slots.get_mut(&at) else { continue };
            let stays = match slot.fresh_since {
                Some(since) => self.supplies - since < FRESH_SUPPLIES_MAX,
                None => std::mem::take(&mut slot.referenced),
            };
            if stays {
                self.hand.push_back(at);
            } else {
                self.forget(at);
            }
        }
    }

    fn forget(&mut self, at: PageAt) {
        if let Some(slot) = self.slots.remove(&at) {
            self.bytes -= slot.page.bytes();
        }
    }

    /// Drops everything of segments before `first`.
    pub fn forget_before(&mut self, first: u64) {
        let limit = PageAt { segment: first, offset: 0 };
        let kept = self.slots.split_off(&limit);
        let dropped = std::mem::replace(&mut self.slots, kept);
        self.bytes -= dropped.values().map(|slot| slot.page.bytes()).sum::<usize>();
        self.hand.retain(|at| *at >= limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> PageAt {
        PageAt { segment: 1, offset }
    }

    fn page(entries: usize) -> Page {
        let page = crate::frame::PageRef { at: at(0), len: 4096, sum: 0 };
        let meta = BlockMeta { first: base::Rev::ZERO, page, records: 1, tombstones: 0 };
        Page::Index(Arc::from(vec![meta; entries]))
    }

    #[test]
    fn the_budget_holds_and_used_pages_outlive_scanned_ones() {
        let mut cache = Cache::new(page(1).bytes() * 4);
        for offset in 0..4 {
            cache.keep(at(offset), page(1));
        }
        assert!(cache.get(at(0), Use::Point).is_some());
        assert!(cache.get(at(1), Use::Scan).is_some());
        cache.keep(at(4), page(1));
        cache.keep(at(5), page(1));
        assert!(cache.get(at(0), Use::Scan).is_some());
        assert!(cache.get(at(1), Use::Scan).is_none());
        assert_eq!(cache.bytes(), page(1).bytes() * 4);
    }

    #[test]
    fn a_supplied_page_waits_for_its_first_use_without_any_budget() {
        let mut cache = Cache::new(0);
        cache.supply(at(0), page(1));
        cache.supply(at(1), page(1));
        assert!(cache.get(at(0), Use::Point).is_some());
        assert!(cache.get(at(1), Use::Point).is_some());
        cache.supply(at(2), page(1));
        cache.supply(at(3), page(1));
        assert!(cache.get(at(0), Use::Point).is_none());
        assert!(cache.get(at(2), Use::Point).is_some());
    }

    /// Beside a plain map of everything that was ever put in: what comes out is what went in last,
    /// nothing is counted twice, and only pages that wait for their first use exceed the budget.
    #[test]
    fn what_comes_out_is_what_went_in_last_and_the_budget_counts_it_once() {
        for seed in 1..30 {
            let mut dice = base::Prng::from_seed(seed);
            let bytes_max = page(1).bytes() * dice.below(24) as usize;
            let mut cache = Cache::new(bytes_max);
            let mut put: BTreeMap<PageAt, usize> = BTreeMap::new();
            let mut fresh: BTreeMap<PageAt, u64> = BTreeMap::new();
            let mut supplies = 0;
            for _ in 0..2000 {
                let spot = PageAt { segment: 1 + dice.below(3), offset: dice.below(16) };
                let act = dice.below(20);
                match act {
                    0 => {
                        let first = 1 + dice.below(3);
                        cache.forget_before(first);
                        put.retain(|at, _| first <= at.segment);
                        fresh.retain(|at, _| first <= at.segment);
                    }
                    1..6 => {
                        supplies += 1;
                        let entries = 1 + dice.below(3) as usize;
                        put.insert(spot, entries);
                        fresh.insert(spot, supplies);
                        cache.supply(spot, page(entries));
                    }
                    6..11 => {
                        let entries = 1 + dice.below(3) as usize;
                        put.insert(spot, entries);
                        fresh.remove(&spot);
                        cache.keep(spot, page(entries));
                    }
                    _ => {
                        let purpose = *dice.pick(&[Use::Point, Use::Scan]);
                        let found = cache.get(spot, purpose).map(|page| page.bytes());
                        let last = put.get(&spot).map(|entries| page(*entries).bytes());
                        assert!(found.is_none() || found == last, "seed {seed}");
                        let since = fresh.remove(&spot);
                        let waits =
                            since.is_some_and(|since| supplies - since < FRESH_SUPPLIES_MAX);
                        assert!(!waits || found.is_some(), "seed {seed}: not used yet");
                    }
                }
                let held: usize = cache.slots.values().map(|slot| slot.page.bytes()).sum();
                assert_eq!(held, cache.bytes(), "seed {seed}");
                let unused = cache.slots.values().filter(|slot| slot.fresh_since.is_some());
                let unused: usize = unused.map(|slot| slot.page.bytes()).sum();
                // A use ends a page's stay; the next arrival sees to the budget.
                let arrived = (1..11).contains(&act);
                assert!(!arrived || cache.bytes() <= bytes_max.max(unused), "seed {seed}");
            }
        }
    }
}
