//! Owns the lines that tell of alarms and of members whose data was compared, in etcd's words.
//! Invariant: a member that found its data to differ before it serves ends here.

use journal::Level;
use node::CheckNews;
use node::corruption::{Finding, HashAt};
use wire::etcdserverpb as pb;

use crate::config::Identity;
use crate::setup::line;

type Fields = Vec<(&'static str, journal::Value)>;

/// An alarm went on.
pub fn raised(member: u64, alarm: i32) {
    alarmed("alarm raised", member, alarm);
}

/// An alarm went off.
pub fn disarmed(member: u64, alarm: i32) {
    alarmed("alarm disarmed", member, alarm);
}

fn alarmed(what: &str, member: u64, alarm: i32) {
    let name = pb::AlarmType::try_from(alarm).map_or("UNKNOWN", |alarm| alarm.as_str_name());
    line(Level::Warn, what, &[("alarm", name.into()), ("from", hex(member))]);
}

/// Members were compared.
pub fn tell(who: Identity, news: &CheckNews) {
    let own = ("local-member-id", hex(who.member_id));
    match news {
        CheckNews::Starting => line(Level::Info, "starting initial corruption check", &[own]),
        CheckNews::Found { finding, urls } => found(who, finding, urls),
        CheckNews::Passed => {
            line(Level::Info, "initial corruption checking passed; no corruption", &[own]);
        }
        CheckNews::Inconsistent => {
            let error = format!("{:x} found data inconsistency with peers", who.member_id);
            journal::error!("checkInitialHashKV failed", "error" => error.as_str());
            journal::warn!("failed to start etcd", "error" => error.as_str());
            journal::fatal!("discovery failed", "error" => error.as_str());
        }
        CheckNews::Compared { peers } => {
            let peers = ("number-of-peers-checked", number(*peers as i64));
            line(Level::Info, "finished peer corruption check", &[peers]);
        }
        CheckNews::ComparesCompactions => {
            line(Level::Info, "starting compact hash check", &[own]);
        }
        CheckNews::ComparedCompactions { hashes } => {
            let hashes = ("number-of-hashes-checked", number(*hashes as i64));
            line(Level::Info, "finished compaction hash check", &[hashes]);
        }
    }
}

fn found(who: Identity, finding: &Finding, urls: &[String]) {
    let (level, what, mut fields) = words(who, finding);
    if finding.peer().is_some() {
        fields.push(("remote-peer-endpoints", urls.to_vec().into()));
    }
    line(level, what, &fields);
}

/// etcd's sentence for a finding, and its fields.
fn words(who: Identity, finding: &Finding) -> (Level, &'static str, Fields) {
    let (what, fields) = match finding {
        Finding::Differs { peer, own, theirs } => (
            "found different hash values from remote peer",
            beside(who, *peer, *own, Some(*theirs)),
        ),
        Finding::OtherCompact { peer, own, theirs } => (
            "found different compact revision values from remote peer",
            beside(who, *peer, *own, Some(*theirs)),
        ),
        Finding::PeerBehind { peer, own } => {
            ("cannot fetch hash from slow remote peer", beside(who, *peer, *own, None))
        }
        Finding::Behind { peer, own } => (
            "cannot fetch hash from remote peer; local member is behind",
            beside(who, *peer, *own, None),
        ),
        Finding::Silent { peer, revision, why } => (
            "failed hash kv request",
            vec![
                ("local-member-id", hex(who.member_id)),
                ("requested-revision", number(*revision)),
                ("remote-peer-id", hex(*peer)),
                ("error", why.as_str().into()),
            ],
        ),
        Finding::Unstable { first, second } => (
            "found hash mismatch",
            vec![
                ("revision-1", number(first.revision)),
                ("compact-revision-1", number(first.compact)),
                ("hash-1", hash(*first)),
                ("revision-2", number(second.revision)),
                ("compact-revision-2", number(second.compact)),
                ("hash-2", hash(*second)),
            ],
        ),
        Finding::RevisionAhead { peer, own, theirs } => (
            "revision from follower must be less than or equal to leader's",
            vec![
                ("leader-revision", number(*own)),
                ("follower-revision", number(*theirs)),
                ("follower-peer-id", hex(*peer)),
            ],
        ),
        Finding::CompactAhead { peer, own, theirs } => (
            "compact revision from follower must be less than or equal to leader's",
            vec![
                ("leader-compact-revision", number(*own)),
                ("follower-compact-revision", number(*theirs)),
                ("follower-peer-id", hex(*peer)),
            ],
        ),
        Finding::Mismatch { peer, own, theirs } => (
            "same compact revision then hashes must match",
            vec![
                ("leader-compact-revision", number(own.compact)),
                ("leader-hash", hash(*own)),
                ("follower-compact-revision", number(theirs.compact)),
                ("follower-hash", hash(*theirs)),
                ("follower-peer-id", hex(*peer)),
            ],
        ),
        Finding::Skipped { .. } | Finding::Undecided { .. } | Finding::Minority { .. } => {
            return of_compaction(who, finding);
        }
    };
    (Level::Warn, what, fields)
}

/// The same for what was found about a compaction.
fn of_compaction(who: Identity, finding: &Finding) -> (Level, &'static str, Fields) {
    let leader = |own: HashAt| {
        vec![
            ("leader-id", hex(who.member_id)),
            ("leader-revision", number(own.revision)),
            ("leader-compact-revision", number(own.compact)),
            ("leader-hash", hash(own)),
        ]
    };
    match finding {
        Finding::Skipped { peer, peers, compact } => {
            let reason = match compact {
                None => "no response".to_owned(),
                Some((theirs, own)) => format!(
                    "the peer's CompactRevision {theirs} doesn't match leader's CompactRevision \
                     {own}"
                ),
            };
            let fields = vec![
                ("number-of-peers", number(*peers as i64)),
                ("leader-id", hex(who.member_id)),
                ("peer-id", hex(*peer)),
                ("reason", reason.into()),
            ];
            (Level::Warn, "Skipped peer's hash", fields)
        }
        Finding::Undecided { own } => {
            let what = "Detected compaction hash mismatch but cannot identify the corrupted \
                        members, so intentionally set the memberID as 0";
            (Level::Error, what, leader(*own))
        }
        Finding::Minority { own, members, hash, has_majority } => {
            let mut fields = leader(*own);
            let ids: Vec<String> = members.iter().map(|member| format!("{member:x}")).collect();
            fields.push(("peer-ids", ids.into()));
            fields.push(("peer-hash", number(i64::from(*hash))));
            fields.push(("quorum-exist", (*has_majority).into()));
            (Level::Error, "Detected compaction hash mismatch", fields)
        }
        Finding::Differs { .. }
        | Finding::OtherCompact { .. }
        | Finding::PeerBehind { .. }
        | Finding::Behind { .. }
        | Finding::Silent { .. }
        | Finding::Unstable { .. }
        | Finding::RevisionAhead { .. }
        | Finding::CompactAhead { .. }
        | Finding::Mismatch { .. } => unreachable!("not about a compaction"),
    }
}

/// This member's figures beside a peer's.
fn beside(who: Identity, peer: u64, own: HashAt, theirs: Option<HashAt>) -> Fields {
    let mut fields = vec![
        ("local-member-id", hex(who.member_id)),
        ("local-member-revision", number(own.revision)),
        ("local-member-compact-revision", number(own.compact)),
        ("local-member-hash", hash(own)),
        ("remote-peer-id", hex(peer)),
    ];
    if let Some(theirs) = theirs {
        fields.push(("remote-peer-revision", number(theirs.head)));
        fields.push(("remote-peer-compact-revision", number(theirs.compact)));
        fields.push(("remote-peer-hash", hash(theirs)));
    }
    fields
}

fn number(number: i64) -> journal::Value {
    number.into()
}

fn hash(at: HashAt) -> journal::Value {
    i64::from(at.hash).into()
}

fn hex(id: u64) -> journal::Value {
    format!("{id:x}").into()
}
