//! Owns the comparison of what this member expects of a running cluster with what the cluster says
//! of itself. Never asks anybody and never resolves a name.
//! Invariant: who joins has the identifiers that the cluster gave, and every member of the cluster
//! was expected.

use std::fmt;

use crate::cluster::{Founding, difference, texts};

/// A running cluster as one of its members describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its identifier.
    pub cluster_id: u64,
    /// Its members.
    pub members: Vec<RunningMember>,
}

/// One of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningMember {
    /// Its identifier.
    pub id: u64,
    /// Empty until it has started.
    pub name: String,
    /// Where its peers reach it, sorted.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has started.
    pub client_urls: Vec<String>,
    /// Whether it votes.
    pub vote: Vote,
}

/// Whether a member votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    /// It does.
    Voter,
    /// It learns.
    Learner,
}

/// Why this member cannot join the cluster that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinError {
    running: Running,
    why: Mismatch,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mismatch {
    Count,
    NoMatch { id: u64, peer_urls: Vec<String>, last: String },
}

impl fmt::Display for JoinError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "error validating peerURLs {{ClusterID:{:x} Members:[",
            self.running.cluster_id
        )?;
        for (at, member) in self.running.members.iter().enumerate() {
            let learner = member.vote == Vote::Learner;
            write!(
                to,
                "{}&{{ID:{:x} RaftAttributes:{{PeerURLs:[{}] IsLearner:{learner}}} \
                 Attributes:{{Name:{} ClientURLs:[{}]}}}}",
                if at == 0 { "" } else { " " },
                member.id,
                member.peer_urls.join(" "),
                member.name,
                member.client_urls.join(" "),
            )?;
        }
        write!(to, "] RemovedMemberIDs:[]}}: ")?;
        match &self.why {
            Mismatch::Count => write!(to, "member count is unequal"),
            Mismatch::NoMatch { id, peer_urls, last } => write!(
                to,
                "PeerURLs: no match found for existing member ({id:x}, [{}]), last resolver error \
                 ({last})",
                peer_urls.join(" ")
            ),
        }
    }
}

/// Gives the expected members the identifiers that the cluster knows them by. Members are the same
/// if their peer URLs are.
pub fn join(expected: Founding, running: &Running) -> Result<Founding, JoinError> {
    let failed = |why| JoinError { running: running.clone(), why };
    if running.members.len() != expected.members.len() {
        return Err(failed(Mismatch::Count));
    }
    let urls: Vec<Vec<String>> =
        expected.members.iter().map(|member| texts(&member.peer_urls)).collect();
    let mut known: Vec<&RunningMember> = running.members.iter().collect();
    known.sort_by_key(|member| member.id);
    let mut joined = expected.clone();
    for member in known {
        let mut last = String::new();
        let found = urls.iter().position(|urls| match difference(&member.peer_urls, urls) {
            None => true,
            Some(why) => {
                last = why;
                false
            }
        });
        let Some(at) = found else {
            let (id, peer_urls) = (member.id, member.peer_urls.clone());
            return Err(failed(Mismatch::NoMatch { id, peer_urls, last }));
        };
        if expected.members[at].id == expected.local_id {
            joined.local_id = member.id;
        }
        joined.members[at].id = member.id;
    }
    joined.members.sort_by_key(|member| member.id);
    joined.cluster_id = running.cluster_id;
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster;

    fn member(id: u64, url: &str) -> RunningMember {
        RunningMember {
            id,
            name: format!("m{id}"),
            peer_urls: vec![url.to_owned()],
            client_urls: vec!["http://c:1".to_owned()],
            vote: Vote::Voter,
        }
    }

    fn running() -> Running {
        let unstarted = RunningMember {
            name: String::new(),
            client_urls: Vec::new(),
            vote: Vote::Learner,
            ..member(7, "http://b:2")
        };
        Running { cluster_id: 0xc1, members: vec![member(9, "http://a:1"), unstarted] }
    }

    fn expected(initial: &str) -> Founding {
        cluster::expect(initial, "any token", "b").unwrap()
    }

    #[test]
    fn who_joins_has_the_identifiers_that_the_cluster_gave() {
        let joined = join(expected("a=http://a:1,b=http://b:2"), &running()).unwrap();
        assert_eq!((joined.local_id, joined.cluster_id), (7, 0xc1));
        let names: Vec<(u64, &str)> =
            joined.members.iter().map(|member| (member.id, member.name.as_str())).collect();
        assert_eq!(names, [(7, "b"), (9, "a")]);
    }

    #[test]
    fn a_cluster_that_was_not_expected_is_answered_with_etcds_sentence() {
        let error = |initial: &str| join(expected(initial), &running()).unwrap_err().to_string();
        let known = "error validating peerURLs {ClusterID:c1 Members:[\
                     &{ID:9 RaftAttributes:{PeerURLs:[http://a:1] IsLearner:false} \
                     Attributes:{Name:m9 ClientURLs:[http://c:1]}} \
                     &{ID:7 RaftAttributes:{PeerURLs:[http://b:2] IsLearner:true} \
                     Attributes:{Name: ClientURLs:[]}}] RemovedMemberIDs:[]}: ";
        assert_eq!(error("b=http://b:2"), format!("{known}member count is unequal"));
        let wrong = error("b=http://b:2,c=http://c:3");
        let no_match = "PeerURLs: no match found for existing member (9, [http://a:1]), last \
                        resolver error (\"http://a:1\"(resolved from \"http://a:1\") != ";
        assert!(wrong.starts_with(&format!("{known}{no_match}")), "{wrong}");
        let two = error("b=http://b:2,b=http://b:3,c=http://c:3");
        assert!(two.contains("(len([\"") || two.contains(" != "), "{two}");
    }
}
