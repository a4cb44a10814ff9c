//! Owns who knew of which revision, and when: the floor under what may still be answered, and the
//! latest moment at which a revision was decided.
//! Invariant: whoever was told of a revision knows that all before it were decided.

use ringleader_simcluster::history::Stamp;

/// What was told, in order of time.
#[derive(Debug, Default)]
pub struct Knowledge {
    /// When, and the highest revision told up to then. Both rise.
    steps: Vec<(Stamp, i64)>,
}

impl Knowledge {
    /// Everything that was told, in any order.
    pub fn new(mut told: Vec<(Stamp, i64)>) -> Knowledge {
        told.sort_by_key(|(at, _)| at.order);
        let mut knowledge = Knowledge::default();
        for (at, revision) in told {
            if knowledge.steps.last().is_none_or(|(_, highest)| *highest < revision) {
                knowledge.steps.push((at, revision));
            }
        }
        knowledge
    }

    /// The highest revision that anybody had been told before this moment.
    pub fn floor(&self, before: Stamp) -> i64 {
        let steps = self.steps.partition_point(|(at, _)| at.order < before.order);
        steps.checked_sub(1).map_or(1, |last| self.steps[last].1)
    }

    /// When anybody was first told of this revision or of a later one.
    pub fn known(&self, revision: i64) -> Option<Stamp> {
        let step = self.steps.partition_point(|(_, told)| *told < revision);
        self.steps.get(step).map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_a_floor_from_then_on_and_proof_of_what_was_before() {
        let at = |order| Stamp { order, at: base::Instant(order) };
        let told = vec![(at(7), 4), (at(3), 2), (at(5), 9), (at(9), 9)];
        let knowledge = Knowledge::new(told);
        let floors: Vec<i64> = [3, 4, 5, 6, 100].map(|t| knowledge.floor(at(t))).to_vec();
        assert_eq!(floors, [1, 2, 2, 9, 9]);
        assert_eq!(knowledge.known(2), Some(at(3)));
        assert_eq!(knowledge.known(3), Some(at(5)));
        assert_eq!(knowledge.known(9), Some(at(5)));
        assert_eq!(knowledge.known(10), None);
    }
}
