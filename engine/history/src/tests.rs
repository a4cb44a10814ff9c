//! History against a dumb twin (a `Vec` of records) on a disk that finishes in any order, loses
//! what was not synced, and flips bits.

use std::collections::BTreeMap;

use base::{ChangeKind, FileId, IoRequest, Prng, Rev, SliceId, Version};
use bytes::Bytes;

use crate::*;

const SLICE: SliceId = SliceId(3);
const TINY: Options =
    Options { block_bytes: 300, segment_bytes: 20 << 10, flush_bytes: 8 << 10, cache_bytes: 2000 };

/// Files with what is durable, and writes that are not yet.
#[derive(Default)]
struct Disk {
    files: BTreeMap<FileId, Vec<u8>>,
    unsynced: Vec<(FileId, u64, Bytes)>,
}

impl Disk {
    fn put(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
        // Directory areas lie far apart; the fake folds the second one close to the first.
        let at = fold(offset);
        if file.len() < at + bytes.len() {
            file.resize(at + bytes.len(), 0);
        }
        file[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn read(&self, request: &IoRequest) -> Bytes {
        let &IoRequest::Read { file, offset, len } = request else { panic!("{request:?}") };
        let mut whole = self.files.get(&file).cloned().unwrap_or_default();
        for (to, at, bytes) in &self.unsynced {
            if *to == file {
                Disk::put(&mut whole, *at, bytes);
            }
        }
        let mut bytes = whole.split_off(fold(offset).min(whole.len()));
        bytes.resize(len as usize, 0);
        Bytes::from(bytes)
    }

    fn write(&mut self, write: &Write) {
        self.unsynced.push((write.file, write.offset, write.bytes.clone()));
    }

    fn sync(&mut self, file: FileId) {
        for (to, at, bytes) in std::mem::take(&mut self.unsynced) {
            if to == file {
                Disk::put(self.files.entry(to).or_default(), at, &bytes);
            } else {
                self.unsynced.push((to, at, bytes));
            }
        }
    }

    fn remove(&mut self, file: FileId) {
        self.files.remove(&file);
        self.unsynced.retain(|(to, _, _)| *to != file);
    }

    fn crash(&mut self, dice: &mut Prng) {
        for (to, at, mut bytes) in std::mem::take(&mut self.unsynced) {
            if dice.chance(500) {
                bytes.truncate(512 * dice.below(bytes.len() as u64 / 512 + 1) as usize);
                Disk::put(self.files.entry(to).or_default(), at, &bytes);
            }
        }
    }
}

fn fold(offset: u64) -> usize {
    let half = base::limits::HISTORY_DIRECTORY_BYTES_MAX;
    (if offset < half { offset } else { offset - half + (1 << 20) }) as usize
}

struct World {
    dice: Prng,
    disk: Disk,
    history: History,
    writes: Vec<Write>,
    syncs: Vec<(FileId, Ticket)>,
    twin: Vec<Record>,
    live: BTreeMap<Bytes, Previous>,
    /// Tombstones that purging must still hand out.
    purge_due: Vec<(Bytes, Rev)>,
    compact: i64,
    generation: u64,
    frozen: Option<usize>,
    committed: Option<(HistoryRoot, usize)>,
    main: i64,
    largest: u64,
}

impl World {
    fn new(seed: u64, options: Options) -> World {
        World {
            dice: Prng::from_seed(seed),
            disk: Disk::default(),
            history: History::create(SLICE, options),
            writes: Vec::new(),
            syncs: Vec::new(),
            twin: Vec::new(),
            live: BTreeMap::new(),
            purge_due: Vec::new(),
            compact: 0,
            generation: 0,
            frozen: None,
            committed: None,
            main: 1,
            largest: 200,
        }
    }

    fn change(&mut self) {
        self.main += self.dice.below(3) as i64;
        let floor = self.twin.last().map_or(Rev::ZERO, |record| record.rev);
        let sub = if floor.main == self.main { floor.sub + 1 } else { 0 };
        let rev = Rev::new(self.main.max(floor.main), sub);
        let key = Bytes::from(format!("k{}", self.dice.below(40)));
        let prev = self.live.remove(&key);
        let kind = if prev.is_some() && self.dice.chance(300) {
            ChangeKind::Delete
        } else {
            let len = self.dice.below(self.largest) as usize;
            let value = Bytes::from(vec![self.dice.next_u64() as u8; len]);
            let version = prev.as_ref().map_or(1, |prev| prev.version.version + 1);
            let create = prev.as_ref().map_or(rev.main, |prev| prev.version.create);
            let version = Version { create, modified: rev, version, lease: 0 };
            self.live.insert(key.clone(), Previous { version, value: value.clone() });
            ChangeKind::Put { value, create, version: version.version, lease: 0 }
        };
        let has_tombstone = prev.is_none() && self.dice.chance(500);
        let tombstone = has_tombstone.then(|| rev.before());
        let record = Record { rev, key, kind, prev, tombstone };
        self.history.append(&record);
        self.twin.push(record);
    }

    fn supply(&mut self, miss: &Miss) {
        let bytes = self.disk.read(&miss.request());
        self.history.supply(miss, bytes).expect("the disk is honest");
    }

    fn find(&mut self, rev: Rev) -> Option<Record> {
        for _ in 0..10 {
            match self.history.find(rev) {
                Ok(found) => return found,
                Err(miss) => self.supply(&miss),
            }
        }
        panic!("a search needs two pages at most");
    }

    fn check_find(&mut self) {
        let low = self.compact.max(1);
        let main = low + self.dice.below((self.main - low).max(0) as u64 + 2) as i64;
        let rev = match self.twin.binary_search_by_key(&Rev::new(main, 0), |record| record.rev) {
            Ok(at) => self.twin[at].rev,
            Err(at) if at < self.twin.len() && self.dice.chance(800) => self.twin[at].rev,
            Err(_) => Rev::new(main, self.dice.below(3) as u32),
        };
        let expected = self.twin.iter().find(|record| record.rev == rev).cloned();
        assert_eq!(self.find(rev), expected);
    }

    fn check_scan(&mut self) {
        let low = self.compact.max(1);
        let main = low + self.dice.below((self.main - low).max(0) as u64 + 2) as i64;
        let from = Rev::new(main, self.dice.below(2) as u32);
        let start = self.twin.partition_point(|record| record.rev < from);
        let limit = self.dice.below(3000) as usize;
        let (mut seen, mut at, mut rounds) = (Vec::new(), from, 0);
        loop {
            let mut stop_in = if rounds % 2 == 0 { 7 } else { usize::MAX };
            let end = self.history.scan(at, limit, |record| {
                seen.push(record);
                stop_in -= 1;
                if stop_in == 0 { Visit::Stop } else { Visit::Continue }
            });
            rounds += 1;
            match end {
                Scanned::End => break,
                Scanned::Paused { resume } => at = resume,
                Scanned::Missed { resume, miss } => {
                    self.supply(&miss);
                    at = resume;
                }
            }
        }
        assert_eq!(seen, self.twin[start..]);
    }

    fn compact(&mut self) {
        let room = (self.main - self.compact) as u64;
        let main = self.compact + self.dice.below(room / 2 + 1) as i64;
        let due = |record: &&Record| {
            record.is_tombstone() && self.compact < record.rev.main && record.rev.main <= main
        };
        let due = self.twin.iter().filter(due).map(|record| (record.key.clone(), record.rev));
        self.purge_due.extend(due);
        self.history.compact(main);
        self.compact = main;
    }

    fn purge(&mut self) {
        let max = 1 + self.dice.below(20) as usize;
        match self.history.poll_purge(max) {
            Err(miss) => self.supply(&miss),
            Ok(None) => assert!(self.purge_due.is_empty()),
            Ok(Some(batch)) => {
                let count = batch.tombstones.len();
                assert!(count <= max);
                let got: Vec<_> = batch.tombstones.iter().map(|t| (t.key.clone(), t.rev)).collect();
                assert_eq!(got, self.purge_due[..count]);
                self.purge_due.drain(..count);
                assert!(self.purge_due.first().is_none_or(|(_, rev)| batch.through < *rev));
                self.history.purged(batch.through);
            }
        }
    }

    fn disk_step(&mut self) {
        if let Some(write) = self.history.poll_write() {
            self.writes.push(write);
        }
        self.syncs.extend(self.history.poll_sync());
        if !self.writes.is_empty() && self.dice.chance(600) {
            let at = self.dice.below(self.writes.len() as u64) as usize;
            let write = self.writes.swap_remove(at);
            self.disk.write(&write);
            self.history.wrote(write.ticket);
        }
        if !self.syncs.is_empty() && self.dice.chance(600) {
            let at = self.dice.below(self.syncs.len() as u64) as usize;
            let (file, ticket) = self.syncs.swap_remove(at);
            self.disk.sync(file);
            self.history.synced(ticket);
        }
        if let Some(file) = self.history.poll_remove() {
            self.disk.remove(file);
            self.history.removed(file);
        }
        if let (Some(root), Some(len)) = (self.history.frozen_root(), self.frozen) {
            if self.dice.chance(300) {
                self.history.commit(self.generation);
                let bytes = root.encode();
                self.committed = Some((HistoryRoot::decode(&bytes).expect("own root"), len));
                self.frozen = None;
            }
        } else if self.frozen.is_none() && self.dice.chance(50) {
            self.generation += 1;
            self.history.freeze(self.generation);
            self.frozen = Some(self.twin.len());
        }
    }

    /// Power loss: what the committed root names is there, the rest is appended anew.
    fn crash(&mut self) {
        for write in std::mem::take(&mut self.writes) {
            self.disk.write(&write);
        }
        self.disk.crash(&mut self.dice);
        self.syncs.clear();
        self.frozen = None;
        let options = self.history.options;
        let len = match self.committed {
            Some((root, len)) => {
                let opening = Opening::new(SLICE, options, root);
                let bytes = self.disk.read(&opening.request());
                self.history = opening.supply(&bytes).expect("the disk is honest");
                len
            }
            None => {
                self.history = History::create(SLICE, options);
                0
            }
        };
        for record in &self.twin[len..] {
            self.history.append(record);
        }
        self.history.compact(self.compact);
        let purged = self.history.purged;
        let compact = self.compact;
        let due = |record: &&Record| {
            record.is_tombstone() && purged < record.rev && record.rev.main <= compact
        };
        let due = self.twin.iter().filter(due).map(|record| (record.key.clone(), record.rev));
        self.purge_due = due.collect();
    }

    fn step(&mut self) {
        match self.dice.below(1000) {
            0..400 => self.change(),
            400..600 => self.check_find(),
            600..640 => self.check_scan(),
            640..645 => self.compact(),
            645..700 => self.purge(),
            700..703 => self.crash(),
            _ => self.disk_step(),
        }
    }
}

#[test]
fn history_agrees_with_a_list_of_records_through_crashes_and_compaction() {
    for seed in 0..12 {
        println!("seed {seed}");
        let mut world = World::new(seed, TINY);
        for _ in 0..4000 {
            world.step();
        }
        world.check_scan();
    }
}

#[test]
fn large_values_make_large_blocks_and_nothing_else_changes() {
    for seed in 100..104 {
        println!("seed {seed}");
        let mut world = World::new(seed, TINY);
        world.largest = 40_000;
        for _ in 0..600 {
            world.step();
        }
    }
}

/// Settles all that a freeze needs and commits it.
fn checkpoint(world: &mut World) {
    world.generation += 1;
    world.history.freeze(world.generation);
    while let Some(write) = world.history.poll_write() {
        world.disk.write(&write);
        world.history.wrote(write.ticket);
    }
    while let Some((file, ticket)) = world.history.poll_sync() {
        world.disk.sync(file);
        world.history.synced(ticket);
    }
    let root = world.history.frozen_root().expect("all is durable");
    world.history.commit(world.generation);
    while let Some(file) = world.history.poll_remove() {
        world.disk.remove(file);
        world.history.removed(file);
    }
    world.committed = Some((root, world.twin.len()));
}

#[test]
fn compaction_at_the_head_leaves_no_segment_behind() {
    let mut world = World::new(5, TINY);
    for _ in 0..3000 {
        world.change();
    }
    checkpoint(&mut world);
    let before = world.history.stats();
    assert!(20 < before.segments);
    world.main += 2;
    world.history.compact(world.main);
    world.compact = world.main;
    let mut guard = 0;
    loop {
        match world.history.poll_purge(100) {
            Ok(None) => break,
            Ok(Some(batch)) => world.history.purged(batch.through),
            Err(miss) => world.supply(&miss),
        }
        guard += 1;
        assert!(guard < 10_000);
    }
    checkpoint(&mut world);
    let after = world.history.stats();
    assert_eq!((after.segments, after.file_bytes), (1, 0));
    let records = |file: &FileId| !matches!(file, FileId::History { segment: 0, .. });
    assert_eq!(world.disk.files.keys().filter(|file| records(file)).count(), 0);
    world.change();
    world.crash();
    world.check_scan();
}

#[test]
fn nothing_is_written_when_nothing_changed() {
    let mut world = World::new(6, TINY);
    world.change();
    checkpoint(&mut world);
    world.generation += 1;
    world.history.freeze(world.generation);
    assert_eq!(world.history.poll_write(), None);
    assert_eq!(world.history.poll_sync(), None);
    assert_eq!(world.history.frozen_root(), world.committed.map(|(root, _)| root));
}

#[test]
fn any_flipped_bit_in_any_file_is_rot_and_never_an_answer() {
    let mut world = World::new(7, TINY);
    for _ in 0..600 {
        world.change();
    }
    checkpoint(&mut world);
    let (root, _) = world.committed.expect("just committed");
    let files: Vec<FileId> = world.disk.files.keys().copied().collect();
    let (mut flips, mut seen) = (0, 0);
    for _ in 0..400 {
        let file = *world.dice.pick(&files);
        let len = world.disk.files[&file].len() as u64;
        let (at, bit) = (world.dice.below(len) as usize, 1 << world.dice.below(8));
        world.disk.files.get_mut(&file).expect("listed")[at] ^= bit;
        let found = read_everything(&world.disk, root);
        match found {
            Ok(records) => assert_eq!(records, world.twin),
            Err(_) => seen += 1,
        }
        flips += 1;
        world.disk.files.get_mut(&file).expect("listed")[at] ^= bit;
    }
    assert_eq!(flips, 400);
    // Everything but nothing lies outside a frame: only the scan's answer may survive a flip, in
    // an index that the scan does not need. None exists, so each flip is seen.
    assert_eq!(seen, flips);
    assert_eq!(read_everything(&world.disk, root).as_ref(), Ok(&world.twin));
}

/// Opens the root, scrubs every page and reads every record.
fn read_everything(disk: &Disk, root: HistoryRoot) -> Result<Vec<Record>, Rot> {
    let opening = Opening::new(SLICE, TINY, root);
    let mut history = opening.supply(&disk.read(&opening.request()))?;
    let mut at = Scrub::default();
    loop {
        match history.scrub(at) {
            Ok(None) => break,
            Ok(Some((miss, next))) => {
                history.check(&miss, disk.read(&miss.request()))?;
                at = next;
            }
            Err(miss) => history.supply(&miss, disk.read(&miss.request()))?,
        }
    }
    let (mut records, mut from) = (Vec::new(), Rev::ZERO);
    loop {
        let end = history.scan(from, usize::MAX, |record| {
            records.push(record);
            Visit::Continue
        });
        match end {
            Scanned::End => return Ok(records),
            Scanned::Paused { resume } => from = resume,
            Scanned::Missed { resume, miss } => {
                history.supply(&miss, disk.read(&miss.request()))?;
                from = resume;
            }
        }
    }
}

#[test]
fn the_scrub_visits_every_page_once() {
    let mut world = World::new(8, TINY);
    for _ in 0..900 {
        world.change();
    }
    checkpoint(&mut world);
    let (mut at, mut bytes, mut guard) = (Scrub::default(), 0, 0);
    loop {
        match world.history.scrub(at) {
            Ok(None) => break,
            Ok(Some((miss, next))) => {
                let IoRequest::Read { len, .. } = miss.request() else { panic!() };
                bytes += u64::from(len);
                assert!(at < next);
                at = next;
            }
            Err(miss) => world.supply(&miss),
        }
        guard += 1;
        assert!(guard < 10_000);
    }
    assert_eq!(bytes, world.history.stats().file_bytes);
}

#[test]
fn memory_stays_within_the_budget_while_the_log_grows() {
    let mut world = World::new(9, Options { cache_bytes: 64 << 10, ..TINY });
    for _ in 0..20_000 {
        world.change();
        while let Some(write) = world.history.poll_write() {
            world.history.wrote(write.ticket);
        }
        let stats = world.history.stats();
        assert!(stats.unwritten_bytes < 3 * TINY.flush_bytes + (16 << 10));
        assert!(stats.cache_bytes <= 64 << 10);
    }
}

/// What a small history writes, as text: each 4 KiB up to its last byte that is not 0.
fn written() -> String {
    let options = Options { segment_bytes: 8192, flush_bytes: 0, ..TINY };
    let mut history = History::create(SLICE, options);
    let put = |text: &'static [u8], create, version| ChangeKind::Put {
        value: Bytes::from_static(text),
        create,
        version,
        lease: 0x77,
    };
    let version = Version { create: 2, modified: Rev::new(2, 0), version: 1, lease: 0x77 };
    let prev = Previous { version, value: Bytes::from_static(b"one") };
    let changes = [
        (Rev::new(2, 0), put(b"one", 2, 1), None, None),
        (Rev::new(3, 1), put(b"two", 2, 2), Some(prev.clone()), None),
        (Rev::new(4, 0), ChangeKind::Delete, Some(prev), None),
        (Rev::new(5, 2), put(b"three", 5, 1), None, Some(Rev::new(4, 0))),
    ];
    let mut text = String::new();
    for (at, (rev, kind, prev, tombstone)) in changes.into_iter().enumerate() {
        let key = Bytes::from_static(b"key");
        history.append(&Record { rev, key, kind, prev, tombstone });
        // Two blocks fill the first segment.
        match at {
            0 | 1 => history.cut(),
            _ => {}
        }
    }
    history.compact(3);
    history.freeze(1);
    while let Some(write) = history.poll_write() {
        let FileId::History { segment, .. } = write.file else { panic!("{:?}", write.file) };
        for (at, block) in write.bytes.chunks(4096).enumerate() {
            let end = block.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            text += &format!("segment {segment} offset {}\n", write.offset + 4096 * at as u64);
            block[..end].chunks(32).for_each(|line| text += &(hex(line) + "\n"));
        }
        history.wrote(write.ticket);
    }
    while let Some((_, ticket)) = history.poll_sync() {
        history.synced(ticket);
    }
    let root = history.frozen_root().expect("all is durable").encode();
    text += "root\n";
    root.chunks(32).for_each(|line| text += &(hex(line) + "\n"));
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_format_is_what_it_was() {
    let written = written();
    assert!(written == include_str!("golden.txt"), "now it is:\n{written}");
}
