//! Owns the laws of the queue: nobody waits, losses are counted and told, ends are bounded.
//! Never touches the process-wide journal. Invariant: every test ends within seconds.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use crate::line::{Caller, Format, Level, Line};
use crate::queue::{Bounds, Flushed, Queue, Sampling};
use crate::sink::{Output, Sink, open};

/// Hands every line to the test, and waits for leave before it does.
struct Gated {
    leave: Option<Receiver<()>>,
    lines: Sender<String>,
}

impl Sink for Gated {
    fn write_line(&mut self, _: Level, line: &str) -> io::Result<()> {
        if let Some(leave) = &self.leave {
            // The test is over when nobody gives leave any more.
            let _ = leave.recv();
        }
        let _ = self.lines.send(line.into());
        Ok(())
    }
}

struct Broken;

impl Sink for Broken {
    fn write_line(&mut self, _: Level, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

fn say(queue: &Queue, message: &str) {
    let caller = Caller { file: file!(), line: line!() };
    queue.push(&Line { level: Level::Info, logger: None, caller, message, fields: &[] });
}

fn queue(sampling: Sampling, bounds: Bounds, sinks: Vec<Box<dyn Sink>>) -> Queue {
    Queue::start(Format::Json, sampling, bounds, sinks).unwrap()
}

const ROOMY: Bounds = Bounds { lines_max: 4096, bytes_max: 4 << 20 };

#[test]
fn lines_of_one_thread_keep_their_order() {
    let (lines, written) = mpsc::channel();
    let queue = queue(Sampling::Off, ROOMY, vec![Box::new(Gated { leave: None, lines })]);
    for n in 0..1000 {
        say(&queue, &format!("line {n}"));
    }
    assert_eq!(queue.flush(Duration::from_secs(5)), Flushed::All);
    for (n, line) in written.try_iter().enumerate() {
        assert!(line.contains(&format!("\"msg\":\"line {n}\"")), "{line}");
        assert!(line.ends_with("}\n"));
    }
    assert_eq!((queue.counts().written, queue.counts().dropped), (1000, 0));
}

#[test]
fn a_blocked_output_delays_nobody_and_its_losses_are_told_later() {
    let (open_gate, leave) = mpsc::channel();
    let (lines, written) = mpsc::channel();
    let bounds = Bounds { lines_max: 64, ..ROOMY };
    let queue = queue(Sampling::Off, bounds, vec![Box::new(Gated { leave: Some(leave), lines })]);
    let start = Instant::now();
    for n in 0..10_000 {
        say(&queue, &format!("line {n}"));
    }
    assert!(start.elapsed() < Duration::from_secs(2), "saying never waits");
    let dropped = queue.counts().dropped;
    assert!((9_900..10_000).contains(&dropped), "{dropped}");
    assert_eq!(queue.flush(Duration::from_millis(50)), Flushed::TimedOut);
    drop(open_gate);
    assert_eq!(queue.flush(Duration::from_secs(5)), Flushed::All);
    let all: Vec<String> = written.try_iter().collect();
    let told: Vec<&String> = all.iter().filter(|line| line.contains("were dropped")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&format!("\"lines\":{dropped},")), "{}", told[0]);
    assert_eq!(all.len() as u64 - 1 + dropped, 10_000, "every line is written or counted");
}

#[test]
fn waiting_bytes_are_bounded_as_well_as_lines() {
    let (open_gate, leave) = mpsc::channel();
    let (lines, written) = mpsc::channel();
    let bounds = Bounds { lines_max: 4096, bytes_max: 64 << 10 };
    let queue = queue(Sampling::Off, bounds, vec![Box::new(Gated { leave: Some(leave), lines })]);
    let long = "x".repeat(6000);
    for _ in 0..100 {
        say(&queue, &long);
    }
    drop(open_gate);
    assert_eq!(queue.flush(Duration::from_secs(5)), Flushed::All);
    let kept = written.try_iter().filter(|line| line.contains("xxx")).count();
    assert!((1..=12).contains(&kept), "{kept}");
    assert_eq!(queue.counts().dropped, 100 - kept as u64);
    say(&queue, "room again");
    assert_eq!(queue.flush(Duration::from_secs(5)), Flushed::All);
    assert_eq!(written.try_iter().count(), 1);
}

#[test]
fn repeated_lines_are_thinned_and_counted() {
    let (lines, written) = mpsc::channel();
    let queue = queue(Sampling::OnRepeat, ROOMY, vec![Box::new(Gated { leave: None, lines })]);
    for _ in 0..2_000 {
        say(&queue, "the same");
    }
    assert_eq!(queue.flush(Duration::from_secs(5)), Flushed::All);
    let count = written.try_iter().count() as u64;
    // The second may turn while the test speaks.
    assert!((100..=440).contains(&count), "{count}");
    assert_eq!(queue.counts().thinned, 2_000 - count);
}

#[test]
fn a_broken_output_is_counted_and_the_others_go_on() {
    let (lines, written) = mpsc::channel();
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(Broken), Box::new(Gated { leave: None, lines })];
    let queue = queue(Sampling::Off, ROOMY, sinks);
    say(&queue, "still here");
    assert_eq!(queue.flush(Duration::from_secs(5)), Flushed::All);
    assert_eq!(written.try_iter().count(), 1);
    assert_eq!((queue.counts().failed, queue.counts().written), (1, 0));
}

#[test]
fn a_file_is_appended_to_and_holds_whole_lines() {
    let path = std::env::temp_dir().join(format!("ringleader-journal-{}", std::process::id()));
    let text = path.to_str().unwrap().to_string();
    std::fs::write(&path, "before\n").unwrap();
    let sinks = vec![open(&Output::File(text)).unwrap()];
    let queue = queue(Sampling::Off, ROOMY, sinks);
    say(&queue, "first");
    say(&queue, "second");
    assert_eq!(queue.flush(Duration::from_secs(5)), Flushed::All);
    let found = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines[0], "before");
    let value: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
    assert_eq!(value["msg"], "second");
    assert_eq!(lines.len(), 3);
}

#[test]
fn many_threads_lose_nothing_while_there_is_room() {
    let (lines, written) = mpsc::channel();
    let queue = queue(Sampling::Off, ROOMY, vec![Box::new(Gated { leave: None, lines })]);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let queue = &queue;
            scope.spawn(move || {
                for n in 0..500 {
                    say(queue, &format!("thread {thread} line {n}"));
                }
            });
        }
    });
    assert_eq!(queue.flush(Duration::from_secs(5)), Flushed::All);
    assert_eq!(written.try_iter().count(), 2_000);
}
