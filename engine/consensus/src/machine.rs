//! Owns the driving of the library: events in, readies turned into effects, in the order that
//! keeps Raft's promises. Never lets the library draw its own dice: it seeds election timeouts
//! from the system, so ours is set over it after every call.

use std::collections::VecDeque;

use base::Instant;
use bytes::Bytes;
use raft::eraftpb::{self, MessageType};
use raft::{ProgressState, RawNode, SnapshotStatus, StateRole};
use wal::{Entry, EntryKind, Mark, Urgency};

use crate::change::{self, BadChange, MemberChange};
use crate::config::{Config, Start};
use crate::convert::{self, Membership};
use crate::effect::{
    Delivery, Effect, Event, Persist, ProposeError, Proposed, ReadyNumber, Role, RoleChange,
    Snapshot,
};
use crate::fetches::Fetches;
use crate::haste::Haste;
use crate::held::{HeldBack, Released};
use crate::message::PeerMessage;
use crate::notices::Notices;
use crate::reads::Reads;
use crate::status::{Progress, Status};
use crate::store::Store;
use crate::timer::Timer;

/// One member's part in the group.
pub struct Consensus {
    config: Config,
    pub(crate) raw: RawNode<Store>,
    pub(crate) effects: VecDeque<Effect>,
    held: HeldBack,
    reads: Reads,
    notices: Notices,
    role: RoleChange,
    /// Term of the hard state that is durable.
    durable_term: u64,
    timer: Timer,
    haste: Haste,
    pub(crate) fetches: Fetches,
}

impl Consensus {
    /// A member that goes on from `start`. It follows until it hears of a leader, times out or is
    /// told to campaign.
    pub fn new(config: Config, start: Start) -> Consensus {
        assert!(start.window.base().index <= start.applied);
        assert!(start.applied <= start.hard_state.commit);
        assert!(
            start.hard_state.commit <= start.window.last().index,
            "committed entries are missing"
        );
        let durable_term = start.hard_state.term;
        let store = Store::new(start.window, start.hard_state, start.membership);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config.for_raft(start.applied), store, &logger)
            .unwrap_or_else(|error| unreachable!("the configuration was checked: {error}"));
        let role = RoleChange { leader: None, term: durable_term, role: Role::Follower };
        let mut consensus = Consensus {
            config,
            raw,
            effects: VecDeque::new(),
            held: HeldBack::default(),
            reads: Reads::new(config.id, config.boot),
            notices: Notices::default(),
            role,
            durable_term,
            timer: Timer::new(config.seed, config.election_ticks),
            haste: Haste::new(config.seed, config.election_ticks),
            fetches: Fetches::default(),
        };
        consensus.after_call();
        consensus
    }

    /// Something happened. Effects follow from [`Consensus::poll_effect`]; several events may be
    /// handed in before it is drained, which makes larger batches.
    pub fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Tick => {
                self.raw.tick();
                self.note_role();
                if self.haste.tick(self.role.role, self.role.leader) {
                    self.stand();
                }
                self.fetches.tick();
                let lost = self.reads.lose_old(now, self.config.read_timeout);
                self.lose(lost);
            }
            Event::Received(message) => self.received(message),
            Event::Persisted(number) => self.persisted(number),
            Event::Applied(index) => {
                // A snapshot that came after these entries stands for them.
                if self.raw.raft.raft_log.applied < index {
                    self.raw.advance_apply_to(index);
                }
                self.raw.mut_store().window.trim(index, self.config.window_bytes);
            }
            Event::ReadIndex(context) => self.reads.queue(context, now),
            Event::Unreachable(peer) => self.raw.report_unreachable(peer),
            Event::Ended(peer) => self.ended(peer),
            Event::SnapshotSent { peer, delivery } => {
                let status = match delivery {
                    Delivery::Delivered => SnapshotStatus::Finish,
                    Delivery::Failed => SnapshotStatus::Failure,
                };
                self.raw.report_snapshot(peer, status);
            }
            Event::SnapshotMade { peer, snapshot } => {
                assert!(snapshot.at.index <= self.raw.raft.raft_log.applied);
                self.raw.mut_store().snapshots.insert(peer, snapshot);
            }
            Event::SnapshotDropped { peer } => {
                self.raw.mut_store().snapshots.remove(&peer);
            }
            Event::Compact(index) => {
                assert!(index <= self.raw.raft.raft_log.applied);
                self.raw.mut_store().window.compact(index);
            }
            Event::Held(after) => self.raw.mut_store().window.hold(after),
            Event::Fetched { low, entries } => self.fetched(low, entries),
            Event::TellCommit(peer) => self.tell_commit(peer),
            Event::Campaign => self.stand(),
            Event::TransferLeader(to) => self.raw.transfer_leader(to),
        }
        self.after_call();
    }

    /// What should be done next. Drain it after handing in events.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        loop {
            if let Some(effect) = self.effects.pop_front() {
                return Some(effect);
            }
            self.ask_reads();
            if self.raw.has_ready() {
                self.take_ready();
                self.after_call();
            } else if self.effects.is_empty() {
                return None;
            }
        }
    }

    /// Appends data to the log, if this member leads. Entries carry the data alone: the proposer
    /// knows its own by [`Proposed`] or by what it put inside.
    pub fn propose(&mut self, data: Bytes) -> Result<Proposed, ProposeError> {
        self.propose_entry(eraftpb::Entry { data, ..eraftpb::Entry::default() })
    }

    /// Proposes one step of a membership change. It takes effect when its entry is applied and
    /// handed to [`Consensus::accept_change`].
    pub fn propose_change(
        &mut self,
        change: MemberChange,
        context: Bytes,
    ) -> Result<Proposed, ProposeError> {
        use protobuf::Message as _;
        if self.raw.raft.has_pending_conf() {
            return Err(ProposeError::ChangePending);
        }
        let change = change.for_raft(context);
        let mut entry = eraftpb::Entry::default();
        entry.set_entry_type(eraftpb::EntryType::EntryConfChange);
        entry.data = change.write_to_bytes().expect("a change that was built is whole").into();
        self.propose_entry(entry)
    }

    /// A change entry is being applied and the member accepts it. Answers the new members. A change
    /// that is refused is simply not handed in.
    pub fn accept_change(&mut self, entry: &Entry) -> Result<Membership, BadChange> {
        let change = change::parse(entry)?;
        let state =
            self.raw.apply_conf_change(&change).map_err(|_| BadChange { index: entry.index })?;
        let membership = convert::membership(&state);
        self.raw.mut_store().membership = membership.clone();
        let raft = &mut self.raw.raft;
        if !membership.voters.contains(&self.config.id) && raft.state != StateRole::Follower {
            // The library would go on leading or standing for election, and stop the process as
            // soon as it looks for its own place among the members.
            raft.become_follower(raft.term, raft::INVALID_ID);
        }
        self.after_call();
        Ok(membership)
    }

    /// Who leads, in which term.
    pub fn role(&self) -> RoleChange {
        self.role
    }

    /// What operators ask about.
    pub fn status(&self) -> Status {
        let raft = &self.raw.raft;
        let mut progress = vec![];
        if raft.state == StateRole::Leader {
            let peers = raft.prs().iter().filter(|(id, _)| **id != self.config.id);
            progress = peers
                .map(|(id, peer)| Progress {
                    id: *id,
                    matched: peer.matched,
                    active: peer.recent_active,
                })
                .collect();
            progress.sort_unstable_by_key(|peer| peer.id);
        }
        Status {
            role: self.role,
            commit: raft.raft_log.committed,
            applied: raft.raft_log.applied,
            last: raft.raft_log.last_index(),
            first: self.raw.store().window.first_index(),
            membership: self.raw.store().membership.clone(),
            progress,
        }
    }

    fn stand(&mut self) {
        // Refused only where it makes no sense, such as for a leader.
        let _ = self.raw.campaign();
    }

    /// A follower of a leader that is no more forgets it, which lets it vote and stand: the rule
    /// that nobody votes within a timeout of hearing from a leader protects leaders that live.
    fn ended(&mut self, peer: u64) {
        let raft = &mut self.raw.raft;
        if raft.state != StateRole::Follower || raft.leader_id != peer {
            return;
        }
        raft.become_follower(raft.term, raft::INVALID_ID);
        let voters = &self.raw.store().membership.voters;
        let own = self.config.id;
        if voters.contains(&own) {
            let rank = voters.iter().filter(|id| **id < own && **id != peer).count();
            self.haste.leader_ended(rank);
        }
    }

    /// Peers that follow closely and were not told how far the group has committed, rising; none
    /// unless this member leads. They learn it from the next append or heartbeat, or from
    /// [`Event::TellCommit`].
    pub fn untold(&self) -> Vec<u64> {
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return vec![];
        }
        let peers = raft.prs().iter().filter(|(id, _)| **id != self.config.id);
        let behind = peers.filter(|(id, peer)| {
            peer.state == ProgressState::Replicate
                && self.notices.is_behind(**id, raft.raft_log.committed)
        });
        let mut ids: Vec<u64> = behind.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    fn propose_entry(&mut self, entry: eraftpb::Entry) -> Result<Proposed, ProposeError> {
        let raft = &mut self.raw.raft;
        if raft.state != StateRole::Leader {
            // The library would forward it, and nobody could answer the proposer.
            return Err(ProposeError::NotLeader { leader: known(raft.leader_id) });
        }
        if raft.lead_transferee.is_some() {
            return Err(ProposeError::Transferring);
        }
        let mut message = eraftpb::Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.config.id;
        message.mut_entries().push(entry);
        raft.step(message).map_err(|_| ProposeError::Full)?;
        let proposed = Proposed { term: raft.term, index: raft.raft_log.last_index() };
        self.after_call();
        Ok(proposed)
    }

    fn received(&mut self, mut message: PeerMessage) {
        if !message.is_for(self.config.id) {
            return;
        }
        if let Some(mark) = message.noticed() {
            // An index and a term name one entry, and all before it: where both are ours, the
            // leader's commit index is good here whatever was answered so far.
            let log = &self.raw.raft.raft_log;
            message.0.commit = if log.match_term(mark.index, mark.term) { mark.index } else { 0 };
        }
        // A refusal is about a peer that left or a stale term: nothing to do.
        let _ = self.raw.step(message.0);
    }

    /// Says to a peer how far the group has committed, if it does not know.
    fn tell_commit(&mut self, peer: u64) {
        let raft = &self.raw.raft;
        let (index, term) = raft.raft_log.commit_info();
        let speaks = raft.state == StateRole::Leader && raft.prs().get(peer).is_some();
        // What an older leader committed is told once something of this reign is.
        if speaks && raft.commit_to_current_term() && self.notices.is_behind(peer, index) {
            let notice = PeerMessage::notice(self.config.id, peer, raft.term, Mark { term, index });
            self.send(notice);
        }
    }

    fn persisted(&mut self, number: ReadyNumber) {
        assert!(self.held.last().is_some_and(|last| number <= last), "{number:?} is not under way");
        let released = self.held.persisted(number);
        self.release(released);
    }

    fn release(&mut self, released: Option<Released>) {
        let Some(Released { number, term, messages }) = released else { return };
        self.durable_term = self.durable_term.max(term);
        messages.into_iter().for_each(|message| self.send(message));
        self.raw.on_persist_ready(number.0);
    }

    fn send(&mut self, message: PeerMessage) {
        if message.answers_notice() {
            return;
        }
        if message.read_point().is_some() {
            // The reader cannot go on before it has applied this much.
            self.tell_commit(message.to());
        }
        self.notices.sent(&message);
        self.effects.push_back(Effect::Send { to: message.to(), message });
    }

    fn lose(&mut self, lost: Vec<crate::effect::ReadContext>) {
        self.effects.extend(lost.into_iter().map(|context| Effect::ReadLost { context }));
    }

    /// Asks for read points. Without a leader the library drops the question, so it is lost here
    /// and now; a leader that has not committed in its term waits until it has.
    fn ask_reads(&mut self) {
        let raft = &self.raw.raft;
        if raft.leader_id == 0 {
            let lost = self.reads.lose_all();
            self.lose(lost);
            return;
        }
        if raft.state == StateRole::Leader && !raft.commit_to_current_term() {
            return;
        }
        while let Some(context) = self.reads.ask_next() {
            self.raw.read_index(context);
        }
    }

    /// Turns one ready into effects. Entries are put into the window, where the library reads them,
    /// before it is told that they left its own hands.
    fn take_ready(&mut self) {
        let mut ready = self.raw.ready();
        let number = ReadyNumber(ready.number());
        let urgency = if ready.must_sync() { Urgency::Wait } else { Urgency::Ride };
        self.note_role();
        for state in ready.take_read_states() {
            let read = self.reads.answered(&state.request_ctx);
            let index = state.index;
            self.effects.extend(read.map(|context| Effect::ReadReady { context, index }));
        }
        let free = ready.take_messages();
        let bound = ready.take_persisted_messages();
        let mark = self.install(ready.snapshot());
        let entries: Vec<Entry> = ready.take_entries().into_iter().map(convert::entry).collect();
        self.raw.mut_store().window.append(entries.clone());
        let hard_state = ready.hs().map(convert::hard_state);
        let apply: Vec<Entry> =
            ready.take_committed_entries().into_iter().map(convert::entry).collect();

        let held = self.send_or_hold(free, bound);
        if mark.is_some() || !entries.is_empty() || hard_state.is_some() {
            let persist = Persist { number, mark, entries, hard_state, urgency };
            self.effects.push_back(Effect::Persist(persist));
        }
        if apply.iter().any(|entry| entry.kind != EntryKind::Normal) {
            // It may remove this member, which then says nothing any more; without its vote the
            // others could be too few to find out that they are enough.
            self.untold().into_iter().for_each(|peer| self.tell_commit(peer));
        }
        if !apply.is_empty() {
            self.effects.push_back(Effect::Apply(apply));
        }
        self.held.push(number, urgency, self.raw.raft.term, held);
        self.raw.advance_append_async(ready);
        let released = self.held.persisted(ReadyNumber(0));
        self.release(released);
    }

    /// A leader's messages may precede its own sync, all others may not. Two exceptions: a
    /// leader whose own term is not durable (it elected itself, alone) must not show it to anyone;
    /// and messages that claim no more than the term need not wait for a slow disk if that is
    /// durable.
    fn send_or_hold(
        &mut self,
        free: Vec<eraftpb::Message>,
        bound: Vec<eraftpb::Message>,
    ) -> Vec<PeerMessage> {
        let term_is_durable = self.raw.raft.term <= self.durable_term;
        let mut held = vec![];
        for message in free.into_iter().map(PeerMessage) {
            if term_is_durable { self.send(message) } else { held.push(message) }
        }
        for message in bound.into_iter().map(PeerMessage) {
            let now = message.claims_only_term() && term_is_durable;
            if now { self.send(message) } else { held.push(message) }
        }
        held
    }

    fn install(&mut self, snapshot: &eraftpb::Snapshot) -> Option<Mark> {
        if snapshot.is_empty() {
            return None;
        }
        let meta = snapshot.get_metadata();
        let at = Mark { term: meta.term, index: meta.index };
        let membership = convert::membership(meta.get_conf_state());
        let store = self.raw.mut_store();
        store.window.reset(at);
        store.membership = membership.clone();
        // The library would look for unapplied entries from before the snapshot if this member
        // campaigned before the store reported it installed, and stop the process for lack of them.
        self.raw.raft.raft_log.applied = at.index;
        let data = snapshot.data.clone();
        self.effects.push_back(Effect::Install(Snapshot { at, membership, data }));
        Some(at)
    }

    fn note_role(&mut self) {
        let raft = &self.raw.raft;
        let now = RoleChange {
            leader: known(raft.leader_id),
            term: raft.term,
            role: role_of(raft.state),
        };
        if now != self.role {
            let new_reign = (now.leader, now.term) != (self.role.leader, self.role.term);
            self.role = now;
            self.effects.push_back(Effect::Role(now));
            if new_reign {
                let lost = self.reads.lose_all();
                self.lose(lost);
                self.notices.forget();
            }
        }
    }

    /// What follows every call into the library.
    fn after_call(&mut self) {
        self.note_role();
        if let Some((peer, index)) = self.raw.store().take_wanted() {
            self.effects.push_back(Effect::SnapshotWanted { peer, index });
        }
        self.fetch_asked();
        let raft = &mut self.raw.raft;
        let role = role_of(raft.state);
        let ticks = self.timer.ticks(raft.term, role, raft.election_elapsed);
        raft.set_randomized_election_timeout(ticks);
    }
}

fn known(leader: u64) -> Option<u64> {
    (leader != raft::INVALID_ID).then_some(leader)
}

fn role_of(state: StateRole) -> Role {
    match state {
        StateRole::Follower => Role::Follower,
        StateRole::PreCandidate => Role::PreCandidate,
        StateRole::Candidate => Role::Candidate,
        StateRole::Leader => Role::Leader,
    }
}

#[cfg(test)]
mod tests;
