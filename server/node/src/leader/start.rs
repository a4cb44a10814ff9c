//! Owns the start of a member: from the manifest, or from nothing, to a running group.
//! Invariant: nothing is proposed, applied or served before the whole log after the manifest has
//! been read and judged sound; a new directory has a durable manifest before it has a log.
//!
//! ```text
//! manifest --absent--> Genesis: empty slices, first member, first checkpoint --durable--> run
//!          \--found--> Scanning: slices open, keys and meta come back --all--> ReadingLog --> run
//!                                                    to go on alone: \--> Forcing --durable--/
//! ```

use base::limits::LOG_ENTRY_BYTES_MAX;
use base::{FileId, Instant, IoRequest, IoResult, SliceId};
use bytes::Bytes;
use consensus::{Consensus, Event};
use state::MemberChange;
use state::sequencer::{LogPosition, RestoredAt};
use wal::{
    Identity, Kept, Lsn, Mark, Reader, ReaderConfig, Restored, Step, Verdict, Writer, WriterConfig,
};

use super::checkpoint::Checkpoints;
use super::{Founding, Leader, LeaderEffect, LogPolicy, Op, Report, Restart};
use crate::manifest::{Manifest, ManifestError, SLOT_BYTES};
use crate::message::{RestoredKey, ShardId, ToShard};

/// Every founder of a group starts from the same entry, which exists nowhere (`consensus::Start`).
const FOUNDING: LogPosition = LogPosition { term: 1, index: 1 };

/// Where the start stands.
pub struct Start {
    stage: Stage,
}

enum Stage {
    ReadingManifest,
    Genesis,
    Scanning {
        manifest: Box<Manifest>,
        missing: u16,
    },
    ReadingLog {
        log_first: u64,
        reader: Box<Reader>,
        restored: Box<Restored>,
    },
    /// The removal of all others is written to the log.
    Forcing {
        restored: Box<Restored>,
        last: Lsn,
    },
}

impl Start {
    /// The beginning.
    pub fn new() -> Start {
        Start { stage: Stage::ReadingManifest }
    }
}

impl Leader {
    pub(super) fn read_manifest(&mut self) {
        let len = 2 * SLOT_BYTES as u32;
        self.submit(Op::Start, IoRequest::Read { file: FileId::Manifest, offset: 0, len });
    }

    /// A request of the start is done.
    pub(super) fn start_io(&mut self, now: Instant, result: IoResult) {
        let start = self.start.as_mut().expect("start requests belong to the start");
        match (&mut start.stage, result) {
            (Stage::ReadingManifest, IoResult::Read(bytes)) => self.manifest_read(now, &bytes),
            (Stage::ReadingLog { reader, .. }, result) => {
                reader.handle(result);
                self.follow_log();
            }
            (_, result) => {
                self.broken(format!("the manifest cannot be read ({result:?}); check the disk"));
            }
        }
    }

    fn manifest_read(&mut self, now: Instant, bytes: &Bytes) {
        let text = match Manifest::choose(bytes) {
            Ok(manifest) => return self.open_store(now, manifest),
            // The log begins after the first manifest is durable: without one nobody was told
            // anything, and a power cut during the first start only means to start again.
            Err(ManifestError::Absent | ManifestError::Unborn)
                if self.config.log_segments.is_empty() =>
            {
                return self.genesis(now);
            }
            Err(ManifestError::Absent) => {
                "there is a log but no manifest: the directory lost its manifest file; restore the \
                 data directory from a backup"
                    .to_owned()
            }
            Err(ManifestError::Unborn | ManifestError::Rot) => {
                "both slots of the manifest are damaged; restore the data directory from a backup"
                    .to_owned()
            }
            Err(ManifestError::NewerFormat { found }) => format!(
                "the data directory has format {found}, this program knows up to {}; start the \
                 newer version",
                crate::manifest::FORMAT_VERSION
            ),
        };
        self.broken(text);
    }

    /// A new directory: empty slices, the founding members, and a checkpoint of just that.
    fn genesis(&mut self, now: Instant) {
        self.stage(Stage::Genesis);
        self.open_slices(&vec![Bytes::new(); self.slices_in_all()], 1, -1);
        match self.config.founding.clone() {
            Founding::New(members) => {
                for member in members {
                    let change = MemberChange::Add(member);
                    let mut applied = self.sequencer.change_members(FOUNDING, change);
                    crate::message::extend(self.sequence.batch(), &mut applied);
                }
                assert!(self.sequencer.members().get(self.config.member_id).is_some());
            }
            // Its history comes from the others, whom it must find in its next lives too.
            Founding::Existing(told) => {
                let mut noted = self.sequencer.note_told(told);
                crate::message::extend(self.sequence.batch(), &mut noted);
            }
        }
        let facts = self.manifest_facts();
        let slices = self.config.partition.slices_in_all();
        let generation = self.checkpoints.begin(now, facts, slices);
        self.sequence.batch().checkpoint = Some(generation);
        self.send_batch();
    }

    /// The first manifest is durable: the log may begin.
    pub(super) fn genesis_durable(&mut self) {
        let LogPosition { term, index } = self.sequencer.applied();
        let restored = Restored::start(Mark { term, index });
        self.open_log(Writer::create(self.writer_config()), &restored);
        self.run(restored);
    }

    fn open_store(&mut self, now: Instant, manifest: Manifest) {
        let ours = (self.config.cluster_id, self.config.member_id);
        let theirs = (manifest.cluster_id, manifest.member_id);
        if theirs != ours {
            // The directory says who we are; flags only say who we would have been.
            self.config.cluster_id = theirs.0;
            self.config.member_id = theirs.1;
        }
        let (generation, revision) = (manifest.generation, manifest.revision);
        self.report(Report::Initialized { generation, revision });
        self.checkpoints = Checkpoints::new(now, self.config.checkpoint, generation);
        let slices = manifest.roots.len();
        if slices != self.slices_in_all() {
            return self.broken(format!(
                "the store has {} slices, the process was set up for {}",
                slices - 1,
                self.slices_in_all() - 1
            ));
        }
        self.config.partition.side = manifest.side();
        self.open_slices(&manifest.roots.clone(), revision, manifest.compact_revision);
        let missing = self.config.partition.slices_in_all();
        self.stage(Stage::Scanning { manifest: Box::new(manifest), missing });
    }

    fn open_slices(&mut self, roots: &[Bytes], revision: i64, compact_revision: i64) {
        let partition = self.config.partition;
        for shard in 0..partition.shards {
            let slices = partition
                .all()
                .zip(roots.iter().cloned())
                .filter(|(id, _)| partition.owner(*id) == ShardId(shard))
                .collect();
            let side = partition.side;
            let message = ToShard::OpenSlices { side, slices, revision, compact_revision };
            self.out.push_back(LeaderEffect::ToShard { shard: ShardId(shard), message });
        }
    }

    /// Keys of a slice, found at start.
    pub(super) fn take_restored(&mut self, slice: SliceId, keys: Vec<RestoredKey>, last: bool) {
        let meta = slice == self.config.partition.meta();
        for found in keys {
            if meta {
                if let Err(error) = self.sequencer.restore_meta(&found.key, &found.value) {
                    return self.broken(format!(
                        "the meta slice holds what this version does not know ({error:?}); start \
                         the newer version"
                    ));
                }
            } else if let Err(error) = self.sequencer.restore_key(&found.key, found.version) {
                return self.broken(format!("a key was found twice at start ({error:?})"));
            }
        }
        let start = self.start.as_mut().expect("keys come back only at start");
        if let (Stage::Scanning { missing, .. }, true) = (&mut start.stage, last) {
            *missing -= 1;
            if *missing == 0 {
                self.begin_log();
            }
        }
    }

    fn begin_log(&mut self) {
        let start = self.start.as_mut().expect("starting");
        let Stage::Scanning { manifest, .. } =
            std::mem::replace(&mut start.stage, Stage::ReadingManifest)
        else {
            unreachable!("the slices were being scanned");
        };
        let at = RestoredAt {
            revision: manifest.revision,
            compact_revision: manifest.compact_revision,
            applied: LogPosition { term: manifest.applied_term, index: manifest.applied_index },
        };
        if let Err(error) = self.sequencer.finish_restore(at) {
            return self.broken(format!("the checkpoint contradicts itself ({error:?})"));
        }
        self.version_found();
        self.checks.found(self.config.checks, manifest.compact_revision);
        self.sequence.begin_at(manifest.revision);
        let segments = &self.config.log_segments;
        let reader = Reader::new(ReaderConfig {
            identity: self.identity(),
            geometry: self.config.log.geometry(),
            segments: segments.iter().copied().filter(|n| *n >= manifest.log_first).collect(),
            promised: wal::Position(manifest.log_position),
        });
        let mark = Mark { term: manifest.applied_term, index: manifest.applied_index };
        let restored = Box::new(Restored::start(mark));
        self.stage(Stage::ReadingLog {
            log_first: manifest.log_first,
            reader: Box::new(reader),
            restored,
        });
        self.follow_log();
    }

    fn follow_log(&mut self) {
        loop {
            let start = self.start.as_mut().expect("starting");
            let Stage::ReadingLog { reader, restored, .. } = &mut start.stage else {
                unreachable!("the log is being read");
            };
            match reader.poll() {
                Step::Io(request) => return self.submit(Op::Start, request),
                Step::Waiting => return,
                Step::Record(record) => {
                    if let Err(gap) = restored.take(record) {
                        return self.broken(format!(
                            "the log does not continue the checkpoint ({gap:?}): acknowledged \
                             entries are missing; restore the data directory from a backup"
                        ));
                    }
                }
                Step::Done(verdict) => return self.log_read(verdict),
            }
        }
    }

    fn log_read(&mut self, verdict: Verdict) {
        let start = self.start.as_mut().expect("starting");
        let Stage::ReadingLog { log_first, restored, .. } =
            std::mem::replace(&mut start.stage, Stage::ReadingManifest)
        else {
            unreachable!("the log was being read");
        };
        let resume = match verdict {
            Verdict::End { resume, .. } => resume,
            Verdict::Rot { segment, offset, why } => {
                return self.broken(why.told(segment, offset));
            }
            Verdict::Unreadable { segment, error } => {
                return self.broken(format!(
                    "{} cannot be read ({error:?}): check the disk, then start again",
                    FileId::Log(segment)
                ));
            }
        };
        let restored = match restored.finish() {
            Ok(restored) => restored,
            Err(gap) => return self.broken(format!("the log lost committed entries ({gap:?})")),
        };
        let mut writer = Writer::resume(self.writer_config(), resume);
        let segments = self.config.log_segments.iter().copied();
        writer.adopt(&segments.filter(|number| *number < log_first).collect::<Vec<u64>>());
        self.open_log(writer, &restored);
        match self.config.restart {
            Restart::WithCluster => self.run(restored),
            Restart::Alone => self.force(restored),
        }
    }

    /// The log is written from here on.
    fn open_log(&mut self, mut writer: Writer, restored: &Restored) {
        writer.go_on(restored.window.base(), restored.window.last());
        self.writer = Some(writer);
    }

    /// The log is written before it is followed.
    pub(super) fn await_forced(&mut self, restored: Restored, last: Lsn) {
        self.stage(Stage::Forcing { restored: Box::new(restored), last });
    }

    /// Carries the start on where no single request does.
    pub(super) fn settle_start(&mut self, now: Instant) {
        let Some(Start { stage: Stage::Forcing { last, .. } }) = self.start else { return };
        if self.writer().durable().lsn < last {
            return self.flush_log(now);
        }
        let start = self.start.as_mut().expect("starting");
        let Stage::Forcing { restored, .. } =
            std::mem::replace(&mut start.stage, Stage::ReadingManifest)
        else {
            unreachable!("the log was being written");
        };
        self.run(*restored);
    }

    /// Everything is read: the group starts, and an only voter campaigns at once.
    pub(super) fn run(&mut self, mut restored: Restored) {
        self.gone = super::members::removals(&restored.window, restored.hard_state.commit);
        let applied = self.sequencer.applied().index;
        let writer = self.writer();
        writer.release(applied);
        restored.window.recall(writer.held().expect("it goes on from somewhere"));
        let start = consensus::Start {
            applied,
            window: restored.window,
            hard_state: restored.hard_state,
            membership: self.membership(),
        };
        let alone = start.membership.voters == [self.config.member_id];
        let mut consensus = Consensus::new(self.consensus_config(), start);
        if alone {
            consensus.handle(self.next_tick, Event::Campaign);
        }
        // Headers of replies tell a term from the first one on.
        self.role.term = consensus.role().term;
        self.consensus = Some(consensus);
        self.start = None;
        self.tell_facts();
        self.connect();
    }

    fn consensus_config(&mut self) -> consensus::Config {
        let ticks = self.config.election_timeout.as_millis() / self.config.heartbeat.as_millis();
        consensus::Config {
            id: self.config.member_id,
            seed: self.dice.next_u64(),
            boot: self.dice.next_u64(),
            election_ticks: usize::try_from(ticks).expect("checked settings"),
            heartbeat_ticks: 1,
            read_timeout: self.config.election_timeout,
            window_bytes: self.config.window_bytes,
        }
    }

    fn writer_config(&self) -> WriterConfig {
        let LogPolicy { segment_bytes, segments_kept, segments_kept_max } = self.config.log;
        WriterConfig {
            geometry: self.config.log.geometry(),
            // Room for the largest, and for what a segment begins with.
            entry_bytes_max: LOG_ENTRY_BYTES_MAX.min(segment_bytes as usize / 2),
            kept: Kept { segments: segments_kept, segments_max: segments_kept_max },
            ..WriterConfig::standard(self.identity())
        }
    }

    fn identity(&self) -> Identity {
        Identity { cluster: self.config.cluster_id, member: self.config.member_id }
    }

    pub(super) fn slices_in_all(&self) -> usize {
        usize::from(self.config.partition.slices_in_all())
    }

    fn stage(&mut self, stage: Stage) {
        self.start.as_mut().expect("starting").stage = stage;
    }
}
