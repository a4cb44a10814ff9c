//! Crashes the log thousands of times on a disk of sectors: any subset of the flushes in flight
//! survives, each whole, torn or not at all; then bits flip. Laws: what was acknowledged is read
//! back in order; what was promised and is damaged is rot; nothing stale, torn or doubled appears.

use std::collections::BTreeMap;

use base::{FileId, IoRequest, IoResult, Prng};
use bytes::Bytes;
use ringleader_log as wal;
use wal::{
    Backlog, Entry, EntryKind, Flush, Geometry, HardState, Header, Identity, Lsn, Position, Reader,
    ReaderConfig, Record, Resume, Step, Tail, Urgency, Verdict, Why, Writer, WriterConfig,
};

const IDENTITY: Identity = Identity { cluster: 7, member: 8 };
const SEGMENT: usize = 64 << 10;
const BLOCK: usize = 4096;
/// What the disk writes whole.
const SECTOR: usize = 512;

fn config() -> WriterConfig {
    WriterConfig {
        geometry: Geometry::of(SEGMENT as u64),
        entry_bytes_max: 20_000,
        batch_bytes: 8 << 10,
        batch_backlog_bytes: 16 << 10,
        segments_spare_max: 1,
        ..WriterConfig::standard(IDENTITY)
    }
}

type Disk = BTreeMap<u64, Vec<u8>>;

/// A batch as it was handed out.
#[derive(Clone, Debug)]
struct Batch {
    start: Position,
    end: Position,
    used: usize,
    promise: Position,
    /// Entries appended up to its end.
    entries: usize,
}

/// The log, the disk below it, and what the outside was told.
struct World {
    prng: Prng,
    disk: Disk,
    writer: Writer,
    in_flight: Vec<Flush>,
    /// Batches of all runs that are or may be on disk, by start.
    batches: BTreeMap<Position, Batch>,
    /// Every entry that counts, by index from 1: its data's seed.
    entries: Vec<u64>,
    /// Entries and hard states appended in this run, by sequence number.
    appended: Vec<Lsn>,
    states: Vec<Lsn>,
    first_entry: usize,
    first_state: u64,
    /// Acknowledged, in all runs.
    acked_entries: usize,
    acked_state: u64,
    released: usize,
}

fn data(seed: u64) -> Bytes {
    let mut prng = Prng::from_seed(seed);
    let max = if prng.chance(20) { 20_000 } else { 3_000 };
    let mut data = vec![0; prng.below(max) as usize];
    prng.fill(&mut data);
    data.into()
}

impl World {
    fn new(seed: u64) -> World {
        World {
            prng: Prng::from_seed(seed),
            disk: Disk::new(),
            writer: Writer::create(config()),
            in_flight: vec![],
            batches: BTreeMap::new(),
            entries: vec![],
            appended: vec![],
            states: vec![],
            first_entry: 0,
            first_state: 0,
            acked_entries: 0,
            acked_state: 0,
            released: 0,
        }
    }

    fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            match self.prng.below(12) {
                0..4 => self.append_entry(),
                4 => self.append_state(),
                5..8 => self.flush(),
                8..10 => self.complete(),
                10 => self.upkeep(),
                _ => match self.prng.below(10) {
                    0..5 => self.writer.seal(),
                    5..9 => {
                        let index = self.prng.below(self.acked_entries as u64 + 1);
                        self.released = self.released.max(index as usize);
                        self.writer.release(index);
                    }
                    _ => (0..8).for_each(|_| self.complete()),
                },
            }
            self.acknowledge();
        }
    }

    fn append_entry(&mut self) {
        let seed = self.prng.next_u64();
        self.entries.push(seed);
        let index = self.entries.len() as u64;
        let entry = Entry { term: 1, index, kind: EntryKind::Normal, data: data(seed) };
        self.appended.push(self.writer.append(Record::Entry(entry), Urgency::Wait));
    }

    fn append_state(&mut self) {
        let number = self.first_state + self.states.len() as u64 + 1;
        let urgency = *self.prng.pick(&[Urgency::Wait, Urgency::Ride]);
        let state = HardState { term: 1, vote: 1, commit: number };
        let lsn = self.writer.append(Record::HardState(state), urgency);
        self.states.push(lsn);
    }

    fn flush(&mut self) {
        let backlog = *self.prng.pick(&[Backlog::Short, Backlog::Long]);
        let Some(flush) = self.writer.poll_flush(backlog) else { return };
        let (header, _) = Header::take(&flush.bytes).unwrap();
        let start = Geometry::of(SEGMENT as u64).position(header.place);
        let end = Position(start.0 + flush.bytes.len() as u64);
        let beyond = self.batches.range(start..).map(|(at, _)| *at).collect::<Vec<_>>();
        beyond.iter().for_each(|at| assert!(self.batches.remove(at).is_some()));
        let last = self.batches.last_key_value().map_or(self.first_entry, |(_, b)| b.entries);
        let mut payload = flush.bytes.slice(wal::HEADER_BYTES..);
        let entries = last + entries_in(&mut payload, header.records);
        let used = wal::HEADER_BYTES + header.payload_bytes as usize;
        let promise = header.synced_through;
        self.batches.insert(start, Batch { start, end, used, promise, entries });
        self.in_flight.push(flush);
    }

    fn complete(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        let at = self.prng.below(self.in_flight.len() as u64) as usize;
        let flush = self.in_flight.remove(at);
        let all = flush.bytes.len();
        self.store(&flush, 0..all);
        self.writer.flushed(flush.ticket);
    }

    fn store(&mut self, flush: &Flush, range: std::ops::Range<usize>) {
        let FileId::Log(segment) = flush.file else { unreachable!() };
        let at = flush.offset as usize;
        let file = self.disk.get_mut(&segment).expect("flushed into a prepared segment");
        file[at + range.start..at + range.end].copy_from_slice(&flush.bytes[range]);
    }

    fn upkeep(&mut self) {
        match self.writer.poll_upkeep() {
            Some(IoRequest::Prepare { file: FileId::Log(number), recycle, .. }) => {
                let old = recycle.map(|file| {
                    let FileId::Log(old) = file else { unreachable!() };
                    self.disk.remove(&old).expect("recycled segments exist")
                });
                self.disk.insert(number, old.unwrap_or_else(|| vec![0; SEGMENT]));
                self.writer.prepared(number);
            }
            Some(IoRequest::Remove { file: FileId::Log(number) }) => {
                assert!(self.disk.remove(&number).is_some());
                self.writer.removed(number);
            }
            None => {}
            other => unreachable!("{other:?}"),
        }
    }

    fn acknowledge(&mut self) {
        let durable = self.writer.durable().lsn;
        let entries = self.appended.partition_point(|lsn| *lsn <= durable);
        let states = self.states.partition_point(|lsn| *lsn < durable);
        self.acked_entries = self.first_entry + entries;
        // A state may replace the one that waits before it, so the last one below is certain.
        self.acked_state = self.acked_state.max(self.first_state + states.saturating_sub(1) as u64);
    }

    /// Power goes: flushes in flight leave any of their sectors, or nothing.
    fn crash(&mut self) {
        for flush in std::mem::take(&mut self.in_flight) {
            match self.prng.below(4) {
                0 => {}
                1 => self.store(&flush, 0..flush.bytes.len()),
                _ => {
                    for start in (0..flush.bytes.len()).step_by(SECTOR) {
                        if self.prng.chance(700) {
                            self.store(&flush, start..start + SECTOR);
                        }
                    }
                }
            }
        }
    }

    /// Reads everything back; checks it is a run of what was appended; returns where it ends.
    fn recover(&self) -> (usize, Option<u64>, Verdict) {
        let mut reader = Reader::new(ReaderConfig {
            identity: IDENTITY,
            geometry: Geometry::of(SEGMENT as u64),
            segments: self.disk.keys().copied().collect(),
            promised: Position::START,
        });
        let (mut last, mut state) = (None, None);
        loop {
            match reader.poll() {
                Step::Io(IoRequest::Read { file: FileId::Log(segment), offset, len }) => {
                    let (from, to) = (offset as usize, offset as usize + len as usize);
                    let bytes = Bytes::copy_from_slice(&self.disk[&segment][from..to]);
                    reader.handle(IoResult::Read(bytes));
                }
                Step::Io(_) => reader.handle(IoResult::Done),
                Step::Record(Record::Entry(entry)) => {
                    let index = entry.index as usize;
                    match last {
                        Some(last) => assert_eq!(index, last + 1),
                        None => assert!(index <= self.released + 1, "{index} comes first"),
                    }
                    assert_eq!(entry.data, data(self.entries[index - 1]), "entry {index}");
                    last = Some(index);
                }
                Step::Record(Record::HardState(found)) => {
                    assert!(state <= Some(found.commit));
                    state = Some(found.commit);
                }
                Step::Record(Record::Past(_)) => {}
                Step::Record(Record::Mark(_)) => unreachable!("none was written"),
                Step::Waiting => unreachable!("every request was answered"),
                Step::Done(verdict) => return (last.unwrap_or(self.released), state, verdict),
            }
        }
    }

    fn restart(&mut self, entries: usize, state: Option<u64>, resume: Resume) {
        self.entries.truncate(entries);
        self.first_entry = entries;
        self.acked_entries = entries;
        self.first_state = state.unwrap_or(0);
        self.acked_state = self.first_state;
        self.appended.clear();
        self.states.clear();
        let end =
            resume.next.map_or(Position::START, |at| Geometry::of(SEGMENT as u64).position(at));
        self.batches.retain(|start, _| *start < end);
        self.writer = Writer::resume(config(), resume);
        self.writer.release(self.released as u64);
    }

    /// The highest promise in a header that is on disk as it was written.
    fn promised(&self) -> Position {
        let on_disk = self.batches.values().filter(|batch| self.header_at(batch.start).is_some());
        on_disk.map(|batch| batch.promise).max().unwrap_or(Position::START)
    }

    fn header_at(&self, at: Position) -> Option<Header> {
        let (segment, offset) = (at.0 / SEGMENT as u64, (at.0 % SEGMENT as u64) as usize);
        let bytes = self.disk.get(&segment)?;
        let (header, _) = Header::take(&bytes[offset..offset + BLOCK]).ok()?;
        let place = Geometry::of(SEGMENT as u64).position(header.place);
        (place == at).then_some(header)
    }
}

fn entries_in(payload: &mut Bytes, records: u16) -> usize {
    // The kind byte and the length are enough to walk the records.
    let mut entries = 0;
    for _ in 0..records {
        let len = u32::from_le_bytes(payload[4..8].try_into().unwrap()) as usize;
        let entry = payload[0] == 1;
        entries += usize::from(entry);
        *payload = payload.slice(8 + len + if entry { 16 } else { 0 }..);
    }
    entries
}

#[test]
fn nothing_acknowledged_is_lost_in_any_crash() {
    let (mut torn, mut crashes, mut entries) = (0, 0, 0);
    for seed in 0..1500 {
        let mut world = World::new(seed);
        for _ in 0..3 {
            let steps = world.prng.below(400);
            world.run(steps);
            world.crash();
            let (last, state, verdict) = world.recover();
            let Verdict::End { resume, tail } = verdict else { panic!("seed {seed}: {verdict:?}") };
            assert!(world.acked_entries <= last, "seed {seed}: {last} of {}", world.acked_entries);
            assert!(Some(world.acked_state).filter(|acked| *acked > 0) <= state, "seed {seed}");
            torn += u64::from(tail == Tail::Torn);
            crashes += 1;
            entries += world.acked_entries;
            world.restart(last, state, resume);
        }
    }
    println!("{crashes} crashes, {torn} torn tails, {entries} acknowledged entries read back");
    assert!(torn > crashes / 20);
}

#[test]
fn a_flipped_bit_in_promised_data_is_rot_and_never_a_shorter_log() {
    let (mut rots, mut unpromised) = (0, 0);
    for seed in 10_000..12_500 {
        let mut world = World::new(seed);
        let steps = 50 + world.prng.below(500);
        world.run(steps);
        world.crash();
        let durable = world.writer.durable().position;
        let first = world.disk.keys().next().map_or(0, |first| first * SEGMENT as u64);
        let acked: Vec<Batch> = world
            .batches
            .values()
            .filter(|batch| batch.end <= durable && Position(first) <= batch.start)
            .cloned()
            .collect();
        if acked.is_empty() {
            continue;
        }
        let batch = world.prng.pick(&acked).clone();
        let bit = world.prng.below(batch.used as u64 * 8) as usize;
        let at = (batch.start.0 % SEGMENT as u64) as usize + bit / 8;
        world.disk.get_mut(&(batch.start.0 / SEGMENT as u64)).unwrap()[at] ^= 1 << (bit % 8);
        let promised = world.promised();
        let (last, _, verdict) = world.recover();
        match verdict {
            Verdict::Rot { segment, offset, why } => {
                rots += 1;
                let at = Position(segment * SEGMENT as u64 + offset);
                assert!(at <= batch.start, "seed {seed}");
                assert!(
                    matches!(why, Why::Lost { .. } | Why::Newer { .. }),
                    "seed {seed}: {why:?}"
                );
            }
            Verdict::End { .. } => {
                unpromised += 1;
                assert!(promised < batch.end, "seed {seed}: {batch:?} was promised");
                let behind = acked.iter().filter(|other| batch.start <= other.start).count();
                assert!(behind <= config().flushes_max, "seed {seed}: {behind} batches went");
                let before = acked.iter().rfind(|other| other.end <= batch.start);
                let kept = before.map_or(0, |batch| batch.entries);
                assert!(kept <= last.max(kept), "seed {seed}");
                assert!(before.is_none() || kept == last, "seed {seed}: {kept} {last}");
            }
            Verdict::Unreadable { .. } => unreachable!("the disk reads everything"),
        }
    }
    println!("{rots} rots found, {unpromised} flips in batches that nothing promised yet");
    assert!(rots > 1500);
}

#[test]
fn after_a_seal_every_flip_in_every_acknowledged_batch_is_rot() {
    for seed in 20_000..20_300 {
        let mut world = World::new(seed);
        world.run(150);
        while !world.in_flight.is_empty() || !world.writer.is_idle() {
            world.upkeep();
            world.complete();
            world.flush();
        }
        world.acknowledge();
        world.writer.seal();
        while !world.writer.is_idle() {
            world.upkeep();
            world.flush();
            world.complete();
        }
        if world.acked_entries == world.released {
            continue;
        }
        let seal = world.batches.last_key_value().map(|(start, _)| *start).unwrap();
        let first = world.disk.keys().next().unwrap() * SEGMENT as u64;
        let batches: Vec<Batch> = world.batches.values().cloned().collect();
        for batch in batches.iter().filter(|b| b.start < seal && Position(first) <= b.start) {
            let bit = world.prng.below(batch.used as u64 * 8) as usize;
            let (segment, offset) =
                (batch.start.0 / SEGMENT as u64, batch.start.0 % SEGMENT as u64);
            let at = offset as usize + bit / 8;
            world.disk.get_mut(&segment).unwrap()[at] ^= 1 << (bit % 8);
            let (_, _, verdict) = world.recover();
            assert!(matches!(verdict, Verdict::Rot { .. }), "seed {seed}: {batch:?} {verdict:?}");
            world.disk.get_mut(&segment).unwrap()[at] ^= 1 << (bit % 8);
        }
    }
}
