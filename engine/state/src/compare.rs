//! Owns the compares of a transaction: what each says of the state before it, or which value it
//! needs to know to say it. Changes nothing.
//! Invariant: a compare is answered from the head index alone unless its target is the value and
//! a key of its span lives.

use std::cmp::Ordering;

use base::Version;
use bytes::Bytes;
use wire::etcdserverpb::Compare;
use wire::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};

use crate::span::Span;
use crate::store::Store;
use crate::values::{ValueAsk, ValueNeed, ValueTest, Values};

/// What is known of a compare, or of several together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Holds,
    Fails,
    /// Depends on these.
    Needs(Vec<ValueNeed>),
}

/// All compares together, each against the same state.
pub(crate) fn all(store: &Store, compares: &[Compare], values: &Values) -> Verdict {
    let mut needs = Vec::new();
    for compare in compares {
        match one(store, compare, values) {
            Verdict::Holds => {}
            Verdict::Fails => return Verdict::Fails,
            Verdict::Needs(more) => needs.extend(more),
        }
    }
    if needs.is_empty() { Verdict::Holds } else { Verdict::Needs(needs) }
}

fn one(store: &Store, compare: &Compare, values: &Values) -> Verdict {
    let span = Span::of(&compare.key, &compare.range_end);
    let target = CompareTarget::try_from(compare.target).ok();
    let holds = match target {
        Some(CompareTarget::Value) => return of_value(store, compare, span, values),
        Some(
            CompareTarget::Version
            | CompareTarget::Create
            | CompareTarget::Mod
            | CompareTarget::Lease,
        )
        | None => every(store, &span, |found| holds(compare.result, order(target, compare, found))),
    };
    if holds { Verdict::Holds } else { Verdict::Fails }
}

/// Whether the test holds for every live key of the span; an empty span is one missing key.
fn every(store: &Store, span: &Span, test: impl Fn(&Version) -> bool) -> bool {
    const MISSING: Version = Version { create: 0, modified: base::Rev::ZERO, version: 0, lease: 0 };
    if let Span::Key(key) = span {
        return test(&store.head.get(key).unwrap_or(MISSING));
    }
    let mut found = store.head.range(span).map(|slot| store.head.version(slot)).peekable();
    match found.peek() {
        Some(_) => found.all(|version| test(&version)),
        None => test(&MISSING),
    }
}

fn of_value(store: &Store, compare: &Compare, span: Span, values: &Values) -> Verdict {
    let some_live = match &span {
        Span::Key(key) => store.head.find(key).is_some(),
        Span::Between { .. } | Span::From(_) => store.head.range(&span).next().is_some(),
    };
    if !some_live {
        return Verdict::Fails; // Also for NOT_EQUAL: etcd's rule.
    }
    let Some(test) = value_test(compare.result) else { return Verdict::Holds };
    let than = match &compare.target_union {
        Some(TargetUnion::Value(value)) => value.clone(),
        Some(
            TargetUnion::Version(_)
            | TargetUnion::CreateRevision(_)
            | TargetUnion::ModRevision(_)
            | TargetUnion::Lease(_),
        )
        | None => Bytes::new(),
    };
    let need = ValueNeed { span, at: store.now(), ask: ValueAsk::Every { test, than } };
    match values.holds(&need) {
        Some(true) => Verdict::Holds,
        Some(false) => Verdict::Fails,
        None => Verdict::Needs(vec![need]),
    }
}

/// How the key's number stands to the given one. A number for another target counts as 0, and an
/// unknown target compares equal.
fn order(target: Option<CompareTarget>, compare: &Compare, found: &Version) -> Ordering {
    let given = &compare.target_union;
    match (target, given) {
        (Some(CompareTarget::Version), Some(TargetUnion::Version(given))) => {
            found.version.cmp(given)
        }
        (Some(CompareTarget::Create), Some(TargetUnion::CreateRevision(given))) => {
            found.create.cmp(given)
        }
        (Some(CompareTarget::Mod), Some(TargetUnion::ModRevision(given))) => {
            found.modified.main.cmp(given)
        }
        (Some(CompareTarget::Lease), Some(TargetUnion::Lease(given))) => found.lease.cmp(given),
        (Some(CompareTarget::Version), _) => found.version.cmp(&0),
        (Some(CompareTarget::Create), _) => found.create.cmp(&0),
        (Some(CompareTarget::Mod), _) => found.modified.main.cmp(&0),
        (Some(CompareTarget::Lease), _) => found.lease.cmp(&0),
        (Some(CompareTarget::Value), _) => unreachable!("values are compared by slices"),
        (None, _) => Ordering::Equal,
    }
}

/// An unknown result holds always.
fn holds(result: i32, order: Ordering) -> bool {
    match CompareResult::try_from(result) {
        Ok(CompareResult::Equal) => order == Ordering::Equal,
        Ok(CompareResult::NotEqual) => order != Ordering::Equal,
        Ok(CompareResult::Greater) => order == Ordering::Greater,
        Ok(CompareResult::Less) => order == Ordering::Less,
        Err(_) => true,
    }
}

fn value_test(result: i32) -> Option<ValueTest> {
    match CompareResult::try_from(result) {
        Ok(CompareResult::Equal) => Some(ValueTest::Equal),
        Ok(CompareResult::NotEqual) => Some(ValueTest::NotEqual),
        Ok(CompareResult::Greater) => Some(ValueTest::Greater),
        Ok(CompareResult::Less) => Some(ValueTest::Less),
        Err(_) => None,
    }
}
