//! Owns one member made of its pure machines, beside the dumb model of etcd, and the comparison
//! of the two. Never draws a number from anywhere but a seed.
//! Invariant: equal seeds give equal runs.
#![forbid(unsafe_code)]

pub mod disk;
pub mod member;
pub mod rpc;
pub mod run;
pub mod watchers;
