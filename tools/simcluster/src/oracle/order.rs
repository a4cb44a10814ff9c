//! Owns the law of order: there is one order of all writes, by revision, that explains every
//! answer and agrees with real time; what was acknowledged is in it, what nobody knows of is in it
//! once or not at all, and nothing else is.
//! Invariant: the model replays the revisions one by one, and each is explained by one cause.

use std::collections::{BTreeMap, BTreeSet};

use base::{Change, ChangeKind};
use bytes::Bytes;
use ringleader_model::{Model, Request, Response};
use wire::etcdserverpb as pb;
use wire::mvccpb::Event;
use wire::mvccpb::event::EventType;

use super::agreement::{Agreement, Decided};
use super::leases::Leases;
use crate::history::{History, Op, Outcome};
use crate::oracle::matching;
use crate::world::Wrong;
use pb::request_op::Request as Part;
use pb::response_op::Response as Answer;

/// What made a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// An operation whose fate its client does not know.
    Op(usize),
    /// The end of a lease.
    Lease(i64),
}

/// What the replay came to.
pub struct Replayed {
    /// The model after the last revision.
    pub model: Model,
    /// Operations that were answered and are explained.
    pub told: u64,
    /// Revisions made by operations whose fate was unknown.
    pub found: u64,
}

struct Replay<'a> {
    history: &'a History,
    agreement: &'a Agreement,
    leases: &'a Leases,
    model: Model,
    dead: BTreeSet<i64>,
    open: Vec<(i64, Vec<Cause>)>,
}

/// Replays everything.
pub fn replay(
    history: &History,
    agreement: &Agreement,
    leases: &Leases,
) -> Result<Replayed, Wrong> {
    let (claims, looks) = sorted(history, agreement)?;
    let mut replay = Replay {
        history,
        agreement,
        leases,
        model: Model::new(),
        dead: BTreeSet::new(),
        open: Vec::new(),
    };
    let mut told = claims.len() as u64;
    for revision in 1..=agreement.last() {
        if 1 < revision {
            replay.advance(revision, claims.get(&revision).copied())?;
        }
        for number in looks.get(&revision).into_iter().flatten() {
            replay.look(revision, &history.ops[*number])?;
            told += 1;
        }
    }
    let found = replay.settle()?;
    Ok(Replayed { model: replay.model, told, found })
}

type Claims = BTreeMap<i64, usize>;
type Looks = BTreeMap<i64, Vec<usize>>;

/// Who says to have made which revision, and who says to have looked at which; checked against
/// real time.
fn sorted(history: &History, agreement: &Agreement) -> Result<(Claims, Looks), Wrong> {
    let (mut claims, mut looks) = (Claims::new(), Looks::new());
    for (number, op) in history.ops.iter().enumerate() {
        let Outcome::Told { at, revision, response } = &op.outcome else { continue };
        let revision = *revision;
        let decided = agreement.revisions().get(&revision);
        if revision != 1 && decided.is_none_or(|decided| at.order < decided.at.order) {
            return Err(format!("order: {op:?} tells of a revision that nobody had decided"));
        }
        let writes = wrote(response);
        let serializable = matches!(&op.request, Request::Range(range) if range.serializable);
        let floor = if serializable { 1 } else { op.floor + i64::from(writes) };
        if revision < floor {
            return Err(format!("order: {op:?} comes after {} was told", op.floor));
        }
        if !writes {
            looks.entry(revision).or_default().push(number);
            continue;
        }
        if decided.is_some_and(|decided| decided.at.order < op.called.order) {
            return Err(format!("order: {op:?} was decided before it was asked"));
        }
        if let Some(other) = claims.insert(revision, number) {
            let other = &history.ops[other];
            return Err(format!("order: one revision was told to {op:?} and to {other:?}"));
        }
    }
    Ok((claims, looks))
}

/// Whether the answer says that something was changed. Revokes do not tell.
fn wrote(response: &Response) -> bool {
    match response {
        Response::Put(_) => true,
        Response::DeleteRange(reply) => 0 < reply.deleted,
        Response::Txn(reply) => txn_wrote(reply),
        Response::Range(_)
        | Response::Compact(_)
        | Response::LeaseGrant(_)
        | Response::LeaseRevoke(_)
        | Response::LeaseKeepAlive(_)
        | Response::LeaseTimeToLive(_)
        | Response::LeaseLeases(_) => false,
    }
}

fn txn_wrote(reply: &pb::TxnResponse) -> bool {
    reply.responses.iter().any(|part| match &part.response {
        Some(Answer::ResponsePut(_)) => true,
        Some(Answer::ResponseDeleteRange(delete)) => 0 < delete.deleted,
        Some(Answer::ResponseTxn(txn)) => txn_wrote(txn),
        Some(Answer::ResponseRange(_)) | None => false,
    })
}

impl Replay<'_> {
    /// Takes the next revision, made by this operation or by one that must be found.
    fn advance(&mut self, revision: i64, claim: Option<usize>) -> Result<(), Wrong> {
        let Some(decided) = self.agreement.revisions().get(&revision) else {
            return Err(format!("order: nobody decided revision {revision}"));
        };
        let Some(number) = claim else { return self.explain(revision, decided) };
        let op = &self.history.ops[number];
        let Outcome::Told { response, .. } = &op.outcome else { unreachable!("it was told") };
        self.attach(&op.request)?;
        let made = self.model.execute(&op.request);
        if made.as_ref() != Ok(response) {
            return Err(format!("order: {op:?} should have been told {made:?}"));
        }
        match same(&events_at(&self.model, revision), &decided.changes) {
            true => Ok(()),
            false => Err(format!("order: {op:?} did {decided:?} at {revision}")),
        }
    }

    /// Finds who may have made a revision that nobody was told of.
    fn explain(&mut self, revision: i64, decided: &Decided) -> Result<(), Wrong> {
        let first = &decided.changes[0].key;
        let mut causes = Vec::new();
        let mut after = None;
        for (number, op) in self.history.ops.iter().enumerate() {
            let unknown = matches!(op.outcome, Outcome::Unknown | Outcome::Open);
            let asked = op.called.order < decided.at.order;
            if !unknown || !asked || !touches(&op.request, first) {
                continue;
            }
            let mut model = self.model.clone();
            if attach(&mut model, &self.dead, self.leases, &op.request).is_ok()
                && model.execute(&op.request).is_ok()
                && same(&events_at(&model, revision), &decided.changes)
            {
                causes.push(Cause::Op(number));
                after = Some(model);
            }
        }
        if let Some(lease) = self.lease_of(first) {
            let mut model = self.model.clone();
            let revoke = Request::LeaseRevoke(pb::LeaseRevokeRequest { id: lease });
            if model.execute(&revoke).is_ok()
                && same(&events_at(&model, revision), &decided.changes)
            {
                if causes.is_empty() {
                    self.dead.insert(lease);
                }
                causes.push(Cause::Lease(lease));
                after = Some(model);
            }
        }
        let Some(after) = after else {
            return Err(format!(
                "order: nobody asked for what revision {revision} did, or not in full: {decided:?}"
            ));
        };
        self.model = after;
        self.open.push((revision, causes));
        Ok(())
    }

    /// An operation that changed nothing must have seen this very state.
    fn look(&mut self, revision: i64, op: &Op) -> Result<(), Wrong> {
        let Outcome::Told { response, .. } = &op.outcome else { unreachable!("it was told") };
        match &op.request {
            Request::Range(_) | Request::Put(_) | Request::DeleteRange(_) | Request::Txn(_) => {}
            // Of these the model knows too little, or too much: it is never compacted here.
            Request::Compact(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke(_)
            | Request::LeaseKeepAlive(_)
            | Request::LeaseTimeToLive(_)
            | Request::LeaseLeases(_) => return Ok(()),
        }
        let want = self.model.execute(&op.request);
        match want.as_ref() == Ok(response) {
            true => Ok(()),
            false => Err(format!("order: at {revision} {op:?} should have been told {want:?}")),
        }
    }

    /// Every revision has a cause of its own, and every lease ended when it might.
    fn settle(&mut self) -> Result<u64, Wrong> {
        let causes: Vec<Vec<Cause>> = self.open.iter().map(|(_, causes)| causes.clone()).collect();
        let chosen = matching::distinct(&causes).map_err(|at| {
            let (revision, causes) = &self.open[at];
            format!("order: revision {revision} is there, and {causes:?} explain others already")
        })?;
        let mut found = 0;
        for ((revision, _), cause) in self.open.iter().zip(chosen) {
            match cause {
                Cause::Op(_) => found += 1,
                Cause::Lease(id) => {
                    self.leases.ended(id, self.agreement.revisions()[revision].at)?;
                }
            }
        }
        Ok(found)
    }

    fn lease_of(&mut self, key: &Bytes) -> Option<i64> {
        let range = pb::RangeRequest { key: key.clone(), ..Default::default() };
        match self.model.execute(&Request::Range(range)) {
            Ok(Response::Range(reply)) => {
                reply.kvs.first().map(|pair| pair.lease).filter(|lease| *lease != 0)
            }
            other => unreachable!("a range is answered by a range, not {other:?}"),
        }
    }

    fn attach(&mut self, request: &Request) -> Result<(), Wrong> {
        attach(&mut self.model, &self.dead, self.leases, request)
    }
}

/// Gives the model the leases that the request needs: when one began is not told by a revision,
/// only that somebody had asked for it, and that it has not ended.
fn attach(
    model: &mut Model,
    dead: &BTreeSet<i64>,
    leases: &Leases,
    request: &Request,
) -> Result<(), Wrong> {
    let mut needed = Vec::new();
    if let Request::Put(put) = request {
        needed.push(put.lease);
    }
    if let Request::Txn(txn) = request {
        for part in txn.success.iter().chain(&txn.failure) {
            if let Some(Part::RequestPut(put)) = &part.request {
                needed.push(put.lease);
            }
        }
    }
    for id in needed.into_iter().filter(|id| *id != 0) {
        if dead.contains(&id) || !leases.is_known(id) {
            return Err(format!("order: {request:?} used a lease that had ended or never was"));
        }
        // Refused if it is there already.
        let grant = pb::LeaseGrantRequest { id, ttl: 60 };
        let _ = model.execute(&Request::LeaseGrant(grant));
    }
    Ok(())
}

fn touches(request: &Request, key: &Bytes) -> bool {
    match request {
        Request::Put(put) => put.key == *key,
        Request::DeleteRange(delete) => covers(delete, key),
        Request::Txn(txn) => {
            txn.success.iter().chain(&txn.failure).any(|part| match &part.request {
                Some(Part::RequestPut(put)) => put.key == *key,
                Some(Part::RequestDeleteRange(delete)) => covers(delete, key),
                Some(Part::RequestTxn(_)) => true,
                Some(Part::RequestRange(_)) | None => false,
            })
        }
        Request::Range(_)
        | Request::Compact(_)
        | Request::LeaseGrant(_)
        | Request::LeaseRevoke(_)
        | Request::LeaseKeepAlive(_)
        | Request::LeaseTimeToLive(_)
        | Request::LeaseLeases(_) => false,
    }
}

fn covers(delete: &pb::DeleteRangeRequest, key: &Bytes) -> bool {
    match delete.range_end.is_empty() {
        true => delete.key == *key,
        false => delete.key <= *key && (*key < delete.range_end || delete.range_end[..] == [0]),
    }
}

fn events_at(model: &Model, revision: i64) -> Vec<Event> {
    let all = Bytes::from_static(b"\0");
    let create = pb::WatchCreateRequest {
        key: all.clone(),
        range_end: all,
        start_revision: revision,
        ..Default::default()
    };
    model.watch(&create).expect("nothing is compacted in the model")
}

fn same(events: &[Event], changes: &[Change]) -> bool {
    events.len() == changes.len()
        && events.iter().zip(changes).all(|(event, change)| {
            let Some(pair) = &event.kv else { return false };
            let place = pair.mod_revision == change.rev.main && pair.key == change.key;
            place
                && match &change.kind {
                    ChangeKind::Put { value, create, version, lease } => {
                        event.r#type == EventType::Put as i32
                            && pair.value == *value
                            && pair.create_revision == *create
                            && pair.version == *version
                            && pair.lease == *lease
                    }
                    ChangeKind::Delete => event.r#type == EventType::Delete as i32,
                }
        })
}
