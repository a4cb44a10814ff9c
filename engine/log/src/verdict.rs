//! Owns the words of recovery: what a log turned out to be, what is wrong with it, or how to go on.

use base::{FileId, IoError};

use crate::batch::{Identity, VERSION};
use crate::held::Held;
use crate::position::{Place, Position};
use crate::record::{BadRecord, HardState};

/// What the log turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Sound to its end.
    End {
        /// Where and how writing goes on.
        resume: Resume,
        /// What stands behind the end.
        tail: Tail,
    },
    /// Acknowledged data is damaged or gone, or the log is not ours. Nothing may be written.
    Rot {
        /// In which segment.
        segment: u64,
        /// At which byte offset.
        offset: u64,
        /// What is wrong.
        why: Why,
    },
    /// The disk could not read or sync it.
    Unreadable {
        /// Which segment.
        segment: u64,
        /// What the disk said.
        error: IoError,
    },
}

/// What stands behind the end of a sound log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing of this log.
    Clean,
    /// Remains of flushes that were under way and that nobody was told about.
    Torn,
}

/// What is wrong with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No sound batch stands here, but batches up to `through` were acknowledged.
    Lost {
        /// How far they were.
        through: Position,
    },
    /// A sound batch of somebody else's log.
    Foreign {
        /// Whose.
        identity: Identity,
    },
    /// A batch of a format that this program does not know.
    Newer {
        /// The format's version.
        version: u16,
    },
    /// A sound batch holds what is no record.
    BadRecord(BadRecord),
    /// The segment is not there, though later ones are.
    Missing,
}

impl Why {
    /// What is wrong and what to do about it, given where it was found.
    pub fn told(&self, segment: u64, offset: u64) -> String {
        let file = FileId::Log(segment);
        match self {
            Why::Lost { .. } | Why::BadRecord(_) => format!(
                "{file} is damaged at byte {offset} ({self:?}) where entries were acknowledged; \
                 restore the data directory from a backup"
            ),
            Why::Foreign { identity: Identity { cluster, member } } => format!(
                "{file} belongs to member {member:x} of cluster {cluster:x}; put this member's own \
                 log back, or restore the data directory from a backup"
            ),
            Why::Newer { version } => format!(
                "{file} has format {version} at byte {offset}, this program knows up to {VERSION}; \
                 start the newer version"
            ),
            Why::Missing => format!(
                "{file} is missing; put it back, or restore the data directory from a backup"
            ),
        }
    }
}

/// How [`crate::Writer::resume`] goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The block behind the last sound batch; what stands there was never acknowledged. `None` if
    /// the log has no batch.
    pub next: Option<Place>,
    /// Header checksum of the last batch.
    pub previous: u32,
    /// Epoch of the next run.
    pub epoch: u32,
    /// Segments that hold the log and the highest entry index in each.
    pub live: Vec<(u64, u64)>,
    /// Segments after them.
    pub ready: Vec<u64>,
    /// The latest hard state.
    pub state: Option<HardState>,
    /// What the segments hold.
    pub(crate) held: Held,
}

impl Verdict {
    pub(crate) fn rot(place: Place, why: Why) -> Verdict {
        Verdict::Rot { segment: place.segment, offset: u64::from(place.offset), why }
    }
}
