//! Owns the executors of a run, from their start to what they counted.
//! Invariant: a core that fails ends the run with its words; nobody waits for it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures_lite::future::BoxedLocal;
use glommio::{LocalExecutorBuilder, Placement};
use measure::outcome::LoaderOutcome;
use measure::{Latency, Series};

use super::overseer::{Overseer, Watched};
use super::phase::{late_p99_ns, merge};
use super::process;
use super::seat::{Client, Seat, User};
use super::shared::Shared;
use crate::net::{Dialer, Target};

/// Registered memory of one executor's rings.
const IO_MEMORY_BYTES: usize = 1 << 20;
/// Descriptors beside those of connections.
const FILES_RESERVED: u64 = 64;

/// Who runs a load.
#[derive(Clone, Debug)]
pub struct Crew {
    /// Who is asked.
    pub targets: Vec<Target>,
    /// As whom.
    pub user: Option<User>,
    /// Connections.
    pub conns: usize,
    /// Clients, sharing the connections in turn.
    pub clients: usize,
    /// Executors.
    pub cores: usize,
    /// Processors for them; none to leave that to the kernel.
    pub cpus: Vec<usize>,
    /// How long an idle executor looks for work before it sleeps.
    pub spin: Duration,
    /// For all dice.
    pub seed: u64,
    /// What connections over TLS begin with; None where nobody speaks of TLS.
    pub trust: Option<Arc<rustls::ClientConfig>>,
    /// How long connecting may take; zero for as long as the kernel tries.
    pub dial_patience: Duration,
    /// How long nothing may move while answers are due.
    pub patience: Duration,
    /// Processes to watch.
    pub watched: Vec<Watched>,
}

/// What a run counted.
#[derive(Debug, Default)]
pub struct Tally {
    /// Named rows, in the order of their phases.
    pub series: Vec<(String, Series)>,
    /// What the reader should know.
    pub notes: Vec<String>,
    /// Who was watched.
    pub servers: Vec<measure::outcome::ServerOutcome>,
    /// The program itself.
    pub loader: LoaderOutcome,
}

/// What one core brings home.
struct Part {
    core: usize,
    series: Vec<(String, Series)>,
    notes: Vec<String>,
    late: Latency,
    busy_permille: u32,
}

/// What a core does: its rows and its notes.
pub type Job = dyn Fn(Rc<Seat>) -> BoxedLocal<Result<Counted, String>> + Send + Sync;

/// Rows and notes of one core.
#[derive(Debug, Default)]
pub struct Counted {
    /// Named rows, in the order of their phases.
    pub series: Vec<(String, Series)>,
    /// What the reader should know, from one core alone.
    pub notes: Vec<String>,
}

impl Crew {
    /// Runs a job on every core.
    pub fn run(&self, job: Arc<Job>) -> Result<Tally, String> {
        self.check()?;
        let cores = self.cores.min(self.conns).max(1);
        let shared = Arc::new(Shared::new(cores));
        let cpu_before = process::own_cpu_seconds();
        let (bring, brought) = mpsc::channel();
        for core in 0..cores {
            self.spawn(core, cores, shared.clone(), job.clone(), bring.clone())?;
        }
        drop(bring);
        let mut overseer = Overseer::new(shared.clone(), &self.watched)?;
        let mut parts: Vec<Part> = Vec::new();
        let mut failed = None;
        loop {
            match brought.recv_timeout(overseer.pause()) {
                Ok(Ok(part)) => parts.push(part),
                Ok(Err(error)) => {
                    shared.broken.store(true, Ordering::Relaxed);
                    failed.get_or_insert(error);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => overseer.look(),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        let servers = overseer.finish();
        if let Some(error) = failed {
            return Err(error);
        }
        parts.sort_by_key(|part| part.core);
        let late: Vec<Latency> = parts.iter().map(|part| part.late.clone()).collect();
        let loader = LoaderOutcome {
            busy_permille: parts.iter().map(|part| part.busy_permille).collect(),
            cpu_s: process::own_cpu_seconds() - cpu_before,
            late_ns_p99: late_p99_ns(&late),
        };
        let mut tally = Tally { servers, loader, ..Tally::default() };
        for part in parts {
            merge(&mut tally.series, part.series);
            tally.notes.extend(part.notes);
        }
        Ok(tally)
    }

    fn check(&self) -> Result<(), String> {
        disk::probe::check(self.cores).map_err(|error| error.to_string())?;
        let files = crate::sys::raise_files_max();
        let needed = self.conns as u64 + FILES_RESERVED;
        if files < needed {
            return Err(format!(
                "{} connections need {needed} open files and this process may have {files}: raise \
                 the limit with `ulimit -Hn {needed}` as root, or LimitNOFILE in a systemd unit",
                self.conns
            ));
        }
        Ok(())
    }

    fn spawn(
        &self,
        core: usize,
        cores: usize,
        shared: Arc<Shared>,
        job: Arc<Job>,
        bring: mpsc::Sender<Result<Part, String>>,
    ) -> Result<(), String> {
        let crew = self.clone();
        let placement = match self.cpus.get(core % self.cpus.len().max(1)) {
            Some(cpu) => Placement::Fixed(*cpu),
            None => Placement::Unbound,
        };
        let mut builder = LocalExecutorBuilder::new(placement)
            .name(&format!("bench-{core}"))
            .io_memory(IO_MEMORY_BYTES);
        if !self.spin.is_zero() {
            builder = builder.spin_before_park(self.spin);
        }
        let spawned = builder.spawn(move || async move {
            crate::sys::wake_up_exactly();
            let part = crew.work(core, cores, shared.clone(), job).await;
            // Nobody waits for the part of a run that has failed.
            let _ = bring.send(part);
        });
        spawned.map(drop).map_err(|error| format!("cannot start core {core}: {error}"))
    }

    async fn work(
        &self,
        core: usize,
        cores: usize,
        shared: Arc<Shared>,
        job: Arc<Job>,
    ) -> Result<Part, String> {
        let mut seat = Seat {
            core,
            cores,
            clients: Vec::new(),
            clients_all: self.clients,
            shared,
            dialer: Rc::new(Dialer::new(self.dial_patience, self.trust.clone())),
            targets: Arc::new(self.targets.clone()),
            user: self.user.clone(),
            seed: self.seed,
            patience: self.patience,
            late: RefCell::default(),
            meetings: Cell::new(0),
        };
        let numbers: Vec<usize> = (core..self.conns).step_by(cores).collect();
        let links = seat.dial(&seat.dialer, &numbers).await?;
        let mine = (0..self.clients).filter(|number| number % self.conns % cores == core);
        seat.clients = mine
            .map(|number| Client { number, link: links[number % self.conns / cores].clone() })
            .collect();
        let seat = Rc::new(seat);
        // Each asking starts these statistics over.
        let _ = glommio::executor().executor_stats();
        let begun = Instant::now();
        let counted = job(seat.clone()).await?;
        let worked = glommio::executor().executor_stats().total_runtime();
        let permille = worked.as_micros() * 1000 / begun.elapsed().as_micros().max(1);
        let late = seat.late.borrow().clone();
        let busy_permille = u32::try_from(permille.min(1000)).expect("at most 1000");
        Ok(Part { core, series: counted.series, notes: counted.notes, late, busy_permille })
    }
}
