//! Owns the laws, one in each file.
//! Never looks into a member: what members say, and what clients were told, is all there is.

pub mod agreement;
pub mod leases;
pub mod logs;
pub mod matching;
pub mod order;
pub mod roster;
pub mod states;
pub mod watches;
