//! Owns the reads under way at a shard: groups of ranges that belong to one reply, asked of own and
//! other shards' slices, and reads done for others.
//! Invariant: a group is finished when every range of it is; a group whose point was compacted
//! away meanwhile fails as a whole.

use base::{Rev, SliceId};
use slice::{ReadId, ReadRequest, ReadResult};
use wire::{ApiError, Code, Status};

use super::fetch::FetchJob;
use super::range::{RangeJob, RangeOutput, RangeSpec};
use super::reply::{self, ReplyPlan};
use super::scroll::{LARGE_BYTES, SORTED_BYTES_MAX, Shape};
use super::slots::Slots;
use super::walks::WalkId;
use super::{Shard, ShardEffect};
use crate::message::{CallId, ShardId, ToShard};

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
}

struct Group {
    purpose: Purpose,
    jobs: Vec<RangeJob>,
    outputs: Vec<Option<RangeOutput>>,
    missing: usize,
    /// Of the rows in the outputs.
    bytes: usize,
}

/// Whom a read is for.
pub(super) enum Route {
    /// A range of a group of ours.
    Group { group: u64, job: usize },
    /// Another shard.
    Foreign {
        shard: ShardId,
        /// Their name for it.
        read: ReadId,
        /// The lowest point that it looks at.
        floor: Rev,
    },
    /// The watch hub.
    History(watch::JobId),
    /// The scan of a slice at start.
    Scan(SliceId),
    /// A hash or a snapshot.
    Walk(WalkId),
    /// A reply that is read while it is sent, in which of its passes.
    Scroll { call: CallId, pass: u8 },
}

/// Whether every read that was ever asked and not answered is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// Yes.
    Whole,
    /// Those of a store that is gone were forgotten.
    Partial,
}

/// The reads of one shard. A read's name is its place among the routes.
pub struct Reads {
    groups: Slots<Group>,
    routes: Slots<Route>,
    /// Some answers may be of a store that is gone.
    memory: Memory,
}

impl Reads {
    /// None yet.
    pub fn new() -> Reads {
        Reads { groups: Slots::new(), routes: Slots::new(), memory: Memory::Whole }
    }

    /// Nobody waits for anything any more.
    pub fn forget(&mut self) {
        self.groups.clear();
        self.routes.clear();
        self.memory = Memory::Partial;
    }

    fn name(&mut self, route: Route) -> ReadId {
        ReadId(self.routes.insert(route))
    }

    /// Whom an answer is for; `None` if nobody waits any more.
    fn take(&mut self, read: ReadId) -> Option<Route> {
        let route = self.routes.remove(read.0);
        assert!(route.is_some() || self.memory == Memory::Partial, "{read:?} was never asked");
        route
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
        let group = Group { purpose, jobs, outputs, missing, bytes: 0 };
        if missing == 0 {
            return self.finish_group(group);
        }
        let id = self.reads.groups.insert(group);
        for job in 0..missing {
            self.drive(id, job);
        }
    }

    /// Asks what the job now wants to know.
    fn drive(&mut self, group: u64, job: usize) {
        let Some(found) = self.reads.groups.get_mut(group) else { return };
        for (slice, request) in found.jobs[job].asks() {
            let read = self.reads.name(Route::Group { group, job });
            self.send_read(read, slice, request);
        }
        self.try_finish(group, job);
    }

    /// Whether a read under way, ours or another shard's, looks below this revision.
    pub(super) fn reads_below(&self, main: i64) -> bool {
        let end = Rev::end_of(main);
        let lower = |job: &RangeJob| job.spec().at < end;
        let own = self.reads.groups.iter().any(|(_, group)| group.jobs.iter().any(lower));
        own || self.reads.routes.iter().any(|(_, route)| match route {
            Route::Foreign { floor, .. } => *floor < end,
            Route::Group { .. }
            | Route::History(_)
            | Route::Scan(_)
            | Route::Walk(_)
            | Route::Scroll { .. } => false,
        })
    }

    /// Carries a read to its slice, here or at another shard.
    pub(super) fn send_read(&mut self, read: ReadId, slice: SliceId, request: ReadRequest) {
        if let Some(own) = self.slices.get_mut(slice) {
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
        let floor = match &request {
            ReadRequest::Range { at, .. } | ReadRequest::Count { at, .. } => *at,
            // Whoever follows the history is told when records are gone.
            ReadRequest::History { to, .. } => Rev::end_of(*to),
        };
        let name = self.reads.name(Route::Foreign { shard: from, read, floor });
        match self.slices.get_mut(slice) {
            Some(slice) => slice.read(name, request),
            None => self.read_of_another_store(name, slice, request),
        }
    }

    /// A slice of ours answered: for us, or for whom it was read.
    pub(super) fn local_read_done(&mut self, read: ReadId, slice: SliceId, result: ReadResult) {
        let Some(route) = self.reads.take(read) else { return };
        if let Route::Foreign { shard, read, .. } = route {
            let message = ToShard::ReadDone { read, slice, result };
            return self.out.push_back(ShardEffect::ToShard { shard, message });
        }
        self.arrived(route, slice, result);
    }

    /// A read of ours was answered by another shard.
    pub(super) fn read_done(&mut self, read: ReadId, slice: SliceId, result: ReadResult) {
        let Some(route) = self.reads.take(read) else { return };
        self.arrived(route, slice, result);
    }

    fn arrived(&mut self, route: Route, slice: SliceId, result: ReadResult) {
        match route {
            Route::Group { group, job } => self.supply(group, job, slice, result),
            Route::History(job) => self.history_done(job, slice, result),
            Route::Walk(walk) => self.walk_done(walk, slice, result),
            Route::Scroll { call, pass } => self.scroll_read(call, pass, slice, result),
            Route::Scan(slice) => self.scanned(slice, &result),
            Route::Foreign { .. } => unreachable!("what others asked is answered to them"),
        }
    }

    fn supply(&mut self, group: u64, job: usize, slice: SliceId, result: ReadResult) {
        // The group is gone if another of its reads failed first.
        let Some(found) = self.reads.groups.get_mut(group) else { return };
        match result {
            ReadResult::Range { items, resume } => found.jobs[job].supply(slice, items, resume),
            ReadResult::Count(count) => found.jobs[job].counted(count),
            ReadResult::Compacted { .. } => {
                return self.fail_group(group, ApiError::Compacted.into());
            }
            ReadResult::History { .. } => panic!("rows were asked for, not history"),
        }
        let bytes = found.jobs[job].bytes();
        if LARGE_BYTES < bytes {
            return self.grown(group, job, bytes);
        }
        self.drive(group, job);
    }

    /// A reply turns out large: a range in the order of keys goes on as a scroll.
    fn grown(&mut self, group: u64, job: usize, bytes: usize) {
        let found = self.reads.groups.get_mut(group).expect("it was supplied just now");
        let is_sorted = found.jobs[job].spec().sort.is_some();
        match &found.purpose {
            Purpose::Reply { call, plan: ReplyPlan::Range { revision } } if !is_sorted => {
                let (call, revision, spec) = (*call, *revision, found.jobs[job].spec().clone());
                self.reads.groups.remove(group);
                if self.calls.remove(call).is_some() {
                    self.start_scroll(call, Shape::Message, revision, spec);
                }
            }
            Purpose::Reply { plan: ReplyPlan::Range { .. }, .. } if SORTED_BYTES_MAX < bytes => {
                self.fail_group(group, too_large());
            }
            Purpose::Reply { .. } | Purpose::Fetch(_) => self.drive(group, job),
        }
    }

    /// Names a read of ours.
    pub(super) fn name_read(&mut self, route: Route) -> ReadId {
        self.reads.name(route)
    }

    /// Notes that a read answers a history job of the watch hub.
    pub(super) fn name_history_read(&mut self, job: watch::JobId) -> ReadId {
        self.reads.name(Route::History(job))
    }

    /// Names a read of a walk.
    pub(super) fn name_walk_read(&mut self, walk: WalkId) -> ReadId {
        self.reads.name(Route::Walk(walk))
    }

    /// Names a read of the scan at start.
    pub(super) fn name_scan(&mut self, slice: SliceId) -> ReadId {
        self.reads.name(Route::Scan(slice))
    }

    fn try_finish(&mut self, group: u64, job: usize) {
        let found = self.reads.groups.get_mut(group).expect("driven groups exist");
        if found.outputs[job].is_some() {
            return;
        }
        let Some(output) = found.jobs[job].finish() else { return };
        found.bytes += found.jobs[job].bytes();
        found.outputs[job] = Some(output);
        found.missing -= 1;
        if found.missing == 0 {
            let group = self.reads.groups.remove(group).expect("found a moment ago");
            self.finish_group(group);
        }
    }

    fn finish_group(&mut self, group: Group) {
        let outputs: Vec<RangeOutput> =
            group.outputs.into_iter().map(|output| output.expect("none is missing")).collect();
        match group.purpose {
            Purpose::Reply { call, plan: ReplyPlan::Range { revision } }
                if LARGE_BYTES < group.bytes =>
            {
                let output = outputs.into_iter().next().expect("a range has one output");
                if self.calls.remove(call).is_some() {
                    self.start_scroll_of(call, revision, output);
                }
            }
            Purpose::Reply { call, plan } => {
                if self.calls.remove(call).is_some() {
                    let message = reply::encode(plan, self.header(), outputs);
                    self.reply(call, message);
                }
            }
            Purpose::Fetch(job) => self.fetched(job, outputs),
        }
    }

    fn fail_group(&mut self, group: u64, error: Status) {
        let group = self.reads.groups.remove(group).expect("failed once");
        match group.purpose {
            Purpose::Reply { call, plan } => {
                // A core that stood still may find that others have compacted meanwhile what a
                // reply should show. What was written is written: it must not sound refused.
                let error = match plan {
                    ReplyPlan::Range { .. } => error,
                    ReplyPlan::Put(_) | ReplyPlan::DeleteRange(_) | ReplyPlan::Txn(_) => {
                        ApiError::Timeout.into()
                    }
                };
                if self.calls.remove(call).is_some() {
                    self.fail(call, error);
                }
            }
            Purpose::Fetch(job) => panic!("the leader's own point was compacted: {job:?}"),
        }
    }
}

/// A sorted range must be in memory as a whole.
fn too_large() -> Status {
    let text = format!(
        "a sorted range may hold {SORTED_BYTES_MAX} bytes: set a limit, or sort where it arrives"
    );
    Status::new(Code::ResourceExhausted, text)
}
