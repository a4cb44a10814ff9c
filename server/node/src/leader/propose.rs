//! Owns commands on their way into the log: the queue of what shards sent, the entry they become,
//! and who waits for each.
//! Invariant: a command's number is used once in the life of the process and the waiting calls
//! stand in the order of their numbers.

use std::collections::{BTreeSet, VecDeque};

use base::Instant;
use base::limits::LOG_BATCH_BACKLOG_BYTES;
use state::{Admit, Command, CommandBatch, Kind, Origin, validate};
use wire::{ApiError, etcdserverpb as pb};

use super::{Leader, LeaderEffect, Report};
use crate::figures::Histogram;
use crate::message::{CallRef, Proposal, ShardId};
use crate::peer::PeerNote;

/// Commands that wait or are in the log, not yet decided; more are refused (etcd's 5000 entries).
const UNDECIDED_MAX: usize = 100_000;

/// Bits of a command's number that count; those above tell one life of the process from another.
const COUNT_BITS: u32 = 40;

/// Commands on their way.
pub struct Proposals {
    waiting: VecDeque<(Option<(CallRef, Instant)>, Command)>,
    waiting_bytes: usize,
    // Calls whose command is in the log, by the command's number.
    pending: VecDeque<(u64, CallRef)>,
    // Calls that left while their commands waited, by shard and number: dropped all at once.
    left: BTreeSet<(u16, u64)>,
    first: u64,
    sequence: u64,
}

impl Proposals {
    /// None yet. `epoch` makes the numbers differ from those of an earlier life of the process.
    pub fn new(epoch: u64) -> Proposals {
        // The low bits count from zero; the high ones are this life's.
        let first = epoch << COUNT_BITS;
        Proposals {
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            pending: VecDeque::new(),
            left: BTreeSet::new(),
            first,
            sequence: first,
        }
    }

    /// Queues a command for the next entry, with the call that waits for it and when that came.
    pub fn push(
        &mut self,
        call: Option<(CallRef, Instant)>,
        member: u64,
        make: impl FnOnce(Origin) -> Command,
    ) {
        self.sequence += 1;
        let command = make(Origin { member, sequence: self.sequence });
        self.waiting_bytes += command.encoded_bytes();
        self.waiting.push_back((call, command));
    }

    /// Whether a command of this number was queued in this life of the process.
    pub fn is_of_this_life(&self, sequence: u64) -> bool {
        sequence >> COUNT_BITS == self.first >> COUNT_BITS
    }

    /// Takes the call that waits for this number, forgetting those before it: their commands were
    /// lost with a term and will never be decided. The number must be of this life.
    pub fn settle(&mut self, sequence: u64) -> (Vec<CallRef>, Option<CallRef>) {
        let mut lost = Vec::new();
        while let Some((first, call)) = self.pending.front().copied() {
            if first > sequence {
                break;
            }
            self.pending.pop_front();
            if first == sequence {
                return (lost, Some(call));
            }
            lost.push(call);
        }
        (lost, None)
    }

    /// Commands without an outcome.
    pub fn undecided(&self) -> usize {
        self.waiting.len() + self.pending.len()
    }

    /// A peer's command, to be proposed here.
    fn push_forwarded(&mut self, command: Command) {
        self.waiting_bytes += command.encoded_bytes();
        self.waiting.push_back((None, command));
    }

    /// The call's client has left: its command is dropped unless it is under way.
    pub fn forget(&mut self, call: CallRef) {
        if !self.waiting.is_empty() {
            self.left.insert((call.shard.0, call.call.0));
        }
    }

    fn drop_left(&mut self) {
        if self.left.is_empty() {
            return;
        }
        let left = std::mem::take(&mut self.left);
        let gone = |call: &CallRef| left.contains(&(call.shard.0, call.call.0));
        self.waiting.retain(|(call, _)| call.as_ref().is_none_or(|(call, _)| !gone(call)));
        self.waiting_bytes = self.waiting.iter().map(|(_, c)| c.encoded_bytes()).sum();
    }

    /// This member does not lead any more: peers send theirs to whoever does. Of our own, those
    /// whose clients have given up are dropped: they were told that nobody knows.
    fn keep_own(&mut self, member: u64, limit: Instant) {
        self.waiting.retain(|(call, command)| {
            let alive = call.is_none_or(|(_, since)| limit <= since);
            command.origin.member == member && alive
        });
        self.waiting_bytes = self.waiting.iter().map(|(_, c)| c.encoded_bytes()).sum();
    }

    fn next_batch(&mut self, now: Instant, queue: &mut Histogram) -> CommandBatch {
        let mut commands = Vec::new();
        let mut bytes = 0;
        while let Some((call, command)) = self.waiting.pop_front() {
            bytes += command.encoded_bytes();
            self.waiting_bytes -= command.encoded_bytes();
            if let Some((call, since)) = call {
                queue.observe_between(since, now);
                self.pending.push_back((command.origin.sequence, call));
            }
            commands.push(command);
            let next = self.waiting.front().map_or(0, |(_, command)| command.encoded_bytes());
            if bytes + next > LOG_BATCH_BACKLOG_BYTES / 2 {
                break;
            }
        }
        CommandBatch { commands }
    }
}

impl Leader {
    /// Commands from a shard: checks what only the leader knows and queues them.
    pub(super) fn take_proposals(&mut self, shard: ShardId, proposals: Vec<Proposal>) {
        for proposal in proposals {
            let call = CallRef { shard, call: proposal.call };
            match self.admit(&proposal) {
                Err(error) => self.refuse(call, error),
                Ok(()) => self.queue(call, proposal),
            }
        }
    }

    fn admit(&mut self, proposal: &Proposal) -> Result<(), ApiError> {
        if self.stopping {
            return Err(ApiError::Stopped);
        }
        if self.proposals.undecided() >= UNDECIDED_MAX {
            return Err(ApiError::TooManyRequests);
        }
        if proposal.quota_cost_bytes == 0 {
            return Ok(());
        }
        let store_bytes = self.store_size().used_bytes;
        match self.config.quota.admit(store_bytes, proposal.quota_cost_bytes) {
            Admit::Admitted => Ok(()),
            Admit::Full => {
                self.raise_no_space();
                Err(ApiError::NoSpace)
            }
        }
    }

    fn raise_no_space(&mut self) {
        let member = self.config.member_id;
        if self.sequencer.alarms().has(member, pb::AlarmType::Nospace) {
            return;
        }
        let body = prost::Message::encode_to_vec(&state::quota::raise_no_space(member));
        self.proposals.push(None, member, |origin| Command {
            kind: Kind::Alarm,
            origin,
            body: body.into(),
        });
        self.report(Report::NoSpace);
    }

    fn queue(&mut self, call: CallRef, proposal: Proposal) {
        let member = self.config.member_id;
        let body = match proposal.kind {
            Kind::LeaseGrant => self.settled_grant(&proposal),
            Kind::Put
            | Kind::DeleteRange
            | Kind::Txn
            | Kind::Compact
            | Kind::LeaseRevoke
            | Kind::LeasesExpired
            | Kind::Alarm
            | Kind::LeaseCheckpoint
            | Kind::MemberAttributes
            | Kind::DowngradeTarget
            | Kind::ClusterVersion => proposal.body,
        };
        let (kind, since) = (proposal.kind, proposal.since);
        let call = Some((call, since));
        self.proposals.push(call, member, |origin| Command { kind, origin, body });
    }

    /// Fills in what the leader's dice and settings decide, so that all members compute the same.
    fn settled_grant(&mut self, proposal: &Proposal) -> bytes::Bytes {
        let request: pb::LeaseGrantRequest =
            prost::Message::decode(proposal.body.clone()).expect("the shard decoded it before");
        let ttl_s_min = validate::lease_ttl_s_min(self.config.election_timeout);
        let leases = self.sequencer.leases();
        let settled = validate::settle_lease_grant(&request, ttl_s_min, leases, &mut self.dice);
        prost::Message::encode_to_vec(&settled).into()
    }

    /// Makes one entry of everything that waits, if the log takes one now. True if it did.
    pub(super) fn propose_waiting(&mut self, now: Instant) -> bool {
        self.proposals.drop_left();
        if self.proposals.waiting.is_empty() || !self.sequence.has_room() {
            return false;
        }
        if !self.leads() {
            return self.forward_waiting(now);
        }
        if !self.log_takes_more() {
            return false;
        }
        let entry = self.proposals.next_batch(now, &mut self.counts.queue).encode();
        // A refusal means that leadership is going: the calls are answered when their time is up.
        self.consensus().propose(entry).is_ok()
    }

    /// Sends everything that waits to whoever leads. True if anything went.
    fn forward_waiting(&mut self, now: Instant) -> bool {
        let limit = self.config.request_timeout().as_nanos() as u64;
        let limit = Instant(now.0.saturating_sub(limit));
        self.proposals.keep_own(self.config.member_id, limit);
        let to = self.role.leader;
        if to == 0 || self.proposals.waiting.is_empty() {
            return false;
        }
        let batch = self.proposals.next_batch(now, &mut self.counts.queue);
        self.out.push_back(LeaderEffect::Send { to, note: PeerNote::Commands(batch) });
        true
    }

    /// Commands of a peer's clients. Their calls wait there, for the entry.
    pub(super) fn take_forwarded(&mut self, from: u64, batch: CommandBatch) {
        let room = self.proposals.undecided() + batch.commands.len() <= UNDECIDED_MAX;
        if !self.leads() || !room || self.stopping {
            // The peer's calls run into their time limit, as they would if this note were lost.
            return;
        }
        for command in batch.commands {
            if command.origin.member == from {
                self.proposals.push_forwarded(command);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::CallId;

    #[test]
    fn commands_of_calls_that_left_are_dropped_and_no_others() {
        let mut proposals = Proposals::new(1);
        let call = |shard, call| CallRef { shard: ShardId(shard), call: CallId(call) };
        let put = |origin| Command { kind: Kind::Put, origin, body: bytes::Bytes::new() };
        for waits in [Some(call(0, 1)), Some(call(1, 1)), None, Some(call(0, 2))] {
            proposals.push(waits.map(|call| (call, Instant(0))), 7, put);
        }
        let bytes = proposals.waiting_bytes;
        proposals.forget(call(0, 1));
        proposals.forget(call(0, 9));
        proposals.drop_left();
        let left: Vec<_> = proposals.waiting.iter().map(|(call, _)| call.map(|c| c.0)).collect();
        assert_eq!(left, [Some(call(1, 1)), None, Some(call(0, 2))]);
        assert_eq!(proposals.waiting_bytes, bytes / 4 * 3);
        let batch = proposals.next_batch(Instant(1), &mut Histogram::new(&[1]));
        assert_eq!((batch.commands.len(), proposals.waiting_bytes), (3, 0));
        proposals.forget(call(0, 2));
        assert!(proposals.left.is_empty(), "it is under way");
    }
}
