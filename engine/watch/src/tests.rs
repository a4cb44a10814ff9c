//! What the tests of watches share: a store of a few keys that remembers everything, and a hub
//! whose effects are caught and decoded.

mod laws;
mod twin;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base::{Change, ChangeKind, Instant, Rev, Version};
use bytes::Bytes;
use history::{Previous as Replaced, Record};
use prost::Message as _;
use wire::etcdserverpb::{WatchCreateRequest, WatchResponse};

use crate::{Effect, History, HistoryRead, JobId, Options, Store, StreamId, WatchHub};

const STREAM: StreamId = StreamId(7);

fn options() -> Options {
    Options {
        cluster_id: 11,
        member_id: 12,
        reply_bytes_max: 1 << 21,
        stream_bytes_max: 1 << 20,
        copy_bytes_max: 1 << 20,
        history_bytes_max: 1 << 20,
        jobs_max: 2,
        job_watchers_max: 64,
        watchers_max: 1000,
        progress_interval: Duration::from_secs(600),
        seed: 1,
    }
}

/// One operation of a transaction.
#[derive(Clone, Copy)]
enum Op<'a> {
    Put(&'a str, &'a str),
    Delete(&'a str),
}

/// A store, the hub that watches it, and what came out.
struct World {
    hub: WatchHub,
    live: BTreeMap<Bytes, (Version, Bytes)>,
    records: Vec<Record>,
    revision: i64,
    compact: i64,
    now: Instant,
    replies: BTreeMap<StreamId, VecDeque<WatchResponse>>,
    reads: BTreeMap<JobId, HistoryRead>,
}

impl World {
    fn new(options: Options) -> World {
        let store = Store { revision: 1, compact: 0 };
        World {
            hub: WatchHub::new(options, store, 3),
            live: BTreeMap::new(),
            records: Vec::new(),
            revision: 1,
            compact: 0,
            now: Instant(0),
            replies: BTreeMap::new(),
            reads: BTreeMap::new(),
        }
    }

    fn store(&self) -> Store {
        Store { revision: self.revision, compact: self.compact }
    }

    /// Applies one transaction; answers its changes, none if nothing changed.
    fn apply(&mut self, ops: &[Op<'_>]) -> Vec<Change> {
        let mut changes = Vec::new();
        for op in ops {
            let rev = Rev::new(self.revision + 1, changes.len() as u32);
            let key = match *op {
                Op::Put(key, _) | Op::Delete(key) => Bytes::copy_from_slice(key.as_bytes()),
            };
            let old = self.live.remove(&key);
            let kind = match *op {
                Op::Put(_, value) => {
                    let value = Bytes::copy_from_slice(value.as_bytes());
                    let create = old.as_ref().map_or(rev.main, |(version, _)| version.create);
                    let count = old.as_ref().map_or(1, |(version, _)| version.version + 1);
                    let version = Version { create, modified: rev, version: count, lease: 0 };
                    self.live.insert(key.clone(), (version, value.clone()));
                    ChangeKind::Put { value, create, version: count, lease: 0 }
                }
                Op::Delete(_) if old.is_none() => continue,
                Op::Delete(_) => ChangeKind::Delete,
            };
            let prev = old.map(|(version, value)| Replaced { version, value });
            let replaced = prev.as_ref().map(|prev| prev.version.modified);
            changes.push(Change { rev, key: key.clone(), kind: kind.clone(), prev: replaced });
            self.records.push(Record { rev, key, kind, prev, tombstone: None });
        }
        self.revision += i64::from(!changes.is_empty());
        changes
    }

    /// Applies one transaction and publishes it.
    fn txn(&mut self, ops: &[Op<'_>]) {
        let changes = self.apply(ops);
        self.hub.publish(&changes, self.revision);
        self.drain();
    }

    fn put(&mut self, key: &str, value: &str) {
        self.txn(&[Op::Put(key, value)]);
    }

    fn create(&mut self, stream: StreamId, request: &WatchCreateRequest) {
        self.hub.create(self.now, stream, request, self.store());
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.hub.poll_effect() {
            match effect {
                Effect::Send { stream, message } => {
                    assert_eq!(message.len(), message.to_bytes().len());
                    let reply = WatchResponse::decode(message.to_bytes()).unwrap();
                    self.replies.entry(stream).or_default().push_back(reply);
                }
                Effect::ReadHistory(read) => {
                    assert!(read.from.main <= read.to_main);
                    assert_eq!(self.reads.insert(read.job, read), None);
                }
            }
        }
    }

    /// Answers a read, up to `upto`.
    fn answer(&mut self, job: JobId, upto: i64) {
        let read = self.reads.remove(&job).unwrap();
        let wanted = |record: &&Record| {
            (read.from.main..=upto).contains(&record.rev.main)
                && read.spans.iter().any(|span| span.contains(&record.key))
        };
        let records = self.records.iter().filter(wanted).cloned().collect();
        self.hub.history(job, History::Records { records, upto });
        self.drain();
    }

    /// Answers reads until none is left.
    fn settle(&mut self) {
        while let Some((&job, read)) = self.reads.iter().next() {
            self.answer(job, read.to_main);
        }
    }

    /// The next reply of the stream.
    fn reply(&mut self) -> WatchResponse {
        self.replies.get_mut(&STREAM).and_then(VecDeque::pop_front).expect("a reply")
    }

    fn silent(&self) {
        assert_eq!(self.replies.get(&STREAM).map_or(0, VecDeque::len), 0);
    }
}

fn watch(key: &str, end: &str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        range_end: Bytes::copy_from_slice(end.as_bytes()),
        ..WatchCreateRequest::default()
    }
}

/// `+key=value@modified` or `-key@modified`, and `<` with the value before.
fn told(reply: &WatchResponse) -> Vec<String> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let one = |event: &wire::mvccpb::Event| {
        let kv = event.kv.as_ref().unwrap();
        let before = event.prev_kv.as_ref().map(|prev| format!("<{}", text(&prev.value)));
        let head = match event.r#type {
            0 => format!("+{}={}", text(&kv.key), text(&kv.value)),
            _ => format!("-{}", text(&kv.key)),
        };
        format!("{head}@{}{}", kv.mod_revision, before.unwrap_or_default())
    };
    reply.events.iter().map(one).collect()
}
