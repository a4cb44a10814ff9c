//! Owns the restart of a member whose cluster lost its majority for ever (`--force-new-cluster`):
//! what its log must say so that it goes on alone.
//! Never touches the list of members: the entries written here do, when they are applied.
//! Invariant: the removals and the commit index that covers them are one batch of the log, so a
//! crash leaves a member of the old cluster or a cluster of one, never something between.
//!
//! ```text
//!   entries in the log          removals, one term on        hard state
//!   5  6  7 | 8  9            -> 10: remove a   11: remove b -> term + 1, own vote, commit 11
//!         commit (may lag)
//! ```
//! etcd forgets 8 and 9, and with them what a leader acknowledged whose word of it had not
//! come yet. Here they stay: what a client was told is kept, what it was not told may be kept.

use base::Instant;
use consensus::Event;
use state::{MemberChange, MemberRole};
use wal::{Entry, EntryKind, HardState, Mark, Record, Restored, Urgency, Window};

use super::{Leader, Report, members};

impl Leader {
    /// The log is read: everything in it counts, and all other members go.
    pub(super) fn force(&mut self, mut restored: Restored) {
        let changes = match self.changes_to_be_alone(&restored.window) {
            Ok(changes) => changes,
            Err(report) => return self.report(report),
        };
        let known = restored.hard_state.commit;
        let held = restored.window.last().index;
        let term = restored.hard_state.term + 1;
        let mut entries: Vec<Entry> = Vec::new();
        for (change, index) in changes.iter().zip(held + 1..) {
            let context = members::Context::unasked(self.config.member_id, change.clone());
            let at = Mark { term, index };
            entries.push(self.group_change(change).entry(at, context));
        }
        let commit = held + entries.len() as u64;
        let removed = changes.iter().filter_map(|change| match change {
            MemberChange::Remove(id) => Some(*id),
            MemberChange::Add(_)
            | MemberChange::Promote(_)
            | MemberChange::UpdatePeerUrls { .. } => None,
        });
        let removed = removed.collect();
        self.report(Report::Forced { removed, known, held, commit });
        if entries.is_empty() {
            // It is alone already: what its log holds is committed as soon as it leads.
            return self.run(restored);
        }
        let writer = self.writer.as_mut().expect("the log is open");
        for entry in &entries {
            writer.append(Record::Entry(entry.clone()), Urgency::Wait);
        }
        // As if it had won the next election, with the only vote that counts from now on.
        restored.hard_state = HardState { term, vote: self.config.member_id, commit };
        let last = writer.append(Record::HardState(restored.hard_state), Urgency::Wait);
        assert!(writer.waiting_bytes() <= base::limits::LOG_BATCH_BYTES, "one batch takes it all");
        restored.window.append(entries);
        self.forced = Some(commit);
        self.await_forced(restored, last);
    }

    /// What must change after all that the log holds is applied, so that this member is alone.
    fn changes_to_be_alone(&self, window: &Window) -> Result<Vec<MemberChange>, Report> {
        let own = self.config.member_id;
        let mut members = self.sequencer.members().clone();
        let end = window.last().index + 1;
        let entries = window.entries(window.first_index(), end, u64::MAX);
        let entries = entries.unwrap_or_else(|_| unreachable!("nothing was compacted yet"));
        for entry in entries.iter().filter(|entry| entry.kind != EntryKind::Normal) {
            let Some(change) = members::list_change(entry) else {
                return Err(Report::Broken { what: members::misunderstood(entry) });
            };
            // One that is refused changes nothing, here as when it is applied.
            let _ = members.change(change);
        }
        let Some(member) = members.get(own) else {
            let why = match members.removed().any(|id| id == own) {
                true => "it was removed from its cluster: force another one",
                false => "it has heard nothing from its cluster yet: force one that holds data",
            };
            return Err(Report::NotForced { why });
        };
        // A group must have a voter at any time.
        let promotion = (member.role == MemberRole::Learner).then_some(MemberChange::Promote(own));
        let others = members.iter().filter(|member| member.id != own);
        let removals = others.map(|member| MemberChange::Remove(member.id));
        Ok(promotion.into_iter().chain(removals).collect())
    }

    /// The last removal is applied: nobody else could lead.
    pub(super) fn lead_if_forced(&mut self, now: Instant, applied: u64) {
        if self.forced == Some(applied) {
            self.consensus().handle(now, Event::Campaign);
        }
    }
}
