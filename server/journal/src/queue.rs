//! Owns the way from who speaks to the places: a bounded queue and the one thread that writes.
//!
//! ```text
//! core 0 --\                     (full: counted, not waited for)
//! core 1 ---> try_send --> [ lines, at most lines_max and bytes_max ] --> writer --> places
//! others --/
//! ```
//!
//! A place that blocks (a pipe that nobody reads) stops the writer alone. etcd's reads hang when
//! its standard error blocks; ours must not.
//! Never waits but in `flush`, and there no longer than it is told. Invariant: lines of one thread
//! are written in its order; every line is written, thinned, dropped and counted, or failed and
//! counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError, TrySendError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::line::{Caller, Format, Level, Line};
use crate::sample::Sampler;
use crate::sink::Sink;
use crate::value::Value;

/// How much may wait to be written.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Lines.
    pub lines_max: usize,
    /// Bytes of them.
    pub bytes_max: usize,
}

/// Whether equal lines are thinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// The first hundred a second, then every hundredth.
    OnRepeat,
    /// Never.
    Off,
}

/// What became of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Written to every place.
    pub written: u64,
    /// Not written because the queue was full.
    pub dropped: u64,
    /// Not written because they repeated others.
    pub thinned: u64,
    /// A place refused them.
    pub failed: u64,
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Everything said before it is written.
    All,
    /// Time was up; a place blocks.
    TimedOut,
}

enum Message {
    Line(Level, String),
    Flush(SyncSender<()>),
}

#[derive(Debug, Default)]
struct Tally {
    written: AtomicU64,
    dropped: AtomicU64,
    thinned: AtomicU64,
    failed: AtomicU64,
    bytes_waiting: AtomicUsize,
}

/// The end of the queue that everybody holds.
pub(crate) struct Queue {
    sender: SyncSender<Message>,
    tally: Arc<Tally>,
    sampler: Option<Sampler>,
    format: Format,
    bytes_max: usize,
}

impl Queue {
    /// Starts the writer.
    pub(crate) fn start(
        format: Format,
        sampling: Sampling,
        bounds: Bounds,
        sinks: Vec<Box<dyn Sink>>,
    ) -> std::io::Result<Queue> {
        assert!(bounds.lines_max > 0, "a queue without room");
        let (sender, receiver) = mpsc::sync_channel(bounds.lines_max);
        let tally = Arc::new(Tally::default());
        let writer = Writer { receiver, sinks, tally: tally.clone(), format, told: 0 };
        thread::Builder::new().name("journal".into()).spawn(move || writer.run())?;
        let sampler = match sampling {
            Sampling::OnRepeat => Some(Sampler::new()),
            Sampling::Off => None,
        };
        Ok(Queue { sender, tally, sampler, format, bytes_max: bounds.bytes_max })
    }

    /// Hands a line over, or counts it.
    pub(crate) fn push(&self, line: &Line<'_>) {
        let now = SystemTime::now();
        if let Some(sampler) = &self.sampler {
            let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            if !sampler.admits(line.level, line.message, since.as_secs()) {
                self.tally.thinned.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        let text = line.encode(self.format, now);
        let bytes = text.len();
        let waiting = self.tally.bytes_waiting.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let sent = match waiting > self.bytes_max {
            true => Err(()),
            false => self.sender.try_send(Message::Line(line.level, text)).map_err(|_| ()),
        };
        if sent.is_err() {
            self.tally.bytes_waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.tally.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything said so far is written, but no longer than this.
    pub(crate) fn flush(&self, wait: Duration) -> Flushed {
        let deadline = Instant::now() + wait;
        let (done, written) = mpsc::sync_channel(1);
        let mut message = Message::Flush(done);
        loop {
            message = match self.sender.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(message)) => message,
                Err(TrySendError::Disconnected(_)) => return Flushed::TimedOut,
            };
            if Instant::now() >= deadline {
                return Flushed::TimedOut;
            }
            thread::sleep(Duration::from_millis(1));
        }
        match written.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(()) => Flushed::All,
            Err(_) => Flushed::TimedOut,
        }
    }

    /// What became of lines so far.
    pub(crate) fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            written: of(&self.tally.written),
            dropped: of(&self.tally.dropped),
            thinned: of(&self.tally.thinned),
            failed: of(&self.tally.failed),
        }
    }
}

/// Between two lines about dropped ones while the queue stays full.
const TELL_GAP: Duration = Duration::from_secs(1);

/// The thread's side.
struct Writer {
    receiver: Receiver<Message>,
    sinks: Vec<Box<dyn Sink>>,
    tally: Arc<Tally>,
    format: Format,
    /// Dropped lines that were told of.
    told: u64,
}

impl Writer {
    fn run(mut self) {
        let mut told_at = Instant::now();
        loop {
            let message = match self.receiver.try_recv() {
                Ok(message) => message,
                Err(TryRecvError::Empty) => {
                    self.tell_dropped();
                    match self.receiver.recv() {
                        Ok(message) => message,
                        Err(_) => return,
                    }
                }
                Err(TryRecvError::Disconnected) => return self.tell_dropped(),
            };
            self.take(message);
            if told_at.elapsed() >= TELL_GAP {
                self.tell_dropped();
                told_at = Instant::now();
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Line(level, text) => {
                self.tally.bytes_waiting.fetch_sub(text.len(), Ordering::Relaxed);
                self.write(level, &text);
            }
            Message::Flush(done) => {
                self.tell_dropped();
                // Who asked may have gone: its time was up.
                let _ = done.try_send(());
            }
        }
    }

    fn write(&mut self, level: Level, text: &str) {
        let mut failed = false;
        for sink in &mut self.sinks {
            failed |= sink.write_line(level, text).is_err();
        }
        let counter = if failed { &self.tally.failed } else { &self.tally.written };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Says how many lines were dropped since it was last said.
    fn tell_dropped(&mut self) {
        let dropped = self.tally.dropped.load(Ordering::Relaxed);
        if dropped == self.told {
            return;
        }
        let fields = [
            ("lines", Value::from(dropped - self.told)),
            ("lines-since-start", Value::from(dropped)),
        ];
        let line = Line {
            level: Level::Warn,
            logger: None,
            caller: Caller { file: file!(), line: line!() },
            message: "log lines were dropped; the log output is too slow",
            fields: &fields,
        };
        let text = line.encode(self.format, SystemTime::now());
        self.told = dropped;
        self.write(Level::Warn, &text);
    }
}
