//! Owns a second opinion of who is a member: etcd's rules of membership as few lines, folded over
//! the changes in the order in which they are committed.
//! Never asks a member. Invariant: an id is listed, removed or unknown, and never comes back.

use std::collections::{BTreeMap, BTreeSet};

use node::Reconfig;
use ringleader_sim::setup::LEARNERS_MAX;
use state::{Member, MemberChange, MemberRole};

use crate::world::Wrong;

/// The members at one place of the log.
#[derive(Clone, Debug)]
pub struct Roster {
    /// By id.
    pub listed: BTreeMap<u64, Member>,
    /// Those that may never come back.
    pub removed: BTreeSet<u64>,
    /// Whether the cluster checks that a change leaves a quorum.
    reconfig: Reconfig,
}

impl Roster {
    /// Those who found the cluster.
    pub fn founded_by(members: impl IntoIterator<Item = Member>, reconfig: Reconfig) -> Roster {
        let listed = members.into_iter().map(|member| (member.id, member)).collect();
        Roster { listed, removed: BTreeSet::new(), reconfig }
    }

    /// Those who vote.
    pub fn voters(&self) -> BTreeSet<u64> {
        let voters = self.listed.values().filter(|member| member.role == MemberRole::Voter);
        voters.map(|member| member.id).collect()
    }

    /// Those who only follow.
    pub fn learners(&self) -> BTreeSet<u64> {
        let learners = self.listed.values().filter(|member| member.role == MemberRole::Learner);
        learners.map(|member| member.id).collect()
    }

    /// Whether these are a majority of the voters.
    pub fn is_quorum(&self, holds: impl Fn(u64) -> bool) -> bool {
        let voters = self.voters();
        voters.len() / 2 < voters.iter().filter(|id| holds(**id)).count()
    }

    /// Whether the list takes the change at all; one that it does not take changes nothing.
    fn takes(&self, change: &MemberChange) -> bool {
        let free = |id: u64, urls: &[String]| {
            let others = self.listed.values().filter(|member| member.id != id);
            !others.flat_map(|member| &member.peer_urls).any(|url| urls.contains(url))
        };
        match change {
            MemberChange::Add(member) => {
                !self.listed.contains_key(&member.id)
                    && !self.removed.contains(&member.id)
                    && free(member.id, &member.peer_urls)
            }
            MemberChange::Remove(id) => self.listed.contains_key(id),
            MemberChange::UpdatePeerUrls { id, peer_urls } => {
                self.listed.contains_key(id) && free(*id, peer_urls)
            }
            MemberChange::Promote(id) => self.learners().contains(id),
        }
    }

    /// Makes the change if the list takes it. It must have been allowed by etcd's rules for a
    /// cluster that checks them.
    pub fn make(&mut self, change: &MemberChange) -> Result<(), Wrong> {
        if !self.takes(change) {
            return Ok(());
        }
        self.allowed(change)?;
        match change {
            MemberChange::Add(member) => drop(self.listed.insert(member.id, member.clone())),
            MemberChange::Remove(id) => {
                self.listed.remove(id);
                self.removed.insert(*id);
            }
            MemberChange::UpdatePeerUrls { id, peer_urls } => {
                self.listed.get_mut(id).expect("it is listed").peer_urls.clone_from(peer_urls);
            }
            MemberChange::Promote(id) => {
                self.listed.get_mut(id).expect("it is listed").role = MemberRole::Voter;
            }
        }
        Ok(())
    }

    /// Etcd's strict check: the voters that have started are a quorum after the change, but for a
    /// single member that grows; and its bound on learners.
    fn allowed(&self, change: &MemberChange) -> Result<(), Wrong> {
        let started = |id: &u64| !self.listed[id].name.is_empty();
        let voters = self.voters();
        let (voters, running): (Vec<u64>, Vec<u64>) = match change {
            MemberChange::Add(member) if member.role == MemberRole::Learner => {
                return match self.learners().len() < LEARNERS_MAX {
                    true => Ok(()),
                    false => Err(format!("members: one learner too many: {change:?}, {self:?}")),
                };
            }
            MemberChange::UpdatePeerUrls { .. } => return Ok(()),
            MemberChange::Add(_) | MemberChange::Remove(_) | MemberChange::Promote(_)
                if self.reconfig == Reconfig::Lenient =>
            {
                return Ok(());
            }
            MemberChange::Remove(id) if !voters.contains(id) => return Ok(()),
            MemberChange::Remove(id) => {
                let left: Vec<u64> = voters.into_iter().filter(|voter| voter != id).collect();
                let running = left.iter().copied().filter(started).collect();
                (left, running)
            }
            MemberChange::Add(member) => {
                let running = voters.iter().copied().filter(started).collect();
                (voters.into_iter().chain([member.id]).collect(), running)
            }
            MemberChange::Promote(id) => {
                let running = voters.iter().copied().filter(started).chain([*id]).collect();
                (voters.into_iter().chain([*id]).collect(), running)
            }
        };
        let adds = matches!(change, MemberChange::Add(_));
        let grows = adds && voters.len() == 2 && running.len() == 1;
        match grows || voters.len() / 2 < running.len() {
            true => Ok(()),
            false => Err(format!(
                "members: {change:?} leaves {} running of {} voters: {self:?}",
                running.len(),
                voters.len()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, name: &str) -> Member {
        Member {
            id,
            name: name.into(),
            peer_urls: vec![format!("http://sim{id}:2380")],
            client_urls: Vec::new(),
            role: MemberRole::Voter,
        }
    }

    #[test]
    fn a_single_member_may_grow_and_two_of_which_one_never_started_may_not() {
        let mut roster = Roster::founded_by([member(1, "one")], Reconfig::Strict);
        assert_eq!(roster.make(&MemberChange::Add(member(2, ""))), Ok(()));
        assert!(roster.make(&MemberChange::Add(member(3, ""))).is_err());
        roster.listed.get_mut(&2).unwrap().name = "two".into();
        assert_eq!(roster.make(&MemberChange::Add(member(3, ""))), Ok(()));
        assert_eq!(roster.voters().len(), 3);
    }

    #[test]
    fn a_removed_member_never_comes_back() {
        let mut roster = Roster::founded_by([member(1, "one"), member(2, "two")], Reconfig::Strict);
        assert_eq!(roster.make(&MemberChange::Remove(2)), Ok(()));
        assert_eq!(roster.make(&MemberChange::Add(member(2, ""))), Ok(()));
        assert!(!roster.listed.contains_key(&2) && roster.removed.contains(&2));
    }
}
