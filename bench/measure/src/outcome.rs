//! Owns what is known of a run when it is over, as it is kept in a JSON file.
//! Invariant: every report is made of this alone, so a kept run can be reported again.

use serde::{Deserialize, Serialize};

use crate::latency::Latency;
use crate::series::Series;
use crate::timeline::Moment;

/// The shape of the file; raised when an old reader would misread it.
pub const FORMAT: u32 = 1;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// [`FORMAT`].
    pub format: u32,
    /// What the run is called in reports that show several.
    pub label: String,
    /// The command line.
    pub command: String,
    /// The version of the program.
    pub version: String,
    /// When it began.
    pub begun_unix_s: u64,
    /// Where it ran.
    pub machine: Machine,
    /// Who was asked.
    pub endpoints: Vec<String>,
    /// Connections.
    pub conns: usize,
    /// Clients.
    pub clients: usize,
    /// One entry for each kind of request.
    pub series: Vec<SeriesOutcome>,
    /// Processes that were watched.
    pub servers: Vec<ServerOutcome>,
    /// The program itself.
    pub loader: LoaderOutcome,
    /// What the reader should know.
    pub notes: Vec<String>,
}

impl Outcome {
    /// Requests that failed or were answered wrongly, of all kinds.
    pub fn failed(&self) -> u64 {
        self.series.iter().map(|series| series.failed).sum()
    }

    /// Good answers of all kinds.
    pub fn count(&self) -> u64 {
        self.series.iter().map(|series| series.latency.count).sum()
    }
}

/// The machine of the program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its kernel.
    pub kernel: String,
    /// Its processors.
    pub processor: String,
    /// How many of them this process may use.
    pub cores: usize,
    /// The load average of one minute when the run began.
    pub load_average: f64,
}

/// One kind of request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesOutcome {
    /// What it is called.
    pub name: String,
    /// From the start to the last answer.
    pub seconds: f64,
    /// Good answers a second.
    pub rate: f64,
    /// Failures and wrong answers.
    pub failed: u64,
    /// From when requests were meant to be sent.
    pub latency: LatencyOutcome,
    /// From when they were sent.
    pub service: LatencyOutcome,
    /// Length of the intervals in `moments`.
    pub interval_s: f64,
    /// Over time.
    pub moments: Vec<MomentOutcome>,
    /// What failed.
    pub failures: Vec<FailureOutcome>,
}

impl SeriesOutcome {
    /// What is kept of a series.
    pub fn of(name: &str, series: &Series) -> SeriesOutcome {
        let seconds = series.last_ns as f64 / 1e9;
        let count = series.latency.count();
        let kinds = series.failures.kinds();
        SeriesOutcome {
            name: name.to_string(),
            seconds,
            rate: if seconds > 0.0 { count as f64 / seconds } else { 0.0 },
            failed: series.failures.count(),
            latency: LatencyOutcome::of(&series.latency),
            service: LatencyOutcome::of(&series.service),
            interval_s: series.timeline.interval_ns() as f64 / 1e9,
            moments: series.timeline.moments().iter().map(MomentOutcome::of).collect(),
            failures: kinds
                .map(|(code, text, count)| FailureOutcome {
                    code: code.to_string(),
                    text: text.to_string(),
                    count,
                })
                .collect(),
        }
    }
}

/// A row of times, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyOutcome {
    /// How many.
    pub count: u64,
    /// Exact.
    pub min_ns: u64,
    /// Exact.
    pub mean_ns: f64,
    /// Standard deviation.
    pub deviation_ns: f64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p99_9_ns: u64,
    /// Exact.
    pub max_ns: u64,
    /// All values, rising, within 0.1 %: value and count.
    pub recorded: Vec<(u64, u64)>,
}

impl LatencyOutcome {
    /// What is kept of a row.
    pub fn of(latency: &Latency) -> LatencyOutcome {
        LatencyOutcome {
            count: latency.count(),
            min_ns: latency.min_ns(),
            mean_ns: latency.mean_ns(),
            deviation_ns: latency.deviation_ns(),
            p50_ns: latency.percentile_ns(50.0),
            p90_ns: latency.percentile_ns(90.0),
            p99_ns: latency.percentile_ns(99.0),
            p99_9_ns: latency.percentile_ns(99.9),
            max_ns: latency.max_ns(),
            recorded: latency.recorded(),
        }
    }
}

/// One interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MomentOutcome {
    /// Its begin, in seconds from the start.
    pub at_s: f64,
    /// Good answers.
    pub count: u64,
    /// Failures.
    pub failed: u64,
    /// Fastest.
    pub min_ns: u64,
    /// Average.
    pub mean_ns: f64,
    /// Median.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// Slowest.
    pub max_ns: u64,
}

impl MomentOutcome {
    fn of(moment: &Moment) -> MomentOutcome {
        let Moment { at_ns, count, failed, min_ns, mean_ns, p50_ns, p99_ns, max_ns } = *moment;
        let at_s = at_ns as f64 / 1e9;
        MomentOutcome { at_s, count, failed, min_ns, mean_ns, p50_ns, p99_ns, max_ns }
    }
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureOutcome {
    /// The name of the gRPC code, or `Wrong`.
    pub code: String,
    /// What was said.
    pub text: String,
    /// How often.
    pub count: u64,
}

/// One process that was watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerOutcome {
    /// `pid 17`, or the URL of its metrics.
    pub name: String,
    /// User and system time that it used during the run, in seconds.
    pub cpu_s: f64,
    /// Its largest resident memory.
    pub memory_bytes_max: u64,
    /// Over time.
    pub samples: Vec<ServerSample>,
}

/// A process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerSample {
    /// Seconds from the start of the run.
    pub at_s: f64,
    /// Processors busy since the last sample: 1.5 is one and a half.
    pub cores_busy: f64,
    /// Resident memory.
    pub memory_bytes: u64,
}

/// How the program itself fared: whether its figures can be trusted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoaderOutcome {
    /// How busy each of its cores was, in permille.
    pub busy_permille: Vec<u32>,
    /// User and system time of the process.
    pub cpu_s: f64,
    /// How late it sent what it could have sent in time, 99th percentile; 0 in a closed loop.
    pub late_ns_p99: u64,
}

/// A core that is busier than this may be what was measured.
pub const BUSY_PERMILLE_MAX: u32 = 900;

impl LoaderOutcome {
    /// Whether the program may have been the bottleneck.
    pub fn is_suspect(&self) -> bool {
        self.busy_permille.iter().any(|busy| BUSY_PERMILLE_MAX < *busy)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::series::Times;

    /// A run of 1000 puts over four seconds, 1 to 10 ms each, three of them failed.
    pub(crate) fn outcome(label: &str, factor: u64) -> Outcome {
        let mut series = Series::default();
        for number in 0u64..1000 {
            let done_ns = number * 4_000_000;
            let sent_ns = done_ns.saturating_sub((1 + number % 10) * 1_000_000 * factor);
            series.good(Times { intended_ns: sent_ns, sent_ns, done_ns });
        }
        series.failed(4_000_000_000, "Unavailable", "gone <away>");
        series.failed(4_000_000_000, "Unavailable", "gone <away>");
        series.failed(4_000_000_000, "Wrong", "a count");
        let sample = |at_s| ServerSample { at_s, cores_busy: 0.5, memory_bytes: 30 << 20 };
        Outcome {
            format: FORMAT,
            label: label.to_string(),
            command: "ringbench put".to_string(),
            version: "0.1.0".to_string(),
            begun_unix_s: 1_700_000_000,
            machine: Machine {
                kernel: "Linux 6.1".to_string(),
                processor: "two of them".to_string(),
                cores: 2,
                load_average: 0.5,
            },
            endpoints: vec!["127.0.0.1:2379".to_string()],
            conns: 1,
            clients: 4,
            series: vec![SeriesOutcome::of("put", &series)],
            servers: vec![ServerOutcome {
                name: "pid 17".to_string(),
                cpu_s: 2.0,
                memory_bytes_max: 30 << 20,
                samples: vec![sample(1.0), sample(2.0)],
            }],
            loader: LoaderOutcome { busy_permille: vec![950], cpu_s: 1.0, late_ns_p99: 0 },
            notes: vec!["a note".to_string()],
        }
    }

    #[test]
    fn counts_add_up() {
        let outcome = outcome("one", 1);
        assert_eq!((outcome.count(), outcome.failed()), (1000, 3));
        let put = &outcome.series[0];
        assert_eq!(put.moments.iter().map(|one| one.count).sum::<u64>(), 1000);
        assert_eq!(put.moments.iter().map(|one| one.failed).sum::<u64>(), 3);
        assert_eq!(put.latency.recorded.iter().map(|one| one.1).sum::<u64>(), 1000);
        assert!((put.rate - 250.0).abs() < 0.5);
        assert!(outcome.loader.is_suspect());
    }
}
