//! Owns the pieces of a store that are on their way to one peer: their numbers, how many bytes may
//! be under way, and when they go again.
//! Never makes or sends one. Invariant: a piece is kept until the peer has it and all before it.

use std::collections::VecDeque;
use std::time::Duration;

use base::Instant;
use bytes::Bytes;

/// While so many bytes are on their way no further piece is made. With one more piece of values of
/// the usual size this is less than what streams to peers queue, so a piece is lost only with its
/// stream; a larger one may find the queue full, and goes again.
const WINDOW_BYTES: usize = 2 << 20;
/// Without a word of the peer for so long, all that is on its way goes again.
const PATIENCE_MIN: Duration = Duration::from_secs(1);
/// Each time in vain doubles that, up to this: a slow peer is not helped by more to read.
const PATIENCE_MAX: Duration = Duration::from_secs(8);

/// What one peer has not yet taken.
pub struct Pieces {
    waiting: VecDeque<(u32, Bytes)>,
    bytes: usize,
    made: u32,
    since: Instant,
    patience: Duration,
}

impl Pieces {
    /// None so far.
    pub fn new(now: Instant) -> Pieces {
        let (waiting, patience) = (VecDeque::new(), PATIENCE_MIN);
        Pieces { waiting, bytes: 0, made: 0, since: now, patience }
    }

    /// The next piece goes out; its number.
    pub fn add(&mut self, now: Instant, bytes: Bytes) -> u32 {
        let number = self.made;
        if self.waiting.is_empty() {
            self.since = now;
        }
        self.made += 1;
        self.bytes += bytes.len();
        self.waiting.push_back((number, bytes));
        number
    }

    /// The peer has this piece and all before it. False if that says nothing new.
    pub fn take(&mut self, now: Instant, number: u32) -> bool {
        let before = self.waiting.len();
        while let Some((_, bytes)) = self.waiting.pop_front_if(|(sent, _)| *sent <= number) {
            self.bytes -= bytes.len();
        }
        let news = self.waiting.len() < before;
        if news {
            self.since = now;
            self.patience = PATIENCE_MIN;
        }
        news
    }

    /// Whether another piece may be made.
    pub fn has_room(&self) -> bool {
        self.bytes < WINDOW_BYTES
    }

    /// Whether the peer has all that was made.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What goes again, in order: nothing while the peer may still answer.
    pub fn resend(&mut self, now: Instant) -> impl Iterator<Item = (u32, Bytes)> {
        let due = !self.waiting.is_empty() && self.patience <= now.since(self.since);
        if due {
            self.since = now;
            self.patience = (2 * self.patience).min(PATIENCE_MAX);
        }
        let again = if due { self.waiting.len() } else { 0 };
        self.waiting.iter().take(again).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds).as_nanos() as u64)
    }

    fn piece(bytes: usize) -> Bytes {
        Bytes::from(vec![7; bytes])
    }

    fn numbers(pieces: &mut Pieces, seconds: u64) -> Vec<u32> {
        pieces.resend(at(seconds)).map(|(number, _)| number).collect()
    }

    #[test]
    fn the_window_is_one_of_bytes_whatever_a_piece_weighs() {
        let mut pieces = Pieces::new(at(0));
        let mut added = 0;
        while pieces.has_room() {
            pieces.add(at(0), piece(256 << 10));
            added += 1;
        }
        assert_eq!(added, 8);
        assert!(pieces.take(at(0), 0));
        assert!(pieces.has_room());
        // A value of a request's size makes a piece that is a window by itself.
        pieces.add(at(0), piece(10 << 20));
        assert!(!pieces.has_room());
        assert!(pieces.take(at(0), 7));
        assert!(!pieces.has_room());
        assert!(pieces.take(at(0), 8));
        assert!(pieces.has_room() && pieces.is_empty());
    }

    #[test]
    fn what_the_peer_has_is_told_once() {
        let mut pieces = Pieces::new(at(0));
        assert_eq!((0..3).map(|_| pieces.add(at(0), piece(1))).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(pieces.take(at(0), 1));
        assert!(!pieces.take(at(0), 1));
        assert!(!pieces.take(at(0), 0));
        assert_eq!(numbers(&mut pieces, 1), [2]);
    }

    #[test]
    fn silence_sends_everything_again_but_ever_more_rarely() {
        let mut pieces = Pieces::new(at(0));
        assert_eq!(numbers(&mut pieces, 100), []);
        pieces.add(at(100), piece(1));
        pieces.add(at(100), piece(1));
        let sends: Vec<u64> =
            (100..140).filter(|second| !numbers(&mut pieces, *second).is_empty()).collect();
        assert_eq!(sends, [101, 103, 107, 115, 123, 131, 139]);
        assert!(pieces.take(at(140), 0));
        assert_eq!(numbers(&mut pieces, 140), []);
        assert_eq!(numbers(&mut pieces, 141), [1]);
    }

    #[test]
    fn a_piece_that_is_made_late_is_waited_for_from_then_on() {
        let mut pieces = Pieces::new(at(0));
        pieces.add(at(0), piece(1));
        assert!(pieces.take(at(0), 0));
        pieces.add(at(50), piece(1));
        assert_eq!(numbers(&mut pieces, 50), []);
    }
}
