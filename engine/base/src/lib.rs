//! Owns the words that every part of Ringleader uses: revisions, changes, disk requests, time,
//! dice, limits and fixed-width bytes. Knows no structure and does nothing.
//! Invariant: everything here is a plain value; nothing asks the world a question.
#![forbid(unsafe_code)]

pub mod bytes_le;
pub mod change;
pub mod checksum;
pub mod io;
pub mod limits;
pub mod prng;
pub mod rev;
pub mod span;
pub mod time;

pub use change::{Change, ChangeKind, Version};
pub use io::{FileId, IoError, IoRequest, IoResult, OpId, SliceId};
pub use prng::Prng;
pub use rev::Rev;
pub use time::Instant;
