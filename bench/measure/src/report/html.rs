//! Owns the page that shows one or more runs: charts and tables, in one file that needs no other.
//! Invariant: whatever a server said is escaped.

use std::fmt::Write;

use crate::outcome::{LatencyOutcome, Outcome, SeriesOutcome};
use crate::report::svg::{Chart, Line, Scale, escape};
use crate::report::{count, time};

const STYLE: &str = "\
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;\
margin:2rem auto;padding:0 1rem}svg{width:100%;height:auto}\
svg text{font-size:11px;fill:currentColor}\
svg .title{font-size:14px;font-weight:600}.grid{stroke:currentColor;opacity:.15}\
polyline{fill:none;stroke-width:1.8}table{border-collapse:collapse;width:100%;\
font-variant-numeric:tabular-nums}td,th{padding:.2rem .6rem;text-align:right;\
border-bottom:1px solid #8884}td:first-child,th:first-child,td.text{text-align:left}\
.legend span{margin-right:1.2rem;white-space:nowrap}.legend i{display:inline-block;width:.8rem;\
height:.8rem;margin-right:.4rem;vertical-align:-1px}.bad{color:#d55e00;font-weight:600}\
code{font-size:.9em;overflow-wrap:anywhere}";

/// Points of a latency curve for each nine.
const POINTS_PER_NINE: u32 = 20;

/// The page.
pub fn page(title: &str, outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{}</title><style>{STYLE}</style></head><body>\n<h1>{}</h1>\n",
        escape(title),
        escape(title)
    );
    text.push_str(&latencies(outcomes));
    for chart in [percentiles(outcomes), rates(outcomes), slowest(outcomes)] {
        text.push_str(&chart);
    }
    text.push_str(&servers(outcomes));
    text.push_str(&failures(outcomes));
    text.push_str(&runs(outcomes));
    text + "</body></html>\n"
}

fn named(outcomes: &[Outcome]) -> impl Iterator<Item = (String, &SeriesOutcome)> {
    let is_one = outcomes.len() == 1;
    outcomes.iter().flat_map(move |outcome| {
        outcome.series.iter().map(move |series| match is_one {
            true => (series.name.clone(), series),
            false => (format!("{}: {}", outcome.label, series.name), series),
        })
    })
}

fn latencies(outcomes: &[Outcome]) -> String {
    let mut text = "<table><tr><th>run</th><th>good</th><th>failed</th><th>per second</th>\
                    <th>mean</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th>\
                    </tr>\n"
        .to_string();
    for (name, series) in named(outcomes) {
        let LatencyOutcome { mean_ns, p50_ns, p90_ns, p99_ns, p99_9_ns, max_ns, .. } =
            series.latency;
        let class = if series.failed > 0 { " class=\"bad\"" } else { "" };
        let _ = write!(
            text,
            "<tr><td>{}</td><td>{}</td><td{class}>{}</td><td>{:.1}</td><td>{}</td>",
            escape(&name),
            count(series.latency.count),
            count(series.failed),
            series.rate,
            time(mean_ns)
        );
        for ns in [p50_ns, p90_ns, p99_ns, p99_9_ns, max_ns] {
            let _ = write!(text, "<td>{}</td>", time(ns as f64));
        }
        text.push_str("</tr>\n");
    }
    text + "</table>\n"
}

fn percentiles(outcomes: &[Outcome]) -> String {
    let lines = named(outcomes).map(|(name, series)| Line { name, points: curve(&series.latency) });
    Chart {
        title: "Latency by percentile",
        x_name: "percentile",
        x_scale: Scale::Nines,
        y_scale: Scale::Log,
        y_text: time,
        lines: lines.collect(),
    }
    .svg()
}

/// The latency at percentiles that come closer and closer to 100, up to the last request.
fn curve(latency: &LatencyOutcome) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let (mut steps, mut below) = (latency.recorded.iter(), 0);
    let Some(mut step) = steps.next() else { return points };
    for number in 0.. {
        let share = 1.0 - 10f64.powf(-f64::from(number) / f64::from(POINTS_PER_NINE));
        let rank = (latency.count as f64 * share).ceil() as u64;
        if latency.count <= rank {
            break;
        }
        while below + step.1 < rank {
            below += step.1;
            step = steps.next().expect("ranks are below the count");
        }
        points.push((share * 100.0, step.0 as f64));
    }
    points.push((100.0 - 100.0 / (latency.count as f64 + 1.0), latency.max_ns as f64));
    points
}

fn rates(outcomes: &[Outcome]) -> String {
    let lines = named(outcomes).map(|(name, series)| {
        // The last interval is rarely whole.
        let whole = series.moments.len().saturating_sub(1).max(1);
        let each = series.moments.iter().take(whole);
        let points = each.map(|one| (one.at_s, one.count as f64 / series.interval_s)).collect();
        Line { name, points }
    });
    Chart {
        title: "Good answers a second",
        x_name: "seconds",
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        y_text: |value| count(value as u64),
        lines: lines.collect(),
    }
    .svg()
}

fn slowest(outcomes: &[Outcome]) -> String {
    let lines = named(outcomes).map(|(name, series)| {
        let each = series.moments.iter().filter(|one| one.count > 0);
        let points = each.map(|one| (one.at_s, one.p99_ns as f64)).collect();
        Line { name: format!("{name}, p99"), points }
    });
    Chart {
        title: "Latency over time",
        x_name: "seconds",
        x_scale: Scale::Linear,
        y_scale: Scale::Log,
        y_text: time,
        lines: lines.collect(),
    }
    .svg()
}

fn servers(outcomes: &[Outcome]) -> String {
    let (mut cpu, mut memory) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        for server in &outcome.servers {
            let name = format!("{}: {}", outcome.label, server.name);
            let each = || server.samples.iter();
            let points = each().map(|one| (one.at_s, one.cores_busy)).collect();
            cpu.push(Line { name: name.clone(), points });
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let points = each().map(|one| (one.at_s, mib(one.memory_bytes))).collect();
            memory.push(Line { name, points });
        }
    }
    let chart = |title, lines| Chart {
        title,
        x_name: "seconds",
        x_scale: Scale::Linear,
        y_scale: Scale::Linear,
        y_text: |value| format!("{value:.1}"),
        lines,
    };
    chart("Busy cores of the servers", cpu).svg()
        + &chart("Memory of the servers, MiB", memory).svg()
}

fn failures(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for (name, series) in named(outcomes) {
        for failure in &series.failures {
            let _ = writeln!(
                text,
                "<tr><td>{}</td><td>{}</td><td class=\"text\">{}</td>\
                 <td class=\"text\">{}</td></tr>",
                escape(&name),
                count(failure.count),
                escape(&failure.code),
                escape(&failure.text)
            );
        }
    }
    match text.is_empty() {
        true => text,
        false => format!("<h2>Failures</h2>\n<table>{text}</table>\n"),
    }
}

fn runs(outcomes: &[Outcome]) -> String {
    let mut text = "<h2>Runs</h2>\n".to_string();
    for outcome in outcomes {
        let machine = &outcome.machine;
        let _ = writeln!(
            text,
            "<p><b>{}</b>: <code>{}</code><br>{}, {}, {} cores, load average {:.1}; ringbench {}; \
             {} connections, {} clients, to {}</p>",
            escape(&outcome.label),
            escape(&outcome.command),
            escape(&machine.processor),
            escape(&machine.kernel),
            machine.cores,
            machine.load_average,
            escape(&outcome.version),
            outcome.conns,
            outcome.clients,
            escape(&outcome.endpoints.join(", "))
        );
        for note in &outcome.notes {
            let _ = writeln!(text, "<p>{}</p>", escape(note));
        }
        if outcome.loader.is_suspect() {
            text.push_str("<p class=\"bad\">ringbench itself may have been the bottleneck.</p>\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::outcome;

    #[test]
    fn a_page_holds_every_run_and_needs_nothing_else() {
        let page = page("two <runs>", &[outcome("one", 1), outcome("two", 2)]);
        for part in ["one: put", "two: put", "Latency by percentile", "gone &lt;away&gt;", "1,000"]
        {
            assert!(page.contains(part), "{part}");
        }
        for outside in ["src=", "href=", "url(", "<script", "@import", "<runs>", "<away>"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert_eq!(page.matches("<svg").count(), 5);
    }

    #[test]
    fn a_curve_rises_to_the_slowest() {
        let points = curve(&outcome("one", 1).series[0].latency);
        assert!(points.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{points:?}");
        assert_eq!(points.last().unwrap().1, 10_000_000.0);
        assert!(curve(&LatencyOutcome::default()).is_empty());
    }
}
