//! Owns a client that holds a lease: granted, hung with a key, renewed for a while, then given back
//! or left to end; then the next one.
//! Invariant: a renewal counts from when it was asked for, and only if it was granted.

use std::collections::VecDeque;
use std::time::Duration;

use base::Prng;
use bytes::Bytes;
use node::{CallId, ShardEvent};
use prost::Message;
use ringleader_model::Request;
use ringleader_sim::member::Heard;
use ringleader_twin::rpc::{self, Ids};
use wire::{Code, Method, Status, etcdserverpb as pb};

use super::client::revision_of;
use super::{Book, Open, another, failed, is_learners};
use crate::history::{Outcome, Stamp};
use crate::member::CLUSTER;
use crate::world::{Actor, News, World, Wrong};

/// Longest time without an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// One holder.
pub struct Holder {
    at: usize,
    member: u64,
    dice: Prng,
    lease: Option<Held>,
    op: Option<(CallId, usize)>,
    stream: Option<CallId>,
    // Renewals that were asked for on the stream, in order.
    asked: VecDeque<Stamp>,
    made: i64,
    woken: u64,
    /// Renewals that were granted.
    pub renewals: u64,
}

struct Held {
    id: i64,
    ttl_s: i64,
    stage: Stage,
    renewals_left: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Granting,
    Attaching,
    Renewing,
    Revoking,
}

impl Holder {
    /// A holder that will begin soon.
    pub fn new(world: &mut World, at: usize, mut dice: Prng) -> Holder {
        let member = 1 + dice.below(world.shape.members);
        world.wake(Duration::from_millis(dice.below(500)), Actor::Holder(at), 0);
        Holder {
            at,
            member,
            dice,
            lease: None,
            op: None,
            stream: None,
            asked: VecDeque::new(),
            made: 0,
            woken: 0,
            renewals: 0,
        }
    }

    /// Whether it holds nothing and waits for nothing.
    pub fn is_idle(&self) -> bool {
        self.op.is_none() && self.lease.is_none()
    }

    /// Learns something.
    pub fn learn(&mut self, world: &mut World, book: &mut Book, news: News) -> Result<(), Wrong> {
        match news {
            News::Heard(call, Heard::Message(bytes)) if self.stream == Some(call) => {
                self.renewed(world, book, bytes)
            }
            News::Heard(call, heard) => match self.op.take_if(|(mine, _)| *mine == call) {
                Some((_, op)) => self.answered(world, book, op, heard),
                None => {
                    self.broken(book, call);
                    Ok(())
                }
            },
            News::Lost(call) => {
                if let Some((_, op)) = self.op.take_if(|(mine, _)| *mine == call) {
                    self.unknown(world, book, op);
                }
                self.broken(book, call);
                Ok(())
            }
            News::Woken(number) if number == self.woken => {
                match self.op.take() {
                    Some((call, op)) => {
                        world.leave(call);
                        self.unknown(world, book, op);
                    }
                    None => self.go_on(world, book),
                }
                Ok(())
            }
            News::Woken(_) => Ok(()),
        }
    }

    fn broken(&mut self, book: &Book, call: CallId) {
        if self.stream.take_if(|stream| *stream == call).is_some() {
            self.asked.clear();
            self.member = another(&book.members, self.member, &mut self.dice);
        }
    }

    fn go_on(&mut self, world: &mut World, book: &mut Book) {
        if !book.members.contains(&self.member) {
            self.member = another(&book.members, self.member, &mut self.dice);
            if let Some(call) = self.stream.take() {
                world.leave(call);
                self.asked.clear();
            }
        }
        match self.lease.as_ref().map(|held| held.stage) {
            None if book.open == Open::No => self.sleep(world, Duration::from_millis(100)),
            None => self.grant(world, book),
            Some(Stage::Granting | Stage::Attaching | Stage::Revoking) => {
                unreachable!("an operation is under way then")
            }
            Some(Stage::Renewing) => self.renew(world, book),
        }
    }

    fn grant(&mut self, world: &mut World, book: &mut Book) {
        self.made += 1;
        let (id, ttl_s) = (1000 * (self.at as i64 + 1) + self.made, 2 + self.dice.below(3) as i64);
        let grant = Request::LeaseGrant(pb::LeaseGrantRequest { id, ttl: ttl_s });
        if self.ask(world, book, grant) {
            book.leases.asked(id, Duration::from_secs(ttl_s as u64));
            let renewals_left = self.dice.below(12);
            self.lease = Some(Held { id, ttl_s, stage: Stage::Granting, renewals_left });
        }
    }

    /// Sends an operation; false if nobody listens.
    fn ask(&mut self, world: &mut World, book: &mut Book, request: Request) -> bool {
        let asked = world.stamp();
        let (method, message) = rpc::encode(&request);
        let Some(call) = world.call(Actor::Holder(self.at), self.member, method, message) else {
            self.member = another(&book.members, self.member, &mut self.dice);
            self.sleep(world, Duration::from_millis(20));
            return false;
        };
        let op = book.history.begin(self.member, request, asked, world.seen);
        self.op = Some((call, op));
        self.sleep(world, PATIENCE);
        true
    }

    fn answered(
        &mut self,
        world: &mut World,
        book: &mut Book,
        op: usize,
        heard: Heard,
    ) -> Result<(), Wrong> {
        let asked = &book.history.ops[op];
        let bytes = match heard {
            Heard::Reply(bytes) => bytes,
            Heard::Failed(status) => {
                let at = world.stamp();
                self.refused(book, at, &status)?;
                if is_learners(&status) {
                    self.member = another(&book.members, self.member, &mut self.dice);
                }
                let outcome = failed(world, status);
                book.history.end(op, outcome);
                self.forget(world);
                return Ok(());
            }
            Heard::Message(_) | Heard::Finished => {
                return Err(format!("a unary call was answered as a stream: {heard:?}"));
            }
        };
        let ids = Ids { cluster: CLUSTER, member: asked.member };
        let response = rpc::decode(&asked.request, &bytes, ids).map_err(|e| e.to_string())?;
        let called = asked.called;
        let revision = revision_of(&response);
        world.saw(revision);
        let outcome = Outcome::Told { at: world.stamp(), revision, response };
        book.history.end(op, outcome);
        let held = self.lease.as_mut().expect("its operation was answered");
        match held.stage {
            Stage::Granting => {
                book.leases.renewed(held.id, called);
                held.stage = Stage::Attaching;
                let put = pb::PutRequest {
                    key: Bytes::from(format!("lease{}", held.id)),
                    value: Bytes::from(format!("h{}", held.id)),
                    lease: held.id,
                    ..Default::default()
                };
                if !self.ask(world, book, Request::Put(put)) {
                    self.forget(world);
                }
            }
            Stage::Attaching => {
                held.stage = Stage::Renewing;
                self.sleep(world, Duration::from_millis(100));
            }
            Stage::Revoking | Stage::Renewing => self.forget(world),
        }
        Ok(())
    }

    /// A refusal must have a reason.
    fn refused(&self, book: &Book, at: Stamp, status: &Status) -> Result<(), Wrong> {
        let held = self.lease.as_ref().expect("its operation was refused");
        if is_learners(status) {
            return Ok(());
        }
        match (held.stage, status.code) {
            (Stage::Attaching, Code::NotFound) => book.leases.ended(held.id, at),
            (Stage::Granting | Stage::Attaching, _) if ringleader_sim::life::is_refusal(status) => {
                Err(format!("leases: {} was refused without a reason: {status:?}", held.id))
            }
            (Stage::Granting | Stage::Attaching | Stage::Renewing | Stage::Revoking, _) => Ok(()),
        }
    }

    fn unknown(&mut self, world: &mut World, book: &mut Book, op: usize) {
        book.history.end(op, Outcome::Unknown);
        self.member = another(&book.members, self.member, &mut self.dice);
        self.forget(world);
    }

    /// Leaves the lease to itself.
    fn forget(&mut self, world: &mut World) {
        self.lease = None;
        self.asked.clear();
        if let Some(call) = self.stream.take() {
            world.leave(call);
        }
        self.sleep(world, Duration::from_millis(50));
    }

    fn renew(&mut self, world: &mut World, book: &mut Book) {
        let held = self.lease.as_mut().expect("it is being renewed");
        if held.renewals_left == 0 || book.open == Open::No {
            // Half are given back, half end by themselves.
            if self.dice.chance(500) || book.open == Open::No {
                return self.forget(world);
            }
            held.stage = Stage::Revoking;
            let id = held.id;
            book.leases.revoke_asked(id, world.stamp());
            if !self.ask(world, book, Request::LeaseRevoke(pb::LeaseRevokeRequest { id })) {
                self.forget(world);
            }
            return;
        }
        held.renewals_left -= 1;
        let (id, pause) = (held.id, Duration::from_millis(held.ttl_s as u64 * 250));
        if self.stream.is_none() {
            self.stream = world.open(Actor::Holder(self.at), self.member, Method::LeaseKeepAlive);
        }
        match self.stream {
            Some(call) => {
                self.asked.push_back(world.stamp());
                let message = pb::LeaseKeepAliveRequest { id }.encode_to_vec().into();
                world.say(call, ShardEvent::Message { call, message });
            }
            None => self.member = another(&book.members, self.member, &mut self.dice),
        }
        self.sleep(world, pause);
    }

    fn renewed(&mut self, world: &mut World, book: &mut Book, bytes: Bytes) -> Result<(), Wrong> {
        let reply = pb::LeaseKeepAliveResponse::decode(bytes).map_err(|e| e.to_string())?;
        let asked = self.asked.pop_front().ok_or("leases: a renewal that nobody asked for")?;
        if 0 < reply.ttl {
            self.renewals += 1;
            book.leases.renewed(reply.id, asked);
            return Ok(());
        }
        let at = world.stamp();
        book.leases.ended(reply.id, at)?;
        if self.op.is_none() {
            self.forget(world);
        }
        Ok(())
    }

    fn sleep(&mut self, world: &mut World, wait: Duration) {
        self.woken += 1;
        world.wake(wait, Actor::Holder(self.at), self.woken);
    }
}
