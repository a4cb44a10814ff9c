//! Owns the write-ahead log as bytes and rules: what a batch looks like, when it is written,
//! when it counts as durable, what recovery makes of what it finds, and the part of the log that
//! stays in memory. Never touches a file, a clock or a thread; disk work leaves as
//! [`base::IoRequest`]s and [`Flush`]es and comes back as answers.
//! Invariant: what was reported durable is found again, in order, or recovery stops and says so.
//!
//! # The bytes
//!
//! The log is a row of segments of one size, numbered from 1. A segment is a row of batches, each
//! starting on a 4 KiB block. One flush writes one batch, once.
//!
//! ```text
//! segment 7                                                       64 MiB
//! |batch      |batch |batch                    |batch |  zeros, or bytes of an older life |
//! 0           8192   12288                     49152  53248
//!
//! batch                                                     padded with zeros to 4 KiB
//! |header, 64 bytes|record|record|record| ...              |000000000000000000000000|
//! ```
//!
//! The header (see [`Header`]) names cluster, member, segment and offset, so that a batch which
//! is stale or stands in a wrong place never counts. `previous` is the header checksum of the batch
//! before: batches form a chain across segments. `synced_through` is a promise: every batch that
//! ends at or below this [`Position`] was durable before this one was built.
//!
//! # Reading it back
//!
//! Reading follows the chain. Where it breaks, either the end is reached (a torn batch that nobody
//! was told about, zeros, or leftovers) or acknowledged data rotted. The promises decide: headers
//! beyond the break are searched, and if one promises anything beyond the break, that
//! is [`Verdict::Rot`]. What no later header promises cannot be told from a torn tail: those are
//! the flushes that completed after the newest header was built, at most
//! [`WriterConfig::flushes_max`] of them. The writer closes that gap with an empty batch, the seal
//! ([`Writer::seal`]).
#![forbid(unsafe_code)]

mod batch;
mod fetch;
mod flush;
mod held;
mod position;
mod reader;
mod record;
mod restore;
mod scan;
mod segments;
mod terms;
mod verdict;
mod window;
mod writer;

pub use batch::{BadHeader, HEADER_BYTES, Header, Identity};
pub use fetch::{Fetch, FetchStep};
pub use flush::{Backlog, Durable, Flush, Lsn, Ticket, Urgency, WriterConfig};
pub use position::{Geometry, Place, Position};
pub use reader::{Reader, ReaderConfig, Step};
pub use record::{BadRecord, Entry, EntryKind, HardState, Mark, Past, Record};
pub use restore::{Gap, Restored};
pub use segments::Kept;
pub use terms::Terms;
pub use verdict::{Resume, Tail, Verdict, Why};
pub use window::{Compacted, Window};
pub use writer::Writer;
