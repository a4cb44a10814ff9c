//! Owns the comparison of servers that took turns: samples by workload, server and round, and the
//! table of medians, ranges and ratios. Invariant: a ratio is of two samples of the same round.

use comfy_table::Cell;
use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::report::table::{plain, right};
use crate::spread::Spread;

/// What one run of one workload on one server showed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Processor time of the server for each good answer, in microseconds.
    pub cpu_us: f64,
    /// Good answers a second.
    pub rate: f64,
    /// Median latency of the slowest row, in microseconds.
    pub latency_us_p50: f64,
    /// 99th percentile of the slowest row, in microseconds.
    pub latency_us_p99: f64,
    /// Largest resident memory of the server, in MiB.
    pub memory_mib: f64,
}

impl Sample {
    /// Of a run in which one server was watched.
    pub fn of(outcome: &Outcome) -> Sample {
        let cpu_s: f64 = outcome.servers.iter().map(|server| server.cpu_s).sum();
        let memory = outcome.servers.iter().map(|server| server.memory_bytes_max).max();
        let slowest = |of: fn(&crate::outcome::LatencyOutcome) -> u64| {
            outcome.series.iter().map(|series| of(&series.latency)).max().unwrap_or_default()
        };
        Sample {
            cpu_us: cpu_s * 1e6 / outcome.count().max(1) as f64,
            rate: outcome.series.iter().map(|series| series.rate).sum(),
            latency_us_p50: slowest(|latency| latency.p50_ns) as f64 / 1e3,
            latency_us_p99: slowest(|latency| latency.p99_ns) as f64 / 1e3,
            memory_mib: memory.unwrap_or_default() as f64 / f64::from(1 << 20),
        }
    }
}

/// All rounds of one workload on one server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The workload.
    pub workload: String,
    /// The server.
    pub server: String,
    /// One sample for each round.
    pub samples: Vec<Sample>,
}

/// Rows, the first server's first within each workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// In the order in which they were first measured.
    pub rows: Vec<Row>,
}

impl Comparison {
    /// Adds what a round showed.
    pub fn add(&mut self, workload: &str, server: &str, sample: Sample) {
        let is_row = |row: &&mut Row| row.workload == workload && row.server == server;
        match self.rows.iter_mut().find(is_row) {
            Some(row) => row.samples.push(sample),
            None => self.rows.push(Row {
                workload: workload.to_string(),
                server: server.to_string(),
                samples: vec![sample],
            }),
        }
    }

    /// The table; ratios are to the server that comes first in it.
    pub fn table(&self) -> String {
        let mut table = plain(&[
            "workload",
            "server",
            "CPU us/request",
            "per second",
            "p50 us",
            "p99 us",
            "MiB",
            "ratio of CPU",
            "of rate",
            "of p50",
            "of p99",
        ]);
        let first = self.rows.first().map_or("", |row| row.server.as_str());
        let mut workloads: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !workloads.contains(&row.workload.as_str()) {
                workloads.push(&row.workload);
            }
        }
        for workload in workloads {
            let rows = || self.rows.iter().filter(move |row| row.workload == workload);
            let base = rows().find(|row| row.server == first);
            for row in rows() {
                let mut cells = vec![Cell::new(&row.workload), Cell::new(&row.server)];
                cells.extend(FIGURES.iter().map(|(of, digits)| {
                    let spread = Spread::of(&column(row, *of));
                    right(spread.map_or(String::new(), |spread| format!("{spread:.digits$}")))
                }));
                cells.extend(FIGURES[..4].iter().map(|(of, _)| right(ratio(row, base, *of))));
                table.add_row(cells);
            }
        }
        format!("{table}\n")
    }
}

type Figure = fn(&Sample) -> f64;

/// The columns of figures, and their digits; the first four have ratios.
const FIGURES: [(Figure, usize); 5] = [
    (|sample| sample.cpu_us, 1),
    (|sample| sample.rate, 0),
    (|sample| sample.latency_us_p50, 0),
    (|sample| sample.latency_us_p99, 0),
    (|sample| sample.memory_mib, 0),
];

fn column(row: &Row, of: Figure) -> Vec<f64> {
    row.samples.iter().map(of).collect()
}

fn ratio(row: &Row, base: Option<&Row>, of: Figure) -> String {
    let Some(base) = base.filter(|base| base.server != row.server) else { return "1".to_string() };
    let (mut ours, mut theirs) = (column(row, of), column(base, of));
    let rounds = ours.len().min(theirs.len());
    ours.truncate(rounds);
    theirs.truncate(rounds);
    Spread::of_ratios(&ours, &theirs).map_or(String::new(), |spread| format!("{spread:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::outcome;

    #[test]
    fn ratios_are_taken_round_by_round() {
        let sample = |cpu_us| Sample {
            cpu_us,
            rate: 1000.0,
            latency_us_p50: 10.0,
            latency_us_p99: 20.0,
            memory_mib: 30.0,
        };
        let mut comparison = Comparison::default();
        for (theirs, ours) in [(10.0, 5.0), (20.0, 5.0), (40.0, 5.0)] {
            comparison.add("put", "etcd", sample(theirs));
            comparison.add("put", "ringleader", sample(ours));
        }
        let table = comparison.table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 4, "{table}");
        assert!(lines[2].contains("| 20.0 (10.0-40.0) "), "{table}");
        assert!(lines[2].contains("|                1 |"), "{table}");
        assert!(lines[3].contains("| 0.25 (0.12-0.50) | 1.00 (1.00-1.00) |"), "{table}");
    }

    #[test]
    fn a_sample_is_what_the_run_showed() {
        let sample = Sample::of(&outcome("one", 1));
        assert!((sample.cpu_us - 2000.0).abs() < 1e-9);
        assert!((sample.memory_mib - 30.0).abs() < 1e-9);
        assert!(sample.latency_us_p50 < sample.latency_us_p99);
    }
}
