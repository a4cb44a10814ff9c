//! Owns the reading of what a member will find of its log when it starts: by the log's own reader,
//! from the disk as it is.
//! Changes nothing. Invariant: what is told is what the member itself will find, or nothing if it
//! will refuse.

use base::{FileId, IoRequest, IoResult};
use node::manifest::{Manifest, SLOT_BYTES};
use ringleader_sim::disk::Disk;
use wal::{
    Entry, Geometry, Identity, Mark, Position, Reader, ReaderConfig, Restored, Step, Verdict,
};

/// The place up to which the member holds everything, and the entries after it.
pub fn of(disk: &Disk, geometry: Geometry) -> Option<(Mark, Vec<Entry>)> {
    let manifest = Manifest::choose(&disk.peek(FileId::Manifest, 2 * SLOT_BYTES)?).ok()?;
    let segments = disk.log_segments().into_iter().filter(|n| manifest.log_first <= *n);
    let mut reader = Reader::new(ReaderConfig {
        identity: Identity { cluster: manifest.cluster_id, member: manifest.member_id },
        geometry,
        segments: segments.collect(),
        promised: Position(manifest.log_position),
    });
    let mark = Mark { term: manifest.applied_term, index: manifest.applied_index };
    let mut restored = Restored::start(mark);
    loop {
        match reader.poll() {
            Step::Io(IoRequest::Read { file, offset, len }) => {
                reader.handle(IoResult::Read(disk.look(file, offset, len as usize)));
            }
            Step::Io(_) => reader.handle(IoResult::Done),
            Step::Record(record) => restored.take(record).ok()?,
            Step::Waiting => unreachable!("every request was answered"),
            Step::Done(Verdict::End { .. }) => break,
            Step::Done(Verdict::Rot { .. } | Verdict::Unreadable { .. }) => return None,
        }
    }
    let window = restored.finish().ok()?.window;
    let (base, last) = (window.base(), window.last().index);
    let entries = match base.index < last {
        true => window.entries(base.index + 1, last + 1, u64::MAX).ok()?,
        false => Vec::new(),
    };
    Some((base, entries))
}
