//! Owns thinning of repeated lines: the first hundred equal ones of a second, then every hundredth.
//! Never locks. Invariant: a line that differs in level or sentence is not thinned by another,
//! but for collisions of a small table.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::line::Level;

/// Equal lines of one second that are all written.
const FIRST: u64 = 100;
/// Of the others, one in so many.
const THEN_EVERY: u64 = 100;
/// Sentences that are told apart.
const SLOTS: usize = 1024;

/// Counts of equal lines.
#[derive(Debug)]
pub(crate) struct Sampler {
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    second: AtomicU64,
    count: AtomicU64,
}

impl Sampler {
    pub(crate) fn new() -> Sampler {
        let slot = || Slot { second: AtomicU64::new(0), count: AtomicU64::new(0) };
        Sampler { slots: (0..SLOTS).map(|_| slot()).collect() }
    }

    /// Whether this line is to be written.
    pub(crate) fn admits(&self, level: Level, message: &str, second: u64) -> bool {
        let slot = &self.slots[hash(level, message) as usize % SLOTS];
        // Two threads at the turn of a second may both reset: some lines more are written then.
        if slot.second.swap(second, Ordering::Relaxed) != second {
            slot.count.store(0, Ordering::Relaxed);
        }
        let earlier = slot.count.fetch_add(1, Ordering::Relaxed);
        earlier < FIRST || (earlier - FIRST + 1).is_multiple_of(THEN_EVERY)
    }
}

/// FNV-1a: short texts, and nobody attacks a log.
fn hash(level: Level, message: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ u64::from(level as u8);
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    message.bytes().fold(start, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_of_a_second_and_then_every_hundredth() {
        let sampler = Sampler::new();
        let admitted = |n: usize, second| {
            (0..n).filter(|_| sampler.admits(Level::Info, "again", second)).count()
        };
        assert_eq!(admitted(100, 7), 100);
        assert_eq!(admitted(99, 7), 0);
        assert_eq!(admitted(1, 7), 1);
        assert_eq!(admitted(1000, 7), 10);
        assert_eq!(admitted(5, 8), 5, "a new second starts over");
        assert!(sampler.admits(Level::Warn, "again", 8));
    }
}
