//! Owns what refuses a change of members before it is proposed: addresses that are none, and
//! etcd's strict check, that the members which are up stay a quorum.
//! Never changes anything. Invariant: what the member that was asked can refuse by itself is
//! refused at once, also while nobody leads.

use base::Instant;
use state::{Member, MemberRole};
use wire::ApiError;

use super::contacts::Contacts;
use super::{Leader, Reconfig};
use crate::message::{MemberAsk, Question};

impl Leader {
    /// Why a change of members may not even be proposed; `None` for other questions.
    pub(super) fn refusal(&self, now: Instant, question: &Question) -> Option<ApiError> {
        let allowed = match question {
            Question::AddMember { peer_urls, role } => {
                are_peer_urls(peer_urls).and_then(|()| self.may_add(now, *role))
            }
            Question::ChangeMember { id, change } => match change {
                MemberAsk::Remove => self.may_remove(now, *id),
                MemberAsk::Update { peer_urls } => are_peer_urls(peer_urls),
                // Only the leader knows how far the learner is.
                MemberAsk::Promote => Ok(()),
            },
            Question::PlanTxn(_)
            | Question::KeepAlive { .. }
            | Question::TimeToLive { .. }
            | Question::Leases
            | Question::Members
            | Question::MembersHere
            | Question::Downgrade(_)
            | Question::MoveLeader { .. }
            | Question::Status
            | Question::Alarms { .. }
            | Question::AlarmsHere { .. }
            | Question::Snapshot
            | Question::Checkpoint
            | Question::Hash { .. } => Ok(()),
        };
        allowed.err()
    }

    fn may_add(&self, now: Instant, role: MemberRole) -> Result<(), ApiError> {
        match self.config.reconfig {
            Reconfig::Strict => self.electorate().may_add(now, &self.contacts, role),
            Reconfig::Lenient => Ok(()),
        }
    }

    fn may_remove(&self, now: Instant, id: u64) -> Result<(), ApiError> {
        match self.config.reconfig {
            Reconfig::Strict => self.electorate().may_remove(now, &self.contacts, id),
            Reconfig::Lenient => self.electorate().leaves_a_voter(id),
        }
    }

    /// Whether this learner may vote.
    pub(super) fn may_promote(&self, id: u64) -> Result<(), ApiError> {
        let Some(group) = &self.consensus else { return Err(ApiError::MemberLearnerNotReady) };
        let status = group.status();
        let matched = status.progress.iter().find(|peer| peer.id == id).map(|peer| peer.matched);
        let percent = self.config.learner_ready_percent;
        let ready = matched.is_some_and(|matched| status.last * percent <= matched * 100);
        if !ready {
            return Err(ApiError::MemberLearnerNotReady);
        }
        match self.config.reconfig {
            Reconfig::Strict => self.electorate().stays_a_quorum(None, 1, 1),
            Reconfig::Lenient => Ok(()),
        }
    }

    fn electorate(&self) -> Electorate<'_> {
        let own = self.config.member_id;
        Electorate { own, members: self.sequencer.members().iter().collect() }
    }
}

/// The members as the one that was asked sees them.
struct Electorate<'a> {
    own: u64,
    members: Vec<&'a Member>,
}

impl Electorate<'_> {
    /// Everybody must be up; and a voter more must not end the quorum of those that have started.
    fn may_add(&self, now: Instant, contacts: &Contacts, role: MemberRole) -> Result<(), ApiError> {
        if role == MemberRole::Voter {
            self.stays_a_quorum(None, 1, 0)?;
        }
        match self.voters().all(|voter| self.is_steady(now, contacts, voter.id)) {
            true => Ok(()),
            false => Err(ApiError::Unhealthy),
        }
    }

    /// A learner may go, and so may a voter that is down: it does not count for the quorum that is
    /// up. A voter that is up must leave one.
    fn may_remove(&self, now: Instant, contacts: &Contacts, id: u64) -> Result<(), ApiError> {
        let mut members = self.members.iter();
        if members.any(|member| member.id == id && member.role == MemberRole::Learner) {
            return Ok(());
        }
        self.stays_a_quorum(Some(id), 0, 0)?;
        if id != self.own && !contacts.is_up(id) {
            return Ok(());
        }
        let voters = self.voters().count();
        let up = self.voters().filter(|voter| self.is_steady(now, contacts, voter.id)).count();
        match up < 2 + (voters - 1) / 2 {
            true => Err(ApiError::Unhealthy),
            false => Ok(()),
        }
    }

    /// A group without voters is none: etcd's members would panic when they apply that, and again
    /// whenever they are started.
    fn leaves_a_voter(&self, id: u64) -> Result<(), ApiError> {
        match self.voters().all(|voter| voter.id == id) {
            true => Err(ApiError::MemberNotEnoughStarted),
            false => Ok(()),
        }
    }

    /// Whether the voters that have started are a quorum after the change: `without` is left out,
    /// `more` are added, `started` of them running.
    fn stays_a_quorum(
        &self,
        without: Option<u64>,
        more: usize,
        started: usize,
    ) -> Result<(), ApiError> {
        let stay = || self.voters().filter(|member| Some(member.id) != without);
        let all = more + stay().count();
        let running = started + stay().filter(|member| !member.name.is_empty()).count();
        // A single member must be able to grow.
        let grows = more == 1 && started == 0 && all == 2 && running == 1;
        match grows || all / 2 < running {
            true => Ok(()),
            false => Err(ApiError::MemberNotEnoughStarted),
        }
    }

    fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().copied().filter(|member| member.role == MemberRole::Voter)
    }

    fn is_steady(&self, now: Instant, contacts: &Contacts, id: u64) -> bool {
        id == self.own || contacts.is_steady(now, id)
    }
}

fn are_peer_urls(urls: &[String]) -> Result<(), ApiError> {
    match !urls.is_empty() && urls.iter().all(|url| is_peer_url(url)) {
        true => Ok(()),
        false => Err(ApiError::MemberBadUrls),
    }
}

/// Scheme, host and port, and nothing after them.
fn is_peer_url(url: &str) -> bool {
    let Some((scheme, place)) = url.split_once("://") else { return false };
    match scheme {
        "http" | "https" => place.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
        }),
        "unix" | "unixs" => !place.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LATER: Instant = Instant(Duration::from_secs(60).as_nanos() as u64);

    fn member(id: u64, role: MemberRole, name: &str) -> Member {
        Member { id, name: name.to_owned(), peer_urls: vec![], client_urls: vec![], role }
    }

    /// Member 1 is asked; of the others, `up` have been connected for long.
    fn ask(
        members: &[Member],
        up: &[u64],
        ask: impl Fn(&Electorate<'_>, &Contacts) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let mut contacts = Contacts::new();
        up.iter().for_each(|peer| contacts.up(Instant(0), *peer));
        ask(&Electorate { own: 1, members: members.iter().collect() }, &contacts)
    }

    fn add(members: &[Member], up: &[u64], role: MemberRole) -> Result<(), ApiError> {
        ask(members, up, |electorate, contacts| electorate.may_add(LATER, contacts, role))
    }

    fn remove(members: &[Member], up: &[u64], id: u64) -> Result<(), ApiError> {
        ask(members, up, |electorate, contacts| electorate.may_remove(LATER, contacts, id))
    }

    #[test]
    fn nobody_is_added_while_a_voter_is_down() {
        let three = [1, 2, 3].map(|id| member(id, MemberRole::Voter, "started"));
        for role in [MemberRole::Voter, MemberRole::Learner] {
            assert_eq!(add(&three, &[2, 3], role), Ok(()));
            assert_eq!(add(&three, &[2], role), Err(ApiError::Unhealthy));
        }
        let learner = member(4, MemberRole::Learner, "");
        let four = [three.as_slice(), &[learner]].concat();
        assert_eq!(add(&four, &[2, 3], MemberRole::Voter), Ok(()), "a learner does not count");
    }

    #[test]
    fn a_voter_that_has_not_started_counts_against_the_next() {
        let one = [member(1, MemberRole::Voter, "started")];
        assert_eq!(add(&one, &[], MemberRole::Voter), Ok(()), "a single member can grow");
        let two = [one[0].clone(), member(2, MemberRole::Voter, "")];
        let refused = Err(ApiError::MemberNotEnoughStarted);
        assert_eq!(add(&two, &[2], MemberRole::Voter), refused);
        assert_eq!(add(&two, &[], MemberRole::Learner), Err(ApiError::Unhealthy));
        assert_eq!(remove(&two, &[2], 1), refused, "only the other would be left");
        assert_eq!(remove(&two, &[], 2), Ok(()));
    }

    #[test]
    fn who_is_down_may_go_and_who_is_up_must_leave_a_quorum() {
        let three = [1, 2, 3].map(|id| member(id, MemberRole::Voter, "started"));
        assert_eq!(remove(&three, &[2], 3), Ok(()));
        assert_eq!(remove(&three, &[2], 2), Err(ApiError::Unhealthy));
        assert_eq!(remove(&three, &[2], 1), Err(ApiError::Unhealthy));
        assert_eq!(remove(&three, &[2, 3], 1), Ok(()));
        let one = [member(1, MemberRole::Voter, "started")];
        assert_eq!(remove(&one, &[], 1), Err(ApiError::MemberNotEnoughStarted));
        let four = [three.as_slice(), &[member(4, MemberRole::Learner, "started")]].concat();
        assert_eq!(remove(&four, &[], 4), Ok(()), "learners are never protected");
    }

    #[test]
    fn the_last_voter_stays_whatever_the_check_is() {
        let rest = |members: &[Member], id| {
            ask(members, &[], |electorate, _| electorate.leaves_a_voter(id))
        };
        let two = [member(1, MemberRole::Voter, ""), member(4, MemberRole::Learner, "started")];
        assert_eq!(rest(&two, 1), Err(ApiError::MemberNotEnoughStarted));
        assert_eq!(rest(&two, 4), Ok(()));
        let three = [1, 2, 3].map(|id| member(id, MemberRole::Voter, ""));
        assert_eq!(rest(&three, 1), Ok(()), "the check that protects a quorum is off");
    }

    #[test]
    fn a_peer_url_is_scheme_host_and_port_alone() {
        assert!(["http://a:1", "https://[::1]:2380", "unix://s"].into_iter().all(is_peer_url));
        let none = ["", "a:1", "http://a", "http://:1", "http://a/b:1", "ftp://a:1", "http://a:x"];
        assert!(!none.into_iter().any(is_peer_url));
        assert_eq!(are_peer_urls(&[]), Err(ApiError::MemberBadUrls));
    }
}
