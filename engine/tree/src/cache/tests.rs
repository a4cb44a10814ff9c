//! The queues beside a twin that has no tickets: plain lists, from which a page is removed at once
//! when it becomes dirty. Both must let the same pages go, in the same order.

use base::Prng;

use super::*;

const LIMIT: usize = 40_000;

/// A clean page, as whoever holds it knows it.
#[derive(Clone, Copy, Debug)]
struct Page {
    start: u32,
    bytes: usize,
    heat: u8,
    ticket: u64,
    queue: Queue,
}

/// The dumb one.
#[derive(Default)]
struct Twin {
    small: Vec<SlotId>,
    main: Vec<SlotId>,
    /// Addresses that left; `None` where one came back since.
    ghost: Vec<Option<u32>>,
}

impl Twin {
    fn enter(&mut self, slot: SlotId, start: u32) {
        if self.forget_ghost(start) {
            self.main.push(slot);
        } else {
            self.small.push(slot);
        }
    }

    fn forget_ghost(&mut self, start: u32) -> bool {
        let was = self.ghost.iter_mut().find(|ghost| **ghost == Some(start));
        was.is_some_and(|ghost| ghost.take().is_some())
    }

    fn leave(&mut self, slot: SlotId) {
        self.small.retain(|other| *other != slot);
        self.main.retain(|other| *other != slot);
    }

    fn next(&mut self, small_bytes: usize) -> (SlotId, Queue) {
        let small_first = small_bytes > LIMIT / SMALL_PART || self.main.is_empty();
        match small_first && !self.small.is_empty() {
            true => (self.small.remove(0), Queue::Small),
            false => (self.main.remove(0), Queue::Main),
        }
    }

    fn remember(&mut self, start: u32, pages: usize) {
        self.forget_ghost(start);
        self.ghost.push(Some(start));
        let over = self.ghost.len().saturating_sub(pages);
        self.ghost.drain(..over);
    }
}

/// Both, over one set of pages.
struct World {
    queues: Queues,
    twin: Twin,
    pages: Vec<Option<Page>>,
}

impl World {
    fn bytes(&self) -> usize {
        self.pages.iter().flatten().map(|page| page.bytes).sum()
    }

    fn small_bytes(&self) -> usize {
        let small = self.pages.iter().flatten().filter(|page| page.queue == Queue::Small);
        small.map(|page| page.bytes).sum()
    }

    fn count(&self) -> usize {
        self.pages.iter().flatten().count()
    }

    fn enter(&mut self, slot: SlotId, start: u32, bytes: usize) {
        let (ticket, queue) = self.queues.enter(slot, start, bytes);
        self.pages[slot as usize] = Some(Page { start, bytes, heat: 1, ticket, queue });
        self.twin.enter(slot, start);
        if self.queues.seats() > 2 * self.count() + 64 {
            let pages = &self.pages;
            self.queues.sweep(|seat| {
                pages[seat.slot as usize].is_some_and(|page| page.ticket == seat.ticket)
            });
            assert_eq!(self.queues.seats(), self.count());
        }
    }

    fn dirty(&mut self, slot: SlotId) {
        let page = self.pages[slot as usize].take().expect("a clean page");
        self.queues.left(page.queue, page.bytes);
        self.twin.leave(slot);
    }

    /// The next page that the queues bring up; stale seats are passed over.
    fn next(&mut self) -> SlotId {
        loop {
            let seat = self.queues.pop(LIMIT).expect("pages are there");
            let page = self.pages[seat.slot as usize];
            if page.is_some_and(|page| page.ticket == seat.ticket) {
                return seat.slot;
            }
        }
    }

    fn evict(&mut self) {
        while LIMIT < self.bytes() {
            let small_bytes = self.small_bytes();
            let (slot, queue) = self.twin.next(small_bytes);
            assert_eq!(self.next(), slot, "both bring up the same page");
            let page = self.pages[slot as usize].expect("it sits there");
            assert_eq!(page.queue, queue);
            self.queues.left(page.queue, page.bytes);
            match judge(queue, page.heat) {
                Verdict::Evict => {
                    self.pages[slot as usize] = None;
                    let pages = self.count();
                    self.queues.remember(page.start, pages);
                    self.twin.remember(page.start, pages);
                }
                Verdict::Keep { heat } => {
                    let ticket = self.queues.push(slot, Queue::Main, page.bytes);
                    let page = Page { heat, ticket, queue: Queue::Main, ..page };
                    self.pages[slot as usize] = Some(page);
                    self.twin.main.push(slot);
                }
            }
        }
    }
}

#[test]
fn the_queues_let_go_of_the_pages_that_plain_lists_let_go_of() {
    for seed in 1..40 {
        let mut dice = Prng::from_seed(seed);
        let pages = vec![None; 64];
        let mut world = World { queues: Queues::default(), twin: Twin::default(), pages };
        for _ in 0..3000 {
            let slot = dice.below(64) as SlotId;
            match world.pages[slot as usize] {
                None => {
                    let (start, bytes) = (dice.below(96) as u32, 512 + dice.below(4096) as usize);
                    let taken = world.pages.iter().flatten().any(|page| page.start == start);
                    if !taken {
                        world.enter(slot, start, bytes);
                    }
                }
                Some(_) if dice.chance(100) => world.dirty(slot),
                Some(page) => {
                    let heat = warmer(page.heat);
                    world.pages[slot as usize] = Some(Page { heat, ..page });
                }
            }
            world.evict();
            assert!(world.bytes() <= LIMIT, "seed {seed}");
        }
    }
}
