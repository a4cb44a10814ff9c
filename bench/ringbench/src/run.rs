//! Owns the running of a load: executors on cores, clients in phases, when each may send, and what
//! is shown and sampled meanwhile. Knows no workload. Invariant: every turn that a client took is
//! counted once, as good or as failed.

mod crew;
mod gate;
mod overseer;
mod phase;
mod process;
mod seat;
mod shared;

pub use crew::{Counted, Crew, Job, Tally};
pub use overseer::Watched;
pub use phase::{End, Phase, Turn, Turns};
pub use process::{http_page, machine};
pub use seat::{Client, Seat, User};
