//! Owns the list of one core's connections, for those who must visit all of them: the ticker and
//! the orderly stop. Invariant: a seat is taken from accept to the end of the connection's task.

use std::rc::Rc;

use crate::line::Line;

/// Seats of connections.
#[derive(Default)]
pub(crate) struct Roster {
    seats: Vec<Option<Rc<Line>>>,
    free: Vec<usize>,
}

impl Roster {
    pub(crate) fn seat(&mut self, line: Rc<Line>) -> usize {
        match self.free.pop() {
            Some(seat) => {
                assert!(self.seats[seat].is_none());
                self.seats[seat] = Some(line);
                seat
            }
            None => {
                self.seats.push(Some(line));
                self.seats.len() - 1
            }
        }
    }

    pub(crate) fn leave(&mut self, seat: usize) {
        assert!(self.seats[seat].is_some());
        self.seats[seat] = None;
        self.free.push(seat);
    }

    pub(crate) fn count(&self) -> usize {
        self.seats.len() - self.free.len()
    }

    /// Rings every connection whose time has come.
    pub(crate) fn ring_due(&self, now_ms: u64) {
        for line in self.seats.iter().flatten() {
            if line.due_ms.get() <= now_ms {
                line.bell.ring();
            }
        }
    }

    pub(crate) fn ring_all(&self) {
        for line in self.seats.iter().flatten() {
            line.bell.ring();
        }
    }
}
