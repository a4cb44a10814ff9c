//! Owns the questions that only the leader of the group can answer while this member follows, and
//! the ways there and back.
//! Never asks twice what is not safe to do twice. Invariant: a question is held, sent, or answered,
//! never two of them.

use std::collections::BTreeMap;

use base::Instant;
use state::MemberRole;

use super::peers::WHO;
use super::rounds::Asker;
use super::{Leader, LeaderEffect};
use crate::message::{Answer, CallRef, MemberAsk, Question};
use crate::peer::{PeerAnswer, PeerAsk, PeerNote};

/// Questions of this member's calls.
pub struct Forwards {
    next: u64,
    held: Vec<Forwarded>,
    sent: BTreeMap<u64, Forwarded>,
}

struct Forwarded {
    call: CallRef,
    question: Question,
    since: Instant,
}

impl Forwards {
    /// None. `epoch` makes the numbers differ from those of an earlier life of the process.
    pub fn new(epoch: u64) -> Forwards {
        Forwards { next: epoch << 32, held: Vec::new(), sent: BTreeMap::new() }
    }

    /// The leader changed: what can be asked again is; what might be done twice is left to the
    /// time limit of its call, which tells the client that nobody knows.
    fn start_over(&mut self) {
        for forwarded in std::mem::take(&mut self.sent).into_values() {
            let question = &forwarded.question;
            if matches!(question, Question::KeepAlive { .. } | Question::TimeToLive { .. }) {
                self.held.push(forwarded);
            }
        }
    }

    /// The call needs no answer. What was sent for it may be done, but is not asked again.
    pub fn forget(&mut self, call: CallRef) {
        self.held.retain(|forwarded| forwarded.call != call);
        self.sent.retain(|_, forwarded| forwarded.call != call);
    }

    fn forget_before(&mut self, limit: Instant) {
        self.held.retain(|forwarded| limit <= forwarded.since);
        self.sent.retain(|_, forwarded| limit <= forwarded.since);
    }
}

/// Whether only the leader can answer it.
pub fn is_for_leader(question: &Question) -> bool {
    ask(question).is_some()
}

impl Leader {
    /// A call's question goes to the leader, once there is one.
    pub(super) fn forward(&mut self, now: Instant, call: CallRef, question: Question) {
        self.forwards.held.push(Forwarded { call, question, since: now });
    }

    /// Sends what is held, or answers it here if this member leads by now.
    pub(super) fn settle_forwards(&mut self) {
        if self.role.leader == 0 || self.forwards.held.is_empty() {
            return;
        }
        for forwarded in std::mem::take(&mut self.forwards.held) {
            if self.leads() {
                self.rounds.ask(Asker::Call(forwarded.call), forwarded.question);
                continue;
            }
            let number = self.next_question();
            let ask = ask(&forwarded.question).expect("only such questions are held");
            let note = PeerNote::Ask { number, ask };
            self.out.push_back(LeaderEffect::Send { to: self.role.leader, note });
            self.forwards.sent.insert(number, forwarded);
        }
    }

    /// Who leads changed, or in which term.
    pub(super) fn forwards_start_over(&mut self) {
        self.forwards.start_over();
    }

    /// Calls that were answered by their time limit need no answer.
    pub(super) fn forget_forwards(&mut self, now: Instant) {
        let limit = self.config.request_timeout();
        self.forwards.forget_before(Instant(now.0.saturating_sub(limit.as_nanos() as u64)));
    }

    /// A number for a question to a peer.
    pub(super) fn next_question(&mut self) -> u64 {
        self.forwards.next += 1;
        self.forwards.next
    }

    /// A peer asks.
    pub(super) fn take_ask(&mut self, from: u64, number: u64, ask: PeerAsk) {
        let asker = Asker::Peer { member: from, number };
        let question = match meaning(ask) {
            Meaning::ForLeader(question) => question,
            Meaning::Members => return self.tell(asker, Answer::Members(self.members())),
            Meaning::Version => return self.tell_version(from, number),
            Meaning::Hash { revision } => return self.hash_for_peer(from, number, revision),
        };
        if self.leads() {
            self.rounds.ask(asker, question);
        } else {
            let note = PeerNote::Answer { number, answer: PeerAnswer::NotLeader };
            self.out.push_back(LeaderEffect::Send { to: from, note });
        }
    }

    /// A peer answered.
    pub(super) fn take_peer_answer(&mut self, from: u64, number: u64, answer: PeerAnswer) {
        if let PeerAnswer::Version(served) = answer {
            return self.version_told(from, served);
        }
        if let (WHO, PeerAnswer::Members(members)) = (number, &answer) {
            return self.introduced(members);
        }
        if self.check_answered(from, number, &answer) {
            return;
        }
        let Some(forwarded) = self.forwards.sent.remove(&number) else { return };
        let added = matches!(forwarded.question, Question::AddMember { .. });
        let answer = match answer {
            PeerAnswer::NotLeader => return self.forwards.held.push(forwarded),
            PeerAnswer::Version(_) | PeerAnswer::Hash(_) => return,
            PeerAnswer::Failed(error) => Answer::Failed(error),
            PeerAnswer::KeptAlive { lease, ttl } => Answer::KeptAlive { lease, ttl },
            PeerAnswer::TimeToLive(reply) => Answer::TimeToLive(reply),
            PeerAnswer::Members(mut members) if added => {
                let Some(member) = members.last().cloned() else { return };
                members.sort_unstable_by_key(|member| member.id);
                Answer::Added { member: Box::new(member), members }
            }
            PeerAnswer::Members(members) => Answer::Members(members),
        };
        self.tell(Asker::Call(forwarded.call), answer);
    }
}

/// The answer as it goes to a peer.
pub fn peer_answer(answer: Answer) -> PeerAnswer {
    match answer {
        Answer::Failed(error) => PeerAnswer::Failed(error),
        Answer::KeptAlive { lease, ttl } => PeerAnswer::KeptAlive { lease, ttl },
        Answer::TimeToLive(reply) => PeerAnswer::TimeToLive(reply),
        Answer::Hash(hash) => PeerAnswer::Hash(hash),
        Answer::Members(members) => PeerAnswer::Members(members),
        Answer::Added { member, mut members } => {
            members.retain(|other| other.id != member.id);
            members.push(*member);
            PeerAnswer::Members(members)
        }
        Answer::Plan(_)
        | Answer::Leases(_)
        | Answer::Status(_)
        | Answer::Alarms(_)
        | Answer::Snapshot(_)
        | Answer::Moved
        | Answer::Downgrade(_)
        | Answer::Done => unreachable!("peers do not ask that"),
    }
}

/// The question in the words of peers; `None` if every member answers it itself.
fn ask(question: &Question) -> Option<PeerAsk> {
    Some(match question {
        Question::KeepAlive { lease } => PeerAsk::KeepAlive { lease: *lease },
        Question::TimeToLive { lease, keys } => PeerAsk::TimeToLive { lease: *lease, keys: *keys },
        Question::AddMember { peer_urls, role } => {
            let learner = *role == MemberRole::Learner;
            PeerAsk::AddMember { peer_urls: peer_urls.clone(), learner }
        }
        Question::ChangeMember { id, change } => match change {
            MemberAsk::Remove => PeerAsk::RemoveMember { id: *id },
            MemberAsk::Update { peer_urls } => {
                PeerAsk::UpdateMember { id: *id, peer_urls: peer_urls.clone() }
            }
            MemberAsk::Promote => PeerAsk::PromoteMember { id: *id },
        },
        Question::PlanTxn(_)
        | Question::Leases
        | Question::Members
        | Question::MembersHere
        | Question::Downgrade(_)
        | Question::MoveLeader { .. }
        | Question::Status
        | Question::Alarms { .. }
        | Question::AlarmsHere { .. }
        | Question::Snapshot
        | Question::Hash { .. }
        | Question::Checkpoint => return None,
    })
}

/// What a peer's question means here.
enum Meaning {
    /// The leader answers it.
    ForLeader(Question),
    /// Who is a member, as you know it?
    Members,
    /// Of which version are you?
    Version,
    /// What is the hash of your history?
    Hash { revision: i64 },
}

fn meaning(ask: PeerAsk) -> Meaning {
    Meaning::ForLeader(match ask {
        PeerAsk::KeepAlive { lease } => Question::KeepAlive { lease },
        PeerAsk::TimeToLive { lease, keys } => Question::TimeToLive { lease, keys },
        PeerAsk::AddMember { peer_urls, learner } => {
            let role = if learner { MemberRole::Learner } else { MemberRole::Voter };
            Question::AddMember { peer_urls, role }
        }
        PeerAsk::RemoveMember { id } => Question::ChangeMember { id, change: MemberAsk::Remove },
        PeerAsk::UpdateMember { id, peer_urls } => {
            Question::ChangeMember { id, change: MemberAsk::Update { peer_urls } }
        }
        PeerAsk::PromoteMember { id } => Question::ChangeMember { id, change: MemberAsk::Promote },
        PeerAsk::Members => return Meaning::Members,
        PeerAsk::Version => return Meaning::Version,
        PeerAsk::Hash { revision } => return Meaning::Hash { revision },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{CallId, ShardId};

    #[test]
    fn what_a_call_asked_that_has_left_is_neither_held_nor_asked_again() {
        let mut forwards = Forwards::new(0);
        let calls = [1, 2, 3].map(|call| CallRef { shard: ShardId(0), call: CallId(call) });
        let asked = |call| {
            let question = Question::KeepAlive { lease: 7 };
            Forwarded { call, question, since: Instant(0) }
        };
        forwards.held.extend([asked(calls[0]), asked(calls[1])]);
        forwards.sent.insert(1, asked(calls[2]));
        forwards.forget(calls[0]);
        forwards.forget(calls[2]);
        forwards.start_over();
        let left: Vec<CallRef> = forwards.held.iter().map(|forwarded| forwarded.call).collect();
        assert_eq!(left, [calls[1]]);
    }
}
