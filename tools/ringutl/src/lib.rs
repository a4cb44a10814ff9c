//! Owns what can be done with Ringleader's data while no server runs on it: look at a snapshot,
//! make a data directory from one, verify a data directory. Never talks to a server, never changes
//! what it verifies. Invariant: a directory that it makes is one that the server opens; damage is
//! reported with its place.
#![forbid(unsafe_code)]

pub mod check;
pub mod files;
pub mod offline;
pub mod restore;
pub mod source;
pub mod status;
