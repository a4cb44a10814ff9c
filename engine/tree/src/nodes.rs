//! Owns every page and value in memory: dirty ones, ones being written, clean ones (the cache).
//! Never reads or writes the file, knows nothing of keys.
//! Invariant: a page on disk is in memory at most once, found by its first unit; only clean pages
//! that the operation under way has not touched leave on their own.
//!
//! ```text
//!            alloc                    place                 wrote              own
//!  (new) ----------> Dirty(stamp) ----------> Writing ----------> Clean ----------> Dirty
//!                      |  ^                      |  own               ^ supply  | evict
//!                copy  v  | (frozen one is       +--------> Dirty     |         v
//!                     detached until placed)                        (disk)    (gone)
//! ```

use bytes::Bytes;

use crate::cache::{FixedMap, Queue, Queues, Verdict, judge, warmer};
use crate::cell::SlotId;
use crate::page::Page;

/// What a slot holds.
enum Body {
    Nothing,
    Node(Page),
    Value(Bytes),
}

/// Where the thing in a slot is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Vacant,
    Dirty { stamp: u64, detached: bool },
    Writing { start: u32 },
    Clean { start: u32, ticket: u64, queue: Queue, bytes: usize },
}

struct Slot {
    body: Body,
    state: State,
    heat: u8,
    /// The pulse at which it was touched last.
    pulse: u64,
}

/// What the cache holds and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CacheStats {
    /// Pages and values that could leave.
    pub clean_pages: usize,
    /// Their bytes; the limit of the options is for these.
    pub clean_bytes: usize,
    /// Changed pages that wait for a checkpoint or are being written.
    pub dirty_pages: usize,
    /// Their bytes.
    pub dirty_bytes: usize,
    /// Pages read since the tree was opened.
    pub loads: u64,
    /// Pages that left.
    pub evictions: u64,
}

/// Whether a look at a page says that it will be wanted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    Warm,
    /// Scans pass by once.
    Passing,
}

/// All pages in memory.
pub(crate) struct Nodes {
    slots: Vec<Slot>,
    vacant: Vec<SlotId>,
    by_start: FixedMap<SlotId>,
    queues: Queues,
    pulse: u64,
    limit: usize,
    stats: CacheStats,
}

impl Nodes {
    /// Nothing in memory; clean pages may take `limit` bytes.
    pub fn new(limit: usize) -> Nodes {
        Nodes {
            slots: Vec::new(),
            vacant: Vec::new(),
            by_start: FixedMap::default(),
            queues: Queues::default(),
            pulse: 1,
            limit,
            stats: CacheStats::default(),
        }
    }

    pub fn stats(&self) -> CacheStats {
        self.stats
    }

    /// The operation under way is over: what it touched may leave from now on.
    pub fn next_pulse(&mut self) {
        self.pulse += 1;
    }

    /// The slot of what lies at unit `start`, if it is in memory.
    pub fn find(&mut self, start: u32, touch: Touch) -> Option<SlotId> {
        let slot = *self.by_start.get(&start)?;
        self.touch(slot, touch);
        Some(slot)
    }

    /// Whether what lies at `start` is in memory.
    pub fn is_in_memory(&self, start: u32) -> bool {
        self.by_start.contains_key(&start)
    }

    /// Whether what belongs at `start` has been written there.
    pub fn is_on_disk(&self, start: u32) -> bool {
        let slot = self.by_start.get(&start);
        slot.is_none_or(|slot| self.slots[*slot as usize].state != State::Writing { start })
    }

    /// Keeps a page in memory until the end of the operation under way.
    pub fn touch(&mut self, slot: SlotId, touch: Touch) {
        let it = &mut self.slots[slot as usize];
        it.pulse = self.pulse;
        match touch {
            Touch::Warm => it.heat = warmer(it.heat),
            Touch::Passing => {}
        }
    }

    pub fn page(&self, slot: SlotId) -> &Page {
        match &self.slots[slot as usize].body {
            Body::Node(page) => page,
            Body::Nothing | Body::Value(_) => unreachable!("slot {slot} holds no node"),
        }
    }

    pub fn value(&self, slot: SlotId) -> &Bytes {
        match &self.slots[slot as usize].body {
            Body::Value(bytes) => bytes,
            Body::Nothing | Body::Node(_) => unreachable!("slot {slot} holds no value"),
        }
    }

    /// Changes a page. The only way to: it keeps the count of bytes right.
    pub fn edit<R>(&mut self, slot: SlotId, change: impl FnOnce(&mut Page) -> R) -> R {
        let it = &mut self.slots[slot as usize];
        assert!(matches!(it.state, State::Dirty { .. }));
        let Body::Node(page) = &mut it.body else { unreachable!("slot {slot} holds no node") };
        let before = page.heap_bytes();
        let answer = change(page);
        self.stats.dirty_bytes = self.stats.dirty_bytes + page.heap_bytes() - before;
        answer
    }

    /// The stamp of a dirty page.
    pub fn stamp(&self, slot: SlotId) -> Option<u64> {
        match self.slots[slot as usize].state {
            State::Dirty { stamp, .. } => Some(stamp),
            State::Vacant | State::Writing { .. } | State::Clean { .. } => None,
        }
    }

    /// Whether the working tree has let go of a frozen page.
    pub fn is_detached(&self, slot: SlotId) -> bool {
        matches!(self.slots[slot as usize].state, State::Dirty { detached: true, .. })
    }

    /// The working tree lets go of a page that an image still needs.
    pub fn detach(&mut self, slot: SlotId) {
        match &mut self.slots[slot as usize].state {
            State::Dirty { detached, .. } => {
                assert!(!*detached);
                *detached = true;
            }
            State::Vacant | State::Writing { .. } | State::Clean { .. } => {
                unreachable!("only frozen pages are detached")
            }
        }
    }

    /// A new dirty page.
    pub fn alloc(&mut self, page: Page, stamp: u64) -> SlotId {
        self.stats.dirty_pages += 1;
        self.stats.dirty_bytes += page.heap_bytes();
        self.fill(Body::Node(page), State::Dirty { stamp, detached: false })
    }

    /// A clean or just written page becomes a dirty one. Returns the unit where it lay.
    pub fn take_over(&mut self, slot: SlotId, stamp: u64) -> u32 {
        let start = match self.slots[slot as usize].state {
            State::Writing { start } => start,
            State::Clean { start, queue, bytes, .. } => {
                self.leave(queue, bytes);
                self.stats.dirty_pages += 1;
                self.stats.dirty_bytes += bytes;
                start
            }
            State::Vacant | State::Dirty { .. } => unreachable!("slot {slot} is not on disk"),
        };
        self.by_start.remove(&start);
        self.slots[slot as usize].state = State::Dirty { stamp, detached: false };
        start
    }

    /// A dirty page got its place on disk and is on its way there.
    pub fn place(&mut self, slot: SlotId, start: u32) {
        assert!(!self.is_detached(slot));
        self.slots[slot as usize].state = State::Writing { start };
        assert!(self.by_start.insert(start, slot).is_none());
    }

    /// A large value is on its way to disk.
    pub fn place_value(&mut self, start: u32, bytes: Bytes) {
        self.stats.dirty_pages += 1;
        self.stats.dirty_bytes += bytes.len();
        let slot = self.fill(Body::Value(bytes), State::Writing { start });
        assert!(self.by_start.insert(start, slot).is_none());
    }

    /// What lies at `start` has been written, unless it has been taken over or forgotten.
    pub fn wrote(&mut self, start: u32) {
        let Some(slot) = self.by_start.get(&start).copied() else { return };
        assert_eq!(self.slots[slot as usize].state, State::Writing { start });
        let bytes = self.heap_bytes(slot);
        self.stats.dirty_pages -= 1;
        self.stats.dirty_bytes -= bytes;
        self.become_clean(slot, start, bytes);
        self.evict();
    }

    /// A page was read. The caller has made sure that it is not in memory.
    pub fn load(&mut self, page: Page, start: u32) {
        self.admit(Body::Node(page), start);
    }

    /// A value was read.
    pub fn load_value(&mut self, bytes: Bytes, start: u32) {
        self.admit(Body::Value(bytes), start);
    }

    fn admit(&mut self, body: Body, start: u32) {
        self.stats.loads += 1;
        let slot = self.fill(body, State::Vacant);
        assert!(self.by_start.insert(start, slot).is_none());
        let bytes = self.heap_bytes(slot);
        self.become_clean(slot, start, bytes);
        self.evict();
    }

    /// Takes a page out of memory that nobody refers to any more. Returns the unit where it lies
    /// if it is on disk.
    pub fn discard(&mut self, slot: SlotId) -> Option<u32> {
        let bytes = self.heap_bytes(slot);
        let start = match self.slots[slot as usize].state {
            State::Dirty { .. } => None,
            State::Writing { start } | State::Clean { start, .. } => Some(start),
            State::Vacant => unreachable!("slot {slot} discarded twice"),
        };
        match self.slots[slot as usize].state {
            State::Clean { queue, bytes, .. } => self.leave(queue, bytes),
            State::Dirty { .. } | State::Writing { .. } | State::Vacant => {
                self.stats.dirty_pages -= 1;
                self.stats.dirty_bytes -= bytes;
            }
        }
        if let Some(start) = start {
            self.by_start.remove(&start);
        }
        self.empty(slot);
        start
    }

    /// What lies at `start` is free now.
    pub fn forget(&mut self, start: u32) {
        if let Some(slot) = self.by_start.get(&start).copied() {
            self.discard(slot);
        }
    }

    fn fill(&mut self, body: Body, state: State) -> SlotId {
        let filled = Slot { body, state, heat: 0, pulse: self.pulse };
        match self.vacant.pop() {
            Some(slot) => {
                self.slots[slot as usize] = filled;
                slot
            }
            None => {
                self.slots.push(filled);
                u32::try_from(self.slots.len() - 1).expect("fewer pages than units")
            }
        }
    }

    fn empty(&mut self, slot: SlotId) {
        let it = &mut self.slots[slot as usize];
        it.body = Body::Nothing;
        it.state = State::Vacant;
        self.vacant.push(slot);
    }

    fn heap_bytes(&self, slot: SlotId) -> usize {
        match &self.slots[slot as usize].body {
            Body::Nothing => 0,
            Body::Node(page) => page.heap_bytes(),
            Body::Value(bytes) => bytes.len(),
        }
    }

    fn become_clean(&mut self, slot: SlotId, start: u32, bytes: usize) {
        let (ticket, queue) = self.queues.enter(slot, start, bytes);
        self.slots[slot as usize].state = State::Clean { start, ticket, queue, bytes };
        self.stats.clean_pages += 1;
        self.stats.clean_bytes += bytes;
        if self.queues.seats() > 2 * self.stats.clean_pages + 64 {
            let slots = &self.slots;
            self.queues.sweep(|seat| sits(&slots[seat.slot as usize], seat.ticket).is_some());
        }
    }

    fn leave(&mut self, queue: Queue, bytes: usize) {
        self.queues.left(queue, bytes);
        self.stats.clean_pages -= 1;
        self.stats.clean_bytes -= bytes;
    }

    /// Lets clean pages go until the rest fits, as far as the operation under way allows.
    fn evict(&mut self) {
        // Each page comes up at most once for each degree of heat and once more to leave.
        let mut looks = 5 * self.queues.seats();
        while self.stats.clean_bytes > self.limit && looks > 0 {
            looks -= 1;
            let Some(seat) = self.queues.pop(self.limit) else { return };
            let it = &self.slots[seat.slot as usize];
            let Some((start, queue, bytes)) = sits(it, seat.ticket) else { continue };
            let verdict = match it.pulse == self.pulse {
                true => None,
                false => Some(judge(queue, it.heat)),
            };
            match verdict {
                Some(Verdict::Evict) => {
                    self.discard(seat.slot);
                    self.queues.remember(start, self.stats.clean_pages);
                    self.stats.evictions += 1;
                }
                Some(Verdict::Keep { heat }) => {
                    self.slots[seat.slot as usize].heat = heat;
                    self.reseat(seat.slot, queue, Queue::Main, bytes);
                }
                None => self.reseat(seat.slot, queue, queue, bytes),
            }
        }
    }

    fn reseat(&mut self, slot: SlotId, from: Queue, to: Queue, bytes: usize) {
        self.queues.left(from, bytes);
        let fresh = self.queues.push(slot, to, bytes);
        match &mut self.slots[slot as usize].state {
            State::Clean { ticket, queue, .. } => (*ticket, *queue) = (fresh, to),
            State::Vacant | State::Dirty { .. } | State::Writing { .. } => {
                unreachable!("only clean pages have seats")
            }
        }
    }
}

/// What sits on a seat, if the seat is valid.
fn sits(slot: &Slot, seat: u64) -> Option<(u32, Queue, usize)> {
    match slot.state {
        State::Clean { start, ticket, queue, bytes } if ticket == seat => {
            Some((start, queue, bytes))
        }
        State::Clean { .. } | State::Vacant | State::Dirty { .. } | State::Writing { .. } => None,
    }
}

#[cfg(test)]
mod tests;
