//! Owns one case: the records of a file, sorted into what each law wants to know, and the verdict.
//! Invariant: every law sees every record that concerns it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::{Change, ChangeKind, Instant, Rev};
use ringleader_model::{Request, Response};
use ringleader_sim::life::is_refusal;
use ringleader_simcluster::actor::client::revision_of;
use ringleader_simcluster::history::{History, Op, Outcome, Stamp};
use ringleader_simcluster::oracle::agreement::Agreement;
use ringleader_simcluster::oracle::leases::Leases;
use ringleader_simcluster::oracle::order;
use ringleader_simcluster::oracle::states::{self, State};
use ringleader_simcluster::oracle::watches::Seen;
use ringleader_twin::rpc::{self, Ids};
use wire::mvccpb::Event;
use wire::mvccpb::event::EventType;
use wire::{Code, Status, etcdserverpb as pb};

use crate::file::{self, Moment, Record};
use crate::knowledge::Knowledge;

/// Clocks of one machine, and threads that are woken late: millionths.
const DRIFT: u64 = 1_000;
/// After everything.
const END: Stamp = Stamp { order: u64::MAX, at: Instant(u64::MAX) };

/// What a case came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Operations that were asked.
    pub asked: u64,
    /// Operations that were answered and explained.
    pub told: u64,
    /// Of those whose fate was unknown, the ones that turned out to be done.
    pub found: u64,
    /// Revisions.
    pub revisions: u64,
    /// Events that watches saw.
    pub events: u64,
    /// Streams that carried them.
    pub streams: u64,
    /// Renewals of leases that were granted.
    pub renewals: u64,
    /// Members whose whole history was read.
    pub members: u64,
}

/// A case that was read and not judged yet.
pub struct Case {
    ids: BTreeMap<u64, Ids>,
    ops: Vec<Op>,
    renewals: Vec<Op>,
    knowledge: Knowledge,
}

impl Case {
    /// Reads the operations.
    pub fn open(records: &[Record]) -> Result<Case, String> {
        let mut ids = BTreeMap::new();
        for record in records {
            if let Record::Member { member, cluster_id, member_id } = record {
                ids.insert(*member, Ids { cluster: *cluster_id, member: *member_id });
            }
        }
        let mut case =
            Case { ids, ops: Vec::new(), renewals: Vec::new(), knowledge: Knowledge::default() };
        for record in records {
            if let Record::Op { .. } = record {
                let op = case.op(record)?;
                match op.request {
                    Request::LeaseKeepAlive(_) => case.renewals.push(op),
                    _ => case.ops.push(op),
                }
            }
        }
        case.ops.sort_by_key(|op| op.called.order);
        case.renewals.sort_by_key(|op| op.called.order);
        case.learn(records)?;
        Ok(case)
    }

    fn op(&self, record: &Record) -> Result<Op, String> {
        let Record::Op { member, method, request, called, ended, reply, error } = record else {
            unreachable!("only operations are read here");
        };
        let request = read_request(method, request)?;
        let outcome = match (ended, reply, error) {
            (Some(at), Some(reply), None) => {
                self.told(*member, &request, file::stamp(*at), &file::bytes(reply)?)?
            }
            (Some(at), None, Some((code, text))) => failed(file::stamp(*at), *code, text)?,
            (None, None, None) => Outcome::Unknown,
            other => return Err(format!("{method} ended in a way of its own: {other:?}")),
        };
        Ok(Op { member: *member, request, called: file::stamp(*called), floor: 1, outcome })
    }

    fn told(
        &self,
        member: u64,
        asked: &Request,
        at: Stamp,
        reply: &[u8],
    ) -> Result<Outcome, String> {
        let ids = *self.ids.get(&member).ok_or(format!("member {member} was not introduced"))?;
        let response = rpc::decode(asked, reply, ids).map_err(|error| error.to_string())?;
        Ok(Outcome::Told { at, revision: revision_of(&response), response })
    }

    /// Who was told what, and so what each operation had to know.
    fn learn(&mut self, records: &[Record]) -> Result<(), String> {
        let mut told = Vec::new();
        for op in &self.ops {
            if let Outcome::Told { at, revision, .. } = &op.outcome {
                told.push((*at, *revision));
            }
        }
        for record in records {
            if let Record::Watched { reply, at, .. } = record {
                let reply: pb::WatchResponse = file::message(reply)?;
                let revision = reply.header.as_ref().map_or(0, |header| header.revision);
                let events = reply.events.iter().map(revision_of_event).max();
                told.push((file::stamp(*at), revision.max(events.unwrap_or(0))));
            }
        }
        self.knowledge = Knowledge::new(told);
        for op in &mut self.ops {
            op.floor = self.knowledge.floor(op.called);
        }
        Ok(())
    }

    /// Puts everything before the laws.
    pub fn judge(self, records: &[Record]) -> Result<Summary, String> {
        let (agreement, members) = self.agreement(records)?;
        let leases = self.leases()?;
        for op in &self.ops {
            check_refusal(op, &leases)?;
        }
        let renewals = self.renewals.iter().filter(|op| is_granted(op)).count() as u64;
        let history = History { ops: self.ops };
        let mut replayed = order::replay(&history, &agreement, &leases)?;
        let (watches, streams) = watches(records, &agreement)?;
        let mut events = 0;
        for (number, seen) in &watches {
            seen.judge(&replayed.model, agreement.compacted())
                .map_err(|wrong| format!("watch {number}: {wrong}"))?;
            events += seen.events() as u64;
        }
        states::judge(&mut replayed.model, &states(records)?)?;
        Ok(Summary {
            asked: history.ops.len() as u64 + self.renewals.len() as u64,
            told: replayed.told,
            found: replayed.found,
            revisions: agreement.last() as u64,
            events,
            streams,
            renewals,
            members,
        })
    }

    /// What members say happened; all of them, all of it, and the same.
    fn agreement(&self, records: &[Record]) -> Result<(Agreement, u64), String> {
        let mut agreement = Agreement::new();
        let mut told: BTreeMap<u64, BTreeSet<i64>> = BTreeMap::new();
        for record in records {
            if let Record::Role { term, leader } = record {
                agreement.leads(*term, *leader)?;
            }
            let Record::History { member, replies } = record else { continue };
            let told = told.entry(*member).or_default();
            for (revision, changes) in read_history(*member, replies)? {
                let at = self.knowledge.known(revision).unwrap_or(END);
                agreement.happened(at, *member, &changes)?;
                told.insert(revision);
            }
        }
        let missing = self.ids.keys().find(|member| !told.contains_key(member));
        if told.is_empty() || missing.is_some() {
            return Err(format!("the file lacks the history of member {missing:?}"));
        }
        for (member, told) in &told {
            let gap = (2..=agreement.last()).find(|revision| !told.contains(revision));
            if let Some(revision) = gap {
                return Err(format!("agreement: member {member} lacks revision {revision}"));
            }
        }
        Ok((agreement, told.len() as u64))
    }

    fn leases(&self) -> Result<Leases, String> {
        let mut leases = Leases::new(DRIFT);
        for op in &self.ops {
            match &op.request {
                Request::LeaseGrant(grant) => {
                    leases.asked(grant.id, Duration::from_secs(grant.ttl.unsigned_abs()));
                    if let Outcome::Told { .. } = op.outcome {
                        leases.renewed(grant.id, op.called);
                    }
                }
                Request::LeaseRevoke(revoke) => leases.revoke_asked(revoke.id, op.called),
                Request::Range(_)
                | Request::Put(_)
                | Request::DeleteRange(_)
                | Request::Txn(_)
                | Request::Compact(_)
                | Request::LeaseKeepAlive(_)
                | Request::LeaseTimeToLive(_)
                | Request::LeaseLeases(_) => {}
            }
        }
        for op in self.renewals.iter().filter(|op| is_granted(op)) {
            leases.renewed(lease_of(op), op.called);
        }
        // Ends are judged when all renewals are known: one that was granted later is wrong too.
        for op in &self.renewals {
            if let Outcome::Told { at, .. } = &op.outcome
                && !is_granted(op)
            {
                leases.ended(lease_of(op), *at)?;
            }
        }
        Ok(leases)
    }
}

fn lease_of(op: &Op) -> i64 {
    match &op.request {
        Request::LeaseKeepAlive(keep) => keep.id,
        other => unreachable!("{other:?} is no renewal"),
    }
}

fn is_granted(op: &Op) -> bool {
    matches!(&op.outcome,
        Outcome::Told { response: Response::LeaseKeepAlive(reply), .. } if 0 < reply.ttl)
}

fn read_request(method: &str, digits: &str) -> Result<Request, String> {
    Ok(match method {
        "KV/Range" => Request::Range(file::message(digits)?),
        "KV/Put" => Request::Put(file::message(digits)?),
        "KV/DeleteRange" => Request::DeleteRange(file::message(digits)?),
        "KV/Txn" => Request::Txn(file::message(digits)?),
        "Lease/LeaseGrant" => Request::LeaseGrant(file::message(digits)?),
        "Lease/LeaseRevoke" => Request::LeaseRevoke(file::message(digits)?),
        "Lease/LeaseKeepAlive" => Request::LeaseKeepAlive(file::message(digits)?),
        other => return Err(format!("{other} is no method that can be judged")),
    })
}

fn failed(at: Stamp, code: u16, text: &str) -> Result<Outcome, String> {
    let code = Code::ALL.into_iter().find(|known| *known as u16 == code);
    let code = code.ok_or("an error without a code of gRPC")?;
    let status = Status { code, message: text.to_owned().into() };
    Ok(match is_refusal(&status) {
        true => Outcome::Refused { at, status },
        false => Outcome::Unknown,
    })
}

/// A refusal must have a reason.
fn check_refusal(op: &Op, leases: &Leases) -> Result<(), String> {
    let Outcome::Refused { at, status } = &op.outcome else { return Ok(()) };
    match (&op.request, status.code) {
        (Request::Put(put), Code::NotFound) if put.lease != 0 => leases.ended(put.lease, *at),
        // It has ended already, or its grant never came to be.
        (Request::LeaseRevoke(_) | Request::LeaseKeepAlive(_), Code::NotFound) => Ok(()),
        // A member that lags does not know yet what its client knows.
        (Request::Range(range), Code::OutOfRange) if range.serializable => Ok(()),
        // A member has more to do than it can.
        (_, Code::ResourceExhausted) => Ok(()),
        (request, _) => Err(format!("order: {request:?} was refused without a reason: {status:?}")),
    }
}

fn revision_of_event(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |pair| pair.mod_revision)
}

fn read_history(member: u64, replies: &[String]) -> Result<BTreeMap<i64, Vec<Change>>, String> {
    let mut all: BTreeMap<i64, Vec<Change>> = BTreeMap::new();
    let mut last = 0;
    for digits in replies {
        let reply: pb::WatchResponse = file::message(digits)?;
        for event in reply.events {
            let revision = revision_of_event(&event);
            if revision < last {
                return Err(format!("member {member}: {revision} after {last} in its history"));
            }
            last = revision;
            let changes = all.entry(revision).or_default();
            let sub = changes.len() as u32;
            changes.push(change(event, sub).ok_or(format!("member {member}: an empty event"))?);
        }
    }
    Ok(all)
}

fn change(event: Event, sub: u32) -> Option<Change> {
    let pair = event.kv?;
    let kind = match event.r#type == EventType::Delete as i32 {
        true => ChangeKind::Delete,
        false => ChangeKind::Put {
            value: pair.value,
            create: pair.create_revision,
            version: pair.version,
            lease: pair.lease,
        },
    };
    Some(Change { rev: Rev { main: pair.mod_revision, sub }, key: pair.key, kind, prev: None })
}

type Watches = BTreeMap<u64, Seen>;

/// What the watches saw, in the order in which they saw it, and how many streams carried it.
fn watches(records: &[Record], agreement: &Agreement) -> Result<(Watches, u64), String> {
    let mut moments: Vec<(Moment, &Record)> = Vec::new();
    for record in records {
        if let Record::Watch { at, .. } | Record::Watched { at, .. } = record {
            moments.push((*at, record));
        }
    }
    moments.sort_by_key(|(at, _)| at.0);
    let (mut watches, mut streams) = (Watches::new(), 0);
    for (_, record) in moments {
        match record {
            Record::Watch { watch, create, .. } => {
                let create: pb::WatchCreateRequest = file::message(create)?;
                streams += 1;
                let seen = watches.entry(*watch).or_insert_with(|| Seen::new(create.clone()));
                if seen.resume() != create {
                    return Err(format!(
                        "watch {watch}: its client asked for {create:?}, and should have gone on \
                         with {:?}",
                        seen.resume()
                    ));
                }
            }
            Record::Watched { watch, reply, .. } => {
                let seen = watches.get_mut(watch).ok_or(format!("watch {watch} has no stream"))?;
                take(seen, file::message(reply)?, agreement)
                    .map_err(|wrong| format!("watch {watch}: {wrong}"))?;
            }
            _ => unreachable!("only watches were gathered"),
        }
    }
    Ok((watches, streams))
}

fn take(seen: &mut Seen, reply: pb::WatchResponse, agreement: &Agreement) -> Result<(), String> {
    let revision = reply.header.as_ref().map_or(0, |header| header.revision);
    if reply.created {
        seen.created(revision);
        return Ok(());
    }
    if reply.compact_revision != 0 {
        return seen.compacted(reply.compact_revision, agreement.compacted());
    }
    if reply.canceled {
        return Err(format!("watches: cancelled without a reason: {reply:?}"));
    }
    match reply.events.is_empty() {
        true => {
            seen.progressed(revision);
            Ok(())
        }
        false => seen.took(reply.events),
    }
}

fn states(records: &[Record]) -> Result<Vec<State>, String> {
    let mut states = Vec::new();
    for record in records {
        if let Record::State { member, request, reply, hash } = record {
            let ranges = vec![(file::message(request)?, file::message(reply)?)];
            states.push(State { member: *member, ranges, hash: file::message(hash)? });
        }
    }
    Ok(states)
}
