//! Owns the report as etcd's `benchmark` prints it, to the letter: tools read it.
//! Invariant: the shape is etcd's (its `pkg/report`); figures are ours, within 0.1 %.

use crate::failures::WRONG;
use crate::outcome::{FailureOutcome, LatencyOutcome, MomentOutcome, SeriesOutcome};

/// Steps of the histogram.
const STEPS: usize = 10;
/// Marks of its longest bar.
const BAR_MAX: u64 = 40;
const BAR: &str = "\u{220e}";
const PERCENTILES: [f64; 8] = [10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9];

/// How numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// `%4.4f`.
    Usual,
    /// `%g`: as many digits as it takes (`--precise`).
    Exact,
}

/// Whether each second is listed (`--sample`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Samples {
    /// No.
    Left,
    /// Yes; the run began at this time.
    Listed {
        /// Seconds since 1970.
        begun_unix_s: u64,
    },
}

/// The report of one series. Without a good answer only the errors are told.
pub fn report(series: &SeriesOutcome, precision: Precision, samples: Samples) -> String {
    let mut text = String::new();
    if series.latency.count > 0 {
        text.push_str(&summary(series, precision));
        text.push_str(&histogram(&series.latency, precision));
        text.push_str(&distribution(&series.latency, precision));
        if let Samples::Listed { begun_unix_s } = samples {
            text.push_str(&sampled(&series.moments, series.interval_s, begun_unix_s));
        }
    }
    if !series.failures.is_empty() {
        text.push_str(&errors(&series.failures));
    }
    text
}

fn summary(series: &SeriesOutcome, precision: Precision) -> String {
    let latency = &series.latency;
    let seconds = |seconds| format!("{} secs.", number(seconds, precision));
    format!(
        "\nSummary:\n  Total:\t{}\n  Slowest:\t{}\n  Fastest:\t{}\n  Average:\t{}\n  \
         Stddev:\t{}\n  Requests/sec:\t{}\n",
        seconds(series.seconds),
        seconds(latency.max_ns as f64 / 1e9),
        seconds(latency.min_ns as f64 / 1e9),
        seconds(latency.mean_ns / 1e9),
        seconds(latency.deviation_ns / 1e9),
        number(series.rate, precision),
    )
}

fn histogram(latency: &LatencyOutcome, precision: Precision) -> String {
    let (fastest, slowest) = (latency.min_ns as f64, latency.max_ns as f64);
    let width = (slowest - fastest) / STEPS as f64;
    let mut ends: Vec<f64> = (0..STEPS).map(|step| fastest + width * step as f64).collect();
    ends.push(slowest);
    let mut counts = [0u64; STEPS + 1];
    for (ns, count) in &latency.recorded {
        let step = ends.iter().position(|end| *ns as f64 <= *end).unwrap_or(STEPS);
        counts[step] += count;
    }
    let most = counts.iter().max().copied().unwrap_or_default().max(1);
    let mut text = "\nResponse time histogram:\n".to_string();
    for (end, count) in ends.iter().zip(counts) {
        let bar = BAR.repeat((count * BAR_MAX / most) as usize);
        text.push_str(&format!("  {} [{count}]\t|{bar}\n", number(end / 1e9, precision)));
    }
    text
}

fn distribution(latency: &LatencyOutcome, precision: Precision) -> String {
    let mut text = "\nLatency distribution:\n".to_string();
    for percent in PERCENTILES {
        let seconds = ranked(latency, percent) as f64 / 1e9;
        if seconds > 0.0 {
            text.push_str(&format!("  {percent}% in {} secs.\n", number(seconds, precision)));
        }
    }
    text
}

/// The first value in the sorted row whose place, in percent of the row, reaches `percent`; 0 if a
/// short row has none. That is etcd's rule.
fn ranked(latency: &LatencyOutcome, percent: f64) -> u64 {
    let mut place = (latency.count as f64 * percent / 100.0).ceil() as u64;
    for (ns, count) in &latency.recorded {
        if place < *count {
            return *ns;
        }
        place -= count;
    }
    0
}

/// Interval by interval. The latencies have Go's units, whatever the heading says: so has etcd.
fn sampled(moments: &[MomentOutcome], interval_s: f64, begun_unix_s: u64) -> String {
    let mut text = "\nSample in one second (unix latency throughput):\n\
                    UNIX-SECOND,MIN-LATENCY-MS,AVG-LATENCY-MS,MAX-LATENCY-MS,AVG-THROUGHPUT\n"
        .to_string();
    for moment in moments {
        let second = begun_unix_s + moment.at_s as u64;
        let (min, max) = (duration(moment.min_ns), duration(moment.max_ns));
        let (mean, rate) = (duration(moment.mean_ns as u64), moment.count as f64 / interval_s);
        text.push_str(&format!("{second},{min},{mean},{max},{rate:.0}\n"));
    }
    text.push('\n');
    text
}

/// Go's `Duration.String` below one minute.
fn duration(ns: u64) -> String {
    match ns {
        0 => "0s".to_string(),
        ns if ns < 1000 => format!("{ns}ns"),
        ns if ns < 1_000_000 => format!("{}\u{b5}s", ns as f64 / 1e3),
        ns if ns < 1_000_000_000 => format!("{}ms", ns as f64 / 1e6),
        ns => format!("{}s", ns as f64 / 1e9),
    }
}

fn errors(failures: &[FailureOutcome]) -> String {
    let mut text = "\nError distribution:\n".to_string();
    for failure in failures {
        text.push_str(&format!("  [{}]\t{}\n", failure.count, said(failure)));
    }
    text
}

/// An error as etcd's Go client prints it: its own errors bare, others with their code.
fn said(failure: &FailureOutcome) -> String {
    let FailureOutcome { code, text, .. } = failure;
    match code == WRONG || text.starts_with("etcdserver: ") {
        true => text.clone(),
        false => format!("rpc error: code = {code} desc = {text}"),
    }
}

fn number(value: f64, precision: Precision) -> String {
    match precision {
        Precision::Usual => format!("{value:6.4}"),
        Precision::Exact => general(value),
    }
}

/// Go's `%g`: the shortest digits that read back as the value; with an exponent where that is below
/// -4 or above 5 (strconv's `'g'` with precision -1).
fn general(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Series, Times};

    fn series(latencies_ns: &[u64]) -> SeriesOutcome {
        let mut series = Series::default();
        for ns in latencies_ns {
            series.good(Times { intended_ns: 0, sent_ns: 0, done_ns: *ns });
        }
        SeriesOutcome::of("put", &series)
    }

    #[test]
    fn the_report_is_etcds_to_the_letter() {
        let mut put = series(&[1_000_000, 1_800_000, 1_800_000, 11_000_000]);
        put.seconds = 0.5;
        put.rate = 8.0;
        let text = report(&put, Precision::Usual, Samples::Left);
        let bar = |marks| BAR.repeat(marks);
        let wanted = format!(
            "\nSummary:\n  Total:\t0.5000 secs.\n  Slowest:\t0.0110 secs.\n  Fastest:\t0.0010 \
             secs.\n  Average:\t0.0039 secs.\n  Stddev:\t0.0041 secs.\n  Requests/sec:\t8.0000\n\
             \nResponse time histogram:\n  0.0010 [1]\t|{}\n  0.0020 [2]\t|{}\n  0.0030 [0]\t|\n  \
             0.0040 [0]\t|\n  0.0050 [0]\t|\n  0.0060 [0]\t|\n  0.0070 [0]\t|\n  0.0080 [0]\t|\n  \
             0.0090 [0]\t|\n  0.0100 [0]\t|\n  0.0110 [1]\t|{}\n\
             \nLatency distribution:\n  10% in 0.0018 secs.\n  25% in 0.0018 secs.\n  50% in \
             0.0018 secs.\n  75% in 0.0110 secs.\n",
            bar(20),
            bar(40),
            bar(20)
        );
        assert_eq!(text, wanted);
    }

    #[test]
    fn without_a_good_answer_only_errors_are_told() {
        let mut none = Series::default();
        none.failed(5, "Unavailable", "gone");
        let text = report(&SeriesOutcome::of("put", &none), Precision::Usual, Samples::Left);
        assert_eq!(
            text,
            "\nError distribution:\n  [1]\trpc error: code = Unavailable desc = gone\n"
        );
    }

    #[test]
    fn samples_are_lines_of_values() {
        let listed = Samples::Listed { begun_unix_s: 1_700_000_000 };
        let text = report(&series(&[1_000_000, 3_000_000]), Precision::Usual, listed);
        let tail = "AVG-THROUGHPUT\n1700000000,1ms,2ms,3ms,2\n\n";
        assert!(text.ends_with(tail), "{text}");
    }

    #[test]
    fn precise_numbers_are_those_of_go() {
        // What fmt.Printf("%g") of Go 1.24 prints.
        let texts = [0.0, 0.5, 0.00012, 0.000012, 123.25, 123456.5, 1234567.5, 1.5e21].map(general);
        assert_eq!(
            texts,
            ["0", "0.5", "0.00012", "1.2e-05", "123.25", "123456.5", "1.2345675e+06", "1.5e+21"]
        );
    }
}
