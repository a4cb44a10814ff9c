//! Owns linearizable reads at the leader: who waits for a confirmation of leadership, and for
//! which index to be applied.
//! Invariant: a waiter joins only a round whose context was made after it came; contexts are never
//! used twice; one round is in flight and one gathers.

use std::collections::BTreeMap;
use std::time::Duration;

use base::Instant;

use crate::message::{CallRef, Question, ShardId};

/// A round unanswered for so long is asked again with a fresh context (etcd's 500 ms).
const RETRY: Duration = Duration::from_millis(500);

/// Who waits.
#[derive(Debug)]
pub enum Waiter {
    /// A shard's own round of reads.
    Read {
        /// Which shard.
        shard: ShardId,
        /// Its number for the round.
        round: u64,
    },
    /// A comparison of members, which is judged only by a leader.
    Check,
    /// This member, which serves nobody before it has applied what was committed when it started.
    Arrival,
    /// A question of a call.
    Ask {
        /// Whose.
        asker: Asker,
        /// What.
        question: Question,
    },
}

/// Who wants an answer of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A call at this member.
    Call(CallRef),
    /// A peer, for a call of its own.
    Peer {
        /// Which.
        member: u64,
        /// Its number for the question.
        number: u64,
    },
}

/// The rounds.
pub struct Rounds {
    gathering: Vec<Waiter>,
    in_flight: Option<InFlight>,
    // Confirmed; waiting for the applied index to reach the key.
    confirmed: BTreeMap<u64, Vec<Waiter>>,
    context: u64,
    retries: u64,
}

struct InFlight {
    context: u64,
    asked: Instant,
    waiters: Vec<Waiter>,
}

impl Rounds {
    /// Nobody waits.
    pub fn new() -> Rounds {
        Rounds {
            gathering: Vec::new(),
            in_flight: None,
            confirmed: BTreeMap::new(),
            context: 0,
            retries: 0,
        }
    }

    /// A shard wants a read point.
    pub fn read(&mut self, shard: ShardId, round: u64) {
        self.gathering.push(Waiter::Read { shard, round });
    }

    /// A comparison wants to know whether this member still leads.
    pub fn check(&mut self) {
        self.gathering.push(Waiter::Check);
    }

    /// This member wants to have all that is committed.
    pub fn arrive(&mut self) {
        self.gathering.push(Waiter::Arrival);
    }

    /// Somebody asks something.
    pub fn ask(&mut self, asker: Asker, question: Question) {
        self.gathering.push(Waiter::Ask { asker, question });
    }

    /// Who asked needs no answer.
    pub fn forget(&mut self, asker: Asker) {
        let waits = |waiter: &Waiter| match waiter {
            Waiter::Ask { asker: asked, .. } => *asked != asker,
            Waiter::Read { .. } | Waiter::Check | Waiter::Arrival => true,
        };
        self.gathering.retain(waits);
        if let Some(round) = &mut self.in_flight {
            round.waiters.retain(waits);
        }
        self.confirmed.values_mut().for_each(|waiters| waiters.retain(waits));
    }

    /// Begins a round if there is reason to; returns its fresh context.
    pub fn begin(&mut self, now: Instant) -> Option<u64> {
        if let Some(stale) = self.in_flight.take_if(|round| now.since(round.asked) >= RETRY) {
            self.retries += 1;
            let mut waiters = stale.waiters;
            waiters.append(&mut self.gathering);
            self.gathering = waiters;
        }
        if self.in_flight.is_some() || self.gathering.is_empty() {
            return None;
        }
        self.context += 1;
        let waiters = std::mem::take(&mut self.gathering);
        self.in_flight = Some(InFlight { context: self.context, asked: now, waiters });
        Some(self.context)
    }

    /// Leadership was confirmed for this context, as of this index. Answers to older contexts are
    /// ignored.
    pub fn confirmed(&mut self, context: u64, index: u64) {
        if let Some(round) = self.in_flight.take_if(|round| round.context == context) {
            self.confirmed.entry(index).or_default().extend(round.waiters);
        }
    }

    /// The group could not answer this context: ask again with a fresh one.
    pub fn lost(&mut self, context: u64) {
        if let Some(round) = self.in_flight.take_if(|round| round.context == context) {
            self.gathering.extend(round.waiters);
        }
    }

    /// The term changed: the round in flight proves nothing any more.
    pub fn start_over(&mut self) {
        if let Some(round) = self.in_flight.take() {
            self.gathering.extend(round.waiters);
        }
    }

    /// Those whose index has been applied.
    pub fn ready(&mut self, applied: u64) -> Vec<Waiter> {
        let later = self.confirmed.split_off(&(applied + 1));
        std::mem::replace(&mut self.confirmed, later).into_values().flatten().collect()
    }

    /// Rounds that were not answered in time.
    pub fn retries(&self) -> u64 {
        self.retries
    }

    /// When [`Rounds::begin`] should be called again though nothing happened.
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.in_flight.as_ref().map(|round| round.asked + RETRY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::CallId;

    #[test]
    fn who_has_left_is_answered_nowhere() {
        let mut rounds = Rounds::new();
        let asker = |call| Asker::Call(CallRef { shard: ShardId(0), call: CallId(call) });
        for call in [1, 2] {
            rounds.ask(asker(call), Question::Members);
        }
        rounds.forget(asker(1));
        let context = rounds.begin(Instant(0)).expect("one still waits");
        rounds.confirmed(context, 5);
        rounds.ask(asker(3), Question::Members);
        rounds.begin(Instant(1)).expect("another waits");
        rounds.forget(asker(3));
        rounds.start_over();
        assert_eq!(rounds.begin(Instant(2)), None);
        rounds.forget(asker(9));
        assert_eq!(rounds.ready(5).len(), 1, "2 is there");
    }

    #[test]
    fn an_answer_to_an_old_context_confirms_nothing() {
        let mut rounds = Rounds::new();
        rounds.read(ShardId(0), 1);
        let first = rounds.begin(Instant(0)).expect("somebody waits");
        rounds.read(ShardId(0), 2);
        assert_eq!(rounds.begin(Instant(1)), None, "one in flight");
        let again = rounds.begin(Instant(0) + RETRY).expect("the first is overdue");
        assert_ne!(first, again);
        rounds.confirmed(first, 5);
        assert!(rounds.ready(5).is_empty());
        rounds.confirmed(again, 6);
        assert!(rounds.ready(5).is_empty(), "index 6 is not applied");
        assert_eq!(rounds.ready(6).len(), 2);
    }
}
