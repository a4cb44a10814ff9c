//! Owns what the member decides in one place: the log, the Raft group, the order of commands,
//! leases, alarms, members, and checkpoints. Runs on core 0.
//! Never holds a value of the store and never answers a client. Invariant: an outcome leaves only
//! after its log entry is durable on a quorum, and outcomes leave in the order of the log.

mod answers;
mod catch_up;
pub mod checkpoint;
pub mod checks;
pub mod compactor;
mod contacts;
mod downgrade;
mod flush;
mod force;
mod forward;
mod gauges;
mod incoming;
mod leave;
mod members;
mod peers;
mod pieces;
mod propose;
mod reconfig;
mod rounds;
mod sequence;
mod start;
mod transfer;
mod upkeep;
mod versions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use base::limits::{LOG_SEGMENT_BYTES, LOG_SEGMENTS_KEPT, LOG_SEGMENTS_KEPT_MAX};
use base::{Instant, IoError, IoRequest, IoResult, OpId, Prng};
use consensus::{Consensus, Event};
use state::{Member, Quota, Sequencer};
use wal::Writer;

use crate::figures::LeaderCounts;
use crate::message::{ApplyBatch, CallRef, ShardId, ToLeader, ToShard};
use crate::peer::PeerNote;
use crate::shard::Partition;
use answers::Answers;
use catch_up::CatchUp;
use checkpoint::{CheckpointPolicy, Checkpoints};
pub use checks::CheckNews;
use checks::{CheckPolicy, Checks};
use compactor::{Compactor, Retention};
use contacts::Contacts;
use flush::Flushes;
use forward::Forwards;
use incoming::Incoming;
use leave::Leaving;
use members::Changes;
use peers::HeardOf;
use propose::Proposals;
use rounds::Rounds;
use sequence::Sequence;
use start::Start;
use transfer::Transfers;
use upkeep::Publication;
pub use versions::VersionNews;
use versions::Versions;
use wire::peer::Version;

/// Etcd's share of the leader's log that a learner must hold before it votes.
pub const LEARNER_READY_PERCENT: u64 = 90;

/// What the leader is told once.
#[derive(Clone, Debug)]
pub struct LeaderConfig {
    /// Our id.
    pub member_id: u64,
    /// The cluster's id.
    pub cluster_id: u64,
    /// `--name`.
    pub name: String,
    /// `--initial-advertise-peer-urls`.
    pub peer_urls: Vec<String>,
    /// `--advertise-client-urls`.
    pub client_urls: Vec<String>,
    /// How keys and slices are dealt.
    pub partition: Partition,
    /// Dice for elections and ids.
    pub seed: u64,
    /// `--heartbeat-interval`: one Raft tick.
    pub heartbeat: Duration,
    /// `--election-timeout`.
    pub election_timeout: Duration,
    /// `--quota-backend-bytes`.
    pub quota: Quota,
    /// `--max-txn-ops`.
    pub txn_ops_max: u32,
    /// `--auto-compaction-*`.
    pub retention: Retention,
    /// `--checkpoint-*`.
    pub checkpoint: CheckpointPolicy,
    /// The log segments found in the directory, by number, rising.
    pub log_segments: Vec<u64>,
    /// Version of this server.
    pub version: Version,
    /// The oldest version of a cluster that it takes part in.
    pub version_min: Version,
    /// When members' data is compared.
    pub checks: CheckPolicy,
    /// `--downgrade-check-time`.
    pub downgrade_check: Duration,
    /// What a new data directory becomes part of.
    pub founding: Founding,
    /// `--force-new-cluster`.
    pub restart: Restart,
    /// `--strict-reconfig-check`.
    pub reconfig: Reconfig,
    /// `--max-learners`.
    pub learners_max: usize,
    /// A learner votes only once it holds so much of the leader's log.
    pub learner_ready_percent: u64,
    /// Bytes of applied entries that stay in memory for peers that lag; who lags further gets them
    /// out of log segments, or the whole store.
    pub window_bytes: usize,
    /// The log's segments.
    pub log: LogPolicy,
}

/// How large segments are, and how many stay.
#[derive(Clone, Copy, Debug)]
pub struct LogPolicy {
    /// Bytes of a segment, fixed when the data directory is made. Only tests want it smaller.
    pub segment_bytes: u64,
    /// Segments behind the checkpoint that stay for peers that lag.
    pub segments_kept: usize,
    /// The same while a peer is catching up or takes in a whole store; not less.
    pub segments_kept_max: usize,
}

impl LogPolicy {
    /// The bounds of [`base::limits`].
    pub const STANDARD: LogPolicy = LogPolicy {
        segment_bytes: LOG_SEGMENT_BYTES,
        segments_kept: LOG_SEGMENTS_KEPT,
        segments_kept_max: LOG_SEGMENTS_KEPT_MAX,
    };

    pub(crate) fn geometry(self) -> wal::Geometry {
        wal::Geometry::of(self.segment_bytes)
    }
}

impl LeaderConfig {
    /// How long a call waits before its client is told that nobody knows what came of it: etcd's
    /// five seconds and two election timeouts.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.election_timeout
    }
}

/// What a new data directory becomes part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Founding {
    /// A new cluster of these members, this one among them.
    New(Vec<Member>),
    /// A running cluster that has added this member. These are its members as somebody told them,
    /// this one among them: good for finding a peer, and forgotten with the first snapshot. A
    /// member that has data and was told nothing new uses what it was told before.
    Existing(Vec<Member>),
}

/// How a member goes on that has data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// With its cluster.
    WithCluster,
    /// Alone: what its log holds counts as committed, and all other members are removed. For a
    /// cluster that has lost its majority for ever.
    Alone,
}

/// Whether changes of membership that could lose the quorum are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconfig {
    /// They are.
    Strict,
    /// They are not.
    Lenient,
}

/// Where a peer is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPlace {
    /// Who.
    pub id: u64,
    /// `http://host:port` or `https://host:port`; any of them will do.
    pub urls: Vec<String>,
}

/// What happens to the leader.
#[derive(Debug)]
pub enum LeaderEvent {
    /// From a shard.
    From {
        /// Which.
        shard: ShardId,
        /// What.
        message: ToLeader,
    },
    /// A disk request is done.
    IoDone {
        /// Which.
        op: OpId,
        /// What came of it.
        result: IoResult,
    },
    /// A peer sent this. It came over a stream whose handshake named this cluster and both members.
    Received {
        /// Who.
        from: u64,
        /// What.
        note: PeerNote,
    },
    /// What was sent to this peer lately did not arrive, or may not have.
    Unreachable {
        /// Which.
        peer: u64,
    },
    /// Nobody listens where this peer should: its process is no more.
    Ended {
        /// Which.
        peer: u64,
    },
    /// The first stream with this peer is up.
    Connected {
        /// Which.
        peer: u64,
    },
    /// No stream with this peer is up any more.
    Disconnected {
        /// Which.
        peer: u64,
    },
    /// Somebody of this cluster who is not in the list, and was not removed, wanted to talk.
    Stranger {
        /// Who.
        peer: u64,
    },
    /// A peer says that this member was removed from the cluster.
    ToldRemoved {
        /// Which peer.
        by: u64,
    },
    /// Stop in order: no new proposals; answered by [`Report::Stopped`] once the log is sealed.
    Stop,
}

/// What the leader wants done.
#[derive(Debug)]
pub enum LeaderEffect {
    /// For a shard.
    ToShard {
        /// Which.
        shard: ShardId,
        /// What.
        message: ToShard,
    },
    /// For the disk.
    Io {
        /// Its name.
        op: OpId,
        /// What.
        request: IoRequest,
    },
    /// For a peer. Notes of one lane arrive in order or not at all; a full queue drops them and is
    /// told by [`LeaderEvent::Unreachable`].
    Send {
        /// Whom.
        to: u64,
        /// What.
        note: PeerNote,
    },
    /// All peers there are, in place of those named before: connections to others end.
    Connect {
        /// Where to send to, and whom to hear.
        peers: Vec<PeerPlace>,
        /// Whom to tell that they were removed for good.
        removed: Vec<u64>,
    },
    /// For whoever runs the member.
    Report(Report),
}

/// News for whoever runs the member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The member's own data says who it is, as it was first started.
    Initialized {
        /// Generation of the manifest.
        generation: u64,
        /// Revision of the store in it.
        revision: i64,
    },
    /// Raft's role changed.
    Role {
        /// Term.
        term: u64,
        /// The leader, 0 for none.
        leader: u64,
    },
    /// The member goes on without its cluster.
    Forced {
        /// Whom it removes.
        removed: Vec<u64>,
        /// Up to here the log was known to be committed.
        known: u64,
        /// Up to here it counts as committed, because this member holds it.
        held: u64,
        /// The same with the removals.
        commit: u64,
    },
    /// The member was asked to go on without its cluster, and must not: the process must stop.
    NotForced {
        /// Why, and what to do.
        why: &'static str,
    },
    /// The member has published itself through the log: it may say that it is ready.
    Serving,
    /// A checkpoint is in force.
    Checkpointed {
        /// Its generation.
        generation: u64,
        /// The log up to this index is not needed any more.
        index: u64,
    },
    /// Auto-compaction compacted.
    Compacted {
        /// To this revision.
        revision: i64,
    },
    /// The quota was passed and the alarm raised.
    NoSpace,
    /// An alarm went on or off.
    Alarm {
        /// Whose.
        member: u64,
        /// Which, as etcd numbers them.
        alarm: i32,
        /// Whether it is on.
        is_on: bool,
    },
    /// About the comparing of members' data.
    Check(CheckNews),
    /// About the version of the cluster.
    Version(VersionNews),
    /// A write of the log does not come back: leadership was offered to another member.
    DiskStuck {
        /// How old the write is.
        age: Duration,
        /// To whom.
        to: u64,
    },
    /// This member was removed from the cluster: the process ends, its data is of no use any more.
    Removed,
    /// Data or disk cannot be trusted: the process must stop.
    Broken {
        /// What and where, and what to do.
        what: String,
    },
    /// The log is sealed: the process may end.
    Stopped,
}

/// The machine.
pub struct Leader {
    config: LeaderConfig,
    start: Option<Start>,
    consensus: Option<Consensus>,
    writer: Option<Writer>,
    sequencer: Sequencer,
    flushes: Flushes,
    proposals: Proposals,
    sequence: Sequence,
    rounds: Rounds,
    checkpoints: Checkpoints,
    compactor: Compactor,
    dice: Prng,
    role: Role,
    publication: Publication,
    forwards: Forwards,
    changes: Changes,
    contacts: Contacts,
    heard_of: HeardOf,
    /// When this member next tells silent peers who the members are.
    introduce_at: Instant,
    transfers: Transfers,
    catch_up: CatchUp,
    incoming: Incoming,
    leaving: Leaving,
    /// The last entry of those that made this member a cluster of its own, in this life.
    forced: Option<u64>,
    /// Members whose removal was committed before this life, applied or not.
    gone: BTreeSet<u64>,
    versions: Versions,
    checks: Checks,
    /// When a stuck disk last made this member give up leadership.
    handed_over: Instant,
    next_tick: Instant,
    /// Since when a peer does not know how far the group has committed.
    untold_since: Option<Instant>,
    /// Members whose clients wait for a batch that was committed in this turn.
    awaited_at: BTreeSet<u64>,
    store: BTreeMap<ShardId, StoreSize>,
    stopping: bool,
    stopped: bool,
    answers: Answers,
    counts: LeaderCounts,
    ops: BTreeMap<OpId, Op>,
    next_op: u64,
    out: VecDeque<LeaderEffect>,
}

/// Where the group stands, as last heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Role {
    term: u64,
    leader: u64,
    serving: bool,
}

/// A shard's slices, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct StoreSize {
    file_bytes: u64,
    used_bytes: u64,
}

/// What an outstanding disk request is for.
#[derive(Clone, Copy, Debug)]
enum Op {
    Start,
    Flush(wal::Ticket, Instant),
    Fetch,
    Prepare(u64),
    RemoveLog(u64),
    ManifestWrite,
    ManifestSync,
}

impl Leader {
    /// A leader that begins by reading the manifest.
    pub fn new(now: Instant, config: LeaderConfig) -> Leader {
        let mut dice = Prng::from_seed(config.seed);
        let sequencer = Sequencer::new(sequence::options(&config, &mut dice));
        let forwards = Forwards::new(dice.next_u64());
        let changes = Changes::new(dice.next_u64());
        let transfers = Transfers::new(dice.next_u64());
        let mut leader = Leader {
            start: Some(Start::new()),
            consensus: None,
            writer: None,
            sequencer,
            flushes: Flushes::new(),
            proposals: Proposals::new(dice.next_u64()),
            sequence: Sequence::new(),
            rounds: Rounds::new(),
            checkpoints: Checkpoints::new(now, config.checkpoint, 0),
            compactor: Compactor::new(now, config.retention),
            dice,
            role: Role { term: 0, leader: 0, serving: false },
            publication: Publication::Unsent,
            forwards,
            changes,
            contacts: Contacts::new(),
            heard_of: HeardOf::new(),
            introduce_at: now,
            transfers,
            catch_up: CatchUp::new(),
            incoming: Incoming::new(),
            leaving: Leaving::No,
            forced: None,
            gone: BTreeSet::new(),
            versions: Versions::new(),
            checks: Checks::new(now, config.checks),
            handed_over: now,
            next_tick: now,
            untold_since: None,
            awaited_at: BTreeSet::new(),
            store: BTreeMap::new(),
            stopping: false,
            stopped: false,
            answers: Answers::new(),
            counts: LeaderCounts::new(),
            ops: BTreeMap::new(),
            next_op: 0,
            out: VecDeque::new(),
            config,
        };
        leader.read_manifest();
        leader
    }

    /// Takes one event.
    pub fn handle(&mut self, now: Instant, event: LeaderEvent) {
        match event {
            LeaderEvent::From { shard, message } => self.message(now, shard, message),
            LeaderEvent::IoDone { op, result } => self.io_done(now, op, result),
            LeaderEvent::Received { from, note } => self.received(now, from, note),
            LeaderEvent::Unreachable { peer } => self.unreachable(now, peer),
            LeaderEvent::Ended { peer } => self.tell_group(now, Event::Ended(peer)),
            LeaderEvent::Connected { peer } => self.contacts.up(now, peer),
            LeaderEvent::Disconnected { peer } => self.contacts.down(peer),
            LeaderEvent::Stranger { peer } => self.ask_who(peer),
            LeaderEvent::ToldRemoved { by: _ } => self.report(Report::Removed),
            LeaderEvent::Stop => self.leave(now),
        }
    }

    /// What to do next; `None` when everything that was handled has been worked off.
    pub fn poll_effect(&mut self, now: Instant) -> Option<LeaderEffect> {
        if self.out.is_empty() && self.start.is_none() {
            self.settle(now);
        } else if self.out.is_empty() {
            self.settle_start(now);
        }
        self.out.pop_front()
    }

    fn message(&mut self, now: Instant, shard: ShardId, message: ToLeader) {
        if self.incoming.installs() {
            return self.message_while_installing(message);
        }
        match message {
            ToLeader::Propose(proposals) => self.take_proposals(shard, proposals),
            ToLeader::ReadIndex { round } => self.rounds.read(shard, round),
            ToLeader::Ask { call, question } => self.take_question(now, shard, call, question),
            ToLeader::Left { call } => self.call_left(CallRef { shard, call }),
            ToLeader::Values { fetch, answers } => self.take_values(now, fetch, answers),
            ToLeader::Durable { slice, generation, root } => {
                self.slice_durable(slice, generation, root);
            }
            ToLeader::Restored { slice, keys, last } => {
                self.take_restored(slice, keys, last);
            }
            ToLeader::Progress { seq, file_bytes, used_bytes } => {
                self.sequence.progressed(shard, seq);
                self.store.insert(shard, StoreSize { file_bytes, used_bytes });
            }
            ToLeader::Shipped { transfer, bytes, piece } => {
                self.shipped(now, transfer, bytes, piece);
            }
            ToLeader::ShipFailed { transfer } => self.ship_failed(now, transfer),
            ToLeader::Hashed { number, result } => self.hashed(now, number, result),
            ToLeader::Staged => self.staged_step(),
            ToLeader::Retired => self.retired(),
            ToLeader::Broken { what } => self.broken(what),
        }
    }

    /// One turn: Raft, the log, and the sequencer, until none has anything left to do.
    fn settle(&mut self, now: Instant) {
        if self.incoming.installs() {
            return self.settle_install(now);
        }
        loop {
            let proposed = self.propose_waiting(now);
            let stepped = self.drain_consensus(now);
            if self.incoming.installs() {
                return self.settle_install(now);
            }
            let fetched = self.settle_fetches(now);
            let persisted = self.settle_persisted(now);
            let sequenced = self.run_sequence(now);
            if !proposed && !stepped && !fetched && !persisted && !sequenced {
                break;
            }
        }
        self.settle_forwards();
        self.propose_changes(now);
        self.publish_if_due(now);
        self.ask_rounds(now);
        self.tell_origins(now);
        self.drain_consensus(now);
        self.answer_ready(now);
        self.flush_log(now);
        self.begin_due_checkpoint(now);
        self.send_batch();
        self.note_untold(now);
        self.finish_leaving(now);
        self.finish_stop();
    }

    fn io_done(&mut self, now: Instant, op: OpId, result: IoResult) {
        let purpose = self.ops.remove(&op).expect("every request is answered once");
        if let (IoResult::Failed(error), false) =
            (&result, matches!(purpose, Op::Start | Op::Fetch))
        {
            let (why, remedy) = match error {
                IoError::NoSpace => {
                    ("no space left on the disk of the data directory", "make room")
                }
                IoError::Os(_) => ("the disk failed", "check the disk"),
            };
            return self.broken(format!(
                "{why} while the log or the manifest was written ({purpose:?}, {error:?}); what \
                 was acknowledged is safe; {remedy} and start again"
            ));
        }
        match purpose {
            Op::Start => self.start_io(now, result),
            Op::Flush(ticket, since) => {
                self.counts.flushed(since, now);
                self.flushed(now, ticket);
            }
            Op::Fetch => self.fetch_read(now, result),
            Op::Prepare(number) => self.writer().prepared(number),
            Op::RemoveLog(number) => self.writer().removed(number),
            Op::ManifestWrite => self.manifest_written(),
            Op::ManifestSync => self.manifest_durable(now),
        }
    }

    fn submit(&mut self, purpose: Op, request: IoRequest) {
        self.next_op += 1;
        let op = OpId(self.next_op);
        self.ops.insert(op, purpose);
        self.out.push_back(LeaderEffect::Io { op, request });
    }

    /// Whether this member leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.role.leader == self.config.member_id
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("the log is open")
    }

    fn tell_all(&mut self, message: impl Fn() -> ToShard) {
        for shard in 0..self.config.partition.shards {
            self.out.push_back(LeaderEffect::ToShard { shard: ShardId(shard), message: message() });
        }
    }

    fn report(&mut self, report: Report) {
        self.out.push_back(LeaderEffect::Report(report));
    }

    fn broken(&mut self, what: String) {
        self.report(Report::Broken { what });
    }

    fn store_size(&self) -> StoreSize {
        self.store.values().fold(StoreSize::default(), |sum, size| StoreSize {
            file_bytes: sum.file_bytes + size.file_bytes,
            used_bytes: sum.used_bytes + size.used_bytes,
        })
    }

    fn empty_batch(seq: u64, revision: i64) -> ApplyBatch {
        ApplyBatch {
            seq,
            revision,
            changes: Vec::new(),
            meta: Vec::new(),
            compact: None,
            checkpoint: None,
        }
    }
}
