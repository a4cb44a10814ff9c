//! Owns the elections that need not wait for Raft's own timeout: the leader's process is known to
//! have ended, or an election was won by nobody.
//! Never makes a member stand that hears from a leader, and never says who wins: all it does is to
//! ask earlier, and whoever asks still needs a majority that has no leader either (pre-vote).
//! Invariant: members that follow one leader wait for different numbers of ticks after its end, so
//! that they do not take votes from each other.

use base::Prng;

use crate::effect::Role;

/// Ticks between the members that stand after the end of their leader; phases of their clocks
/// differ by up to one.
const RANK_TICKS: usize = 2;

/// When to stand.
#[derive(Debug)]
pub(crate) struct Haste {
    prng: Prng,
    election_ticks: usize,
    wait: Option<usize>,
    again: Again,
}

/// Whether an election that this member began is repeated early: once, and not again before there
/// was a leader. Where answers take longer than the pause, to ask again and again would throw
/// away the votes that are on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Not,
    Waits,
    Done,
}

impl Haste {
    /// Nothing is known of anybody.
    pub(crate) fn new(seed: u64, election_ticks: usize) -> Haste {
        let again = Again::Not;
        Haste { prng: Prng::from_seed(seed), election_ticks, wait: None, again }
    }

    /// The leader's process has ended. `rank` counts the other voters with smaller ids.
    pub(crate) fn leader_ended(&mut self, rank: usize) {
        self.wait = Some((rank + 1) * RANK_TICKS);
    }

    /// A tick has passed; whether to stand now.
    pub(crate) fn tick(&mut self, role: Role, leader: Option<u64>) -> bool {
        if leader.is_some() {
            (self.wait, self.again) = (None, Again::Not);
            return false;
        }
        match role {
            Role::PreCandidate | Role::Candidate if self.again == Again::Not => {
                self.again = Again::Waits;
                self.wait = Some(self.pause());
                return false;
            }
            Role::PreCandidate | Role::Candidate | Role::Follower | Role::Leader => {}
        }
        let Some(wait) = &mut self.wait else { return false };
        *wait -= 1;
        if 0 < *wait {
            return false;
        }
        self.wait = None;
        if self.again == Again::Waits {
            self.again = Again::Done;
        }
        true
    }

    /// From a fifth of the election timeout, which is two round trips, to three fifths: votes that
    /// were split by chance are asked for again while the first two timeouts are not over.
    fn pause(&mut self) -> usize {
        let least = self.election_ticks.div_ceil(5).max(2);
        least + self.prng.below((2 * self.election_ticks).div_ceil(5) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks_until(haste: &mut Haste, role: Role, leader: Option<u64>) -> Option<usize> {
        (1..=100).find(|_| haste.tick(role, leader))
    }

    #[test]
    fn after_the_end_of_a_leader_members_stand_one_after_the_other() {
        let waits: Vec<_> = (0..4)
            .map(|rank| {
                let mut haste = Haste::new(7, 10);
                haste.leader_ended(rank);
                ticks_until(&mut haste, Role::Follower, None)
            })
            .collect();
        assert_eq!(waits, [Some(2), Some(4), Some(6), Some(8)]);
    }

    #[test]
    fn whoever_hears_of_a_leader_does_not_stand() {
        let mut haste = Haste::new(7, 10);
        haste.leader_ended(0);
        assert!(!haste.tick(Role::Follower, Some(2)));
        assert_eq!(ticks_until(&mut haste, Role::Follower, None), None);
    }

    #[test]
    fn a_candidate_asks_again_once_before_a_timeout_is_over_and_after_different_times() {
        let mut seen = vec![];
        for seed in 0..50 {
            let mut haste = Haste::new(seed, 10);
            // One tick more, for the one at which it is first seen to stand.
            let waited = ticks_until(&mut haste, Role::PreCandidate, None).unwrap();
            assert!((3..8).contains(&waited), "{waited}");
            seen.push(waited);
            assert_eq!(ticks_until(&mut haste, Role::Candidate, None), None);
            assert!(!haste.tick(Role::Follower, Some(1)));
            assert!(ticks_until(&mut haste, Role::Candidate, None).is_some());
        }
        seen.sort_unstable();
        seen.dedup();
        assert!(3 < seen.len(), "{seen:?}");
    }
}
