//! Owns the plain tables of a run and of several. Invariant: failures are never left out.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{Cell, CellAlignment, Table};

use crate::outcome::{LatencyOutcome, Outcome, ServerOutcome};
use crate::report::{count, time};

/// What is shown of one run.
pub fn one(outcome: &Outcome) -> String {
    several(std::slice::from_ref(outcome))
}

/// What is shown of several runs, side by side.
pub fn several(outcomes: &[Outcome]) -> String {
    let mut text = latencies(outcomes).to_string();
    text.push('\n');
    for part in [failures(outcomes), servers(outcomes)].into_iter().flatten() {
        text.push('\n');
        text.push_str(&part.to_string());
        text.push('\n');
    }
    for outcome in outcomes {
        for note in notes(outcome) {
            let label = if outcomes.len() == 1 { "" } else { outcome.label.as_str() };
            let colon = if label.is_empty() { "" } else { ": " };
            text.push_str(&format!("\n{label}{colon}{note}\n"));
        }
    }
    text
}

/// What the reader should know, ours and the run's.
fn notes(outcome: &Outcome) -> Vec<String> {
    let mut notes = outcome.notes.clone();
    if outcome.loader.is_suspect() {
        let busy = outcome.loader.busy_permille.iter().max().copied().unwrap_or_default() / 10;
        notes.push(format!(
            "ringbench itself was busy {busy} % of the time on one of its cores: it may be what \
             was measured. Give it more --cores and --conns, or a machine of its own."
        ));
    }
    if outcome.loader.late_ns_p99 > 0 {
        let late = time(outcome.loader.late_ns_p99 as f64);
        notes.push(format!("requests left within {late} of when they could have (p99)"));
    }
    notes
}

pub(crate) fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN);
    table.set_header(header.iter().map(|name| Cell::new(*name)));
    table
}

pub(crate) fn right(text: impl Into<String>) -> Cell {
    Cell::new(text.into()).set_alignment(CellAlignment::Right)
}

fn latencies(outcomes: &[Outcome]) -> Table {
    let mut table = plain(&[
        "run",
        "requests",
        "good",
        "failed",
        "per second",
        "mean",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
    ]);
    for outcome in outcomes {
        for series in &outcome.series {
            let name = match outcomes.len() {
                1 => series.name.clone(),
                _ => format!("{}, {}", outcome.label, series.name),
            };
            let mut row = vec![Cell::new(name)];
            let LatencyOutcome { count: good, .. } = series.latency;
            row.push(right(count(good + series.failed)));
            row.push(right(count(good)));
            row.push(right(count(series.failed)));
            row.push(right(format!("{:.1}", series.rate)));
            row.extend(times(&series.latency));
            table.add_row(row);
            // In a closed loop both are the same.
            if series.service.mean_ns < series.latency.mean_ns * 0.999 {
                let mut row = vec![Cell::new("  from the sending")];
                row.extend((0..4).map(|_| Cell::new("")));
                row.extend(times(&series.service));
                table.add_row(row);
            }
        }
    }
    table
}

fn times(latency: &LatencyOutcome) -> [Cell; 6] {
    let LatencyOutcome { mean_ns, p50_ns, p90_ns, p99_ns, p99_9_ns, max_ns, .. } = latency;
    let rest = [p50_ns, p90_ns, p99_ns, p99_9_ns, max_ns].map(|ns| right(time(*ns as f64)));
    let [p50, p90, p99, p99_9, max] = rest;
    [right(time(*mean_ns)), p50, p90, p99, p99_9, max]
}

fn failures(outcomes: &[Outcome]) -> Option<Table> {
    let mut table = plain(&["failed", "count", "code", "what"]);
    for outcome in outcomes {
        for series in &outcome.series {
            for failure in &series.failures {
                let name = match outcomes.len() {
                    1 => series.name.clone(),
                    _ => format!("{}, {}", outcome.label, series.name),
                };
                let number = right(count(failure.count));
                let (code, text) = (Cell::new(&failure.code), Cell::new(&failure.text));
                table.add_row(vec![Cell::new(name), number, code, text]);
            }
        }
    }
    (table.row_count() > 0).then_some(table)
}

fn servers(outcomes: &[Outcome]) -> Option<Table> {
    let mut table = plain(&["server", "CPU s", "CPU us/request", "memory MiB, most"]);
    for outcome in outcomes {
        for ServerOutcome { name, cpu_s, memory_bytes_max, .. } in &outcome.servers {
            let name = match outcomes.len() {
                1 => name.clone(),
                _ => format!("{}, {name}", outcome.label),
            };
            let each = cpu_s * 1e6 / outcome.count().max(1) as f64;
            let memory = *memory_bytes_max as f64 / f64::from(1 << 20);
            let figures = [format!("{cpu_s:.2}"), format!("{each:.1}"), format!("{memory:.1}")];
            let mut row = vec![Cell::new(name)];
            row.extend(figures.map(right));
            table.add_row(row);
        }
    }
    (table.row_count() > 0).then_some(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::outcome;

    #[test]
    fn a_run_is_shown_with_its_failures_and_its_server() {
        let text = one(&outcome("one", 1));
        let wanted = "\
            | run | requests | good  | failed | per second | mean    | p50     | p90     | p99     \
            | p99.9   | max     |\n\
            |-----|----------|-------|--------|------------|---------|---------|---------|---------\
            |---------|---------|\n\
            | put |    1,003 | 1,000 |      3 |      250.0 | 5.50 ms | 5.00 ms | 9.00 ms | 10.0 ms \
            | 10.0 ms | 10.0 ms |\n";
        assert!(text.starts_with(wanted), "{text}");
        assert!(text.contains("| put    |     2 | Unavailable | gone <away> |"), "{text}");
        assert!(text.contains("| pid 17 |  2.00 |         2000.0 |             30.0 |"), "{text}");
        assert!(text.contains("\na note\n") && text.contains("busy 95 %"), "{text}");
    }

    #[test]
    fn several_runs_are_told_apart_by_their_labels() {
        let text = several(&[outcome("one", 1), outcome("two", 2)]);
        assert!(text.contains("| one, put | "), "{text}");
        assert!(text.contains("| two, put | "), "{text}");
        assert!(text.contains("\ntwo: a note\n"), "{text}");
    }
}
