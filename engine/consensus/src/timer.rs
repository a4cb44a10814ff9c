//! Owns the election timeout. The library draws it from the system's dice; here it comes from the
//! member's seed and is set over the library's after every call.
//! Invariant: equal seeds and equal histories of term, role and elapsed ticks give equal timeouts.

use base::Prng;

use crate::effect::Role;

/// The timeout in force and what decides when another is drawn.
#[derive(Debug)]
pub(crate) struct Timer {
    prng: Prng,
    least: usize,
    ticks: usize,
    seen: Option<(u64, Role)>,
    elapsed: usize,
}

impl Timer {
    /// Timeouts from `least` ticks to just below one and a half times that: the rest of two is for
    /// the votes, and for another election if they are split.
    pub(crate) fn new(seed: u64, least: usize) -> Timer {
        Timer { prng: Prng::from_seed(seed), least, ticks: 0, seen: None, elapsed: 0 }
    }

    /// The timeout now. Another one is drawn whenever the clock started again, so that candidates
    /// that collided once do not collide for ever.
    pub(crate) fn ticks(&mut self, term: u64, role: Role, elapsed: usize) -> usize {
        if elapsed < self.elapsed || self.seen != Some((term, role)) {
            self.ticks = self.least + self.prng.below(self.least.div_ceil(2) as u64) as usize;
        }
        self.seen = Some((term, role));
        self.elapsed = elapsed;
        self.ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_holds_until_the_clock_starts_again_and_a_seed_replays() {
        let (mut one, mut two) = (Timer::new(4, 10), Timer::new(4, 10));
        let mut drawn = vec![];
        for round in 0..50 {
            let first = one.ticks(1, Role::Follower, 0);
            assert!((10..15).contains(&first));
            for elapsed in 0..first {
                assert_eq!(one.ticks(1, Role::Follower, elapsed), first, "round {round}");
                assert_eq!(two.ticks(1, Role::Follower, elapsed), first);
            }
            drawn.push(first);
        }
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn, [10, 11, 12, 13, 14]);
    }
}
