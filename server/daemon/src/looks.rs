//! Owns the questions of one core for the figures of all: what has been answered so far, and what
//! to do once all have.
//! Never counts anything. Invariant: each question is finished once, with every core's figures.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::metrics::Figures;

/// What is done with the sum.
pub type Then = Box<dyn FnOnce(Figures)>;

/// Questions under way.
#[derive(Default)]
pub struct Looks {
    open: RefCell<BTreeMap<u64, Look>>,
    next: Cell<u64>,
}

struct Look {
    missing: usize,
    sum: Figures,
    then: Then,
}

impl Looks {
    /// Begins with our own figures; `others` more will come. `None` if none will: it is done.
    pub fn begin(&self, own: Figures, others: usize, then: Then) -> Option<u64> {
        if others == 0 {
            then(own);
            return None;
        }
        self.next.set(self.next.get() + 1);
        let look = Look { missing: others, sum: own, then };
        self.open.borrow_mut().insert(self.next.get(), look);
        Some(self.next.get())
    }

    /// Another core's figures.
    pub fn add(&self, look: u64, figures: Figures) {
        let mut open = self.open.borrow_mut();
        let found = open.get_mut(&look).expect("a look is open until all have answered");
        found.sum.add(figures);
        found.missing -= 1;
        if found.missing == 0 {
            let Look { sum, then, .. } = open.remove(&look).expect("found a moment ago");
            drop(open);
            then(sum);
        }
    }
}
