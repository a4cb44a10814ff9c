//! Owns what the cores of a run share: the clock, the count of claimed requests, the meeting points
//! and the figures that are shown while it runs. Invariant: only counters, no locks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Shared by all cores and the overseer.
#[derive(Debug)]
pub struct Shared {
    begun: Instant,
    cores: u64,
    arrived: AtomicU64,
    /// Meetings that are complete.
    meetings: AtomicU64,
    origin_ns: AtomicU64,
    claimed: AtomicU64,
    /// When the first measured phase begins to count; 0 before it is known.
    pub measured_from_ns: AtomicU64,
    /// Requests of the phase, for the progress bar; 0 if it is timed.
    pub total: AtomicU64,
    /// The user wants it to end.
    pub stop: AtomicBool,
    /// A core has failed, so the others need not wait for it.
    pub broken: AtomicBool,
    /// One for each core.
    pub boards: Vec<Board>,
    table: OnceLock<Vec<AtomicU64>>,
}

/// What one core shows.
#[derive(Debug, Default)]
pub struct Board {
    /// Good answers of the phase.
    pub good: AtomicU64,
    /// Failures of the phase.
    pub failed: AtomicU64,
    /// 99th percentile of the last moment.
    pub p99_ns: AtomicU64,
}

impl Shared {
    /// For so many cores.
    pub fn new(cores: usize) -> Shared {
        Shared {
            begun: Instant::now(),
            cores: cores as u64,
            arrived: AtomicU64::new(0),
            meetings: AtomicU64::new(0),
            origin_ns: AtomicU64::new(0),
            claimed: AtomicU64::new(0),
            measured_from_ns: AtomicU64::new(0),
            total: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            boards: (0..cores).map(|_| Board::default()).collect(),
            table: OnceLock::new(),
        }
    }

    /// Nanoseconds since the run began.
    pub fn now_ns(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// The number of the next request, of all cores together.
    pub fn claim(&self) -> u64 {
        self.claimed.fetch_add(1, Ordering::Relaxed)
    }

    /// A core comes to its meeting number `meeting`, counted from 1. The last one opens it.
    pub fn arrive(&self, meeting: u64) {
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == meeting * self.cores {
            self.claimed.store(0, Ordering::Relaxed);
            for board in &self.boards {
                board.good.store(0, Ordering::Relaxed);
                board.failed.store(0, Ordering::Relaxed);
            }
            self.origin_ns.store(self.now_ns(), Ordering::Relaxed);
            self.meetings.store(meeting, Ordering::Release);
        }
    }

    /// When the meeting was complete, once it is.
    pub fn opened_ns(&self, meeting: u64) -> Option<u64> {
        let is_open = meeting <= self.meetings.load(Ordering::Acquire);
        is_open.then(|| self.origin_ns.load(Ordering::Relaxed))
    }

    /// Numbers that all cores read and write, zeros at first; every caller asks for as many.
    pub fn table(&self, len: u64) -> &[AtomicU64] {
        self.table.get_or_init(|| (0..len).map(|_| AtomicU64::new(0)).collect())
    }

    /// Whether turns should end early.
    pub fn is_ending(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.broken.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meeting_opens_when_the_last_core_comes_and_claims_start_over() {
        let shared = Shared::new(2);
        assert_eq!((shared.claim(), shared.claim()), (0, 1));
        shared.arrive(1);
        assert_eq!(shared.opened_ns(1), None);
        shared.arrive(1);
        assert!(shared.opened_ns(1).is_some());
        assert_eq!(shared.claim(), 0);
        assert_eq!(shared.opened_ns(2), None);
    }
}
