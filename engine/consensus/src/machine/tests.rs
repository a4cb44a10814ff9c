//! Laws of one member alone, and of what may leave before what. Clusters are in `tests/cluster.rs`.

use std::time::Duration;

use base::Prng;

use super::*;
use crate::effect::ReadContext;
use wal::Restored;

const NOW: Instant = Instant(0);

fn config(id: u64) -> Config {
    Config {
        id,
        seed: id,
        boot: 1,
        election_ticks: 10,
        heartbeat_ticks: 1,
        read_timeout: Duration::from_secs(1),
        window_bytes: 1 << 20,
    }
}

fn drain(consensus: &mut Consensus) -> Vec<Effect> {
    std::iter::from_fn(|| consensus.poll_effect()).collect()
}

fn persists(effects: &[Effect]) -> Vec<Persist> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Persist(persist) => Some(persist.clone()),
            _ => None,
        })
        .collect()
}

fn applied(effects: &[Effect]) -> Vec<Entry> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Apply(entries) => Some(entries.clone()),
            _ => None,
        })
        .flatten()
        .collect()
}

fn founded() -> Consensus {
    let mut alone = Consensus::new(config(1), Start::founding(Membership::of_voters([1])));
    alone.handle(NOW, Event::Campaign);
    alone
}

#[test]
fn a_member_alone_leads_at_once_and_commits_in_order_as_its_disk_allows() {
    let mut alone = founded();
    let mut prng = Prng::from_seed(3);
    let (mut log, mut under_way, mut done) = (vec![], VecDeque::new(), vec![]);
    let (mut proposed, mut durable) = (0_u64, 1_u64);
    while done.len() < 1001 {
        if proposed < 1000 && alone.role().role == Role::Leader && prng.chance(600) {
            let place = alone.propose(proposed.to_le_bytes().to_vec().into()).unwrap();
            assert_eq!((place.index, place.term), (proposed + 3, 2));
            proposed += 1;
        }
        let effects = drain(&mut alone);
        for persist in persists(&effects) {
            under_way.push_back(persist);
        }
        for entry in applied(&effects) {
            assert_eq!(entry.index, done.len() as u64 + 2);
            assert!(entry.index <= durable, "applied before it was durable");
            done.push(entry.data.clone());
            alone.handle(NOW, Event::Applied(entry.index));
        }
        // The disk reports some of what is under way, in order, one report for many.
        let mut report = None;
        for _ in 0..prng.below(4) {
            let Some(persist) = under_way.pop_front() else { break };
            durable = persist.entries.last().map_or(durable, |entry| entry.index);
            log.extend(persist.records());
            report =
                Some(persist).filter(|p| p.urgency == Urgency::Wait).map(|p| p.number).or(report);
        }
        report.into_iter().for_each(|number| alone.handle(NOW, Event::Persisted(number)));
    }
    assert_eq!(done[0], Bytes::new(), "a leader's term opens with an empty entry");
    for (number, data) in done[1..].iter().enumerate() {
        assert_eq!(data, &(number as u64).to_le_bytes()[..]);
    }

    let mut restored = Restored::start(Mark { term: 1, index: 1 });
    log.into_iter().for_each(|record| restored.take(record).unwrap());
    let restored = restored.finish().unwrap();
    let start = Start {
        window: restored.window,
        hard_state: restored.hard_state,
        membership: Membership::of_voters([1]),
        applied: 500,
    };
    let mut again = Consensus::new(Config { boot: 2, ..config(1) }, start);
    again.handle(NOW, Event::Campaign);
    let effects = drain(&mut again);
    assert_eq!(again.role(), RoleChange { leader: Some(1), term: 3, role: Role::Leader });
    let first = persists(&effects)[0].number;
    let mut replayed = applied(&effects);
    again.handle(NOW, Event::Persisted(first));
    replayed.extend(applied(&drain(&mut again)));
    let indexes: Vec<u64> = replayed.iter().map(|entry| entry.index).collect();
    assert_eq!(indexes, (501..=1003).collect::<Vec<_>>());
}

#[test]
fn many_proposals_between_two_drains_are_one_persist() {
    let mut alone = founded();
    drain(&mut alone);
    for number in 0..100 {
        alone.propose(vec![number].into()).unwrap();
    }
    let persists = persists(&drain(&mut alone));
    assert_eq!(persists.len(), 1);
    assert_eq!(persists[0].entries.len(), 100);
}

#[test]
fn a_commit_index_alone_is_not_waited_for() {
    let mut alone = founded();
    let first = persists(&drain(&mut alone));
    assert_eq!(first.iter().map(|p| p.urgency).collect::<Vec<_>>(), vec![Urgency::Wait]);
    alone.handle(NOW, Event::Persisted(first[0].number));
    let effects = drain(&mut alone);
    let commit = persists(&effects);
    assert_eq!(commit.len(), 1);
    assert_eq!((commit[0].urgency, commit[0].hard_state.unwrap().commit), (Urgency::Ride, 2));
    assert_eq!(applied(&effects).len(), 1);
}

#[test]
fn a_read_waits_until_the_leader_has_committed_in_its_term() {
    let mut alone = founded();
    let first = persists(&drain(&mut alone))[0].number;
    alone.handle(NOW, Event::ReadIndex(ReadContext(7)));
    let early = drain(&mut alone);
    assert!(!early.iter().any(|e| matches!(e, Effect::ReadReady { .. } | Effect::ReadLost { .. })));
    alone.handle(NOW, Event::Persisted(first));
    let ready = drain(&mut alone)
        .into_iter()
        .any(|e| matches!(e, Effect::ReadReady { context: ReadContext(7), index } if index == 2));
    assert!(ready);
}

#[test]
fn without_a_leader_reads_are_lost_and_proposals_refused() {
    let mut member = Consensus::new(config(1), Start::founding(Membership::of_voters([1, 2, 3])));
    member.handle(NOW, Event::ReadIndex(ReadContext(7)));
    let effects = drain(&mut member);
    assert!(matches!(effects[..], [Effect::ReadLost { context: ReadContext(7) }]));
    assert_eq!(member.propose("x".into()), Err(ProposeError::NotLeader { leader: None }));
}

#[test]
fn a_vote_leaves_only_after_it_is_durable() {
    let mut voter = Consensus::new(config(2), Start::founding(Membership::of_voters([1, 2, 3])));
    let mut ask = eraftpb::Message::default();
    ask.set_msg_type(MessageType::MsgRequestVote);
    (ask.from, ask.to, ask.term, ask.index, ask.log_term) = (1, 2, 2, 1, 1);
    voter.handle(NOW, Event::Received(PeerMessage(ask)));
    let effects = drain(&mut voter);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Send { .. })));
    let persist = &persists(&effects)[0];
    assert_eq!(persist.urgency, Urgency::Wait);
    assert_eq!(persist.hard_state.unwrap().vote, 1);
    voter.handle(NOW, Event::Persisted(persist.number));
    let sent = drain(&mut voter);
    assert!(matches!(sent[..], [Effect::Send { to: 1, .. }]));
}

#[test]
fn a_leader_of_a_term_that_is_not_durable_says_nothing() {
    // One voter and one learner: the voter elects itself without asking, and must not show the
    // learner entries of a term that a crash could make it use twice.
    let membership = Membership { learners: vec![2], ..Membership::of_voters([1]) };
    let mut alone = Consensus::new(config(1), Start::founding(membership));
    alone.handle(NOW, Event::Campaign);
    let effects = drain(&mut alone);
    assert_eq!(alone.role().role, Role::Leader);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Send { .. })));
    alone.handle(NOW, Event::Persisted(persists(&effects)[0].number));
    assert!(drain(&mut alone).iter().any(|effect| matches!(effect, Effect::Send { to: 2, .. })));
}

#[test]
fn a_slow_disk_does_not_silence_heartbeats() {
    let mut follower = Consensus::new(config(2), Start::founding(Membership::of_voters([1, 2, 3])));
    let mut append = eraftpb::Message::default();
    append.set_msg_type(MessageType::MsgAppend);
    (append.from, append.to, append.term, append.index, append.log_term) = (1, 2, 1, 1, 1);
    let mut entry = eraftpb::Entry::default();
    (entry.index, entry.term) = (2, 1);
    append.mut_entries().push(entry);
    follower.handle(NOW, Event::Received(PeerMessage(append)));
    let stuck = drain(&mut follower);
    assert!(!stuck.iter().any(|effect| matches!(effect, Effect::Send { .. })));
    let mut beat = eraftpb::Message::default();
    beat.set_msg_type(MessageType::MsgHeartbeat);
    (beat.from, beat.to, beat.term) = (1, 2, 1);
    follower.handle(NOW, Event::Received(PeerMessage(beat)));
    assert!(matches!(drain(&mut follower)[..], [Effect::Send { to: 1, .. }]));
}

#[test]
fn a_member_is_added_when_its_entry_is_applied_and_one_change_waits_for_another() {
    let mut alone = founded();
    let mut members = Membership::default();
    let mut rounds = 0;
    while members.learners.is_empty() {
        let effects = drain(&mut alone);
        for persist in persists(&effects).iter().filter(|p| p.urgency == Urgency::Wait) {
            alone.handle(NOW, Event::Persisted(persist.number));
        }
        for entry in applied(&effects) {
            if entry.kind == wal::EntryKind::Change {
                let change = crate::Change::decode(&entry).unwrap();
                assert_eq!(change.steps, vec![MemberChange::AddLearner(2)]);
                assert_eq!(change.context, "who");
                members = alone.accept_change(&entry).unwrap();
            }
            alone.handle(NOW, Event::Applied(entry.index));
            if rounds == 0 {
                alone.propose_change(MemberChange::AddLearner(2), "who".into()).unwrap();
                let second = alone.propose_change(MemberChange::AddVoter(3), "".into());
                assert_eq!(second, Err(ProposeError::ChangePending));
                rounds = 1;
            }
        }
    }
    assert_eq!(members, Membership { learners: vec![2], ..Membership::of_voters([1]) });
    assert_eq!(alone.status().membership, members);
}

/// Both work off what they have; of what the first has under way only the oldest `reports` persists
/// are reported. Answers what was not.
fn exchange(pair: &mut [Consensus; 2], reports: usize) -> VecDeque<ReadyNumber> {
    let mut under_way = VecDeque::new();
    let mut reported = 0;
    loop {
        let effects = [drain(&mut pair[0]), drain(&mut pair[1])];
        if effects.iter().all(Vec::is_empty) {
            return under_way;
        }
        for (at, effects) in effects.into_iter().enumerate() {
            for persist in persists(&effects).iter().filter(|p| p.urgency == Urgency::Wait) {
                match at == 0 && reports <= reported {
                    true => under_way.push_back(persist.number),
                    false => pair[at].handle(NOW, Event::Persisted(persist.number)),
                }
                reported += usize::from(at == 0);
            }
            for entry in applied(&effects) {
                if entry.kind == wal::EntryKind::Change {
                    pair[at].accept_change(&entry).unwrap();
                }
                pair[at].handle(NOW, Event::Applied(entry.index));
            }
            for effect in effects {
                if let Effect::Send { message, .. } = effect {
                    pair[1 - at].handle(NOW, Event::Received(message));
                }
            }
        }
    }
}

/// The library looks for a leader's place among the members when its disk reports, and found none.
#[test]
fn a_leader_that_is_removed_steps_down_and_its_disk_may_still_report() {
    let group = Start::founding(Membership::of_voters([1, 2]));
    let mut pair = [Consensus::new(config(1), group.clone()), Consensus::new(config(2), group)];
    pair[0].handle(NOW, Event::Campaign);
    assert!(exchange(&mut pair, usize::MAX).is_empty());
    assert_eq!(pair[0].role().role, Role::Leader);
    pair[0].propose_change(MemberChange::Remove(1), Bytes::new()).unwrap();
    let removal: Vec<Effect> = drain(&mut pair[0]);
    pair[0].propose("after".into()).unwrap();
    let after = exchange(&mut pair, 0);
    assert_eq!(after.len(), 1);
    let [removal] = &persists(&removal)[..] else { panic!("one persist: {removal:?}") };
    pair[0].handle(NOW, Event::Persisted(removal.number));
    let _ = exchange(&mut pair, 0);
    assert_eq!(pair[0].status().membership, Membership::of_voters([2]));
    assert_eq!(pair[0].role().role, Role::Follower);
    pair[0].handle(NOW, Event::Persisted(after[0]));
    assert!(!drain(&mut pair[0]).iter().any(|effect| matches!(effect, Effect::Apply(_))));
}

/// The two hold a majority of two only together, until the change is known to be committed.
#[test]
fn a_leader_that_is_removed_has_told_the_others_so() {
    let group = Start::founding(Membership::of_voters([1, 2]));
    let mut pair = [Consensus::new(config(1), group.clone()), Consensus::new(config(2), group)];
    pair[0].handle(NOW, Event::Campaign);
    let _ = exchange(&mut pair, usize::MAX);
    pair[0].propose_change(MemberChange::Remove(1), Bytes::new()).unwrap();
    let _ = exchange(&mut pair, usize::MAX);
    for member in &pair {
        assert_eq!(member.status().membership, Membership::of_voters([2]));
    }
}

/// Three members whose disks and network are instant.
struct Trio {
    members: Vec<Consensus>,
    /// Kinds of all messages sent so far.
    sent: Vec<MessageType>,
}

impl Trio {
    fn led_by_the_first() -> Trio {
        let start = || Start::founding(Membership::of_voters(1..=3));
        let members = (1..=3).map(|id| Consensus::new(config(id), start())).collect();
        let mut trio = Trio { members, sent: vec![] };
        trio.members[0].handle(NOW, Event::Campaign);
        trio.settle();
        assert_eq!(trio.members[0].role().role, Role::Leader);
        trio.tell_all();
        trio
    }

    fn settle(&mut self) {
        while (0..3).any(|at| self.step(at)) {}
    }

    fn step(&mut self, at: usize) -> bool {
        let effects = drain(&mut self.members[at]);
        for effect in &effects {
            match effect {
                Effect::Persist(persist) if persist.urgency == Urgency::Wait => {
                    self.members[at].handle(NOW, Event::Persisted(persist.number));
                }
                Effect::Send { to, message } => {
                    self.sent.push(message.0.msg_type);
                    let message = Event::Received(message.clone());
                    self.members[*to as usize - 1].handle(NOW, message);
                }
                Effect::Apply(entries) => {
                    let last = entries.last().expect("there is one").index;
                    self.members[at].handle(NOW, Event::Applied(last));
                }
                Effect::Persist(_)
                | Effect::ReadReady { .. }
                | Effect::Fetch { .. }
                | Effect::ReadLost { .. }
                | Effect::Role(_)
                | Effect::Install(_)
                | Effect::SnapshotWanted { .. } => {}
            }
        }
        !effects.is_empty()
    }

    fn tell_all(&mut self) {
        for peer in self.members[0].untold() {
            self.members[0].handle(NOW, Event::TellCommit(peer));
        }
        self.settle();
        self.sent.clear();
    }

    fn commits(&self) -> Vec<u64> {
        self.members.iter().map(|member| member.status().commit).collect()
    }
}

#[test]
fn a_write_takes_an_append_and_an_answer_a_peer_and_the_next_one_tells_that_it_is_committed() {
    use MessageType::{MsgAppend, MsgAppendResponse};
    let mut trio = Trio::led_by_the_first();
    let before = trio.commits()[0];
    assert_eq!(trio.commits(), [before; 3]);
    for round in 1..4 {
        trio.members[0].propose(Bytes::from_static(b"put")).unwrap();
        trio.settle();
        let told = before + round - 1;
        assert_eq!(trio.commits(), [told + 1, told, told]);
        let mut sent = std::mem::take(&mut trio.sent);
        sent.sort_by_key(|kind| *kind as u8);
        assert_eq!(sent, [MsgAppend, MsgAppend, MsgAppendResponse, MsgAppendResponse]);
    }
}

#[test]
fn who_must_know_of_a_commit_is_told_once_and_says_nothing_to_it() {
    let mut trio = Trio::led_by_the_first();
    trio.members[0].propose(Bytes::from_static(b"put")).unwrap();
    trio.settle();
    let commit = trio.commits()[0];
    assert_eq!(trio.members[0].untold(), [2, 3]);
    assert_eq!(trio.members[1].untold(), [], "who follows tells nobody");
    trio.sent.clear();
    for _ in 0..2 {
        trio.members[0].handle(NOW, Event::TellCommit(3));
        trio.settle();
    }
    assert_eq!(trio.commits(), [commit, commit - 1, commit]);
    assert_eq!(trio.sent, [MessageType::MsgHeartbeat]);
    assert_eq!(trio.members[0].untold(), [2]);
}

#[test]
fn a_reader_that_was_not_told_of_a_commit_is_told_with_its_read_point() {
    let mut trio = Trio::led_by_the_first();
    trio.members[0].propose(Bytes::from_static(b"put")).unwrap();
    trio.settle();
    let commit = trio.commits()[0];
    trio.members[1].handle(NOW, Event::ReadIndex(ReadContext(7)));
    trio.settle();
    assert_eq!(trio.commits()[..2], [commit, commit]);
}

#[test]
fn a_notice_of_an_entry_that_is_not_ours_commits_nothing() {
    let mut trio = Trio::led_by_the_first();
    let commit = trio.commits()[1];
    let term = trio.members[0].role().term;
    for mark in [Mark { term, index: commit + 1 }, Mark { term: term + 1, index: commit }] {
        let notice = PeerMessage::notice(1, 2, term, mark);
        trio.members[1].handle(NOW, Event::Received(notice));
        trio.settle();
        assert_eq!(trio.commits()[1], commit);
    }
    assert_eq!(trio.sent, [], "nobody answers a notice");
}
