//! Owns the streams of a shard: watches, lease renewals, streamed ranges, snapshots and health.
//! Decides nothing about data. Invariant: a stream that its client left is forgotten everywhere,
//! and nothing is sent on it afterwards.

use std::collections::BTreeMap;

use base::{Instant, Rev};
use bytes::Bytes;
use prost::Message;
use state::validate;
use watch::StreamId;
use wire::{ApiError, Method, Status, etcdserverpb as pb, health};

use super::call::{CallMeta, Caller, LeaderNeed, Waits};
use super::kv::decode;
use super::points::Point;
use super::range::RangeSpec;
use super::reply::full_header;
use super::scroll::{Flow, Shape};
use super::stage::Presence;
use super::watches::Waiting;
use super::{Shard, ShardEffect, admin};
use crate::message::{Answer, CallId, Question, ToLeader};

/// One stream.
#[derive(Debug)]
pub enum Stream {
    /// Watches, kept by the hub under the call's number.
    Watch {
        /// Requests that the hub has not seen yet.
        waiting: Waiting,
    },
    /// Renewals, and how many are unanswered.
    KeepAlive {
        /// Sent to the leader, not answered.
        open: usize,
        /// The client sends no more.
        closing: bool,
    },
    /// The request has not come yet.
    Expecting(Method),
    /// A streamed range, kept with the replies that are sent while they are read.
    Scrolling,
    /// A snapshot: the leader is asked, or its walk goes on.
    Snapshot {
        /// Whether the client takes more.
        flow: Flow,
    },
    /// `grpc.health.v1.Health/Watch`: one answer, then silence.
    Health,
}

/// All streams of the shard.
pub type Streams = BTreeMap<CallId, Stream>;

impl Shard {
    /// A stream begins.
    pub(super) fn open_stream(&mut self, call: CallId, method: Method, meta: CallMeta) {
        let client = meta.caller == Caller::Client;
        if client && self.refuses_as_learner(method, &Bytes::new()) {
            return self.fail(call, ApiError::NotSupportedForLearner);
        }
        let led = meta.leader == LeaderNeed::Any || self.facts.leader != 0;
        if !led || self.store != Presence::Open {
            return self.fail(call, ApiError::NoLeader);
        }
        let stream = match method {
            Method::Watch => Stream::Watch { waiting: Waiting::default() },
            Method::LeaseKeepAlive => Stream::KeepAlive { open: 0, closing: false },
            other => Stream::Expecting(other),
        };
        self.streams.insert(call, stream);
    }

    /// A message of a stream.
    pub(super) fn stream_message(&mut self, now: Instant, call: CallId, message: Bytes) {
        let result = match self.streams.get_mut(&call) {
            None => return,
            Some(Stream::Watch { .. }) => self.watch_message(now, call, message),
            Some(Stream::KeepAlive { open, .. }) => {
                *open += 1;
                self.keep_alive(call, message)
            }
            Some(Stream::Expecting(method)) => {
                let method = *method;
                self.expected(now, call, method, message)
            }
            // One request is all that these streams take.
            Some(Stream::Scrolling | Stream::Snapshot { .. } | Stream::Health) => Ok(()),
        };
        if let Err(error) = result {
            self.end_stream(call, Some(error));
        }
    }

    fn keep_alive(&mut self, call: CallId, message: Bytes) -> Result<(), Status> {
        let request = decode::<pb::LeaseKeepAliveRequest>(message)?;
        let question = Question::KeepAlive { lease: request.id };
        self.out.push_back(ShardEffect::ToLeader(ToLeader::Ask { call, question }));
        Ok(())
    }

    fn expected(
        &mut self,
        now: Instant,
        call: CallId,
        method: Method,
        message: Bytes,
    ) -> Result<(), Status> {
        match method {
            Method::RangeStream => {
                let request = decode::<pb::RangeRequest>(message)?;
                validate::range(&request)?;
                validate_streamed(&request)?;
                self.streams.insert(call, Stream::Scrolling);
                match request.serializable {
                    true => self.stream_at(call, request, self.facts.revision),
                    false => self.join(now, call, Point::Stream(request)),
                }
            }
            Method::Snapshot => {
                decode::<pb::SnapshotRequest>(message)?;
                self.snapshot(call)?;
            }
            Method::HealthWatch => {
                let request = decode::<health::HealthCheckRequest>(message)?;
                // Unlike a check, a watch waits for a service that may come.
                let unknown = health::HealthCheckResponse {
                    status: health::health_check_response::ServingStatus::ServiceUnknown as i32,
                };
                let reply = admin::health_of(&request).unwrap_or(unknown);
                self.streams.insert(call, Stream::Health);
                self.send(call, Bytes::from(reply.encode_to_vec()));
            }
            other => return Err(admin::not_in_this_build(other)),
        }
        Ok(())
    }

    /// The store is known to be at `revision`: streams the range as of there.
    pub(super) fn stream_at(&mut self, call: CallId, request: pb::RangeRequest, revision: i64) {
        if request.revision > revision {
            return self.end_stream(call, Some(ApiError::FutureRevision.into()));
        }
        if request.revision > 0 && request.revision < self.facts.compact_revision {
            return self.end_stream(call, Some(ApiError::Compacted.into()));
        }
        self.counts.ranges += 1;
        let at = match request.revision {
            asked if asked <= 0 => Rev::end_of(revision),
            asked => Rev::end_of(asked),
        };
        let spec = RangeSpec::of_request(&request, at);
        self.start_scroll(call, Shape::Pages, revision, spec);
    }

    /// An answer that belongs to a stream. False if it belongs to a unary call.
    pub(super) fn stream_answer(&mut self, call: CallId, answer: &Answer) -> bool {
        let (open, closing) = match self.streams.get_mut(&call) {
            Some(Stream::KeepAlive { open, closing }) => (open, closing),
            Some(Stream::Snapshot { .. }) => {
                self.snapshot_answer(call, answer);
                return true;
            }
            // Their client left meanwhile.
            Some(
                Stream::Watch { .. } | Stream::Expecting(_) | Stream::Scrolling | Stream::Health,
            )
            | None => return matches!(answer, Answer::KeptAlive { .. } | Answer::Snapshot(_)),
        };
        *open -= 1;
        let done = *closing && *open == 0;
        match answer {
            Answer::KeptAlive { lease, ttl } => {
                self.counts.leases_renewed += u64::from(*ttl > 0);
                let header = Some(full_header(self.header()));
                let reply = pb::LeaseKeepAliveResponse { header, id: *lease, ttl: *ttl };
                self.send(call, Bytes::from(reply.encode_to_vec()));
                if done {
                    self.end_stream(call, None);
                }
            }
            Answer::Failed(error) => self.end_stream(call, Some(error.clone().into())),
            Answer::Plan(_)
            | Answer::TimeToLive(_)
            | Answer::Leases(_)
            | Answer::Members(_)
            | Answer::Added { .. }
            | Answer::Moved
            | Answer::Downgrade(_)
            | Answer::Status(_)
            | Answer::Alarms(_)
            | Answer::Snapshot(_)
            | Answer::Hash(_)
            | Answer::Done => unreachable!("a renewal was asked for"),
        }
        true
    }

    /// The client sends no more; it still listens.
    pub(super) fn half_closed(&mut self, call: CallId) {
        let end = match self.streams.get_mut(&call) {
            Some(Stream::KeepAlive { open, closing }) => {
                *closing = true;
                *open == 0
            }
            // A request never came.
            Some(Stream::Expecting(_)) => true,
            // Events keep coming after a half close.
            Some(
                Stream::Watch { .. } | Stream::Scrolling | Stream::Snapshot { .. } | Stream::Health,
            )
            | None => false,
        };
        if end {
            self.end_stream(call, None);
        }
    }

    /// The client left.
    pub(super) fn gone(&mut self, call: CallId) {
        let waited = self.calls.remove(call);
        self.tell_left(call, waited);
        self.forget_walk(call);
        self.forget_physical(call);
        self.forget_scroll(call);
        self.forget_stream(call);
    }

    /// Whoever is to answer a call hears that nobody waits for it.
    pub(super) fn tell_left(&mut self, call: CallId, waited: Option<Waits>) {
        if matches!(waited, Some(Waits::Answer | Waits::Outcome)) {
            self.out.push_back(ShardEffect::ToLeader(ToLeader::Left { call }));
        }
    }

    /// The client's side is full, or takes more again.
    pub(super) fn stream_flow(&mut self, call: CallId, now: Flow) {
        if self.scroll_flow(call, now) {
            return;
        }
        match (self.streams.get_mut(&call), now) {
            (Some(Stream::Watch { .. }), Flow::Full { .. }) => {
                self.hub.stream_blocked(StreamId(call.0));
            }
            (Some(Stream::Watch { .. }), Flow::Open) => {
                self.hub.stream_writable(StreamId(call.0));
            }
            (Some(Stream::Snapshot { flow }), _) => *flow = now,
            (
                Some(
                    Stream::KeepAlive { .. }
                    | Stream::Expecting(_)
                    | Stream::Scrolling
                    | Stream::Health,
                )
                | None,
                _,
            ) => {}
        }
    }

    /// Carries out what the watch hub wants.
    pub(super) fn pump_hub(&mut self) {
        while let Some(effect) = self.hub.poll_effect() {
            match effect {
                watch::Effect::Send { stream, message } => {
                    let effect = ShardEffect::SendParts {
                        call: CallId(stream.0),
                        head: message.head,
                        tail: message.events,
                    };
                    self.out.push_back(effect);
                }
                watch::Effect::ReadHistory(read) => self.start_history(read),
            }
        }
    }

    /// Ends a stream, well or not.
    pub(super) fn end_stream(&mut self, call: CallId, error: Option<Status>) {
        self.calls.remove(call);
        if self.forget_stream(call) {
            self.out.push_back(match error {
                Some(error) => ShardEffect::Fail { call, error },
                None => ShardEffect::Finish { call },
            });
        }
    }

    pub(super) fn forget_stream(&mut self, call: CallId) -> bool {
        match self.streams.remove(&call) {
            Some(Stream::Watch { .. }) => {
                self.hub.close_stream(StreamId(call.0));
                true
            }
            Some(_) => true,
            None => false,
        }
    }

    /// Sends one message.
    pub(super) fn send(&mut self, call: CallId, message: Bytes) {
        self.out.push_back(ShardEffect::Send { call, message });
    }

    /// The member stops: every call and stream is told.
    pub(super) fn stop(&mut self) {
        self.end_all(&ApiError::Stopped);
    }

    /// Ends every call and stream with this error.
    pub(super) fn end_all(&mut self, error: &ApiError) {
        for (call, _) in self.calls.drain() {
            if !self.streams.contains_key(&call) {
                self.fail(call, error.clone());
            }
        }
        self.physicals.clear();
        self.stop_walks(error);
        for call in self.scrolls.calls() {
            self.end_scroll(call, Some(error.clone().into()));
        }
        let streams: Vec<CallId> = self.streams.keys().copied().collect();
        for call in streams {
            self.end_stream(call, Some(error.clone().into()));
        }
    }
}

/// A stream has its rows in the order of keys, whole.
fn validate_streamed(request: &pb::RangeRequest) -> Result<(), ApiError> {
    let spec = RangeSpec::of_request(request, Rev::ZERO);
    if spec.sort.is_some() {
        return Err(ApiError::RangeStreamSort);
    }
    if spec.filter.is_open() { Ok(()) } else { Err(ApiError::RangeStreamFilter) }
}
