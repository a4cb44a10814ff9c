//! Owns the answers to questions that calls ask the leader, and the calls that wait for a
//! checkpoint. Invariant: a question is answered only after leadership was confirmed for a round
//! that began after it came, and at a state that has everything decided before.

use std::collections::VecDeque;
use std::sync::Arc;

use base::Instant;
use state::{KeepAlive, Quota};
use wire::{ApiError, etcdserverpb as pb};

use super::forward::{is_for_leader, peer_answer};
use super::rounds::{Asker, Waiter};
use super::{Leader, LeaderEffect};
use crate::message::{Answer, CallId, CallRef, Question, ShardId, SnapshotCut, ToShard};
use crate::peer::{PeerAnswer, PeerNote};

/// Calls that wait for more than leadership.
pub struct Answers {
    // Calls that want a checkpoint which begins after they came; then those of each under way.
    wanted: Vec<CallRef>,
    under_way: VecDeque<(u64, Vec<CallRef>)>,
    // Renewals of leases whose revoke is in the log: answered when it has been applied.
    expiring: Vec<(Asker, i64)>,
    // Who waits for leadership to move, whereto, and since when.
    moving: Option<(CallRef, u64, Instant)>,
}

impl Answers {
    /// Nobody waits.
    pub fn new() -> Answers {
        Answers {
            wanted: Vec::new(),
            under_way: VecDeque::new(),
            expiring: Vec::new(),
            moving: None,
        }
    }

    /// Does anybody wait for a checkpoint to begin?
    pub fn wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// A checkpoint begins: it serves everybody who waits now.
    pub fn checkpoint_began(&mut self, generation: u64) {
        self.under_way.push_back((generation, std::mem::take(&mut self.wanted)));
    }

    /// A checkpoint is durable: these calls have waited for it.
    pub fn checkpoint_done(&mut self, generation: u64) -> Vec<CallRef> {
        let done = self.under_way.pop_front_if(|(waiting, _)| *waiting == generation);
        done.map(|(_, calls)| calls).unwrap_or_default()
    }
}

impl Leader {
    /// A call asks something.
    pub(super) fn take_question(
        &mut self,
        now: Instant,
        shard: ShardId,
        call: CallId,
        question: Question,
    ) {
        let call = CallRef { shard, call };
        if self.start.is_none()
            && let Some(error) = self.refusal(now, &question)
        {
            return self.tell(Asker::Call(call), Answer::Failed(error));
        }
        match question {
            // What this member knows is asked even when nobody leads.
            Question::Status | Question::MembersHere | Question::AlarmsHere { .. }
                if self.start.is_none() =>
            {
                self.answer(now, Asker::Call(call), question);
            }
            Question::MoveLeader { to } => self.move_leader(now, call, to),
            Question::Hash { revision } => self.hash_for_call(call, revision),
            question if is_for_leader(&question) && !self.leads() => {
                self.forward(now, call, question);
            }
            question => self.rounds.ask(Asker::Call(call), question),
        }
    }

    /// Nobody waits for the answer any more: what only stands in line is forgotten. A write or a
    /// change of members that is made long after its caller gave up would surprise everybody.
    pub(super) fn call_left(&mut self, call: CallRef) {
        self.proposals.forget(call);
        self.forwards.forget(call);
        self.rounds.forget(Asker::Call(call));
        self.changes.forget(Asker::Call(call));
    }

    /// Leadership should move. Answered when it has.
    fn move_leader(&mut self, now: Instant, call: CallRef, to: u64) {
        let votes = self.membership().voters.contains(&to);
        let refusal = match (self.leads(), votes) {
            (false, _) => Some(ApiError::NotLeader),
            (true, false) => Some(ApiError::BadLeaderTransferee),
            (true, true) => None,
        };
        if let Some(error) = refusal {
            return self.tell(Asker::Call(call), Answer::Failed(error));
        }
        if to != self.config.member_id {
            self.consensus().handle(now, consensus::Event::TransferLeader(to));
        }
        if let Some((before, ..)) = self.answers.moving.replace((call, to, now)) {
            let error = ApiError::TimeoutLeaderTransfer;
            self.tell(Asker::Call(before), Answer::Failed(error));
        }
    }

    /// Answers who waits for leadership to move.
    pub(super) fn answer_moved(&mut self, now: Instant) {
        let Some((call, to, since)) = self.answers.moving else { return };
        let answer = match self.role.leader == to {
            true => Answer::Moved,
            false if now.since(since) < self.config.election_timeout => return,
            false => Answer::Failed(ApiError::TimeoutLeaderTransfer),
        };
        self.answers.moving = None;
        self.tell(Asker::Call(call), answer);
    }

    /// Asks the group to confirm leadership for whoever waits.
    pub(super) fn ask_rounds(&mut self, now: Instant) {
        // Without a leader nobody can confirm anything: they wait for one.
        if self.role.leader != 0
            && let Some(context) = self.rounds.begin(now)
        {
            let context = consensus::ReadContext(context);
            self.consensus().handle(now, consensus::Event::ReadIndex(context));
        }
    }

    /// Answers those whose index has been applied.
    pub(super) fn answer_ready(&mut self, now: Instant) {
        // A plan may have to wait for values; everybody behind it waits too, in order.
        let applied = self.sequence.applied_whole(self.sequencer.applied().index);
        let ready = match self.sequence.blocked() {
            true => Vec::new(),
            false => self.rounds.ready(applied),
        };
        for waiter in ready {
            match waiter {
                Waiter::Read { shard, round } => {
                    // Batches that were decided up to here go first.
                    self.send_batch();
                    let revision = Ok(self.sequencer.revision());
                    let message = ToShard::ReadAt { round, revision };
                    self.out.push_back(LeaderEffect::ToShard { shard, message });
                }
                Waiter::Check => self.check_confirmed(),
                Waiter::Arrival => self.arrived(),
                Waiter::Ask { asker, question } if self.sequence.blocked() => {
                    self.rounds.ask(asker, question);
                }
                Waiter::Ask { asker, question } => self.answer(now, asker, question),
            }
        }
        self.answer_expired();
        self.answer_moved(now);
        self.settle_comparison(now);
        self.notice_publication();
    }

    fn answer(&mut self, now: Instant, asker: Asker, question: Question) {
        if is_for_leader(&question) && !self.leads() {
            // Leadership went while the round was under way.
            return match asker {
                Asker::Call(call) => self.forward(now, call, question),
                Asker::Peer { member, number } => {
                    let note = PeerNote::Answer { number, answer: PeerAnswer::NotLeader };
                    self.out.push_back(LeaderEffect::Send { to: member, note });
                }
            };
        }
        let answer = match question {
            Question::PlanTxn(request) => return self.plan(own_call(asker), request),
            Question::KeepAlive { lease } => match self.keep_alive(now, asker, lease) {
                Some(answer) => answer,
                None => return,
            },
            Question::TimeToLive { lease, keys } => self.time_to_live(now, lease, keys),
            Question::Leases => Answer::Leases(self.sequencer.leases_mut().ids_by_expiry(now)),
            Question::Members | Question::MembersHere => Answer::Members(self.members()),
            Question::ChangeMember { .. } | Question::AddMember { .. } => {
                return self.change_members(now, asker, question);
            }
            Question::MoveLeader { .. } | Question::Hash { .. } => {
                unreachable!("it waits for no round")
            }
            Question::Downgrade(request) => match self.downgrade(now, own_call(asker), &request) {
                Some(answer) => answer,
                None => return,
            },
            Question::Status => Answer::Status(Box::new(self.status())),
            Question::Alarms { alarm } | Question::AlarmsHere { alarm } => {
                Answer::Alarms(self.sequencer.alarms().list(alarm))
            }
            Question::Snapshot => Answer::Snapshot(Arc::new(self.snapshot_cut())),
            Question::Checkpoint => return self.answers.wanted.push(own_call(asker)),
        };
        self.tell(asker, answer);
    }

    pub(super) fn tell(&mut self, asker: Asker, answer: Answer) {
        match asker {
            Asker::Call(CallRef { shard, call }) => {
                self.send_batch();
                let message = ToShard::Answer { call, answer };
                self.out.push_back(LeaderEffect::ToShard { shard, message });
            }
            Asker::Peer { member, number } => {
                let note = PeerNote::Answer { number, answer: peer_answer(answer) };
                self.out.push_back(LeaderEffect::Send { to: member, note });
            }
        }
    }

    fn keep_alive(&mut self, now: Instant, asker: Asker, lease: i64) -> Option<Answer> {
        match self.sequencer.leases_mut().keep_alive(now, lease) {
            KeepAlive::Renewed { ttl_s, checkpoint } => {
                if let Some(checkpoint) = checkpoint {
                    let member = self.config.member_id;
                    self.proposals.push(None, member, |origin| {
                        state::Command::lease_checkpoint(origin, &[checkpoint])
                    });
                }
                Some(Answer::KeptAlive { lease, ttl: ttl_s })
            }
            KeepAlive::Unknown => Some(Answer::KeptAlive { lease, ttl: 0 }),
            KeepAlive::NotPrimary => Some(Answer::Failed(ApiError::NotPrimaryLessor)),
            KeepAlive::Expired => {
                self.answers.expiring.push((asker, lease));
                None
            }
        }
    }

    /// Renewals that came too late are answered once the lease is gone for everybody.
    fn answer_expired(&mut self) {
        if self.answers.expiring.is_empty() {
            return;
        }
        for (asker, lease) in std::mem::take(&mut self.answers.expiring) {
            match self.sequencer.leases().contains(lease) {
                true => self.answers.expiring.push((asker, lease)),
                false => self.tell(asker, Answer::KeptAlive { lease, ttl: 0 }),
            }
        }
    }

    fn time_to_live(&mut self, now: Instant, lease: i64, keys: bool) -> Answer {
        let Some(status) = self.sequencer.leases_mut().status(now, lease) else {
            let gone = pb::LeaseTimeToLiveResponse { id: lease, ttl: -1, ..Default::default() };
            return Answer::TimeToLive(gone);
        };
        Answer::TimeToLive(pb::LeaseTimeToLiveResponse {
            header: None,
            id: lease,
            ttl: status.remaining_s,
            granted_ttl: status.granted_ttl_s,
            keys: if keys { self.sequencer.lease_keys(lease) } else { Vec::new() },
        })
    }

    pub(super) fn snapshot_cut(&self) -> SnapshotCut {
        let applied = self.sequencer.applied();
        SnapshotCut {
            revision: self.sequencer.revision(),
            compact_revision: self.sequencer.compact_revision(),
            term: applied.term,
            index: applied.index,
            meta: self.sequencer.all_meta(),
            version: self.sequencer.cluster_version().unwrap_or_default().to_owned(),
        }
    }

    fn status(&self) -> pb::StatusResponse {
        let size = self.store_size();
        let applied = self.sequencer.applied();
        let mut errors = Vec::new();
        if self.role.leader == 0 {
            errors.push("etcdserver: no leader".to_owned());
        }
        for (member, alarm) in self.sequencer.alarms().iter() {
            let name =
                pb::AlarmType::try_from(alarm).map_or("UNKNOWN", |alarm| alarm.as_str_name());
            errors.push(format!("memberID:{member} alarm:{name} "));
        }
        pb::StatusResponse {
            header: None,
            version: self.config.version.to_string(),
            db_size: i64::try_from(size.file_bytes).unwrap_or(i64::MAX),
            leader: self.role.leader,
            raft_index: self.consensus.as_ref().map_or(0, |group| group.status().last),
            raft_term: self.role.term,
            raft_applied_index: applied.index,
            errors,
            db_size_in_use: i64::try_from(size.used_bytes).unwrap_or(i64::MAX),
            is_learner: self.membership().learners.contains(&self.config.member_id),
            storage_version: self.sequencer.cluster_version().unwrap_or_default().to_owned(),
            db_size_quota: match self.config.quota {
                Quota::Unlimited => 0,
                Quota::Bytes(bytes) => i64::try_from(bytes).unwrap_or(i64::MAX),
            },
            downgrade_info: Some(pb::DowngradeInfo {
                enabled: self.sequencer.downgrade_target().is_some(),
                target_version: self.sequencer.downgrade_target().unwrap_or_default().to_owned(),
            }),
        }
    }
}

/// Peers ask only what the leader must decide.
fn own_call(asker: Asker) -> CallRef {
    match asker {
        Asker::Call(call) => call,
        Asker::Peer { .. } => unreachable!("peers do not ask that"),
    }
}
