//! Owns the terms of a stretch of the log, as runs: which entry has which term, without the
//! entries. Never holds data. Invariant: indexes are consecutive and terms never fall; the entry
//! before the first is known by term and index.
//!
//! Two logs that have an entry of the same index and term are the same up to there (Raft's log
//! matching), so an index and its term here tell an entry that counts from one that was replaced.

use std::collections::VecDeque;

use crate::record::Mark;

/// Most runs: a term is a run, so this is elections. Beyond, the oldest run is forgotten.
pub(crate) const RUNS_MAX: usize = 256;

/// Terms of entries `base().index ..= last().index`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The entry before the first.
    base: Mark,
    /// The first entry of each run.
    runs: VecDeque<Mark>,
    last: u64,
}

impl Terms {
    /// Nothing after `base`.
    pub fn new(base: Mark) -> Terms {
        Terms { base, runs: VecDeque::new(), last: base.index }
    }

    /// The entry before the first.
    pub fn base(&self) -> Mark {
        self.base
    }

    /// The last entry; the base if there is none.
    pub fn last(&self) -> Mark {
        Mark { term: self.runs.back().map_or(self.base.term, |run| run.term), index: self.last }
    }

    /// The term of entry `index`, if it is in the stretch or is its base.
    pub fn term(&self, index: u64) -> Option<u64> {
        if index < self.base.index || self.last < index {
            return None;
        }
        let run = self.runs.iter().rev().find(|run| run.index <= index);
        Some(run.map_or(self.base.term, |run| run.term))
    }

    /// Adds an entry; what stands at its index and after is replaced. An entry that does not
    /// continue the stretch begins another.
    pub fn push(&mut self, entry: Mark) {
        let continues = self.base.index < entry.index && entry.index <= self.last + 1;
        if !continues {
            return self.reset(entry);
        }
        while self.runs.pop_back_if(|run| entry.index <= run.index).is_some() {}
        self.last = entry.index - 1;
        let before = self.last().term;
        if entry.term < before {
            return self.reset(entry);
        }
        if before < entry.term || self.runs.is_empty() {
            self.runs.push_back(entry);
        }
        self.last = entry.index;
        if RUNS_MAX < self.runs.len() {
            self.drop_to(self.runs[1].index - 1);
        }
    }

    /// Forgets entries up to `index`, which becomes the base. Lower ones are forgotten already.
    pub fn drop_to(&mut self, index: u64) {
        let index = index.min(self.last);
        let Some(term) = self.term(index) else { return };
        self.base = Mark { term, index };
        let mut dropped = None;
        while let Some(run) = self.runs.pop_front_if(|run| run.index <= index) {
            dropped = Some(run);
        }
        let goes_on = self.runs.front().is_none_or(|run| run.index != index + 1);
        if let (Some(run), true) = (dropped, goes_on && index < self.last) {
            self.runs.push_front(Mark { term: run.term, index: index + 1 });
        }
    }

    /// Forgets entries after `index`.
    pub fn cut_after(&mut self, index: u64) {
        assert!(self.base.index <= index);
        while self.runs.pop_back_if(|run| index < run.index).is_some() {}
        self.last = self.last.min(index);
    }

    /// Forgets everything; the stretch goes on after `base`.
    pub fn reset(&mut self, base: Mark) {
        *self = Terms::new(base);
    }

    /// The first entry of each run.
    pub(crate) fn runs(&self) -> impl ExactSizeIterator<Item = Mark> + '_ {
        self.runs.iter().copied()
    }

    /// What [`Terms::runs`] told, if it can be: runs rise in index and term behind the base and do
    /// not pass the last entry.
    pub(crate) fn of_runs(base: Mark, runs: VecDeque<Mark>, last: u64) -> Option<Terms> {
        let mut before = base;
        for run in &runs {
            let rises = before.index < run.index && before.term <= run.term;
            if !rises || last < run.index {
                return None;
            }
            before = *run;
        }
        let begins = runs.front().map_or(last == base.index, |run| run.index == base.index + 1);
        (begins && runs.len() <= RUNS_MAX).then_some(Terms { base, runs, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Prng;

    /// The term of every entry, by index; those up to the base have none.
    struct Twin {
        base: u64,
        terms: Vec<u64>,
    }

    fn same(terms: &Terms, twin: &Twin) {
        let last = twin.terms.len() as u64 - 1;
        assert_eq!((terms.base().index, terms.last().index), (twin.base, last));
        for index in 0..last + 3 {
            let known = (twin.base..=last).contains(&index);
            let expected = known.then(|| twin.terms[index as usize]);
            assert_eq!(terms.term(index), expected, "entry {index}");
        }
        let runs: VecDeque<Mark> = terms.runs().collect();
        assert_eq!(Terms::of_runs(terms.base(), runs, last).as_ref(), Some(terms));
    }

    #[test]
    fn runs_say_what_a_list_of_terms_says() {
        for seed in 0..20 {
            println!("seed {seed}");
            let mut prng = Prng::from_seed(seed);
            let mut terms = Terms::new(Mark { term: 0, index: 0 });
            let mut twin = Twin { base: 0, terms: vec![0] };
            for _ in 0..300 {
                let last = twin.terms.len() as u64 - 1;
                match prng.below(8) {
                    0 => {
                        let to = prng.below(last + 2);
                        terms.drop_to(to);
                        twin.base = twin.base.max(to.min(last));
                    }
                    1 => {
                        let to = twin.base + prng.below(last + 1 - twin.base);
                        terms.cut_after(to);
                        twin.terms.truncate(to as usize + 1);
                    }
                    _ => {
                        let index = twin.base + 1 + prng.below(last + 1 - twin.base);
                        let before = twin.terms[index as usize - 1];
                        let term = before + prng.below(3) / 2;
                        terms.push(Mark { term, index });
                        twin.terms.truncate(index as usize);
                        twin.terms.push(term);
                    }
                }
                same(&terms, &twin);
            }
        }
    }

    #[test]
    fn what_does_not_continue_begins_anew() {
        let mut terms = Terms::new(Mark { term: 1, index: 1 });
        terms.push(Mark { term: 1, index: 2 });
        terms.push(Mark { term: 3, index: 9 });
        assert_eq!((terms.base(), terms.last().index), (Mark { term: 3, index: 9 }, 9));
        terms.push(Mark { term: 2, index: 10 });
        assert_eq!(terms.base(), Mark { term: 2, index: 10 }, "terms never fall");
    }

    #[test]
    fn elections_without_end_take_bounded_room() {
        let mut terms = Terms::new(Mark { term: 0, index: 0 });
        for index in 1..1000 {
            terms.push(Mark { term: index, index });
        }
        assert_eq!(terms.runs().len(), RUNS_MAX);
        assert_eq!(
            terms.base(),
            Mark { term: 999 - RUNS_MAX as u64, index: 999 - RUNS_MAX as u64 }
        );
        assert_eq!(terms.term(999), Some(999));
    }
}
