//! Owns the comparing of members' data: when it is due, whom it asks, and what becomes of a
//! verdict. Computes no hash and has no opinion (`corruption.rs`).
//! Invariant: one comparison is under way at a time; a member that compares itself at its start
//! does not publish itself before the verdict.
//!
//! ```text
//! own hash --> Asking: peers, at that revision --all, or time is up--> verdict
//!              now and then only: --> Confirming: still the leader? --> own hash again --> verdict
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::Instant;
use state::{Command, Kind};
use wire::{ApiError, etcdserverpb as pb};

use super::rounds::Asker;
use super::{Leader, LeaderEffect, Report};
use crate::corruption::{self, Finding, HashAt, Kept, Older, Said, Verdict};
use crate::message::{Answer, CallRef, HashWant, ShardId, ToShard};
use crate::peer::{PeerAnswer, PeerAsk, PeerNote};

/// A question that was lost is asked again after this pause.
const AGAIN: Duration = Duration::from_millis(250);

/// When members' data is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckPolicy {
    /// `--feature-gates=InitialCorruptCheck=true`.
    pub at_start: AtStart,
    /// `--corrupt-check-time`; `None` for never.
    pub every: Option<Duration>,
    /// `--compact-hash-check-time`, if the gate `CompactHashCheck` is open.
    pub compactions_every: Option<Duration>,
}

impl CheckPolicy {
    /// Never.
    pub const OFF: CheckPolicy =
        CheckPolicy { at_start: AtStart::Serve, every: None, compactions_every: None };
}

/// What a member that has data does when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtStart {
    /// It serves.
    Serve,
    /// It compares itself with its peers first.
    Compare,
}

/// News of comparisons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckNews {
    /// This member compares itself with its peers before it serves.
    Starting,
    /// Something was found.
    Found {
        /// What.
        finding: Finding,
        /// The peer URLs of the peer that it is about, if it is about one.
        urls: Vec<String>,
    },
    /// Before serving: nobody differs.
    Passed,
    /// Before serving: somebody differs. The process must stop.
    Inconsistent,
    /// The leader has compared its peers with itself.
    Compared {
        /// How many of them.
        peers: usize,
    },
    /// The leader compares hashes of compactions.
    ComparesCompactions,
    /// It has.
    ComparedCompactions {
        /// Of so many.
        hashes: usize,
    },
}

/// Comparisons of this member.
pub struct Checks {
    at_start: Initial,
    every: Option<Instant>,
    compactions: Option<Instant>,
    under_way: Option<Comparison>,
    /// Hashes that a shard computes, by number.
    asked: BTreeMap<u64, For>,
    kept: Kept,
    /// Compactions up to here need no look.
    settled: i64,
    /// The compact revision before the next compaction.
    compact: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Initial {
    Due,
    UnderWay,
    Over,
}

struct Comparison {
    kind: What,
    /// When peers were asked.
    since: Instant,
    own: Option<HashAt>,
    /// Peers by the number of the question that they have not answered.
    open: BTreeMap<u64, u64>,
    /// Peers to be asked again then.
    again: BTreeMap<u64, Instant>,
    said: BTreeMap<u64, Said>,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum What {
    Start,
    Now,
    Compactions { rest: Vec<HashAt>, done: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Hashing,
    Asking,
    Confirming,
    HashingAgain,
}

/// Whom a hash is for.
#[derive(Clone, Copy, Debug)]
enum For {
    Comparison,
    Compaction,
    Asker(Asker),
}

impl Checks {
    /// Nothing was compared.
    pub fn new(now: Instant, policy: CheckPolicy) -> Checks {
        Checks {
            at_start: Initial::Over,
            every: policy.every.map(|gap| now + gap),
            compactions: policy.compactions_every.map(|gap| now + gap),
            under_way: None,
            asked: BTreeMap::new(),
            kept: Kept::default(),
            settled: 0,
            compact: -1,
        }
    }

    /// The member's store was found: it may have to be compared first.
    pub fn found(&mut self, policy: CheckPolicy, compact: i64) {
        self.compact = compact;
        if policy.at_start == AtStart::Compare {
            self.at_start = Initial::Due;
        }
    }

    /// Who leads changed: what a leader compares is dropped.
    pub fn start_over(&mut self) {
        if self.under_way.as_ref().is_some_and(|under_way| !matches!(under_way.kind, What::Start)) {
            self.under_way = None;
        }
    }
}

impl Comparison {
    fn new(kind: What, now: Instant) -> Comparison {
        Comparison {
            kind,
            since: now,
            own: None,
            open: BTreeMap::new(),
            again: BTreeMap::new(),
            said: BTreeMap::new(),
            stage: Stage::Hashing,
        }
    }

    /// Gives up on everybody who has not answered.
    fn give_up(&mut self, why: &str) {
        let open = std::mem::take(&mut self.open).into_values();
        let again = std::mem::take(&mut self.again).into_keys();
        for peer in open.chain(again).collect::<BTreeSet<u64>>() {
            self.said.insert(peer, Said::Nothing(why.to_owned()));
        }
    }

    fn is_answered(&self) -> bool {
        self.stage == Stage::Asking && self.open.is_empty() && self.again.is_empty()
    }
}

impl Leader {
    /// Lets time-driven comparisons begin, and those under way go on.
    pub(super) fn checks_tick(&mut self, now: Instant) {
        self.ask_again(now);
        self.settle_comparison(now);
        if !self.leads() || self.checks.under_way.is_some() || self.stopping {
            return;
        }
        let policy = self.config.checks;
        if let (Some(due), Some(gap)) = (self.checks.every, policy.every)
            && due <= now
        {
            self.checks.every = Some(now + gap);
            return self.begin_comparison(now, What::Now);
        }
        if let (Some(due), Some(gap)) = (self.checks.compactions, policy.compactions_every)
            && due <= now
        {
            self.checks.compactions = Some(now + gap);
            self.report(Report::Check(CheckNews::ComparesCompactions));
            let mut rest = self.checks.kept.after(self.checks.settled);
            rest.reverse();
            self.next_compaction(now, rest, 0);
        }
    }

    /// Whether the member must not publish itself yet.
    pub(super) fn is_unchecked(&mut self, now: Instant) -> bool {
        if self.checks.at_start == Initial::Due {
            self.checks.at_start = Initial::UnderWay;
            self.report(Report::Check(CheckNews::Starting));
            self.begin_comparison(now, What::Start);
        }
        self.checks.at_start != Initial::Over
    }

    fn begin_comparison(&mut self, now: Instant, kind: What) {
        self.checks.under_way = Some(Comparison::new(kind, now));
        // What was decided goes to the shards before the question.
        self.send_batch();
        self.hash_here(For::Comparison, HashWant::At(0));
    }

    /// Compares the newest hash of these, the last one.
    fn next_compaction(&mut self, now: Instant, mut rest: Vec<HashAt>, done: usize) {
        let Some(own) = rest.pop() else {
            let hashes = done;
            return self.report(Report::Check(CheckNews::ComparedCompactions { hashes }));
        };
        let kind = What::Compactions { rest, done };
        self.checks.under_way = Some(Comparison::new(kind, now));
        self.ask_peers(now, own);
    }

    fn hash_here(&mut self, whose: For, want: HashWant) {
        let number = self.next_question();
        self.checks.asked.insert(number, whose);
        let message = ToShard::Hash { number, want };
        self.out.push_back(LeaderEffect::ToShard { shard: ShardId(0), message });
    }

    fn ask_peers(&mut self, now: Instant, own: HashAt) {
        let member = self.config.member_id;
        let peers = self.sequencer.members().iter().map(|peer| peer.id);
        let peers: Vec<u64> = peers.filter(|peer| *peer != member).collect();
        let under_way = self.checks.under_way.as_mut().expect("it has begun");
        under_way.own = Some(own);
        under_way.since = now;
        under_way.stage = Stage::Asking;
        peers.into_iter().for_each(|peer| self.ask_hash(peer, own.revision));
        self.settle_comparison(now);
    }

    fn ask_hash(&mut self, to: u64, revision: i64) {
        let number = self.next_question();
        if let Some(under_way) = &mut self.checks.under_way {
            under_way.open.insert(number, to);
        }
        let note = PeerNote::Ask { number, ask: PeerAsk::Hash { revision } };
        self.out.push_back(LeaderEffect::Send { to, note });
    }

    /// Something that was sent to a peer was lost, perhaps our question.
    pub(super) fn check_lost(&mut self, now: Instant, peer: u64) {
        let patience = self.config.election_timeout;
        let Some(under_way) = &mut self.checks.under_way else { return };
        let before = under_way.open.len();
        under_way.open.retain(|_, asked| *asked != peer);
        if before == under_way.open.len() {
            return;
        }
        match now.since(under_way.since) < patience {
            true => drop(under_way.again.insert(peer, now + AGAIN)),
            false => {
                let why = Said::Nothing("the peer cannot be reached".to_owned());
                under_way.said.insert(peer, why);
            }
        }
    }

    fn ask_again(&mut self, now: Instant) {
        let limit = self.config.request_timeout();
        let Some(under_way) = &mut self.checks.under_way else { return };
        if limit <= now.since(under_way.since) {
            return under_way.give_up("the peer did not answer in time");
        }
        let Some(own) = under_way.own else { return };
        let due = under_way.again.extract_if(.., |_, at| *at <= now);
        for peer in due.map(|(peer, _)| peer).collect::<Vec<u64>>() {
            self.ask_hash(peer, own.revision);
        }
    }

    /// A peer answered; false if it was asked something else.
    pub(super) fn check_answered(&mut self, from: u64, number: u64, answer: &PeerAnswer) -> bool {
        let Some(under_way) = &mut self.checks.under_way else { return false };
        if under_way.open.get(&number) != Some(&from) {
            return false;
        }
        under_way.open.remove(&number);
        let said = match answer {
            PeerAnswer::Hash(hash) => Said::Hash(*hash),
            PeerAnswer::Failed(ApiError::FutureRevision) => Said::Behind,
            PeerAnswer::Failed(ApiError::Compacted) => Said::Compacted,
            PeerAnswer::Failed(error) => Said::Nothing(error.message().to_owned()),
            PeerAnswer::KeptAlive { .. }
            | PeerAnswer::TimeToLive(_)
            | PeerAnswer::Members(_)
            | PeerAnswer::Version(_)
            | PeerAnswer::NotLeader => Said::Nothing("another answer came".to_owned()),
        };
        under_way.said.insert(from, said);
        true
    }

    /// A shard has computed a hash.
    pub(super) fn hashed(&mut self, now: Instant, number: u64, result: Result<HashAt, ApiError>) {
        let Some(whose) = self.checks.asked.remove(&number) else { return };
        match (whose, result) {
            (For::Asker(asker), Ok(hash)) => self.tell(asker, Answer::Hash(hash)),
            (For::Asker(asker), Err(error)) => self.tell(asker, Answer::Failed(error)),
            (For::Compaction, Ok(hash)) => self.checks.kept.keep(hash),
            // It came too late for what is compacted away by now: others will tell.
            (For::Compaction, Err(_)) => {}
            (For::Comparison, Ok(hash)) => match self.checks.under_way.as_ref().map(|c| c.stage) {
                Some(Stage::Hashing) => self.ask_peers(now, hash),
                Some(Stage::HashingAgain) => self.judge_now(hash),
                // Of a comparison that was dropped.
                Some(Stage::Asking | Stage::Confirming) | None => {}
            },
            (For::Comparison, Err(_)) => {
                self.end_comparison();
                if self.checks.at_start == Initial::UnderWay {
                    self.checks.at_start = Initial::Due;
                }
            }
        }
    }

    /// Goes on with a comparison whose peers have answered.
    pub(super) fn settle_comparison(&mut self, now: Instant) {
        let Some(under_way) = self.checks.under_way.as_mut() else { return };
        if !under_way.is_answered() {
            return;
        }
        let own = under_way.own.expect("peers were asked for the same");
        match under_way.kind.clone() {
            What::Start => {
                let verdict = corruption::judge_start(own, &under_way.said);
                self.tell_findings(&verdict);
                self.end_comparison();
                self.report(Report::Check(match verdict.blamed.is_empty() {
                    true => CheckNews::Passed,
                    false => CheckNews::Inconsistent,
                }));
                if verdict.blamed.is_empty() {
                    self.checks.at_start = Initial::Over;
                }
            }
            What::Now => {
                under_way.stage = Stage::Confirming;
                self.rounds.check();
            }
            What::Compactions { rest, done } => {
                let leader = self.config.member_id;
                let (verdict, older) = corruption::judge_compaction(leader, own, &under_way.said);
                self.tell_findings(&verdict);
                self.blame(&verdict);
                self.end_comparison();
                let done = done + 1;
                match older {
                    Older::Open => self.next_compaction(now, rest, done),
                    Older::Settled => {
                        self.checks.settled = own.revision;
                        self.next_compaction(now, Vec::new(), done);
                    }
                }
            }
        }
    }

    /// Leadership was confirmed after the peers had answered.
    pub(super) fn check_confirmed(&mut self) {
        let Some(under_way) = self.checks.under_way.as_mut() else { return };
        if under_way.stage != Stage::Confirming {
            return;
        }
        let first = under_way.own.expect("peers were asked for the same");
        let (head, compact) = (self.sequencer.revision(), self.sequencer.compact_revision());
        if (head, compact) == (first.revision, first.compact) {
            // Nothing has happened since: the same must have the same hash.
            under_way.stage = Stage::HashingAgain;
            return self.hash_here(For::Comparison, HashWant::At(0));
        }
        self.judge_now(HashAt { hash: 0, revision: head, compact, head });
    }

    fn judge_now(&mut self, second: HashAt) {
        let Some(under_way) = self.checks.under_way.take() else { return };
        let first = under_way.own.expect("peers were asked for the same");
        let leader = self.config.member_id;
        let verdict = corruption::judge_now(leader, first, second, &under_way.said);
        self.tell_findings(&verdict);
        self.blame(&verdict);
        self.report(Report::Check(CheckNews::Compared { peers: verdict.compared }));
    }

    fn end_comparison(&mut self) {
        self.checks.under_way = None;
    }

    fn tell_findings(&mut self, verdict: &Verdict) {
        for finding in verdict.findings.clone() {
            let member = finding.peer().and_then(|peer| self.sequencer.members().get(peer));
            let urls = member.map(|member| member.peer_urls.clone()).unwrap_or_default();
            self.report(Report::Check(CheckNews::Found { finding, urls }));
        }
    }

    fn blame(&mut self, verdict: &Verdict) {
        for blamed in &verdict.blamed {
            if self.sequencer.alarms().has(*blamed, pb::AlarmType::Corrupt) {
                continue;
            }
            let request = pb::AlarmRequest {
                action: pb::alarm_request::AlarmAction::Activate as i32,
                member_id: *blamed,
                alarm: pb::AlarmType::Corrupt as i32,
            };
            let body = prost::Message::encode_to_vec(&request).into();
            let member = self.config.member_id;
            let kind = Kind::Alarm;
            self.proposals.push(None, member, |origin| Command { kind, origin, body });
        }
    }

    /// A compaction was decided: its hash is computed from what it is about to take away.
    pub(super) fn compaction_decided(&mut self, revision: i64) {
        let compact = std::mem::replace(&mut self.checks.compact, revision);
        if self.config.checks.compactions_every.is_some() {
            self.hash_here(For::Compaction, HashWant::Compaction { revision, compact });
        }
    }

    /// A peer wants a hash.
    pub(super) fn hash_for_peer(&mut self, member: u64, number: u64, revision: i64) {
        self.hash_for(Asker::Peer { member, number }, revision);
    }

    /// Somebody wants the hash that members compare.
    pub(super) fn hash_for(&mut self, asker: Asker, revision: i64) {
        match self.checks.kept.of(revision) {
            Some(hash) => {
                let head = self.sequencer.revision();
                self.tell(asker, Answer::Hash(HashAt { head, ..hash }));
            }
            None => self.hash_here(For::Asker(asker), HashWant::At(revision)),
        }
    }

    /// A call of this member's shell wants it.
    pub(super) fn hash_for_call(&mut self, call: CallRef, revision: i64) {
        self.hash_for(Asker::Call(call), revision);
    }
}
