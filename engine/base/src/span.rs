//! Owns how a span of time is written for people: `1h2m3.5s`, `300ms`, the spelling that Go's
//! programs print and that operators' scripts read back.
//! Never reads a clock. Invariant: the text names every nanosecond of the span.

use std::time::Duration;

const SECOND_NS: u128 = 1_000_000_000;

/// The span as Go prints it: hours, minutes and seconds, or one smaller unit below a second.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(ringleader_base::span::text(Duration::from_millis(5_405_500)), "1h30m5.5s");
/// assert_eq!(ringleader_base::span::text(Duration::from_micros(1_500)), "1.5ms");
/// ```
pub fn text(span: Duration) -> String {
    let ns = span.as_nanos();
    match ns {
        0 => "0s".into(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(ns, 1_000)),
        1_000_000..SECOND_NS => format!("{}ms", decimal(ns, 1_000_000)),
        _ => clock_text(ns),
    }
}

/// A second or more: `59s`, `1m0s`, `1h0m0.25s`.
fn clock_text(ns: u128) -> String {
    let minutes = ns / (60 * SECOND_NS);
    let seconds = decimal(ns % (60 * SECOND_NS), SECOND_NS);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `ns / unit_ns` with as many decimals as it has. The unit is a power of ten.
fn decimal(ns: u128, unit_ns: u128) -> String {
    let (whole, rest) = (ns / unit_ns, ns % unit_ns);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit_ns.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_as_go_writes_it() {
        let table: [(u64, &str); 12] = [
            (0, "0s"),
            (1, "1ns"),
            (999, "999ns"),
            (1_100, "1.1µs"),
            (967_887, "967.887µs"),
            (2_200_000, "2.2ms"),
            (100_000_000, "100ms"),
            (3_300_000_000, "3.3s"),
            (60_000_000_000, "1m0s"),
            (245_001_000_000, "4m5.001s"),
            (7_200_000_000_000, "2h0m0s"),
            (3_661_000_000_001, "1h1m1.000000001s"),
        ];
        for (ns, expected) in table {
            assert_eq!(text(Duration::from_nanos(ns)), expected);
        }
    }
}
