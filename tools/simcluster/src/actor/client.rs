//! Owns a client that reads and writes: one operation at a time, at one member until that fails it.
//! What may have been done and is asked for again is another operation. Invariant: every operation
//! is in the history from before it is sent, and ends there once.

use std::collections::BTreeMap;
use std::time::Duration;

use base::Prng;
use bytes::Bytes;
use node::CallId;
use ringleader_model::{Request, Response};
use ringleader_sim::member::Heard;
use ringleader_twin::rpc::{self, Ids};
use wire::{Code, Status, etcdserverpb as pb};

use super::words::{self, Known};
use super::{Book, Open, another, failed, is_learners};
use crate::history::{Outcome, Stamp};
use crate::member::CLUSTER;
use crate::world::{Actor, News, World, Wrong};

/// Longest time that a client waits for an answer.
const PATIENCE_MS: u64 = 3000;

/// Of a thousand requests of whose fate nobody told, those that are asked again elsewhere.
const RETRY: u64 = 400;

/// One client.
pub struct Client {
    at: usize,
    member: u64,
    dice: Prng,
    busy: Option<Busy>,
    revisions: BTreeMap<Bytes, i64>,
    made: u64,
    woken: u64,
    // A request of whose fate nobody told, to be asked again elsewhere.
    again: Option<Request>,
    /// Writes that were acknowledged, and reads that were answered.
    pub done: u64,
}

struct Busy {
    call: CallId,
    op: usize,
}

impl Client {
    /// A client that will begin soon.
    pub fn new(world: &mut World, at: usize, mut dice: Prng) -> Client {
        let member = 1 + dice.below(world.shape.members);
        world.wake(Duration::from_millis(dice.below(100)), Actor::Client(at), 0);
        let (busy, revisions) = (None, BTreeMap::new());
        let again = None;
        Client { at, member, dice, busy, revisions, made: 0, woken: 0, again, done: 0 }
    }

    /// Whether an operation is under way.
    pub fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Learns something.
    pub fn learn(&mut self, world: &mut World, book: &mut Book, news: News) -> Result<(), Wrong> {
        match news {
            News::Heard(call, heard) => {
                let Some(busy) = self.busy.take_if(|busy| busy.call == call) else { return Ok(()) };
                let outcome = self.outcome(world, book, busy.op, heard)?;
                self.end(world, book, busy.op, outcome);
            }
            News::Lost(call) => {
                if let Some(busy) = self.busy.take_if(|busy| busy.call == call) {
                    self.end(world, book, busy.op, Outcome::Unknown);
                }
            }
            // Anything but the last number is the time limit of what has ended since.
            News::Woken(number) if number == self.woken => match self.busy.take() {
                Some(busy) => {
                    world.leave(busy.call);
                    self.end(world, book, busy.op, Outcome::Unknown);
                }
                None => self.begin(world, book),
            },
            News::Woken(_) => {}
        }
        Ok(())
    }

    fn begin(&mut self, world: &mut World, book: &mut Book) {
        if book.open == Open::No {
            return self.sleep(world, Duration::from_millis(50));
        }
        if !book.members.contains(&self.member) {
            self.member = another(&book.members, self.member, &mut self.dice);
        }
        self.made += 1;
        let asked = world.stamp();
        let known = Known {
            keys: world.shape.keys,
            seen: world.seen,
            compacted: book.history.compaction_asked(asked),
            leases: &book.leases.held(),
            revisions: &self.revisions,
            value: Bytes::from(format!("c{}.{}", self.at, self.made)),
        };
        let request = match self.again.take() {
            Some(request) => request,
            None => words::draw(&mut self.dice, &known),
        };
        let (method, message) = rpc::encode(&request);
        let Some(call) = world.call(Actor::Client(self.at), self.member, method, message) else {
            // Nobody listens: nothing was asked.
            self.member = another(&book.members, self.member, &mut self.dice);
            return self.sleep(world, Duration::from_millis(20));
        };
        let op = book.history.begin(self.member, request, asked, world.seen);
        self.busy = Some(Busy { call, op });
        let patience = Duration::from_millis(500 + self.dice.below(PATIENCE_MS));
        self.sleep(world, patience);
    }

    fn end(&mut self, world: &mut World, book: &mut Book, op: usize, outcome: Outcome) {
        match &outcome {
            Outcome::Refused { status, .. } if is_learners(status) => {
                self.member = another(&book.members, self.member, &mut self.dice);
            }
            Outcome::Told { .. } | Outcome::Refused { .. } => self.done += 1,
            Outcome::Unknown | Outcome::Open => {
                self.member = another(&book.members, self.member, &mut self.dice);
                if world.shape.client_latency != Duration::ZERO && self.dice.chance(RETRY) {
                    self.again = Some(book.history.ops[op].request.clone());
                }
            }
        }
        book.history.end(op, outcome);
        let think = self.dice.below(world.shape.think.as_nanos() as u64);
        self.sleep(world, Duration::from_nanos(think));
    }

    fn sleep(&mut self, world: &mut World, wait: Duration) {
        self.woken += 1;
        world.wake(wait, Actor::Client(self.at), self.woken);
    }

    fn outcome(
        &mut self,
        world: &mut World,
        book: &mut Book,
        op: usize,
        heard: Heard,
    ) -> Result<Outcome, Wrong> {
        let op = &book.history.ops[op];
        match heard {
            Heard::Reply(bytes) => {
                let ids = Ids { cluster: CLUSTER, member: op.member };
                let response = rpc::decode(&op.request, &bytes, ids).map_err(|e| e.to_string())?;
                let revision = revision_of(&response);
                world.saw(revision);
                self.note(&response, &op.request);
                Ok(Outcome::Told { at: world.stamp(), revision, response })
            }
            Heard::Failed(status) => {
                let at = world.stamp();
                refused(&op.request, &status, at, book, world)?;
                Ok(failed(world, status))
            }
            Heard::Message(_) | Heard::Finished => {
                Err(format!("a unary call was answered as a stream: {heard:?}"))
            }
        }
    }

    /// Remembers the revisions of keys.
    fn note(&mut self, response: &Response, request: &Request) {
        match response {
            Response::Range(reply) => {
                let pairs = reply.kvs.iter().map(|pair| (pair.key.clone(), pair.mod_revision));
                self.revisions.extend(pairs);
            }
            Response::Put(_) => {
                let Request::Put(put) = request else { unreachable!("a put was asked for") };
                self.revisions.insert(put.key.clone(), revision_of(response));
            }
            Response::Txn(reply) => {
                for part in &reply.responses {
                    if let Some(pb::response_op::Response::ResponseRange(range)) = &part.response {
                        let pairs =
                            range.kvs.iter().map(|pair| (pair.key.clone(), pair.mod_revision));
                        self.revisions.extend(pairs);
                    }
                }
            }
            Response::DeleteRange(_)
            | Response::Compact(_)
            | Response::LeaseGrant(_)
            | Response::LeaseRevoke(_)
            | Response::LeaseKeepAlive(_)
            | Response::LeaseTimeToLive(_)
            | Response::LeaseLeases(_) => {}
        }
    }
}

/// The revision that a reply's header tells.
pub fn revision_of(response: &Response) -> i64 {
    let header = match response {
        Response::Range(reply) => &reply.header,
        Response::Put(reply) => &reply.header,
        Response::DeleteRange(reply) => &reply.header,
        Response::Txn(reply) => &reply.header,
        Response::Compact(reply) => &reply.header,
        Response::LeaseGrant(reply) => &reply.header,
        Response::LeaseRevoke(reply) => &reply.header,
        Response::LeaseKeepAlive(reply) => &reply.header,
        Response::LeaseTimeToLive(reply) => &reply.header,
        Response::LeaseLeases(reply) => &reply.header,
    };
    header.as_ref().map_or(0, |header| header.revision)
}

/// A refusal must have a reason.
fn refused(
    request: &Request,
    status: &Status,
    at: Stamp,
    book: &Book,
    world: &World,
) -> Result<(), Wrong> {
    if !ringleader_sim::life::is_refusal(status) || is_learners(status) {
        return Ok(());
    }
    let reasonless = Err(format!("order: {request:?} was refused without a reason: {status:?}"));
    match request {
        Request::Range(range) if status.code == Code::OutOfRange => {
            let gone = range.revision < world.agreement.compacted();
            // A member that lags does not know yet what its client knows.
            let future = range.serializable && status.message.contains("future");
            if gone || future { Ok(()) } else { reasonless }
        }
        Request::Put(put) if status.code == Code::NotFound => book.leases.ended(put.lease, at),
        Request::Txn(_) if status.code == Code::NotFound => Ok(()),
        Request::Compact(_) if status.code == Code::OutOfRange => Ok(()),
        Request::Range(_)
        | Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Txn(_)
        | Request::Compact(_)
        | Request::LeaseGrant(_)
        | Request::LeaseRevoke(_)
        | Request::LeaseKeepAlive(_)
        | Request::LeaseTimeToLive(_)
        | Request::LeaseLeases(_) => reasonless,
    }
}
