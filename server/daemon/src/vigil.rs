//! Owns whether a core waits awake for mail of another core, instead of going to sleep.
//! Never looks for anything itself. Invariant: a core that mostly waited awake in vain does so on
//! one occasion in [`PAUSE`] only, until it pays again.
//!
//! A message to a core that sleeps and back takes 72 us, and 11 us if both cores look for it. But a
//! core that looks takes its processor from whoever else could use it: other members on the same
//! machine, clients, the kernel's own writers. So a core looks only when another one owes it an
//! answer that is computed, not waited for, or when it has just given such an answer; only if
//! that paid lately; and never if it would be the only one.

use std::cell::Cell;
use std::time::Duration;

/// How long a core looks before it sleeps.
pub const LOOK: Duration = Duration::from_micros(50);
/// Looks in vain that are forgiven; one that paid is worth another of them.
const CREDIT_MAX: u32 = 8;
/// Occasions from one look to the next when no credit is left.
const PAUSE: u32 = 64;

/// One core's experience.
pub struct Vigil {
    credit: Cell<u32>,
    paused: Cell<u32>,
}

impl Vigil {
    /// None yet, for one of so many cores on so many processors.
    pub fn new(cores: usize, processors: usize) -> Option<Vigil> {
        let vigil = Vigil { credit: Cell::new(CREDIT_MAX), paused: Cell::new(0) };
        (1 < cores && cores <= processors).then_some(vigil)
    }

    /// An occasion: is it worth a look?
    pub fn is_worth(&self) -> bool {
        if self.credit.get() > 0 {
            return true;
        }
        self.paused.set((self.paused.get() + 1) % PAUSE);
        self.paused.get() == 0
    }

    /// The look found mail.
    pub fn paid(&self) {
        self.credit.set((self.credit.get() + 1).min(CREDIT_MAX));
    }

    /// It did not.
    pub fn was_in_vain(&self) {
        self.credit.set(self.credit.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_several_cores_with_a_processor_each_wait_awake() {
        assert!(Vigil::new(1, 8).is_none());
        assert!(Vigil::new(2, 1).is_none());
        assert!(Vigil::new(2, 2).is_some());
        assert!(Vigil::new(3, 2).is_none());
    }

    #[test]
    fn looks_in_vain_become_rare_and_one_that_pays_brings_them_back() {
        let vigil = Vigil::new(2, 2).expect("two cores");
        for _ in 0..CREDIT_MAX {
            assert!(vigil.is_worth());
            vigil.was_in_vain();
        }
        let looks = (0..10 * PAUSE).filter(|_| vigil.is_worth()).count();
        assert_eq!(looks, 10);
        vigil.paid();
        assert!(vigil.is_worth());
    }
}
