//! Owns the sending of snapshots: the whole store as of one revision, in blobs of 32 KiB that count
//! down, and the SHA-256 of them all at the end. Never holds more than its pages: the length that
//! the first message tells is found by a first pass over the same revision. Invariant: what both
//! passes see is the same, or the stream ends with an error.
//!
//! ```text
//! ask the leader for a cut --> Counting --all passed--> Sending --all sent--> hash, end
//!          ^                      |
//!          +-- compacted away ----+
//! ```

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};
use wire::{ApiError, etcdserverpb as pb};

use super::cut::{Advanced, CutWriter, course_of};
use super::hash::Turn;
use super::scroll::Flow;
use super::stream::Stream;
use super::walk::{Course, Walk};
use super::walks::Errand;
use super::{Shard, ShardEffect};
use crate::message::{Answer, CallId, Question, SnapshotCut, ToLeader};
use crate::snapshot::Header;

/// Bytes of one message's blob, as etcd cuts them.
const BLOB_BYTES: usize = 32 << 10;
/// Blobs made in one turn.
const TURN_BLOBS: usize = 4;
/// Bytes counted in one turn.
const TURN_BYTES: usize = 1 << 20;
/// Snapshots that one shard makes at a time.
const SNAPSHOTS_MAX: usize = 4;

/// A snapshot on its way.
pub struct SnapshotJob {
    call: CallId,
    writer: CutWriter,
    stage: Stage,
    buffer: Vec<u8>,
}

enum Stage {
    Counting,
    Sending { left: u64, sum: Sha256, ended: Ended },
}

/// Whether everything is in the buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    No,
    Yes,
}

impl std::fmt::Debug for SnapshotJob {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "SnapshotJob({:?} at {})", self.call, self.cut().revision)
    }
}

impl SnapshotJob {
    fn new(call: CallId, cut: Arc<SnapshotCut>, header: &Header) -> SnapshotJob {
        let mut buffer = Vec::new();
        let writer = CutWriter::begin(cut, header, &mut buffer);
        SnapshotJob { call, writer, stage: Stage::Counting, buffer }
    }

    /// Whose.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// The compact revision of what is sent.
    pub fn compact(&self) -> i64 {
        self.cut().compact_revision
    }

    fn cut(&self) -> &Arc<SnapshotCut> {
        self.writer.cut()
    }

    fn course(&self) -> Course {
        course_of(self.cut())
    }

    /// First pass: only lengths matter.
    fn count(&mut self, walk: &mut Walk, header: &Header) -> Turn {
        let mut seen = 0;
        while seen < TURN_BYTES {
            let advanced = self.writer.advance(walk, &mut self.buffer);
            seen += self.buffer.len();
            self.buffer.clear();
            match advanced {
                Advanced::Written => {}
                Advanced::Waits => return Turn::Waits,
                Advanced::Ended => {
                    self.begin_sending(walk, header);
                    return Turn::More;
                }
            }
        }
        Turn::More
    }

    fn begin_sending(&mut self, walk: &mut Walk, header: &Header) {
        let left = self.writer.finish(&mut self.buffer);
        self.buffer.clear();
        self.writer = CutWriter::begin(self.cut().clone(), header, &mut self.buffer);
        self.stage = Stage::Sending { left, sum: Sha256::new(), ended: Ended::No };
        *walk = walk.again(self.course());
    }

    /// Second pass: the next blob, and how many bytes follow it.
    fn next_blob(&mut self, walk: &mut Walk) -> Blob {
        while self.buffer.len() < BLOB_BYTES && self.is_open() {
            match self.writer.advance(walk, &mut self.buffer) {
                Advanced::Written => {}
                Advanced::Waits => return Blob::Waits,
                Advanced::Ended => self.close(),
            }
        }
        let Stage::Sending { left, sum, .. } = &mut self.stage else { unreachable!("sending") };
        let rest = self.buffer.split_off(self.buffer.len().min(BLOB_BYTES));
        let blob = std::mem::replace(&mut self.buffer, rest);
        if blob.is_empty() {
            assert_eq!(*left, 0, "both passes saw the same");
            let sum = std::mem::take(sum).finalize();
            return Blob::Last(Bytes::copy_from_slice(&sum));
        }
        let sent = blob.len() as u64;
        assert!(sent <= *left, "both passes saw the same");
        *left -= sent;
        sum.update(&blob);
        Blob::Next { blob: Bytes::from(blob), left: *left }
    }

    fn is_open(&self) -> bool {
        matches!(&self.stage, Stage::Sending { ended: Ended::No, .. })
    }

    fn close(&mut self) {
        self.writer.finish(&mut self.buffer);
        let Stage::Sending { ended, .. } = &mut self.stage else { unreachable!("sending") };
        *ended = Ended::Yes;
    }
}

enum Blob {
    Waits,
    Next { blob: Bytes, left: u64 },
    Last(Bytes),
}

impl Shard {
    /// A client wants a snapshot: the leader says as of where.
    pub(super) fn snapshot(&mut self, call: CallId) -> Result<(), ApiError> {
        if self.walks.snapshots() >= SNAPSHOTS_MAX {
            return Err(ApiError::TooManyRequests);
        }
        self.streams.insert(call, Stream::Snapshot { flow: Flow::Open });
        self.ask_for_cut(call);
        Ok(())
    }

    fn ask_for_cut(&mut self, call: CallId) {
        let question = Question::Snapshot;
        self.out.push_back(ShardEffect::ToLeader(ToLeader::Ask { call, question }));
    }

    /// The leader said what the store is.
    pub(super) fn snapshot_answer(&mut self, call: CallId, answer: &Answer) {
        match answer {
            Answer::Snapshot(cut) => {
                let job = SnapshotJob::new(call, cut.clone(), &self.snapshot_header(cut));
                self.start_walk(job.course(), Errand::Snapshot(Box::new(job)));
            }
            Answer::Failed(error) => self.end_stream(call, Some(error.clone().into())),
            Answer::Plan(_)
            | Answer::KeptAlive { .. }
            | Answer::TimeToLive(_)
            | Answer::Leases(_)
            | Answer::Members(_)
            | Answer::Added { .. }
            | Answer::Moved
            | Answer::Downgrade(_)
            | Answer::Status(_)
            | Answer::Alarms(_)
            | Answer::Hash(_)
            | Answer::Done => unreachable!("a snapshot was asked for"),
        }
    }

    pub(super) fn snapshot_header(&self, cut: &SnapshotCut) -> Header {
        Header {
            cluster_id: self.config.cluster_id,
            member_id: self.config.member_id,
            revision: cut.revision,
            compact_revision: cut.compact_revision,
            term: cut.term,
            index: cut.index,
        }
    }

    /// Goes on with a snapshot, if its client takes more.
    pub(super) fn snapshot_turn(&mut self, job: &mut SnapshotJob, walk: &mut Walk) -> Turn {
        let flow = match self.streams.get(&job.call) {
            Some(Stream::Snapshot { flow }) => *flow,
            Some(
                Stream::Watch { .. }
                | Stream::KeepAlive { .. }
                | Stream::Expecting(_)
                | Stream::Scrolling
                | Stream::Health,
            )
            | None => return Turn::Done,
        };
        if matches!(job.stage, Stage::Counting) {
            let header = self.snapshot_header(job.cut());
            return job.count(walk, &header);
        }
        // Messages of the turn before have gone out: this one adds a few, and looks again.
        for _ in 0..TURN_BLOBS {
            match flow {
                Flow::Open => {}
                Flow::Full { .. } => return Turn::Parked,
            }
            match job.next_blob(walk) {
                Blob::Waits => return Turn::Waits,
                Blob::Next { blob, left } => self.send_blob(job, blob, left),
                Blob::Last(sum) => {
                    self.send_blob(job, sum, 0);
                    self.end_stream(job.call, None);
                    return Turn::Done;
                }
            }
        }
        Turn::More
    }

    fn send_blob(&mut self, job: &SnapshotJob, blob: Bytes, remaining_bytes: u64) {
        let version = job.cut().version.clone();
        let message = pb::SnapshotResponse { header: None, remaining_bytes, blob, version };
        self.send(job.call, Bytes::from(message.encode_to_vec()));
    }

    /// The compact revision passed the point of a snapshot. While nothing was sent, it is taken
    /// again.
    pub(super) fn snapshot_compacted(&mut self, job: &SnapshotJob) {
        match job.stage {
            Stage::Counting => self.ask_for_cut(job.call),
            Stage::Sending { .. } => self.end_stream(job.call, Some(ApiError::Compacted.into())),
        }
    }
}
