//! Owns the giving up of leadership while this member still can: before an orderly stop, and when
//! its own disk is stuck.
//! Never stops anything itself. Invariant: leadership is offered only to a voter that was heard
//! from lately, the one that holds most of the log.

use std::time::Duration;

use base::Instant;
use consensus::Event;

use super::{Leader, Op, Report};

/// Where the giving up stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// Nobody asked.
    No,
    /// Stop as soon as somebody else leads, or then.
    BeforeStop {
        /// At the latest.
        by: Instant,
    },
}

/// A log write that takes so long, in parts of the election timeout, is stuck: the time that is
/// left of two timeouts must do for the transfer, or for another try.
const STUCK_PART: u32 = 2;

impl Leader {
    /// The process should stop: leadership goes first, if somebody can take it.
    pub(super) fn leave(&mut self, now: Instant) {
        match self.successor() {
            Some(to) if self.leads() && self.leaving == Leaving::No => {
                self.consensus().handle(now, Event::TransferLeader(to));
                self.leaving = Leaving::BeforeStop { by: now + self.config.election_timeout };
            }
            Some(_) | None => self.stop(),
        }
    }

    /// Stops once leadership is gone, or the wait for that is over.
    pub(super) fn finish_leaving(&mut self, now: Instant) {
        match self.leaving {
            Leaving::No => {}
            Leaving::BeforeStop { by } => {
                if !self.stopping && (!self.leads() || by <= now) {
                    self.stop();
                }
            }
        }
    }

    /// When to look again.
    pub(super) fn leave_deadline(&self) -> Option<Instant> {
        match self.leaving {
            Leaving::No => None,
            Leaving::BeforeStop { by } => (!self.stopping).then_some(by),
        }
    }

    /// Hands leadership over if the oldest write of the log does not come back. Ticks do not wait
    /// for the disk, so neither does this.
    pub(super) fn watch_disk(&mut self, now: Instant) {
        let Some(age) = self.oldest_flush(now) else { return };
        let limit = self.config.election_timeout / STUCK_PART;
        if !self.leads() || age < limit || now.since(self.handed_over) < limit {
            return;
        }
        if let Some(to) = self.successor() {
            self.handed_over = now;
            self.consensus().handle(now, Event::TransferLeader(to));
            self.report(Report::DiskStuck { age, to });
        }
    }

    fn oldest_flush(&self, now: Instant) -> Option<Duration> {
        let since = |op: &Op| match op {
            Op::Flush(_, since) => Some(*since),
            Op::Start
            | Op::Fetch
            | Op::Prepare(_)
            | Op::RemoveLog(_)
            | Op::ManifestWrite
            | Op::ManifestSync => None,
        };
        self.ops.values().filter_map(since).min().map(|since| now.since(since))
    }

    fn successor(&self) -> Option<u64> {
        let voters = self.membership().voters;
        let progress = self.consensus.as_ref()?.status().progress;
        let fit = progress.iter().filter(|peer| peer.active && voters.contains(&peer.id));
        fit.max_by_key(|peer| peer.matched).map(|peer| peer.id)
    }
}
