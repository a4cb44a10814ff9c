//! Owns one stream's bookkeeping: its watches by id, and whether it takes more bytes.
//! Invariant: `away` holds exactly the watches of the stream that read history.

use std::collections::{BTreeMap, BTreeSet};

use base::Instant;

/// Names a watch stream of this shard. The owner of the connections hands it out and never uses
/// one again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub name: StreamId,
    /// Slots of its watches, by their id.
    pub watchers: BTreeMap<i64, u32>,
    /// Where the search for an unused id begins.
    next_id: i64,
    /// Slots of its watches that read history.
    pub away: BTreeSet<u32>,
    pub flow: Flow,
    /// Bytes sent within one turn of the hub, and which turn that was.
    burst_bytes: usize,
    burst_turn: u64,
    /// When its watches hear of progress next, if any wants to.
    pub progress_due: Option<Instant>,
    /// The revision that a progress request waits for.
    pub asked: Option<i64>,
    /// The newest revision of an event that was sent; no notice of progress may go back behind it.
    told: i64,
}

/// Whether the socket takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Open,
    Blocked,
}

impl Stream {
    pub fn new(name: StreamId) -> Stream {
        Stream {
            name,
            watchers: BTreeMap::new(),
            next_id: 0,
            away: BTreeSet::new(),
            flow: Flow::Open,
            burst_bytes: 0,
            burst_turn: 0,
            progress_due: None,
            asked: None,
            told: 0,
        }
    }

    /// The id of a new watch: the one asked for, or the next unused one if 0 is. `None` if it is
    /// in use.
    pub fn claim_id(&mut self, asked: i64) -> Option<i64> {
        if asked != 0 {
            return (!self.watchers.contains_key(&asked)).then_some(asked);
        }
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Some(self.next_id - 1)
    }

    /// Whether it takes another message in this turn. The first one always fits, so that each turn
    /// gets somewhere.
    pub fn has_room(&self, turn: u64, bytes_max: usize) -> bool {
        match self.flow {
            Flow::Blocked => false,
            Flow::Open => self.burst_turn != turn || self.burst_bytes < bytes_max,
        }
    }

    /// Notes that an event of revision `main` is sent.
    pub fn tell_up_to(&mut self, main: i64) {
        self.told = self.told.max(main);
    }

    /// The lowest revision that a notice of progress may name.
    pub fn notice_min(&self, asked: i64) -> i64 {
        self.told.max(asked)
    }

    /// Counts what was sent in this turn.
    pub fn spend(&mut self, turn: u64, bytes: usize) {
        if self.burst_turn != turn {
            (self.burst_turn, self.burst_bytes) = (turn, 0);
        }
        self.burst_bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_counted_from_zero_around_those_taken_by_name() {
        let mut stream = Stream::new(StreamId(1));
        let mut claim = |asked| {
            let id = stream.claim_id(asked);
            if let Some(id) = id {
                stream.watchers.insert(id, 0);
            }
            id
        };
        assert_eq!(claim(1), Some(1));
        assert_eq!(claim(-7), Some(-7));
        assert_eq!(claim(0), Some(0));
        assert_eq!(claim(0), Some(2));
        assert_eq!(claim(2), None);
        assert_eq!(claim(3), Some(3));
        assert_eq!(claim(0), Some(4));
        stream.watchers.remove(&0);
        assert_eq!(stream.claim_id(0), Some(5));
    }
}
