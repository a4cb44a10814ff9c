//! Owns the simulator of clusters: several whole members as they are, on simulated disks, clocks
//! and a simulated network, used by clients while everything goes wrong, then judged.
//! Never asks the world: all that happens is a function of the seed.
//! Invariant: what clients were told agrees with one order of events, on every member, and once a
//! majority works again, clients are served.
#![forbid(unsafe_code)]

pub mod actor;
pub mod clock;
pub mod history;
pub mod member;
pub mod nemesis;
pub mod network;
pub mod oracle;
pub mod plan;
pub mod remembered;
pub mod run;
pub mod world;

pub use ringleader_sim::Planted;
pub use run::{Failure, Summary, run, run_shaped};
pub use world::Voice;
