//! Owns the revision-ordered event log of one slice: one record per change, with the version that
//! the change replaced. Never touches a file, never interprets a key; compaction drops whole
//! segments and never rewrites one.
//! Invariant: every record with `rev.main >= compact` can be found, and a root names only bytes
//! that were durable before it was reported.
//!
//! Records are gathered into blocks (about 16 KiB), blocks into segment files (about 8 MiB).
//! A block is written once and never again. What is not in memory is answered with a [`Miss`]
//! that names the read; the caller reads, calls [`History::supply`] and asks again.
//! The bytes are drawn in `docs/data_file.md`.
#![forbid(unsafe_code)]

mod block;
mod cache;
mod directory;
mod flush;
mod frame;
mod history;
mod purge;
mod read;
mod record;

pub use directory::HistoryRoot;
pub use flush::{Ticket, Write};
pub use frame::{Rot, RotKind};
pub use history::{History, Opening, Options, Stats};
pub use purge::{PurgeBatch, Tombstone};
pub use read::{Miss, Scanned, Scrub, Visit};
pub use record::{Previous, Record};

#[cfg(test)]
mod tests;
