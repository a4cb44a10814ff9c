//! Owns catching up: the queue of watches that read history, the reads under way, and what their
//! records become. Bounded slices, first come first served, neighbours share a read.
//! Never reads anything itself. Invariant: a watch away from the head on an open stream is in the
//! queue or in a job, and every job that comes back moves somebody forward.

use base::Rev;
use history::Record;

use crate::batch::{Batch, Matches};
use crate::hub::WatchHub;
use crate::index::Index;
use crate::publish::{Offered, Shared, Source};
use crate::span::Span;
use crate::stream::Flow;
use crate::watcher::{Phase, Turn, Why};

/// Watches this close behind one another share a read.
const NEAR_REVISIONS: i64 = 1024;
/// Watches looked at for company, for each one that may come along.
const COMPANY_TRIES: usize = 4;

/// Names one read of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// Whether a read needs the versions that were replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Previous {
    /// At least one watch does.
    Wanted,
    /// None does; they may be left out.
    Unwanted,
}

/// What to read: the records of whole revisions, of all slices, merged in revision order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRead {
    /// Goes with the answer.
    pub job: JobId,
    /// The first revision wanted.
    pub from: Rev,
    /// The last revision wanted; slices that have not reached it are waited for.
    pub to_main: i64,
    /// Records outside all of these are not wanted (nor do they harm).
    pub spans: Vec<Span>,
    /// Stop after the revision that passes this many bytes.
    pub limit_bytes: usize,
    /// Whether replaced versions are wanted.
    pub previous: Previous,
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum History {
    /// All wanted records with `from.main <= main <= upto`, in order. `upto` is at least
    /// `from.main` and at most `to_main`.
    Records {
        /// The records.
        records: Vec<Record>,
        /// The last revision that is complete.
        upto: i64,
    },
    /// Records that are wanted are gone: compaction up to this revision dropped them. A compact
    /// revision above `from` is no reason by itself; the hub knows who may still read below it.
    Compacted {
        /// The compact revision.
        main: i64,
    },
}

/// One read under way.
#[derive(Debug)]
pub(crate) struct Job {
    /// Slots and tickets of the watches that share it.
    members: Vec<(u32, u64)>,
    /// What they wait for; members by their position above.
    index: Index,
    /// Why they read; the same for all.
    why: Why,
    from: i64,
    to: i64,
}

impl WatchHub {
    /// Takes what a read found. Every read is answered once.
    pub fn history(&mut self, job: JobId, found: History) {
        let job = self.jobs.remove(&job).expect("a read is answered once");
        match found {
            History::Records { records, upto } => self.replay(&job, &records, upto),
            History::Compacted { main } => {
                assert!(job.from < main);
                self.compacted(main);
                for member in job.members.iter().copied() {
                    if self.reads(member) {
                        self.fall_behind(member.0);
                        self.enqueue(member.0);
                    }
                }
            }
        }
        self.answer_asking();
        self.dispatch();
    }

    /// Puts a watch at the end of the queue.
    pub(crate) fn enqueue(&mut self, slot: u32) {
        self.last_ticket += 1;
        let watcher = self.watchers.get_mut(slot);
        let Phase::Away(why, _) = watcher.phase else { unreachable!("it is at the head") };
        watcher.phase = Phase::Away(why, Turn::Queued);
        watcher.ticket = self.last_ticket;
        self.queue.insert(self.last_ticket, slot);
    }

    /// Starts reads while there is room for them and somebody waits.
    pub(crate) fn dispatch(&mut self) {
        while self.jobs.len() < self.options.jobs_max {
            let Some((_, slot)) = self.queue.pop_first() else { return };
            if self.ready(slot) {
                self.start_job(slot);
            }
        }
    }

    /// Whether a watch that was just taken from the queue can read: its stream takes replies, and
    /// what it needs is not compacted. Otherwise it is put where it belongs.
    fn ready(&mut self, slot: u32) -> bool {
        let watcher = self.watchers.get_mut(slot);
        let Phase::Away(why, Turn::Queued) = watcher.phase else {
            unreachable!("only watches away from the head are queued")
        };
        if self.streams.get(watcher.stream).flow == Flow::Blocked {
            watcher.phase = Phase::Away(Why::Behind, Turn::Idle);
            return false;
        }
        // Compaction must not take events from those who keep up: etcd told them at once.
        if why == Why::Behind && watcher.next < self.compact {
            self.end_compacted(slot);
            return false;
        }
        watcher.phase = Phase::Away(why, Turn::Reading);
        true
    }

    fn start_job(&mut self, first: u32) {
        let from = self.watchers.get(first).next;
        assert!(from <= self.published);
        let why = self.why(first);
        let mut slots = vec![first];
        let near = from..=from.saturating_add(NEAR_REVISIONS);
        let room = self.options.job_watchers_max - 1;
        let tries = self.queue.iter().take(room.saturating_mul(COMPANY_TRIES));
        let fits = |slot| near.contains(&self.watchers.get(slot).next) && self.why(slot) == why;
        let company = tries.filter(|&(_, &slot)| fits(slot));
        let company: Vec<_> = company.take(room).map(|(&ticket, &slot)| (ticket, slot)).collect();
        for (ticket, slot) in company {
            self.queue.remove(&ticket);
            if self.ready(slot) {
                slots.push(slot);
            }
        }
        let mut index = Index::new();
        let mut spans = Vec::new();
        let mut previous = Previous::Unwanted;
        let mut members = Vec::with_capacity(slots.len());
        for (position, &slot) in (0..).zip(&slots) {
            let span = self.index.span(self.index.group_of(slot)).clone();
            let known = index.groups_end();
            if index.insert(position, span.clone()) == known {
                spans.push(span);
            }
            let watcher = self.watchers.get(slot);
            if watcher.wants.previous {
                previous = Previous::Wanted;
            }
            members.push((slot, watcher.ticket));
        }
        self.last_job += 1;
        let (job, to) = (JobId(self.last_job), self.published);
        self.jobs.insert(job, Job { members, index, why, from, to });
        let limit_bytes = self.options.history_bytes_max;
        let from = Rev::new(from, 0);
        self.ask(HistoryRead { job, from, to_main: to, spans, limit_bytes, previous });
    }

    /// Offers records to the members of a job.
    fn replay(&mut self, job: &Job, records: &[Record], upto: i64) {
        assert!(job.from <= upto);
        assert!(upto <= job.to);
        assert!(records.is_sorted_by(|a, b| a.rev < b.rev));
        if let [first, ..] = records {
            assert!(job.from <= first.rev.main);
            assert!(records[records.len() - 1].rev.main <= upto);
        }
        self.turn += 1;
        let matches = Matches::find(&job.index, records, self.pairs_max);
        // Records that were not looked at are read again.
        let upto = records.get(matches.taken).map_or(upto, |record| record.rev.main - 1);
        let compact = match job.why {
            Why::Behind => self.compact,
            Why::Fetching => 0,
        };
        let mut batch = Batch::new(records, &matches.matched, compact);
        let mut shared = Vec::new();
        shared.resize_with(job.index.groups_end() as usize, Shared::default);
        for (position, &member) in (0..).zip(&job.members) {
            if !self.reads(member) {
                continue;
            }
            let group = job.index.group_of(position);
            let shared = &mut shared[group as usize];
            let list = matches.of(group);
            match self.offer(member.0, Source::Read, &mut batch, list, shared) {
                Offered::Done => self.caught_up_to(member.0, upto),
                Offered::Stalled(_) => self.stay(member.0),
                Offered::Lacks(_) => unreachable!("records carry what they replaced"),
            }
        }
    }

    fn why(&self, slot: u32) -> Why {
        match self.watchers.get(slot).phase {
            Phase::Away(why, _) => why,
            Phase::Head => unreachable!("it is at the head"),
        }
    }

    /// From now on compaction may overtake the watch.
    fn fall_behind(&mut self, slot: u32) {
        let watcher = self.watchers.get_mut(slot);
        let Phase::Away(_, turn) = watcher.phase else { unreachable!("it is at the head") };
        watcher.phase = Phase::Away(Why::Behind, turn);
    }

    /// Whether a member of a job is still the watch that joined it.
    fn reads(&self, (slot, ticket): (u32, u64)) -> bool {
        self.watchers.find(slot).is_some_and(|watcher| watcher.ticket == ticket)
    }

    /// Notes that a watch has been offered everything up to `upto`.
    fn caught_up_to(&mut self, slot: u32, upto: i64) {
        let watcher = self.watchers.get_mut(slot);
        watcher.next = watcher.next.max(upto + 1);
        if watcher.next <= self.published {
            return self.stay(slot);
        }
        watcher.phase = Phase::Head;
        watcher.ticket = 0;
        self.streams.get_mut(watcher.stream).away.remove(&slot);
    }

    /// Leaves a watch where it is: it reads on when it is its turn and its stream takes replies.
    fn stay(&mut self, slot: u32) {
        let watcher = self.watchers.get_mut(slot);
        match self.streams.get(watcher.stream).flow {
            Flow::Open => self.enqueue(slot),
            Flow::Blocked => watcher.phase = Phase::Away(Why::Behind, Turn::Idle),
        }
    }
}
