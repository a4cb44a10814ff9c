//! Owns those who use the cluster: clients, watches, holders of leases.
//! Never knows what happens inside a member. Invariant: an actor talks to one member at a time, and
//! moves to another when that one fails it.

pub mod client;
pub mod holder;
pub mod operator;
pub mod watch;
pub mod words;

use base::Prng;
use ringleader_sim::life::is_refusal;
use wire::Status;

use crate::history::{History, Outcome, Stamp};
use crate::oracle::leases::Leases;
use crate::world::World;

/// What actors write down beside what they do.
pub struct Book {
    /// Every operation.
    pub history: History,
    /// What was promised of leases.
    pub leases: Leases,
    /// Whether new operations are begun.
    pub open: Open,
    /// The members that clients know.
    pub members: Vec<u64>,
}

/// Whether new operations are begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// They are.
    Yes,
    /// Only what keeps a watch alive.
    No,
}

/// Another member, if there is one.
fn another(members: &[u64], than: u64, dice: &mut Prng) -> u64 {
    let others: Vec<u64> = members.iter().copied().filter(|id| *id != than).collect();
    if others.is_empty() { members[0] } else { *dice.pick(&others) }
}

/// Whether a member refuses because it does not vote yet.
fn is_learners(status: &Status) -> bool {
    status.message.contains("not supported for learner")
}

/// What an error means for the operation that it answers.
fn failed(world: &mut World, status: Status) -> Outcome {
    let at: Stamp = world.stamp();
    match is_refusal(&status) {
        true => Outcome::Refused { at, status },
        false => Outcome::Unknown,
    }
}
