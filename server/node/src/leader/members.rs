//! Owns changes of the cluster's members: what is asked, whether it may be done now, the entry that
//! does it, and who waits for that.
//! Never keeps a second list: the members are the sequencer's, the voters follow from them.
//! Invariant: one change is in the log at a time, it was checked against the list that it changes,
//! and the group accepts it exactly if the sequencer does.

use std::collections::{BTreeSet, VecDeque};

use base::Instant;
use base::bytes_le::Take;
use bytes::{BufMut, Bytes, BytesMut};
use consensus::Membership;
use state::sequencer::LogPosition;
use state::{Member, MemberChange, MemberRole};
use wal::{Entry, EntryKind, Window};
use wire::{ApiError, etcdserverpb as pb};

use super::rounds::Asker;
use super::{Leader, LeaderEffect, Report};
use crate::message::{Answer, MemberAsk, Question};
use crate::peer::{PeerAnswer, PeerNote};

/// Changes that wait for the one in the log.
const WAITING_MAX: usize = 16;

/// Changes under way.
pub struct Changes {
    waiting: VecDeque<Waiting>,
    in_log: Option<InLog>,
    number: u64,
}

/// Asked for, and not in the log yet.
struct Waiting {
    asker: Asker,
    question: Question,
    since: Instant,
}

struct InLog {
    asker: Asker,
    number: u64,
    term: u64,
}

impl Changes {
    /// None. `epoch` makes the numbers differ from those of an earlier life of the process.
    pub fn new(epoch: u64) -> Changes {
        Changes { waiting: VecDeque::new(), in_log: None, number: epoch << 32 }
    }

    /// The change is not wanted any more, unless it is in the log.
    pub fn forget(&mut self, asker: Asker) {
        self.waiting.retain(|waiting| waiting.asker != asker);
    }
}

/// What a change entry carries besides the group's own words: who asked, and the list's change.
pub(super) struct Context {
    member: u64,
    number: u64,
    change: MemberChange,
}

/// What a change entry of the log does to the list; `None` if it cannot be understood.
pub(super) fn list_change(entry: &Entry) -> Option<MemberChange> {
    let change = consensus::Change::decode(entry).ok()?;
    Some(Context::decode(&change.context)?.change)
}

/// Whom committed entries remove. A member that is still in the list, because they are not applied
/// yet, is not talked to any more: it could be of a majority that goes on without this member.
pub(super) fn removals(window: &Window, commit: u64) -> BTreeSet<u64> {
    let entries = window.entries(window.first_index(), commit + 1, u64::MAX);
    let entries = entries.unwrap_or_else(|_| unreachable!("nothing was compacted yet"));
    let changes = entries.iter().filter(|entry| entry.kind != EntryKind::Normal);
    let removed = changes.filter_map(|entry| match list_change(entry)? {
        MemberChange::Remove(id) => Some(id),
        MemberChange::Add(_) | MemberChange::Promote(_) | MemberChange::UpdatePeerUrls { .. } => {
            None
        }
    });
    removed.collect()
}

/// Why a change entry stops the member.
pub(super) fn misunderstood(entry: &Entry) -> String {
    format!(
        "log entry {} changes members in a way that cannot be understood: it was written by a \
         newer version; start that version",
        entry.index
    )
}

impl Context {
    /// Of a change that nobody waits for: numbers of questions begin at 1.
    pub(super) fn unasked(member: u64, change: MemberChange) -> Bytes {
        Context { member, number: 0, change }.encode()
    }

    fn encode(&self) -> Bytes {
        let change = self.change.encode();
        let mut to = BytesMut::with_capacity(16 + change.len());
        to.put_u64_le(self.member);
        to.put_u64_le(self.number);
        to.put_slice(&change);
        to.freeze()
    }

    fn decode(bytes: &[u8]) -> Option<Context> {
        let mut from = Take::new(bytes);
        let (member, number) = (from.u64().ok()?, from.u64().ok()?);
        let change = MemberChange::decode(from.rest()).ok()?;
        Some(Context { member, number, change })
    }
}

impl Leader {
    /// Members in the words of the API, by id.
    pub(super) fn members(&self) -> Vec<pb::Member> {
        self.sequencer.members().iter().map(in_words).collect()
    }

    /// Who votes and who learns, as the list says.
    pub(super) fn membership(&self) -> Membership {
        let ids = |role: MemberRole| {
            let members = self.sequencer.members().iter();
            members.filter(|member| member.role == role).map(|member| member.id).collect()
        };
        let (voters, learners) = (ids(MemberRole::Voter), ids(MemberRole::Learner));
        Membership { voters, learners, ..Membership::default() }
    }

    /// Whether this member votes; who does not know yet what it is counts as one who does.
    pub(super) fn member_role(&self) -> MemberRole {
        let own = self.sequencer.members().get(self.config.member_id);
        own.map_or(MemberRole::Voter, |member| member.role)
    }

    /// A change was asked for, and leadership was confirmed since. It is checked when its turn
    /// comes, since those before it change the list.
    pub(super) fn change_members(&mut self, now: Instant, asker: Asker, question: Question) {
        match self.changes.waiting.len() < WAITING_MAX {
            true => self.changes.waiting.push_back(Waiting { asker, question, since: now }),
            false => self.tell(asker, Answer::Failed(ApiError::TooManyRequests)),
        }
    }

    fn change_of(&mut self, now: Instant, question: Question) -> Result<MemberChange, ApiError> {
        self.refusal(now, &question).map_or(Ok(()), Err)?;
        match question {
            Question::AddMember { peer_urls, role } => self.addition(peer_urls, role),
            Question::ChangeMember { id, change } => self.alteration(id, change),
            other => unreachable!("{other:?} changes no member"),
        }
    }

    fn addition(
        &mut self,
        peer_urls: Vec<String>,
        role: MemberRole,
    ) -> Result<MemberChange, ApiError> {
        let mut id = self.dice.next_u64();
        // Etcd's ids are 63 bits of a hash as often as 64; only 0 has a meaning.
        while id == 0 || self.sequencer.members().get(id).is_some() {
            id = self.dice.next_u64();
        }
        let name = String::new();
        let member = Member { id, name, peer_urls, client_urls: Vec::new(), role };
        let change = MemberChange::Add(member);
        self.sequencer.members().check(&change)?;
        if role == MemberRole::Learner {
            let members = self.sequencer.members().iter();
            let learners = members.filter(|member| member.role == MemberRole::Learner).count();
            if self.config.learners_max <= learners {
                return Err(ApiError::TooManyLearners);
            }
        }
        Ok(change)
    }

    fn alteration(&self, id: u64, ask: MemberAsk) -> Result<MemberChange, ApiError> {
        let change = match ask {
            MemberAsk::Remove => MemberChange::Remove(id),
            MemberAsk::Update { peer_urls } => MemberChange::UpdatePeerUrls { id, peer_urls },
            MemberAsk::Promote => MemberChange::Promote(id),
        };
        self.sequencer.members().check(&change)?;
        if let MemberChange::Promote(id) = change {
            self.may_promote(id)?;
        }
        Ok(change)
    }

    /// Puts the next change into the log, if none is there.
    pub(super) fn propose_changes(&mut self, now: Instant) {
        if self.changes.in_log.as_ref().is_some_and(|change| change.term != self.role.term) {
            // Whether it will ever be applied is not known any more: its call waits for its limit.
            self.changes.in_log = None;
        }
        if !self.leads() {
            return self.pass_changes_on();
        }
        while self.changes.in_log.is_none() {
            let Some(Waiting { asker, question, since }) = self.changes.waiting.pop_front() else {
                return;
            };
            if self.config.request_timeout() <= now.since(since) {
                // Its client was told that nobody knows; nothing may come of it now.
                continue;
            }
            let promotes =
                matches!(question, Question::ChangeMember { change: MemberAsk::Promote, .. });
            let change = match self.change_of(now, question.clone()) {
                Ok(change) => change,
                Err(error) => {
                    if promotes {
                        self.count_refused_promotion(&error);
                    }
                    self.tell(asker, Answer::Failed(error));
                    continue;
                }
            };
            if !self.propose_change(asker, change) {
                // The group takes none now: leadership is on its way elsewhere, or an older
                // leader's change is not applied yet.
                self.changes.waiting.push_front(Waiting { asker, question, since });
                return;
            }
        }
    }

    /// Whether the change is in the log.
    fn propose_change(&mut self, asker: Asker, change: MemberChange) -> bool {
        let step = self.group_change(&change);
        let number = self.changes.number + 1;
        let context = Context { member: self.config.member_id, number, change }.encode();
        if self.consensus().propose_change(step, context).is_err() {
            return false;
        }
        self.changes.number = number;
        self.changes.in_log = Some(InLog { asker, number, term: self.role.term });
        true
    }

    /// Leadership went before their turn came: whoever leads now is asked.
    fn pass_changes_on(&mut self) {
        for Waiting { asker, question, since } in std::mem::take(&mut self.changes.waiting) {
            match asker {
                Asker::Call(call) => self.forward(since, call, question),
                Asker::Peer { member, number } => {
                    let note = PeerNote::Answer { number, answer: PeerAnswer::NotLeader };
                    self.out.push_back(LeaderEffect::Send { to: member, note });
                }
            }
        }
    }

    /// The change in the group's words. New URLs change nothing there: the member is added as what
    /// it is.
    pub(super) fn group_change(&self, change: &MemberChange) -> consensus::MemberChange {
        let add = |id: u64, role: MemberRole| match role {
            MemberRole::Voter => consensus::MemberChange::AddVoter(id),
            MemberRole::Learner => consensus::MemberChange::AddLearner(id),
        };
        match change {
            MemberChange::Add(member) => add(member.id, member.role),
            MemberChange::Remove(id) => consensus::MemberChange::Remove(*id),
            MemberChange::Promote(id) => consensus::MemberChange::AddVoter(*id),
            MemberChange::UpdatePeerUrls { id, .. } => {
                let role = self.sequencer.members().get(*id).map(|member| member.role);
                add(*id, role.unwrap_or(MemberRole::Learner))
            }
        }
    }

    /// A change entry is committed and its turn has come.
    pub(super) fn apply_change(&mut self, at: LogPosition, entry: &Entry) {
        let change = consensus::Change::decode(entry).ok();
        let Some(context) = change.and_then(|change| Context::decode(&change.context)) else {
            return self.broken(misunderstood(entry));
        };
        let refused = self.sequencer.members().check(&context.change).err();
        let mut applied = self.sequencer.change_members(at, context.change.clone());
        crate::message::extend(self.sequence.batch(), &mut applied);
        if refused.is_none() {
            self.change_accepted(entry);
        }
        let ours = context.member == self.config.member_id;
        let waits = self.changes.in_log.take_if(|waits| ours && waits.number == context.number);
        if let Some(InLog { asker, .. }) = waits {
            match (&refused, &context.change) {
                (None, MemberChange::Promote(_)) => self.counts.promotions += 1,
                (Some(error), MemberChange::Promote(_)) => self.count_refused_promotion(error),
                (_, MemberChange::Add(_) | MemberChange::Remove(_))
                | (_, MemberChange::UpdatePeerUrls { .. }) => {}
            }
            let answer = match (refused, &context.change) {
                (Some(error), _) => Answer::Failed(error),
                (None, MemberChange::Add(member)) => {
                    let member = Box::new(in_words(member));
                    Answer::Added { member, members: self.members() }
                }
                (None, MemberChange::Remove(_) | MemberChange::Promote(_))
                | (None, MemberChange::UpdatePeerUrls { .. }) => Answer::Members(self.members()),
            };
            self.tell(asker, answer);
        }
    }

    fn change_accepted(&mut self, entry: &Entry) {
        match self.consensus().accept_change(entry) {
            Ok(membership) => assert_eq!(membership, self.membership(), "one list of members"),
            Err(bad) => {
                let what = format!("the group refuses the change of members in {bad:?}");
                return self.broken(what);
            }
        }
        self.connect();
        // A learner that votes from now on serves clients.
        self.tell_facts();
        let own = self.config.member_id;
        if self.sequencer.members().removed().any(|id| id == own) {
            self.report(Report::Removed);
        }
    }
}

fn in_words(member: &Member) -> pb::Member {
    pb::Member {
        id: member.id,
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
        is_learner: member.role == MemberRole::Learner,
    }
}
