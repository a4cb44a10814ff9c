//! Owns one member made of its pure machines alone: a leader, its shards, a disk in memory, and
//! channels whose letters and disk requests are worked off in an order that the dice choose.
//! Never judges an answer. Invariant: letters between two cores arrive in order, as in the daemon.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base::{Instant, IoRequest, OpId, Prng, SliceId};
use bytes::{Bytes, BytesMut};
use node::leader::checkpoint::CheckpointPolicy;
use node::leader::checks::CheckPolicy;
use node::leader::compactor::Retention;
use node::shard::{CallMeta, Caller, LeaderNeed, Partition};
use node::{
    CallId, Founding, Leader, LeaderConfig, LeaderEffect, LeaderEvent, LogPolicy, Reconfig, Report,
    Restart, Shard, ShardConfig, ShardEffect, ShardEvent, ShardId, ToLeader, ToShard,
};
use state::{Member as ClusterMember, MemberRole};
use wire::peer::Version;
use wire::{Method, Status};

use crate::disk::MemoryDisk;
use crate::rpc::Ids;

/// One Raft tick.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// Raft ticks until a member of one must serve.
const START_TICKS_MAX: u32 = 50;

/// The server's version.
const SERVER: Version = Version { major: 3, minor: 7, patch: 0 };

/// Who the member is.
pub const IDS: Ids = Ids { cluster: 7, member: 11 };

/// How a member is made.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How keys are dealt.
    pub partition: Partition,
    /// A checkpoint begins after so many bytes of log.
    pub checkpoint_log_bytes: u64,
}

/// What a client hears.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The reply of a unary call.
    Reply(Bytes),
    /// A message of a stream.
    Message(Bytes),
    /// The call ended with an error.
    Failed(Status),
    /// The stream ended well.
    Finished,
}

struct Begun {
    bytes: BytesMut,
    whole: usize,
}

enum Letter {
    ToLeader(ToLeader),
    ToShard(ToShard),
}

enum Owner {
    Leader,
    Slice(ShardId, SliceId),
}

struct Pending {
    owner: Owner,
    op: OpId,
    request: IoRequest,
}

/// The member.
pub struct Member {
    shape: Shape,
    now: Instant,
    dice: Prng,
    disk: MemoryDisk,
    leader: Leader,
    shards: Vec<Shard>,
    letters: BTreeMap<(u16, u16), VecDeque<Letter>>,
    pending: Vec<Pending>,
    heard: VecDeque<(CallId, Heard)>,
    /// Replies that come in parts.
    begun: BTreeMap<CallId, Begun>,
    /// Calls whose client stops reading, after so many bytes more.
    slow: BTreeMap<CallId, usize>,
    next_call: u64,
    serving: bool,
    broken: Option<String>,
    checkpoints: u64,
}

impl Member {
    /// A member with an empty data directory, ready to serve.
    pub fn new(shape: Shape, seed: u64) -> Member {
        let member = Member::boot(shape, MemoryDisk::default(), seed);
        member.unwrap_or_else(|what| panic!("nothing can be wrong with an empty disk: {what}"))
    }

    /// A member that starts on this disk, or what it says is wrong with it.
    pub fn boot(shape: Shape, disk: MemoryDisk, seed: u64) -> Result<Member, String> {
        let mut dice = Prng::from_seed(seed);
        let now = Instant(1);
        let (leader, shards) = machines(shape, now, dice.next_u64(), &disk);
        let mut member = Member {
            shape,
            now,
            dice,
            disk,
            leader,
            shards,
            letters: BTreeMap::new(),
            pending: Vec::new(),
            heard: VecDeque::new(),
            begun: BTreeMap::new(),
            slow: BTreeMap::new(),
            next_call: 0,
            serving: false,
            broken: None,
            checkpoints: 0,
        };
        member.start();
        match member.broken.take() {
            Some(what) => Err(what),
            None => Ok(member),
        }
    }

    /// What the member says is wrong with its disk; it has stopped then.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// The disk as it is now.
    pub fn disk(&self) -> &MemoryDisk {
        &self.disk
    }

    /// Ends the process without a word and starts it again on the same disk. Of the disk requests
    /// under way each is done or not, as the dice fall.
    pub fn crash(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            if self.dice.chance(500) {
                self.disk.perform(pending.request);
            }
        }
        self.letters.clear();
        self.heard.clear();
        self.begun.clear();
        self.slow.clear();
        self.serving = false;
        let seed = self.dice.next_u64();
        (self.leader, self.shards) = machines(self.shape, self.now, seed, &self.disk);
        self.start();
        assert_eq!(self.broken, None, "a crash breaks nothing");
    }

    /// Checkpoints that came into force.
    pub fn checkpoints(&self) -> u64 {
        self.checkpoints
    }

    /// Some shard.
    pub fn any_shard(&mut self) -> ShardId {
        ShardId(self.dice.below(u64::from(self.shape.partition.shards)) as u16)
    }

    /// Gives a unary call to a shard; nothing is worked off yet.
    pub fn unary(&mut self, shard: ShardId, method: Method, message: Bytes) -> CallId {
        let call = self.name_call();
        let meta = CallMeta { leader: LeaderNeed::Any, caller: Caller::Client };
        self.event(shard, ShardEvent::Unary { call, method, meta, message });
        call
    }

    /// Opens a stream.
    pub fn open(&mut self, shard: ShardId, method: Method) -> CallId {
        let call = self.name_call();
        let meta = CallMeta { leader: LeaderNeed::Any, caller: Caller::Client };
        self.event(shard, ShardEvent::Open { call, method, meta });
        call
    }

    /// Gives a shard what a client's connection tells.
    pub fn event(&mut self, shard: ShardId, event: ShardEvent) {
        self.shards[usize::from(shard.0)].handle(self.now, event);
    }

    /// The next thing that a client hears; works off what is needed for it and no more. `None` once
    /// nothing is left to do.
    pub fn hear(&mut self) -> Option<(CallId, Heard)> {
        while self.heard.is_empty() {
            let any = self.turns();
            // What is under way to other cores stays there: the client may be faster.
            if self.heard.is_empty() && !self.outside() && !any {
                break;
            }
        }
        self.heard.pop_front()
    }

    /// The client of a call stops reading once it has so many bytes, until the call is drained.
    pub fn slow_down(&mut self, call: CallId, after_bytes: usize) {
        self.slow.insert(call, after_bytes);
    }

    /// Has it stopped?
    pub fn is_full(&self, call: CallId) -> bool {
        self.slow.get(&call) == Some(&0)
    }

    /// One turn of every core, then one thing from outside. False if nothing was left to do.
    pub fn step(&mut self) -> bool {
        let any = self.turns();
        self.outside() || any
    }

    /// Pins on the past, of all shards together.
    pub fn pins(&self) -> u64 {
        self.shards.iter().map(|shard| shard.figures().pins).sum()
    }

    /// Works off everything.
    pub fn settle(&mut self) {
        while self.step() {}
    }

    /// Lets a little time pass.
    pub fn tick(&mut self) {
        self.now = self.now + Duration::from_micros(20);
        self.leader.tick(self.now);
        for shard in &mut self.shards {
            shard.tick(self.now);
        }
    }

    /// Lets a Raft tick pass with nothing to do; the log is sealed behind it.
    pub fn rest(&mut self) {
        self.now = self.now + HEARTBEAT;
        self.tick();
        self.settle();
    }

    fn start(&mut self) {
        self.settle();
        for _ in 0..START_TICKS_MAX {
            if self.serving || self.broken.is_some() {
                break;
            }
            self.rest();
        }
        let started = self.serving || self.broken.is_some();
        assert!(started, "a member of one serves soon after its disk has answered");
        self.heard.clear();
    }

    fn name_call(&mut self) -> CallId {
        self.next_call += 1;
        CallId(self.next_call)
    }

    /// One turn of every core. False if none had anything to do.
    fn turns(&mut self) -> bool {
        let mut any = false;
        for core in 0..self.shape.partition.shards {
            any |= self.broken.is_none() && self.turn(core);
        }
        any
    }

    /// One letter arrives or one disk request is done. False if none was under way.
    fn outside(&mut self) -> bool {
        let busy: Vec<(u16, u16)> = self.letters.keys().copied().collect();
        let choices = busy.len() + self.pending.len();
        if choices == 0 || self.broken.is_some() {
            return false;
        }
        match self.dice.below(choices as u64) as usize {
            choice if choice < busy.len() => self.deliver(busy[choice]),
            choice => self.complete(choice - busy.len()),
        }
        true
    }

    fn deliver(&mut self, channel: (u16, u16)) {
        let letters = self.letters.remove(&channel).expect("listed a moment ago");
        for letter in letters {
            match letter {
                Letter::ToLeader(message) => {
                    let event = LeaderEvent::From { shard: ShardId(channel.0), message };
                    self.leader.handle(self.now, event);
                }
                Letter::ToShard(message) => {
                    self.event(ShardId(channel.1), ShardEvent::Told(message));
                }
            }
        }
    }

    fn complete(&mut self, index: usize) {
        let Pending { owner, op, request } = self.pending.swap_remove(index);
        let result = self.disk.perform(request);
        match owner {
            Owner::Leader => self.leader.handle(self.now, LeaderEvent::IoDone { op, result }),
            Owner::Slice(shard, slice) => {
                self.event(shard, ShardEvent::IoDone { slice, op, result });
            }
        }
    }

    /// Drains the machines of one core.
    fn turn(&mut self, core: u16) -> bool {
        let mut any = false;
        loop {
            let mut moved = false;
            while let Some(effect) = self.shards[usize::from(core)].poll_effect() {
                moved = true;
                self.shard_effect(core, effect);
            }
            if core == 0 {
                while let Some(effect) = self.leader.poll_effect(self.now) {
                    moved = true;
                    self.leader_effect(effect);
                    if self.broken.is_some() {
                        return true;
                    }
                }
            }
            any |= moved;
            // A busy shard has more to apply or to read than one turn allows.
            if !moved && !self.shards[usize::from(core)].busy() {
                return any;
            }
        }
    }

    fn shard_effect(&mut self, core: u16, effect: ShardEffect) {
        match effect {
            ShardEffect::Reply { call, message } => self.told(call, Heard::Reply(message)),
            ShardEffect::Fail { call, error } => {
                self.begun.remove(&call);
                self.told(call, Heard::Failed(error));
            }
            ShardEffect::Send { call, message } => {
                self.read(core, call, message.len());
                self.told(call, Heard::Message(message));
            }
            ShardEffect::SendParts { call, head, tail } => {
                let mut whole = BytesMut::from(&head[..]);
                whole.extend_from_slice(&tail);
                self.read(core, call, whole.len());
                self.told(call, Heard::Message(whole.freeze()));
            }
            ShardEffect::Begin { call, message_bytes } => {
                let begun = Begun { bytes: BytesMut::new(), whole: message_bytes as usize };
                assert!(self.begun.insert(call, begun).is_none(), "one message at a time");
            }
            ShardEffect::Part { call, part } => {
                let begun = self.begun.get_mut(&call).expect("a part follows a beginning");
                begun.bytes.extend_from_slice(&part);
                assert!(begun.bytes.len() <= begun.whole);
                self.read(core, call, part.len());
            }
            ShardEffect::Finish { call } => {
                let heard = self.begun.remove(&call).map_or(Heard::Finished, |begun| {
                    assert_eq!(begun.bytes.len(), begun.whole, "as long as was announced");
                    Heard::Reply(begun.bytes.freeze())
                });
                self.told(call, heard);
            }
            ShardEffect::ToLeader(message) if core == 0 => {
                let event = LeaderEvent::From { shard: ShardId(0), message };
                self.leader.handle(self.now, event);
            }
            ShardEffect::ToLeader(message) => self.post(core, 0, Letter::ToLeader(message)),
            ShardEffect::ToShard { shard, message } => {
                self.post(core, shard.0, Letter::ToShard(message));
            }
            ShardEffect::Io { slice, op, request } => {
                let owner = Owner::Slice(ShardId(core), slice);
                self.pending.push(Pending { owner, op, request });
            }
        }
    }

    /// A client reads, or has enough of it.
    fn read(&mut self, core: u16, call: CallId, bytes: usize) {
        let Some(room) = self.slow.get_mut(&call).filter(|room| 0 < **room) else { return };
        *room = room.saturating_sub(bytes);
        if *room == 0 {
            self.event(ShardId(core), ShardEvent::Full { call });
        }
    }

    fn leader_effect(&mut self, effect: LeaderEffect) {
        match effect {
            LeaderEffect::ToShard { shard: ShardId(0), message } => {
                self.event(ShardId(0), ShardEvent::Told(message));
            }
            LeaderEffect::ToShard { shard, message } => {
                self.post(0, shard.0, Letter::ToShard(message));
            }
            LeaderEffect::Io { op, request } => {
                self.pending.push(Pending { owner: Owner::Leader, op, request });
            }
            LeaderEffect::Send { .. } | LeaderEffect::Connect { .. } => {}
            LeaderEffect::Report(report) => match report {
                Report::Serving => self.serving = true,
                Report::Checkpointed { .. } => self.checkpoints += 1,
                Report::Broken { what } => self.broken = Some(what),
                Report::NotForced { why } => self.broken = Some(why.to_owned()),
                Report::Initialized { .. }
                | Report::Forced { .. }
                | Report::Role { .. }
                | Report::Compacted { .. }
                | Report::NoSpace
                | Report::Version(_)
                | Report::Check(_)
                | Report::Alarm { .. }
                | Report::DiskStuck { .. }
                | Report::Removed
                | Report::Stopped => {}
            },
        }
    }

    fn post(&mut self, from: u16, to: u16, letter: Letter) {
        self.letters.entry((from, to)).or_default().push_back(letter);
    }

    fn told(&mut self, call: CallId, what: Heard) {
        self.heard.push_back((call, what));
    }
}

fn machines(shape: Shape, now: Instant, seed: u64, disk: &MemoryDisk) -> (Leader, Vec<Shard>) {
    let leader = Leader::new(now, leader_config(shape, seed, disk));
    let shards = 0..shape.partition.shards;
    (leader, shards.map(|id| Shard::new(shard_config(shape, ShardId(id), seed))).collect())
}

fn leader_config(shape: Shape, seed: u64, disk: &MemoryDisk) -> LeaderConfig {
    LeaderConfig {
        member_id: IDS.member,
        cluster_id: IDS.cluster,
        name: "twin".to_owned(),
        peer_urls: vec!["http://localhost:2380".to_owned()],
        client_urls: vec!["http://localhost:2379".to_owned()],
        partition: shape.partition,
        seed,
        heartbeat: HEARTBEAT,
        election_timeout: Duration::from_secs(1),
        quota: state::Quota::Unlimited,
        txn_ops_max: 128,
        retention: Retention::Everything,
        checkpoint: CheckpointPolicy {
            interval: Duration::from_secs(3600),
            log_bytes: shape.checkpoint_log_bytes,
        },
        log_segments: disk.log_segments(),
        version: SERVER,
        version_min: SERVER,
        checks: CheckPolicy::OFF,
        downgrade_check: Duration::from_secs(5),
        founding: Founding::New(vec![ClusterMember {
            id: IDS.member,
            name: String::new(),
            peer_urls: vec!["http://localhost:2380".to_owned()],
            client_urls: Vec::new(),
            role: MemberRole::Voter,
        }]),
        restart: Restart::WithCluster,
        reconfig: Reconfig::Strict,
        learners_max: 1,
        learner_ready_percent: node::leader::LEARNER_READY_PERCENT,
        window_bytes: 1 << 20,
        log: LogPolicy::STANDARD,
    }
}

fn shard_config(shape: Shape, id: ShardId, seed: u64) -> ShardConfig {
    ShardConfig {
        id,
        partition: shape.partition,
        member_id: IDS.member,
        cluster_id: IDS.cluster,
        request_bytes_max: 1_572_864,
        txn_ops_max: 128,
        cache_bytes: 1 << 20,
        watch: watch::Options {
            cluster_id: IDS.cluster,
            member_id: IDS.member,
            reply_bytes_max: 2 << 20,
            // Small, so that watches fall behind and read history.
            stream_bytes_max: 512,
            copy_bytes_max: 4 << 20,
            history_bytes_max: 4 << 10,
            jobs_max: 2,
            job_watchers_max: 4,
            watchers_max: 10_000,
            progress_interval: Duration::from_secs(600),
            seed,
        },
        request_timeout: Duration::from_secs(7),
    }
}
