//! Owns the deciding of committed commands, in log order, and the frozen batches and outcomes that
//! come of it.
//! Never reads a value: a command that hangs on one makes a barrier, and nothing after it is
//! decided before the slices have answered. Invariant: a batch's changes are in order of revision,
//! and a shard hears of a batch before it hears of any outcome in it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use base::{Instant, Prng};
use consensus::Event;
use state::sequencer::LogPosition;
use state::{
    Applied, CheckpointPolicy, Command, CommandBatch, MetaChange, Outcome, SequencerOptions, Step,
    TxnStep, ValueAnswer, ValueNeed, Values,
};
use wal::{Entry, EntryKind};
use wire::etcdserverpb as pb;

use super::rounds::Asker;
use super::upkeep::Publication;
use super::{Leader, LeaderConfig, LeaderEffect, Report};
use crate::figures::APPLY_SLOW;
use crate::message::{Answer, ApplyBatch, CallId, CallRef, OutcomeAt, ShardId, ToShard};

/// Batches that a shard may be behind before nothing new is decided.
const BATCHES_BEHIND_MAX: u64 = 256;

/// The commands that are committed and not yet decided, and what was decided in this turn.
pub struct Sequence {
    committed: VecDeque<Committed>,
    barrier: Option<Barrier>,
    // When the first barrier of the entry in front rose.
    waited_since: Option<Instant>,
    fetch: u64,
    batch: ApplyBatch,
    outcomes: BTreeMap<ShardId, Vec<(CallId, OutcomeAt)>>,
    progress: BTreeMap<ShardId, u64>,
}

struct Committed {
    index: u64,
    term: u64,
    commands: VecDeque<Command>,
    change: Option<Entry>,
}

/// What waits for values.
struct Barrier {
    fetch: u64,
    needs: Vec<ValueNeed>,
    then: Then,
}

enum Then {
    Command,
    Plan { call: CallRef, request: pb::TxnRequest },
}

impl Sequence {
    /// Nothing committed yet.
    pub fn new() -> Sequence {
        Sequence {
            committed: VecDeque::new(),
            barrier: None,
            waited_since: None,
            fetch: 0,
            batch: Leader::empty_batch(1, 1),
            outcomes: BTreeMap::new(),
            progress: BTreeMap::new(),
        }
    }

    /// The next batch continues from this revision.
    pub fn begin_at(&mut self, revision: i64) {
        self.batch.revision = revision;
    }

    /// A shard has taken in the batch.
    pub fn progressed(&mut self, shard: ShardId, seq: u64) {
        self.progress.insert(shard, seq);
    }

    /// False while a shard is too far behind.
    pub fn has_room(&self) -> bool {
        let slowest = self.progress.values().min().copied().unwrap_or(0);
        self.batch.seq <= slowest + BATCHES_BEHIND_MAX
    }

    /// True while a fetch is under way.
    pub fn blocked(&self) -> bool {
        self.barrier.is_some()
    }

    /// The applied index if its entry is decided to the end, else the one before.
    pub fn applied_whole(&self, applied: u64) -> u64 {
        match self.committed.front() {
            Some(entry) if entry.index == applied => applied - 1,
            Some(_) | None => applied,
        }
    }

    /// True while an entry is decided in part.
    pub fn mid_entry(&self, applied: u64) -> bool {
        self.applied_whole(applied) != applied
    }

    /// The batch under construction.
    pub fn batch(&mut self) -> &mut ApplyBatch {
        &mut self.batch
    }

    fn note(&mut self, call: CallRef, at: OutcomeAt) {
        self.outcomes.entry(call.shard).or_default().push((call.call, at));
    }
}

/// What the sequencer is told.
pub fn options(_config: &LeaderConfig, dice: &mut Prng) -> SequencerOptions {
    SequencerOptions { hash_seed: dice.next_u64(), lease_checkpoints: CheckpointPolicy::Off }
}

impl Leader {
    /// Entries that the group has committed.
    pub(super) fn take_committed(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            let commands = match entry.kind {
                EntryKind::Normal if entry.data.is_empty() => VecDeque::new(),
                EntryKind::Normal => match CommandBatch::decode(&entry.data) {
                    Ok(batch) => {
                        self.note_origins(&batch);
                        batch.commands.into()
                    }
                    Err(error) => {
                        let what = format!(
                            "log entry {} cannot be understood ({error:?}): it was written by a \
                             newer version; start that version",
                            entry.index
                        );
                        return self.broken(what);
                    }
                },
                EntryKind::Change | EntryKind::ChangeV2 => VecDeque::new(),
            };
            let (index, term) = (entry.index, entry.term);
            // A leader may put an empty entry in place of a change that it finds untimely.
            let changes = entry.kind != EntryKind::Normal;
            let change = changes.then_some(entry);
            self.sequence.committed.push_back(Committed { index, term, commands, change });
        }
    }

    /// Whether nothing new is proposed before a shard has said how far it has come.
    pub fn is_held_up(&self) -> bool {
        !self.sequence.has_room()
    }

    /// Decides what can be decided. True if anything was.
    pub(super) fn run_sequence(&mut self, now: Instant) -> bool {
        let mut any = false;
        while self.sequence.barrier.is_none() {
            let Some(entry) = self.sequence.committed.front_mut() else { break };
            let at = LogPosition { term: entry.term, index: entry.index };
            any = true;
            if let Some(change) = entry.change.take() {
                self.apply_change(at, &change);
                continue;
            }
            let Some(command) = entry.commands.pop_front() else {
                self.sequence.committed.pop_front();
                self.entry_done(now, at);
                continue;
            };
            match self.sequencer.apply(at, &command) {
                Step::Done(applied) => self.decided(now, at, &command, applied),
                Step::NeedValues(needs) => {
                    self.sequence.waited_since.get_or_insert(now);
                    let entry = self.sequence.committed.front_mut().expect("still at the front");
                    entry.commands.push_front(command);
                    self.fetch(needs, Then::Command);
                }
            }
        }
        any
    }

    fn entry_done(&mut self, now: Instant, at: LogPosition) {
        if let Some(since) = self.sequence.waited_since.take() {
            self.counts.applies_slow += u64::from(now.since(since) > APPLY_SLOW);
        }
        self.sequencer.skip(at);
        self.consensus().handle(now, Event::Applied(at.index));
        self.lead_if_forced(now, at.index);
        // The first entry of our own term: nothing of an older leader is still to come, so leases
        // may start running here and the member may publish itself.
        let own_term = self.leads() && self.role.term == at.term;
        if own_term && !self.sequencer.leases().is_primary() {
            self.sequencer.leases_mut().promote(now, self.config.election_timeout);
            self.begin_versions(now);
        }
    }

    fn decided(&mut self, now: Instant, at: LogPosition, command: &Command, mut applied: Applied) {
        self.count(&applied);
        self.notice(now, &applied);
        crate::message::extend(&mut self.sequence.batch, &mut applied);
        let own = command.origin.member == self.config.member_id;
        // Of an earlier life nobody waits, and what it published does not say that this one serves.
        if !own || !self.proposals.is_of_this_life(command.origin.sequence) {
            return;
        }
        let (lost, call) = self.proposals.settle(command.origin.sequence);
        self.counts.proposals_lost += lost.len() as u64;
        for call in lost {
            self.refuse(call, wire::ApiError::Timeout);
        }
        let outcome =
            OutcomeAt { term: at.term, revision: applied.revision, outcome: applied.outcome };
        match call {
            Some(call) if outcome.outcome == Outcome::DowngradeTarget => {
                self.tell(Asker::Call(call), self.version_answer());
            }
            Some(call) => self.sequence.note(call, outcome),
            None => self.own_outcome(outcome.outcome),
        }
    }

    /// Tells what all members notice of a command, whoever sent it.
    fn notice(&mut self, now: Instant, applied: &Applied) {
        match &applied.outcome {
            Outcome::ClusterVersion => self.version_changed(),
            Outcome::DowngradeTarget => self.target_changed(now),
            Outcome::Alarm(named) => self.alarm_changed(named, &applied.meta),
            Outcome::Compact { .. } => {
                let revision = applied.compacted.expect("a compaction moves it");
                self.compaction_decided(revision);
            }
            Outcome::Failed(_)
            | Outcome::Put(_)
            | Outcome::DeleteRange(_)
            | Outcome::Txn(_)
            | Outcome::LeaseGrant { .. }
            | Outcome::LeaseRevoke
            | Outcome::LeasesExpired { .. }
            | Outcome::LeaseCheckpoint
            | Outcome::MemberAttributes
            | Outcome::MemberChange => {}
        }
    }

    /// An alarm that was on already, or off, is no news.
    fn alarm_changed(&mut self, named: &[pb::AlarmMember], meta: &[MetaChange]) {
        for (alarm, change) in named.iter().zip(meta) {
            let pb::AlarmMember { member_id: member, alarm } = *alarm;
            self.report(Report::Alarm { member, alarm, is_on: change.value.is_some() });
        }
    }

    /// A command that no client sent was decided.
    fn own_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::MemberAttributes => self.publication = Publication::Done,
            Outcome::ClusterVersion => self.version_done(),
            Outcome::Failed(_)
            | Outcome::Put(_)
            | Outcome::DeleteRange(_)
            | Outcome::Txn(_)
            | Outcome::Compact { .. }
            | Outcome::LeaseGrant { .. }
            | Outcome::LeaseRevoke
            | Outcome::LeasesExpired { .. }
            | Outcome::LeaseCheckpoint
            | Outcome::Alarm(_)
            | Outcome::MemberChange
            | Outcome::DowngradeTarget => {}
        }
    }

    /// Asks the slices, behind everything that was decided before.
    fn fetch(&mut self, needs: Vec<ValueNeed>, then: Then) {
        self.send_batch();
        self.sequence.fetch += 1;
        let fetch = self.sequence.fetch;
        self.sequence.barrier = Some(Barrier { fetch, needs: needs.clone(), then });
        let message = ToShard::Fetch { fetch, needs };
        self.out.push_back(LeaderEffect::ToShard { shard: ShardId(0), message });
    }

    /// The slices answered.
    pub(super) fn take_values(&mut self, now: Instant, fetch: u64, answers: Vec<ValueAnswer>) {
        let barrier = self.sequence.barrier.take().expect("values were asked for");
        assert_eq!(barrier.fetch, fetch, "one fetch at a time");
        assert_eq!(barrier.needs.len(), answers.len(), "one answer for each need");
        let mut values = Values::none();
        for (need, answer) in barrier.needs.into_iter().zip(answers) {
            values.answer(need, answer);
        }
        match barrier.then {
            Then::Plan { call, request } => self.plan_with(call, request, &values),
            Then::Command => {
                let entry = self.sequence.committed.front_mut().expect("it waited here");
                let at = LogPosition { term: entry.term, index: entry.index };
                let command = entry.commands.pop_front().expect("it waited here");
                match self.sequencer.apply_with(at, &command, &values) {
                    Step::Done(applied) => self.decided(now, at, &command, applied),
                    Step::NeedValues(needs) => {
                        unreachable!("all needs were answered, now {needs:?}")
                    }
                }
            }
        }
    }

    /// Plans a transaction that only reads.
    pub(super) fn plan(&mut self, call: CallRef, request: pb::TxnRequest) {
        self.plan_with(call, request, &Values::none());
    }

    fn plan_with(&mut self, call: CallRef, request: pb::TxnRequest, values: &Values) {
        match self.sequencer.plan_txn(&request, values) {
            Ok(TxnStep::Done(plan)) => {
                self.count_read(&plan);
                self.tell(Asker::Call(call), Answer::Plan(plan));
            }
            Ok(TxnStep::NeedValues(needs)) => self.fetch(needs, Then::Plan { call, request }),
            Err(error) => self.tell(Asker::Call(call), Answer::Failed(error)),
        }
    }

    /// Sends what was decided: the batch to every shard, then each shard's outcomes.
    pub(super) fn send_batch(&mut self) {
        let batch = &mut self.sequence.batch;
        let full = !batch.changes.is_empty()
            || !batch.meta.is_empty()
            || batch.compact.is_some()
            || batch.checkpoint.is_some();
        if full {
            let next = Leader::empty_batch(batch.seq + 1, batch.revision);
            let batch = Arc::new(std::mem::replace(batch, next));
            self.tell_all(|| ToShard::Apply(batch.clone()));
        }
        for (shard, outcomes) in std::mem::take(&mut self.sequence.outcomes) {
            let message = ToShard::Outcomes(outcomes);
            self.out.push_back(LeaderEffect::ToShard { shard, message });
        }
    }

    /// A call gets an error instead of an outcome.
    pub(super) fn refuse(&mut self, call: CallRef, error: wire::ApiError) {
        let (term, revision) = (self.role.term, self.sequencer.revision());
        let outcome = Outcome::Failed(error);
        self.sequence.note(call, OutcomeAt { term, revision, outcome });
    }

    /// Reports when the member has published itself.
    pub(super) fn notice_publication(&mut self) {
        if self.publication == Publication::Done && !self.role.serving {
            self.role.serving = true;
            self.tell_facts();
            self.report(Report::Serving);
        }
    }
}
