//! A slice on the fake disk beside its dumb twin: the list of all changes.

use std::collections::{BTreeMap, BTreeSet};

use base::{Change, ChangeKind, Prng, Rev, SliceId, Version};
use bytes::Bytes;
use history::{Previous, Record};

use super::disk::Disk;
use crate::*;

pub(crate) const SLICE: SliceId = SliceId(2);

pub(crate) const TINY: Options = Options {
    tree: tree::Options { cache_bytes: 96 << 10 },
    history: HistoryMode::Kept(history::Options {
        block_bytes: 700,
        segment_bytes: 40 << 10,
        flush_bytes: 8 << 10,
        cache_bytes: 6000,
    }),
    turn_entries: 9,
    turn_bytes: 3000,
    prefetch_changes: 4,
    writes_max: 3,
};

/// What the log would replay.
pub(crate) enum Logged {
    Batch(Vec<Change>, i64),
    Compact(i64),
}

pub(crate) struct World {
    pub dice: Prng,
    pub disk: Disk,
    pub slice: Slice,
    pub options: Options,
    /// Every change ever, with what it replaced.
    pub twin: Vec<Record>,
    pub live: BTreeMap<Bytes, Previous>,
    pub log: Vec<Logged>,
    pub main: i64,
    pub compact: i64,
    reads: BTreeMap<ReadId, ReadRequest>,
    read_next: u64,
    generation: u64,
    /// Log position of the freeze under way.
    frozen: Option<usize>,
    /// Durable roots that the slice was not told about yet.
    announced: Option<(u64, SliceRoot)>,
    pub committed: Option<(SliceRoot, usize)>,
    pub keys: u64,
    /// Values are so many times longer than usual.
    pub value_scale: u64,
    pub answers: u64,
    pub compacted_answers: u64,
    pub checkpoints: u64,
    pub broken: Option<Failure>,
    has_no_space: bool,
    pub purged: BTreeSet<i64>,
    /// Pins that are held, and from where on they keep the past.
    pub pins: BTreeMap<PinId, i64>,
    pub pinned_answers: u64,
}

impl World {
    pub fn new(seed: u64, options: Options) -> World {
        println!("seed {seed}");
        World {
            dice: Prng::from_seed(seed),
            disk: Disk::default(),
            slice: Slice::create(SLICE, options),
            options,
            twin: Vec::new(),
            live: BTreeMap::new(),
            log: Vec::new(),
            main: 1,
            compact: 0,
            reads: BTreeMap::new(),
            read_next: 0,
            generation: 0,
            frozen: None,
            announced: None,
            committed: None,
            keys: 250,
            value_scale: 1,
            answers: 0,
            compacted_answers: 0,
            checkpoints: 0,
            broken: None,
            has_no_space: false,
            purged: BTreeSet::new(),
            pins: BTreeMap::new(),
            pinned_answers: 0,
        }
    }

    fn key(&mut self) -> Bytes {
        let number = self.dice.below(self.keys);
        let tail = "x".repeat((number % 7 * 9) as usize);
        Bytes::from(format!("key-{number:04}{tail}"))
    }

    fn value(&mut self) -> Bytes {
        let len = match self.dice.below(20) {
            0 => 4000 + self.dice.below(3000),
            1 => self.dice.below(20_000),
            2..5 => self.dice.below(1500),
            _ => self.dice.below(120),
        };
        let mut value = vec![0; (len * self.value_scale) as usize];
        self.dice.fill(&mut value);
        Bytes::from(value)
    }

    fn change(&mut self, rev: Rev) -> Change {
        let key = self.key();
        let prev = self.live.get(&key).map(|prev| prev.version);
        let kind = if prev.is_some() && self.dice.chance(350) {
            ChangeKind::Delete
        } else {
            let version = prev.map_or(1, |prev| prev.version + 1);
            let create = prev.map_or(rev.main, |prev| prev.create);
            let lease = self.dice.below(3) as i64;
            ChangeKind::Put { value: self.value(), create, version, lease }
        };
        self.record(rev, key, kind)
    }

    fn record(&mut self, rev: Rev, key: Bytes, kind: ChangeKind) -> Change {
        let prev = self.live.remove(&key);
        if let ChangeKind::Put { value, create, version, lease } = kind.clone() {
            let version = Version { create, modified: rev, version, lease };
            self.live.insert(key.clone(), Previous { version, value });
        }
        let replaced = prev.as_ref().map(|prev| prev.version.modified);
        let (at, what) = (key.clone(), kind.clone());
        self.twin.push(Record { rev, key: at, kind: what, prev, tombstone: None });
        Change { rev, key, kind, prev: replaced }
    }

    /// Some transactions, not all of which touch this slice.
    pub fn batch(&mut self) {
        let mut changes = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            self.main += 1;
            let mut sub = 0;
            for _ in 0..self.dice.below(4) {
                sub += self.dice.below(3) as u32;
                changes.push(self.change(Rev::new(self.main, sub)));
                sub += 1;
            }
        }
        self.slice.apply(&changes, self.main);
        self.log.push(Logged::Batch(changes, self.main));
    }

    /// One transaction that leaves every twentieth key.
    pub fn delete_most(&mut self) {
        self.main += 1;
        let keys: Vec<Bytes> = self.live.keys().cloned().collect();
        let mut changes = Vec::new();
        for (at, key) in keys.into_iter().enumerate() {
            if at % 20 != 0 {
                let rev = Rev::new(self.main, at as u32);
                changes.push(self.record(rev, key, ChangeKind::Delete));
            }
        }
        self.slice.apply(&changes, self.main);
        self.log.push(Logged::Batch(changes, self.main));
    }

    /// A transaction of other slices.
    pub fn pass(&mut self) {
        self.main += 1;
        self.slice.apply(&[], self.main);
        self.log.push(Logged::Batch(Vec::new(), self.main));
    }

    pub fn compact_to(&mut self, main: i64) {
        self.compact = main;
        self.slice.compact(main);
        self.log.push(Logged::Compact(main));
    }

    pub fn compact(&mut self) {
        let room = (self.main - self.compact) as u64;
        let back = self.dice.below(room / 2 + 1).min(self.dice.below(room + 1));
        self.compact_to(self.main - back as i64);
    }

    pub fn freeze(&mut self) {
        if self.frozen.is_none() {
            self.generation += 1;
            self.slice.freeze(self.generation);
            self.frozen = Some(self.log.len());
        }
    }

    /// Pins the past from somewhere around the compact revision on, or gives a pin back.
    fn turn_pin(&mut self) {
        if self.pins.len() < 3 && self.dice.chance(500) {
            let low = (self.compact - 3).max(0);
            let main = low + self.dice.below((self.main - low) as u64 + 1) as i64;
            self.pin(main);
        } else if let Some((pin, _)) = self.pins.pop_first() {
            self.slice.unpin(pin);
        }
    }

    /// Tries to; what was logically compacted may still be there.
    pub fn pin(&mut self, main: i64) -> Option<PinId> {
        self.read_next += 1;
        let pin = PinId(self.read_next);
        match self.slice.pin(pin, main) {
            Ok(()) => {
                self.pins.insert(pin, main);
                Some(pin)
            }
            Err(PinTooLate { compact }) => {
                assert!(main < compact, "{main} is not compacted yet: {compact}");
                None
            }
        }
    }

    fn is_kept(&self, point: Rev) -> bool {
        self.pins.values().any(|main| Rev::end_of(*main) <= point)
    }

    fn point(&mut self) -> Rev {
        let pinned = self.pins.values().min().copied().unwrap_or(i64::MAX);
        let low = (self.compact.min(pinned) - 3).max(1);
        let main = match self.dice.below(4) {
            0 => self.main,
            1 => self.slice.applied(),
            2 => self.compact,
            _ => low + self.dice.below((self.main - low) as u64 + 1) as i64,
        };
        match self.dice.below(3) {
            0 => Rev::new(main, self.dice.below(6) as u32),
            _ => Rev::end_of(main),
        }
    }

    fn range(&mut self) -> KeyRange {
        let (one, two) = (self.key(), self.key());
        match self.dice.below(8) {
            0 => KeyRange { start: one, end: RangeEnd::Unbounded },
            1 => KeyRange { start: Bytes::from_static(b"\0"), end: RangeEnd::Unbounded },
            2 | 3 => KeyRange { start: one, end: RangeEnd::Single },
            4 => KeyRange { start: one, end: RangeEnd::Before(two) },
            _ => KeyRange {
                start: one.clone().min(two.clone()),
                end: RangeEnd::Before(one.max(two)),
            },
        }
    }

    pub fn ask(&mut self) {
        let (keys, at) = (self.range(), self.point());
        let limit_bytes = 1 + self.dice.below(30_000) as usize;
        let request = match self.dice.below(10) {
            0..6 => ReadRequest::Range {
                keys,
                at,
                limit: 1 + self.dice.below(60) as usize,
                limit_bytes,
                fields: if self.dice.chance(700) { Fields::WithValues } else { Fields::KeysOnly },
            },
            6..8 => ReadRequest::Count { keys, at },
            _ => ReadRequest::History {
                from: at,
                to: (at.main + self.dice.below(60) as i64).min(self.main),
                keys: if self.dice.chance(500) { vec![keys, self.range()] } else { Vec::new() },
                limit_bytes,
                prev: if self.dice.chance(500) { Prev::Wanted } else { Prev::Unwanted },
            },
        };
        self.ask_for(request);
    }

    pub fn ask_for(&mut self, request: ReadRequest) {
        self.read_next += 1;
        let id = ReadId(self.read_next);
        self.slice.read(id, request.clone());
        self.reads.insert(id, request);
    }

    pub fn cancel(&mut self) {
        if let Some((id, _)) = self.reads.pop_first() {
            self.slice.cancel(id);
        }
    }

    /// Hands effects over.
    pub fn drain(&mut self) {
        while let Some(effect) = self.slice.poll_effect() {
            match effect {
                SliceEffect::Io { op, request } => self.disk.submit(op, request),
                SliceEffect::ReadDone { job, result } => {
                    let request = self.reads.remove(&job).expect("asked and not cancelled");
                    self.check(&request, result);
                }
                SliceEffect::Durable { generation, root } => {
                    assert_eq!(SliceRoot::decode(&root.encode()), Ok(root));
                    assert_eq!(generation, self.generation);
                    self.announced = Some((generation, root));
                }
                SliceEffect::Purged { compact } => {
                    self.purged.insert(compact);
                }
                SliceEffect::NoSpace { .. } => self.has_no_space = true,
                SliceEffect::Broken(failure) => self.broken = Some(failure),
            }
        }
    }

    pub fn disk_step(&mut self) {
        if let Some((op, result)) = self.disk.finish_one(&mut self.dice) {
            self.slice.io_done(op, result);
        } else if self.has_no_space {
            self.has_no_space = false;
            self.slice.retry();
        }
        self.drain();
    }

    /// The manifest becomes durable; the slice hears of it, unless power goes in between.
    pub fn manifest_step(&mut self) {
        let Some((generation, root)) = self.announced.take() else { return };
        let position = self.frozen.take().expect("a root follows a freeze");
        self.committed = Some((root, position));
        self.checkpoints += 1;
        if self.dice.chance(60) {
            return self.crash();
        }
        self.slice.commit(generation);
        self.drain();
    }

    pub fn crash(&mut self) {
        self.disk.crash(&mut self.dice);
        self.reads.clear();
        self.frozen = None;
        self.announced = None;
        self.has_no_space = false;
        self.purged.clear();
        self.pins.clear();
        let position = match self.committed {
            Some((root, position)) => {
                self.slice = Slice::open(SLICE, self.options, root);
                position
            }
            None => {
                self.slice = Slice::create(SLICE, self.options);
                0
            }
        };
        for logged in &self.log[position..] {
            match logged {
                Logged::Batch(changes, through) => self.slice.apply(changes, *through),
                Logged::Compact(main) => self.slice.compact(*main),
            }
        }
        self.drain();
    }

    pub fn step_slice(&mut self) -> Pace {
        let budget = StepBudget {
            changes: self.dice.below(12) as usize,
            turns: self.dice.below(6) as usize,
        };
        let pace = self.slice.step(budget);
        self.drain();
        pace
    }

    pub fn work_slice(&mut self) -> Pace {
        let budget = WorkBudget {
            write_bytes: self.dice.below(200_000) as usize,
            purge_entries: self.dice.below(12) as usize,
            relocate_pages: self.dice.below(3) as usize,
            scrub: *self.dice.pick(&[ScrubPace::Rest, ScrubPace::OnePage]),
        };
        let pace = self.slice.work(budget);
        self.drain();
        pace
    }

    pub fn random_step(&mut self) {
        match self.dice.below(1000) {
            0..60 => self.batch(),
            60..160 => self.ask(),
            160..163 => self.cancel(),
            163..168 => self.compact(),
            168..171 => self.turn_pin(),
            171..185 => self.freeze(),
            185..187 => self.crash(),
            187..220 => self.manifest_step(),
            220..440 => drop(self.step_slice()),
            440..540 => drop(self.work_slice()),
            _ => self.disk_step(),
        }
    }

    /// Lets everything settle: all applied, answered, written, purged.
    pub fn settle(&mut self) {
        for _ in 0..200_000 {
            let step = self.slice.step(StepBudget { changes: 50, turns: 50 });
            let work = WorkBudget {
                write_bytes: 1 << 20,
                purge_entries: 50,
                relocate_pages: 0,
                scrub: ScrubPace::Rest,
            };
            let work = self.slice.work(work);
            self.drain();
            let is_idle = (step, work) == (Pace::Idle, Pace::Idle);
            if self.broken.is_some()
                || (is_idle
                    && self.disk.is_idle()
                    && self.announced.is_none()
                    && !self.has_no_space
                    && self.reads.is_empty())
            {
                assert!(self.broken.is_some() || self.slice.stats().writes == 0);
                return;
            }
            self.disk_step();
            if let Some((generation, root)) = self.announced.take() {
                self.committed = Some((root, self.frozen.take().expect("it was frozen")));
                self.slice.commit(generation);
                self.drain();
            }
        }
        panic!("never settles: {:?}", self.slice.stats());
    }

    /// The live keys of a range at a point, the slow way.
    fn state_at(&self, keys: &KeyRange, at: Rev) -> BTreeMap<Bytes, Previous> {
        let mut state = BTreeMap::new();
        let seen = self.twin.iter().take_while(|record| record.rev <= at);
        for record in seen.filter(|record| keys.contains(&record.key)) {
            match &record.kind {
                ChangeKind::Put { value, create, version, lease } => {
                    let version = Version {
                        create: *create,
                        modified: record.rev,
                        version: *version,
                        lease: *lease,
                    };
                    let value = value.clone();
                    state.insert(record.key.clone(), Previous { version, value });
                }
                ChangeKind::Delete => drop(state.remove(&record.key)),
            }
        }
        state
    }

    fn check(&mut self, request: &ReadRequest, result: ReadResult) {
        self.answers += 1;
        let floor = match request {
            ReadRequest::Range { at, .. } | ReadRequest::Count { at, .. } => *at,
            ReadRequest::History { from, .. } => Rev::end_of(from.main),
        };
        let compact = self.slice.stats().compact;
        if let ReadResult::Compacted { compact: told } = result {
            self.compacted_answers += 1;
            assert_eq!(told, compact);
            assert!(floor < Rev::end_of(compact), "{request:?} at {compact}");
            assert!(!self.is_kept(floor), "{request:?} at {compact}, pins {:?}", self.pins);
            return;
        }
        // History goes on being read below the mark until its records are dropped.
        let follows = matches!(request, ReadRequest::History { .. });
        if !follows && floor.main < compact {
            let is_pinned = self.pins.values().any(|main| *main <= floor.main);
            assert!(is_pinned, "{request:?} at {compact}, pins {:?}", self.pins);
            self.pinned_answers += 1;
        }
        match (request, result) {
            (
                ReadRequest::Range { keys, at, limit, limit_bytes, fields },
                ReadResult::Range { items, resume },
            ) => {
                let state = self.state_at(keys, *at);
                let mut bytes = 0;
                for (item, (key, known)) in items.iter().zip(&state) {
                    assert!(bytes < *limit_bytes);
                    assert_eq!((&item.key, item.version), (key, known.version));
                    match fields {
                        Fields::WithValues => assert_eq!(item.value, known.value),
                        Fields::KeysOnly => assert!(item.value.is_empty()),
                    }
                    assert_eq!(item.value_bytes, known.value.len());
                    bytes += item.key.len() + item.value.len();
                }
                assert!(items.len() <= *limit);
                match resume {
                    None => assert_eq!(items.len(), state.len()),
                    Some(next) => {
                        assert!(items.len() == *limit || *limit_bytes <= bytes);
                        assert!(items.len() <= state.len());
                        let last = items.last().expect("it went on from something");
                        assert_eq!(next, [&last.key[..], b"\0"].concat());
                    }
                }
            }
            (ReadRequest::Count { keys, at }, ReadResult::Count(count)) => {
                assert_eq!(count, self.state_at(keys, *at).len() as u64);
            }
            (
                ReadRequest::History { from, to, keys, limit_bytes, prev },
                ReadResult::History { records, resume },
            ) => {
                let until = resume.unwrap_or(Rev::new(to + 1, 0));
                let wanted = |record: &&Record| {
                    *from <= record.rev
                        && record.rev < until
                        && (keys.is_empty() || keys.iter().any(|keys| keys.contains(&record.key)))
                };
                let expected: Vec<Record> = self
                    .twin
                    .iter()
                    .filter(wanted)
                    .map(|record| match prev {
                        Prev::Wanted => record.clone(),
                        Prev::Unwanted => Record { prev: None, ..record.clone() },
                    })
                    .collect();
                assert_eq!(records, expected);
                let bytes: usize = records.iter().map(Record::payload_bytes).sum();
                assert!(resume.is_none() || *limit_bytes <= bytes);
            }
            (request, result) => panic!("{request:?} answered {result:?}"),
        }
    }
}
