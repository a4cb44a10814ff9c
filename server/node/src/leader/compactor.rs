//! Owns auto-compaction: when to compact and to which revision (etcd's `--auto-compaction-*`).
//! Never compacts itself. Invariant: the periodic mode never names a revision younger than its
//! period, and no mode names the same revision twice.

use std::collections::VecDeque;
use std::time::Duration;

use base::Instant;

/// How often the revision mode looks (etcd's five minutes).
const REVISION_INTERVAL: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3600);

/// What to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Never compact.
    Everything,
    /// Keep what was current this long ago.
    Period(Duration),
    /// Keep so many revisions.
    Revisions(i64),
}

/// The clockwork of auto-compaction.
#[derive(Debug)]
pub struct Compactor {
    retention: Retention,
    // Periodic: revisions sampled every tenth of the interval, oldest first.
    samples: VecDeque<(Instant, i64)>,
    next_look: Instant,
    next_compaction: Instant,
    last: i64,
}

impl Compactor {
    /// Starts counting at `now`.
    pub fn new(now: Instant, retention: Retention) -> Compactor {
        let (look, compaction) = match retention {
            Retention::Everything => (Duration::MAX, Duration::MAX),
            Retention::Period(period) => (Duration::ZERO, period),
            Retention::Revisions(_) => (REVISION_INTERVAL, Duration::ZERO),
        };
        Compactor {
            retention,
            samples: VecDeque::new(),
            next_look: now + look,
            next_compaction: now + compaction,
            last: 0,
        }
    }

    /// When [`Compactor::look`] is next worth calling; `None` if never.
    pub fn poll_deadline(&self) -> Option<Instant> {
        match self.retention {
            Retention::Everything => None,
            Retention::Period(_) | Retention::Revisions(_) => Some(self.next_look),
        }
    }

    /// Looks at the store; returns the revision to compact now, if any.
    pub fn look(&mut self, now: Instant, revision: i64) -> Option<i64> {
        if now < self.next_look {
            return None;
        }
        let target = match self.retention {
            Retention::Everything => return None,
            Retention::Period(period) => self.look_periodic(now, revision, period)?,
            Retention::Revisions(keep) => {
                self.next_look = now + REVISION_INTERVAL;
                revision - keep
            }
        };
        if target <= 0 || target == self.last {
            return None;
        }
        self.last = target;
        Some(target)
    }

    fn look_periodic(&mut self, now: Instant, revision: i64, period: Duration) -> Option<i64> {
        let interval = period.min(HOUR);
        self.next_look = now + interval / 10;
        self.samples.push_back((now, revision));
        if now < self.next_compaction {
            return None;
        }
        self.next_compaction = now + interval;
        let mut target = None;
        while let Some((at, revision)) = self.samples.front().copied() {
            if now.since(at) < period {
                break;
            }
            target = Some(revision);
            self.samples.pop_front();
        }
        target
    }

    /// The compaction was refused: look again after a tenth of the interval.
    pub fn failed(&mut self, now: Instant) {
        self.last = 0;
        if let Retention::Period(period) = self.retention {
            self.next_compaction = now + period.min(HOUR) / 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    #[test]
    fn a_period_names_the_revision_of_that_long_ago() {
        let period = Duration::from_secs(100);
        let mut compactor = Compactor::new(at(0), Retention::Period(period));
        let mut named = Vec::new();
        for second in 0..=300 {
            if let Some(revision) = compactor.look(at(second), 1000 + second as i64) {
                named.push((second, revision));
            }
        }
        assert_eq!(named, vec![(100, 1000), (200, 1100), (300, 1200)]);
    }

    #[test]
    fn a_revision_that_did_not_move_is_not_compacted_again() {
        let mut compactor = Compactor::new(at(0), Retention::Revisions(10));
        assert_eq!(compactor.look(at(300), 100), Some(90));
        assert_eq!(compactor.look(at(600), 100), None);
        assert_eq!(compactor.look(at(900), 101), Some(91));
    }

    #[test]
    fn a_young_store_is_left_alone() {
        let mut compactor = Compactor::new(at(0), Retention::Revisions(1000));
        assert_eq!(compactor.look(at(300), 100), None);
        let mut off = Compactor::new(at(0), Retention::Everything);
        assert_eq!(off.poll_deadline(), None);
        assert_eq!(off.look(at(1 << 30), 100), None);
    }
}
