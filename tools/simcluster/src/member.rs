//! Owns one member of the cluster over all its lives: its disk, its clock, and the mail that waits
//! while its process stands still.
//! Never talks to other members. Invariant: a member that is down has no clock and no mail.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use base::{Instant, Prng};
use node::leader::checkpoint::CheckpointPolicy;
use node::shard::Partition;
use node::{LeaderEvent, ShardEvent, ShardId};
use ringleader_sim::Planted;
use ringleader_sim::disk::Disk;
use ringleader_sim::member::{End, Member as Life, Said, Start};
use ringleader_sim::plan::{Ending, Fault};
use ringleader_sim::setup::{OLDEST, SERVER, Setup};
use ringleader_sim::trace::Trace;
use wire::peer::Version;

use crate::clock::Clock;
use crate::plan::{Shape, pace};

/// The cluster's id, in every run.
pub const CLUSTER: u64 = 0xc1;
/// How long a member works on a request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What reaches a process from outside.
#[derive(Debug)]
pub enum Mail {
    /// From the transport between members.
    Peer(LeaderEvent),
    /// From a client's connection.
    Client(ShardId, ShardEvent),
}

/// One member.
pub struct Member {
    /// Its id.
    pub id: u64,
    founders: Vec<u64>,
    slices: u16,
    disk: Disk,
    trace: Trace,
    life: Option<Alive>,
    /// The bug that it has from its next life on.
    pub planted: Planted,
    /// The version of its server in its next life.
    pub server: Version,
    /// The oldest version that this works with.
    pub oldest: Version,
    /// Lives so far.
    pub lives: u64,
}

struct Alive {
    life: Life,
    clock: Clock,
    shards: u16,
    peers: BTreeSet<u64>,
    // While the process stands still: what it will find when it goes on.
    still: Option<Vec<Mail>>,
    revision: i64,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {} in life {} ", self.id, self.lives)?;
        match &self.life {
            None => write!(f, "is down"),
            Some(Alive { life, still, revision, .. }) => {
                let serves = if life.is_serving() { "serves" } else { "starts" };
                let still = if still.is_some() { ", stands still" } else { "" };
                write!(f, "{serves}, decided {revision}{still}")
            }
        }
    }
}

impl Member {
    /// A member that was never started.
    pub fn new(id: u64, founders: Vec<u64>, planted: Planted, dice: &mut Prng) -> Member {
        Member {
            id,
            founders,
            slices: 1 + dice.below(2) as u16,
            disk: Disk::default(),
            trace: Trace::new(),
            life: None,
            planted,
            server: SERVER,
            oldest: OLDEST,
            lives: 0,
        }
    }

    /// Begins a life on what the last one left.
    pub fn start(&mut self, now: Instant, shape: &Shape, ending: Ending, dice: &mut Prng) {
        assert!(self.life.is_none(), "member {} is up", self.id);
        let clock = Clock::draw(now, shape.drift, dice);
        let shards = 1 + dice.below(2) as u16;
        let setup = Setup {
            cluster: CLUSTER,
            member: self.id,
            founders: self.founders.clone(),
            partition: Partition::new(self.slices, shards),
            cache_bytes: shape.cache_bytes,
            checkpoint: CheckpointPolicy {
                interval: shape.checkpoint_interval,
                log_bytes: shape.checkpoint_log_bytes,
            },
            watch_stream_bytes: shape.watch_stream_bytes,
            request_timeout: REQUEST_TIMEOUT,
            // Whoever is away for long needs the whole store.
            window_bytes: *dice.pick(&[512, 4 << 10, 1 << 20]),
            server: self.server,
            oldest: self.oldest,
            checks: shape.checks,
        };
        let start = Start {
            began: clock.began(),
            leader: setup.leader(dice.next_u64(), self.disk.log_segments()),
            shards: setup.shards(),
            pace: pace(dice),
            ending,
            fault: Fault::None,
            planted: self.planted,
            dice: Prng::from_seed(dice.next_u64()),
        };
        self.lives += 1;
        let life = Life::start(std::mem::take(&mut self.disk), self.trace, start);
        let (peers, still) = (BTreeSet::new(), None);
        self.life = Some(Alive { life, clock, shards, peers, still, revision: 1 });
    }

    /// The power goes: what was not synced is drawn for.
    pub fn crash(&mut self, dice: &mut Prng) {
        let Some(alive) = self.life.take() else { return };
        (self.disk, self.trace) = alive.life.into_disk();
        self.disk.crash(dice);
    }

    /// Its life does not end by itself, whatever it was begun with.
    pub fn endure(&mut self) {
        if let Some(alive) = &mut self.life {
            alive.life.endure();
        }
    }

    /// Whether its process runs, standing still or not.
    pub fn is_up(&self) -> bool {
        self.life.is_some()
    }

    /// Whether it has published itself in this life, and all of it knows.
    pub fn is_serving(&self) -> bool {
        self.life.as_ref().is_some_and(|alive| alive.life.is_serving())
    }

    /// It decided everything up to here.
    pub fn decided(&mut self, revision: i64) {
        self.life.as_mut().expect("it is up").revision = revision;
    }

    /// The last revision that it decided, or found in its store when it started.
    pub fn revision(&self) -> i64 {
        self.life.as_ref().map_or(0, |alive| alive.revision)
    }

    /// Whether its process stands still.
    pub fn is_still(&self) -> bool {
        self.life.as_ref().is_some_and(|alive| alive.still.is_some())
    }

    /// Some shard of its.
    pub fn any_shard(&self, dice: &mut Prng) -> ShardId {
        let alive = self.life.as_ref().expect("it is up");
        ShardId(dice.below(u64::from(alive.shards)) as u16)
    }

    /// When the next thing happens in it by itself, in the world's time.
    pub fn next_at(&self) -> Option<Instant> {
        let alive = self.life.as_ref().filter(|alive| alive.still.is_none())?;
        Some(alive.clock.when(alive.life.next_at()))
    }

    /// Lets that happen. What it said is heard even if the life ends with it.
    pub fn step(&mut self) -> (Said, Result<(), End>) {
        let alive = self.life.as_mut().expect("something is due");
        let stepped = alive.life.step();
        let said = std::mem::take(&mut alive.life.said);
        if let Some(peers) = &said.peers {
            alive.peers = peers.iter().map(|peer| peer.id).collect();
        }
        (said, stepped)
    }

    /// Whether it wants to be connected with this member.
    pub fn knows(&self, peer: u64) -> bool {
        self.life.as_ref().is_some_and(|alive| alive.peers.contains(&peer))
    }

    /// Something reaches the process. Nothing does if it is down.
    pub fn deliver(&mut self, now: Instant, mail: Mail) {
        let Some(alive) = &mut self.life else { return };
        match &mut alive.still {
            Some(waiting) => waiting.push(mail),
            None => {
                alive.life.skip_to(alive.clock.shows(now));
                hand_in(&mut alive.life, mail);
            }
        }
    }

    /// The process stands still.
    pub fn pause(&mut self) {
        if let Some(alive) = &mut self.life {
            alive.still.get_or_insert_default();
        }
    }

    /// It goes on.
    pub fn go_on(&mut self, now: Instant) {
        let Some(alive) = &mut self.life else { return };
        let Some(waiting) = alive.still.take() else { return };
        alive.life.skip_to(alive.clock.shows(now));
        waiting.into_iter().for_each(|mail| hand_in(&mut alive.life, mail));
    }

    /// The fingerprint of all lives.
    pub fn trace(&self) -> u64 {
        self.life.as_ref().map_or(self.trace, |alive| alive.life.trace).value()
    }
}

fn hand_in(life: &mut Life, mail: Mail) {
    match mail {
        Mail::Peer(event) => life.peer(event),
        Mail::Client(shard, event) => life.event(shard, event),
    }
}
