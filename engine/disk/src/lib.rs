//! Owns the files of the data directory and runs disk requests on them with glommio's direct I/O.
//! Never decides what to read or write, and never repairs: a result goes back as it came.
//! Invariant: every submitted request is answered exactly once, with the tag it came with.

pub mod data_dir;
mod files;
pub mod probe;
mod runner;
mod sys;

pub use data_dir::{DataDir, DataDirError};
pub use runner::Disk;
