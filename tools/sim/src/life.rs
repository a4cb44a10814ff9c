//! Owns one life between two crashes: the member, its clients' calls, and the oracle that hears
//! every reply.
//! Invariant: a reply reaches the oracle before anything else is done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{Instant, Prng};
use bytes::Bytes;
use node::leader::Report;
use node::{CallId, ShardId};
use prost::Message;
use wire::etcdserverpb as pb;
use wire::{Code, Method, Status};

use crate::member::{End, Heard, Member};
use crate::ops::Op;
use crate::oracle::Oracle;

/// Longer than any call may take: its own limit is seven seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a life cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It ended as lives end.
    Ended(End),
    /// A law was broken.
    Wrong(String),
}

impl From<End> for Stop {
    fn from(end: End) -> Stop {
        Stop::Ended(end)
    }
}

/// What a call was for.
#[derive(Clone, Debug)]
enum Purpose {
    /// A client's change.
    Change { client: u64 },
    /// A client's read; what it asked, and the least revision that it must show.
    Read { client: u64, request: pb::RangeRequest, floor: i64 },
    /// Somebody waits for this very reply.
    Question,
}

/// One life.
pub struct Life<'a> {
    /// The member.
    pub member: Member,
    /// What must be true.
    pub oracle: &'a mut Oracle,
    /// Dice of the clients.
    pub dice: Prng,
    calls: BTreeMap<CallId, Purpose>,
    answers: BTreeMap<CallId, Result<Bytes, Status>>,
    /// Clients whose pause is over or whose call was answered.
    pub idle: BTreeSet<u64>,
    /// The member serves.
    pub serving: bool,
    /// The orderly stop is done.
    pub stopped: bool,
    /// No new calls.
    pub stopping: bool,
    next_call: &'a mut u64,
}

impl<'a> Life<'a> {
    /// A life whose member has just started.
    pub fn new(
        member: Member,
        oracle: &'a mut Oracle,
        dice: Prng,
        next_call: &'a mut u64,
    ) -> Life<'a> {
        Life {
            member,
            oracle,
            dice,
            calls: BTreeMap::new(),
            answers: BTreeMap::new(),
            idle: BTreeSet::new(),
            serving: false,
            stopped: false,
            stopping: false,
            next_call,
        }
    }

    /// Lets the next thing happen and hears what came of it.
    pub fn step(&mut self) -> Result<(), Stop> {
        let stepped = self.member.step();
        // What was sent before the power went was heard.
        let said = std::mem::take(&mut self.member.said);
        for (call, heard) in said.heard {
            let reply = match heard {
                Heard::Reply(reply) => Ok(reply),
                Heard::Failed(status) => Err(status),
                Heard::Message(_) | Heard::Finished => panic!("no stream was opened"),
            };
            self.hear(call, reply).map_err(Stop::Wrong)?;
        }
        self.idle.extend(said.wakes);
        for report in said.reports {
            match report {
                Report::Serving => self.serving = true,
                Report::Stopped => self.stopped = true,
                Report::Initialized { .. }
                | Report::Forced { .. }
                | Report::Role { .. }
                | Report::Checkpointed { .. }
                | Report::Compacted { .. }
                | Report::NoSpace
                | Report::Version(_)
                | Report::Check(_)
                | Report::Alarm { .. }
                | Report::DiskStuck { .. }
                | Report::Removed => {}
                Report::Broken { what } => return Err(Stop::Ended(End::Broken(what))),
                Report::NotForced { why } => {
                    return Err(Stop::Ended(End::Broken(why.to_owned())));
                }
            }
        }
        stepped.map_err(Stop::Ended)
    }

    /// Steps until the condition holds; waiting for longer than anything may take is a fault.
    pub fn wait(&mut self, what: &str, done: impl Fn(&Life) -> bool) -> Result<(), Stop> {
        let deadline = self.member.now() + PATIENCE;
        while !done(self) {
            self.step()?;
            if deadline < self.member.now() {
                return Err(Stop::Wrong(format!("waited too long for {what}")));
            }
        }
        Ok(())
    }

    /// Calls under way.
    pub fn under_way(&self) -> usize {
        self.calls.len()
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.member.now()
    }

    /// A client asks for a change.
    pub fn change(&mut self, client: u64, op: Op) {
        let (method, message) = op.encode();
        let call = self.name(Purpose::Change { client });
        self.oracle.sent(call, op);
        self.send(call, method, message);
    }

    /// A client reads.
    pub fn read(&mut self, client: u64, request: pb::RangeRequest) {
        let floor = if request.serializable { 0 } else { self.oracle.seen };
        let message = request.encode_to_vec().into();
        let call = self.name(Purpose::Read { client, request, floor });
        self.send(call, Method::Range, message);
    }

    /// Asks and waits for the answer.
    pub fn ask<M: Message>(&mut self, method: Method, request: &M) -> Result<Reply, Stop> {
        let call = self.name(Purpose::Question);
        self.send(call, method, request.encode_to_vec().into());
        self.wait(method.path(), |life| life.answers.contains_key(&call))?;
        Ok(self.answers.remove(&call).expect("it was waited for"))
    }

    fn name(&mut self, purpose: Purpose) -> CallId {
        *self.next_call += 1;
        let call = CallId(*self.next_call);
        self.calls.insert(call, purpose);
        call
    }

    fn send(&mut self, call: CallId, method: Method, message: Bytes) {
        let shard = self.dice.below(u64::from(self.member.cores()));
        self.member.call(ShardId(shard as u16), call, method, message);
    }

    fn hear(&mut self, call: CallId, reply: Reply) -> Result<(), String> {
        let purpose = self.calls.remove(&call).ok_or(format!("{call:?} was answered twice"))?;
        match purpose {
            Purpose::Question => drop(self.answers.insert(call, reply)),
            Purpose::Change { client } => {
                self.idle.insert(client);
                match reply {
                    Ok(reply) => self.oracle.acknowledged(call, reply)?,
                    Err(status) if is_refusal(&status) => self.oracle.refused(call),
                    Err(status) if self.may_fail() => drop(status),
                    Err(status) => return Err(format!("a change failed: {status:?}")),
                }
            }
            Purpose::Read { client, request, floor } => {
                self.idle.insert(client);
                match reply {
                    Ok(reply) => self.heard_rows(&request, floor, reply)?,
                    Err(status) if self.is_compacted(&request, &status) || self.may_fail() => {}
                    Err(status) => return Err(format!("{request:?} failed: {status:?}")),
                }
            }
        }
        Ok(())
    }

    /// While it stops, or after the disk failed, calls may end badly.
    fn may_fail(&self) -> bool {
        self.stopping || self.member.failed().is_some()
    }

    fn is_compacted(&self, request: &pb::RangeRequest, status: &Status) -> bool {
        status.code == Code::OutOfRange
            && 0 < request.revision
            && request.revision < self.oracle.compacted_max()
    }

    fn heard_rows(
        &mut self,
        request: &pb::RangeRequest,
        floor: i64,
        reply: Bytes,
    ) -> Result<(), String> {
        let reply = pb::RangeResponse::decode(reply).map_err(|error| error.to_string())?;
        let told = reply.header.ok_or("a range without a header")?.revision;
        if told < floor {
            return Err(format!("a read showed {told} after {floor} was told"));
        }
        self.oracle.seen = self.oracle.seen.max(told);
        let at = if 0 < request.revision { request.revision } else { told };
        self.oracle.read(at, request.key.clone(), request.range_end.clone(), reply.kvs);
        Ok(())
    }
}

/// What a call gets.
pub type Reply = Result<Bytes, Status>;

/// Errors that say that nothing was done.
pub fn is_refusal(status: &Status) -> bool {
    matches!(
        status.code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::OutOfRange
            | Code::FailedPrecondition
            | Code::ResourceExhausted
    )
}
