//! Owns what is said to streams besides events: headers, replies without events, and the way out.
//! Decides nothing. Invariant: effects leave in the order in which they were decided.

use bytes::Bytes;
use wire::encode::Header;
use wire::etcdserverpb::WatchResponse;

use crate::batch::Message;
use crate::catchup::HistoryRead;
use crate::hub::{Effect, NO_WATCH, Options, WatchHub};

impl WatchHub {
    /// The header of a reply at `revision`.
    pub(crate) fn header(&self, revision: i64) -> Header {
        let Options { cluster_id, member_id, .. } = self.options;
        Header { cluster_id, member_id, revision, raft_term: self.raft_term }
    }

    /// Answers a creation that was refused.
    pub(crate) fn tell_refused(&mut self, slot: u32, reason: &str) {
        self.reply(slot, self.sequenced, NO_WATCH, |reply| {
            (reply.created, reply.canceled) = (true, true);
            reply.cancel_reason = reason.to_owned();
        });
    }

    /// Ends a watch that needs what compaction took.
    pub(crate) fn tell_compacted(&mut self, stream: u32, id: i64) {
        let compact = self.compact;
        // No revision in this header: clients take it from `compact_revision`.
        self.reply(stream, 0, id, |reply| {
            (reply.canceled, reply.compact_revision) = (true, compact);
        });
    }

    /// Sends a reply without events.
    pub(crate) fn reply(
        &mut self,
        stream: u32,
        revision: i64,
        watch_id: i64,
        fill: impl FnOnce(&mut WatchResponse),
    ) {
        let header = Some(self.header(revision).into());
        let mut reply = WatchResponse { header, watch_id, ..WatchResponse::default() };
        fill(&mut reply);
        let head = wire::grpc::encode(&reply);
        self.send(stream, Message { head, events: Bytes::new() });
    }

    /// Hands a reply out.
    pub(crate) fn send(&mut self, stream: u32, message: Message) {
        let stream = self.streams.get_mut(stream);
        stream.spend(self.turn, message.len());
        self.effects.push_back(Effect::Send { stream: stream.name, message });
    }

    /// Asks for history.
    pub(crate) fn ask(&mut self, read: HistoryRead) {
        self.effects.push_back(Effect::ReadHistory(read));
    }
}
