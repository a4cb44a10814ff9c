//! Owns when requests are meant to be sent.
//! Never waits. Invariant: times of a schedule rise, and their average rate is the one asked for.
//!
//! In a closed loop a client sends when it has its answer, so a server that stalls is asked less
//! and looks better than it is ("coordinated omission"). In an open loop the times are fixed
//! before, and a request that could not be sent in time is as late as it was meant early: latency
//! counts from the intended time.

use base::Prng;

use crate::zipf::unit;

/// How arrivals follow one another in an open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// At equal distances.
    Even,
    /// At exponential distances, as independent users do (a Poisson process).
    Poisson,
}

/// What drives the clients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Each client sends its next request when the last is answered.
    Closed,
    /// So many requests a second, whatever the answers do.
    Open {
        /// Requests a second, above 0.
        rate: f64,
        /// How they follow one another.
        arrivals: Arrivals,
    },
}

impl Pace {
    /// The part of it that `clients` of `all` clients carry.
    pub fn share(self, clients: usize, all: usize) -> Pace {
        match self {
            Pace::Closed => Pace::Closed,
            Pace::Open { rate, arrivals } => {
                Pace::Open { rate: rate * clients as f64 / all as f64, arrivals }
            }
        }
    }
}

/// The intended times of one open loop, in nanoseconds from its start.
#[derive(Clone, Debug)]
pub struct Schedule {
    gap_ns: f64,
    arrivals: Arrivals,
    dice: Prng,
    number: u64,
    next_ns: f64,
}

impl Schedule {
    /// `rate` requests a second.
    pub fn new(rate: f64, arrivals: Arrivals, seed: u64) -> Schedule {
        assert!(0.0 < rate && rate.is_finite());
        let dice = Prng::from_seed(seed);
        let mut schedule = Schedule { gap_ns: 1e9 / rate, arrivals, dice, number: 0, next_ns: 0.0 };
        if arrivals == Arrivals::Poisson {
            schedule.next_ns = schedule.gap();
        }
        schedule
    }

    /// The next intended time.
    pub fn next_ns(&self) -> u64 {
        self.next_ns as u64
    }

    /// Goes on to the one after it.
    pub fn advance(&mut self) {
        self.number += 1;
        self.next_ns = match self.arrivals {
            // By multiplication: sums of gaps drift.
            Arrivals::Even => self.number as f64 * self.gap_ns,
            Arrivals::Poisson => self.next_ns + self.gap(),
        };
    }

    fn gap(&mut self) -> f64 {
        -(1.0 - unit(&mut self.dice)).ln() * self.gap_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(arrivals: Arrivals, rate: f64, count: usize) -> Vec<u64> {
        let mut schedule = Schedule::new(rate, arrivals, 5);
        let step = |_| {
            let at = schedule.next_ns();
            schedule.advance();
            at
        };
        (0..count).map(step).collect()
    }

    #[test]
    fn even_arrivals_are_exact_after_a_million() {
        let even = times(Arrivals::Even, 3.0, 1_000_001);
        assert_eq!(&even[..3], [0, 333_333_333, 666_666_666]);
        assert_eq!(even[1_000_000], 333_333_333_333_333);
    }

    #[test]
    fn poisson_arrivals_rise_and_keep_their_rate() {
        let times = times(Arrivals::Poisson, 1000.0, 100_001);
        assert!(times.is_sorted());
        let seconds = times[100_000] as f64 / 1e9;
        assert!((99.0..101.0).contains(&seconds), "{seconds}");
        // Of exponential gaps, e^-1 are longer than the average.
        let long = times.windows(2).filter(|pair| pair[1] - pair[0] > 1_000_000).count();
        assert!((35_000..38_500).contains(&long), "{long}");
    }

    #[test]
    fn shares_add_up() {
        let pace = Pace::Open { rate: 900.0, arrivals: Arrivals::Even };
        assert_eq!(pace.share(2, 3), Pace::Open { rate: 600.0, arrivals: Arrivals::Even });
        assert_eq!(Pace::Closed.share(1, 2), Pace::Closed);
    }
}
