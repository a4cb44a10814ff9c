//! Owns the head tree of one slice: a counted copy-on-write B-tree as pages, ordered by key, one
//! entry a key. Pure: it names the pages that it misses and hands out the bytes that it wants
//! written; it never touches a file, a clock or a thread, and it knows nothing of etcd.
//! Invariant: what a committed root reference names is on disk, whole, and verified byte by byte
//! against checksums when it is read; an answer is right or it is a [`Miss`] or [`Rot`].
//!
//! The bytes are described in docs/data_file.md, the choices in docs/decisions/003-tree.md.
#![forbid(unsafe_code)]

mod cache;
mod cell;
mod check;
mod checkpoint;
mod codec;
mod edit;
mod entry;
mod free_map;
mod merge;
mod nodes;
mod page;
mod read;
mod relocate;
mod root;
mod rot;
mod scrub;
pub mod sizes;
mod space;
mod tree;

pub use check::{CheckReport, ReadAt, check, rebuild_map};
pub use checkpoint::{PageWrite, Pin, Ticket};
pub use entry::{Entry, EntryRef, ExtentRef, Value, ValueRef};
pub use nodes::CacheStats;
pub use read::{ScanEnd, ScanMiss};
pub use relocate::Relocation;
pub use root::{ROOT_BYTES, RootRef};
pub use rot::{Rot, Why};
pub use scrub::Scrub;
pub use space::{SpaceStats, Trim};
pub use tree::{Miss, Options, PageId, Tree};

#[cfg(test)]
mod tests;
