//! Owns a whole run: lives one after another on one disk, crashes and damage between them.
//! Invariant: the same seed and planted bug give the same run, to the last byte.

use std::fmt;
use std::time::Duration;

use base::{Instant, Prng};
use bytes::Bytes;
use node::leader::LEARNER_READY_PERCENT;
use node::leader::checkpoint::CheckpointPolicy;
use node::leader::checks::CheckPolicy;
use node::manifest::Manifest;
use node::{LogPolicy, Reconfig, Restart};
use wal::Geometry;

use crate::disk::{Damage, Disk, Spot};
use crate::harm;
use crate::life::{Life, Stop};
use crate::member::{End, Failed, Member, Start};
use crate::ops::Source;
use crate::oracle::Oracle;
use crate::plan::{Ending, Fault, Pace, Planted, Shape};
use crate::setup::{OLDEST, SERVER, Setup, founded_by};
use crate::trace::Trace;

/// Who the member is, in every run.
const CLUSTER: u64 = 0xc1;
const MEMBER: u64 = 0x3e;
/// A member that was told of a failure says so within this time.
const NOTICE: Duration = Duration::from_secs(1);

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Fingerprint of everything.
    pub hash: u64,
    /// Times that the power went.
    pub crashes: u64,
    /// Of these, while the member was starting.
    pub crashes_at_start: u64,
    /// Times that the member said that it cannot go on, with good reason.
    pub broken: u64,
    /// Bits flipped and writes misdirected.
    pub damaged: u64,
    /// Changes that were acknowledged.
    pub acknowledged: u64,
    /// Revisions read back and explained.
    pub revisions: u64,
    /// Generation of the last manifest.
    pub checkpoints: u64,
    /// Number of the last log segment.
    pub segments: u64,
}

/// A law was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// By this seed.
    pub seed: u64,
    /// In this life, from 0.
    pub life: u32,
    /// What.
    pub what: String,
    /// What the life was about.
    pub plan: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} life {}: {}\n  {}", self.seed, self.life, self.what, self.plan)
    }
}

/// The run under way.
struct Run {
    dice: Prng,
    shape: Shape,
    disk: Disk,
    trace: Trace,
    oracle: Oracle,
    source: Source,
    next_call: u64,
    planted: Planted,
    damage: Vec<Damage>,
    summary: Summary,
    plan: String,
}

/// Runs a seed to its end.
pub fn run(seed: u64, planted: Planted) -> Result<Summary, Failure> {
    let mut dice = Prng::from_seed(seed);
    let shape = Shape::draw(&mut dice);
    let mut run = Run {
        source: Source::new(&shape),
        dice,
        shape,
        disk: Disk::default(),
        trace: Trace::new(),
        oracle: Oracle::new(),
        next_call: 0,
        planted,
        damage: Vec::new(),
        summary: Summary::default(),
        plan: String::new(),
    };
    for life in 0..run.shape.lives {
        run.live(life).map_err(|what| Failure { seed, life, what, plan: run.plan.clone() })?;
    }
    run.summary.hash = run.trace.value();
    run.summary.acknowledged = run.oracle.acknowledged;
    run.summary.segments = run.disk.log_segments().last().copied().unwrap_or(0);
    Ok(run.summary)
}

impl Run {
    /// One life, its crash, and if damage stopped it, the repair.
    fn live(&mut self, life: u32) -> Result<(), String> {
        let last = life + 1 == self.shape.lives;
        // The last life sees no harm, so that everything is judged in the end.
        let (ending, fault) = match last {
            true => (Ending::Orderly, Fault::None),
            false => (Ending::draw(&mut self.dice), Fault::draw(&mut self.dice, life)),
        };
        if matches!(fault, Fault::Flip) {
            self.flip();
        }
        let (end, failed) = self.live_once(ending, fault)?;
        match end {
            End::Crash => Ok(()),
            End::Broken(what) if self.damage.is_empty() && failed.is_none() => {
                Err(format!("broken without a cause: {what}"))
            }
            End::Broken(_) => {
                self.summary.broken += 1;
                for damage in std::mem::take(&mut self.damage) {
                    self.disk.repair(&damage);
                }
                Ok(())
            }
        }
    }

    /// How the life ended, and the request that failed in it.
    fn live_once(&mut self, ending: Ending, fault: Fault) -> Result<(End, Option<Failed>), String> {
        let known = self.known();
        let mut dice = Prng::from_seed(self.dice.next_u64());
        let partition = self.shape.partition(&mut dice);
        let pace = Pace::draw(&mut dice);
        self.plan = format!("{:?} {partition:?} {pace:?} {ending:?} {fault:?}", self.shape);
        if let Some(manifest) = &known {
            assert_eq!(manifest.roots.len(), usize::from(partition.slices) + 1);
        }
        let setup = Setup {
            cluster: CLUSTER,
            member: MEMBER,
            founding: founded_by(&[MEMBER]),
            reconfig: Reconfig::Strict,
            learner_ready_percent: LEARNER_READY_PERCENT,
            restart: Restart::WithCluster,
            partition,
            cache_bytes: self.shape.cache_bytes,
            checkpoint: CheckpointPolicy {
                interval: self.shape.checkpoint_interval,
                log_bytes: self.shape.checkpoint_log_bytes,
            },
            watch_reply_bytes: 2 << 20,
            watch_stream_bytes: 1 << 20,
            progress_interval: Duration::from_secs(600),
            request_timeout: Duration::from_secs(7),
            window_bytes: 1 << 20,
            log: LogPolicy::STANDARD,
            server: SERVER,
            oldest: OLDEST,
            checks: CheckPolicy::OFF,
        };
        let start = Start {
            began: Instant(1),
            leader: setup.leader(dice.next_u64(), self.disk.log_segments()),
            shards: setup.shards(),
            pace,
            ending,
            fault,
            planted: self.planted,
            dice: Prng::from_seed(dice.next_u64()),
        };
        let member = Member::start(std::mem::take(&mut self.disk), self.trace, start);
        let before = self.oracle.base();
        let mut life = Life::new(member, &mut self.oracle, dice, &mut self.next_call);
        let ended = story(&mut life, &self.shape, &mut self.source, ending);
        let (served, failed, now) = (life.serving, life.member.failed(), life.now());
        let (disk, trace) = life.member.into_disk();
        (self.disk, self.trace) = (disk, trace);
        self.summary.revisions += (self.oracle.base() - before) as u64;
        let end = match ended {
            Err(Stop::Wrong(what)) => return Err(what),
            Err(Stop::Ended(end)) => end,
            Ok(()) => End::Crash,
        };
        self.summary.crashes += 1;
        self.summary.crashes_at_start += u64::from(!served);
        let ignored = failed.filter(|failed| {
            let is_late = failed.at + NOTICE < now;
            end == End::Crash && is_late && Fault::is_fatal(failed.kind, failed.error)
        });
        if let Some(Failed { kind, error, .. }) = ignored {
            return Err(format!("{kind:?} failed ({error:?}), and the member went on"));
        }
        self.lose_power(fault);
        self.summary.checkpoints = self.known().map_or(0, |manifest| manifest.generation);
        Ok((end, failed))
    }

    fn lose_power(&mut self, fault: Fault) {
        let misdirect = matches!(fault, Fault::Misdirected).then(|| self.disk.writes_in_flight());
        self.disk.crash(&mut self.dice);
        if let Some(writes) = misdirect {
            self.misdirect(writes);
        }
    }

    fn known(&self) -> Option<Manifest> {
        harm::known(&self.disk)
    }

    /// Flips a bit of what is durable, where a flip can be told from a crash.
    fn flip(&mut self) {
        if let Some(damage) = harm::flip(&mut self.disk, Geometry::STANDARD, &mut self.dice) {
            self.summary.damaged += 1;
            self.damage.push(damage);
        }
    }

    /// A write in flight at the crash went to another block of its file as well.
    fn misdirect(&mut self, writes: Vec<(Spot, Bytes)>) {
        if writes.is_empty() {
            return;
        }
        let (from, bytes) = self.dice.pick(&writes).clone();
        let same: Vec<Spot> = harm::judgeable(&self.disk, Geometry::STANDARD)
            .into_iter()
            .filter(|spot| spot.file == from.file)
            .collect();
        if !same.is_empty() {
            let spot = *self.dice.pick(&same);
            self.harm(spot, bytes);
        }
    }

    fn harm(&mut self, spot: Spot, bytes: Bytes) {
        self.summary.damaged += 1;
        let damage = self.disk.damage(spot, bytes);
        self.damage.push(damage);
    }
}

/// What happens in a life until something ends it.
fn story(life: &mut Life, shape: &Shape, source: &mut Source, ending: Ending) -> Result<(), Stop> {
    life.wait("the member to serve", |life| life.serving)?;
    life.verify()?;
    let stretches = 1 + life.dice.below(4);
    for _ in 0..stretches {
        life.load(shape, source)?;
        if life.dice.chance(500) {
            life.quiet()?;
            life.verify()?;
        }
    }
    if ending == Ending::Orderly {
        life.stopping = true;
        life.member.stop();
        return life.wait("the orderly stop", |life| life.stopped);
    }
    // The power goes anyway, in the middle of what is left.
    let until = life.now() + Duration::from_millis(life.dice.below(300));
    while life.now() < until {
        life.step()?;
    }
    Ok(())
}
