//! Owns the words of writing: the writer's bounds, a flush, and how far the log is durable.

use base::FileId;
use base::limits::{
    LOG_BATCH_BACKLOG_BYTES, LOG_BATCH_BYTES, LOG_ENTRY_BYTES_MAX, LOG_FLUSHES_MAX,
    LOG_SEGMENTS_AHEAD, LOG_SEGMENTS_KEPT, LOG_SEGMENTS_KEPT_MAX, LOG_SEGMENTS_SPARE_MAX,
};
use bytes::Bytes;

use crate::batch::{HEADER_BYTES, Identity};
use crate::position::{Geometry, Position, padded};
use crate::record::{ENTRY_HEAD_BYTES, HARD_STATE_BYTES, PAST_BYTES_MAX};
use crate::segments::Kept;

/// How a log is written. Tests shrink it; everybody else takes [`WriterConfig::standard`].
#[derive(Clone, Copy, Debug)]
pub struct WriterConfig {
    /// Whose log.
    pub identity: Identity,
    /// Size of segments.
    pub geometry: Geometry,
    /// Largest data of an entry that will be appended.
    pub entry_bytes_max: usize,
    /// Batch cap while few wait.
    pub batch_bytes: usize,
    /// Batch cap under backlog.
    pub batch_backlog_bytes: usize,
    /// Batches that may lie beyond what is durable.
    pub flushes_max: usize,
    /// Segments kept prepared.
    pub segments_ahead: usize,
    /// Freed segments kept for recycling.
    pub segments_spare_max: usize,
    /// Segments kept for peers that lag.
    pub kept: Kept,
}

/// Number of an appended record, from 1, in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// Names one flush; rises by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Whether somebody waits for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody does: write it as soon as the rules allow.
    Wait,
    /// Nobody does: it rides along with the next batch (a commit index alone may be forgotten).
    Ride,
}

/// Whether more work waits behind what was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlog {
    /// No: small batches, for latency.
    Short,
    /// Yes: large batches, for throughput.
    Long,
}

/// One batch to be written. The file is opened so that its completion means durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flush {
    /// To be handed back through [`crate::Writer::flushed`].
    pub ticket: Ticket,
    /// The segment.
    pub file: FileId,
    /// Where in it, a multiple of 4 KiB.
    pub offset: u64,
    /// What, a multiple of 4 KiB.
    pub bytes: Bytes,
}

/// How far the log is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// All records up to this one.
    pub lsn: Lsn,
    /// Everything that ends at or below here.
    pub position: Position,
}

impl WriterConfig {
    /// The bounds of [`base::limits`].
    pub fn standard(identity: Identity) -> WriterConfig {
        WriterConfig {
            identity,
            geometry: Geometry::STANDARD,
            entry_bytes_max: LOG_ENTRY_BYTES_MAX,
            batch_bytes: LOG_BATCH_BYTES,
            batch_backlog_bytes: LOG_BATCH_BACKLOG_BYTES,
            flushes_max: LOG_FLUSHES_MAX,
            segments_ahead: LOG_SEGMENTS_AHEAD,
            segments_spare_max: LOG_SEGMENTS_SPARE_MAX,
            kept: Kept { segments: LOG_SEGMENTS_KEPT, segments_max: LOG_SEGMENTS_KEPT_MAX },
        }
    }

    pub(crate) fn check(&self) {
        let before = HEADER_BYTES + HARD_STATE_BYTES + PAST_BYTES_MAX;
        let largest = before + ENTRY_HEAD_BYTES + self.entry_bytes_max;
        assert!(padded(largest) <= self.geometry.segment_bytes() as usize);
        assert!(self.entry_bytes_max <= LOG_ENTRY_BYTES_MAX);
        assert!(HEADER_BYTES < self.batch_bytes);
        assert!(self.batch_bytes <= self.batch_backlog_bytes);
        assert!(self.batch_backlog_bytes <= RECORDS_MAX * ENTRY_HEAD_BYTES);
        assert!(1 <= self.flushes_max);
    }
}

/// A batch counts its records in 16 bits.
pub(crate) const RECORDS_MAX: usize = u16::MAX as usize;
const _: () = assert!(LOG_BATCH_BACKLOG_BYTES <= RECORDS_MAX * ENTRY_HEAD_BYTES);
