//! Owns where outcomes go: the terminal, a JSON file, a page. Invariant: a file is written whole or
//! not at all.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use measure::outcome::FORMAT;
use measure::report::etcd::{Precision, Samples};
use measure::report::{etcd, html, perfdash, table};
use measure::{Comparison, Outcome};

use crate::flags::{Output, ReportKind};
use crate::load::Load;

#[derive(Args, Debug)]
pub struct ReportFlags {
    /// Files that --json wrote
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Shows the outcome of a load.
pub fn outcome(outcome: &Outcome, load: &Load, output: &Output) -> Result<(), String> {
    match output.report {
        ReportKind::Table => print!("{}", table::one(outcome)),
        ReportKind::Etcd => print!("{}", as_etcd(outcome, load, output)),
    }
    if output.report_perfdash {
        perfdash_file(outcome, load.name())?;
    }
    keep(outcome, output)
}

/// Writes what perfdash reads, where etcd's benchmark puts it.
fn perfdash_file(outcome: &Outcome, operation: &str) -> Result<(), String> {
    let folder = match std::env::var_os("ARTIFACTS") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        Some(_) | None => PathBuf::from("./_artifacts"),
    };
    fs::create_dir_all(&folder)
        .map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
    let path = folder.join(perfdash::file_name(operation, outcome.begun_unix_s));
    let report = perfdash::report(operation, outcome);
    let text = serde_json::to_string_pretty(&report).expect("a report is plain data");
    write(&path, &text)?;
    println!("Successfully created a JSON perf report at {}", path.display());
    Ok(())
}

/// Shows an outcome as a table.
pub fn plain(outcome: &Outcome, output: &Output) -> Result<(), String> {
    print!("{}", table::one(outcome));
    keep(outcome, output)
}

fn keep(outcome: &Outcome, output: &Output) -> Result<(), String> {
    if let Some(path) = &output.json {
        let text = serde_json::to_string_pretty(outcome).expect("an outcome is plain data");
        write(path, &(text + "\n"))?;
    }
    page(std::slice::from_ref(outcome), output)
}

/// Shows kept runs side by side.
pub fn report(flags: &ReportFlags, output: &Output) -> Result<(), String> {
    let outcomes = flags.files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    print!("{}", table::several(&outcomes));
    page(&outcomes, output)
}

/// Keeps a comparison, and shows its last round as a page.
pub fn comparison(
    comparison: &Comparison,
    last: &[Outcome],
    output: &Output,
) -> Result<(), String> {
    if let Some(path) = &output.json {
        let text = serde_json::to_string_pretty(comparison).expect("a comparison is plain data");
        write(path, &(text + "\n"))?;
    }
    page(last, output)
}

fn page(outcomes: &[Outcome], output: &Output) -> Result<(), String> {
    match &output.html {
        None => Ok(()),
        Some(path) => {
            let labels: Vec<&str> = outcomes.iter().map(|one| one.label.as_str()).collect();
            write(path, &html::page(&format!("ringbench: {}", labels.join(", ")), outcomes))
        }
    }
}

fn as_etcd(outcome: &Outcome, load: &Load, output: &Output) -> String {
    let precision = if output.precise { Precision::Exact } else { Precision::Usual };
    let samples = match output.sample {
        true => Samples::Listed { begun_unix_s: outcome.begun_unix_s },
        false => Samples::Left,
    };
    let mut text = load.opening().map(|line| format!("{line}\n")).unwrap_or_default();
    for series in &outcome.series {
        if let Some((before, after)) = load.etcd_frame(&series.name, series.latency.count) {
            text.push_str(&before);
            text.push_str(&etcd::report(series, precision, samples));
            text.push_str(after);
        }
    }
    for note in outcome.notes.iter().filter(|note| note.starts_with("HashKV Summary:")) {
        text.push_str(note);
        text.push('\n');
    }
    text
}

fn read(path: &Path) -> Result<Outcome, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let outcome: Outcome = serde_json::from_str(&text)
        .map_err(|error| format!("{shown} is not an outcome of ringbench: {error}"))?;
    match outcome.format {
        FORMAT => Ok(outcome),
        other => Err(format!("{shown} has format {other}; this ringbench reads format {FORMAT}")),
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let done = fs::write(&partial, text).and_then(|()| fs::rename(&partial, path));
    done.map_err(|error| format!("{} cannot be written: {error}", path.display()))
}
