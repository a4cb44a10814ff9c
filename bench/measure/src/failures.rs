//! Owns what went wrong: how often, by code and text.
//! Invariant: no request fails without being counted; texts that are kept are bounded.

use std::collections::BTreeMap;

/// In place of a code: the answer came, and is not right.
pub const WRONG: &str = "Wrong";
/// Different texts that are kept; more of them count under [`OTHER`].
const KINDS_MAX: usize = 64;
/// Letters of a text that are kept.
const TEXT_CHARS_MAX: usize = 200;
const OTHER: &str = "(other texts)";

/// Counted failures.
#[derive(Clone, Debug, Default)]
pub struct Failures {
    kinds: BTreeMap<(String, String), u64>,
}

impl Failures {
    /// Counts one: the name of its gRPC code, or [`WRONG`].
    pub fn add(&mut self, code: &str, text: &str) {
        self.add_many(code, text, 1);
    }

    /// Counts many of one kind.
    pub fn add_many(&mut self, code: &str, text: &str, count: u64) {
        let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
        let kind = (code.to_string(), text);
        let is_full = KINDS_MAX <= self.kinds.len() && !self.kinds.contains_key(&kind);
        let kind = if is_full { (kind.0, OTHER.to_string()) } else { kind };
        *self.kinds.entry(kind).or_default() += count;
    }

    /// Adds all of another count.
    pub fn merge(&mut self, other: &Failures) {
        for ((code, text), count) in &other.kinds {
            self.add_many(code, text, *count);
        }
    }

    /// All of them together.
    pub fn count(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// Code, text and count of each kind, by code and text.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.kinds.iter().map(|((code, text), count)| (code.as_str(), text.as_str(), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart_and_bounded() {
        let mut failures = Failures::default();
        failures.add("Unavailable", "gone");
        failures.add("Unavailable", "gone");
        failures.add("Internal", "gone");
        let kinds: Vec<_> = failures.kinds().collect();
        assert_eq!(kinds, [("Internal", "gone", 1), ("Unavailable", "gone", 2)]);
        for number in 0..1000 {
            failures.add("Wrong", &format!("answer {number}"));
        }
        assert_eq!(failures.count(), 1003);
        assert!(failures.kinds().count() <= KINDS_MAX + 3);
        let mut sum = Failures::default();
        sum.merge(&failures);
        sum.merge(&failures);
        assert_eq!(sum.count(), 2006);
    }
}
