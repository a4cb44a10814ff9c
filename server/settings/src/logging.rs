//! Owns what the settings say about log lines: level, shape and where they go.
//! Never writes one. Invariant: an output is named once.

use crate::chosen::Chosen;

/// The least level that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What is worth knowing.
    Info,
    /// What is worth changing.
    Warn,
    /// What went wrong.
    Error,
    /// What ends the process.
    Panic,
    /// What ends the process at once.
    Fatal,
}

/// The shape of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// Columns for people.
    Console,
}

/// A place for lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// The system's journal; standard error when that fails.
    SystemdJournal,
    /// A file, appended to.
    File(String),
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least level.
    pub level: LogLevel,
    /// The shape.
    pub format: LogFormat,
    /// The places.
    pub outputs: Vec<LogOutput>,
}

pub(crate) fn level_of(word: &str) -> Option<LogLevel> {
    match word.to_ascii_lowercase().as_str() {
        "debug" => Some(LogLevel::Debug),
        "info" | "" => Some(LogLevel::Info),
        "warn" => Some(LogLevel::Warn),
        "error" => Some(LogLevel::Error),
        "dpanic" | "panic" => Some(LogLevel::Panic),
        "fatal" => Some(LogLevel::Fatal),
        _ => None,
    }
}

pub(crate) fn format_of(word: &str) -> Option<LogFormat> {
    match word {
        "json" | "" => Some(LogFormat::Json),
        "console" => Some(LogFormat::Console),
        _ => None,
    }
}

/// From values that were checked.
pub(crate) fn log(chosen: &Chosen) -> Log {
    let mut outputs: Vec<LogOutput> = Vec::new();
    for word in chosen.list("log-outputs") {
        let output = match word.as_str() {
            "default" | "stderr" => LogOutput::Stderr,
            "stdout" => LogOutput::Stdout,
            "systemd/journal" => LogOutput::SystemdJournal,
            path => LogOutput::File(path.into()),
        };
        if !outputs.contains(&output) {
            outputs.push(output);
        }
    }
    let level = level_of(&chosen.text("log-level"));
    let format = format_of(&chosen.text("log-format"));
    let (Some(level), Some(format)) = (level, format) else {
        unreachable!("the level and the shape were checked");
    };
    Log { level, format, outputs }
}
