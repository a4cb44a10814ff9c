//! Owns what time makes the leader do: Raft's ticks, lease expiry, auto-compaction, checkpoints,
//! the log's seal, and the orderly stop.
//! Invariant: nothing here is needed for a request to be right, only for things to move.

use std::time::Duration;

use base::limits::BLOCK_BYTES;
use base::{FileId, Instant, IoRequest, SliceId};
use bytes::Bytes;
use consensus::Event;
use state::{Command, Kind, MemberAttributes};
use wire::etcdserverpb as pb;

use super::rounds::Asker;
use super::{Leader, Op, Report};
use crate::manifest::Manifest;
use crate::message::{Facts, ToShard};
use crate::shard::Side;

/// Where the member's own words about itself stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publication {
    /// Nothing was said.
    Unsent,
    /// Until what was committed when it began is applied here.
    Arriving,
    /// It is. Nothing was said yet.
    Arrived,
    /// Proposed then.
    Sent(Instant),
    /// Decided.
    Done,
}

impl Publication {
    /// Whether what is applied is what the cluster has, and no past of it.
    pub fn has_arrived(self) -> bool {
        match self {
            Publication::Unsent | Publication::Arriving => false,
            Publication::Arrived | Publication::Sent(_) | Publication::Done => true,
        }
    }

    /// What of it stays true for a machine that starts again.
    pub fn kept(self) -> Publication {
        match self {
            Publication::Unsent | Publication::Arriving => Publication::Unsent,
            Publication::Arrived | Publication::Sent(_) | Publication::Done => self,
        }
    }
}

/// An idle log is sealed after this long.
const SEAL_AFTER: Duration = Duration::from_millis(100);

impl Leader {
    /// Lets time-driven work run.
    pub fn tick(&mut self, now: Instant) {
        if self.start.is_some() || self.incoming.installs() {
            return;
        }
        self.count_late_heartbeats(now);
        while self.next_tick <= now {
            self.next_tick = self.next_tick + self.config.heartbeat;
            // After a pause one tick is enough: many at once would only depose somebody.
            if self.next_tick + self.config.election_timeout < now {
                self.next_tick = now + self.config.heartbeat;
            }
            self.consensus().handle(now, Event::Tick);
        }
        if now.since(self.flushes.last_flush()) >= SEAL_AFTER {
            self.writer().seal();
        }
        self.tell_commits(now);
        self.forget_forwards(now);
        self.introduce(now);
        self.resend_parts(now);
        self.keep_log(now);
        self.watch_disk(now);
        self.finish_leaving(now);
        self.publish_if_due(now);
        self.checks_tick(now);
        if self.leads() && !self.stopping {
            self.expire_leases(now);
            self.compact_if_due(now);
            self.versions_if_due(now);
        }
    }

    /// A leader that ticks late sends heartbeats late: etcd counts those that come after more than
    /// two intervals, one for each peer.
    fn count_late_heartbeats(&mut self, now: Instant) {
        if self.leads() && self.next_tick + self.config.heartbeat < now {
            let peers = self.sequencer.members().len().saturating_sub(1);
            self.counts.heartbeats_late += peers as u64;
        }
    }

    /// When [`Leader::tick`] is next worth calling.
    pub fn poll_deadline(&self) -> Option<Instant> {
        if self.start.is_some() || self.incoming.installs() {
            return None;
        }
        let deadlines = [
            Some(self.next_tick),
            self.sequencer.leases().poll_deadline(),
            self.compactor.poll_deadline(),
            self.checkpoints.poll_deadline(),
            self.rounds.poll_deadline(),
            self.leave_deadline(),
            self.versions.poll_deadline().filter(|_| !self.stopping),
            self.telling_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn expire_leases(&mut self, now: Instant) {
        let ids = self.sequencer.leases_mut().poll_expired(now);
        if !ids.is_empty() {
            let member = self.config.member_id;
            self.proposals.push(None, member, |origin| Command::leases_expired(origin, &ids));
        }
    }

    fn compact_if_due(&mut self, now: Instant) {
        let revision = self.sequencer.revision();
        let Some(target) = self.compactor.look(now, revision) else { return };
        if target <= self.sequencer.compact_revision() {
            return;
        }
        let request = pb::CompactionRequest { revision: target, physical: false };
        let body = Bytes::from(prost::Message::encode_to_vec(&request));
        let member = self.config.member_id;
        self.proposals.push(None, member, |origin| Command { kind: Kind::Compact, origin, body });
        self.report(Report::Compacted { revision: target });
    }

    /// Publishes the member's name and URLs through the log, once it is in the list and somebody
    /// leads; again, if that is not decided in time.
    pub(super) fn publish_if_due(&mut self, now: Instant) {
        let due = match self.publication {
            Publication::Unsent | Publication::Arrived => true,
            Publication::Sent(since) => self.config.election_timeout * 2 <= now.since(since),
            Publication::Arriving | Publication::Done => false,
        };
        if !due || self.stopping {
            return;
        }
        let listed = self.sequencer.members().get(self.config.member_id).is_some();
        let led = match self.leads() {
            // Leases run only once everything of older leaders is applied; so does this.
            true => self.sequencer.leases().is_primary(),
            false => self.role.leader != 0,
        };
        if !listed || !led {
            return;
        }
        if self.publication == Publication::Unsent {
            self.publication = Publication::Arriving;
            return self.rounds.arrive();
        }
        if self.is_unchecked(now) {
            return;
        }
        self.publication = Publication::Sent(now);
        let attributes = MemberAttributes {
            id: self.config.member_id,
            name: self.config.name.clone(),
            client_urls: self.config.client_urls.clone(),
        };
        let member = self.config.member_id;
        self.proposals.push(None, member, |origin| Command::member_attributes(origin, &attributes));
    }

    /// What was committed when it began is applied here.
    pub(super) fn arrived(&mut self) {
        if self.publication == Publication::Arriving {
            self.publication = Publication::Arrived;
            self.check_fit();
        }
    }

    /// Tells every shard what it should know of the member.
    pub(super) fn tell_facts(&mut self) {
        let facts = Facts {
            term: self.role.term,
            leader: self.role.leader,
            revision: self.sequencer.revision(),
            compact_revision: self.sequencer.compact_revision(),
            alarms: self.sequencer.alarms().list(0),
            role: self.member_role(),
            serving: self.role.serving,
        };
        self.tell_all(|| ToShard::Facts(facts.clone()));
    }

    /// Begins a checkpoint if one is due and everything decided so far can be marked.
    pub(super) fn begin_due_checkpoint(&mut self, now: Instant) {
        let due = self.checkpoints.due(now) || (self.answers.wanted() && self.checkpoints.idle());
        if !due || self.sequence.mid_entry(self.sequencer.applied().index) {
            return;
        }
        let facts = self.manifest_facts();
        let slices = self.config.partition.slices_in_all();
        let generation = self.checkpoints.begin(now, facts, slices);
        self.answers.checkpoint_began(generation);
        self.sequence.batch().checkpoint = Some(generation);
    }

    pub(super) fn manifest_facts(&self) -> Manifest {
        let applied = self.sequencer.applied();
        let consensus::Membership { voters, learners, .. } = self.membership();
        let (log_first, log_position) = match &self.writer {
            Some(writer) => (writer.first_needed().unwrap_or(0), writer.durable().position.0),
            None => (0, 0),
        };
        Manifest {
            generation: 0,
            cluster_id: self.config.cluster_id,
            member_id: self.config.member_id,
            applied_index: applied.index,
            applied_term: applied.term,
            revision: self.sequencer.revision(),
            compact_revision: self.sequencer.compact_revision(),
            log_first,
            log_position,
            voters,
            learners,
            roots: Vec::new(),
        }
    }

    /// A slice's image of the checkpoint is durable.
    pub(super) fn slice_durable(&mut self, slice: SliceId, generation: u64, root: Bytes) {
        if Side::of(slice) != self.config.partition.side {
            return self.staged_root(slice, root);
        }
        let place = self.config.partition.place(slice);
        if let Some(manifest) = self.checkpoints.durable(place, generation, root) {
            self.write_manifest(&manifest);
        }
    }

    pub(super) fn write_manifest(&mut self, manifest: &Manifest) {
        let bytes = manifest.encode();
        assert!(bytes.len().is_multiple_of(BLOCK_BYTES));
        let offset = manifest.slot_offset();
        let request = IoRequest::Write { file: FileId::Manifest, offset, bytes };
        self.submit(Op::ManifestWrite, request);
    }

    pub(super) fn manifest_written(&mut self) {
        self.submit(Op::ManifestSync, IoRequest::Sync { file: FileId::Manifest });
    }

    pub(super) fn manifest_durable(&mut self, now: Instant) {
        self.counts.checkpoint.observe_between(self.checkpoints.began(), now);
        let manifest = self.checkpoints.flipped();
        let (generation, index) = (manifest.generation, manifest.applied_index);
        if manifest.side() != self.config.partition.side {
            return self.retire();
        }
        self.tell_all(|| ToShard::Commit { generation });
        if let Some(writer) = &mut self.writer {
            writer.release(index);
            self.keep_log(self.next_tick);
        }
        let alone = self.sequencer.members().len() == 1;
        if let Some(consensus) = &mut self.consensus {
            // Peers may still need what this member does not.
            if alone {
                consensus.handle(self.next_tick, Event::Compact(index));
            }
        }
        for call in self.answers.checkpoint_done(generation) {
            self.tell(Asker::Call(call), crate::message::Answer::Done);
        }
        self.report(Report::Checkpointed { generation, index });
        if self.start.is_some() {
            self.genesis_durable();
        }
    }

    /// Begins the orderly stop.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.tell_all(|| ToShard::Stop);
        match &mut self.writer {
            Some(writer) => writer.seal(),
            None => self.report(Report::Stopped),
        }
    }

    /// Reports the end of the stop once the log has nothing more to write.
    pub(super) fn finish_stop(&mut self) {
        let idle = self.writer.as_ref().is_none_or(wal::Writer::is_idle);
        if self.stopping && idle && !self.stopped {
            self.stopped = true;
            self.report(Report::Stopped);
        }
    }
}
