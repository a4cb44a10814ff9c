//! Owns the revision: the point in the store's history at which something happened.
//! Invariant: `(main, sub)` orders every change of the store; two changes never share one.

use std::fmt;

/// One point in the history of the store.
///
/// `main` counts transactions that changed something (etcd's revision), `sub` numbers the changes
/// of one transaction in the order of execution, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rev {
    /// etcd's revision; the empty store is at 1.
    pub main: i64,
    /// Position within the transaction, from 0.
    pub sub: u32,
}

impl Rev {
    /// Before every change.
    pub const ZERO: Rev = Rev { main: 0, sub: 0 };

    /// The revision of change number `sub` in transaction `main`.
    pub const fn new(main: i64, sub: u32) -> Rev {
        Rev { main, sub }
    }

    /// The read point that sees everything of transaction `main` and nothing later.
    pub const fn end_of(main: i64) -> Rev {
        Rev { main, sub: u32::MAX }
    }

    /// The read point just before this change: sees all earlier ones, not this one.
    pub const fn before(self) -> Rev {
        match self.sub {
            0 => Rev::end_of(self.main - 1),
            sub => Rev { main: self.main, sub: sub - 1 },
        }
    }

    /// The least revision above this one.
    pub const fn after(self) -> Rev {
        match self.sub {
            u32::MAX => Rev { main: self.main + 1, sub: 0 },
            sub => Rev { main: self.main, sub: sub + 1 },
        }
    }
}

impl fmt::Debug for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sub {
            u32::MAX => write!(f, "{}.end", self.main),
            sub => write!(f, "{}.{}", self.main, sub),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_point_before_a_change_excludes_exactly_that_change() {
        let second = Rev::new(7, 1);
        assert!(second.before() < second);
        assert_eq!(second.before(), Rev::new(7, 0));
        assert_eq!(Rev::new(7, 0).before(), Rev::end_of(6));
        assert!(Rev::end_of(6) < Rev::new(7, 0));
        assert_eq!(Rev::new(7, 0).after(), second);
        assert_eq!(Rev::end_of(6).after(), Rev::new(7, 0));
    }
}
