//! Owns a whole run: lives one after another on one disk, crashes and damage between them.
//! Invariant: the same seed and planted bug give the same run, to the last byte.

use std::fmt;
use std::time::Duration;

use base::limits::BLOCK_BYTES;
use base::{FileId, Instant, Prng};
use bytes::{Bytes, BytesMut};
use node::leader::checkpoint::CheckpointPolicy;
use node::leader::checks::CheckPolicy;
use node::manifest::{Manifest, SLOT_BYTES};
use wal::{Geometry, Header, Position};

use crate::disk::{Damage, Disk, Spot};
use crate::life::{Life, Stop};
use crate::member::{End, Failed, Member, Start};
use crate::ops::Source;
use crate::oracle::Oracle;
use crate::plan::{Ending, Fault, Pace, Planted, Shape};
use crate::setup::{OLDEST, SERVER, Setup};
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
            founders: vec![MEMBER],
            partition,
            cache_bytes: self.shape.cache_bytes,
            checkpoint: CheckpointPolicy {
                interval: self.shape.checkpoint_interval,
                log_bytes: self.shape.checkpoint_log_bytes,
            },
            watch_stream_bytes: 1 << 20,
            request_timeout: Duration::from_secs(7),
            window_bytes: 1 << 20,
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
        let misdirect = matches!(fault, Fault::Misdirected).then(|| self.disk.writes_in_flight());
        self.disk.crash(&mut self.dice);
        if let Some(writes) = misdirect {
            self.misdirect(writes);
        }
        self.summary.checkpoints = self.known().map_or(0, |manifest| manifest.generation);
        Ok((end, failed))
    }

    fn known(&self) -> Option<Manifest> {
        Manifest::choose(&self.disk.peek(FileId::Manifest, 2 * SLOT_BYTES)?).ok()
    }

    /// Flips a bit of what is durable, where a flip can be told from a crash.
    fn flip(&mut self) {
        let spots = self.judgeable();
        if spots.is_empty() {
            return;
        }
        let spot = *self.dice.pick(&spots);
        let mut bytes = BytesMut::from(&self.disk.solid(spot).expect("it is solid")[..]);
        let at = self.dice.below(BLOCK_BYTES as u64) as usize;
        bytes[at] ^= 1 << self.dice.below(8);
        self.harm(spot, bytes.freeze());
    }

    /// A write in flight at the crash went to another block of its file as well.
    fn misdirect(&mut self, writes: Vec<(Spot, Bytes)>) {
        if writes.is_empty() {
            return;
        }
        let (from, bytes) = self.dice.pick(&writes).clone();
        let same: Vec<Spot> =
            self.judgeable().into_iter().filter(|spot| spot.file == from.file).collect();
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

    /// Durable blocks whose damage cannot be taken for a torn tail: of the log, those that a later
    /// header vouches for.
    fn judgeable(&self) -> Vec<Spot> {
        let promised = self.promised();
        let place = |spot: &Spot| match spot.file {
            FileId::Log(segment) => {
                let end = (spot.block + 1) * BLOCK_BYTES as u64;
                Position(segment * u64::from(Geometry::STANDARD.segment_bytes()) + end) <= promised
            }
            FileId::Manifest | FileId::Tree(_) | FileId::History { .. } => true,
        };
        self.disk.solid_spots().into_iter().filter(place).collect()
    }

    /// The log was durable through here by its own word or the manifest's.
    fn promised(&self) -> Position {
        let mut promised =
            self.known().map_or(Position::START, |known| Position(known.log_position));
        for spot in self.disk.solid_spots() {
            let FileId::Log(segment) = spot.file else { continue };
            let block = self.disk.solid(spot).expect("it is solid");
            let Ok((header, _)) = Header::take(&block) else { continue };
            let offset = u64::from(header.place.offset);
            if header.place.segment == segment && offset == spot.block * BLOCK_BYTES as u64 {
                promised = promised.max(header.synced_through);
            }
        }
        promised
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
