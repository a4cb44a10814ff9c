//! Owns how a run went over time: rate and latency of each interval.
//! Invariant: the number of intervals is bounded; a longer run has longer ones.

use hdrhistogram::Histogram;

/// Intervals at most; then two become one.
const INTERVALS_MAX: usize = 600;
/// The first length of an interval, in nanoseconds.
const INTERVAL_NS: u64 = 1_000_000_000;
const LATENCY_US_MAX: u64 = 600_000_000;

#[derive(Clone, Debug)]
struct Interval {
    latency_us: Histogram<u32>,
    failed: u64,
    sum_ns: u128,
    min_ns: u64,
    max_ns: u64,
}

impl Interval {
    fn new() -> Interval {
        let latency_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, 2);
        Interval {
            latency_us: latency_us.expect("bounds in order"),
            failed: 0,
            sum_ns: 0,
            min_ns: u64::MAX,
            max_ns: 0,
        }
    }

    fn merge(&mut self, other: &Interval) {
        self.latency_us.add(&other.latency_us).expect("equal bounds");
        self.failed += other.failed;
        self.sum_ns += other.sum_ns;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }
}

/// One interval as it is reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Its begin, from the start of the run.
    pub at_ns: u64,
    /// Good answers in it.
    pub count: u64,
    /// Bad ones.
    pub failed: u64,
    /// Latency of the good ones.
    pub min_ns: u64,
    /// Their average.
    pub mean_ns: f64,
    /// Their median, within 1 %.
    pub p50_ns: u64,
    /// Their 99th percentile, within 1 %.
    pub p99_ns: u64,
    /// The slowest.
    pub max_ns: u64,
}

/// Intervals of one length, from the start of the run.
#[derive(Clone, Debug)]
pub struct Timeline {
    interval_ns: u64,
    intervals: Vec<Interval>,
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline { interval_ns: INTERVAL_NS, intervals: Vec::new() }
    }
}

impl Timeline {
    /// A good answer that came `at_ns` after the start.
    pub fn good(&mut self, at_ns: u64, latency_ns: u64) {
        let interval = self.at(at_ns);
        interval.latency_us.saturating_record(latency_ns.div_ceil(1000));
        interval.sum_ns += u128::from(latency_ns);
        interval.min_ns = interval.min_ns.min(latency_ns);
        interval.max_ns = interval.max_ns.max(latency_ns);
    }

    /// A failure that was noticed `at_ns` after the start.
    pub fn failed(&mut self, at_ns: u64) {
        self.at(at_ns).failed += 1;
    }

    /// Adds another core's intervals of the same run.
    pub fn merge(&mut self, mut other: Timeline) {
        while self.interval_ns < other.interval_ns {
            self.coarsen();
        }
        while other.interval_ns < self.interval_ns {
            other.coarsen();
        }
        while self.intervals.len() < other.intervals.len() {
            self.intervals.push(Interval::new());
        }
        for (mine, theirs) in self.intervals.iter_mut().zip(&other.intervals) {
            mine.merge(theirs);
        }
    }

    /// The length of an interval.
    pub fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    /// All intervals, empty ones too.
    pub fn moments(&self) -> Vec<Moment> {
        let each = self.intervals.iter().zip(0u64..);
        each.map(|(interval, number)| {
            let count = interval.latency_us.len();
            let percentile = |percent| interval.latency_us.value_at_percentile(percent) * 1000;
            Moment {
                at_ns: number * self.interval_ns,
                count,
                failed: interval.failed,
                min_ns: if count == 0 { 0 } else { interval.min_ns },
                mean_ns: interval.sum_ns as f64 / count.max(1) as f64,
                p50_ns: percentile(50.0),
                p99_ns: percentile(99.0),
                max_ns: interval.max_ns,
            }
        })
        .collect()
    }

    fn at(&mut self, at_ns: u64) -> &mut Interval {
        while INTERVALS_MAX as u64 <= at_ns / self.interval_ns {
            self.coarsen();
        }
        let number = (at_ns / self.interval_ns) as usize;
        while self.intervals.len() <= number {
            self.intervals.push(Interval::new());
        }
        &mut self.intervals[number]
    }

    fn coarsen(&mut self) {
        let fine = std::mem::take(&mut self.intervals);
        self.interval_ns *= 2;
        for (number, interval) in fine.iter().enumerate() {
            if number % 2 == 0 {
                self.intervals.push(Interval::new());
            }
            self.intervals[number / 2].merge(interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn answers_fall_into_their_seconds() {
        let mut line = Timeline::default();
        line.good(SECOND / 2, 2_000_000);
        line.good(2 * SECOND + 1, 4_000_000);
        line.failed(2 * SECOND + 2);
        let moments = line.moments();
        let counts: Vec<_> = moments.iter().map(|one| (one.at_ns, one.count, one.failed)).collect();
        assert_eq!(counts, [(0, 1, 0), (SECOND, 0, 0), (2 * SECOND, 1, 1)]);
        assert_eq!(moments[1].min_ns, 0);
        assert_eq!((moments[2].min_ns, moments[2].max_ns), (4_000_000, 4_000_000));
        assert!((3_960_000..=4_040_000).contains(&moments[2].p99_ns));
    }

    #[test]
    fn a_long_run_has_long_intervals_and_loses_nothing() {
        let mut long = Timeline::default();
        for second in 0..2000 {
            long.good(second * SECOND, 1000);
        }
        assert_eq!(long.interval_ns(), 4 * SECOND);
        assert_eq!(long.moments().iter().map(|one| one.count).sum::<u64>(), 2000);
        let mut short = Timeline::default();
        short.good(0, 1000);
        short.merge(long);
        assert_eq!(short.moments()[0].count, 5);
        assert!(short.moments().len() <= INTERVALS_MAX);
    }
}
