//! Owns the pauses between attempts to connect. Pure. Invariant: a pause is between half of its
//! step and its step, steps double up to the longest, so that members that start together do not
//! call together.

use std::time::Duration;

use base::Prng;

#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    step: Duration,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Backoff {
        assert!(Duration::ZERO < min);
        assert!(min <= max);
        Backoff { min, max, step: min }
    }

    /// The next pause.
    pub(super) fn pause(&mut self, dice: &mut Prng) -> Duration {
        let step = self.step;
        self.step = (2 * step).min(self.max);
        let half = u64::try_from(step.as_nanos() / 2).expect("pauses are seconds");
        Duration::from_nanos(half + dice.below(half + 1))
    }

    /// The connection held: the next pause is short again.
    pub(super) fn reset(&mut self) {
        self.step = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ_by_the_dice() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(10), ms(45));
        let mut dice = Prng::from_seed(1);
        for step in [10, 20, 40, 45, 45] {
            let pause = backoff.pause(&mut dice);
            assert!(ms(step) / 2 <= pause);
            assert!(pause <= ms(step));
        }
        backoff.reset();
        assert!(backoff.pause(&mut dice) <= ms(10));
        let two: Vec<Duration> = (0..2).map(|_| backoff.pause(&mut dice)).collect();
        assert_ne!(two[0], two[1]);
    }
}
