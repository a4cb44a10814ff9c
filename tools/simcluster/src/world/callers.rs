//! Owns the way between clients and members: words take time, keep their order, and now and then
//! the connection that carries them breaks, so that nobody knows what arrived.
//! Never invents a word. Invariant: of a call that its actor left, or whose connection broke,
//! nothing arrives any more on either side.

use std::time::Duration;

use base::{Instant, Prng};
use bytes::Bytes;
use node::shard::{CallMeta, Caller, LeaderNeed};
use node::{CallId, ShardEvent, ShardId};
use ringleader_sim::member::Heard;
use wire::Method;

use super::{Actor, Happening, News, World};
use crate::member::Mail;

/// Longest time until a client or a member notices that a connection broke.
const NOTICE_MS: u64 = 1000;

/// A call under way.
pub(super) struct Call {
    pub actor: Actor,
    pub member: u64,
    shard: ShardId,
    // When the last word arrives at the member, and at the client.
    there: Instant,
    back: Instant,
}

impl World {
    /// Sends a unary request. `None` if nobody listens there.
    pub fn call(
        &mut self,
        actor: Actor,
        member: u64,
        method: Method,
        message: Bytes,
    ) -> Option<CallId> {
        let meta = CallMeta { leader: LeaderNeed::Any, caller: Caller::Client };
        let call = self.name(actor, member)?;
        self.remark(format_args!("{actor:?} asks {member}: {call:?} {method:?}"));
        self.say(call, ShardEvent::Unary { call, method, meta, message });
        Some(call)
    }

    /// Opens a stream. `None` if nobody listens there.
    pub fn open(&mut self, actor: Actor, member: u64, method: Method) -> Option<CallId> {
        let meta = CallMeta { leader: LeaderNeed::Any, caller: Caller::Client };
        let call = self.name(actor, member)?;
        self.say(call, ShardEvent::Open { call, method, meta });
        Some(call)
    }

    /// Tells something on a call that is open.
    pub fn say(&mut self, call: CallId, event: ShardEvent) {
        if self.shape.client_latency == Duration::ZERO {
            return self.arrive(call, event);
        }
        if !self.calls.contains_key(&call) || self.breaks(call) {
            return;
        }
        let drawn = self.now + self.client_way();
        let way = self.calls.get_mut(&call).expect("seen a moment ago");
        way.there = way.there.max(drawn);
        let wait = way.there.since(self.now);
        self.at(wait, Happening::Word(call, event));
    }

    /// A word reaches the member.
    pub(super) fn arrive(&mut self, call: CallId, event: ShardEvent) {
        if let Some(Call { member, shard, .. }) = self.calls.get(&call) {
            let (now, member, shard) = (self.now, *member, *shard);
            self.member_mut(member).deliver(now, Mail::Client(shard, event));
        }
    }

    /// The actor wants to hear no more of a call.
    pub fn leave(&mut self, call: CallId) {
        if let Some(Call { member, shard, .. }) = self.calls.remove(&call) {
            let now = self.now;
            let mail = Mail::Client(shard, ShardEvent::Gone { call });
            self.member_mut(member).deliver(now, mail);
        }
    }

    /// A member answers.
    pub(super) fn answered(&mut self, call: CallId, heard: Heard) {
        // Nobody listens to a call that its client has left.
        let Some(actor) = self.calls.get(&call).map(|call| call.actor) else { return };
        let at_once = self.shape.client_latency == Duration::ZERO;
        if !at_once && self.breaks(call) {
            return;
        }
        let mut wait = Duration::ZERO;
        if !at_once {
            let drawn = self.now + self.client_way();
            let way = self.calls.get_mut(&call).expect("seen a moment ago");
            way.back = way.back.max(drawn);
            wait = way.back.since(self.now);
        }
        match heard {
            Heard::Reply(_) | Heard::Failed(_) | Heard::Finished => drop(self.calls.remove(&call)),
            Heard::Message(_) => {}
        }
        match at_once {
            true => self.news.push((actor, News::Heard(call, heard))),
            false => self.at(wait, Happening::News(actor, News::Heard(call, heard))),
        }
    }

    /// Whether the call's connection breaks now. Both sides notice some time later.
    fn breaks(&mut self, call: CallId) -> bool {
        let spared = self.calls[&call].actor == Actor::Judge;
        if spared || !self.dice.chance(self.client_breaks_per_mille) {
            return false;
        }
        let Call { actor, member, shard, .. } = self.calls.remove(&call).expect("it is open");
        self.remark(format_args!("the connection of {call:?} breaks"));
        let wait = Duration::from_millis(self.dice.below(NOTICE_MS));
        self.at(wait, Happening::News(actor, News::Lost(call)));
        let wait = Duration::from_millis(self.dice.below(NOTICE_MS));
        let mail = Mail::Client(shard, ShardEvent::Gone { call });
        let life = self.member(member).lives;
        self.at(wait, Happening::Gone(member, life, mail));
        true
    }

    fn client_way(&mut self) -> Duration {
        let most = self.shape.client_latency.as_nanos() as u64;
        Duration::from_nanos(most / 4 + self.dice.below(most))
    }

    fn name(&mut self, actor: Actor, member: u64) -> Option<CallId> {
        // A process listens to clients once it has published itself.
        if !self.members.get(&member)?.is_serving() {
            return None;
        }
        self.next_call += 1;
        let call = CallId(self.next_call);
        let mut dice = Prng::from_seed(self.dice.next_u64());
        let shard = self.member(member).any_shard(&mut dice);
        let (there, back) = (self.now, self.now);
        self.calls.insert(call, Call { actor, member, shard, there, back });
        Some(call)
    }
}
