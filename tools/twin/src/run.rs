//! Owns one run: a member and a model side by side, the same random commands for both, and the
//! comparison of everything that both say.
//! Never goes on after a difference. Invariant: equal seeds give equal runs.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use base::Prng;
use bytes::Bytes;
use node::shard::Partition;
use node::{CallId, ShardEvent};
use ringleader_model::{Generator, Model, Request, Response};
use wire::{Method, Status};

use crate::member::{Heard, IDS, Member, Shape};
use crate::rpc;
use crate::watchers::Watchers;

/// Commands of one run.
pub const COMMANDS: u64 = 1000;
/// Commands that a difference shows.
const SHOWN: usize = 6;
/// Writes that are sent at once.
const BATCH_MAX: u64 = 8;
/// Streams of watches at once.
const STREAMS_MAX: usize = 4;

thread_local! {
    /// The commands before the end, for whoever reads of a panic.
    static RECENT: RefCell<VecDeque<Request>> = const { RefCell::new(VecDeque::new()) };
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Commands compared.
    pub commands: u64,
    /// Of them refused, by both.
    pub refused: u64,
    /// Events that watches saw.
    pub events: u64,
    /// Times that the member died and came back.
    pub crashes: u64,
    /// Checkpoints that came into force.
    pub checkpoints: u64,
}

/// Both sides.
pub struct Run {
    dice: Prng,
    generator: Generator,
    model: Model,
    member: Member,
    watchers: Watchers,
    tally: Tally,
}

/// Where the two differ, in words.
#[derive(Debug)]
pub struct Difference(String);

impl fmt::Display for Difference {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}", self.0)
    }
}

/// Writes the last commands to a text.
pub fn recent() -> String {
    RECENT.with_borrow(|recent| recent.iter().map(|request| format!("  {request:?}\n")).collect())
}

impl Run {
    /// Both empty.
    pub fn new(seed: u64) -> Run {
        let mut dice = Prng::from_seed(seed);
        let partition = Partition::new(1 + dice.below(4) as u16, 1 + dice.below(3) as u16);
        let checkpoint_log_bytes = *dice.pick(&[4 << 10, 32 << 10, 8 << 20]);
        let shape = Shape { partition, checkpoint_log_bytes };
        Run {
            generator: Generator::new(dice.next_u64()),
            model: Model::new(),
            member: Member::new(shape, dice.next_u64()),
            watchers: Watchers::default(),
            tally: Tally::default(),
            dice,
        }
    }

    /// Gives both so many commands.
    pub fn go(mut self, commands: u64) -> Result<Tally, Difference> {
        RECENT.with_borrow_mut(VecDeque::clear);
        while self.tally.commands < commands {
            self.round().map_err(|wrong| {
                let at = self.tally.commands;
                Difference(format!("at command {at}: {wrong}\nthe last commands:\n{}", recent()))
            })?;
        }
        self.tally.events = self.watchers.events();
        self.tally.checkpoints = self.member.checkpoints();
        Ok(self.tally)
    }

    fn round(&mut self) -> Result<(), String> {
        self.commands()?;
        self.member.tick();
        if self.dice.chance(200) {
            self.watch()?;
        }
        if self.dice.chance(3) {
            self.member.crash();
            self.watchers.forget();
            self.tally.crashes += 1;
        }
        Ok(())
    }

    /// Some writes at once, or one request of any kind.
    fn commands(&mut self) -> Result<(), String> {
        let shard = self.member.any_shard();
        let most = 1 + self.dice.below(BATCH_MAX);
        let mut sent: BTreeMap<CallId, (Request, Result<Response, Status>)> = BTreeMap::new();
        while (sent.len() as u64) < most {
            let request = self.generator.next(self.model.revision(), self.model.compacted());
            let alone = !rpc::batches(&request);
            if alone && !sent.is_empty() {
                // What only reads must not overtake or be overtaken; the next round draws anew.
                break;
            }
            if matches!(&request, Request::Range(range) if range.serializable) {
                // It may be stale at a shard that has not heard of the last batch: let all hear.
                self.member.settle();
            }
            let want = self.model.execute(&request);
            self.watchers.owe(&self.model);
            note(&request);
            self.tally.commands += 1;
            self.tally.refused += u64::from(want.is_err());
            let (method, message) = rpc::encode(&request);
            let call = match method {
                Method::LeaseKeepAlive => {
                    let call = self.member.open(shard, method);
                    self.member.event(shard, ShardEvent::Message { call, message });
                    self.member.event(shard, ShardEvent::HalfClosed { call });
                    call
                }
                _ => self.member.unary(shard, method, message),
            };
            sent.insert(call, (request, want));
            if alone {
                break;
            }
        }
        self.compare(sent)
    }

    fn compare(
        &mut self,
        mut sent: BTreeMap<CallId, (Request, Result<Response, Status>)>,
    ) -> Result<(), String> {
        while !sent.is_empty() {
            let Some((call, heard)) = self.member.hear() else {
                let stuck: Vec<&Request> = sent.values().map(|(request, _)| request).collect();
                return Err(format!("no answer to {stuck:?}; broken: {:?}", self.member.broken()));
            };
            let Some((request, want)) = sent.remove(&call) else {
                self.stray(call, heard)?;
                continue;
            };
            let got = match heard {
                Heard::Reply(bytes) => decoded(&request, &bytes)?,
                Heard::Failed(error) => Err(error),
                Heard::Message(bytes) => decoded(&request, &bytes)?,
                Heard::Finished => return Err(format!("{request:?} ended without a word")),
            };
            let same = match (&want, &got) {
                (Ok(want), Ok(got)) => rpc::same(want, got),
                (want, got) => want == got,
            };
            if !same {
                return Err(format!("{request:?}\n  want {want:?}\n  got  {got:?}"));
            }
        }
        if self.dice.chance(900) {
            self.watchers.listen(&mut self.member, &self.model)?;
        }
        Ok(())
    }

    fn stray(&mut self, call: CallId, heard: Heard) -> Result<(), String> {
        self.watchers.hear(call, heard, &self.model)
    }

    /// Something with watches.
    fn watch(&mut self) -> Result<(), String> {
        let choice = self.dice.below(12);
        // A watch from now on must be right also at a shard that has not heard of the last writes.
        if !matches!(choice, 5 | 6) || self.dice.chance(300) {
            self.watchers.listen(&mut self.member, &self.model)?;
        }
        let streams = self.watchers.streams();
        if streams.len() < STREAMS_MAX {
            self.watchers.open(&mut self.member);
            return Ok(());
        }
        let call = *self.dice.pick(&streams);
        let (member, model) = (&mut self.member, &self.model);
        match choice {
            0 => self.watchers.leave(member, call),
            1 | 2 => self.watchers.turn_tap(member, call),
            3 => self.watchers.progress(member, model, call)?,
            4 => self.watchers.cancel(member, model, call)?,
            choice => {
                let mut create = self.generator.watch(model.revision(), model.compacted());
                match choice {
                    5 | 6 => create.start_revision = 0,
                    7 => create.start_revision = model.revision() + 2,
                    _ => {}
                }
                self.watchers.create(member, model, call, create)?;
            }
        }
        Ok(())
    }
}

fn decoded(request: &Request, bytes: &Bytes) -> Result<Result<Response, Status>, String> {
    rpc::decode(request, bytes, IDS).map(Ok).map_err(|error| format!("{request:?}: {error}"))
}

fn note(request: &Request) {
    RECENT.with_borrow_mut(|recent| {
        if recent.len() == SHOWN {
            recent.pop_front();
        }
        recent.push_back(request.clone());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_and_the_model_never_differ() {
        for seed in 1..4 {
            println!("seed {seed}");
            let tally = Run::new(seed).go(COMMANDS).unwrap_or_else(|wrong| panic!("{wrong}"));
            assert!(COMMANDS <= tally.commands);
            assert!(0 < tally.refused);
            assert!(0 < tally.events);
        }
    }
}
