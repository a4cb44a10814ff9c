//! Owns the proof that the judge finds what it is there for: an honest history passes, and each lie
//! that is planted in it is found, by the law that it breaks.
//! Never needs a server: the honest history is what the model answers.

use base::Prng;
use bytes::Bytes;
use prost::Message;
use ringleader_judge::Case;
use ringleader_judge::file::Record;
use ringleader_model::{Model, Request, Response};
use ringleader_twin::rpc;
use wire::etcdserverpb as pb;

const MEMBERS: u64 = 3;
const CLUSTER: u64 = 77;

/// A history in the making: one client at three members, one watch of everything.
struct Witness {
    model: Model,
    records: Vec<Record>,
    moment: u64,
}

fn digits(message: &impl Message) -> String {
    message.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn everything(revision: i64) -> pb::RangeRequest {
    let all = Bytes::from_static(b"\0");
    pb::RangeRequest { key: all.clone(), range_end: all, revision, ..Default::default() }
}

fn watch(start_revision: i64) -> pb::WatchCreateRequest {
    let pb::RangeRequest { key, range_end, .. } = everything(0);
    pb::WatchCreateRequest { key, range_end, start_revision, ..Default::default() }
}

fn header(member: u64, revision: i64) -> Option<pb::ResponseHeader> {
    let member_id = member + 100;
    Some(pb::ResponseHeader { cluster_id: CLUSTER, member_id, revision, raft_term: 2 })
}

fn put(key: &str, value: &str, lease: i64) -> Request {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    Request::Put(pb::PutRequest { key, value, lease, ..Default::default() })
}

fn range(key: &str) -> Request {
    let key = Bytes::from(key.to_owned());
    Request::Range(pb::RangeRequest { key, ..Default::default() })
}

fn method(request: &Request) -> String {
    match request {
        Request::Range(_) => "KV/Range",
        Request::Put(_) => "KV/Put",
        Request::DeleteRange(_) => "KV/DeleteRange",
        Request::LeaseGrant(_) => "Lease/LeaseGrant",
        other => panic!("{other:?} is not used here"),
    }
    .to_owned()
}

/// The reply as member `member` would send it.
fn encoded(response: &Response, member: u64) -> String {
    let with = |from: &Option<pb::ResponseHeader>| {
        header(member, from.as_ref().expect("every reply has a header").revision)
    };
    match response {
        Response::Range(m) => digits(&pb::RangeResponse { header: with(&m.header), ..m.clone() }),
        Response::Put(m) => digits(&pb::PutResponse { header: with(&m.header), ..m.clone() }),
        Response::DeleteRange(m) => {
            digits(&pb::DeleteRangeResponse { header: with(&m.header), ..m.clone() })
        }
        Response::LeaseGrant(m) => {
            digits(&pb::LeaseGrantResponse { header: with(&m.header), ..m.clone() })
        }
        other => panic!("{other:?} is not used here"),
    }
}

impl Witness {
    fn new() -> Witness {
        let records = (1..=MEMBERS)
            .map(|member| Record::Member { member, cluster_id: CLUSTER, member_id: member + 100 })
            .collect();
        Witness { model: Model::new(), records, moment: 0 }
    }

    /// A second later.
    fn now(&mut self) -> (u64, u64) {
        self.moment += 1;
        (self.moment, self.moment * 1_000_000_000)
    }

    /// Asks and is answered.
    fn ask(&mut self, member: u64, request: &Request) -> Response {
        let called = self.now();
        let response = self.model.execute(request).expect("only what is right is asked");
        let ended = Some(self.now());
        self.note(member, request, called, ended, Some(encoded(&response, member)));
        response
    }

    fn note(
        &mut self,
        member: u64,
        request: &Request,
        called: (u64, u64),
        ended: Option<(u64, u64)>,
        reply: Option<String>,
    ) {
        let asked: String =
            rpc::encode(request).1.iter().map(|byte| format!("{byte:02x}")).collect();
        let (method, error) = (method(request), None);
        self.records.push(Record::Op {
            member,
            method,
            request: asked,
            called,
            ended,
            reply,
            error,
        });
    }

    /// What the watch sees, a message for each revision, and what members say in the end.
    fn end(mut self) -> Vec<Record> {
        let events = self.model.watch(&watch(1)).expect("nothing is compacted");
        let revision = self.model.revision();
        let create = digits(&watch(1));
        let at = self.now();
        self.records.push(Record::Watch { watch: 1, member: 1, create, at });
        let created =
            pb::WatchResponse { header: header(1, revision), created: true, ..Default::default() };
        let mut replies = vec![created];
        for event in &events {
            let events = vec![event.clone()];
            replies.push(pb::WatchResponse {
                header: header(1, revision),
                events,
                ..Default::default()
            });
        }
        for reply in &replies {
            let at = self.now();
            self.records.push(Record::Watched { watch: 1, reply: digits(reply), at });
        }
        let Ok(Response::Range(state)) = self.model.execute(&Request::Range(everything(0))) else {
            panic!("a range is always answered");
        };
        for member in 1..=MEMBERS {
            let replies = replies.iter().map(digits).collect();
            self.records.push(Record::History { member, replies });
            let hash = pb::HashKvResponse {
                header: header(member, revision),
                hash: 5,
                compact_revision: -1,
                ..Default::default()
            };
            let reply = encoded(&Response::Range(state.clone()), member);
            let request = digits(&everything(0));
            self.records.push(Record::State { member, request, reply, hash: digits(&hash) });
        }
        self.records
    }
}

/// Some writes and reads at changing members.
fn busy(seed: u64) -> Witness {
    let mut witness = Witness::new();
    let mut dice = Prng::from_seed(seed);
    for number in 0..40 {
        let member = 1 + dice.below(MEMBERS);
        let key = format!("k{}", dice.below(4));
        let request = match dice.below(10) {
            0..6 => put(&key, &format!("v{number}"), 0),
            6 => Request::DeleteRange(pb::DeleteRangeRequest {
                key: key.into(),
                ..Default::default()
            }),
            _ => range(&key),
        };
        witness.ask(member, &request);
    }
    witness.ask(1, &put("k0", "last", 0));
    witness
}

fn verdict(records: &[Record]) -> Result<ringleader_judge::Summary, String> {
    Case::open(records)?.judge(records)
}

fn assert_found(records: &[Record], law: &str) {
    let wrong = verdict(records).expect_err("the lie is found");
    assert!(wrong.contains(law), "{wrong}");
}

/// Changes the replies of the watch.
fn with_watched(mut records: Vec<Record>, change: impl Fn(&mut Vec<String>)) -> Vec<Record> {
    let mut said: Vec<String> = records
        .iter()
        .filter_map(|record| match record {
            Record::Watched { reply, .. } => Some(reply.clone()),
            _ => None,
        })
        .collect();
    change(&mut said);
    let first = records.iter().position(|record| matches!(record, Record::Watched { .. })).unwrap();
    records.retain(|record| !matches!(record, Record::Watched { .. }));
    for (at, reply) in said.into_iter().enumerate() {
        let moment = 10_000 + at as u64;
        let at = (moment, moment * 1_000_000_000);
        records.insert(first, Record::Watched { watch: 1, reply, at });
    }
    records
}

#[test]
fn an_honest_history_passes_whole() {
    for seed in 0..20 {
        let witness = busy(seed);
        let revisions = witness.model.revision() as u64;
        let summary = verdict(&witness.end()).unwrap();
        assert_eq!((summary.revisions, summary.members), (revisions, MEMBERS));
        assert_eq!((summary.asked, summary.told), (41, 41));
        assert_eq!(summary.events, revisions - 1);
    }
}

#[test]
fn a_write_that_was_acknowledged_and_is_not_there_is_found() {
    let mut witness = busy(1);
    let called = witness.now();
    let mut lost = witness.model.clone();
    let request = put("k1", "lost", 0);
    let reply = lost.execute(&request).unwrap();
    let ended = Some(witness.now());
    witness.note(2, &request, called, ended, Some(encoded(&reply, 2)));
    assert_found(&witness.end(), "nobody had decided");
}

#[test]
fn a_write_that_was_acknowledged_at_a_place_where_another_happened_is_found() {
    let mut witness = busy(2);
    let mut other = witness.model.clone();
    witness.ask(1, &put("k1", "one", 0));
    let request = put("k2", "two", 0);
    let called = (witness.moment - 1, (witness.moment - 1) * 1_000_000_000);
    let reply = other.execute(&request).unwrap();
    let ended = Some(witness.now());
    witness.note(2, &request, called, ended, Some(encoded(&reply, 2)));
    assert_found(&witness.end(), "one revision was told to");
}

#[test]
fn a_read_of_what_was_before_an_answered_write_is_found() {
    let mut witness = busy(3);
    let old = witness.model.execute(&range("k3")).unwrap();
    witness.ask(1, &put("k3", "new", 0));
    let (called, ended) = (witness.now(), witness.now());
    witness.note(2, &range("k3"), called, Some(ended), Some(encoded(&old, 2)));
    assert_found(&witness.end(), "was told");
}

#[test]
fn an_old_value_under_a_new_revision_is_found() {
    let mut witness = busy(4);
    let Ok(Response::Range(mut old)) = witness.model.execute(&range("k3")) else { panic!() };
    witness.ask(1, &put("k3", "new", 0));
    old.header.as_mut().unwrap().revision = witness.model.revision();
    let (called, ended) = (witness.now(), witness.now());
    let reply = encoded(&Response::Range(old), 2);
    witness.note(2, &range("k3"), called, Some(ended), Some(reply));
    assert_found(&witness.end(), "should have been told");
}

#[test]
fn a_write_that_nobody_asked_for_is_found() {
    let mut witness = busy(5);
    witness.model.execute(&put("k1", "ghost", 0)).unwrap();
    assert_found(&witness.end(), "nobody asked for what revision");
}

#[test]
fn a_write_without_an_answer_may_happen_once_and_not_twice() {
    for (times, found) in [(0, None), (1, None), (2, Some("explain others already"))] {
        let mut witness = busy(6);
        let (called, request) = (witness.now(), put("k1", "maybe", 0));
        witness.note(2, &request, called, None, None);
        for _ in 0..times {
            witness.model.execute(&request).unwrap();
            // Between the two it is something else.
            witness.ask(1, &put("k1", "between", 0));
        }
        let records = witness.end();
        match found {
            None => assert_eq!(verdict(&records).unwrap().found, times),
            Some(law) => assert_found(&records, law),
        }
    }
}

#[test]
fn events_that_come_twice_or_in_disorder_or_not_at_all_are_found() {
    let honest = || busy(7).end();
    let same = with_watched(honest(), |_| {});
    assert!(verdict(&same).is_ok());
    let twice = with_watched(honest(), |said| said.insert(5, said[4].clone()));
    assert_found(&twice, "was seen or ruled out");
    let swapped = with_watched(honest(), |said| said.swap(4, 5));
    assert_found(&swapped, "was seen or ruled out");
    let missing = with_watched(honest(), |said| drop(said.remove(5)));
    assert_found(&missing, "watches:");
}

#[test]
fn members_with_different_histories_or_states_are_found() {
    let mut records = busy(8).end();
    let short = records.iter_mut().rev().find_map(|record| match record {
        Record::History { replies, .. } => Some(replies),
        _ => None,
    });
    short.unwrap().pop();
    assert_found(&records, "lacks revision");

    let mut records = busy(8).end();
    for record in &mut records {
        if let Record::State { member: 2, hash, .. } = record {
            let other = pb::HashKvResponse { hash: 6, compact_revision: -1, ..Default::default() };
            *hash = digits(&other);
        }
    }
    assert_found(&records, "hashes differ");
}

#[test]
fn a_lease_that_ends_before_its_time_is_found() {
    for (seconds, found) in [(1, true), (30, false)] {
        let mut witness = busy(9);
        let grant = Request::LeaseGrant(pb::LeaseGrantRequest { id: 9, ttl: 20 });
        witness.ask(1, &grant);
        for _ in 0..seconds {
            witness.now();
        }
        let (called, ended) = (witness.now(), witness.now());
        let asked: String =
            rpc::encode(&put("k1", "x", 9)).1.iter().map(|byte| format!("{byte:02x}")).collect();
        witness.records.push(Record::Op {
            member: 1,
            method: "KV/Put".to_owned(),
            request: asked,
            called,
            ended: Some(ended),
            reply: None,
            error: Some((5, "etcdserver: requested lease not found".to_owned())),
        });
        let verdict = verdict(&witness.end());
        assert_eq!(verdict.is_err(), found, "{verdict:?}");
    }
}

#[test]
fn two_leaders_of_one_term_are_found() {
    let mut records = busy(10).end();
    records.push(Record::Role { term: 3, leader: 101 });
    records.push(Record::Role { term: 3, leader: 102 });
    assert_found(&records, "lead in term 3");
}

#[test]
fn lines_are_read_or_named() {
    let line = r#"{"kind":"role","term":3,"leader":101}"#;
    assert!(ringleader_judge::file::read(&format!("{line}\n\n{line}\n")).is_ok());
    for wrong in ["{", r#"{"kind":"rule"}"#, r#"{"kind":"role","term":3}"#] {
        let error = ringleader_judge::file::read(&format!("{line}\n{wrong}")).unwrap_err();
        assert!(error.starts_with("line 2"), "{error}");
    }
}
