//! Owns one member of the cluster over all its lives: its disk, its clock, and the mail that waits
//! while its process stands still.
//! Never talks to other members. Invariant: a member that is down has no clock and no mail.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use base::{Instant, Prng};
use node::leader::LEARNER_READY_PERCENT;
use node::leader::checkpoint::CheckpointPolicy;
use node::shard::Partition;
use node::{Founding, LeaderEvent, LogPolicy, Reconfig, Restart, ShardEvent, ShardId};
use ringleader_sim::Planted;
use ringleader_sim::disk::Disk;
use ringleader_sim::member::{End, Failed, Member as Life, Said, Start};
use ringleader_sim::plan::{Ending, Fault};
use ringleader_sim::setup::{OLDEST, SERVER, Setup};
use ringleader_sim::trace::Trace;
use wal::Geometry;
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
    /// The signal to stop in order.
    Stop,
}

/// What became of a member for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is a machine in use, up or down.
    InUse,
    /// It said that it was removed, and its process ended.
    Removed,
    /// Its disk was emptied, and nobody starts it again.
    Wiped,
}

/// One member.
pub struct Member {
    /// Its id.
    pub id: u64,
    /// What became of it.
    pub fate: Fate,
    /// Where it listens to its peers.
    pub address: String,
    founding: Founding,
    /// How it goes on in its next lives.
    pub restart: Restart,
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
    segment_bytes: u64,
    /// Lives so far.
    pub lives: u64,
    /// Old entries that it read for others, in all lives but this one.
    fetched: u64,
    /// Whole stores that it sent, likewise.
    stores: u64,
}

struct Alive {
    life: Life,
    clock: Clock,
    shards: u16,
    // By id, with the addresses where this member looks for them.
    peers: BTreeMap<u64, Vec<String>>,
    removed: BTreeSet<u64>,
    // Its own data has told who its peers are.
    introduced: bool,
    // While the process stands still: what it will find when it goes on.
    still: Option<Vec<Mail>>,
    revision: i64,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {} at {} in life {} ", self.id, self.address, self.lives)?;
        match &self.life {
            None if self.fate != Fate::InUse => write!(f, "is gone: {:?}", self.fate),
            None => write!(f, "is down"),
            Some(Alive { life, still, revision, peers, .. }) => {
                let serves = if life.is_serving() { "serves" } else { "starts" };
                let still = if still.is_some() { ", stands still" } else { "" };
                write!(f, "{serves}, decided {revision}{still}, knows {peers:?}")
            }
        }
    }
}

impl Member {
    /// A member that was never started.
    pub fn new(
        id: u64,
        address: String,
        founding: Founding,
        planted: Planted,
        dice: &mut Prng,
    ) -> Member {
        Member {
            id,
            fate: Fate::InUse,
            address,
            founding,
            restart: Restart::WithCluster,
            slices: 1 + dice.below(2) as u16,
            disk: Disk::default(),
            trace: Trace::new(),
            life: None,
            planted,
            segment_bytes: *dice.pick(&[128 << 10, 256 << 10, 64 << 20]),
            server: SERVER,
            oldest: OLDEST,
            lives: 0,
            fetched: 0,
            stores: 0,
        }
    }

    /// Begins a life on what the last one left.
    pub fn start(
        &mut self,
        now: Instant,
        shape: &Shape,
        (ending, fault): (Ending, Fault),
        dice: &mut Prng,
    ) {
        assert!(self.life.is_none(), "member {} is up", self.id);
        assert!(self.fate != Fate::Wiped, "member {} has no disk", self.id);
        let clock = Clock::draw(now, shape.drift, dice);
        let shards = 1 + dice.below(2) as u16;
        let segments_kept = *dice.pick(&[0, 1, 5]);
        let setup = Setup {
            cluster: CLUSTER,
            member: self.id,
            founding: self.founding.clone(),
            reconfig: match self.planted == Planted::AddBlindly {
                true => Reconfig::Lenient,
                false => shape.reconfig,
            },
            learner_ready_percent: match self.planted == Planted::PromoteBlindly {
                true => 0,
                false => LEARNER_READY_PERCENT,
            },
            restart: self.restart,
            partition: Partition::new(self.slices, shards),
            cache_bytes: shape.cache_bytes,
            checkpoint: CheckpointPolicy {
                interval: shape.checkpoint_interval,
                log_bytes: shape.checkpoint_log_bytes,
            },
            watch_reply_bytes: shape.watch_reply_bytes,
            watch_stream_bytes: shape.watch_stream_bytes,
            progress_interval: shape.progress_interval,
            request_timeout: REQUEST_TIMEOUT,
            // Whoever is away for long needs old entries, or the whole store.
            window_bytes: *dice.pick(&[512, 4 << 10, 1 << 20]),
            log: LogPolicy {
                segment_bytes: self.segment_bytes,
                segments_kept,
                segments_kept_max: segments_kept + *dice.pick(&[0, 5]),
            },
            server: self.server,
            oldest: self.oldest,
            checks: shape.checks,
        };
        let start = Start {
            began: clock.began(),
            leader: setup.leader(dice.next_u64(), self.disk.log_segments()),
            shards: setup.shards(),
            pace: pace(shape, dice),
            ending,
            fault,
            planted: self.planted,
            dice: Prng::from_seed(dice.next_u64()),
        };
        self.lives += 1;
        let life = Life::start(std::mem::take(&mut self.disk), self.trace, start);
        let (peers, removed, still) = (BTreeMap::new(), BTreeSet::new(), None);
        self.life = Some(Alive {
            life,
            clock,
            shards,
            peers,
            removed,
            introduced: false,
            still,
            revision: 1,
        });
    }

    /// The power goes: what was not synced is drawn for.
    pub fn crash(&mut self, dice: &mut Prng) {
        let Some(alive) = self.life.take() else { return };
        let counts = alive.life.counts();
        self.fetched += counts.entries_fetched;
        self.stores += counts.stores_sent;
        (self.disk, self.trace) = alive.life.into_disk();
        self.disk.crash(dice);
    }

    /// Old entries that it read for others, and whole stores that it sent them, in all lives.
    pub fn served(&self) -> (u64, u64) {
        let now = self.life.as_ref().map(|alive| alive.life.counts());
        let (fetched, stores) = now.map_or((0, 0), |now| (now.entries_fetched, now.stores_sent));
        (self.fetched + fetched, self.stores + stores)
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
        if let Some((peers, removed)) = &said.connect {
            alive.peers = peers.iter().map(|peer| (peer.id, peer.urls.clone())).collect();
            alive.removed = removed.iter().copied().collect();
            alive.introduced = true;
        }
        (said, stepped)
    }

    /// Whether it wants to be connected with this member.
    pub fn knows(&self, peer: u64) -> bool {
        self.life.as_ref().is_some_and(|alive| alive.peers.contains_key(&peer))
    }

    /// Whether it looks for this member at this address.
    pub fn looks_for(&self, peer: u64, address: &String) -> bool {
        let urls = self.life.as_ref().and_then(|alive| alive.peers.get(&peer));
        urls.is_some_and(|urls| urls.contains(address))
    }

    /// Whether its own data has told who its peers are.
    pub fn is_introduced(&self) -> bool {
        self.life.as_ref().is_some_and(|alive| alive.introduced)
    }

    /// Whom it wants to be connected with.
    pub fn peers(&self) -> Vec<u64> {
        self.life.as_ref().map_or(Vec::new(), |alive| alive.peers.keys().copied().collect())
    }

    /// Whether it tells this member that it was removed.
    pub fn has_removed(&self, peer: u64) -> bool {
        self.life.as_ref().is_some_and(|alive| alive.removed.contains(&peer))
    }

    /// The request of its disk that failed in this life.
    pub fn failed(&self) -> Option<(Failed, Duration)> {
        let alive = self.life.as_ref()?;
        let failed = alive.life.failed()?;
        Some((failed, alive.life.now().since(failed.at)))
    }

    /// The log's disk does nothing for so long.
    pub fn stick(&mut self, time: Duration) {
        if let Some(alive) = &mut self.life {
            alive.life.stick(time);
        }
    }

    /// Its disk is emptied, and it never comes back.
    pub fn wipe(&mut self) {
        assert!(self.life.is_none(), "member {} is up", self.id);
        self.disk = Disk::default();
        self.fate = Fate::Wiped;
    }

    /// What its directory becomes part of, if it is new.
    pub fn founding(&self) -> &Founding {
        &self.founding
    }

    /// How its log is cut.
    pub fn log_geometry(&self) -> Geometry {
        Geometry::of(self.segment_bytes)
    }

    /// Its disk as it is.
    pub fn disk(&self) -> &Disk {
        self.life.as_ref().map_or(&self.disk, |alive| alive.life.disk())
    }

    /// What it will find on its disk when it starts.
    pub fn disk_mut(&mut self) -> &mut Disk {
        assert!(self.life.is_none(), "member {} is up", self.id);
        &mut self.disk
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
        Mail::Stop => life.stop(),
    }
}
