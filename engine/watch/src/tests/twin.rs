//! The hub against a list: every watch's replies are compared with the events of its keys, picked
//! one by one from everything that ever happened, while streams block, reads dawdle and answer in
//! parts, compaction runs and watches come and go.

use base::Prng;
use wire::mvccpb;

use super::*;

/// What a client believes of one watch.
struct Client {
    request: WatchCreateRequest,
    /// Revisions below this are not its concern.
    first: i64,
    /// Events received.
    got: usize,
    /// Last revision received, and whether more of it may come.
    last: i64,
    torn: bool,
}

struct Twin {
    world: World,
    dice: Prng,
    clients: BTreeMap<(StreamId, i64), Client>,
    /// Creations that were not answered yet, in order. Replies come at once, so at most one.
    asked: Option<(StreamId, WatchCreateRequest, i64)>,
    unpublished: Vec<Change>,
    /// Counts what happened, so that a run that tests nothing fails.
    events: usize,
    compacted: usize,
    progressed: usize,
}

const KEYS: [&str; 8] = ["a", "aa", "ab", "b", "ba", "c", "ca", "d"];

impl Client {
    fn wants(&self, record: &Record) -> bool {
        let span = crate::Span::of(&self.request.key, &self.request.range_end).unwrap();
        let filter = i32::from(matches!(record.kind, ChangeKind::Delete));
        self.first <= record.rev.main
            && span.contains(&record.key)
            && !self.request.filters.contains(&filter)
    }
}

impl Twin {
    fn new(seed: u64) -> Twin {
        let mut dice = Prng::from_seed(seed);
        let limits = Options {
            reply_bytes_max: *dice.pick(&[60, 120, 1 << 20]),
            stream_bytes_max: *dice.pick(&[1, 200, 1 << 20]),
            copy_bytes_max: *dice.pick(&[1, 500, 1 << 20]),
            jobs_max: 1 + dice.below(3) as usize,
            job_watchers_max: *dice.pick(&[1, 3, 64]),
            ..options()
        };
        let mut world = World::new(limits);
        world.hub.pairs_max = *dice.pick(&[1, 3, 1 << 17]);
        Twin {
            world,
            dice,
            clients: BTreeMap::new(),
            asked: None,
            unpublished: Vec::new(),
            events: 0,
            compacted: 0,
            progressed: 0,
        }
    }

    fn stream(&mut self) -> StreamId {
        StreamId(self.dice.below(4))
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..30 => self.write(),
            30..50 => self.publish(),
            50..60 => self.create(),
            60..64 => self.cancel(),
            64..80 => self.answer_a_read(),
            80..86 => {
                let stream = self.stream();
                self.world.hub.stream_blocked(stream);
            }
            86..94 => {
                let stream = self.stream();
                self.world.hub.stream_writable(stream);
            }
            94..96 => self.compact(),
            96..99 => {
                let stream = self.stream();
                self.world.hub.progress(stream, self.world.revision);
            }
            _ => self.close(),
        }
        self.world.drain();
        self.read_replies();
    }

    fn write(&mut self) {
        let mut keys: Vec<_> = KEYS.to_vec();
        let mut ops = Vec::new();
        let value = "v".repeat(self.dice.below(40) as usize);
        for _ in 0..1 + self.dice.below(3) {
            let key = keys.remove(self.dice.below(keys.len() as u64) as usize);
            let put = self.dice.chance(650);
            ops.push(if put { Op::Put(key, &value) } else { Op::Delete(key) });
        }
        let changes = self.world.apply(&ops);
        self.unpublished.extend(changes);
    }

    fn publish(&mut self) {
        let changes = std::mem::take(&mut self.unpublished);
        self.world.hub.publish(&changes, self.world.revision);
    }

    fn create(&mut self) {
        let stream = self.stream();
        let (key, end) = (*self.dice.pick(&KEYS), *self.dice.pick(&["", "\0", "b", "cb", "z"]));
        let mut request = watch(key, end);
        let revision = self.world.revision;
        request.start_revision = match self.dice.below(4) {
            0 => 0,
            1 => revision + self.dice.below(5) as i64,
            _ => 1 + self.dice.below(revision as u64) as i64,
        };
        request.prev_kv = self.dice.chance(400);
        request.fragment = self.dice.chance(300);
        request.filters = [0, 1].into_iter().filter(|_| self.dice.chance(150)).collect();
        let first = match request.start_revision {
            0 => revision + 1,
            start => start,
        };
        self.asked = Some((stream, request.clone(), first));
        let store = self.world.store();
        self.world.hub.create(self.world.now, stream, &request, store);
    }

    fn cancel(&mut self) {
        let known: Vec<_> = self.clients.keys().copied().collect();
        if !known.is_empty() {
            let (stream, id) = *self.dice.pick(&known);
            self.world.hub.cancel(stream, id);
        }
    }

    fn close(&mut self) {
        let stream = self.stream();
        self.world.hub.close_stream(stream);
        self.clients.retain(|&(owner, _), _| owner != stream);
    }

    fn compact(&mut self) {
        let published = self.world.hub.published();
        let main = published - self.dice.below(12) as i64;
        if self.world.compact < main {
            self.world.compact = main;
            self.world.hub.compacted(main);
        }
    }

    fn answer_a_read(&mut self) {
        let known: Vec<_> = self.world.reads.keys().copied().collect();
        if known.is_empty() {
            return;
        }
        let job = *self.dice.pick(&known);
        let (from, to) = (self.world.reads[&job].from.main, self.world.reads[&job].to_main);
        if from < self.world.compact && self.dice.chance(300) {
            self.world.reads.remove(&job);
            self.world.hub.history(job, History::Compacted { main: self.world.compact });
            return;
        }
        let upto = from + self.dice.below((to - from + 1) as u64) as i64;
        self.world.answer(job, if self.dice.chance(500) { to } else { upto });
    }

    fn read_replies(&mut self) {
        let mut replies = std::mem::take(&mut self.world.replies);
        for (&stream, replies) in &mut replies {
            for reply in replies.drain(..) {
                self.read(stream, &reply);
            }
        }
        assert!(self.asked.is_none());
    }

    fn read(&mut self, stream: StreamId, reply: &WatchResponse) {
        let id = (stream, reply.watch_id);
        if reply.created {
            let (asker, request, first) = self.asked.take().expect("a request");
            assert_eq!(asker, stream);
            if reply.canceled {
                assert_eq!(reply.cancel_reason, "mvcc: watcher range is empty");
                return;
            }
            let client = Client { request, first, got: 0, last: first - 1, torn: false };
            assert!(self.clients.insert(id, client).is_none());
        } else if reply.canceled && reply.compact_revision != 0 {
            let client = self.clients.remove(&id).expect("a watch");
            assert_eq!(reply.header.unwrap().revision, 0);
            assert!(client.last < reply.compact_revision);
            assert!(reply.compact_revision <= self.world.compact);
            self.compacted += 1;
        } else if reply.canceled {
            assert!(self.clients.remove(&id).is_some());
        } else if reply.watch_id == -1 {
            self.check_progress(stream, reply.header.unwrap().revision);
            self.progressed += 1;
        } else {
            self.read_events(id, reply);
        }
    }

    fn read_events(&mut self, id: (StreamId, i64), reply: &WatchResponse) {
        assert!(!reply.events.is_empty());
        let (records, compact) = (&self.world.records, self.world.compact);
        let revision = reply.header.unwrap().revision;
        assert!(revision <= self.world.hub.published());
        let client = self.clients.get_mut(&id).expect("a watch");
        let owed: Vec<_> = records.iter().filter(|record| client.wants(record)).collect();
        for event in &reply.events {
            let record = owed[client.got];
            assert!(client.torn || client.last < record.rev.main, "a revision in two replies");
            check_event(event, record, client.request.prev_kv, compact);
            assert!(record.rev.main <= revision);
            client.got += 1;
            // Within this reply more of the revision may follow.
            (client.torn, client.last) = (true, record.rev.main);
            self.events += 1;
        }
        client.torn = reply.fragment;
        assert!(client.request.fragment || !reply.fragment);
        if !reply.fragment
            && let Some(next) = owed.get(client.got)
        {
            assert!(client.last < next.rev.main, "part of a revision was held back");
        }
    }

    /// Everything up to the revision was sent before.
    fn check_progress(&self, stream: StreamId, revision: i64) {
        let mut watches = 0;
        for (_, client) in self.clients.iter().filter(|((owner, _), _)| *owner == stream) {
            let owed = |record: &&Record| record.rev.main <= revision && client.wants(record);
            assert_eq!(self.world.records.iter().filter(owed).count(), client.got);
            watches += 1;
        }
        assert!(0 < watches);
    }

    /// Lets everything come to rest; then nobody is owed anything.
    fn rest(&mut self) {
        self.publish();
        for stream in 0..4 {
            self.world.hub.stream_writable(StreamId(stream));
        }
        self.world.drain();
        self.world.settle();
        self.read_replies();
        assert_eq!(self.world.hub.watchers_away(), 0);
        assert_eq!(self.world.hub.watchers(), self.clients.len());
        for client in self.clients.values() {
            let owed = self.world.records.iter().filter(|record| client.wants(record));
            assert_eq!(client.got, owed.count());
            assert!(!client.torn);
        }
    }
}

fn check_event(event: &mvccpb::Event, record: &Record, prev_kv: bool, compact: i64) {
    let kv = event.kv.as_ref().unwrap();
    assert_eq!((&kv.key, kv.mod_revision), (&record.key, record.rev.main));
    match &record.kind {
        ChangeKind::Delete => assert_eq!((event.r#type, kv.version, kv.value.len()), (1, 0, 0)),
        ChangeKind::Put { value, create, version, .. } => {
            assert_eq!((event.r#type, &kv.value), (0, value));
            assert_eq!((kv.create_revision, kv.version), (*create, *version));
        }
    }
    match (&event.prev_kv, &record.prev) {
        (None, None) => {}
        (None, Some(_)) => assert!(!prev_kv || record.rev.main <= compact),
        (Some(_), None) => panic!("there was nothing before"),
        (Some(told), Some(prev)) => {
            assert!(prev_kv);
            assert_eq!((&told.key, &told.value), (&record.key, &prev.value));
            assert_eq!(told.mod_revision, prev.version.modified.main);
        }
    }
}

#[test]
fn every_watch_sees_each_revision_of_its_keys_once_and_in_order() {
    let (mut events, mut compacted, mut progressed) = (0, 0, 0);
    for seed in 0..400 {
        let mut twin = Twin::new(seed);
        println!("seed {seed}");
        for _ in 0..4 {
            for _ in 0..100 {
                twin.step();
            }
            twin.rest();
        }
        events += twin.events;
        compacted += twin.compacted;
        progressed += twin.progressed;
    }
    println!("{events} events, {compacted} compacted, {progressed} progress notices");
    assert!(50_000 < events);
    assert!(3000 < compacted);
    assert!(500 < progressed);
}
