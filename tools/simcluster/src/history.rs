//! Owns what clients asked and what came of it, in order.
//! Never judges. Invariant: an operation ends once, and one whose fate its client does not know is
//! never said to have failed.

use base::Instant;
use ringleader_model::{Request, Response};
use wire::Status;

/// A moment: when, and in which order beside all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The world's time.
    pub at: Instant,
    /// Rises with every moment.
    pub order: u64,
}

/// What came of an operation.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Its client waits.
    Open,
    /// It was answered, at this revision.
    Told {
        /// When.
        at: Stamp,
        /// By the reply's header.
        revision: i64,
        /// With what.
        response: Response,
    },
    /// It was refused, and did nothing.
    Refused {
        /// When.
        at: Stamp,
        /// Why.
        status: Status,
    },
    /// Nobody knows.
    Unknown,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Op {
    /// At which member.
    pub member: u64,
    /// What was asked.
    pub request: Request,
    /// When.
    pub called: Stamp,
    /// The highest revision that anybody had been told by then.
    pub floor: i64,
    /// What came of it.
    pub outcome: Outcome,
}

/// All operations.
#[derive(Default)]
pub struct History {
    /// In the order in which they were asked.
    pub ops: Vec<Op>,
}

impl History {
    /// Notes a call; its number is for [`History::end`].
    pub fn begin(&mut self, member: u64, request: Request, called: Stamp, floor: i64) -> usize {
        self.ops.push(Op { member, request, called, floor, outcome: Outcome::Open });
        self.ops.len() - 1
    }

    /// Notes what came of it.
    pub fn end(&mut self, number: usize, outcome: Outcome) {
        let op = &mut self.ops[number];
        assert!(matches!(op.outcome, Outcome::Open), "{op:?} ends twice");
        op.outcome = outcome;
    }

    /// The highest compaction that was asked for before this moment.
    pub fn compaction_asked(&self, before: Stamp) -> i64 {
        let asked = self.ops.iter().filter(|op| op.called.order < before.order);
        let revisions = asked.filter_map(|op| {
            if let Request::Compact(compact) = &op.request { Some(compact.revision) } else { None }
        });
        revisions.max().unwrap_or(-1)
    }
}
