//! Owns the judgement of a real cluster: what its clients wrote down, read from a file of lines, is
//! put before the laws of `ringleader-simcluster`.
//! Never talks to a server. Invariant: what a file leaves open is taken in favour of the cluster,
//! so that a violation is one however the clients' threads were scheduled.
//!
//! Three things differ from a simulation, where everything is seen:
//! - what was decided is read in the end, from every member, by a watch from revision 1;
//! - when it was decided is not known: a revision counts as decided when somebody was first told of
//!   it or of a later one;
//! - clients never compact, since then the beginning could not be read.
#![forbid(unsafe_code)]

pub mod case;
pub mod file;
pub mod knowledge;

pub use case::{Case, Summary};

/// Judges a file's text.
pub fn judge(text: &str) -> Result<Summary, String> {
    let records = file::read(text)?;
    Case::open(&records)?.judge(&records)
}
