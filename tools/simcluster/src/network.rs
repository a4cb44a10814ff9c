//! Owns the network between members: how long notes are on their way, which are lost, who cannot
//! reach whom.
//! Never looks into a note, and doubles none. Invariant: notes of one lane from one member to
//! another arrive in the order in which they were sent, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{Instant, Prng};
use bytes::Bytes;
use node::Lane;

/// A note on its way, as bytes.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Who sent it.
    pub from: u64,
    /// Whom it is for.
    pub to: u64,
    /// The note.
    pub bytes: Bytes,
    lane: Lane,
    connection: u64,
}

/// The network.
pub struct Network {
    latency: Duration,
    lossy_per_mille: u64,
    cuts: BTreeSet<(u64, u64)>,
    // When the last note of a lane arrives, and which connection carries it.
    lanes: BTreeMap<(u64, u64, Lane), (Instant, u64)>,
}

impl Network {
    /// One in which nothing is wrong.
    pub fn new(latency: Duration) -> Network {
        Network { latency, lossy_per_mille: 0, cuts: BTreeSet::new(), lanes: BTreeMap::new() }
    }

    /// So many of a thousand notes get lost from now on.
    pub fn lose(&mut self, per_mille: u64) {
        self.lossy_per_mille = per_mille;
    }

    /// Takes a note; says when it arrives, or nothing if it is lost here and now.
    pub fn send(
        &mut self,
        now: Instant,
        way: (u64, u64),
        note: &node::PeerNote,
        dice: &mut Prng,
    ) -> Option<(Instant, Letter)> {
        let (from, to) = way;
        if self.cuts.contains(&way) || dice.chance(self.lossy_per_mille) {
            return None;
        }
        let lane = note.lane();
        let slow = if dice.chance(5) { 20 } else { 1 };
        let most = self.latency.as_nanos() as u64 * slow;
        let drawn = now + Duration::from_nanos(most / 4 + dice.below(most));
        let (last, connection) = self.lanes.entry((from, to, lane)).or_insert((Instant(0), 0));
        *last = drawn.max(*last);
        Some((*last, Letter { from, to, bytes: note.encode(), lane, connection: *connection }))
    }

    /// Whether a note that is due arrives: its connection stands, and nobody has cut the way.
    pub fn arrives(&self, letter: &Letter) -> bool {
        let lane = &self.lanes[&(letter.from, letter.to, letter.lane)];
        lane.1 == letter.connection && !self.cuts.contains(&(letter.from, letter.to))
    }

    /// The connections on this way break: what is on it is lost.
    pub fn reset(&mut self, from: u64, to: u64) {
        for lane in [Lane::Prompt, Lane::Bulk] {
            if let Some((last, connection)) = self.lanes.get_mut(&(from, to, lane)) {
                *last = Instant(0);
                *connection += 1;
            }
        }
    }

    /// Whether nobody has cut this way.
    pub fn is_open(&self, from: u64, to: u64) -> bool {
        !self.cuts.contains(&(from, to))
    }

    /// Nothing goes this way any more.
    pub fn cut(&mut self, from: u64, to: u64) {
        self.cuts.insert((from, to));
    }

    /// Every way is open between these members; ways to and from others stay as they are.
    pub fn heal_among(&mut self, members: &[u64]) {
        self.cuts.retain(|(from, to)| !(members.contains(from) && members.contains(to)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::PeerNote;

    fn note(number: u64) -> PeerNote {
        PeerNote::Refused { transfer: number }
    }

    #[test]
    fn notes_of_a_lane_keep_their_order_and_a_reset_loses_the_tail() {
        let mut dice = Prng::from_seed(8);
        let mut network = Network::new(Duration::from_millis(3));
        let mut last = Instant(0);
        let mut letters = Vec::new();
        for number in 0..100 {
            let now = Instant(number * 1000);
            let (at, letter) = network.send(now, (1, 2), &note(number), &mut dice).unwrap();
            assert!(last <= at);
            last = at;
            letters.push(letter);
        }
        assert!(letters.iter().all(|letter| network.arrives(letter)));
        network.reset(1, 2);
        assert!(!letters.iter().any(|letter| network.arrives(letter)));
        let (_, letter) = network.send(last, (1, 2), &note(0), &mut dice).unwrap();
        assert!(network.arrives(&letter));
        network.cut(1, 2);
        assert!(!network.arrives(&letter));
        network.heal_among(&[1, 2]);
        assert!(network.arrives(&letter));
    }
}
