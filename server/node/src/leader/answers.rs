//! Owns the answers to questions that calls ask the leader, and the calls that wait for a
//! checkpoint. Invariant: a question is answered only after leadership was confirmed for a round
//! that began after it came, and at a state that has everything decided before.

use std::collections::VecDeque;
use std::sync::Arc;

use base::Instant;
use state::{KeepAlive, MemberRole, Quota};
use wire::{ApiError, etcdserverpb as pb};

use super::rounds::Waiter;
use super::{Leader, LeaderEffect};
use crate::message::{Answer, CallId, CallRef, MemberAsk, Question, ShardId, SnapshotCut, ToShard};

/// Calls that wait for more than leadership.
pub struct Answers {
    // Calls that want a checkpoint which begins after they came; then those of each under way.
    wanted: Vec<CallRef>,
    under_way: VecDeque<(u64, Vec<CallRef>)>,
    // Renewals of leases whose revoke is in the log: answered when it has been applied.
    expiring: Vec<(CallRef, i64)>,
}

impl Answers {
    /// Nobody waits.
    pub fn new() -> Answers {
        Answers { wanted: Vec::new(), under_way: VecDeque::new(), expiring: Vec::new() }
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
    pub(super) fn take_question(&mut self, shard: ShardId, call: CallId, question: Question) {
        self.rounds.ask(CallRef { shard, call }, question);
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
                Waiter::Ask { call, question } if self.sequence.blocked() => {
                    self.rounds.ask(call, question);
                }
                Waiter::Ask { call, question } => self.answer(now, call, question),
            }
        }
        self.answer_expired();
        self.notice_publication();
    }

    fn answer(&mut self, now: Instant, call: CallRef, question: Question) {
        let answer = match question {
            Question::PlanTxn(request) => return self.plan(call, request),
            Question::KeepAlive { lease } => match self.keep_alive(now, call, lease) {
                Some(answer) => answer,
                None => return,
            },
            Question::TimeToLive { lease, keys } => self.time_to_live(now, lease, keys),
            Question::Leases => Answer::Leases(self.sequencer.leases_mut().ids_by_expiry(now)),
            Question::Members => Answer::Members(self.members()),
            Question::ChangeMember { id, change } => Answer::Failed(self.refuse_change(id, change)),
            Question::AddMember { peer_urls } => Answer::Failed(self.refuse_member(&peer_urls)),
            Question::Status => Answer::Status(Box::new(self.status())),
            Question::Alarms { alarm } => Answer::Alarms(self.sequencer.alarms().list(alarm)),
            Question::Snapshot => Answer::Snapshot(Arc::new(self.snapshot_cut())),
            Question::Checkpoint => return self.answers.wanted.push(call),
        };
        self.tell(call, answer);
    }

    pub(super) fn tell(&mut self, call: CallRef, answer: Answer) {
        self.send_batch();
        let message = ToShard::Answer { call: call.call, answer };
        self.out.push_back(LeaderEffect::ToShard { shard: call.shard, message });
    }

    fn keep_alive(&mut self, now: Instant, call: CallRef, lease: i64) -> Option<Answer> {
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
                self.answers.expiring.push((call, lease));
                None
            }
        }
    }

    /// Renewals that came too late are answered once the lease is gone for everybody.
    fn answer_expired(&mut self) {
        if self.answers.expiring.is_empty() {
            return;
        }
        for (call, lease) in std::mem::take(&mut self.answers.expiring) {
            match self.sequencer.leases().contains(lease) {
                true => self.answers.expiring.push((call, lease)),
                false => self.tell(call, Answer::KeptAlive { lease, ttl: 0 }),
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

    /// Etcd's checks of a new member come first, so that a mistake is told as such.
    fn refuse_member(&self, peer_urls: &[String]) -> ApiError {
        let taken = |url: &String| {
            self.sequencer.members().iter().any(|member| member.peer_urls.contains(url))
        };
        if peer_urls.is_empty() || !peer_urls.iter().all(|url| is_peer_url(url)) {
            return ApiError::MemberBadUrls;
        }
        if peer_urls.iter().any(taken) {
            return ApiError::PeerUrlExists;
        }
        ApiError::Unknown("ringleader: members cannot be added in this build".to_owned())
    }

    /// A group of one: strangers are not found, and we can neither go nor be promoted.
    fn refuse_change(&self, id: u64, change: MemberAsk) -> ApiError {
        match change {
            _ if self.sequencer.members().get(id).is_none() => ApiError::MemberNotFound,
            MemberAsk::Remove => ApiError::MemberNotEnoughStarted,
            MemberAsk::Promote => ApiError::MemberNotLearner,
            MemberAsk::Update => {
                let text = "ringleader: peer URLs cannot be changed in this build";
                ApiError::Unknown(text.to_owned())
            }
        }
    }

    fn snapshot_cut(&self) -> SnapshotCut {
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

    fn members(&self) -> Vec<pb::Member> {
        let member = |member: &state::Member| pb::Member {
            id: member.id,
            name: member.name.clone(),
            peer_urls: member.peer_urls.clone(),
            client_urls: member.client_urls.clone(),
            is_learner: member.role == MemberRole::Learner,
        };
        self.sequencer.members().iter().map(member).collect()
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
            version: self.config.version.clone(),
            db_size: i64::try_from(size.file_bytes).unwrap_or(i64::MAX),
            leader: self.role.leader,
            raft_index: self.consensus.as_ref().map_or(0, |group| group.status().last),
            raft_term: self.role.term,
            raft_applied_index: applied.index,
            errors,
            db_size_in_use: i64::try_from(size.used_bytes).unwrap_or(i64::MAX),
            is_learner: false,
            storage_version: self.sequencer.cluster_version().unwrap_or_default().to_owned(),
            db_size_quota: match self.config.quota {
                Quota::Unlimited => 0,
                Quota::Bytes(bytes) => i64::try_from(bytes).unwrap_or(i64::MAX),
            },
            downgrade_info: Some(pb::DowngradeInfo::default()),
        }
    }
}

/// Scheme, host and port, and nothing after them.
fn is_peer_url(url: &str) -> bool {
    let Some((scheme, place)) = url.split_once("://") else { return false };
    match scheme {
        "http" | "https" => place.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
        }),
        "unix" | "unixs" => !place.is_empty(),
        _ => false,
    }
}
