//! Owns the main thread's part while cores work: the progress bar, Ctrl-C, and the figures of
//! watched servers. Invariant: nothing is drawn unless somebody looks.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use measure::outcome::{ServerOutcome, ServerSample};
use measure::report::{count, time};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::process;
use super::shared::Shared;

/// Between looks before the measuring begins, so that its begin is not missed.
const LOOK_EARLY: Duration = Duration::from_millis(2);
const LOOK: Duration = Duration::from_millis(200);
const SAMPLE: Duration = Duration::from_secs(1);

/// A server whose processor time and memory are sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// A process of this machine.
    Pid(u32),
    /// Whatever answers `/metrics` at `host:port`.
    Metrics(String),
}

impl Watched {
    fn name(&self) -> String {
        match self {
            Watched::Pid(pid) => format!("pid {pid}"),
            Watched::Metrics(authority) => format!("http://{authority}/metrics"),
        }
    }

    /// CPU seconds and resident bytes.
    fn look(&self) -> Option<(f64, u64)> {
        match self {
            Watched::Pid(pid) => Some((process::cpu_seconds(*pid)?, process::memory_bytes(*pid)?)),
            Watched::Metrics(authority) => {
                process::of_metrics(&process::http_page(authority, "/metrics")?)
            }
        }
    }
}

struct Server {
    watched: Watched,
    cpu_first_s: f64,
    cpu_last_s: f64,
    at_s: f64,
    outcome: ServerOutcome,
}

pub(super) struct Overseer {
    shared: Arc<Shared>,
    bar: ProgressBar,
    interrupted: Arc<AtomicBool>,
    servers: Vec<Server>,
    /// When measuring began, once it has.
    measured: Option<Instant>,
    sampled: Instant,
    shown: (Instant, u64),
}

impl Overseer {
    pub(super) fn new(shared: Arc<Shared>, watched: &[Watched]) -> Result<Overseer, String> {
        let servers = watched.iter().map(|watched| {
            let name = watched.name();
            watched.look().ok_or_else(|| format!("{name}: no figures of it can be read"))?;
            let samples = Vec::new();
            let outcome = ServerOutcome { name, cpu_s: 0.0, memory_bytes_max: 0, samples };
            let watched = watched.clone();
            Ok(Server { watched, cpu_first_s: 0.0, cpu_last_s: 0.0, at_s: 0.0, outcome })
        });
        let now = Instant::now();
        Ok(Overseer {
            shared,
            bar: bar(),
            interrupted: interrupted(),
            servers: servers.collect::<Result<_, String>>()?,
            measured: None,
            sampled: now,
            shown: (now, 0),
        })
    }

    /// How long to wait for cores before the next look.
    pub(super) fn pause(&self) -> Duration {
        match self.measured {
            None => LOOK_EARLY,
            Some(_) => LOOK,
        }
    }

    pub(super) fn look(&mut self) {
        if self.interrupted.load(Ordering::Relaxed) {
            self.shared.stop.store(true, Ordering::Relaxed);
        }
        let from_ns = self.shared.measured_from_ns.load(Ordering::Relaxed);
        let now = Instant::now();
        match self.measured {
            None if from_ns == 0 || self.shared.now_ns() < from_ns => return,
            None => {
                self.measured = Some(now);
                self.sampled = now;
                self.shown = (now, 0);
                for server in &mut self.servers {
                    if let Some((cpu_s, memory)) = server.watched.look() {
                        (server.cpu_first_s, server.cpu_last_s) = (cpu_s, cpu_s);
                        server.outcome.memory_bytes_max = memory;
                    }
                }
            }
            Some(begun) if SAMPLE <= now - self.sampled => {
                self.sampled = now;
                self.sample((now - begun).as_secs_f64());
            }
            Some(_) => {}
        }
        self.show(now);
    }

    /// The last sample, and the end of the bar.
    pub(super) fn finish(mut self) -> Vec<ServerOutcome> {
        if let Some(begun) = self.measured {
            self.sample(begun.elapsed().as_secs_f64());
        }
        self.bar.finish_and_clear();
        self.servers.into_iter().map(|server| server.outcome).collect()
    }

    fn sample(&mut self, at_s: f64) {
        for server in &mut self.servers {
            let Some((cpu_s, memory_bytes)) = server.watched.look() else { continue };
            let span_s = (at_s - server.at_s).max(1e-3);
            let cores_busy = (cpu_s - server.cpu_last_s) / span_s;
            (server.cpu_last_s, server.at_s) = (cpu_s, at_s);
            let outcome = &mut server.outcome;
            outcome.cpu_s = cpu_s - server.cpu_first_s;
            outcome.memory_bytes_max = outcome.memory_bytes_max.max(memory_bytes);
            outcome.samples.push(ServerSample { at_s, cores_busy, memory_bytes });
        }
    }

    fn show(&mut self, now: Instant) {
        if self.bar.is_hidden() {
            return;
        }
        let boards = &self.shared.boards;
        let sum = |figure: fn(&super::shared::Board) -> u64| boards.iter().map(figure).sum::<u64>();
        let good = sum(|board| board.good.load(Ordering::Relaxed));
        let failed = sum(|board| board.failed.load(Ordering::Relaxed));
        let p99_ns = boards.iter().map(|board| board.p99_ns.load(Ordering::Relaxed)).max();
        let span = (now - self.shown.0).as_secs_f64();
        if span < 0.15 {
            return;
        }
        let rate = good.saturating_sub(self.shown.1) as f64 / span;
        self.shown = (now, good);
        let total = self.shared.total.load(Ordering::Relaxed);
        if total > 0 {
            self.bar.set_length(total);
        }
        self.bar.set_position(good + failed);
        let p99 = time(p99_ns.unwrap_or_default() as f64);
        let failures =
            if failed > 0 { format!(", {} failed", count(failed)) } else { String::new() };
        self.bar.set_message(format!("{}/s, p99 {p99}{failures}", count(rate as u64)));
    }
}

/// Whether the user has asked for the end. The second time the process ends at once.
fn interrupted() -> Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    let flag = FLAG.get_or_init(|| {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Without handlers a signal ends the process at once, which is as good.
            let _ = signal_hook::flag::register_conditional_default(signal, flag.clone());
            let _ = signal_hook::flag::register(signal, flag.clone());
        }
        flag
    });
    flag.clone()
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = "{elapsed_precise} {bar:30} {human_pos} of {human_len}  {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}
