//! Owns the watches of one shard: streams come and go, watches are made and cancelled, and the
//! effects of all that are handed out. How events reach them stands in `publish` and `catchup`.
//! Never decides who may watch what. Invariant: a watch's first reply says that it was created,
//! its last that it was cancelled, unless its stream closes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use base::limits::WATCH_PAIRS;
use base::{Instant, Prng};
use wire::error::WatchRefusal;
use wire::etcdserverpb::WatchCreateRequest;

use crate::batch::Message;
use crate::catchup::{HistoryRead, Job, JobId};
use crate::index::Index;
use crate::slab::Slab;
use crate::span::Span;
use crate::stream::{Flow, Stream, StreamId};
use crate::watcher::{News, Phase, Turn, Wants, Watcher, Why};

/// The watch id of replies that speak of no watch.
pub(crate) const NO_WATCH: i64 = -1;

/// Why a watch above `watchers_max` is refused; etcd has no such limit and no text for it.
const TOO_MANY_WATCHES: &str = "etcdserver: too many watches";

/// What a hub is told once. All limits are at least 1.
#[derive(Clone, Debug)]
pub struct Options {
    /// Cluster in every header.
    pub cluster_id: u64,
    /// Member in every header.
    pub member_id: u64,
    /// Replies above this are cut for watches that want fragments: `--max-request-bytes` and the
    /// gRPC overhead of [`base::limits::REQUEST_OVERHEAD_BYTES`].
    pub reply_bytes_max: usize,
    /// Bytes sent to one stream within one call of the hub; what is beyond reads history.
    pub stream_bytes_max: usize,
    /// Bytes that one call may copy into replies beside the shared buffers.
    pub copy_bytes_max: usize,
    /// Bytes of records asked for in one read of history.
    pub history_bytes_max: usize,
    /// Reads of history at once.
    pub jobs_max: usize,
    /// Watches that share one read.
    pub job_watchers_max: usize,
    /// Watches of this shard; more are refused.
    pub watchers_max: usize,
    /// `--watch-progress-notify-interval`.
    pub progress_interval: Duration,
    /// Seed of the jitter of that interval.
    pub seed: u64,
}

/// What the creator of a watch knows of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store {
    /// The newest revision that was decided; may be ahead of what this hub was published.
    pub revision: i64,
    /// The compact revision; 0 if never compacted.
    pub compact: i64,
}

/// What the hub wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send one reply.
    Send {
        /// To whom.
        stream: StreamId,
        /// An encoded `WatchResponse`.
        message: Message,
    },
    /// Read history, answered by [`WatchHub::history`].
    ReadHistory(HistoryRead),
}

/// The watches of one shard.
#[derive(Debug)]
pub struct WatchHub {
    pub(crate) options: Options,
    pub(crate) raft_term: u64,
    /// The newest published revision.
    pub(crate) published: i64,
    /// The newest revision anybody spoke of.
    pub(crate) sequenced: i64,
    pub(crate) compact: i64,
    pub(crate) watchers: Slab<Watcher>,
    pub(crate) streams: Slab<Stream>,
    by_name: BTreeMap<StreamId, u32>,
    pub(crate) index: Index,
    /// Watches that wait for a job, by ticket: first come, first served.
    pub(crate) queue: BTreeMap<u64, u32>,
    pub(crate) last_ticket: u64,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) last_job: u64,
    /// Streams with a progress request that waits.
    pub(crate) asking: BTreeSet<u32>,
    /// When which stream's watches hear of progress.
    pub(crate) due: BTreeSet<(Instant, u32)>,
    pub(crate) dice: Prng,
    /// Counts calls that deliver events; bounds what one of them may send.
    pub(crate) turn: u64,
    /// Pairs of an event and a group of watches that are matched before they are delivered.
    pub(crate) pairs_max: usize,
    pub(crate) effects: VecDeque<Effect>,
    /// Events sent, for the figures.
    pub(crate) events_sent: u64,
}

impl WatchHub {
    /// A hub without watches, for a store that stands at `store`.
    pub fn new(options: Options, store: Store, raft_term: u64) -> WatchHub {
        let Options { stream_bytes_max, history_bytes_max, jobs_max, job_watchers_max, .. } =
            options;
        for limit in [stream_bytes_max, history_bytes_max, jobs_max, job_watchers_max] {
            assert!(0 < limit);
        }
        let dice = Prng::from_seed(options.seed);
        WatchHub {
            options,
            raft_term,
            published: store.revision,
            sequenced: store.revision,
            compact: store.compact,
            watchers: Slab::new(),
            streams: Slab::new(),
            by_name: BTreeMap::new(),
            index: Index::new(),
            queue: BTreeMap::new(),
            last_ticket: 0,
            jobs: BTreeMap::new(),
            last_job: 0,
            asking: BTreeSet::new(),
            due: BTreeSet::new(),
            dice,
            turn: 0,
            pairs_max: WATCH_PAIRS,
            effects: VecDeque::new(),
            events_sent: 0,
        }
    }

    /// Makes a watch that its creator is allowed to have. The created reply comes first, whatever
    /// becomes of it.
    pub fn create(
        &mut self,
        now: Instant,
        stream: StreamId,
        request: &WatchCreateRequest,
        store: Store,
    ) {
        self.heard_of(store);
        let slot = self.stream_slot(stream);
        match self.admit(slot, request) {
            Err(reason) => self.tell_refused(slot, reason),
            Ok((id, span)) => {
                self.reply(slot, self.sequenced, id, |reply| reply.created = true);
                self.begin(now, slot, id, span, request);
                self.dispatch();
            }
        }
    }

    /// Answers the request of a caller that is not allowed to watch, or that failed otherwise
    /// before the hub was asked. `reason` is the whole text.
    pub fn refuse(&mut self, stream: StreamId, reason: &str, store: Store) {
        self.heard_of(store);
        let slot = self.stream_slot(stream);
        self.tell_refused(slot, reason);
    }

    /// Ends a watch at its creator's wish. Unknown ids are passed over in silence.
    pub fn cancel(&mut self, stream: StreamId, watch_id: i64) {
        let Some(&slot) = self.by_name.get(&stream) else { return };
        let Some(&watcher) = self.streams.get(slot).watchers.get(&watch_id) else { return };
        self.end(watcher);
        self.reply(slot, self.sequenced, watch_id, |reply| reply.canceled = true);
        self.answer_asking();
    }

    /// Forgets a stream and its watches, without a word.
    pub fn close_stream(&mut self, stream: StreamId) {
        let Some(slot) = self.by_name.remove(&stream) else { return };
        for watcher in std::mem::take(&mut self.streams.get_mut(slot).watchers).into_values() {
            self.unhook(watcher);
        }
        let stream = self.streams.remove(slot);
        assert!(stream.away.is_empty());
        self.asking.remove(&slot);
        if let Some(due) = stream.progress_due {
            self.due.remove(&(due, slot));
        }
    }

    /// The socket of a stream takes no more for now. Requests of such a stream should wait too:
    /// their replies are sent whatever its state.
    pub fn stream_blocked(&mut self, stream: StreamId) {
        if let Some(&slot) = self.by_name.get(&stream) {
            let stream = self.streams.get_mut(slot);
            stream.flow = Flow::Blocked;
            stream.asked = None;
            self.asking.remove(&slot);
        }
    }

    /// The socket of a stream takes more again.
    pub fn stream_writable(&mut self, stream: StreamId) {
        let Some(&slot) = self.by_name.get(&stream) else { return };
        self.streams.get_mut(slot).flow = Flow::Open;
        for watcher in self.streams.get(slot).away.clone() {
            if let Phase::Away(_, Turn::Idle) = self.watchers.get(watcher).phase {
                self.enqueue(watcher);
            }
        }
        self.dispatch();
    }

    /// The compact revision rose: whoever still needs an older one will be told.
    pub fn compacted(&mut self, main: i64) {
        self.compact = self.compact.max(main);
    }

    /// The member's raft term, for the headers from now on.
    pub fn set_term(&mut self, raft_term: u64) {
        self.raft_term = raft_term;
    }

    /// The newest published revision.
    pub fn published(&self) -> i64 {
        self.published
    }

    /// How many watches there are.
    pub fn watchers(&self) -> usize {
        self.watchers.len()
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.by_name.len()
    }

    /// How many watches read history (etcd's `slow_watcher_total`).
    pub fn watchers_away(&self) -> usize {
        let away = |stream: &StreamId| self.streams.get(self.by_name[stream]).away.len();
        self.by_name.keys().map(away).sum()
    }

    /// How many events were sent, to all watches together.
    pub fn events_sent(&self) -> u64 {
        self.events_sent
    }

    /// The next effect. Drain it after every call.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn admit(
        &mut self,
        slot: u32,
        request: &WatchCreateRequest,
    ) -> Result<(i64, Span), &'static str> {
        if self.options.watchers_max <= self.watchers.len() {
            return Err(TOO_MANY_WATCHES);
        }
        if request.start_revision < 0 {
            return Err(WatchRefusal::Compacted.reason());
        }
        let span = Span::of(&request.key, &request.range_end)
            .map_err(|_| WatchRefusal::EmptyRange.reason())?;
        let id = self.streams.get_mut(slot).claim_id(request.watch_id);
        Ok((id.ok_or(WatchRefusal::DuplicateId.reason())?, span))
    }

    /// Puts a created watch where it belongs: at the head, in the queue, or out again.
    fn begin(
        &mut self,
        now: Instant,
        stream: u32,
        id: i64,
        span: Span,
        request: &WatchCreateRequest,
    ) {
        let start = request.start_revision;
        if start != 0 && start < self.compact {
            return self.tell_compacted(stream, id);
        }
        let wants = Wants::of(request);
        let next = if start == 0 { self.sequenced + 1 } else { start };
        let phase = Phase::Head;
        let news = News::Quiet;
        let watcher = Watcher { stream, id, next, start, ticket: 0, wants, phase, news };
        let slot = self.watchers.insert(watcher);
        self.index.insert(slot, span);
        self.streams.get_mut(stream).watchers.insert(id, slot);
        if next <= self.published {
            self.leave(slot, next, Why::Behind);
        }
        if wants.progress {
            self.schedule_progress(now, stream);
        }
    }

    /// Takes a watch off the head.
    pub(crate) fn leave(&mut self, slot: u32, next: i64, why: Why) {
        let watcher = self.watchers.get_mut(slot);
        assert_eq!(watcher.phase, Phase::Head);
        assert!(next <= self.published);
        watcher.next = next;
        watcher.phase = Phase::Away(why, Turn::Idle);
        let stream = self.streams.get_mut(watcher.stream);
        stream.away.insert(slot);
        if stream.flow == Flow::Open {
            self.enqueue(slot);
        }
    }

    /// Ends a watch whose next revision is gone.
    pub(crate) fn end_compacted(&mut self, watcher: u32) {
        let Watcher { stream, id, .. } = *self.watchers.get(watcher);
        self.end(watcher);
        self.tell_compacted(stream, id);
    }

    fn end(&mut self, watcher: u32) {
        let Watcher { stream, id, .. } = *self.watchers.get(watcher);
        let gone = self.streams.get_mut(stream).watchers.remove(&id);
        assert_eq!(gone, Some(watcher));
        self.unhook(watcher);
    }

    /// Removes a watch from everything but its stream's list.
    fn unhook(&mut self, slot: u32) {
        let watcher = self.watchers.remove(slot);
        self.index.remove(slot);
        match watcher.phase {
            Phase::Head => {}
            Phase::Away(_, turn) => {
                self.streams.get_mut(watcher.stream).away.remove(&slot);
                if turn == Turn::Queued {
                    self.queue.remove(&watcher.ticket);
                }
            }
        }
    }

    fn heard_of(&mut self, store: Store) {
        self.sequenced = self.sequenced.max(store.revision);
        self.compacted(store.compact);
    }

    /// Notes that `revision` and all before it were published.
    pub(crate) fn advance(&mut self, revision: i64) {
        self.published = revision;
        self.sequenced = self.sequenced.max(revision);
    }

    fn stream_slot(&mut self, name: StreamId) -> u32 {
        let streams = &mut self.streams;
        *self.by_name.entry(name).or_insert_with(|| streams.insert(Stream::new(name)))
    }

    pub(crate) fn slot_of(&self, name: StreamId) -> Option<u32> {
        self.by_name.get(&name).copied()
    }
}
