//! Owns what is counted for one kind of request while a run goes on.
//! Invariant: an answer is either good or failed, and counted once.

use crate::failures::Failures;
use crate::latency::Latency;
use crate::timeline::Timeline;

/// When one request was meant, sent and answered, in nanoseconds from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When it was meant to be sent; in a closed loop, when it was.
    pub intended_ns: u64,
    /// When it was sent.
    pub sent_ns: u64,
    /// When its answer was whole.
    pub done_ns: u64,
}

/// The counts of one kind of request.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// From the intended time to the answer, of good answers.
    pub latency: Latency,
    /// From the sending to the answer, of good answers.
    pub service: Latency,
    /// Over time.
    pub timeline: Timeline,
    /// What failed.
    pub failures: Failures,
    /// When the last answer came.
    pub last_ns: u64,
}

impl Series {
    /// A good answer.
    pub fn good(&mut self, times: Times) {
        let latency = times.done_ns.saturating_sub(times.intended_ns);
        self.latency.record(latency);
        self.service.record(times.done_ns.saturating_sub(times.sent_ns));
        self.timeline.good(times.done_ns, latency);
        self.last_ns = self.last_ns.max(times.done_ns);
    }

    /// A failure.
    pub fn failed(&mut self, at_ns: u64, code: &str, text: &str) {
        self.failures.add(code, text);
        self.timeline.failed(at_ns);
        self.last_ns = self.last_ns.max(at_ns);
    }

    /// Adds another core's counts.
    pub fn merge(&mut self, other: Series) {
        self.latency.merge(&other.latency);
        self.service.merge(&other.service);
        self.timeline.merge(other.timeline);
        self.failures.merge(&other.failures);
        self.last_ns = self.last_ns.max(other.last_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_the_intended_time() {
        let mut series = Series::default();
        // A server that stalls 900 ns: three requests that were meant at 0, 100 and 200 wait for
        // it.
        for intended_ns in [0, 100, 200] {
            series.good(Times { intended_ns, sent_ns: 900, done_ns: 1000 });
        }
        assert_eq!((series.latency.min_ns(), series.latency.max_ns()), (800, 1000));
        assert_eq!((series.service.min_ns(), series.service.max_ns()), (100, 100));
    }
}
