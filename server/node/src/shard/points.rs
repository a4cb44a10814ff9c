//! Owns the rounds of linearizable reads: what waits for a read point, and for which one.
//! Reads nothing itself. Invariant: a read joins only a round that began after it arrived, and
//! at most one round is asked for at a time, with one more gathering.

use base::Instant;
use wire::etcdserverpb as pb;

use super::hash::HashKind;
use crate::message::CallId;

/// What is done at the point.
#[derive(Debug)]
pub enum Point {
    /// A unary range.
    Range(pb::RangeRequest),
    /// A streamed range.
    Stream(pb::RangeRequest),
    /// A hash of the store.
    Hash(HashKind),
    /// The next watch of a stream begins.
    Watch,
}

/// Somebody who waits for a point.
#[derive(Debug)]
pub struct Joined {
    /// Whose.
    pub call: CallId,
    /// When it came.
    pub since: Instant,
    /// What for.
    pub point: Point,
}

/// The rounds of one shard.
pub struct Points {
    round: u64,
    in_flight: Vec<Joined>,
    gathering: Vec<Joined>,
    asked: bool,
}

impl Points {
    /// Nobody waits.
    pub fn new() -> Points {
        Points { round: 0, in_flight: Vec::new(), gathering: Vec::new(), asked: false }
    }

    /// Waits for the next round.
    pub fn join(&mut self, call: CallId, since: Instant, point: Point) {
        self.gathering.push(Joined { call, since, point });
    }

    /// Begins a round if somebody waits and none is in flight; returns its number.
    pub fn begin_round(&mut self) -> Option<u64> {
        if self.asked || self.gathering.is_empty() {
            return None;
        }
        self.asked = true;
        self.round += 1;
        std::mem::swap(&mut self.in_flight, &mut self.gathering);
        Some(self.round)
    }

    /// The round was answered: these go on, in the order in which they came.
    pub fn end_round(&mut self, round: u64) -> Vec<Joined> {
        assert_eq!(round, self.round, "rounds are answered once, in order");
        assert!(self.asked);
        self.asked = false;
        std::mem::take(&mut self.in_flight)
    }

    /// Forgets who need not wait any more.
    pub fn retain(&mut self, keep: impl Fn(&Joined) -> bool) {
        self.in_flight.retain(&keep);
        self.gathering.retain(&keep);
    }

    /// Streams whose watch has waited since before `deadline`.
    pub fn watches_older_than(&self, deadline: Instant) -> Vec<CallId> {
        let waiting = self.in_flight.iter().chain(&self.gathering);
        let old = waiting.filter(|joined| joined.since < deadline);
        let watches = old.filter(|joined| matches!(joined.point, Point::Watch));
        watches.map(|joined| joined.call).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(points: &mut Points, call: u64) {
        points.join(CallId(call), Instant(call), Point::Range(pb::RangeRequest::default()));
    }

    fn end(points: &mut Points, round: u64) -> Vec<u64> {
        points.end_round(round).iter().map(|joined| joined.call.0).collect()
    }

    #[test]
    fn a_read_never_joins_a_round_that_began_before_it() {
        let mut points = Points::new();
        read(&mut points, 1);
        assert_eq!(points.begin_round(), Some(1));
        read(&mut points, 2);
        assert_eq!(points.begin_round(), None, "one in flight, one gathering");
        assert_eq!(end(&mut points, 1), [1]);
        assert_eq!(points.begin_round(), Some(2));
        assert_eq!(end(&mut points, 2), [2]);
        assert_eq!(points.begin_round(), None);
    }

    #[test]
    fn who_left_takes_its_request_along() {
        let mut points = Points::new();
        read(&mut points, 1);
        points.begin_round();
        read(&mut points, 2);
        points.join(CallId(3), Instant(3), Point::Watch);
        points.retain(|joined| joined.call != CallId(1));
        assert_eq!(points.watches_older_than(Instant(3)), []);
        assert_eq!(points.watches_older_than(Instant(4)), [CallId(3)]);
        assert_eq!(end(&mut points, 1), []);
    }
}
