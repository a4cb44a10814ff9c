//! Owns one core's share of the member: its calls, its slices, its watchers.
//! Never touches a socket or a file, and never decides what the log means: it checks requests,
//! hands commands to the leader, and turns outcomes and rows into replies.
//! Invariant: every call gets exactly one end: a reply, a failure, or the client's own leaving.

mod admin;
mod auth;
mod call;
mod crc;
mod cut;
mod fetch;
mod gauges;
mod hash;
mod history;
mod kv;
mod learner;
pub mod merge;
mod partition;
mod pass;
mod physical;
mod pins;
mod points;
pub mod range;
mod reads;
mod reply;
mod restore;
mod scroll;
mod ship;
mod slices;
mod slots;
mod snapshot;
mod stage;
mod stream;
mod walk;
mod walks;
mod watches;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base::{Instant, IoRequest, IoResult, OpId, SliceId};
use bytes::Bytes;
use slice::{Pace, ScrubPace, Slice, WorkBudget};
use state::MemberRole;
use watch::WatchHub;
use wire::encode::Header;
use wire::{Method, Status};

use crate::figures::ShardFigures;
use crate::message::{CallId, Facts, Proposal, Question, ShardId, ToLeader, ToShard};
use call::Calls;
pub use call::{CallMeta, Caller, LeaderNeed};
use hash::HashQueue;
use history::HistoryJob;
pub use partition::{Partition, Side};
use physical::Physicals;
use pins::Pins;
use points::Points;
use reads::Reads;
use scroll::{Flow, Scrolls};
use slices::Slices;
use stage::{Presence, Staging};
use stream::Streams;
use walks::Walks;

/// What a slice may do at once for nobody in particular.
const WORK: WorkBudget = WorkBudget {
    write_bytes: 128 << 10,
    purge_entries: 256,
    relocate_pages: 0,
    scrub: ScrubPace::Rest,
};
/// What it may do on top when nobody waits.
const IDLE_WORK: WorkBudget = WorkBudget { relocate_pages: 16, scrub: ScrubPace::OnePage, ..WORK };

/// What a shard is told once.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Which shard this is.
    pub id: ShardId,
    /// How keys and slices are dealt.
    pub partition: Partition,
    /// For reply headers.
    pub member_id: u64,
    /// For reply headers.
    pub cluster_id: u64,
    /// `--max-request-bytes`.
    pub request_bytes_max: u32,
    /// `--max-txn-ops`.
    pub txn_ops_max: u32,
    /// Memory for pages of each slice, in bytes.
    pub cache_bytes: u64,
    /// For the watchers of the shard.
    pub watch: watch::Options,
    /// How long the server works on a request before it gives up.
    pub request_timeout: Duration,
}

/// What happens to a shard.
#[derive(Debug)]
pub enum ShardEvent {
    /// A whole unary request.
    Unary {
        /// Its name.
        call: CallId,
        /// Which.
        method: Method,
        /// What came with it.
        meta: CallMeta,
        /// The message.
        message: Bytes,
    },
    /// The shell itself wants the hash that members compare.
    Hash {
        /// Its name.
        call: CallId,
        /// Up to this revision, 0 for the newest.
        revision: i64,
    },
    /// A stream begins.
    Open {
        /// Its name.
        call: CallId,
        /// Which.
        method: Method,
        /// What came with it.
        meta: CallMeta,
    },
    /// A message of a stream.
    Message {
        /// Whose.
        call: CallId,
        /// The message.
        message: Bytes,
    },
    /// The client sends no more.
    HalfClosed {
        /// Whose.
        call: CallId,
    },
    /// The client left.
    Gone {
        /// Whose.
        call: CallId,
    },
    /// A stream that was full takes more.
    Drained {
        /// Whose.
        call: CallId,
    },
    /// A stream takes no more for now.
    Full {
        /// Whose.
        call: CallId,
    },
    /// From the leader or another shard.
    Told(ToShard),
    /// A disk request of a slice is done.
    IoDone {
        /// Whose.
        slice: SliceId,
        /// Which.
        op: OpId,
        /// What came of it.
        result: IoResult,
    },
}

/// What a shard wants done.
#[derive(Debug)]
pub enum ShardEffect {
    /// Answer a unary call.
    Reply {
        /// Whose.
        call: CallId,
        /// The reply.
        message: Bytes,
    },
    /// End a call with an error.
    Fail {
        /// Whose.
        call: CallId,
        /// Why.
        error: Status,
    },
    /// Send a message on a stream.
    Send {
        /// Whose.
        call: CallId,
        /// The message.
        message: Bytes,
    },
    /// Send a message on a stream, given in two parts.
    SendParts {
        /// Whose.
        call: CallId,
        /// Its beginning.
        head: Bytes,
        /// Its end, possibly empty.
        tail: Bytes,
    },
    /// Begin a message that is given in parts: the reply of a unary call that is large.
    Begin {
        /// Whose.
        call: CallId,
        /// Bytes of all its parts together.
        message_bytes: u32,
    },
    /// The next part of a message that has begun.
    Part {
        /// Whose.
        call: CallId,
        /// Some of it.
        part: Bytes,
    },
    /// End a stream, or a call whose message was given in parts, well.
    Finish {
        /// Whose.
        call: CallId,
    },
    /// For the leader.
    ToLeader(ToLeader),
    /// For another shard.
    ToShard {
        /// Which.
        shard: ShardId,
        /// What.
        message: ToShard,
    },
    /// For the disk.
    Io {
        /// Whose.
        slice: SliceId,
        /// Its name.
        op: OpId,
        /// What.
        request: IoRequest,
    },
}

/// The machine.
pub struct Shard {
    config: ShardConfig,
    facts: Facts,
    calls: Calls,
    points: Points,
    // When calls were last looked at for being too old.
    looked: Instant,
    slices: Slices,
    reads: Reads,
    hub: WatchHub,
    streams: Streams,
    histories: BTreeMap<watch::JobId, HistoryJob>,
    walks: Walks,
    scrolls: Scrolls,
    pins: Pins,
    physicals: Physicals,
    hash_queue: HashQueue,
    proposals: Vec<Proposal>,
    seq_seen: u64,
    // The last batch that the leader was told of.
    seq_told: u64,
    // Decided and not yet told to the slices.
    compact_due: Option<i64>,
    staging: Staging,
    store: Presence,
    // Requests that are under way.
    io_out: u64,
    // Something happened since the last look at what it left behind.
    stirred: bool,
    busy: bool,
    no_room: bool,
    counts: ShardFigures,
    out: VecDeque<ShardEffect>,
}

impl Shard {
    /// A shard without slices; [`ToShard::OpenSlices`] gives it its own.
    pub fn new(config: ShardConfig) -> Shard {
        let facts = Facts {
            term: 0,
            leader: 0,
            revision: 1,
            compact_revision: -1,
            alarms: Vec::new(),
            role: MemberRole::Voter,
            serving: false,
        };
        let store = watch::Store { revision: 1, compact: 0 };
        let hub = WatchHub::new(config.watch.clone(), store, 0);
        Shard {
            config,
            facts,
            calls: Calls::new(),
            points: Points::new(),
            looked: Instant(0),
            slices: Slices::new(),
            reads: Reads::new(),
            hub,
            streams: Streams::new(),
            histories: BTreeMap::new(),
            walks: Walks::new(),
            scrolls: Scrolls::new(),
            pins: Pins::new(),
            physicals: Physicals::new(),
            hash_queue: HashQueue::new(),
            proposals: Vec::new(),
            seq_seen: 0,
            seq_told: 0,
            compact_due: None,
            staging: Staging::new(),
            store: Presence::None,
            io_out: 0,
            stirred: false,
            busy: false,
            no_room: false,
            counts: ShardFigures::default(),
            out: VecDeque::new(),
        }
    }

    /// Takes one event.
    pub fn handle(&mut self, now: Instant, event: ShardEvent) {
        self.stirred = true;
        match event {
            ShardEvent::Unary { call, method, meta, message } => {
                self.unary(now, call, method, meta, message);
            }
            ShardEvent::Hash { call, revision } => {
                self.ask(now, call, Question::Hash { revision });
            }
            ShardEvent::Open { call, method, meta } => self.open_stream(call, method, meta),
            ShardEvent::Message { call, message } => self.stream_message(now, call, message),
            ShardEvent::HalfClosed { call } => self.half_closed(call),
            ShardEvent::Gone { call } => self.gone(call),
            ShardEvent::Drained { call } => self.stream_flow(call, Flow::Open),
            ShardEvent::Full { call } => self.stream_flow(call, Flow::Full { since: now }),
            ShardEvent::Told(message) => self.message(now, message),
            ShardEvent::IoDone { slice, op, result } => self.io_done(slice, op, result),
        }
    }

    /// What to do next; `None` when everything that was handled has been worked off.
    pub fn poll_effect(&mut self) -> Option<ShardEffect> {
        if self.out.is_empty() && (self.stirred || self.busy) {
            self.settle();
        }
        let effect = self.out.pop_front();
        if let Some(ShardEffect::Io { slice, op, .. }) = &effect {
            self.note_io(*slice, *op);
        }
        effect
    }

    /// When [`Shard::tick`] is next worth calling.
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.hub.poll_deadline()
    }

    /// Lets time-driven work run, and one bounded slice of background work. True if more of it
    /// waits.
    pub fn tick(&mut self, now: Instant) -> bool {
        self.stirred = true;
        self.hub.tick(now);
        self.expire_calls(now);
        self.compact_slices();
        if std::mem::take(&mut self.no_room) {
            self.slices.iter_mut().for_each(|(_, slice)| slice.retry());
            self.retry_staged();
        }
        let mut more = self.work_staged(WORK);
        for (_, slice) in self.slices.iter_mut() {
            let idle = slice.queued_changes() == 0;
            let budget = if idle { IDLE_WORK } else { WORK };
            more |= slice.work(budget) == Pace::Busy;
        }
        self.tell_compactions();
        more || self.physicals.are_watched()
    }

    /// True if slices have more to apply or to answer than one turn allows.
    pub fn busy(&self) -> bool {
        self.busy
    }

    /// Whether somebody here waits for the next batch of the log: a watcher, or a read of a later
    /// revision than the slices have. If not, a batch may come together with later ones.
    pub fn awaits_news(&self) -> bool {
        self.hub.watchers() > 0 || self.slices.iter().any(Slice::awaits_revision)
    }

    fn message(&mut self, now: Instant, message: ToShard) {
        match message {
            ToShard::OpenSlices { side, slices, revision, compact_revision } => {
                self.open_slices(side, slices, revision, compact_revision);
            }
            ToShard::Apply(batch) => self.apply(&batch),
            ToShard::Outcomes(outcomes) => {
                for (call, outcome) in outcomes {
                    self.outcome(call, outcome);
                }
            }
            ToShard::Answer { call, answer } => self.answer(call, answer),
            ToShard::ReadAt { round, revision } => self.read_at(now, round, revision),
            ToShard::Fetch { fetch, needs } => self.fetch(fetch, needs),
            ToShard::Ship { transfer, cut } => self.ship(transfer, cut),
            ToShard::ShipMore { transfer } => self.ship_more(transfer),
            ToShard::ShipStop { transfer } => self.ship_stop(transfer),
            ToShard::Hash { number, want } => self.hash_for_leader(number, want),
            ToShard::Stage(step) => self.stage(step),
            ToShard::Retire => self.retire(),
            ToShard::Commit { generation } => {
                self.slices.iter_mut().for_each(|(_, slice)| slice.commit(generation));
            }
            ToShard::Read { from, read, slice, request } => {
                self.read_for(from, read, slice, request);
            }
            ToShard::ReadDone { read, slice, result } => self.read_done(read, slice, result),
            ToShard::Pin { from, pin, main } => self.pin_for(from, pin, main),
            ToShard::Pinned { pin, result } => self.pinned(pin, result),
            ToShard::Unpin { pin } => self.unpin_own(pin),
            ToShard::WatchCompaction { from, call, main } => {
                self.watch_compaction(from, call, main);
            }
            ToShard::CompactionAt { call, state } => self.compaction_at(call, state),
            ToShard::Facts(facts) => self.learn(facts),
            ToShard::Stop => self.stop(),
        }
    }

    /// Works off what events left behind: slices' effects, watch traffic, this turn's proposals.
    fn settle(&mut self) {
        self.stirred = false;
        self.pump_slices();
        self.pump_staging();
        self.pump_hub();
        self.pump_walks();
        self.pump_scrolls();
        if !self.proposals.is_empty() {
            let room = Vec::with_capacity(self.proposals.len());
            let proposals = std::mem::replace(&mut self.proposals, room);
            self.out.push_back(ShardEffect::ToLeader(ToLeader::Propose(proposals)));
        }
        if let Some(round) = self.points.begin_round() {
            self.out.push_back(ShardEffect::ToLeader(ToLeader::ReadIndex { round }));
        }
        self.report_progress();
    }

    fn learn(&mut self, facts: Facts) {
        // Batches carry revisions in their own order; facts may be older.
        let revision = self.facts.revision.max(facts.revision);
        let compact_revision = self.facts.compact_revision.max(facts.compact_revision);
        self.hub.set_term(facts.term);
        self.facts = Facts { revision, compact_revision, ..facts };
    }

    fn header(&self) -> Header {
        Header {
            cluster_id: self.config.cluster_id,
            member_id: self.config.member_id,
            revision: self.facts.revision,
            raft_term: self.facts.term,
        }
    }

    fn reply(&mut self, call: CallId, message: Bytes) {
        self.out.push_back(ShardEffect::Reply { call, message });
    }

    fn fail(&mut self, call: CallId, error: impl Into<Status>) {
        self.out.push_back(ShardEffect::Fail { call, error: error.into() });
    }
}
