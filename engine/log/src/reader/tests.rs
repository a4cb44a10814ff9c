//! Laws of recovery on hand-made logs. Random crashes and damage are in `tests/crash.rs`.

use std::collections::BTreeMap;

use base::IoError;

use super::*;
use crate::flush::{Backlog, Urgency, WriterConfig};
use crate::record::{Entry, EntryKind};
use crate::writer::Writer;

const IDENTITY: Identity = Identity { cluster: 1, member: 2 };
const SEGMENT: usize = 64 << 10;
const BLOCK: usize = 4096;

type Disk = BTreeMap<u64, Vec<u8>>;

fn config() -> WriterConfig {
    WriterConfig {
        geometry: Geometry::of(SEGMENT as u64),
        entry_bytes_max: 20_000,
        ..WriterConfig::standard(IDENTITY)
    }
}

fn write(disk: &mut Disk, writer: &mut Writer) {
    while let Some(request) = writer.poll_upkeep() {
        let IoRequest::Prepare { file: FileId::Log(number), .. } = request else { unreachable!() };
        disk.insert(number, vec![0; SEGMENT]);
        writer.prepared(number);
    }
    while let Some(flush) = writer.poll_flush(Backlog::Short) {
        let FileId::Log(segment) = flush.file else { unreachable!() };
        let at = flush.offset as usize;
        disk.get_mut(&segment).unwrap()[at..at + flush.bytes.len()].copy_from_slice(&flush.bytes);
        writer.flushed(flush.ticket);
    }
}

fn put(writer: &mut Writer, index: u64, bytes: usize) {
    let data = vec![index as u8; bytes].into();
    let entry = Entry { term: 1, index, kind: EntryKind::Normal, data };
    writer.append(Record::Entry(entry), Urgency::Wait);
}

/// One batch for each entry: of one block, or of three for each tenth.
fn log(entries: u64) -> Disk {
    let (mut disk, mut writer) = (Disk::new(), Writer::create(config()));
    for index in 1..=entries {
        put(&mut writer, index, if index % 10 == 0 { 9000 } else { 100 });
        write(&mut disk, &mut writer);
    }
    disk
}

fn read(disk: &Disk) -> (Vec<u64>, Verdict) {
    read_with(disk, Position::START)
}

fn read_with(disk: &Disk, promised: Position) -> (Vec<u64>, Verdict) {
    let mut reader = Reader::new(ReaderConfig {
        identity: IDENTITY,
        geometry: Geometry::of(SEGMENT as u64),
        segments: disk.keys().copied().collect(),
        promised,
    });
    let mut indexes = vec![];
    loop {
        match reader.poll() {
            Step::Io(IoRequest::Read { file: FileId::Log(segment), offset, len }) => {
                let (from, to) = (offset as usize, offset as usize + len as usize);
                let bytes = Bytes::copy_from_slice(&disk[&segment][from..to]);
                reader.handle(IoResult::Read(bytes));
            }
            Step::Io(_) => reader.handle(IoResult::Done),
            Step::Record(Record::Entry(entry)) => indexes.push(entry.index),
            Step::Record(Record::HardState(_) | Record::Mark(_) | Record::Past(_)) => {}
            Step::Waiting => unreachable!("every request was answered"),
            Step::Done(verdict) => return (indexes, verdict),
        }
    }
}

fn end(verdict: Verdict) -> (Resume, Tail) {
    match verdict {
        Verdict::End { resume, tail } => (resume, tail),
        Verdict::Rot { .. } | Verdict::Unreadable { .. } => panic!("{verdict:?}"),
    }
}

fn why(verdict: Verdict) -> Why {
    match verdict {
        Verdict::Rot { why, .. } => why,
        Verdict::End { .. } | Verdict::Unreadable { .. } => panic!("{verdict:?}"),
    }
}

#[test]
fn a_log_is_read_back_across_segments_and_goes_on() {
    let mut disk = log(60);
    assert!(disk.len() > 3);
    let (indexes, verdict) = read(&disk);
    assert_eq!(indexes, (1..=60).collect::<Vec<_>>());
    let (resume, tail) = end(verdict);
    assert_eq!((tail, resume.epoch), (Tail::Clean, 2));
    assert_eq!(resume.live.last().unwrap().1, 60);
    let mut writer = Writer::resume(config(), resume);
    put(&mut writer, 61, 10);
    write(&mut disk, &mut writer);
    assert_eq!(read(&disk).0, (1..=61).collect::<Vec<_>>());
}

#[test]
fn an_empty_log_starts_in_the_segments_that_are_there() {
    let (resume, tail) = end(read(&Disk::new()).1);
    assert_eq!((resume.next, resume.ready, tail), (None, vec![], Tail::Clean));
    let (resume, _) = end(read(&Disk::from([(1, vec![0; SEGMENT])])).1);
    assert_eq!((resume.next, resume.ready), (None, vec![1]));
}

#[test]
fn a_torn_last_batch_is_the_end() {
    let mut disk = log(10);
    disk.get_mut(&1).unwrap()[9 * BLOCK + 5000] ^= 1;
    let (indexes, verdict) = read(&disk);
    assert_eq!(indexes, (1..10).collect::<Vec<_>>());
    let (resume, tail) = end(verdict);
    let next = Place { segment: 1, offset: 9 * BLOCK as u32 };
    assert_eq!((resume.next, tail), (Some(next), Tail::Torn));
}

#[test]
fn a_broken_batch_that_a_later_one_promised_is_rot() {
    let geometry = Geometry::of(SEGMENT as u64);
    for block in 0..8 {
        let mut disk = log(10);
        disk.get_mut(&1).unwrap()[block * BLOCK + 70] ^= 0x10;
        let (indexes, verdict) = read(&disk);
        assert_eq!(indexes.len(), block);
        let through = geometry.position(Place { segment: 1, offset: 9 * BLOCK as u32 });
        let offset = (block * BLOCK) as u64;
        assert_eq!(verdict, Verdict::Rot { segment: 1, offset, why: Why::Lost { through } });
    }
}

#[test]
fn a_seal_protects_the_last_batch() {
    let (mut disk, mut writer) = (Disk::new(), Writer::create(config()));
    put(&mut writer, 1, 100);
    write(&mut disk, &mut writer);
    writer.seal();
    write(&mut disk, &mut writer);
    assert_eq!(end(read(&disk).1).1, Tail::Clean);
    disk.get_mut(&1).unwrap()[100] ^= 1;
    assert!(matches!(why(read(&disk).1), Why::Lost { .. }));
}

#[test]
fn a_promise_from_the_manifest_counts() {
    let disk = log(10);
    let geometry = Geometry::of(SEGMENT as u64);
    let end = geometry.position(Place { segment: 1, offset: 12 * BLOCK as u32 });
    assert!(matches!(read_with(&disk, end).1, Verdict::End { .. }));
    let beyond = Position(end.0 + 1);
    assert_eq!(why(read_with(&disk, beyond).1), Why::Lost { through: beyond });
    assert!(matches!(why(read_with(&Disk::new(), beyond).1), Why::Lost { .. }));
}

#[test]
fn stale_batches_of_a_recycled_segment_are_no_data() {
    let mut disk = log(60);
    let old = disk[&1].clone();
    let last = *disk.keys().last().unwrap();
    disk.insert(last, old);
    let (indexes, verdict) = read(&disk);
    assert_eq!(indexes, (1..=60).collect::<Vec<_>>());
    assert_eq!(end(verdict).1, Tail::Clean);
}

#[test]
fn leftovers_of_a_torn_run_never_join_the_next_run() {
    // Batches 2 and 3 are in flight; the crash keeps 3 and loses 2. The next run writes the very
    // same entry 2 again, in the same place.
    let (mut disk, mut writer) = (Disk::new(), Writer::create(config()));
    for index in 1..=3 {
        put(&mut writer, index, 100);
        write(&mut disk, &mut writer);
    }
    let segment = disk.get_mut(&1).unwrap();
    segment[BLOCK..2 * BLOCK].fill(0);
    // What batch 3 promises is what an in-flight neighbour would: only batch 1. Rebuild it so.
    let third =
        Record::Entry(Entry { term: 1, index: 3, kind: EntryKind::Normal, data: "3".into() });
    let heading = crate::batch::Heading {
        identity: IDENTITY,
        place: Place { segment: 1, offset: 2 * BLOCK as u32 },
        epoch: 1,
        previous: 77,
        synced_through: Position((SEGMENT + BLOCK) as u64),
    };
    segment[2 * BLOCK..3 * BLOCK].copy_from_slice(&crate::batch::encode(heading, &[third]).bytes);
    let (indexes, verdict) = read(&disk);
    assert_eq!(indexes, vec![1]);
    let (resume, tail) = end(verdict);
    assert_eq!((tail, resume.epoch), (Tail::Torn, 2));
    let mut writer = Writer::resume(config(), resume);
    put(&mut writer, 2, 100);
    write(&mut disk, &mut writer);
    assert_eq!(read(&disk).0, vec![1, 2]);
}

#[test]
fn a_log_that_lost_its_first_segments_is_not_a_new_log() {
    // All of the log was in segment 1; what is left is the one prepared after it.
    let mut disk = log(3);
    disk.insert(2, vec![0; SEGMENT]);
    disk.remove(&1);
    let missing = Verdict::Rot { segment: 1, offset: 0, why: Why::Missing };
    assert_eq!(read(&disk), (vec![], missing.clone()));
    // A promise of something in segment 1 is no reason to believe in segment 2.
    assert_eq!(read_with(&disk, Position(SEGMENT as u64 + 8192)).1, missing);
}

#[test]
fn a_missing_segment_a_foreign_log_and_a_newer_format_are_named() {
    let mut disk = log(60);
    disk.remove(&2);
    assert_eq!(why(read(&disk).1), Why::Missing);

    let mut disk = log(5);
    disk.get_mut(&1).unwrap()[4] = 9;
    assert_eq!(why(read(&disk).1), Why::Newer { version: 9 });

    let (mut disk, mut writer) = (Disk::new(), {
        let identity = Identity { cluster: 9, member: 2 };
        Writer::create(WriterConfig { identity, ..config() })
    });
    put(&mut writer, 1, 100);
    write(&mut disk, &mut writer);
    assert!(matches!(why(read(&disk).1), Why::Foreign { identity: Identity { cluster: 9, .. } }));
}

#[test]
fn a_disk_that_cannot_read_is_not_an_end() {
    let disk = log(5);
    let mut reader = Reader::new(ReaderConfig {
        identity: IDENTITY,
        geometry: Geometry::of(SEGMENT as u64),
        segments: disk.keys().copied().collect(),
        promised: Position::START,
    });
    while let Step::Io(request) = reader.poll() {
        match request {
            IoRequest::Sync { .. } => reader.handle(IoResult::Done),
            _ => reader.handle(IoResult::Failed(IoError::Os(5))),
        }
    }
    let verdict = Verdict::Unreadable { segment: 1, error: IoError::Os(5) };
    assert_eq!(reader.poll(), Step::Done(verdict));
}
