//! Owns what is known of the way to one peer: how long a note takes there and back, and how far the
//! peer's clock is behind ours.
//! Never reads a clock and sends nothing. Invariant: only the answer to the last question counts.

use std::time::Duration;

use base::Instant;
use node::figures::{Histogram, doubling};

/// Between two questions (etcd's).
pub const PROBE_EVERY: Duration = Duration::from_secs(4);
/// A clock that is further behind is worth a line (etcd's).
const BEHIND_MAX: Duration = Duration::from_secs(1);
/// Between two such lines (etcd's).
const WARN_EVERY: Duration = Duration::from_secs(30);

/// Bounds of round trips, in nanoseconds: etcd's 0.1 milliseconds to 3.3 seconds.
pub static TRIP_NS: [u64; 16] = doubling(100_000);

/// What is known of one peer.
#[derive(Clone, Debug)]
pub struct Probe {
    asked: Option<Instant>,
    warned: Option<Instant>,
    smooth: Option<Duration>,
    /// Round trips, in [`TRIP_NS`].
    pub trips: Histogram,
}

/// A clock that is too far behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    /// By so much.
    pub behind: Duration,
    /// What a round trip takes lately.
    pub trip: Duration,
}

impl Probe {
    /// Nothing is known.
    pub fn new() -> Probe {
        Probe { asked: None, warned: None, smooth: None, trips: Histogram::new(&TRIP_NS) }
    }

    /// The peer is asked now.
    pub fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// The peer answered a question of then, when its clock showed `theirs` and ours shows `ours`,
    /// both in nanoseconds since 1970. What is worth a line comes back.
    pub fn answered(
        &mut self,
        now: Instant,
        sent: Instant,
        ours: u64,
        theirs: u64,
    ) -> Option<Drift> {
        // Another is an earlier life's, or was given up.
        self.asked.take_if(|asked| *asked == sent)?;
        let trip = now.since(sent);
        self.trips.observe_time(trip);
        // As TCP and etcd smooth it: an eighth of what is new.
        let smooth = self.smooth.map_or(trip, |before| (7 * before + trip) / 8);
        self.smooth = Some(smooth);
        let behind = Duration::from_nanos(ours.saturating_sub(theirs)).saturating_sub(smooth / 2);
        let told = self.warned.is_some_and(|warned| now.since(warned) < WARN_EVERY);
        if behind <= BEHIND_MAX || told {
            return None;
        }
        self.warned = Some(now);
        Some(Drift { behind, trip: smooth })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> Instant {
        Instant(seconds * SECOND)
    }

    #[test]
    fn a_round_trip_is_counted_once_and_only_if_it_was_asked_for() {
        let mut probe = Probe::new();
        assert_eq!(probe.answered(at(5), at(4), 0, 0), None);
        probe.asked(at(4));
        probe.answered(Instant(4 * SECOND + 150_000), at(4), 0, 0);
        probe.answered(at(5), at(4), 0, 0);
        assert_eq!((probe.trips.count(), probe.trips.sum()), (1, 150_000));
    }

    #[test]
    fn a_clock_more_than_a_second_behind_is_told_twice_a_minute() {
        let mut probe = Probe::new();
        let mut told = Vec::new();
        for round in 0..20 {
            let sent = at(4 * round);
            probe.asked(sent);
            // There and back take a second; the peer read its clock in the middle.
            let ours = 1_000 * SECOND;
            let theirs = ours - SECOND / 2 - 3 * SECOND;
            if let Some(drift) = probe.answered(at(4 * round + 1), sent, ours, theirs) {
                let (behind, trip) = (Duration::from_secs(3), Duration::from_secs(1));
                assert_eq!(drift, Drift { behind, trip });
                told.push(round);
            }
        }
        assert_eq!(told, [0, 8, 16]);
    }

    #[test]
    fn a_clock_within_a_second_or_ahead_is_not_told() {
        for theirs in [9 * SECOND, 10 * SECOND, 90 * SECOND] {
            let mut probe = Probe::new();
            probe.asked(at(1));
            assert_eq!(probe.answered(at(1), at(1), 10 * SECOND, theirs), None);
        }
    }
}
