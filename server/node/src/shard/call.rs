//! Owns the calls of a shard: what each one waits for, and the rounds of linearizable reads.
//! Answers nothing itself. Invariant: a read joins only a round that began after it arrived, and
//! at most one round is asked for at a time, with one more gathering.

use std::collections::BTreeMap;

use base::Instant;
use wire::etcdserverpb as pb;

use super::hash::HashKind;
use crate::message::CallId;

/// What came with a call besides its message.
#[derive(Clone, Debug)]
pub struct CallMeta {
    /// Whether the caller wants to be refused while there is no leader.
    pub leader: LeaderNeed,
}

/// `hasleader` of the call's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderNeed {
    /// It was `true`.
    Required,
    /// Absent, or anything else.
    Any,
}

/// What a call waits for.
#[derive(Debug)]
pub enum Waits {
    /// Its command in the log.
    Outcome,
    /// A read point, for this range.
    RangePoint(pb::RangeRequest),
    /// A read point, for this streamed range.
    StreamPoint(pb::RangeRequest),
    /// A read point, to hash the store there.
    HashPoint(HashKind),
    /// An answer of the leader.
    Answer,
    /// Rows; the reply is made when they are there.
    Rows,
}

/// One unary call.
#[derive(Debug)]
pub struct Call {
    /// What it waits for.
    pub waits: Waits,
    /// When it came.
    pub since: Instant,
}

/// All unary calls of the shard.
pub struct Calls {
    by_id: BTreeMap<CallId, Call>,
    round: u64,
    in_flight: Vec<CallId>,
    gathering: Vec<CallId>,
    asked: bool,
}

impl Calls {
    /// None yet.
    pub fn new() -> Calls {
        Calls {
            by_id: BTreeMap::new(),
            round: 0,
            in_flight: Vec::new(),
            gathering: Vec::new(),
            asked: false,
        }
    }

    /// Notes a call.
    pub fn insert(&mut self, id: CallId, call: Call) {
        let joins = matches!(
            call.waits,
            Waits::RangePoint(_) | Waits::StreamPoint(_) | Waits::HashPoint(_)
        );
        if joins {
            self.gathering.push(id);
        }
        let before = self.by_id.insert(id, call);
        assert!(before.is_none(), "a call's id is used once");
    }

    /// The call waits for something else now.
    pub fn now_waits(&mut self, id: CallId, waits: Waits) {
        if let Some(call) = self.by_id.get_mut(&id) {
            call.waits = waits;
        }
    }

    /// Forgets a call; `None` if it was answered, or its client left.
    pub fn remove(&mut self, id: CallId) -> Option<Call> {
        self.by_id.remove(&id)
    }

    /// What the call waits for, if it still does.
    pub fn get(&self, id: CallId) -> Option<&Call> {
        self.by_id.get(&id)
    }

    /// Begins a round if reads wait and none is in flight; returns its number.
    pub fn begin_round(&mut self) -> Option<u64> {
        if self.asked || self.gathering.is_empty() {
            return None;
        }
        self.asked = true;
        self.round += 1;
        self.in_flight = std::mem::take(&mut self.gathering);
        Some(self.round)
    }

    /// The round was answered: these reads may go on.
    pub fn end_round(&mut self, round: u64) -> Vec<CallId> {
        assert_eq!(round, self.round, "rounds are answered once, in order");
        assert!(self.asked);
        self.asked = false;
        std::mem::take(&mut self.in_flight)
    }

    /// Calls that came before `deadline` and still wait.
    pub fn older_than(&self, deadline: Instant) -> Vec<CallId> {
        let old = self.by_id.iter().filter(|(_, call)| call.since < deadline);
        old.map(|(id, _)| *id).collect()
    }

    /// Every call, when the member stops.
    pub fn drain(&mut self) -> Vec<CallId> {
        std::mem::take(&mut self.by_id).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(calls: &mut Calls, id: u64) {
        let waits = Waits::RangePoint(pb::RangeRequest::default());
        calls.insert(CallId(id), Call { waits, since: Instant(0) });
    }

    #[test]
    fn a_read_never_joins_a_round_that_began_before_it() {
        let mut calls = Calls::new();
        read(&mut calls, 1);
        assert_eq!(calls.begin_round(), Some(1));
        read(&mut calls, 2);
        assert_eq!(calls.begin_round(), None, "one in flight, one gathering");
        assert_eq!(calls.end_round(1), vec![CallId(1)]);
        assert_eq!(calls.begin_round(), Some(2));
        assert_eq!(calls.end_round(2), vec![CallId(2)]);
        assert_eq!(calls.begin_round(), None);
    }
}
