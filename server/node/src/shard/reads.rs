//! Owns the reads under way at a shard: groups of ranges that belong to one reply, asked of own and
//! other shards' slices, and reads done for others.
//! Invariant: a group is finished when every range of it is; a group whose point was compacted
//! away meanwhile fails as a whole.

use std::collections::BTreeMap;

use base::{Rev, SliceId};
use slice::{Fields, KeyRange, RangeEnd, ReadId, ReadRequest, ReadResult};
use wire::ApiError;

use super::fetch::FetchJob;
use super::range::{Ask, Columns, RangeJob, RangeOutput, RangeSpec};
use super::reply::{self, ReplyPlan};
use super::stream::PageJob;
use super::walks::WalkId;
use super::{Shard, ShardEffect};
use crate::message::{CallId, ShardId, ToShard};

/// Most bytes that one slice sends at once.
const CHUNK_BYTES: usize = 256 << 10;
/// Most rows that one slice sends at once.
const CHUNK_ROWS: usize = 4096;

/// What a group of reads is for.
#[derive(Debug)]
pub enum Purpose {
    /// The reply of a call.
    Reply {
        /// Whose.
        call: CallId,
        /// Of what.
        plan: ReplyPlan,
    },
    /// Values that the leader needs.
    Fetch(FetchJob),
    /// The next page of a streamed range or a snapshot.
    Page(PageJob),
}

struct Group {
    purpose: Purpose,
    jobs: Vec<RangeJob>,
    outputs: Vec<Option<RangeOutput>>,
    missing: usize,
}

/// A read done for another shard.
struct Foreign {
    shard: ShardId,
    /// Their name for it.
    read: ReadId,
    /// The lowest point that it looks at.
    floor: Rev,
}

#[derive(Clone, Copy)]
struct Asked {
    group: u64,
    job: usize,
}

/// The reads of one shard.
pub struct Reads {
    groups: BTreeMap<u64, Group>,
    asked: BTreeMap<ReadId, Asked>,
    // Reads done for other shards, by our name.
    foreign: BTreeMap<ReadId, Foreign>,
    // History reads of the watch hub go by their own route.
    history: BTreeMap<ReadId, watch::JobId>,
    // Reads of the scan at start.
    scans: BTreeMap<ReadId, SliceId>,
    // Reads of hashes and snapshots.
    walks: BTreeMap<ReadId, WalkId>,
    next: u64,
    // Answers to names up to here are of a store that is gone.
    forgotten: u64,
}

impl Reads {
    /// None yet.
    pub fn new() -> Reads {
        Reads {
            groups: BTreeMap::new(),
            asked: BTreeMap::new(),
            foreign: BTreeMap::new(),
            history: BTreeMap::new(),
            scans: BTreeMap::new(),
            walks: BTreeMap::new(),
            next: 0,
            forgotten: 0,
        }
    }

    /// Nobody waits for anything any more.
    pub fn forget(&mut self) {
        let next = self.next;
        *self = Reads { next, forgotten: next, ..Reads::new() };
    }

    fn name(&mut self) -> ReadId {
        self.next += 1;
        ReadId(self.next)
    }
}

impl Shard {
    /// Begins a group of reads; finishes it at once if there is nothing to read.
    pub(super) fn start_reads(&mut self, purpose: Purpose, specs: Vec<RangeSpec>) {
        if let Purpose::Reply { .. } = purpose {
            self.counts.ranges += specs.len() as u64;
        }
        let partition = self.config.partition;
        let jobs: Vec<RangeJob> = specs
            .into_iter()
            .map(|spec| {
                let slices = partition.slices_of(&spec.span);
                RangeJob::new(spec, &slices)
            })
            .collect();
        let outputs = jobs.iter().map(|_| None).collect();
        let missing = jobs.len();
        let group = Group { purpose, jobs, outputs, missing };
        if missing == 0 {
            return self.finish_group(group);
        }
        self.reads.next += 1;
        let id = self.reads.next;
        self.reads.groups.insert(id, group);
        for job in 0..missing {
            self.drive(id, job);
        }
    }

    /// Asks what the job now wants to know.
    fn drive(&mut self, group: u64, job: usize) {
        let Some(found) = self.reads.groups.get_mut(&group) else { return };
        let asks = found.jobs[job].asks();
        let spec = found.jobs[job].spec().clone();
        for ask in asks {
            let (slice, request) = request_of(&spec, ask);
            let read = self.reads.name();
            self.reads.asked.insert(read, Asked { group, job });
            self.send_read(read, slice, request);
        }
        self.try_finish(group, job);
    }

    /// Whether a read under way, ours or another shard's, looks below this revision.
    pub(super) fn reads_below(&self, main: i64) -> bool {
        let end = Rev::end_of(main);
        let lower = |job: &RangeJob| job.spec().at < end;
        let own = self.reads.groups.values().any(|group| group.jobs.iter().any(lower));
        own || self.reads.foreign.values().any(|foreign| foreign.floor < end)
    }

    /// Carries a read to its slice, here or at another shard.
    pub(super) fn send_read(&mut self, read: ReadId, slice: SliceId, request: ReadRequest) {
        if let Some(own) = self.slices.get_mut(&slice) {
            // Asked in the middle of a turn, it is answered in the next one.
            self.busy = true;
            return own.read(read, request);
        }
        let from = self.config.id;
        let message = ToShard::Read { from, read, slice, request };
        let shard = self.config.partition.owner(slice);
        self.out.push_back(ShardEffect::ToShard { shard, message });
    }

    /// Another shard wants rows of a slice of ours.
    pub(super) fn read_for(
        &mut self,
        from: ShardId,
        read: ReadId,
        slice: SliceId,
        request: ReadRequest,
    ) {
        let name = self.reads.name();
        let floor = match &request {
            ReadRequest::Range { at, .. } | ReadRequest::Count { at, .. } => *at,
            // Whoever follows the history is told when records are gone.
            ReadRequest::History { to, .. } => Rev::end_of(*to),
        };
        self.reads.foreign.insert(name, Foreign { shard: from, read, floor });
        match self.slices.get_mut(&slice) {
            Some(slice) => slice.read(name, request),
            None => self.read_of_another_store(name, slice, request),
        }
    }

    /// A slice of ours answered: for us, or for whom it was read.
    pub(super) fn local_read_done(&mut self, read: ReadId, slice: SliceId, result: ReadResult) {
        match self.reads.foreign.remove(&read) {
            Some(Foreign { shard, read, .. }) => {
                let message = ToShard::ReadDone { read, slice, result };
                self.out.push_back(ShardEffect::ToShard { shard, message });
            }
            None => self.read_done(read, slice, result),
        }
    }

    /// A read of ours was answered.
    pub(super) fn read_done(&mut self, read: ReadId, slice: SliceId, result: ReadResult) {
        if read.0 <= self.reads.forgotten {
            return;
        }
        if self.scanned(read, &result) {
            return;
        }
        if let Some(walk) = self.reads.walks.remove(&read) {
            return self.walk_done(walk, slice, result);
        }
        if let Some(job) = self.reads.history.remove(&read) {
            return self.history_done(job, slice, result);
        }
        let Some(Asked { group, job }) = self.reads.asked.remove(&read) else {
            panic!("{read:?} was never asked");
        };
        // The group is gone if another of its reads failed first.
        let Some(found) = self.reads.groups.get_mut(&group) else { return };
        match result {
            ReadResult::Range { items, resume } => found.jobs[job].supply(slice, items, resume),
            ReadResult::Count(count) => found.jobs[job].counted(count),
            ReadResult::Compacted { .. } => return self.fail_group(group, ApiError::Compacted),
            ReadResult::History { .. } => panic!("rows were asked for, not history"),
        }
        self.drive(group, job);
    }

    /// Notes that a read answers a history job of the watch hub.
    pub(super) fn name_history_read(&mut self, job: watch::JobId) -> ReadId {
        let read = self.reads.name();
        self.reads.history.insert(read, job);
        read
    }

    /// Names a read of a walk.
    pub(super) fn name_walk_read(&mut self, walk: WalkId) -> ReadId {
        let read = self.reads.name();
        self.reads.walks.insert(read, walk);
        read
    }

    /// Names a read of the scan at start.
    pub(super) fn name_scan(&mut self, slice: SliceId) -> ReadId {
        let read = self.reads.name();
        self.reads.scans.insert(read, slice);
        read
    }

    /// The slice that a read of the scan belongs to.
    pub(super) fn take_scan(&mut self, read: ReadId) -> Option<SliceId> {
        self.reads.scans.remove(&read)
    }

    fn try_finish(&mut self, group: u64, job: usize) {
        let found = self.reads.groups.get_mut(&group).expect("driven groups exist");
        if found.outputs[job].is_some() {
            return;
        }
        let Some(output) = found.jobs[job].finish() else { return };
        found.outputs[job] = Some(output);
        found.missing -= 1;
        if found.missing == 0 {
            let group = self.reads.groups.remove(&group).expect("found a moment ago");
            self.finish_group(group);
        }
    }

    fn finish_group(&mut self, group: Group) {
        let outputs: Vec<RangeOutput> =
            group.outputs.into_iter().map(|output| output.expect("none is missing")).collect();
        match group.purpose {
            Purpose::Reply { call, plan } => {
                if self.calls.remove(call).is_some() {
                    let message = reply::encode(plan, self.header(), outputs);
                    self.reply(call, message);
                }
            }
            Purpose::Fetch(job) => self.fetched(job, outputs),
            Purpose::Page(job) => self.paged(job, outputs),
        }
    }

    fn fail_group(&mut self, group: u64, error: ApiError) {
        let group = self.reads.groups.remove(&group).expect("failed once");
        match group.purpose {
            Purpose::Reply { call, .. } => {
                if self.calls.remove(call).is_some() {
                    self.fail(call, error);
                }
            }
            Purpose::Fetch(job) => panic!("the leader's own point was compacted: {job:?}"),
            Purpose::Page(job) => self.end_stream(job.call(), Some(error.into())),
        }
    }
}

fn request_of(spec: &RangeSpec, ask: Ask) -> (SliceId, ReadRequest) {
    let keys = key_range(&spec.span);
    match ask {
        Ask::Count(slice) => (slice, ReadRequest::Count { keys, at: spec.at }),
        Ask::Rows { want, rows_max } => {
            let start = want.from.unwrap_or(keys.start);
            let request = ReadRequest::Range {
                keys: KeyRange { start, end: keys.end },
                at: spec.at,
                limit: rows_max.unwrap_or(CHUNK_ROWS).min(CHUNK_ROWS),
                limit_bytes: CHUNK_BYTES,
                fields: match spec.columns {
                    Columns::All => Fields::WithValues,
                    // A sort by value needs values even if the reply leaves them out.
                    Columns::Keys | Columns::Count if spec.sorts_by_value() => Fields::WithValues,
                    Columns::Keys | Columns::Count => Fields::KeysOnly,
                },
            };
            (want.slice, request)
        }
    }
}

fn key_range(span: &state::Span) -> KeyRange {
    let end = match span {
        state::Span::Key(_) => RangeEnd::Single,
        state::Span::From(_) => RangeEnd::Unbounded,
        state::Span::Between { end, .. } => RangeEnd::Before(end.clone()),
    };
    KeyRange { start: span.start().clone(), end }
}
