//! Owns the watches on the member, and what each of them must still see by the model's list of
//! events.
//! Never reads the store itself. Invariant: what a watch has seen and what it is still owed is
//! together every event of its range since its start, once, in order.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use node::{CallId, ShardEvent, ShardId};
use prost::Message;
use ringleader_model::{Model, WatchEnd};
use wire::etcdserverpb::{self as pb, watch_request::RequestUnion};
use wire::{Method, mvccpb};

use crate::member::{Heard, Member};

/// One watch.
#[derive(Debug)]
struct Watcher {
    create: pb::WatchCreateRequest,
    /// The model's events up to here are in `owed` or were seen.
    next: i64,
    owed: VecDeque<mvccpb::Event>,
    last_seen: i64,
}

/// One stream.
#[derive(Debug)]
struct Stream {
    shard: ShardId,
    watchers: BTreeMap<i64, Watcher>,
    /// What the reply to a request that is under way must be.
    asked: Option<Asked>,
    blocked: bool,
    /// Up to this revision each of its watches is known to have seen everything.
    sure: i64,
}

#[derive(Debug)]
enum Asked {
    Create(Box<pb::WatchCreateRequest>, Result<i64, WatchEnd>),
    Cancel(i64),
    Progress(i64),
}

/// All watches on one member.
#[derive(Debug, Default)]
pub struct Watchers {
    streams: BTreeMap<CallId, Stream>,
    events: u64,
}

/// A watch saw what it should not have, or not what it should have.
pub type Wrong = String;

impl Watchers {
    /// Events that were seen and right.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many streams there are.
    pub fn streams(&self) -> Vec<CallId> {
        self.streams.keys().copied().collect()
    }

    /// The process has died: so have the streams.
    pub fn forget(&mut self) {
        self.streams.clear();
    }

    /// Opens a stream.
    pub fn open(&mut self, member: &mut Member) {
        let shard = member.any_shard();
        let call = member.open(shard, Method::Watch);
        let watchers = BTreeMap::new();
        let stream = Stream { shard, watchers, asked: None, blocked: false, sure: 0 };
        self.streams.insert(call, stream);
    }

    /// The client of a stream leaves.
    pub fn leave(&mut self, member: &mut Member, call: CallId) {
        let stream = self.streams.remove(&call).expect("one of ours");
        member.event(stream.shard, ShardEvent::Gone { call });
    }

    /// The client stops reading, or goes on.
    pub fn turn_tap(&mut self, member: &mut Member, call: CallId) {
        let stream = self.streams.get_mut(&call).expect("one of ours");
        stream.blocked = !stream.blocked;
        let event = match stream.blocked {
            true => ShardEvent::Full { call },
            false => ShardEvent::Drained { call },
        };
        member.event(stream.shard, event);
    }

    /// Creates a watch.
    pub fn create(
        &mut self,
        member: &mut Member,
        model: &Model,
        call: CallId,
        create: pb::WatchCreateRequest,
    ) -> Result<(), Wrong> {
        let next = match create.start_revision {
            0 => model.revision() + 1,
            start => start,
        };
        let expected = model.watch(&create).map(|_| next);
        let asked = Asked::Create(Box::new(create.clone()), expected);
        self.request(member, model, call, asked, RequestUnion::CreateRequest(create))
    }

    /// Cancels some watch of the stream, if there is one.
    pub fn cancel(
        &mut self,
        member: &mut Member,
        model: &Model,
        call: CallId,
    ) -> Result<(), Wrong> {
        let Some(id) = self.streams[&call].watchers.keys().next_back().copied() else {
            return Ok(());
        };
        let cancel = pb::WatchCancelRequest { watch_id: id };
        self.request(member, model, call, Asked::Cancel(id), RequestUnion::CancelRequest(cancel))
    }

    /// Asks how far the stream is; only a stream that is read is answered at once.
    pub fn progress(
        &mut self,
        member: &mut Member,
        model: &Model,
        call: CallId,
    ) -> Result<(), Wrong> {
        let stream = &self.streams[&call];
        // A stream with a watch that is behind, or that waits for the future, is not answered.
        let ahead = |watcher: &Watcher| model.revision() < watcher.create.start_revision;
        let ahead = stream.watchers.values().any(ahead);
        if stream.blocked || stream.watchers.is_empty() || ahead {
            return Ok(());
        }
        let asked = Asked::Progress(model.revision());
        let progress = pb::WatchProgressRequest {};
        self.request(member, model, call, asked, RequestUnion::ProgressRequest(progress))
    }

    fn request(
        &mut self,
        member: &mut Member,
        model: &Model,
        call: CallId,
        asked: Asked,
        union: RequestUnion,
    ) -> Result<(), Wrong> {
        let stream = self.streams.get_mut(&call).expect("one of ours");
        assert!(stream.asked.is_none(), "one request of a stream at a time");
        stream.asked = Some(asked);
        let request = pb::WatchRequest { request_union: Some(union) };
        let message = Bytes::from(request.encode_to_vec());
        member.event(stream.shard, ShardEvent::Message { call, message });
        self.owe(model);
        self.listen(member, model)?;
        match &self.streams[&call].asked {
            None => Ok(()),
            Some(_) => Err(format!("no reply on {call:?}: {:#?}", self.streams[&call])),
        }
    }

    /// The model has moved on: every watch is owed what is new. Call it after every command, before
    /// a compaction can take an event away.
    pub fn owe(&mut self, model: &Model) {
        for watcher in self.streams.values_mut().flat_map(|stream| stream.watchers.values_mut()) {
            if model.revision() < watcher.next {
                continue;
            }
            let create =
                pb::WatchCreateRequest { start_revision: watcher.next, ..watcher.create.clone() };
            watcher.owed.extend(model.watch(&create).expect("it was allowed before"));
            watcher.next = model.revision() + 1;
        }
    }

    /// Works off everything and compares; at the end no stream that is read is owed anything.
    pub fn listen(&mut self, member: &mut Member, model: &Model) -> Result<(), Wrong> {
        while let Some((call, heard)) = member.hear() {
            self.hear(call, heard, model)?;
        }
        for (call, stream) in self.streams.iter_mut().filter(|(_, stream)| !stream.blocked) {
            if let Some((id, watcher)) = stream.watchers.iter().find(|(_, w)| !w.owed.is_empty()) {
                return Err(format!("stream {call:?} watch {id} never saw its due: {watcher:#?}"));
            }
            stream.sure = model.revision();
        }
        Ok(())
    }

    /// Takes what a stream heard.
    pub fn hear(&mut self, call: CallId, heard: Heard, model: &Model) -> Result<(), Wrong> {
        // A stream whose client has left may still have had letters under way.
        let Some(stream) = self.streams.get_mut(&call) else { return Ok(()) };
        let Heard::Message(bytes) = heard else {
            return Err(format!("stream {call:?} ended: {heard:?}"));
        };
        let reply = pb::WatchResponse::decode(bytes).map_err(|error| error.to_string())?;
        self.events += reply.events.len() as u64;
        stream
            .take(&reply, model)
            .map_err(|wrong| format!("stream {call:?}: {wrong}\n  reply {reply:?}"))
    }
}

impl Stream {
    fn take(&mut self, reply: &pb::WatchResponse, model: &Model) -> Result<(), Wrong> {
        if reply.created {
            return self.created(reply, model);
        }
        if reply.compact_revision != 0 {
            return self.compacted(reply, model);
        }
        if reply.canceled {
            return match self.asked.take() {
                Some(Asked::Cancel(id)) if id == reply.watch_id => {
                    self.watchers.remove(&id);
                    Ok(())
                }
                other => Err(format!("canceled, though asked for {other:?}")),
            };
        }
        if reply.events.is_empty() {
            let revision = reply.header.as_ref().map_or(0, |header| header.revision);
            return match self.asked.take() {
                Some(Asked::Progress(want)) if want == revision && reply.watch_id == -1 => Ok(()),
                other => Err(format!("progress {revision}, though asked for {other:?}")),
            };
        }
        let Some(watcher) = self.watchers.get_mut(&reply.watch_id) else {
            return Err("events of an unknown watch".to_owned());
        };
        watcher.saw(&reply.events, model)
    }

    fn created(&mut self, reply: &pb::WatchResponse, model: &Model) -> Result<(), Wrong> {
        match self.asked.take() {
            Some(Asked::Create(create, Ok(next))) if !reply.canceled => {
                let mut watcher =
                    Watcher { create: *create, next, owed: VecDeque::new(), last_seen: 0 };
                if next <= model.revision() {
                    let start =
                        pb::WatchCreateRequest { start_revision: next, ..watcher.create.clone() };
                    watcher.owed.extend(model.watch(&start).expect("it was allowed before"));
                    watcher.next = model.revision() + 1;
                }
                self.sure = self.sure.min(next - 1);
                let before = self.watchers.insert(reply.watch_id, watcher);
                match before {
                    None => Ok(()),
                    Some(before) => Err(format!("the id is taken by {before:?}")),
                }
            }
            Some(Asked::Create(_, Err(WatchEnd::EmptyRange))) if reply.canceled => Ok(()),
            // It is told that it is there, and then that its past is gone.
            Some(Asked::Create(create, Err(WatchEnd::Compacted(at)))) if !reply.canceled => {
                self.asked = Some(Asked::Create(create, Err(WatchEnd::Compacted(at))));
                Ok(())
            }
            other => Err(format!("created, though asked for {other:?}")),
        }
    }

    /// A watch is told that its past is gone: up to a mark that was in force when it was told.
    fn compacted(&mut self, reply: &pb::WatchResponse, model: &Model) -> Result<(), Wrong> {
        let mark = reply.compact_revision;
        if !reply.canceled || model.compacted() < mark {
            return Err(format!("compacted is {}", model.compacted()));
        }
        if self.watchers.remove(&reply.watch_id).is_some() {
            return match self.sure + 1 < mark {
                true => Ok(()),
                false => Err(format!("it had seen everything up to {}", self.sure)),
            };
        }
        match self.asked.take() {
            Some(Asked::Create(_, Err(WatchEnd::Compacted(_)))) => Ok(()),
            other => Err(format!("compacted, though asked for {other:?}")),
        }
    }
}

impl Watcher {
    fn saw(&mut self, events: &[mvccpb::Event], model: &Model) -> Result<(), Wrong> {
        for (index, event) in events.iter().enumerate() {
            let Some(want) = self.owed.pop_front() else {
                return Err(format!("unexpected {event:?}"));
            };
            let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
            if index == 0 && revision <= self.last_seen {
                return Err(format!("revision {revision} in two replies"));
            }
            self.last_seen = revision;
            // What was before may have been compacted between the event and its sending.
            let gone = revision - 1 < model.compacted() && event.prev_kv.is_none();
            let prev_kv = if gone { None } else { want.prev_kv.clone() };
            let want = mvccpb::Event { prev_kv, ..want };
            if want != *event {
                return Err(format!("event {index}\n  want {want:?}\n  got  {event:?}"));
            }
        }
        Ok(())
    }
}
