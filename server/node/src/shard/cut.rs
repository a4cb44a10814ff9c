//! Owns the writing of a cut: the whole store as of one revision, as the items of a snapshot file,
//! for clients that save it and for peers that are too far behind.
//! Never keeps what it wrote. Invariant: two writers of one cut write the same bytes.

use std::sync::Arc;

use base::{ChangeKind, Rev};
use history::Record;

use super::walk::{Course, Piece, Walk};
use crate::message::SnapshotCut;
use crate::snapshot::{Header, SnapshotItem, SnapshotWriter};

/// Writes what a walk passes, then the facts that the cut itself holds.
pub struct CutWriter {
    cut: Arc<SnapshotCut>,
    writer: SnapshotWriter,
    /// Facts of the meta slice written so far.
    facts: usize,
}

/// What became of one step.
pub enum Advanced {
    /// One item is in the buffer.
    Written,
    /// The walk waits for its slices.
    Waits,
    /// All items are written: `finish` comes next.
    Ended,
}

impl CutWriter {
    /// Writes the header into `out`.
    pub fn begin(cut: Arc<SnapshotCut>, header: &Header, out: &mut Vec<u8>) -> CutWriter {
        CutWriter { cut, writer: SnapshotWriter::begin(header, out), facts: 0 }
    }

    /// What is written.
    pub fn cut(&self) -> &Arc<SnapshotCut> {
        &self.cut
    }

    /// Writes the next item to the end of `out`.
    pub fn advance(&mut self, walk: &mut Walk, out: &mut Vec<u8>) -> Advanced {
        let item = match walk.pop() {
            Some(piece) => item_of(piece),
            None if !walk.finished() => return Advanced::Waits,
            None => match self.cut.meta.get(self.facts) {
                Some(fact) => {
                    self.facts += 1;
                    let value = fact.value.clone().expect("facts that hold have a value");
                    SnapshotItem::Meta { key: fact.key.clone(), value }
                }
                None => return Advanced::Ended,
            },
        };
        self.writer.item(&item, out);
        Advanced::Written
    }

    /// Writes the end to `out`; the length of the whole, in bytes.
    pub fn finish(&self, out: &mut Vec<u8>) -> u64 {
        self.writer.clone().finish(out)
    }
}

/// The walk that passes everything of a cut.
pub fn course_of(cut: &SnapshotCut) -> Course {
    let compact = cut.compact_revision;
    Course {
        rows_at: (compact > 0).then_some(Rev::end_of(compact)),
        from: compact.max(0) + 1,
        to: cut.revision,
    }
}

/// What a walk passes, as it stands in a snapshot.
fn item_of(piece: Piece) -> SnapshotItem {
    match piece {
        Piece::Row(row) => {
            SnapshotItem::Row { key: row.key, version: row.version, value: row.value }
        }
        Piece::Record(Record { rev, key, kind, .. }) => match kind {
            ChangeKind::Put { value, create, version, lease } => {
                let version = base::Version { create, modified: rev, version, lease };
                SnapshotItem::Put { key, version, value }
            }
            ChangeKind::Delete => SnapshotItem::Delete { rev, key },
        },
    }
}
