//! Owns the leader's knowledge of members' versions: it asks them all now and then, and puts into
//! the log what follows. Every member owns what it makes of the version that the log gives it.
//! Invariant: a decision rests on what all members said in one and the same round.

use std::collections::BTreeMap;
use std::time::Duration;

use base::Instant;
use bytes::Bytes;
use state::{Command, Kind};
use wire::peer::Version;

use super::{Leader, LeaderEffect, Report};
use crate::peer::{PeerAnswer, PeerAsk, PeerNote};
use crate::versions::{self, Fit, Served, Standing};

/// Between two rounds of questions (etcd's).
const ROUND: Duration = Duration::from_secs(4);

/// What is known of members' versions, and of the cluster's.
pub struct Versions {
    /// What was said in this round.
    said: BTreeMap<u64, Served>,
    /// When the next one begins; `None` while this member does not lead.
    next: Option<Instant>,
    /// Rounds since this member leads.
    rounds: u64,
    /// Proposed in this term and not yet decided.
    proposed: Option<Version>,
    /// The cluster's version as last told.
    told: Option<Version>,
}

/// News of the cluster's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionNews {
    /// It was in the store when the member started.
    Found {
        /// The version.
        version: Version,
        /// The version that it should go back to.
        target: Option<Version>,
    },
    /// The leader proposes another one.
    Proposed {
        /// Instead of this.
        from: Option<Version>,
        /// The new one.
        to: Version,
    },
    /// The log changed it.
    Changed {
        /// Instead of this.
        from: Option<Version>,
        /// The new one.
        to: Version,
    },
    /// The leader's own proposal was decided.
    Done {
        /// The new one.
        to: Version,
    },
    /// The log says that it should go back, or not any more.
    Target {
        /// To this version.
        target: Option<Version>,
    },
    /// Every member is of the version that was to be gone back to.
    Downgraded {
        /// The version.
        to: Version,
    },
    /// This member is older than the cluster, which is on its way down.
    Awaited {
        /// Its version.
        server: Version,
        /// The cluster's.
        cluster: Version,
    },
    /// This member is older than the cluster: the process must stop.
    TooOld {
        /// Its version.
        server: Version,
        /// The cluster's.
        cluster: Version,
    },
}

impl Versions {
    /// Nothing is known.
    pub fn new() -> Versions {
        Versions { said: BTreeMap::new(), next: None, rounds: 0, proposed: None, told: None }
    }

    /// When the next round begins.
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.next
    }

    /// This member does not lead any more.
    pub fn rest(&mut self) {
        self.next = None;
        self.proposed = None;
    }
}

impl Leader {
    /// The cluster's version and where it should go.
    pub(super) fn standing(&self) -> Standing {
        Standing {
            cluster: self.sequencer.cluster_version().and_then(Version::parse),
            target: self.sequencer.downgrade_target().and_then(Version::parse),
        }
    }

    /// This member leads, and has applied everything of older leaders.
    pub(super) fn begin_versions(&mut self, now: Instant) {
        self.versions.rounds = 0;
        self.versions.proposed = None;
        self.begin_version_round(now);
    }

    /// Begins a round of questions if one is due.
    pub(super) fn versions_if_due(&mut self, now: Instant) {
        if self.versions.next.is_some_and(|next| next <= now) {
            self.begin_version_round(now);
        }
    }

    fn begin_version_round(&mut self, now: Instant) {
        let standing = self.standing();
        // Nobody knows what everybody can do, and a cluster needs some version: the oldest that
        // this member works with, as etcd takes its own oldest. It rises once all have answered.
        if standing.cluster.is_none() && 0 < self.versions.rounds {
            self.propose_version(standing, self.config.version_min);
        }
        self.versions.rounds += 1;
        let wait = match standing {
            Standing { cluster: None, .. } => self.config.election_timeout,
            Standing { target: Some(_), .. } => {
                self.config.downgrade_check.max(self.config.heartbeat)
            }
            Standing { cluster: Some(_), target: None } => ROUND,
        };
        self.versions.next = Some(now + wait);
        let own = self.config.member_id;
        self.versions.said = BTreeMap::from([(own, self.served())]);
        let peers: Vec<u64> =
            self.sequencer.members().iter().map(|m| m.id).filter(|id| *id != own).collect();
        for to in peers {
            let number = self.next_question();
            let note = PeerNote::Ask { number, ask: PeerAsk::Version };
            self.out.push_back(LeaderEffect::Send { to, note });
        }
        self.decide_version();
    }

    /// What this member says of itself.
    pub(super) fn served(&self) -> Served {
        Served { server: self.config.version, oldest: self.config.version_min }
    }

    /// A peer wants to know it.
    pub(super) fn tell_version(&mut self, to: u64, number: u64) {
        let answer = PeerAnswer::Version(self.served());
        self.out.push_back(LeaderEffect::Send { to, note: PeerNote::Answer { number, answer } });
    }

    /// A peer told it.
    pub(super) fn version_told(&mut self, from: u64, served: Served) {
        if self.versions.next.is_some() {
            self.versions.said.insert(from, served);
            self.decide_version();
        }
    }

    fn decide_version(&mut self) {
        let standing = self.standing();
        let members = self.sequencer.members().iter();
        let said: Vec<Option<Served>> =
            members.map(|member| self.versions.said.get(&member.id).copied()).collect();
        if let Some(to) = versions::decide(standing, &said) {
            self.propose_version(standing, to);
        }
        if versions::is_downgraded(standing, &said)
            && let Some(to) = standing.target
        {
            self.report(Report::Version(VersionNews::Downgraded { to }));
            let member = self.config.member_id;
            let (kind, body) = (Kind::DowngradeTarget, Bytes::new());
            self.proposals.push(None, member, |origin| Command { kind, origin, body });
            // Asked again, it would be proposed again.
            self.versions.said.clear();
        }
    }

    fn propose_version(&mut self, standing: Standing, to: Version) {
        if self.versions.proposed.replace(to) == Some(to) {
            return;
        }
        self.report(Report::Version(VersionNews::Proposed { from: standing.cluster, to }));
        let member = self.config.member_id;
        let text = to.to_string();
        self.proposals.push(None, member, |origin| Command::cluster_version(origin, &text));
    }

    /// The store is open: its version must be one that this member knows.
    pub(super) fn version_found(&mut self) {
        let Standing { cluster, target } = self.standing();
        if let Some(version) = cluster {
            self.versions.told = Some(version);
            self.report(Report::Version(VersionNews::Found { version, target }));
            // The log may say more: whoever starts looks when it has arrived.
            self.check_fit_if_known();
        }
    }

    /// A command that set the version was decided.
    pub(super) fn version_changed(&mut self) {
        let Some(to) = self.standing().cluster else { return };
        let from = self.versions.told.replace(to);
        self.report(Report::Version(VersionNews::Changed { from, to }));
        self.check_fit_if_known();
    }

    /// The leader's own command that set the version was decided.
    pub(super) fn version_done(&mut self) {
        self.versions.proposed = None;
        if let Some(to) = self.standing().cluster {
            self.report(Report::Version(VersionNews::Done { to }));
        }
    }

    /// A command that set the target of a downgrade, or took it away, was decided.
    pub(super) fn target_changed(&mut self, now: Instant) {
        let target = self.standing().target;
        self.report(Report::Version(VersionNews::Target { target }));
        // Whoever leads need not wait for the next round to come.
        if self.versions.next.is_some() {
            self.versions.next = Some(now);
        }
    }

    /// A member that has only begun to read its log back does not know the cluster's version: a
    /// downgrade may stand further on.
    fn check_fit_if_known(&mut self) {
        if self.publication.has_arrived() {
            self.check_fit();
        }
    }

    /// Whether this member is one that the cluster can have.
    pub(super) fn check_fit(&mut self) {
        let (server, standing) = (self.config.version, self.standing());
        let Some(cluster) = standing.cluster else { return };
        match versions::fit(server, standing) {
            Fit::Fits => {}
            Fit::Awaited => self.report(Report::Version(VersionNews::Awaited { server, cluster })),
            Fit::TooOld => self.report(Report::Version(VersionNews::TooOld { server, cluster })),
        }
    }
}
