//! Owns the KV and Lease requests at the edge: checking them, sending commands to the log and
//! ranges to the slices, and what becomes of outcomes.
//! Decides nothing that the log decides. Invariant: what reaches the log has passed every check
//! that does not depend on the store.

use std::time::Duration;

use base::limits::READER_STALL_NS;
use base::{Instant, Rev};
use bytes::Bytes;
use prost::Message;
use state::{Kind, Outcome, quota, validate};
use wire::etcdserverpb as pb;
use wire::{ApiError, Code, Method, Status};

use super::call::{CallMeta, Caller, LeaderNeed, Waits};
use super::points::{Joined, Point};
use super::range::{Columns, Filter, RangeSpec};
use super::reads::Purpose;
use super::reply::{self, ReplyPlan};
use super::stage::Presence;
use super::stream::Stream;
use super::{Shard, ShardEffect};
use crate::message::{CallId, OutcomeAt, Proposal, Question, ToLeader};

/// How exactly the limit on waiting calls is kept: all are looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

impl Shard {
    /// A whole unary request has arrived.
    pub(super) fn unary(
        &mut self,
        now: Instant,
        call: CallId,
        method: Method,
        meta: CallMeta,
        message: Bytes,
    ) {
        if meta.caller == Caller::Client && self.refuses_as_learner(method, &message) {
            return self.fail(call, ApiError::NotSupportedForLearner);
        }
        let led = meta.leader == LeaderNeed::Any || self.facts.leader != 0;
        if !led || self.store != Presence::Open {
            return self.fail(call, ApiError::NoLeader);
        }
        let result = match method {
            Method::Range => self.range(now, call, message),
            Method::Put => self.put(now, call, message),
            Method::DeleteRange => self.delete_range(now, call, message),
            Method::Txn => self.txn(now, call, message),
            Method::Compact => self.compact(now, call, message),
            Method::LeaseGrant | Method::LeaseRevoke => self.lease(now, call, method, message),
            Method::Alarm if meta.caller == Caller::Page => self.alarms_here(now, call, message),
            _ => self.admin(now, call, method, message),
        };
        if let Err(error) = result {
            self.fail(call, error);
        }
    }

    fn range(&mut self, now: Instant, call: CallId, message: Bytes) -> Result<(), Status> {
        let request = decode::<pb::RangeRequest>(message)?;
        validate::range(&request)?;
        if request.serializable {
            self.calls.insert(call, now, Waits::Rows);
            self.range_at(call, &request, self.facts.revision);
        } else {
            self.join(now, call, Point::Range(request));
        }
        Ok(())
    }

    /// The store is known to be at `revision`: reads the range there, or where it asks.
    pub(super) fn range_at(&mut self, call: CallId, request: &pb::RangeRequest, revision: i64) {
        let main = match request.revision {
            asked if asked <= 0 => revision,
            asked => asked,
        };
        let error = if main > revision {
            Some(ApiError::FutureRevision)
        } else if main < self.facts.compact_revision {
            Some(ApiError::Compacted)
        } else {
            None
        };
        if let Some(error) = error {
            self.calls.remove(call);
            return self.fail(call, error);
        }
        if self.one_key_now(call, request, main, revision) {
            return;
        }
        self.calls.now_waits(call, Waits::Rows);
        let spec = RangeSpec::of_request(request, Rev::end_of(main));
        // The header tells the point of the read: a client watches from the revision after it, and
        // what is applied while slices answer must not slip in between.
        let plan = ReplyPlan::Range { revision };
        self.start_reads(Purpose::Reply { call, plan }, vec![spec]);
    }

    /// Answers at once if a single key of ours is asked for and all of it is at hand, which is what
    /// most reads are. False if it is not that simple.
    fn one_key_now(
        &mut self,
        call: CallId,
        request: &pb::RangeRequest,
        main: i64,
        revision: i64,
    ) -> bool {
        if !request.range_end.is_empty() || !Filter::of_request(request).is_open() {
            return false;
        }
        let header = wire::encode::Header { revision, ..self.header() };
        let columns = Columns::of_request(request);
        let slice = self.config.partition.slice_of(&request.key);
        let Some(slice) = self.slices.get_mut(slice) else { return false };
        let message = slice.look(&request.key, Rev::end_of(main), |entry| {
            reply::encode_one(header, &request.key, entry, columns)
        });
        let Some(message) = message else { return false };
        self.counts.ranges += 1;
        self.calls.remove(call);
        self.reply(call, message);
        true
    }

    fn put(&mut self, now: Instant, call: CallId, message: Bytes) -> Result<(), Status> {
        let request = decode::<pb::PutRequest>(message.clone())?;
        validate::put(&request)?;
        let cost = quota::put_cost_bytes(&request);
        self.propose(now, call, Kind::Put, message, cost)
    }

    fn delete_range(&mut self, now: Instant, call: CallId, message: Bytes) -> Result<(), Status> {
        let request = decode::<pb::DeleteRangeRequest>(message.clone())?;
        validate::delete_range(&request)?;
        self.propose(now, call, Kind::DeleteRange, message, 0)
    }

    fn txn(&mut self, now: Instant, call: CallId, message: Bytes) -> Result<(), Status> {
        let request = decode::<pb::TxnRequest>(message.clone())?;
        validate::txn(&request, self.config.txn_ops_max)?;
        if validate::is_read_only(&request) {
            self.ask(now, call, Question::PlanTxn(request));
            return Ok(());
        }
        let cost = quota::txn_cost_bytes(&request);
        self.propose(now, call, Kind::Txn, message, cost)
    }

    fn compact(&mut self, now: Instant, call: CallId, message: Bytes) -> Result<(), Status> {
        decode::<pb::CompactionRequest>(message.clone())?;
        self.propose(now, call, Kind::Compact, message, 0)
    }

    fn lease(
        &mut self,
        now: Instant,
        call: CallId,
        method: Method,
        message: Bytes,
    ) -> Result<(), Status> {
        if method == Method::LeaseRevoke {
            decode::<pb::LeaseRevokeRequest>(message.clone())?;
            return self.propose(now, call, Kind::LeaseRevoke, message, 0);
        }
        let request = decode::<pb::LeaseGrantRequest>(message.clone())?;
        if request.ttl > state::leases::LEASE_TTL_S_MAX {
            return Err(ApiError::LeaseTtlTooLarge.into());
        }
        self.propose(now, call, Kind::LeaseGrant, message, quota::LEASE_COST_BYTES)
    }

    /// Puts a command into this turn's batch for the leader.
    pub(super) fn propose(
        &mut self,
        now: Instant,
        call: CallId,
        kind: Kind,
        body: Bytes,
        quota_cost_bytes: u64,
    ) -> Result<(), Status> {
        let enveloped = body.len() + envelope_bytes(self.config.member_id, body.len());
        validate::size(enveloped, self.config.request_bytes_max)?;
        self.calls.insert(call, now, Waits::Outcome);
        self.proposals.push(Proposal { call, kind, body, quota_cost_bytes, since: now });
        Ok(())
    }

    /// Asks the leader something; the answer comes after leadership was confirmed.
    pub(super) fn ask(&mut self, now: Instant, call: CallId, question: Question) {
        self.calls.insert(call, now, Waits::Answer);
        self.out.push_back(ShardEffect::ToLeader(ToLeader::Ask { call, question }));
    }

    /// The call waits for the next round of linearizable reads.
    pub(super) fn join(&mut self, now: Instant, call: CallId, point: Point) {
        self.calls.insert(call, now, Waits::Point);
        self.points.join(call, now, point);
    }

    /// A read round was answered.
    pub(super) fn read_at(&mut self, now: Instant, round: u64, revision: Result<i64, ApiError>) {
        for Joined { call, point, .. } in self.points.end_round(round) {
            match (&revision, point) {
                (Ok(revision), Point::Watch) => self.watch_at(now, call, *revision),
                (Err(error), Point::Watch) => self.end_stream(call, Some(error.clone().into())),
                // Its client has left, or it was told that it took too long.
                (_, _) if self.calls.waits(call).is_none() => {}
                (Ok(revision), Point::Range(request)) => self.range_at(call, &request, *revision),
                (Ok(revision), Point::Stream(request)) => {
                    self.calls.remove(call);
                    self.stream_at(call, request, *revision);
                }
                (Ok(revision), Point::Hash(kind)) => {
                    self.calls.remove(call);
                    self.hash_at(call, kind, *revision);
                }
                (Err(error), Point::Range(_) | Point::Stream(_) | Point::Hash(_)) => {
                    self.calls.remove(call);
                    self.forget_stream(call);
                    self.fail(call, error.clone());
                }
            }
        }
    }

    /// A command was decided.
    pub(super) fn outcome(&mut self, call: CallId, at: OutcomeAt) {
        self.facts.term = self.facts.term.max(at.term);
        if self.calls.waits(call).is_none() {
            return;
        }
        let plan = match at.outcome {
            Outcome::Put(plan) if plan.prev.is_none() => {
                self.calls.remove(call);
                let header = wire::encode::Header { revision: plan.revision, ..self.header() };
                let message = reply::encode_put(header, None);
                return self.reply(call, message);
            }
            Outcome::Put(plan) => ReplyPlan::Put(plan),
            Outcome::DeleteRange(plan) => ReplyPlan::DeleteRange(plan),
            Outcome::Txn(plan) => ReplyPlan::Txn(plan),
            other => return self.plain_outcome(call, at.revision, other),
        };
        self.calls.now_waits(call, Waits::Rows);
        let specs = reply::specs(&plan);
        self.start_reads(Purpose::Reply { call, plan }, specs);
    }

    /// Outcomes whose reply needs no rows.
    fn plain_outcome(&mut self, call: CallId, revision: i64, outcome: Outcome) {
        let header = wire::encode::Header { revision, ..self.header() };
        let header = Some(reply::full_header(header));
        let message = match outcome {
            Outcome::Failed(error) => {
                self.calls.remove(call);
                return self.fail(call, error);
            }
            Outcome::Compact { physical: true } => {
                return self.wait_for_space(call);
            }
            Outcome::Compact { physical: false } => {
                pb::CompactionResponse { header }.encode_to_vec()
            }
            Outcome::LeaseGrant { id, ttl_s } => {
                pb::LeaseGrantResponse { header, id, ttl: ttl_s, error: String::new() }
                    .encode_to_vec()
            }
            Outcome::LeaseRevoke => pb::LeaseRevokeResponse { header }.encode_to_vec(),
            Outcome::Alarm(alarms) => pb::AlarmResponse { header, alarms }.encode_to_vec(),
            Outcome::Put(_)
            | Outcome::DeleteRange(_)
            | Outcome::Txn(_)
            | Outcome::LeasesExpired { .. }
            | Outcome::LeaseCheckpoint
            | Outcome::MemberAttributes
            | Outcome::MemberChange
            | Outcome::DowngradeTarget
            | Outcome::ClusterVersion => unreachable!("no call waits for this kind"),
        };
        self.calls.remove(call);
        self.reply(call, Bytes::from(message));
    }

    /// Whoever takes nothing of a reply for so long loses it: the past is kept for him meanwhile.
    fn end_stalled(&mut self, now: Instant) {
        let Some(deadline) = now.0.checked_sub(READER_STALL_NS).map(Instant) else { return };
        for call in self.scrolls.stalled(deadline) {
            self.end_scroll(call, Some(ApiError::Timeout.into()));
        }
        let stalled = self.streams.iter().filter(|(_, stream)| match stream {
            Stream::Snapshot { flow } => flow.is_stalled(deadline),
            Stream::Watch { .. }
            | Stream::KeepAlive { .. }
            | Stream::Expecting(_)
            | Stream::Scrolling
            | Stream::Health => false,
        });
        for call in stalled.map(|(call, _)| *call).collect::<Vec<CallId>>() {
            self.end_stream(call, Some(ApiError::Timeout.into()));
        }
    }

    /// Calls that waited longer than the server's own limit get etcd's timeout. Looks at them only
    /// now and then.
    pub(super) fn expire_calls(&mut self, now: Instant) {
        if now.since(self.looked) < LOOK_INTERVAL {
            return;
        }
        self.looked = now;
        let limit = u64::try_from(self.config.request_timeout.as_nanos()).unwrap_or(u64::MAX);
        let Some(deadline) = now.0.checked_sub(limit).map(Instant) else { return };
        for (call, waits) in self.calls.take_older_than(deadline) {
            self.count_expired(waits);
            self.tell_left(call, Some(waits));
            self.forget_stream(call);
            self.fail(call, ApiError::Timeout);
        }
        for call in self.points.watches_older_than(deadline) {
            self.end_stream(call, Some(ApiError::Timeout.into()));
        }
        self.end_stalled(now);
        // Requests of those who left need not stay until a leader answers.
        let (calls, streams) = (&self.calls, &self.streams);
        self.points.retain(|joined| match joined.point {
            Point::Watch => streams.contains_key(&joined.call),
            Point::Range(_) | Point::Stream(_) | Point::Hash(_) => {
                calls.waits(joined.call).is_some()
            }
        });
    }
}

/// What etcd's envelope adds to a request: a header with an id that begins with the member's low 16
/// bits, and the request's tag and length. Its limit counts both.
fn envelope_bytes(member_id: u64, body_bytes: usize) -> usize {
    let varint = |value: u64| (64 - (value | 1).leading_zeros() as usize).div_ceil(7);
    let id = (member_id & 0xffff) << 48 | 1 << 40;
    let header = 2 + 1 + 1 + varint(id);
    header + 1 + varint(body_bytes as u64)
}

/// Reads a request; what is not a protobuf message is refused as grpc-go does.
pub(super) fn decode<M: Message + Default>(message: Bytes) -> Result<M, Status> {
    M::decode(message).map_err(|error| {
        let text = format!("grpc: error unmarshalling request: {error}");
        Status::new(Code::Internal, text)
    })
}
