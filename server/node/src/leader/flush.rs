//! Owns the carrying of log flushes to the disk and of durability back to the group.
//! Invariant: the group hears that a ready is persisted only when the writer reports everything of
//! it durable, in order.

use std::collections::VecDeque;

use base::limits::{LOG_BATCH_BYTES, LOG_FLUSHES_MAX};
use base::{FileId, Instant, IoRequest};
use consensus::{Consensus, Effect, Event, Persist, ReadyNumber};
use wal::{Backlog, Lsn, Record, Ticket, Urgency};

use super::{Leader, Op, Report};

/// Readies whose records are not durable yet.
pub struct Flushes {
    persists: VecDeque<(Lsn, ReadyNumber)>,
    in_flight: usize,
    last_flush: Instant,
}

impl Flushes {
    /// None.
    pub fn new() -> Flushes {
        Flushes { persists: VecDeque::new(), in_flight: 0, last_flush: Instant(0) }
    }

    /// When the last flush was completed.
    pub fn last_flush(&self) -> Instant {
        self.last_flush
    }
}

impl Leader {
    pub(super) fn consensus(&mut self) -> &mut Consensus {
        self.consensus.as_mut().expect("the group is running")
    }

    /// Write when idle, gather when busy: entries are made while a flush can take them soon.
    pub(super) fn log_takes_more(&self) -> bool {
        let waiting = self.writer.as_ref().map_or(0, wal::Writer::waiting_bytes);
        self.flushes.in_flight < LOG_FLUSHES_MAX && waiting < LOG_BATCH_BYTES
    }

    /// Works off what the group wants done. True if there was anything.
    pub(super) fn drain_consensus(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(effect) = self.consensus().poll_effect() {
            any = true;
            match effect {
                Effect::Persist(persist) => self.persist(persist),
                Effect::Apply(entries) => self.take_committed(entries),
                Effect::ReadReady { context, index } => self.rounds.confirmed(context.0, index),
                Effect::ReadLost { context } => self.rounds.lost(context.0),
                Effect::Role(role) => self.take_role(role.term, role.leader.unwrap_or(0)),
                Effect::Send { to, message } if message.is_snapshot() => {
                    self.send_snapshot(now, to, message);
                }
                Effect::Send { to, message } => self.send_raft(to, message),
                Effect::SnapshotWanted { peer, index } => self.snapshot_wanted(now, peer, index),
                Effect::Install(snapshot) => {
                    // What follows is for a life that ends here.
                    self.install(snapshot);
                    break;
                }
            }
        }
        any
    }

    fn persist(&mut self, persist: Persist) {
        let urgency = persist.urgency;
        let mark = persist.mark.map(Record::Mark);
        let entries = persist.entries.into_iter().map(Record::Entry);
        let state = persist.hard_state.map(Record::HardState);
        let mut last = None;
        for record in mark.into_iter().chain(entries).chain(state) {
            self.checkpoints.logged(record.encoded_bytes() as u64);
            last = Some(self.writer().append(record, urgency));
        }
        let last = last.expect("there is something to persist");
        match urgency {
            Urgency::Wait => self.flushes.persists.push_back((last, persist.number)),
            // Nobody waits for a mere commit index.
            Urgency::Ride => {}
        }
    }

    /// Hands flushes and segment upkeep to the disk, and durability to the group.
    pub(super) fn flush_log(&mut self, now: Instant) {
        let backlog = match self.writer().waiting_bytes() > LOG_BATCH_BYTES {
            true => Backlog::Long,
            false => Backlog::Short,
        };
        while let Some(flush) = self.writer().poll_flush(backlog) {
            self.flushes.in_flight += 1;
            self.counts.log_bytes += flush.bytes.len() as u64;
            let request =
                IoRequest::Write { file: flush.file, offset: flush.offset, bytes: flush.bytes };
            self.submit(Op::Flush(flush.ticket, now), request);
        }
        while let Some(request) = self.writer().poll_upkeep() {
            let op = match &request {
                IoRequest::Prepare { file: FileId::Log(number), .. } => Op::Prepare(*number),
                IoRequest::Remove { file: FileId::Log(number) } => Op::RemoveLog(*number),
                other => unreachable!("upkeep prepares and removes segments, not {other:?}"),
            };
            self.submit(op, request);
        }
    }

    /// Tells the group which readies are durable. True if any is.
    pub(super) fn settle_persisted(&mut self, now: Instant) -> bool {
        let durable = self.writer().durable().lsn;
        let mut newest = None;
        while let Some((_, number)) = self.flushes.persists.pop_front_if(|(lsn, _)| *lsn <= durable)
        {
            newest = Some(number);
        }
        match newest {
            Some(number) => {
                self.consensus().handle(now, Event::Persisted(number));
                true
            }
            None => false,
        }
    }

    /// A flush is on disk.
    pub(super) fn flushed(&mut self, now: Instant, ticket: Ticket) {
        self.flushes.in_flight -= 1;
        self.flushes.last_flush = now;
        self.writer().flushed(ticket);
    }

    /// The group's role changed.
    fn take_role(&mut self, term: u64, leader: u64) {
        let before = self.role;
        if (before.term, before.leader) == (term, leader) {
            return;
        }
        if leader != 0 && leader != before.leader {
            self.counts.leader_changes += 1;
        }
        self.role.term = term;
        self.role.leader = leader;
        self.forwards_start_over();
        self.rounds.start_over();
        self.sequencer.leases_mut().demote();
        self.tell_facts();
        self.report(Report::Role { term, leader });
    }
}
