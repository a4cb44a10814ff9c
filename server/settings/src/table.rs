//! Owns the table of settings: every flag as one row, in the order of the help text.
//! Never reads a value. Invariant: a name stands here once.

mod clustering;
mod member;
mod observe;
mod old;
mod ours;
mod security;

use crate::row::Row;

const PARTS: [&[Row]; 6] =
    [member::ROWS, clustering::ROWS, security::ROWS, observe::ROWS, ours::ROWS, old::ROWS];

/// Every row.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    PARTS.into_iter().flatten()
}

/// The row of this flag name.
pub fn find(name: &str) -> Option<&'static Row> {
    rows().find(|row| row.name == name)
}

/// The row of a name that our own code spells; it must exist.
pub fn known(name: &str) -> &'static Row {
    find(name).unwrap_or_else(|| unreachable!("no row is called {name}"))
}
