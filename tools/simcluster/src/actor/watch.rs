//! Owns one watch and the streams that carry it, one after another: when one breaks, another member
//! is asked to go on from the revision after the last that was seen.
//! Never judges what it did not see. Invariant: what arrives on a stream that was left is not
//! heard.

use std::time::Duration;

use base::Prng;
use bytes::Bytes;
use node::{CallId, ShardEvent};
use prost::Message;
use ringleader_sim::member::Heard;
use ringleader_sim::ops::everything;
use wire::etcdserverpb::watch_request::RequestUnion;
use wire::mvccpb::Event;
use wire::{Method, etcdserverpb as pb};

use super::words::key;
use super::{Book, another};
use crate::oracle::watches::Seen;
use crate::world::{Actor, News, World, Wrong};

/// Replies below this size come in fragments to those who ask for that.
const SMALL: usize = 1 << 20;
/// Notices that come this often are asked for.
const OFTEN: Duration = Duration::from_secs(60);
/// Time between two looks at what to do next, at most.
const REST_MS: u64 = 800;

/// One watch.
pub struct Watch {
    at: usize,
    member: u64,
    dice: Prng,
    stream: Option<CallId>,
    full: bool,
    // Events of a reply that comes in fragments.
    pieces: Vec<Event>,
    /// What it saw.
    pub seen: Seen,
    /// Streams so far.
    pub streams: u64,
}

impl Watch {
    /// A watch of something, from somewhere on.
    pub fn new(world: &mut World, at: usize, mut dice: Prng) -> Watch {
        let first = dice.below(world.shape.keys);
        let (key, range_end) = match dice.below(4) {
            0 => (key(first), Bytes::new()),
            1 => (key(first), key(first + 3)),
            _ => (everything(0).key, everything(0).range_end),
        };
        let small = world.shape.watch_reply_bytes < SMALL;
        let create = pb::WatchCreateRequest {
            key,
            range_end,
            start_revision: *dice.pick(&[0, 1, 1, 10]),
            prev_kv: dice.chance(400),
            filters: if dice.chance(200) { vec![dice.below(2) as i32] } else { Vec::new() },
            fragment: small && dice.chance(700),
            progress_notify: world.shape.progress_interval < OFTEN,
            ..Default::default()
        };
        let member = 1 + dice.below(world.shape.members);
        world.wake(Duration::from_millis(dice.below(1000)), Actor::Watch(at), 0);
        let (stream, seen) = (None, Seen::new(create));
        Watch { at, member, dice, stream, full: false, pieces: Vec::new(), seen, streams: 0 }
    }

    /// Learns something.
    pub fn learn(&mut self, world: &mut World, book: &mut Book, news: News) -> Result<(), Wrong> {
        match news {
            News::Heard(call, Heard::Message(bytes)) if self.stream == Some(call) => {
                let reply = pb::WatchResponse::decode(bytes).map_err(|e| e.to_string())?;
                self.take(world, reply)
            }
            News::Heard(call, _) | News::Lost(call) => {
                if self.stream.take_if(|stream| *stream == call).is_some() {
                    self.member = another(&book.members, self.member, &mut self.dice);
                }
                Ok(())
            }
            News::Woken(_) => {
                self.look_around(world, book);
                let rest = Duration::from_millis(20 + self.dice.below(REST_MS));
                world.wake(rest, Actor::Watch(self.at), 0);
                Ok(())
            }
        }
    }

    /// Opens what is closed; now and then breaks, fills, drains or asks.
    fn look_around(&mut self, world: &mut World, book: &Book) {
        let Some(call) = self.stream else { return self.open(world, book) };
        let gone = !book.members.contains(&self.member);
        if self.full {
            self.full = false;
            return world.say(call, ShardEvent::Drained { call });
        }
        match self.dice.below(20) {
            _ if gone => self.leave(world, book, call),
            0 => self.leave(world, book, call),
            1 | 2 => {
                self.full = true;
                world.say(call, ShardEvent::Full { call });
            }
            3..8 => {
                let ask = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
                self.say(world, call, ask);
            }
            _ => {}
        }
    }

    fn leave(&mut self, world: &mut World, book: &Book, call: CallId) {
        world.leave(call);
        self.stream = None;
        self.member = another(&book.members, self.member, &mut self.dice);
        self.open(world, book);
    }

    fn open(&mut self, world: &mut World, book: &Book) {
        self.full = false;
        self.pieces.clear();
        if !book.members.contains(&self.member) {
            self.member = another(&book.members, self.member, &mut self.dice);
        }
        let Some(call) = world.open(Actor::Watch(self.at), self.member, Method::Watch) else {
            self.member = another(&book.members, self.member, &mut self.dice);
            return;
        };
        self.streams += 1;
        self.stream = Some(call);
        let create = self.seen.resume();
        world.remark(format_args!("watch {} wants {}", self.at, create.start_revision));
        self.say(world, call, RequestUnion::CreateRequest(create));
    }

    fn say(&self, world: &mut World, call: CallId, request: RequestUnion) {
        let request = pb::WatchRequest { request_union: Some(request) };
        let message = Bytes::from(request.encode_to_vec());
        world.say(call, ShardEvent::Message { call, message });
    }

    fn take(&mut self, world: &mut World, reply: pb::WatchResponse) -> Result<(), Wrong> {
        let revision = reply.header.as_ref().map_or(0, |header| header.revision);
        let range: Vec<i64> =
            reply.events.iter().filter_map(|event| Some(event.kv.as_ref()?.mod_revision)).collect();
        world.remark(format_args!(
            "watch {} from {} at {revision}: created {}, compacted {}, {range:?}",
            self.at, self.member, reply.created, reply.compact_revision
        ));
        if reply.created {
            self.seen.created(revision);
            return Ok(());
        }
        if reply.compact_revision != 0 {
            self.seen.compacted(reply.compact_revision, world.agreement.compacted())?;
            if let Some(call) = self.stream.take() {
                world.leave(call);
            }
            return Ok(());
        }
        if reply.canceled {
            return Err(format!("watches: cancelled without a reason: {reply:?}"));
        }
        world.saw(revision);
        if reply.fragment {
            self.pieces.extend(reply.events);
            return Ok(());
        }
        let mut events = std::mem::take(&mut self.pieces);
        events.extend(reply.events);
        match events.is_empty() {
            true => self.seen.progressed(revision),
            false => self.seen.took(events)?,
        }
        Ok(())
    }
}
