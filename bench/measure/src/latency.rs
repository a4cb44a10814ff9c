//! Owns a row of times: an HDR histogram, and what it must not round.
//! Invariant: count, sum, smallest and largest are exact; everything else is within 0.1 %.

use hdrhistogram::Histogram;

/// The longest time that is told apart, in nanoseconds; longer ones count as this.
const LATENCY_NS_MAX: u64 = 3600 * 1_000_000_000;
/// Digits that hold.
const DIGITS: u8 = 3;

/// Times in nanoseconds.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
    sum_ns: u128,
    squares: f64,
    min_ns: u64,
    max_ns: u64,
}

impl Default for Latency {
    fn default() -> Latency {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS);
        Latency {
            histogram: histogram.expect("bounds in order"),
            sum_ns: 0,
            squares: 0.0,
            min_ns: u64::MAX,
            max_ns: 0,
        }
    }
}

impl Latency {
    /// Adds one time.
    pub fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns);
        self.sum_ns += u128::from(ns);
        self.squares += ns as f64 * ns as f64;
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds all of another row.
    pub fn merge(&mut self, other: &Latency) {
        self.histogram.add(&other.histogram).expect("equal bounds");
        self.sum_ns += other.sum_ns;
        self.squares += other.squares;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The smallest; 0 of none.
    pub fn min_ns(&self) -> u64 {
        if self.count() == 0 { 0 } else { self.min_ns }
    }

    /// The largest; 0 of none.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The average; 0 of none.
    pub fn mean_ns(&self) -> f64 {
        self.sum_ns as f64 / self.count().max(1) as f64
    }

    /// The standard deviation of all of them (not of a sample).
    pub fn deviation_ns(&self) -> f64 {
        let mean = self.mean_ns();
        (self.squares / self.count().max(1) as f64 - mean * mean).max(0.0).sqrt()
    }

    /// The value that `percent` of all do not exceed; 0 of none.
    pub fn percentile_ns(&self, percent: f64) -> u64 {
        match self.count() {
            0 => 0,
            _ => self.histogram.value_at_percentile(percent).clamp(self.min_ns, self.max_ns),
        }
    }

    /// What was recorded, rising: a value and how often it came. Of values that the histogram does
    /// not tell apart it is the smallest.
    pub fn recorded(&self) -> Vec<(u64, u64)> {
        let steps = self.histogram.iter_recorded();
        steps
            .map(|step| {
                let value = self.histogram.lowest_equivalent(step.value_iterated_to());
                (value.clamp(self.min_ns, self.max_ns), step.count_at_value())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Prng;

    #[test]
    fn percentiles_agree_with_a_sorted_row() {
        let (mut latency, mut dice, mut row) = (Latency::default(), Prng::from_seed(4), vec![]);
        for _ in 0..50_000 {
            let bits = 10 + dice.below(20);
            let ns = 1 + dice.below(1 << bits);
            latency.record(ns);
            row.push(ns);
        }
        row.sort_unstable();
        for percent in [1.0, 50.0, 90.0, 99.0, 99.9, 100.0] {
            let exact = row[(row.len() as f64 * percent / 100.0).ceil() as usize - 1] as f64;
            let told = latency.percentile_ns(percent) as f64;
            assert!((told - exact).abs() <= exact * 0.001 + 1.0, "{percent}: {told}, not {exact}");
        }
        assert_eq!((latency.min_ns(), latency.max_ns()), (row[0], row[49_999]));
        let mean = row.iter().sum::<u64>() as f64 / 50_000.0;
        assert!((latency.mean_ns() - mean).abs() < 1e-6 * mean);
        let off = row.iter().map(|ns| (*ns as f64 - mean).powi(2)).sum::<f64>() / 50_000.0;
        assert!((latency.deviation_ns() - off.sqrt()).abs() < 1e-6 * off.sqrt());
    }

    #[test]
    fn merged_rows_are_one_row() {
        let (mut one, mut other, mut both) =
            (Latency::default(), Latency::default(), Latency::default());
        for ns in 1..1000 {
            if ns % 2 == 0 {
                one.record(ns * ns)
            } else {
                other.record(ns * ns)
            }
            both.record(ns * ns);
        }
        one.merge(&other);
        assert_eq!(one.recorded(), both.recorded());
        assert_eq!(one.recorded().iter().map(|step| step.1).sum::<u64>(), 999);
        assert_eq!((one.min_ns(), one.max_ns()), (1, 998_001));
    }

    #[test]
    fn an_empty_row_has_no_times_and_an_endless_one_counts() {
        let mut latency = Latency::default();
        assert_eq!((latency.percentile_ns(99.0), latency.min_ns(), latency.count()), (0, 0, 0));
        latency.record(u64::MAX);
        assert_eq!((latency.count(), latency.max_ns()), (1, u64::MAX));
    }
}
