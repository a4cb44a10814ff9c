//! Owns the reads under way: which wait for a revision, which for a page, whose turn it is.
//! Never looks at a key. Invariant: each read is waiting, parked or ready, and has one turn at a
//! time; nobody starves, because turns go round.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use base::Rev;
use tree::{EntryRef, ValueRef};

use crate::catch_up::CatchUp;
use crate::count::Count;
use crate::io::{Page, Waiter};
use crate::range::Range;
use crate::request::{ReadId, ReadRequest, ReadResult};
use crate::slice::{Pace, Slice, SliceEffect};

/// What came of one turn.
pub(crate) enum Turn {
    Done(ReadResult),
    Again,
    /// Go on when the page is there.
    Wait(Page),
}

enum Standing {
    WaitsForRevision,
    Ready,
    Parked,
}

pub(crate) enum Work {
    Range(Range),
    Count(Count),
    CatchUp(CatchUp),
}

struct Job {
    /// The lowest point that it looks at.
    floor: Rev,
    standing: Standing,
    /// Taken out during its turn.
    work: Option<Work>,
}

pub(crate) struct Reads {
    jobs: BTreeMap<ReadId, Job>,
    waiting: BTreeSet<(i64, ReadId)>,
    ready: VecDeque<ReadId>,
}

impl Reads {
    pub fn new() -> Reads {
        Reads { jobs: BTreeMap::new(), waiting: BTreeSet::new(), ready: VecDeque::new() }
    }

    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether any read waits for a revision that the slice has not reached.
    pub fn any_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// `applied` is the revision that the slice has reached.
    pub fn add(&mut self, id: ReadId, request: ReadRequest, applied: i64) {
        let (required, floor) = (request.required(), request.floor());
        let work = match request {
            ReadRequest::Range { keys, at, limit, limit_bytes, fields } => {
                Work::Range(Range::new(keys, at, limit, limit_bytes, fields))
            }
            ReadRequest::Count { keys, at } => Work::Count(Count::new(keys, at)),
            ReadRequest::History { from, to, keys, limit_bytes, prev } => {
                Work::CatchUp(CatchUp::new(from, Rev::end_of(to), keys, limit_bytes, prev))
            }
        };
        let job = Job { floor, standing: Standing::WaitsForRevision, work: Some(work) };
        assert!(self.jobs.insert(id, job).is_none());
        match required <= applied {
            true => self.make_ready(id),
            false => drop(self.waiting.insert((required, id))),
        }
    }

    pub fn remove(&mut self, id: ReadId) {
        if self.jobs.remove(&id).is_some() {
            self.waiting.retain(|(_, waiting)| *waiting != id);
            self.ready.retain(|ready| *ready != id);
        }
    }

    /// Makes the reads ready whose revision was reached.
    pub fn release(&mut self, applied: i64) {
        while let Some(&(required, id)) = self.waiting.first() {
            if applied < required {
                return;
            }
            self.waiting.pop_first();
            self.make_ready(id);
        }
    }

    fn make_ready(&mut self, id: ReadId) {
        let job = self.jobs.get_mut(&id).expect("queues name known jobs");
        job.standing = Standing::Ready;
        self.ready.push_back(id);
    }

    /// A page has come that this read asked for, unless another of that name did.
    pub fn wake(&mut self, id: ReadId) {
        match self.jobs.get(&id).map(|job| &job.standing) {
            Some(Standing::Parked) => self.make_ready(id),
            Some(Standing::Ready | Standing::WaitsForRevision) | None => {}
        }
    }

    /// A commit happened: places of large values that were noted before may be reused.
    pub fn forget_extents(&mut self) {
        for job in self.jobs.values_mut() {
            if let Some(Work::Range(range)) = &mut job.work {
                range.forget_extents();
            }
        }
    }
}

impl Slice {
    /// Lets `see` look at one key at a point, if that can be told at once: everything up to the
    /// point is applied, nothing after it changed the key, and all of it is in memory. Otherwise
    /// `None`, and the read must be asked for.
    pub fn look<T>(
        &mut self,
        key: &[u8],
        at: Rev,
        see: impl FnOnce(Option<EntryRef<'_>>) -> T,
    ) -> Option<T> {
        let is_there = self.failure.is_none()
            && !self.past.is_opening()
            && at.main <= self.stream.applied
            && !self.is_compacted(at);
        if !is_there {
            return None;
        }
        let seen = self.tree.view(key, |entry| match entry {
            None => Some(see(None)),
            Some(entry) if at < entry.modified => None,
            Some(entry) if !entry.is_live() => Some(see(None)),
            Some(entry) => match entry.value {
                ValueRef::Inline(_) | ValueRef::Waiting(_) => Some(see(Some(entry))),
                ValueRef::Extent(_) => None,
            },
        });
        seen.ok().flatten()
    }

    /// Gives up to `turns` turns.
    pub(crate) fn run_reads(&mut self, turns: usize) -> Pace {
        for _ in 0..turns {
            let Some(id) = self.reads.ready.pop_front() else { return Pace::Idle };
            let job = self.reads.jobs.get_mut(&id).expect("queues name known jobs");
            let (floor, mut work) = (job.floor, job.work.take().expect("one turn at a time"));
            let turn = match &mut work {
                Work::Range(_) | Work::Count(_) if self.is_compacted(floor) => {
                    Turn::Done(ReadResult::Compacted { compact: self.compact })
                }
                // Who follows the history is told only when records are really gone: a watch that
                // keeps up must not be ended by a compaction which lands while it reads.
                Work::CatchUp(_) if self.is_dropped(floor) => {
                    Turn::Done(ReadResult::Compacted { compact: self.compact })
                }
                Work::Range(range) => range.turn(self, id),
                Work::Count(count) => count.turn(self),
                Work::CatchUp(catch_up) => catch_up.turn(self),
            };
            if let Turn::Done(result) = turn {
                self.reads.jobs.remove(&id);
                self.effects.push_back(SliceEffect::ReadDone { job: id, result });
                continue;
            }
            let job = self.reads.jobs.get_mut(&id).expect("nobody else removes it");
            job.work = Some(work);
            match turn {
                Turn::Again => self.reads.ready.push_back(id),
                Turn::Wait(page) => {
                    job.standing = Standing::Parked;
                    self.want(page, Waiter::Read(id));
                }
                Turn::Done(_) => unreachable!("handled above"),
            }
        }
        if self.reads.ready.is_empty() { Pace::Idle } else { Pace::Busy }
    }

    /// Are records from this point on gone?
    fn is_dropped(&mut self, floor: Rev) -> bool {
        let history = self.past.get();
        history.is_some_and(|history| floor.main < history.compacted())
    }

    /// Is the point below what can be answered rightly?
    fn is_compacted(&mut self, floor: Rev) -> bool {
        let is_over = floor.main < self.compact && !self.pins.keep(floor.main);
        let history = self.past.get();
        history.is_some_and(|history| {
            // Tombstones up to the history's own mark may be purged: points inside that very
            // transaction are over too.
            is_over || floor < Rev::end_of(history.compacted())
        })
    }
}
