//! Owns the run of the member: ports, cores, signals, and the orderly stop.
//! Invariant: clients are served only after the member has published itself, and the process ends
//! well only after the log is sealed.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant as Clock};

use disk::{DataDir, Disk};
use glommio::LocalExecutorBuilder;
use node::leader::Report;
use node::{Founding, Leader, Shard, ShardId};
use settings::Settings;
use sock::{Bound, Hub};

use crate::accept::{self, Clients, Doors};
use crate::birth::{self, Birth};
use crate::config::{self, Identity};
use crate::core::{Core, Shared};
use crate::letter::Letter;
use crate::links::Links;
use crate::mesh::{self, Ends, Mesh};
use crate::news::{self, Story};
use crate::placement;
use crate::ports::{self, Role};
use crate::probe::PROBE_EVERY;
use crate::seat;
use crate::versions;
use crate::vigil::{self, Vigil};
use crate::wake::Bell;

/// Longest pause between two ticks.
const TICK_MAX: Duration = Duration::from_millis(50);
/// Shortest pause between two ticks.
const TICK_MIN: Duration = Duration::from_micros(500);
/// One step of a look for mail.
const LOOK_STEP: Duration = Duration::from_micros(1);
/// Registered memory of one executor's rings.
const IO_MEMORY_BYTES: usize = 1 << 20;
/// How long an orderly stop may take before the process ends anyway.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// How long open calls may take to end after the stop has begun.
const CLIENTS_WAIT: Duration = Duration::from_millis(500);
/// From the news that this member was removed to the end of the process.
const LEAVE_WAIT: Duration = Duration::from_millis(500);

/// How the run ended well.
pub enum Ended {
    /// By this signal.
    Signal(i32),
}

/// What a core thread takes along.
struct Seed {
    settings: Settings,
    who: Identity,
    data: Option<CoreZero>,
    ends: Ends<Letter>,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    seed: u64,
}

/// What only core 0 has.
struct CoreZero {
    bounds: Vec<(Role, Bound)>,
    log_segments: Vec<u64>,
    founding: Founding,
    stopped: mpsc::Sender<()>,
}

/// Runs until a signal.
pub fn run(settings: &Settings) -> Result<Ended, String> {
    let shards = settings.cores.count;
    disk::probe::check(usize::from(shards)).map_err(|error| error.to_string())?;
    let wal_dir = settings.wal_dir.as_deref().map(Path::new);
    let dir = Arc::new(
        DataDir::open(Path::new(&settings.data_dir), wal_dir).map_err(|error| error.to_string())?,
    );
    let Birth { who, founding } = birth::of(settings, &dir, shards)?;
    let bounds = ports::bind(settings)?;
    let segments = dir.log_segments().map_err(|error| error.to_string())?;
    let (stopped, has_stopped) = mpsc::channel();
    let mut zero = Some(CoreZero {
        bounds,
        log_segments: segments.iter().map(|(number, _)| *number).collect(),
        founding,
        stopped,
    });
    news::starting(settings, who);
    let stop = Arc::new(AtomicBool::new(false));
    let shared = Arc::new(Shared {
        start: Clock::now(),
        cores: usize::from(shards),
        detail: settings.metrics,
        gates: settings.gates.clone(),
        cluster_id: who.cluster_id,
        access: settings.access.clone(),
        versions: versions::Board::default(),
        boards: (0..shards).map(|_| placement::Board::default()).collect(),
    });
    for (core, ends) in mesh::build::<Letter>(usize::from(shards)).into_iter().enumerate() {
        let seed = Seed {
            settings: settings.clone(),
            who,
            data: zero.take(),
            ends,
            shared: shared.clone(),
            stop: stop.clone(),
            seed: dice(),
        };
        spawn(core, seed, dir.clone())?;
    }
    let signal = wait_for_signal()?;
    news::stopping(signal);
    stop.store(true, Ordering::SeqCst);
    // Past the limit the log is whole all the same: it only lacks its seal.
    let _ = has_stopped.recv_timeout(STOP_WAIT);
    ports::remove_files(settings);
    news::stopped();
    Ok(Ended::Signal(signal))
}

/// Dice for this life of the process.
fn dice() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

fn wait_for_signal() -> Result<i32, String> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    Ok(signals.forever().next().expect("the iterator never ends"))
}

fn spawn(core: usize, seed: Seed, dir: Arc<DataDir>) -> Result<(), String> {
    LocalExecutorBuilder::new(seat::of(&seed.settings.cores, core))
        .name(&format!("core-{core}"))
        .io_memory(IO_MEMORY_BYTES)
        .spawn(move || async move { run_core(core, seed, dir).await })
        .map(|_| ())
        .map_err(|error| format!("cannot start core {core}: {error}"))
}

async fn run_core(number: usize, seed: Seed, dir: Arc<DataDir>) {
    let bell = Rc::new(Bell::default());
    let ring = bell.clone();
    let started = Disk::start(dir, Rc::new(move || ring.ring())).await;
    let disk = match started {
        Ok(disk) => disk,
        Err(error) => {
            return news::broken(&format!("the data directory cannot be used: {error:?}"));
        }
    };
    let hub = Hub::new(config::network(&seed.settings));
    let id = ShardId(u16::try_from(number).expect("cores are counted in u16"));
    let shard = Shard::new(config::shard(&seed.settings, seed.who, id, seed.seed));
    let now = base::Instant(seed.shared.start.elapsed().as_nanos() as u64);
    let serving = Rc::new(Bell::default());
    let story = Rc::new(Story::new(seed.settings.clone(), seed.who));
    let (leader, bounds, report): (_, _, Box<dyn Fn(Report)>) = match seed.data {
        None => (None, Vec::new(), Box::new(|_| {})),
        Some(zero) => {
            let (segments, dice) = (zero.log_segments, seed.seed ^ 1);
            let told = config::leader(&seed.settings, seed.who, zero.founding, segments, dice);
            let shared = seed.shared.clone();
            let report = reporter(story.clone(), serving.clone(), shared, zero.stopped);
            (Some(Leader::new(now, told)), zero.bounds, report)
        }
    };
    let core = Rc::new(Core::new(
        id,
        shard,
        leader,
        disk,
        hub.clone(),
        bell.clone(),
        seed.shared.clone(),
        report,
    ));
    let clients = Rc::new(Clients::new(&core));
    let ring = bell.clone();
    let adopting = clients.clone();
    let adopt = move |role, parcel| adopting.adopt(role, parcel);
    core.set_mesh(Mesh::connect(seed.ends, Rc::new(move || ring.ring())), Box::new(adopt));
    let transport = (number == 0).then(|| {
        let links = Links::new(&core, &seed.settings, seed.who, seed.seed ^ 2);
        let transport = links.transport();
        core.set_links(links);
        transport
    });
    let cores = &seed.settings.cores;
    let vigil = Vigil::new(usize::from(cores.count), seat::processors(cores));
    glommio::spawn_local(turns(core.clone(), bell, vigil)).detach();
    if number == 0 {
        glommio::spawn_local(probe_peers(core.clone())).detach();
    }
    if let Some(transport) = transport {
        let clients = clients.clone();
        let doors = Doors { core: core.clone(), clients, bounds, serving, transport };
        glommio::spawn_local(accept::open(doors)).detach();
    }
    tick(&core, &seed.stop).await;
    if number == 0 {
        story.leaving(core.peers());
    }
    core.stop();
    glommio::spawn_local(async move { clients.all().stop(CLIENTS_WAIT).await }).detach();
    // The main thread ends the process; until then leadership is handed over and the log sealed.
    tick(&core, &AtomicBool::new(false)).await;
}

/// What is done about the leader's reports.
fn reporter(
    story: Rc<Story>,
    serving: Rc<Bell>,
    shared: Arc<Shared>,
    stopped: mpsc::Sender<()>,
) -> Box<dyn Fn(Report)> {
    Box::new(move |report: Report| {
        if !story.report(&report) {
            return;
        }
        match report {
            Report::Version(news) => shared.versions.note(&news),
            Report::Serving => serving.ring(),
            Report::Stopped => drop(stopped.send(())),
            Report::Removed => leave(),
            Report::Initialized { .. }
            | Report::Forced { .. }
            | Report::NotForced { .. }
            | Report::Role { .. }
            | Report::Checkpointed { .. }
            | Report::Compacted { .. }
            | Report::NoSpace
            | Report::Check(_)
            | Report::Alarm { .. }
            | Report::DiskStuck { .. }
            | Report::Broken { .. } => {}
        }
    })
}

/// Ends the process well, once answers and last words to peers had time to leave.
fn leave() {
    glommio::spawn_local(async {
        glommio::timer::sleep(LEAVE_WAIT).await;
        journal::exit(0);
    })
    .detach();
}

async fn turns(core: Rc<Core>, bell: Rc<Bell>, vigil: Option<Vigil>) {
    loop {
        core.turn();
        if core.busy() {
            // More to apply or to read than one turn allows: others first, then on.
            futures_lite::future::yield_now().await;
            continue;
        }
        if let Some(vigil) = &vigil
            && core.takes_occasion()
            && vigil.is_worth()
        {
            look(&core, &bell, vigil).await;
        }
        bell.wait().await;
    }
}

/// Waits awake for mail, while everybody else on this core goes on.
async fn look(core: &Core, bell: &Bell, vigil: &Vigil) {
    let begun = Clock::now();
    while !bell.is_rung() {
        // Over the runtime's loop, which looks at its rings.
        glommio::timer::sleep(LOOK_STEP).await;
        if core.has_mail() {
            vigil.paid();
            return bell.ring();
        }
        if vigil::LOOK <= begun.elapsed() {
            return vigil.was_in_vain();
        }
    }
}

async fn probe_peers(core: Rc<Core>) {
    loop {
        glommio::timer::sleep(PROBE_EVERY).await;
        core.probe_peers();
    }
}

/// The core's clock, until told to stop.
async fn tick(core: &Core, stop: &AtomicBool) {
    let mut shown = Clock::now();
    while !stop.load(Ordering::Relaxed) {
        core.sleep(TICK_MIN, TICK_MAX).await;
        core.tick();
        let passed = shown.elapsed();
        if passed >= TICK_MAX {
            shown += passed;
            let worked = glommio::executor().executor_stats().total_runtime();
            core.show_load(placement::busy_permille(worked, passed));
        }
    }
}
