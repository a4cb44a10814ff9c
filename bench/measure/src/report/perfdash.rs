//! Owns the report that Kubernetes' perfdash reads, as etcd's `benchmark --report-perfdash` writes
//! it. Invariant: milliseconds, rounded to four digits behind the point.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::outcome::{Outcome, SeriesOutcome};

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Of the format.
    pub version: &'static str,
    /// One for each kind of request.
    #[serde(rename = "dataItems")]
    pub items: Vec<Item>,
}

/// One kind of request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// Percentiles by name.
    pub data: BTreeMap<&'static str, f64>,
    /// Of the percentiles.
    pub unit: &'static str,
    /// What was measured.
    pub labels: BTreeMap<&'static str, String>,
}

/// The report of a run of the load `operation`.
pub fn report(operation: &str, outcome: &Outcome) -> Report {
    let item = |series: &SeriesOutcome| {
        let latency = &series.latency;
        let percentiles =
            [("Perc50", latency.p50_ns), ("Perc90", latency.p90_ns), ("Perc99", latency.p99_ns)];
        let name = match outcome.series.len() {
            1 => operation.to_uppercase(),
            _ => format!("{operation} {}", series.name).to_uppercase(),
        };
        Item {
            data: percentiles.map(|(name, ns)| (name, milliseconds(ns))).into(),
            unit: "ms",
            labels: [("Operation", name)].into(),
        }
    };
    Report { version: "v1", items: outcome.series.iter().map(item).collect() }
}

/// What etcd calls the file of a run that began then.
pub fn file_name(operation: &str, unix_s: u64) -> String {
    format!("EtcdAPI_benchmark_{operation}_{}.json", rfc_3339(unix_s))
}

fn milliseconds(ns: u64) -> f64 {
    (ns as f64 / 100.0).round() / 1e4
}

/// A time of UTC, to the second. Days to dates after Hinnant, "chrono-compatible low-level date
/// algorithms": years begin in March, so that the leap day is a year's last.
fn rfc_3339(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400 + 719_468, unix_s % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march_month = (5 * day + 2) / 153;
    let day = day - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::outcome;

    #[test]
    fn percentiles_are_told_in_milliseconds() {
        let report = report("put", &outcome("one", 1));
        let [item] = &report.items[..] else { panic!("one row") };
        let near = |name: &str, wanted: f64| (item.data[name] - wanted).abs() < 0.02;
        assert!(near("Perc50", 5.0) && near("Perc90", 9.0) && near("Perc99", 10.0), "{item:?}");
        assert_eq!((item.unit, &item.labels["Operation"][..]), ("ms", "PUT"));
    }

    #[test]
    fn the_file_is_named_by_its_time() {
        let name = |unix_s| file_name("put", unix_s);
        assert_eq!(name(0), "EtcdAPI_benchmark_put_1970-01-01T00:00:00Z.json");
        assert_eq!(name(951_827_696), "EtcdAPI_benchmark_put_2000-02-29T12:34:56Z.json");
        assert_eq!(name(1_798_761_599), "EtcdAPI_benchmark_put_2026-12-31T23:59:59Z.json");
    }
}
