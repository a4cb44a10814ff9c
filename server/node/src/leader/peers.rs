//! Owns what passes between this member and its peers: which notes go out, what becomes of those
//! that arrive, and whom this member talks to beside its own list.
//! Never resends: what the group needs it says again itself. Invariant: a note of a member that
//! neither this list nor a peer's names, or that was removed, changes nothing.
//!
//! A member that lags does not know of members that were added, or moved, since. If one of those
//! leads, it would never learn of it: nobody else appends to its log. So it asks the peers that it
//! knows who the others are, and talks to them until its own list has come so far. And everybody
//! tells the peers from which nothing comes who the members are: they may look for the others where
//! those were before.

use std::collections::BTreeMap;
use std::time::Duration;

use base::Instant;
use consensus::{Event, PeerMessage};
use state::{CommandBatch, Member};
use wire::etcdserverpb as pb;

use super::{Founding, Leader, LeaderEffect, PeerPlace};
use crate::peer::{PeerAnswer, PeerAsk, PeerNote};

/// The number of the question who the members are. Questions of calls begin beyond it.
pub const WHO: u64 = 0;
/// Members that peers told of, at most; a cluster has fewer.
const HEARD_OF_MAX: usize = 64;

/// Members that peers told of, and where they are reached, as far as our own list does not say so.
pub type HeardOf = BTreeMap<u64, Vec<String>>;

/// How long peers may not know of a commit that nobody there waits for: watchers and serializable
/// reads there are so much behind at most, if no write follows. Appends tell it for nothing.
const UNTOLD_MAX: Duration = Duration::from_millis(2);

impl Leader {
    /// A batch is committed: the members whose clients wait for it should hear of that.
    pub(super) fn note_origins(&mut self, batch: &CommandBatch) {
        if !self.leads() {
            return;
        }
        let own = self.config.member_id;
        let mut noted = own;
        for command in &batch.commands {
            let origin = command.origin.member;
            // Commands of one member stand side by side, as they came.
            if origin != own && origin != noted {
                noted = origin;
                self.awaited_at.insert(origin);
            }
        }
    }

    /// Tells them, at the end of a turn: those to whom an append went in this turn know it by that.
    pub(super) fn tell_origins(&mut self, now: Instant) {
        for origin in std::mem::take(&mut self.awaited_at) {
            self.consensus().handle(now, Event::TellCommit(origin));
        }
    }

    /// Looks whether a peer does not know of a commit, at the end of a turn.
    pub(super) fn note_untold(&mut self, now: Instant) {
        let is_untold = self.leads() && !self.consensus().untold().is_empty();
        self.untold_since = is_untold.then(|| self.untold_since.unwrap_or(now));
    }

    /// When peers should be told of commits even if nothing else is said to them.
    pub(super) fn telling_deadline(&self) -> Option<Instant> {
        self.untold_since.map(|since| since + UNTOLD_MAX)
    }

    /// Tells peers of commits that nothing told them in time.
    pub(super) fn tell_commits(&mut self, now: Instant) {
        if self.telling_deadline().is_some_and(|at| at <= now) {
            for peer in self.consensus().untold() {
                self.consensus().handle(now, Event::TellCommit(peer));
            }
        }
    }

    /// The group wants a message sent.
    pub(super) fn send_raft(&mut self, to: u64, message: PeerMessage) {
        self.out.push_back(LeaderEffect::Send { to, note: PeerNote::Raft(message) });
    }

    /// A peer sent something.
    pub(super) fn received(&mut self, now: Instant, from: u64, note: PeerNote) {
        // Before our own log is read, the peer talks to nobody; it says again what matters.
        if self.start.is_some() || self.incoming.installs() || !self.knows(from) {
            return;
        }
        self.contacts.up(now, from);
        match note {
            PeerNote::Raft(message) => {
                if message.from() != from {
                    return;
                }
                match message.snapshot() {
                    Some((_, data)) if !self.has_staged(&message) => {
                        let id = data.as_ref().try_into().map_or(0, u64::from_le_bytes);
                        self.refuse_part(from, id);
                    }
                    Some(_) | None => self.consensus().handle(now, Event::Received(message)),
                }
            }
            PeerNote::Commands(batch) => self.take_forwarded(from, batch),
            PeerNote::Ask { number, ask } => self.take_ask(from, number, ask),
            PeerNote::Answer { number, answer } => self.take_peer_answer(from, number, answer),
            PeerNote::Part { transfer, number, bytes } => {
                self.take_part(from, transfer, number, &bytes);
            }
            PeerNote::Taken { transfer, number } => self.part_taken(now, from, transfer, number),
            PeerNote::Refused { transfer } => self.part_refused(now, from, transfer),
            // Whoever has clocks keeps these to itself.
            PeerNote::Probe { .. } | PeerNote::Probed { .. } => {}
        }
    }

    /// Tells the transport whom it may talk to.
    pub(super) fn connect(&mut self) {
        let members = self.sequencer.members();
        let own = self.config.member_id;
        let gone = self.gone.iter().copied();
        let removed: Vec<u64> = members.removed().chain(gone).collect();
        self.heard_of.retain(|id, urls| {
            let known = members.get(*id).is_some_and(|member| member.peer_urls == *urls);
            !known && !removed.contains(id)
        });
        let known = self.known();
        let place = |member: &&Member| (member.id, member.peer_urls.clone());
        let mut places: BTreeMap<u64, Vec<String>> = known.iter().map(place).collect();
        for (id, urls) in &self.heard_of {
            let place = places.entry(*id).or_default();
            for url in urls {
                if !place.contains(url) {
                    place.push(url.clone());
                }
            }
        }
        places.retain(|id, _| *id != own && !removed.contains(id));
        self.contacts.keep(&places.keys().copied().collect::<Vec<u64>>());
        let peers = places.into_iter().map(|(id, urls)| PeerPlace { id, urls }).collect();
        self.out.push_back(LeaderEffect::Connect { peers, removed });
    }

    /// Whether notes of this member are heard.
    pub(super) fn knows(&self, peer: u64) -> bool {
        if self.gone.contains(&peer) {
            return false;
        }
        let members = self.sequencer.members();
        let listed = match members.is_empty() {
            true => self.told().iter().any(|member| member.id == peer),
            false => members.get(peer).is_some(),
        };
        listed || self.heard_of.contains_key(&peer)
    }

    /// Our own list; of a member that has none yet, what it was told when it was to join.
    fn known(&self) -> Vec<&Member> {
        match self.sequencer.members().is_empty() {
            true => self.told().iter().collect(),
            false => self.sequencer.members().iter().collect(),
        }
    }

    /// Who the members are, by hearsay: as heard just now, else as heard when this member joined.
    fn told(&self) -> &[Member] {
        match &self.config.founding {
            Founding::Existing(told) if !told.is_empty() => told,
            Founding::Existing(_) | Founding::New(_) => self.sequencer.told(),
        }
    }

    /// Somebody who is not in the list wanted to talk, or the leader cannot be reached where the
    /// list says: the peers may know more.
    pub(super) fn ask_who(&mut self, peer: u64) {
        if self.start.is_some() || self.incoming.installs() || self.leads() {
            return;
        }
        let own = self.config.member_id;
        let known = self.known().into_iter().map(|member| member.id);
        let asked: Vec<u64> = known.filter(|id| *id != own && *id != peer).collect();
        for to in asked {
            let note = PeerNote::Ask { number: WHO, ask: PeerAsk::Members };
            self.out.push_back(LeaderEffect::Send { to, note });
        }
    }

    /// Tells those from whom nothing comes where everybody is reached. A leader hears of everybody
    /// who follows it; others hear of the leader alone, and tell all the rest: one that lags may
    /// know nobody else any more who is where it was.
    pub(super) fn introduce(&mut self, now: Instant) {
        if now < self.introduce_at {
            return;
        }
        self.introduce_at = now + self.config.election_timeout;
        let silent: Vec<u64> = match self.leads() {
            true => {
                let progress = self.consensus().status().progress;
                progress.into_iter().filter(|peer| !peer.active).map(|peer| peer.id).collect()
            }
            false => {
                let heard = [self.config.member_id, self.role.leader];
                let members = self.sequencer.members().iter().map(|member| member.id);
                members.filter(|id| !heard.contains(id)).collect()
            }
        };
        if silent.is_empty() {
            return;
        }
        let note = PeerNote::Answer { number: WHO, answer: PeerAnswer::Members(self.members()) };
        for to in silent {
            self.out.push_back(LeaderEffect::Send { to, note: note.clone() });
        }
    }

    /// A peer tells who the members are, as it knows them. It may know less than we do.
    pub(super) fn introduced(&mut self, told: &[pb::Member]) {
        let members = self.sequencer.members();
        let mut news = HeardOf::new();
        for pb::Member { id, peer_urls, .. } in told {
            let same = members.get(*id).is_some_and(|member| member.peer_urls == *peer_urls);
            let gone = self.gone.contains(id) || members.removed().any(|removed| removed == *id);
            if !same && !gone && *id != self.config.member_id {
                news.insert(*id, peer_urls.clone());
            }
        }
        news.retain(|id, urls| self.heard_of.get(id) != Some(urls));
        if !news.is_empty() && self.heard_of.len() + news.len() <= HEARD_OF_MAX {
            self.heard_of.extend(news);
            self.connect();
        }
    }

    /// Notes to a peer were lost.
    pub(super) fn unreachable(&mut self, now: Instant, peer: u64) {
        if peer == self.role.leader {
            self.ask_who(peer);
        }
        self.tell_group(now, Event::Unreachable(peer));
    }

    /// News of a peer.
    pub(super) fn tell_group(&mut self, now: Instant, news: Event) {
        if let Event::Unreachable(peer) = &news {
            self.check_lost(now, *peer);
        }
        if let Some(consensus) = &mut self.consensus {
            consensus.handle(now, news);
        }
    }
}
