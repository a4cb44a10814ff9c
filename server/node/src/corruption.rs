//! Owns what follows when members' hashes are compared: who is blamed, and what is said about it.
//! Asks nobody. Invariant: nobody is blamed for a hash of another compact revision, nor for
//! silence.
//!
//! The rules are etcd's. At start a member compares itself with whoever answers, and does not serve
//! if anybody differs. The leader compares now and then: then it is right, and the first peer that
//! differs is blamed. Of hashes kept at compactions a majority is right; where there is none,
//! nobody knows who is, and the alarm is member 0's, the cluster's.

use std::collections::{BTreeMap, VecDeque};

/// Hashes of compactions that are kept (etcd's).
const KEPT: usize = 10;

/// A hash of the store's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashAt {
    /// CRC-32C as etcd computes it.
    pub hash: u32,
    /// Up to this revision.
    pub revision: i64,
    /// As of this compact revision; -1 for never compacted.
    pub compact: i64,
    /// The store's newest revision when it was computed.
    pub head: i64,
}

/// What a peer said when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Its hash.
    Hash(HashAt),
    /// It has not come to that revision.
    Behind,
    /// It has compacted that revision away.
    Compacted,
    /// Nothing, or that it cannot.
    Nothing(String),
}

/// Something that is worth a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// At start: the peer's hash of the same is another.
    Differs {
        /// Which peer.
        peer: u64,
        /// Ours.
        own: HashAt,
        /// The peer's.
        theirs: HashAt,
    },
    /// At start: hashes differ, and so do compact revisions: that says nothing.
    OtherCompact {
        /// Which peer.
        peer: u64,
        /// Ours.
        own: HashAt,
        /// The peer's.
        theirs: HashAt,
    },
    /// At start: the peer has not come as far as this member.
    PeerBehind {
        /// Which peer.
        peer: u64,
        /// Ours.
        own: HashAt,
    },
    /// At start: this member has not come as far as the peer.
    Behind {
        /// Which peer.
        peer: u64,
        /// Ours.
        own: HashAt,
    },
    /// The peer did not answer.
    Silent {
        /// Which peer.
        peer: u64,
        /// The revision asked for.
        revision: i64,
        /// Why.
        why: String,
    },
    /// The leader's own hash of the same was another a moment ago.
    Unstable {
        /// Before.
        first: HashAt,
        /// Now.
        second: HashAt,
    },
    /// A peer is ahead of its leader.
    RevisionAhead {
        /// Which peer.
        peer: u64,
        /// The leader's revision.
        own: i64,
        /// The peer's.
        theirs: i64,
    },
    /// A peer has compacted what its leader has not.
    CompactAhead {
        /// Which peer.
        peer: u64,
        /// The leader's compact revision.
        own: i64,
        /// The peer's.
        theirs: i64,
    },
    /// The peer's hash of the same is another than the leader's.
    Mismatch {
        /// Which peer.
        peer: u64,
        /// The leader's.
        own: HashAt,
        /// The peer's.
        theirs: HashAt,
    },
    /// The peer's hash of a compaction does not count.
    Skipped {
        /// Which peer.
        peer: u64,
        /// How many peers there are.
        peers: usize,
        /// Its compact revision, if it answered, and ours.
        compact: Option<(i64, i64)>,
    },
    /// Hashes of a compaction differ, and no majority has the same.
    Undecided {
        /// The leader's.
        own: HashAt,
    },
    /// These members have another hash of a compaction than the majority, or than others.
    Minority {
        /// The leader's.
        own: HashAt,
        /// Who.
        members: Vec<u64>,
        /// Theirs.
        hash: u32,
        /// Whether a majority has one and the same hash.
        has_majority: bool,
    },
}

impl Finding {
    /// The one peer that it is about.
    pub fn peer(&self) -> Option<u64> {
        match self {
            Finding::Differs { peer, .. }
            | Finding::OtherCompact { peer, .. }
            | Finding::PeerBehind { peer, .. }
            | Finding::Behind { peer, .. }
            | Finding::Silent { peer, .. }
            | Finding::RevisionAhead { peer, .. }
            | Finding::CompactAhead { peer, .. }
            | Finding::Mismatch { peer, .. }
            | Finding::Skipped { peer, .. } => Some(*peer),
            Finding::Unstable { .. } | Finding::Undecided { .. } | Finding::Minority { .. } => None,
        }
    }
}

/// What a comparison came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is worth a line, in order.
    pub findings: Vec<Finding>,
    /// Whose alarm is raised: a member's, or 0 for the cluster's.
    pub blamed: Vec<u64>,
    /// Peers that were compared.
    pub compared: usize,
}

/// A member that starts compares itself with its peers. If anybody is blamed it must not serve.
pub fn judge_start(own: HashAt, said: &BTreeMap<u64, Said>) -> Verdict {
    let mut verdict = Verdict::default();
    for (peer, said) in said {
        let peer = *peer;
        let finding = match said {
            Said::Hash(theirs) => {
                verdict.compared += 1;
                let theirs = *theirs;
                match (theirs.hash == own.hash, theirs.compact == own.compact) {
                    (true, _) => continue,
                    (false, true) => {
                        verdict.blamed.push(peer);
                        Finding::Differs { peer, own, theirs }
                    }
                    (false, false) => Finding::OtherCompact { peer, own, theirs },
                }
            }
            Said::Behind => Finding::PeerBehind { peer, own },
            Said::Compacted => Finding::Behind { peer, own },
            Said::Nothing(why) => {
                Finding::Silent { peer, revision: own.revision, why: why.clone() }
            }
        };
        verdict.findings.push(finding);
    }
    verdict
}

/// The leader compares its peers with itself. `first` is what they were asked about, `second` what
/// the leader has after they answered and its leadership was confirmed again; its hash counts if
/// the revisions are the same. At most one is blamed.
pub fn judge_now(
    leader: u64,
    first: HashAt,
    second: HashAt,
    said: &BTreeMap<u64, Said>,
) -> Verdict {
    let mut verdict = Verdict::default();
    let mut blamed = Vec::new();
    let same = (first.revision, first.compact) == (second.revision, second.compact);
    if same && first.hash != second.hash {
        verdict.findings.push(Finding::Unstable { first, second });
        blamed.push(leader);
    }
    for (peer, said) in said {
        let peer = *peer;
        let theirs = match said {
            Said::Hash(theirs) => *theirs,
            Said::Nothing(why) => {
                let (revision, why) = (first.revision, why.clone());
                verdict.findings.push(Finding::Silent { peer, revision, why });
                continue;
            }
            Said::Behind | Said::Compacted => continue,
        };
        verdict.compared += 1;
        let before = verdict.findings.len();
        if second.head < theirs.head {
            let (own, theirs) = (second.head, theirs.head);
            verdict.findings.push(Finding::RevisionAhead { peer, own, theirs });
        }
        if second.compact < theirs.compact {
            let (own, theirs) = (second.compact, theirs.compact);
            verdict.findings.push(Finding::CompactAhead { peer, own, theirs });
        }
        if theirs.compact == first.compact && theirs.hash != first.hash {
            verdict.findings.push(Finding::Mismatch { peer, own: first, theirs });
        }
        if before < verdict.findings.len() {
            blamed.push(peer);
        }
    }
    verdict.blamed.extend(blamed.first());
    verdict
}

/// What a comparison of one compaction's hashes means for older ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    /// Everybody was compared, or somebody was blamed: they need no look.
    Settled,
    /// Somebody could not be compared: an older one may tell more.
    Open,
}

/// The leader compares the hashes that members kept of one compaction.
pub fn judge_compaction(leader: u64, own: HashAt, said: &BTreeMap<u64, Said>) -> (Verdict, Older) {
    let mut verdict = Verdict::default();
    let mut groups = BTreeMap::from([(own.hash, vec![leader])]);
    let peers = said.len();
    for (peer, said) in said {
        let compact = match said {
            Said::Hash(theirs) if theirs.compact == own.compact => {
                groups.entry(theirs.hash).or_default().push(*peer);
                verdict.compared += 1;
                continue;
            }
            Said::Hash(theirs) => Some((theirs.compact, own.compact)),
            Said::Behind | Said::Compacted | Said::Nothing(_) => None,
        };
        verdict.findings.push(Finding::Skipped { peer: *peer, peers, compact });
    }
    if groups.len() == 1 {
        let older = if verdict.compared == peers { Older::Settled } else { Older::Open };
        return (verdict, older);
    }
    // All members count, those too that did not answer.
    let quorum = peers.div_ceil(2) + 1;
    let majority = groups.iter().find(|(_, members)| quorum <= members.len());
    let majority = majority.map(|(hash, _)| *hash);
    let has_majority = majority.is_some();
    if !has_majority {
        verdict.blamed.push(0);
        verdict.findings.push(Finding::Undecided { own });
    }
    for (hash, members) in groups.into_iter().filter(|(hash, _)| Some(*hash) != majority) {
        if has_majority {
            verdict.blamed.extend(&members);
        }
        verdict.findings.push(Finding::Minority { own, members, hash, has_majority });
    }
    (verdict, Older::Settled)
}

/// Hashes that were computed when the store was compacted, newest last.
#[derive(Debug, Default)]
pub struct Kept {
    hashes: VecDeque<HashAt>,
}

impl Kept {
    /// Keeps another one.
    pub fn keep(&mut self, hash: HashAt) {
        if self.hashes.len() == KEPT {
            self.hashes.pop_front();
        }
        self.hashes.push_back(hash);
    }

    /// That of the compaction at this revision.
    pub fn of(&self, revision: i64) -> Option<HashAt> {
        self.hashes.iter().rev().find(|hash| hash.revision == revision).copied()
    }

    /// Those of compactions after this revision, newest first.
    pub fn after(&self, revision: i64) -> Vec<HashAt> {
        let mut newer: Vec<HashAt> =
            self.hashes.iter().filter(|hash| revision < hash.revision).copied().collect();
        newer.sort_unstable_by_key(|hash| std::cmp::Reverse(hash.revision));
        newer
    }
}

#[cfg(test)]
mod tests;
