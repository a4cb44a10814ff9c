//! Owns the hash of the store's history up to a revision, to the byte what etcd's HashKV computes,
//! so that operators' comparisons and recorded numbers stay good. Never holds a value longer than
//! its page. Invariant: the hash is a function of the revision and the compact revision alone.
//!
//! CRC-32C over `key`, then of each change in the order of revisions: its name (main revision, 8
//! bytes BE, `_`, sub, 8 bytes BE, and `t` if it is a tombstone) and its `mvccpb.KeyValue`. Changes
//! up to the compact revision count only if they are live at the revision asked for; if nothing is
//! alive there, those count that were live at the compact revision (etcd then skips its test).
//!
//! `Maintenance.Hash` answers the same for the newest revision: etcd's own differs from version to
//! version.

use std::collections::{BTreeMap, VecDeque};

use base::{ChangeKind, Rev};
use history::Record;
use prost::Message;
use slice::Item;
use wire::{ApiError, etcdserverpb as pb, mvccpb};

use super::crc::{Joiner, Run};
use super::reply::{full_header, message_of};
use super::stage::Presence;
use super::walk::{Course, Piece, Walk};
use super::walks::Errand;
use super::{Shard, ShardEffect};
use crate::corruption::HashAt;
use crate::message::{CallId, HashWant, ToLeader};

/// Changes hashed in one turn.
const TURN_PIECES: usize = 2048;
/// Calls that may wait behind the hash under way.
const WAITING_MAX: usize = 64;

/// Which method asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKind {
    /// `Hash`.
    Whole,
    /// `HashKV`, at a revision; 0 for the newest.
    At(i64),
    /// Of the history that a compaction takes away.
    Compaction {
        /// Compacted to here.
        revision: i64,
        /// The compact revision before.
        compact: i64,
    },
}

/// Who wants a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A call.
    Call(CallId),
    /// The leader machine, by its number.
    Leader(u64),
}

impl Whose {
    /// The call.
    pub fn call(self) -> Option<CallId> {
        match self {
            Whose::Call(call) => Some(call),
            Whose::Leader(_) => None,
        }
    }
}

/// Somebody wants a hash.
#[derive(Clone, Copy, Debug)]
pub struct HashAsk {
    /// Who.
    pub whose: Whose,
    /// Which.
    pub kind: HashKind,
    /// The store's revision when it was confirmed.
    pub head: i64,
}

/// Calls that wait for their turn: one hash is computed at a time.
pub type HashQueue = VecDeque<HashAsk>;

/// A hash under way.
#[derive(Debug)]
pub struct HashJob {
    ask: HashAsk,
    revision: i64,
    compact: i64,
    stage: Stage,
    /// Whether anything lives at the revision.
    life: Life,
    /// What is left from before the compact revision.
    old: BTreeMap<Rev, Run>,
    total: Run,
    records: Run,
    buffer: Vec<u8>,
    joiner: Joiner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Rows at the revision, and all records.
    Now,
    /// Nothing lives: rows at the compact revision.
    Then,
    /// Everything was read; sums are joined.
    Joining,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Unseen,
    Seen,
}

/// How far a turn came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is more to do without waiting.
    More,
    /// Reads are under way or due.
    Waits,
    /// Nothing may be done before the client takes more.
    Parked,
    /// Nothing is left to do.
    Done,
}

impl HashJob {
    fn new(ask: HashAsk, revision: i64, compact: i64) -> HashJob {
        HashJob {
            ask,
            revision,
            compact,
            stage: Stage::Now,
            life: Life::Unseen,
            old: BTreeMap::new(),
            total: Run::of(b"key"),
            records: Run::default(),
            buffer: Vec::new(),
            joiner: Joiner::new(),
        }
    }

    /// Whose call it is for.
    pub fn call(&self) -> Option<CallId> {
        self.ask.whose.call()
    }

    /// The compact revision that the hash counts from.
    pub fn compact(&self) -> i64 {
        self.compact
    }

    /// Whether it reads what is about to be compacted away.
    pub fn needs_pin(&self) -> bool {
        matches!(self.ask.kind, HashKind::Compaction { .. })
    }

    fn course(&self) -> Course {
        let was_compacted = self.compact > 0;
        Course {
            rows_at: was_compacted.then_some(Rev::end_of(self.revision)),
            from: self.compact.max(0) + 1,
            to: self.revision,
        }
    }

    /// Works on what has been read. `walk` may be replaced by another one.
    pub fn turn(&mut self, walk: &mut Walk) -> Turn {
        for _ in 0..TURN_PIECES {
            if self.stage == Stage::Joining {
                match self.old.pop_first() {
                    Some((_, run)) => self.total = self.joiner.join(self.total, run),
                    None => {
                        self.total = self.joiner.join(self.total, self.records);
                        return Turn::Done;
                    }
                }
                continue;
            }
            match walk.pop() {
                Some(Piece::Row(row)) => self.row(row),
                Some(Piece::Record(record)) => self.record(record),
                None if !walk.finished() => return Turn::Waits,
                None if self.must_look_back() => {
                    self.stage = Stage::Then;
                    let rows_at = Some(Rev::end_of(self.compact));
                    *walk = walk.again(Course { rows_at, from: 1, to: 0 });
                    return Turn::Waits;
                }
                None => self.stage = Stage::Joining,
            }
        }
        Turn::More
    }

    fn must_look_back(&self) -> bool {
        self.stage == Stage::Now && self.compact > 0 && self.life == Life::Unseen
    }

    fn row(&mut self, row: Item) {
        self.life = Life::Seen;
        let rev = row.version.modified;
        if rev.main <= self.compact {
            self.write(rev, None, &message_of(row));
            self.old.insert(rev, Run::of(&self.buffer));
        }
    }

    fn record(&mut self, record: Record) {
        let Record { rev, key, kind, prev: _, tombstone: _ } = record;
        match kind {
            ChangeKind::Put { value, create, version, lease } => {
                let pair = mvccpb::KeyValue {
                    key,
                    create_revision: create,
                    mod_revision: rev.main,
                    version,
                    value,
                    lease,
                };
                self.write(rev, None, &pair);
            }
            ChangeKind::Delete => {
                let pair = mvccpb::KeyValue { key, ..mvccpb::KeyValue::default() };
                self.write(rev, Some(b't'), &pair);
            }
        }
        self.records.add(&self.buffer);
    }

    /// The change as etcd stores it, into the buffer.
    fn write(&mut self, rev: Rev, mark: Option<u8>, pair: &mvccpb::KeyValue) {
        self.buffer.clear();
        self.buffer.extend_from_slice(&rev.main.to_be_bytes());
        self.buffer.push(b'_');
        self.buffer.extend_from_slice(&u64::from(rev.sub).to_be_bytes());
        self.buffer.extend(mark);
        pair.encode(&mut self.buffer).expect("a vector grows as needed");
    }
}

impl Shard {
    /// The store is known to be at `head`: hashes it, after those that came before.
    pub(super) fn hash_at(&mut self, call: CallId, kind: HashKind, head: i64) {
        if self.hash_queue.len() >= WAITING_MAX {
            return self.fail(call, ApiError::TooManyRequests);
        }
        self.hash_queue.push_back(HashAsk { whose: Whose::Call(call), kind, head });
    }

    /// The leader machine wants a hash of what this member has.
    pub(super) fn hash_for_leader(&mut self, number: u64, want: HashWant) {
        let whose = Whose::Leader(number);
        if self.hash_queue.len() >= WAITING_MAX || self.store != Presence::Open {
            return self.no_hash(whose, ApiError::TooManyRequests);
        }
        let head = self.facts.revision;
        match want {
            HashWant::At(revision) => {
                let kind = HashKind::At(revision);
                self.hash_queue.push_back(HashAsk { whose, kind, head });
            }
            // What it reads goes away with the next checkpoint but one: it cannot wait.
            HashWant::Compaction { revision, compact } => {
                let kind = HashKind::Compaction { revision, compact };
                self.hash_queue.push_front(HashAsk { whose, kind, head });
            }
        }
    }

    fn no_hash(&mut self, whose: Whose, error: ApiError) {
        match whose {
            Whose::Call(call) => self.fail(call, error),
            Whose::Leader(number) => {
                let message = ToLeader::Hashed { number, result: Err(error) };
                self.out.push_back(ShardEffect::ToLeader(message));
            }
        }
    }

    /// Begins the next hash if none is under way.
    pub(super) fn next_hash(&mut self) {
        while !self.walks.hashes() {
            let Some(ask) = self.hash_queue.pop_front() else { return };
            self.start_hash(ask);
        }
    }

    /// Begins a hash, or begins it again at a new compact revision.
    pub(super) fn start_hash(&mut self, ask: HashAsk) {
        let revision = match ask.kind {
            HashKind::Whole | HashKind::At(0) => ask.head,
            HashKind::At(asked) => asked,
            HashKind::Compaction { revision, compact } => {
                let job = HashJob::new(ask, revision, compact);
                return self.start_walk(job.course(), Errand::Hash(Box::new(job)));
            }
        };
        let compact = self.facts.compact_revision;
        if revision > ask.head {
            return self.no_hash(ask.whose, ApiError::FutureRevision);
        }
        if revision < compact {
            return self.no_hash(ask.whose, ApiError::Compacted);
        }
        let job = HashJob::new(ask, revision, compact);
        self.start_walk(job.course(), Errand::Hash(Box::new(job)));
    }

    /// Its point was compacted away on the way: the hash of what is left is begun.
    pub(super) fn hash_compacted(&mut self, job: &HashJob) {
        match job.needs_pin() {
            true => self.no_hash(job.ask.whose, ApiError::Compacted),
            false => self.start_hash(job.ask),
        }
    }

    /// The hash is there.
    pub(super) fn hashed(&mut self, job: &HashJob) {
        let hash = HashAt {
            hash: job.total.sum,
            revision: job.revision,
            compact: job.compact,
            head: job.ask.head,
        };
        let call = match job.ask.whose {
            Whose::Call(call) => call,
            Whose::Leader(number) => {
                let message = ToLeader::Hashed { number, result: Ok(hash) };
                return self.out.push_back(ShardEffect::ToLeader(message));
            }
        };
        let reply = hash_reply(self.header(), hash);
        let message = match job.ask.kind {
            HashKind::Whole => {
                pb::HashResponse { header: reply.header, hash: reply.hash }.encode_to_vec()
            }
            HashKind::At(_) | HashKind::Compaction { .. } => reply.encode_to_vec(),
        };
        self.out.push_back(ShardEffect::Reply { call, message: message.into() });
    }
}

/// A hash in the words of the API.
pub(super) fn hash_reply(header: wire::encode::Header, hash: HashAt) -> pb::HashKvResponse {
    pb::HashKvResponse {
        header: Some(full_header(wire::encode::Header { revision: hash.head, ..header })),
        hash: hash.hash,
        compact_revision: hash.compact,
        hash_revision: hash.revision,
    }
}

#[cfg(test)]
mod tests;
