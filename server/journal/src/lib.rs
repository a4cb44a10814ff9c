//! Owns log lines: etcd's shape, levels, thinning, and a bounded queue with one writing thread.
//! Never blocks who speaks, and never decides what is worth a line.
//! Invariant: a line is complete or not there; what is lost is counted and told later.
//!
//! ```
//! use ringleader_journal as journal;
//! use std::time::Duration;
//! journal::info!("applied a snapshot", "took" => Duration::from_millis(7), "bytes" => 42u64);
//! journal::warn!(logger: "raft", "lost the leader");
//! assert!(!journal::enabled(journal::Level::Debug));
//! ```
#![forbid(unsafe_code)]

mod clock;
mod line;
mod queue;
mod sample;
mod sink;
mod value;

#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};

pub use line::{Caller, Format, Level, Line};
pub use queue::{Bounds, Counts, Flushed, Sampling};
pub use sink::{OpenError, Output, reason};
pub use value::{Hidden, TEXT_BYTES_MAX, Value};

use queue::Queue;

/// Lines that may wait.
pub const LINES_MAX: usize = 4096;
/// Bytes of lines that may wait.
pub const BYTES_MAX: usize = 4 << 20;
/// How long the end of the process waits for its last lines.
pub const FLUSH_WAIT: Duration = Duration::from_secs(1);

/// How to write.
#[derive(Clone, Debug)]
pub struct Options {
    /// The least level.
    pub level: Level,
    /// The shape.
    pub format: Format,
    /// The places.
    pub outputs: Vec<Output>,
    /// Thinning.
    pub sampling: Sampling,
    /// How much may wait.
    pub bounds: Bounds,
}

/// The journal was not started.
#[derive(Debug)]
pub enum StartError {
    /// A place could not be opened.
    Open(OpenError),
    /// The system gave no thread.
    NoThread(std::io::Error),
    /// It runs already.
    Running,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Open(error) => error.fmt(to),
            StartError::NoThread(error) => write!(to, "no thread for the journal: {error}"),
            StartError::Running => write!(to, "the journal runs already"),
        }
    }
}

impl std::error::Error for StartError {}

static QUEUE: OnceLock<Queue> = OnceLock::new();
static LEVEL_MIN: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Opens the places and starts the thread, once in a process. Lines before it go to standard error.
pub fn start(options: Options) -> Result<(), StartError> {
    let mut sinks = Vec::with_capacity(options.outputs.len());
    for output in &options.outputs {
        sinks.push(sink::open(output).map_err(StartError::Open)?);
    }
    if QUEUE.get().is_some() {
        return Err(StartError::Running);
    }
    let queue = Queue::start(options.format, options.sampling, options.bounds, sinks)
        .map_err(StartError::NoThread)?;
    LEVEL_MIN.store(options.level as u8, Ordering::Relaxed);
    QUEUE.set(queue).map_err(|_| StartError::Running)
}

/// Whether lines of this level are written at all.
pub fn enabled(level: Level) -> bool {
    level as u8 >= LEVEL_MIN.load(Ordering::Relaxed)
}

/// Writes a line whose parts are known only at run time; the macros are shorter for all others.
pub fn write(line: &Line<'_>) {
    if !enabled(line.level) {
        return;
    }
    match QUEUE.get() {
        Some(queue) => queue.push(line),
        // Before the start there is one thread and nothing to delay. A closed standard error must
        // not end a process that could serve.
        None => {
            let text = line.encode(Format::Json, SystemTime::now());
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        }
    }
}

/// Waits until the lines so far are written, but no longer than `wait`.
pub fn flush(wait: Duration) -> Flushed {
    QUEUE.get().map_or(Flushed::All, |queue| queue.flush(wait))
}

/// What became of lines; nothing before the start.
pub fn counts() -> Counts {
    let none = Counts { written: 0, dropped: 0, thinned: 0, failed: 0 };
    QUEUE.get().map_or(none, Queue::counts)
}

/// Ends the process with this code after a bounded wait for the last lines.
pub fn exit(code: i32) -> ! {
    flush(FLUSH_WAIT);
    std::process::exit(code)
}

/// The moment as lines show it, in UTC.
pub fn utc_now() -> String {
    let mut text = String::new();
    clock::put_utc(&mut text, SystemTime::now());
    text
}

/// Makes every panic a line of level `panic` before the process ends.
pub fn log_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current().name().unwrap_or("unnamed").to_string();
        let fields = [("panic", Value::from(panic.to_string())), ("thread", Value::from(thread))];
        let caller = Caller { file: file!(), line: line!() };
        let (level, message) = (Level::Panic, "the process stops: it found a mistake of its own");
        write(&Line { level, logger: None, caller, message, fields: &fields });
        flush(FLUSH_WAIT);
        before(panic);
    }));
}

/// Writes a line: `record!(level, "sentence", "key" => value, ...)`, with `logger: "name",` before
/// the sentence where the part of the program has a name. Values are not computed below the level.
#[macro_export]
macro_rules! record {
    ($level:expr, logger: $logger:expr, $message:expr $(, $name:expr => $value:expr)* $(,)?) => {
        if $crate::enabled($level) {
            $crate::write(&$crate::Line {
                level: $level,
                logger: Some($logger),
                caller: $crate::Caller { file: file!(), line: line!() },
                message: $message,
                fields: &[$(($name, $crate::Value::from($value))),*],
            });
        }
    };
    ($level:expr, $message:expr $(, $name:expr => $value:expr)* $(,)?) => {
        if $crate::enabled($level) {
            $crate::write(&$crate::Line {
                level: $level,
                logger: None,
                caller: $crate::Caller { file: file!(), line: line!() },
                message: $message,
                fields: &[$(($name, $crate::Value::from($value))),*],
            });
        }
    };
}

/// A line for who looks for a bug.
#[macro_export]
macro_rules! debug {
    ($($parts:tt)*) => { $crate::record!($crate::Level::Debug, $($parts)*) };
}

/// A line worth knowing.
#[macro_export]
macro_rules! info {
    ($($parts:tt)*) => { $crate::record!($crate::Level::Info, $($parts)*) };
}

/// A line worth a change.
#[macro_export]
macro_rules! warn {
    ($($parts:tt)*) => { $crate::record!($crate::Level::Warn, $($parts)*) };
}

/// A line about something that went wrong.
#[macro_export]
macro_rules! error {
    ($($parts:tt)*) => { $crate::record!($crate::Level::Error, $($parts)*) };
}

/// The last line: the process ends with exit code 1 after it.
#[macro_export]
macro_rules! fatal {
    ($($parts:tt)*) => {{
        $crate::record!($crate::Level::Fatal, $($parts)*);
        $crate::exit(1)
    }};
}
