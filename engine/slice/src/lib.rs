//! Owns one partition of the key space: its tree and its history as one machine that applies
//! changes, answers reads at any point since the compact revision, and makes checkpoints. Never
//! touches a file, never decides what a change is, knows no client.
//! Invariant: what a read sees is exactly the changes at or before its point; tree and history of
//! one checkpoint stand at the same place of the apply stream.
//!
//! In: `apply`, `compact`, `freeze` (in stream order), `read`, `io_done`, `commit`. Out:
//! `poll_effect`. In between the owner gives time in bounded pieces: `step` for what somebody
//! waits for, `work` for what can wait. See `docs/decisions/004-history.md`.
#![forbid(unsafe_code)]

mod apply;
mod background;
mod catch_up;
mod checkpoint;
mod compaction;
mod count;
mod io;
mod past;
mod pins;
mod range;
mod reads;
mod request;
mod root;
mod slice;

pub use compaction::Compaction;
pub use pins::{PinId, PinTooLate};
pub use request::{Fields, Item, KeyRange, Prev, RangeEnd, ReadId, ReadRequest, ReadResult};
pub use root::{BadRoot, SliceRoot};
pub use slice::{
    Failure, HistoryMode, Options, Pace, RotWhy, ScrubPace, Sizes, Slice, SliceEffect, Stats,
    StepBudget, WorkBudget,
};

#[cfg(test)]
mod tests;
