//! Owns the requests about the member and the cluster: status, members, alarms, leases' state,
//! maintenance, and polite refusals of what this build does not do.
//! Decides nothing. Invariant: every method of the interface gets an answer or a named refusal.

use base::Instant;
use bytes::Bytes;
use prost::Message;
use state::{Kind, MemberRole};
use wire::{ApiError, Code, Method, Status, etcdserverpb as pb, health};

use super::Shard;
use super::hash::{HashKind, hash_reply};
use super::kv::decode;
use super::points::Point;
use super::reads::Purpose;
use super::reply::full_header;
use super::reply::{self, ReplyPlan};
use crate::message::{Answer, CallId, MemberAsk, Question};

impl Shard {
    /// Unary methods besides KV writes and ranges.
    pub(super) fn admin(
        &mut self,
        now: Instant,
        call: CallId,
        method: Method,
        message: Bytes,
    ) -> Result<(), Status> {
        match method {
            Method::LeaseTimeToLive => {
                let request = decode::<pb::LeaseTimeToLiveRequest>(message)?;
                let question = Question::TimeToLive { lease: request.id, keys: request.keys };
                self.ask(now, call, question);
            }
            Method::LeaseLeases => self.ask(now, call, Question::Leases),
            Method::MemberList => {
                let question = match decode::<pb::MemberListRequest>(message)?.linearizable {
                    true => Question::Members,
                    false => Question::MembersHere,
                };
                self.ask(now, call, question);
            }
            Method::Status => self.ask(now, call, Question::Status),
            Method::MemberAdd => {
                let request = decode::<pb::MemberAddRequest>(message)?;
                let role = match request.is_learner {
                    true => MemberRole::Learner,
                    false => MemberRole::Voter,
                };
                let question = Question::AddMember { peer_urls: request.peer_urls, role };
                self.ask(now, call, question);
            }
            Method::MemberRemove => {
                let id = decode::<pb::MemberRemoveRequest>(message)?.id;
                self.ask(now, call, Question::ChangeMember { id, change: MemberAsk::Remove });
            }
            Method::MemberUpdate => {
                let pb::MemberUpdateRequest { id, peer_urls } = decode(message)?;
                let change = MemberAsk::Update { peer_urls };
                self.ask(now, call, Question::ChangeMember { id, change });
            }
            Method::MemberPromote => {
                let id = decode::<pb::MemberPromoteRequest>(message)?.id;
                self.ask(now, call, Question::ChangeMember { id, change: MemberAsk::Promote });
            }
            Method::Alarm => self.alarm(now, call, message)?,
            // Nothing is fragmented: free space goes back to the file system in the background.
            Method::Defragment => {
                let reply = pb::DefragmentResponse { header: None };
                self.reply(call, Bytes::from(reply.encode_to_vec()));
            }
            Method::Hash => self.hash(now, call, HashKind::Whole),
            Method::HashKv => {
                let request = decode::<pb::HashKvRequest>(message)?;
                self.hash(now, call, HashKind::At(request.revision));
            }
            Method::Downgrade => self.ask(now, call, Question::Downgrade(decode(message)?)),
            Method::MoveLeader => self.move_leader(now, call, &decode(message)?)?,
            auth if auth.service() == "etcdserverpb.Auth" => self.auth(call, auth, message)?,
            Method::HealthCheck => {
                let request = decode::<health::HealthCheckRequest>(message)?;
                let reply = health_of(&request)?;
                self.reply(call, Bytes::from(reply.encode_to_vec()));
            }
            other => return Err(not_in_this_build(other)),
        }
        Ok(())
    }

    /// A hash is of what this member holds. It waits for a round only so that a client finds its
    /// own writes in it, whichever core took them; while nobody leads it does without.
    fn hash(&mut self, now: Instant, call: CallId, kind: HashKind) {
        match self.facts.leader {
            0 => self.hash_at(call, kind, self.facts.revision),
            _ => self.join(now, call, Point::Hash(kind)),
        }
    }

    /// Alarms as this member knows them, also while nobody leads.
    pub(super) fn alarms_here(
        &mut self,
        now: Instant,
        call: CallId,
        message: Bytes,
    ) -> Result<(), Status> {
        let alarm = decode::<pb::AlarmRequest>(message)?.alarm;
        self.ask(now, call, Question::AlarmsHere { alarm });
        Ok(())
    }

    fn alarm(&mut self, now: Instant, call: CallId, message: Bytes) -> Result<(), Status> {
        let request = decode::<pb::AlarmRequest>(message.clone())?;
        if request.action() == pb::alarm_request::AlarmAction::Get {
            self.ask(now, call, Question::Alarms { alarm: request.alarm });
            return Ok(());
        }
        self.propose(now, call, Kind::Alarm, message, 0)
    }

    fn move_leader(
        &mut self,
        now: Instant,
        call: CallId,
        request: &pb::MoveLeaderRequest,
    ) -> Result<(), Status> {
        if self.facts.leader != self.config.member_id {
            return Err(ApiError::NotLeader.into());
        }
        self.ask(now, call, Question::MoveLeader { to: request.target_id });
        Ok(())
    }

    /// The leader answered a question.
    pub(super) fn answer(&mut self, call: CallId, answer: Answer) {
        if self.stream_answer(call, &answer) {
            return;
        }
        if self.calls.waits(call).is_none() {
            return;
        }
        let header = Some(full_header(self.header()));
        let message = match answer {
            Answer::Failed(error) => {
                self.calls.remove(call);
                self.forget_physical(call);
                return self.fail(call, error);
            }
            Answer::Plan(plan) => {
                let plan = ReplyPlan::Txn(plan);
                self.calls.now_waits(call, super::call::Waits::Rows);
                let specs = reply::specs(&plan);
                return self.start_reads(Purpose::Reply { call, plan }, specs);
            }
            Answer::TimeToLive(reply) => {
                pb::LeaseTimeToLiveResponse { header, ..reply }.encode_to_vec()
            }
            Answer::Leases(ids) => {
                let leases = ids.into_iter().map(|id| pb::LeaseStatus { id }).collect();
                pb::LeaseLeasesResponse { header, leases }.encode_to_vec()
            }
            Answer::Members(members) => {
                // Cluster replies tell no revision.
                let header = header.map(|header| pb::ResponseHeader { revision: 0, ..header });
                pb::MemberListResponse { header, members }.encode_to_vec()
            }
            Answer::Added { member, members } => {
                let header = header.map(|header| pb::ResponseHeader { revision: 0, ..header });
                let member = Some(*member);
                pb::MemberAddResponse { header, member, members }.encode_to_vec()
            }
            Answer::Downgrade(version) => pb::DowngradeResponse { header, version }.encode_to_vec(),
            Answer::Moved => pb::MoveLeaderResponse { header: None }.encode_to_vec(),
            Answer::Status(reply) => pb::StatusResponse { header, ..*reply }.encode_to_vec(),
            Answer::Alarms(alarms) => pb::AlarmResponse { header, alarms }.encode_to_vec(),
            Answer::Done => return self.checkpoint_for(call),
            Answer::Hash(hash) => hash_reply(self.header(), hash).encode_to_vec(),
            Answer::KeptAlive { .. } | Answer::Snapshot(_) => {
                unreachable!("renewals and snapshots belong to streams")
            }
        };
        self.calls.remove(call);
        self.reply(call, Bytes::from(message));
    }
}

/// The health service knows one service, without a name.
pub(super) fn health_of(
    request: &health::HealthCheckRequest,
) -> Result<health::HealthCheckResponse, Status> {
    if !request.service.is_empty() {
        return Err(ApiError::HealthUnknownService.into());
    }
    let status = health::health_check_response::ServingStatus::Serving as i32;
    Ok(health::HealthCheckResponse { status })
}

/// What the interface names and this build does not do.
pub(super) fn not_in_this_build(method: Method) -> Status {
    let text = format!(
        "ringleader: {} is not available: this build runs one member without auth, locks and \
         elections",
        method.path()
    );
    Status::new(Code::Unimplemented, text)
}
