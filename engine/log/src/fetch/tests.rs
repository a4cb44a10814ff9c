//! Laws of reading old entries back: a log beside a plain list of what it holds, through
//! overwrites, checkpoints, restarts and whole stores that were taken in.

use std::collections::BTreeMap;

use base::Prng;

use super::*;
use crate::flush::{Backlog, Urgency, WriterConfig};
use crate::reader::{Reader, ReaderConfig, Step};
use crate::record::{EntryKind, HardState, Mark};
use crate::restore::Restored;
use crate::segments::Kept;
use crate::verdict::{Resume, Verdict};
use crate::writer::Writer;

const IDENTITY: Identity = Identity { cluster: 1, member: 2 };
const SEGMENT: usize = 64 << 10;

fn config(kept: Kept) -> WriterConfig {
    WriterConfig {
        geometry: Geometry::of(SEGMENT as u64),
        entry_bytes_max: 20_000,
        kept,
        ..WriterConfig::standard(IDENTITY)
    }
}

/// A member's log and, beside it, the entries as they count.
struct World {
    disk: BTreeMap<u64, Vec<u8>>,
    writer: Writer,
    kept: Kept,
    /// Entries by index from 1; what a whole store stood for is missing at the front.
    entries: BTreeMap<u64, Entry>,
    checkpoint: Mark,
    log_first: u64,
}

impl World {
    fn new(kept: Kept) -> World {
        let checkpoint = Mark { term: 1, index: 1 };
        let mut writer = Writer::create(config(kept));
        writer.go_on(checkpoint, checkpoint);
        let (disk, entries) = (BTreeMap::new(), BTreeMap::new());
        World { disk, writer, kept, entries, checkpoint, log_first: 0 }
    }

    fn last(&self) -> Mark {
        let last = self.entries.values().next_back();
        last.map_or(self.checkpoint, |entry| Mark { term: entry.term, index: entry.index })
    }

    fn append(&mut self, index: u64, term: u64, bytes: usize) {
        let data = vec![(index ^ term) as u8; bytes].into();
        let entry = Entry { term, index, kind: EntryKind::Normal, data };
        self.entries.split_off(&index);
        self.entries.insert(index, entry.clone());
        self.writer.append(Record::Entry(entry), Urgency::Wait);
    }

    fn write(&mut self) {
        loop {
            while let Some(request) = self.writer.poll_upkeep() {
                match request {
                    IoRequest::Prepare { file: FileId::Log(number), recycle, .. } => {
                        let old = recycle.and_then(|file| match file {
                            FileId::Log(old) => self.disk.remove(&old),
                            _ => None,
                        });
                        self.disk.insert(number, old.unwrap_or_else(|| vec![0; SEGMENT]));
                        self.writer.prepared(number);
                    }
                    IoRequest::Remove { file: FileId::Log(number) } => {
                        self.disk.remove(&number);
                        self.writer.removed(number);
                    }
                    other => unreachable!("{other:?}"),
                }
            }
            let Some(flush) = self.writer.poll_flush(Backlog::Long) else { break };
            let FileId::Log(segment) = flush.file else { unreachable!() };
            let at = flush.offset as usize;
            let bytes = &mut self.disk.get_mut(&segment).unwrap()[at..at + flush.bytes.len()];
            bytes.copy_from_slice(&flush.bytes);
            self.writer.flushed(flush.ticket);
        }
    }

    fn checkpoint(&mut self, at: Mark) {
        self.checkpoint = at;
        self.log_first = self.writer.first_needed().unwrap_or(0);
        self.writer.release(at.index);
    }

    /// The machine starts again; what is behind the checkpoint's first segment is not read.
    fn restart(&mut self) {
        let (freed, segments): (Vec<u64>, Vec<u64>) =
            self.disk.keys().partition(|number| **number < self.log_first);
        let mut reader = Reader::new(ReaderConfig {
            identity: IDENTITY,
            geometry: Geometry::of(SEGMENT as u64),
            segments,
            promised: Position::START,
        });
        let mut restored = Restored::start(self.checkpoint);
        let resume = loop {
            match reader.poll() {
                Step::Io(IoRequest::Read { file, offset, len }) => {
                    reader.handle(IoResult::Read(read(&self.disk, file, offset, len)));
                }
                Step::Io(_) => reader.handle(IoResult::Done),
                Step::Record(record) => restored.take(record).unwrap(),
                Step::Waiting => unreachable!("every request was answered"),
                Step::Done(Verdict::End { resume, .. }) => break resume,
                Step::Done(verdict) => panic!("{verdict:?}"),
            }
        };
        let restored = restored.finish().unwrap();
        assert_eq!(restored.window.last(), self.last());
        self.resume(resume, &freed);
    }

    fn resume(&mut self, resume: Resume, freed: &[u64]) {
        self.writer = Writer::resume(config(self.kept), resume);
        self.writer.adopt(freed);
        self.writer.go_on(self.checkpoint, self.last());
        self.writer.release(self.checkpoint.index);
    }

    /// Every entry that is said to be held is read as it counts, in pieces of `bytes_max`.
    fn check(&mut self, prng: &mut Prng, bytes_max: u64) -> u64 {
        let Some(held) = self.writer.held().cloned() else { return 0 };
        let (base, last) = (held.base(), held.last());
        assert_eq!(last, self.last());
        assert!(self.writer.fetch(base.index, last.index + 1, 1).is_none());
        let mut low = base.index + 1;
        if prng.chance(500) {
            low += prng.below(last.index - base.index + 1);
        }
        while low <= last.index {
            let high = low + 1 + prng.below(last.index + 1 - low);
            let mut fetch = self.writer.fetch(low, high, bytes_max).expect("it is held");
            let found = found(&mut fetch, |file, offset, len| read(&self.disk, file, offset, len));
            self.writer.fetched(&fetch);
            let FetchStep::Done(found) = found else { panic!("{found:?}") };
            assert!(!found.is_empty() && low + found.len() as u64 <= high);
            let bytes: u64 = found.iter().map(|entry| entry.data.len() as u64 + 1).sum();
            assert!(found.len() == 1 || bytes <= bytes_max);
            for entry in &found {
                assert_eq!((entry, low), (&self.entries[&low], entry.index));
                assert_eq!(held.term(low), Some(entry.term));
                low += 1;
            }
        }
        last.index - base.index
    }
}

fn read(disk: &BTreeMap<u64, Vec<u8>>, file: FileId, offset: u64, len: u32) -> Bytes {
    let FileId::Log(segment) = file else { unreachable!("{file:?}") };
    let (from, to) = (offset as usize, offset as usize + len as usize);
    Bytes::copy_from_slice(&disk[&segment][from..to])
}

fn found(fetch: &mut Fetch, read: impl Fn(FileId, u64, u32) -> Bytes) -> FetchStep {
    loop {
        match fetch.poll() {
            FetchStep::Io(IoRequest::Read { file, offset, len }) => {
                fetch.handle(IoResult::Read(read(file, offset, len)));
            }
            FetchStep::Io(other) => unreachable!("{other:?}"),
            FetchStep::Waiting => unreachable!("every request was answered"),
            ended => return ended,
        }
    }
}

#[test]
fn what_segments_are_said_to_hold_is_read_as_it_counts() {
    let (mut held, mut restarts, mut stores) = (0, 0, 0);
    for seed in 0..100 {
        println!("seed {seed}");
        let mut prng = Prng::from_seed(seed);
        let segments = prng.below(4) as usize;
        let kept = Kept { segments, segments_max: segments + prng.below(4) as usize };
        let mut world = World::new(kept);
        let mut term = 1;
        for _ in 0..120 {
            match prng.below(20) {
                0 => {
                    world.write();
                    let index = world.checkpoint.index
                        + prng.below(world.last().index - world.checkpoint.index + 1);
                    let at = world.entries.get(&index).map(|entry| entry.term);
                    let at = at.map_or(world.checkpoint, |term| Mark { term, index });
                    world.checkpoint(at);
                }
                1 => {
                    world.write();
                    world.restart();
                    restarts += 1;
                }
                2 if prng.chance(200) => {
                    // A whole store is taken in; an uncommitted tail may be left in the log.
                    world.write();
                    term += 1;
                    let index = world.last().index + 1 - prng.below(4);
                    if world.checkpoint.index < index {
                        world.checkpoint = Mark { term, index };
                        world.entries.clear();
                        world.restart();
                        stores += 1;
                    }
                }
                3 => {
                    // Another leader replaces what is not committed.
                    term += 1;
                    let least = world.checkpoint.index + 1;
                    let index = least + prng.below(world.last().index + 2 - least);
                    world.append(index, term, prng.below(9000) as usize);
                }
                4 => {
                    let after = prng.below(world.last().index + 1);
                    let after = prng.chance(500).then_some(after);
                    world.writer.keep(after);
                }
                5 => {
                    world.write();
                    let bytes_max = 1 + prng.below(40_000);
                    held += world.check(&mut prng, bytes_max);
                }
                6 => {
                    let state = HardState { term, vote: 1, commit: world.checkpoint.index };
                    world.writer.append(Record::HardState(state), Urgency::Wait);
                    world.write();
                }
                7..10 => world.write(),
                _ => {
                    let index = world.last().index + 1;
                    world.append(index, term, prng.below(9000) as usize);
                }
            }
        }
    }
    println!("{held} entries held, {restarts} restarts, {stores} stores");
    assert!(8_000 < held && 200 < restarts && 10 < stores);
}

fn long_log() -> World {
    let mut world = World::new(Kept { segments: 9, segments_max: 9 });
    for index in 2..100 {
        world.append(index, 1, 3000);
        world.write();
    }
    world.checkpoint(Mark { term: 1, index: 90 });
    world
}

#[test]
fn a_restart_serves_what_it_did_not_read() {
    let mut world = long_log();
    assert!(world.writer.kept_segments() > 3);
    world.checkpoint(Mark { term: 1, index: 91 });
    world.restart();
    assert_eq!(world.writer.held().unwrap().base(), Mark { term: 1, index: 1 });
    assert_eq!(world.check(&mut Prng::from_seed(1), 10_000), 98);
}

#[test]
fn no_segment_goes_while_it_is_read() {
    let mut world = long_log();
    let fetch = world.writer.fetch(2, 9, 100_000).expect("it is held");
    for index in 100..300 {
        world.append(index, 1, 3000);
        world.write();
    }
    world.checkpoint(Mark { term: 1, index: 299 });
    world.write();
    let mut fetch = fetch;
    let entries = found(&mut fetch, |file, offset, len| read(&world.disk, file, offset, len));
    assert!(matches!(entries, FetchStep::Done(entries) if entries.len() == 7));
    world.writer.fetched(&fetch);
    assert!(world.writer.fetch(2, 9, 100_000).is_none(), "now it is gone");
}

#[test]
fn whatever_is_damaged_is_rot_and_never_an_entry() {
    let mut world = long_log();
    let whole: Vec<Entry> = world.entries.values().cloned().collect();
    let mut prng = Prng::from_seed(3);
    let mut rotten = 0;
    for _ in 0..100 {
        let segment = 1 + prng.below(4);
        let bit = prng.below(SEGMENT as u64 * 8) as usize;
        let flip = |world: &mut World| {
            world.disk.get_mut(&segment).unwrap()[bit / 8] ^= 1 << (bit % 8);
        };
        flip(&mut world);
        let mut fetch = world.writer.fetch(2, 90, u64::MAX).expect("it is held");
        match found(&mut fetch, |file, offset, len| read(&world.disk, file, offset, len)) {
            FetchStep::Done(entries) => assert_eq!(entries, whole[..88]),
            FetchStep::Rot { segment: at, offset, why } => {
                assert!(at <= segment, "{at} {offset} {why:?}");
                let told = why.told(at, offset);
                assert!(told.contains("restore the data directory from a backup"), "{told}");
                rotten += 1;
            }
            other => panic!("{other:?}"),
        }
        world.writer.fetched(&fetch);
        flip(&mut world);
    }
    assert!(20 < rotten, "{rotten}");
}

#[test]
fn a_foreign_a_newer_or_a_missing_batch_is_named() {
    let mut world = long_log();
    let ended = |world: &mut World, change: fn(&mut Vec<u8>)| {
        let whole = world.disk[&2].clone();
        change(world.disk.get_mut(&2).unwrap());
        let mut fetch = world.writer.fetch(2, 90, u64::MAX).expect("it is held");
        let ended = found(&mut fetch, |file, offset, len| read(&world.disk, file, offset, len));
        world.writer.fetched(&fetch);
        world.disk.insert(2, whole);
        ended
    };
    let zeros = ended(&mut world, |bytes| bytes.fill(0));
    assert!(matches!(zeros, FetchStep::Rot { segment: 1, why: Why::Lost { .. }, .. }), "{zeros:?}");
    let newer = ended(&mut world, |bytes| bytes[4] = 9);
    let why = Why::Newer { version: 9 };
    assert_eq!(newer, FetchStep::Rot { segment: 2, offset: 0, why });
}
