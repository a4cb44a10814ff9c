//! Owns watches: who waits for which keys, what each of them has seen, and the replies they are
//! owed. Matches changes as they are published, and reads history for whoever fell behind.
//! Never touches a socket or a disk: it asks for history and hands out encoded replies.
//! Invariant: every watcher sees each revision of its keys exactly once and in order, or is told
//! that it was compacted.
#![forbid(unsafe_code)]

mod batch;
mod catchup;
mod hub;
mod index;
mod progress;
mod publish;
mod reply;
mod slab;
mod span;
mod stream;
mod watcher;

pub use batch::Message;
pub use catchup::{History, HistoryRead, JobId, Previous};
pub use hub::{Effect, Options, Store, WatchHub};
pub use index::{GroupId, Index};
pub use span::{EmptySpan, Span};
pub use stream::StreamId;

#[cfg(test)]
mod tests;
