//! Owns the order in which clean pages leave memory: S3-FIFO (Yang et al., 2023), three queues and
//! two bits of heat. Knows tickets and sizes, no page. Never decides how much may stay.
//! Invariant: every clean page is in exactly one of the two queues under its newest ticket; tickets
//! that are not the newest of their page are skipped and swept.
//!
//! A page enters the small queue (a tenth of the bytes); touched again before it reaches the end,
//! it moves to the main queue, else it leaves and only its address is remembered (ghost). One
//! that comes back while remembered enters the main queue at once. So one long scan passes
//! through the small queue and the pages in daily use never notice. LRU fails at exactly that;
//! 2Q and ARC pass but move pages on every touch, where this one sets two bits.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crate::cell::SlotId;

/// A map that is looked up and never walked, with a fixed hash.
pub(crate) type FixedMap<V> = HashMap<u32, V, BuildHasherDefault<UnitHasher>>;

/// Multiplies by an odd number near 2^64 over the golden ratio and folds.
#[derive(Default)]
pub(crate) struct UnitHasher(u64);

impl Hasher for UnitHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }
    fn write_u32(&mut self, unit: u32) {
        let product = (self.0 ^ u64::from(unit)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }
}

/// Touches that count, at most.
const HEAT_MAX: u8 = 3;
/// Part of the bytes that the small queue may hold before it is drained first.
const SMALL_PART: usize = 10;

/// One place in a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    pub slot: SlotId,
    pub ticket: u64,
}

/// Which queue a page sits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    Small,
    Main,
}

/// What becomes of a page that came up and is not needed just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It leaves memory.
    Evict,
    /// It goes to the end of the main queue with this heat.
    Keep { heat: u8 },
}

/// The queues.
#[derive(Default)]
pub(crate) struct Queues {
    small: VecDeque<Seat>,
    main: VecDeque<Seat>,
    small_bytes: usize,
    ghost: VecDeque<(u32, u64)>,
    ghosts: FixedMap<u64>,
    ticket: u64,
}

/// One touch more.
pub(crate) fn warmer(heat: u8) -> u8 {
    (heat + 1).min(HEAT_MAX)
}

/// Whether a page that comes up stays. In the small queue the touch of the operation that read the
/// page in does not count.
pub(crate) fn judge(queue: Queue, heat: u8) -> Verdict {
    match queue {
        Queue::Small if heat > 1 => Verdict::Keep { heat: 0 },
        Queue::Small => Verdict::Evict,
        Queue::Main if heat > 0 => Verdict::Keep { heat: heat - 1 },
        Queue::Main => Verdict::Evict,
    }
}

impl Queues {
    /// A page of `bytes` at unit `start` became clean. Returns its ticket and queue.
    pub fn enter(&mut self, slot: SlotId, start: u32, bytes: usize) -> (u64, Queue) {
        let queue = match self.ghosts.remove(&start) {
            Some(_) => Queue::Main,
            None => Queue::Small,
        };
        (self.push(slot, queue, bytes), queue)
    }

    /// Seats a page at the end of a queue under a new ticket.
    pub fn push(&mut self, slot: SlotId, queue: Queue, bytes: usize) -> u64 {
        self.ticket += 1;
        let seat = Seat { slot, ticket: self.ticket };
        match queue {
            Queue::Small => {
                self.small.push_back(seat);
                self.small_bytes += bytes;
            }
            Queue::Main => self.main.push_back(seat),
        }
        seat.ticket
    }

    /// The page on a valid seat of this queue is clean no longer, or sits elsewhere now.
    pub fn left(&mut self, queue: Queue, bytes: usize) {
        match queue {
            Queue::Small => self.small_bytes -= bytes,
            Queue::Main => {}
        }
    }

    /// The seat to look at next, out of its queue; `limit` is the size of the whole cache.
    pub fn pop(&mut self, limit: usize) -> Option<Seat> {
        let small_first = self.small_bytes > limit / SMALL_PART || self.main.is_empty();
        match small_first {
            true => self.small.pop_front().or_else(|| self.main.pop_front()),
            false => self.main.pop_front(),
        }
    }

    /// Remembers the address of a page that left, and no more addresses than `pages`.
    pub fn remember(&mut self, start: u32, pages: usize) {
        self.ticket += 1;
        self.ghost.push_back((start, self.ticket));
        self.ghosts.insert(start, self.ticket);
        while self.ghost.len() > pages {
            let (start, ticket) = self.ghost.pop_front().expect("longer than 0");
            if self.ghosts.get(&start) == Some(&ticket) {
                self.ghosts.remove(&start);
            }
        }
    }

    /// Seats in the queues, stale ones included.
    pub fn seats(&self) -> usize {
        self.small.len() + self.main.len()
    }

    /// Drops the seats that are not valid.
    pub fn sweep(&mut self, is_valid: impl Fn(&Seat) -> bool) {
        self.small.retain(&is_valid);
        self.main.retain(&is_valid);
    }
}

#[cfg(test)]
mod tests;
