//! Owns the requests of watch streams on their way to the hub. Never decides what a watch gets.
//! Invariant: the requests of one stream take effect in the order in which they came; a watch from
//! now on begins after every write that was acknowledged anywhere before its request arrived.
//!
//! Such a watch joins a round of linearizable reads: this core may be behind the one that
//! acknowledged a write to the very same client a moment ago. What comes behind it on its stream
//! waits along.

use std::collections::VecDeque;

use base::Instant;
use bytes::Bytes;
use watch::{Store, StreamId};
use wire::etcdserverpb::watch_request::RequestUnion;
use wire::{ApiError, Status, etcdserverpb as pb};

use super::Shard;
use super::kv::decode;
use super::points::Point;
use super::stream::Stream;
use crate::message::CallId;

/// Bytes of requests of one stream that may wait for a round.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// What a waiting request takes besides its own bytes.
const REQUEST_BYTES: usize = 256;

/// Requests of one stream that wait: the first one for a round, the others behind it.
#[derive(Debug, Default)]
pub struct Waiting {
    requests: VecDeque<(usize, RequestUnion)>,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, bytes: usize, request: RequestUnion) -> Result<(), ApiError> {
        let bytes = bytes + REQUEST_BYTES;
        if WAITING_BYTES_MAX < self.bytes + bytes {
            return Err(ApiError::TooManyRequests);
        }
        self.bytes += bytes;
        self.requests.push_back((bytes, request));
        Ok(())
    }

    fn pop(&mut self) -> Option<RequestUnion> {
        let (bytes, request) = self.requests.pop_front()?;
        self.bytes -= bytes;
        Some(request)
    }

    fn pop_unless_it_joins(&mut self) -> Option<RequestUnion> {
        if self.requests.front().is_some_and(|(_, request)| joins_round(request)) {
            return None;
        }
        self.pop()
    }
}

/// A watch without a start begins now, and what that means the leader must say.
fn joins_round(request: &RequestUnion) -> bool {
    match request {
        RequestUnion::CreateRequest(create) => create.start_revision == 0,
        RequestUnion::CancelRequest(_) | RequestUnion::ProgressRequest(_) => false,
    }
}

impl Shard {
    /// A message of a watch stream.
    pub(super) fn watch_message(
        &mut self,
        now: Instant,
        call: CallId,
        message: Bytes,
    ) -> Result<(), Status> {
        let bytes = message.len();
        let Some(request) = decode::<pb::WatchRequest>(message)?.request_union else {
            return Ok(());
        };
        let Some(Stream::Watch { waiting }) = self.streams.get_mut(&call) else { return Ok(()) };
        let joins = joins_round(&request);
        if !joins && waiting.requests.is_empty() {
            self.watch_request(now, call, request, self.facts.revision);
            return Ok(());
        }
        waiting.push(bytes, request)?;
        if joins {
            self.points.join(call, now, Point::Watch);
        }
        Ok(())
    }

    /// The round of a stream's first waiting request was answered: the store is at `revision` at
    /// least.
    pub(super) fn watch_at(&mut self, now: Instant, call: CallId, revision: i64) {
        let revision = revision.max(self.facts.revision);
        let Some(mut request) = self.waiting(call).and_then(Waiting::pop) else { return };
        assert!(joins_round(&request), "each of them joined one round");
        loop {
            self.watch_request(now, call, request, revision);
            let next = self.waiting(call).and_then(Waiting::pop_unless_it_joins);
            let Some(next) = next else { return };
            request = next;
        }
    }

    /// What waits on a stream, unless its client left.
    fn waiting(&mut self, call: CallId) -> Option<&mut Waiting> {
        match self.streams.get_mut(&call)? {
            Stream::Watch { waiting } => Some(waiting),
            Stream::KeepAlive { .. }
            | Stream::Expecting(_)
            | Stream::Scrolling
            | Stream::Snapshot { .. }
            | Stream::Health => unreachable!("only watches join rounds as streams"),
        }
    }

    fn watch_request(&mut self, now: Instant, call: CallId, request: RequestUnion, revision: i64) {
        let store = Store { revision, compact: self.facts.compact_revision.max(0) };
        let stream = StreamId(call.0);
        match request {
            RequestUnion::CreateRequest(create) => self.hub.create(now, stream, &create, store),
            RequestUnion::CancelRequest(cancel) => self.hub.cancel(stream, cancel.watch_id),
            RequestUnion::ProgressRequest(_) => self.hub.progress(stream, store.revision),
        }
    }
}
