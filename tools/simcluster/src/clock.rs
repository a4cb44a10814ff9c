//! Owns the clock of one life of one member: where it began and how fast it runs beside the
//! world's.
//! Never tells the time by itself. Invariant: what a member is told happens at the world's time is
//! never later on its clock than what the world does afterwards.

use std::time::Duration;

use base::{Instant, Prng};

const MILLION: u128 = 1_000_000;

/// One member's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    birth: Instant,
    began: Instant,
    // Its nanoseconds in a millisecond of the world.
    rate: u64,
}

impl Clock {
    /// A clock that starts at the world's `birth`, shows anything, and runs fast or slow by up to
    /// `drift` millionths.
    pub fn draw(birth: Instant, drift: u64, dice: &mut Prng) -> Clock {
        let rate = MILLION as u64 - drift + dice.below(2 * drift + 1);
        Clock { birth, began: Instant(1 + dice.below(1 << 50)), rate }
    }

    /// What it showed at first.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// What it shows at a time of the world.
    pub fn shows(&self, world: Instant) -> Instant {
        let passed = u128::from(world.0 - self.birth.0) * u128::from(self.rate) / MILLION;
        self.began + Duration::from_nanos(passed as u64)
    }

    /// The first time of the world at which it shows this much.
    pub fn when(&self, shown: Instant) -> Instant {
        let passed = (u128::from(shown.0 - self.began.0) * MILLION).div_ceil(u128::from(self.rate));
        self.birth + Duration::from_nanos(passed as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_shows_a_time_when_it_is_due_and_not_before() {
        let mut dice = Prng::from_seed(3);
        for _ in 0..1000 {
            let clock = Clock::draw(Instant(dice.below(1 << 40)), 50_000, &mut dice);
            let shown = clock.began() + Duration::from_nanos(dice.below(1 << 40));
            let due = clock.when(shown);
            assert!(shown <= clock.shows(due));
            assert!(due == clock.birth || clock.shows(Instant(due.0 - 1)) < shown);
        }
    }
}
