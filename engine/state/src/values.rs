//! Owns the questions that only slices can answer, and the answers. Never fetches anything.
//! Invariant: a question names its point, so its answer does not depend on when it is asked.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use base::Rev;
use bytes::Bytes;

use crate::span::Span;

/// One question about values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueNeed {
    /// Which keys. At least one of them lives at that point.
    pub span: Span,
    /// Inclusive.
    pub at: Rev,
    /// What to find out.
    pub ask: ValueAsk,
}

/// What is asked of the values of a span.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueAsk {
    /// The value of the only key: [`ValueAnswer::Value`].
    Value,
    /// Whether the test holds for every value: [`ValueAnswer::Holds`]. Walk the span in pages
    /// and stop at the first value that fails, so that no span needs to be in memory at once.
    Every {
        /// The test.
        test: ValueTest,
        /// What to compare with.
        than: Bytes,
    },
}

/// How a value compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueTest {
    /// The same bytes.
    Equal,
    /// Other bytes.
    NotEqual,
    /// Above, byte by byte.
    Greater,
    /// Below, byte by byte.
    Less,
}

/// What a slice found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueAnswer {
    /// The value of the key.
    Value(Bytes),
    /// Whether every value passed.
    Holds(bool),
}

/// The answers for one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    known: BTreeMap<ValueNeed, ValueAnswer>,
}

impl Values {
    /// No answers yet.
    pub fn none() -> Values {
        Values::default()
    }

    /// Adds an answer, which must be of the kind that was asked for.
    pub fn answer(&mut self, need: ValueNeed, answer: ValueAnswer) {
        match (&need.ask, &answer) {
            (ValueAsk::Value, ValueAnswer::Value(_))
            | (ValueAsk::Every { .. }, ValueAnswer::Holds(_)) => {}
            (ValueAsk::Value, ValueAnswer::Holds(_))
            | (ValueAsk::Every { .. }, ValueAnswer::Value(_)) => {
                panic!("{need:?} was answered with {answer:?}")
            }
        }
        self.known.insert(need, answer);
    }

    pub(crate) fn value(&self, need: &ValueNeed) -> Option<&Bytes> {
        match self.known.get(need)? {
            ValueAnswer::Value(value) => Some(value),
            ValueAnswer::Holds(_) => unreachable!("checked when it was added"),
        }
    }

    pub(crate) fn holds(&self, need: &ValueNeed) -> Option<bool> {
        match self.known.get(need)? {
            ValueAnswer::Holds(holds) => Some(*holds),
            ValueAnswer::Value(_) => unreachable!("checked when it was added"),
        }
    }
}

impl ValueTest {
    /// Whether `value` passes against `than`.
    pub fn holds(self, value: &[u8], than: &[u8]) -> bool {
        let order = value.cmp(than);
        match self {
            ValueTest::Equal => order == Ordering::Equal,
            ValueTest::NotEqual => order != Ordering::Equal,
            ValueTest::Greater => order == Ordering::Greater,
            ValueTest::Less => order == Ordering::Less,
        }
    }
}
