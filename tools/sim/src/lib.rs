//! Owns the crash simulator: one whole member, its leader and shards as they are, driven in one
//! thread on a simulated disk and clock, crashed again and again, and judged after every start.
//! Never asks the world: all that happens is a function of the seed.
//! Invariant: what a client was told is found again after every crash, and what it was not told
//! happened whole or not at all.
#![forbid(unsafe_code)]

pub mod disk;
pub mod harm;
pub mod life;
pub mod load;
pub mod member;
pub mod ops;
pub mod oracle;
pub mod plan;
pub mod run;
pub mod setup;
pub mod trace;
pub mod verify;

pub use plan::Planted;
pub use run::{Failure, Summary, run};
