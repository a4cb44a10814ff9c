//! Owns the workload of a Kubernetes control plane: guarded transactions per object as the API
//! server sends them, pages of lists, and the renewing of node leases.
//! Invariant: every client owns its objects, so each of its guards must hold; one that does not is
//! a wrong answer.
//!
//! What the API server sends (k8s.io/apiserver, storage/etcd3): a create is guarded by a
//! modification revision of 0, an update and a delete by the revision that the object had, with a
//! get where the guard fails; lists come in pages, all of them at the revision of the first; a node
//! renews its lease by an update of an object of its own.

use base::Prng;
use bytes::{BufMut, Bytes, BytesMut};
use wire::Method;
use wire::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use wire::etcdserverpb::request_op::Request;
use wire::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest,
    TxnResponse,
};

use crate::keys::Values;
use crate::op::{Op, Seen, Wrong, decode, revision};
use crate::workload::{Workload, range};

/// The series of guarded updates, creates and deletes of objects.
pub const OBJECT: usize = 0;
/// The series of node leases' renewals.
pub const LEASE: usize = 1;
/// The series of single gets.
pub const GET: usize = 2;
/// The series of list pages.
pub const LIST: usize = 3;

/// Of 1000 requests: renewals, gets, pages; the rest are writes of objects.
const RENEWALS: u64 = 150;
const GETS: u64 = 150;
const PAGES: u64 = 50;
/// Of 1000 writes to an object that is there, deletes.
const DELETES: u64 = 100;
/// Bytes of a node lease object.
const LEASE_VALUE_BYTES: usize = 300;

/// What one client holds.
#[derive(Clone, Debug)]
pub struct ChurnOptions {
    /// Number of this client; names its namespace and its node.
    pub client: u64,
    /// Objects of its own, at least 1.
    pub objects: usize,
    /// Rows of a list page.
    pub page_rows: i64,
    /// Values of objects.
    pub values: Values,
}

/// One client of the control plane.
#[derive(Debug)]
pub struct Churn {
    options: ChurnOptions,
    /// Modification revision of each object, 0 where it is absent, and of the node lease behind
    /// them.
    revisions: Vec<Known>,
    lease_values: Values,
    /// The page that comes next, once a list is begun.
    pager: Option<Pager>,
    asked: Asked,
    dice: Prng,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    At(i64),
    /// A write of it failed, so a get must come first.
    Unsure,
}

#[derive(Clone, Debug)]
struct Pager {
    from: Bytes,
    revision: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    Put,
    Delete,
}

#[derive(Clone, Debug)]
enum Asked {
    Nothing,
    Write { slot: usize, write: Write },
    Get { slot: usize, request: RangeRequest },
    Page { request: RangeRequest },
}

impl Churn {
    /// One client with no objects yet.
    pub fn new(options: ChurnOptions, seed: u64) -> Churn {
        assert!(0 < options.objects);
        let revisions = vec![Known::At(0); options.objects + 1];
        let lease_values = Values::new(LEASE_VALUE_BYTES, seed);
        let (dice, seen) = (Prng::from_seed(seed), Seen::default());
        Churn { options, revisions, lease_values, pager: None, asked: Asked::Nothing, dice, seen }
    }

    /// What the objects of client `client` begin with: what a watcher of its namespace watches.
    pub fn namespace(client: u64) -> Bytes {
        Bytes::from(format!("/registry/pods/bench-{client:06}/"))
    }

    /// Everything that this workload writes begins with one of these.
    pub fn prefixes() -> [&'static [u8]; 2] {
        [b"/registry/pods/bench-", b"/registry/leases/kube-node-lease/bench-"]
    }

    fn key(&self, slot: usize) -> Bytes {
        if slot == self.options.objects {
            let node = self.options.client;
            return Bytes::from(format!("/registry/leases/kube-node-lease/bench-node-{node:06}"));
        }
        let mut key = BytesMut::from(&Churn::namespace(self.options.client)[..]);
        key.put_slice(format!("pod-{slot:06}").as_bytes());
        key.freeze()
    }

    fn write(&mut self, slot: usize, series: usize, at: i64) -> Op {
        let is_lease = slot == self.options.objects;
        let write = match 0 < at && !is_lease && self.dice.chance(DELETES) {
            true => Write::Delete,
            false => Write::Put,
        };
        let key = self.key(slot);
        let request = match write {
            Write::Delete => Request::RequestDeleteRange(DeleteRangeRequest {
                key: key.clone(),
                ..DeleteRangeRequest::default()
            }),
            Write::Put => {
                let values = if is_lease { &self.lease_values } else { &self.options.values };
                let (key, value) = (key.clone(), values.draw(&mut self.dice));
                Request::RequestPut(PutRequest { key, value, ..PutRequest::default() })
            }
        };
        let get = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        // A create has nothing to get: its key was absent.
        let failure = match at {
            0 => Vec::new(),
            _ => vec![RequestOp { request: Some(Request::RequestRange(get)) }],
        };
        let guard = Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key,
            target_union: Some(TargetUnion::ModRevision(at)),
            range_end: Bytes::new(),
        };
        let success = vec![RequestOp { request: Some(request) }];
        self.asked = Asked::Write { slot, write };
        Op::new(series, Method::Txn, &TxnRequest { compare: vec![guard], success, failure })
    }

    fn get(&mut self, slot: usize) -> Op {
        let request = RangeRequest { key: self.key(slot), ..RangeRequest::default() };
        let op = Op::new(GET, Method::Range, &request);
        self.asked = Asked::Get { slot, request };
        op
    }

    fn page(&mut self) -> Op {
        let namespace = Churn::namespace(self.options.client);
        let (key, revision) = match &self.pager {
            Some(pager) => (pager.from.clone(), pager.revision),
            None => (namespace.clone(), 0),
        };
        let mut range_end = BytesMut::from(&namespace[..]);
        // The namespace ends with a slash: the next letter ends the range.
        *range_end.last_mut().expect("not empty") += 1;
        let request = RangeRequest {
            key,
            range_end: range_end.freeze(),
            limit: self.options.page_rows,
            revision,
            ..RangeRequest::default()
        };
        let op = Op::new(LIST, Method::Range, &request);
        self.asked = Asked::Page { request };
        op
    }

    fn wrote(&mut self, slot: usize, write: Write, reply: Bytes) -> Result<(), Wrong> {
        self.revisions[slot] = Known::Unsure;
        let reply: TxnResponse = decode(reply)?;
        if !reply.succeeded {
            return Err(Wrong::new("a guard failed on an object that nobody else writes"));
        }
        let revision = self.seen.wrote(reply.header.as_ref())?;
        self.revisions[slot] = Known::At(match write {
            Write::Put => revision,
            Write::Delete => 0,
        });
        Ok(())
    }

    fn got(&mut self, slot: usize, request: &RangeRequest, reply: Bytes) -> Result<(), Wrong> {
        let reply: RangeResponse = decode(reply)?;
        self.seen.read(reply.header.as_ref())?;
        range::check(request, &reply)?;
        let found = reply.kvs.first().map_or(0, |kv| kv.mod_revision);
        match self.revisions[slot] {
            Known::At(known) if known != found => {
                self.revisions[slot] = Known::At(found);
                Err(Wrong::new("an object is not as its only writer left it"))
            }
            Known::At(_) | Known::Unsure => {
                self.revisions[slot] = Known::At(found);
                Ok(())
            }
        }
    }

    fn listed(&mut self, request: &RangeRequest, reply: Bytes) -> Result<(), Wrong> {
        self.pager = None;
        let reply: RangeResponse = decode(reply)?;
        let header = revision(reply.header.as_ref())?;
        let revision = if request.revision == 0 { header } else { request.revision };
        range::check(request, &reply)?;
        if reply.kvs.iter().any(|kv| revision < kv.mod_revision) {
            return Err(Wrong::new("a page with a row from after its revision"));
        }
        if request.revision == 0 {
            self.complete(&reply)?;
        }
        if reply.more {
            let last = reply.kvs.last().ok_or_else(|| Wrong::new("an empty page before more"))?;
            let mut from = BytesMut::from(&last.key[..]);
            from.put_u8(0);
            self.pager = Some(Pager { from: from.freeze(), revision });
        }
        Ok(())
    }

    /// A list that begins now counts every object, unless one is unsure.
    fn complete(&self, reply: &RangeResponse) -> Result<(), Wrong> {
        let objects = &self.revisions[..self.options.objects];
        let live = objects.iter().filter(|known| **known != Known::At(0)).count();
        match objects.contains(&Known::Unsure) || live as i64 == reply.count {
            true => Ok(()),
            false => Err(Wrong(format!("a list of {} objects, not of {live}", reply.count))),
        }
    }
}

impl Workload for Churn {
    fn next(&mut self, _: u64) -> Op {
        let draw = self.dice.below(1000);
        if draw < PAGES || self.pager.is_some() {
            return self.page();
        }
        let is_lease = draw < PAGES + RENEWALS;
        let slot = match is_lease {
            true => self.options.objects,
            false => self.dice.below(self.options.objects as u64) as usize,
        };
        match self.revisions[slot] {
            Known::Unsure => self.get(slot),
            Known::At(_) if !is_lease && draw < PAGES + RENEWALS + GETS => self.get(slot),
            Known::At(at) => self.write(slot, if is_lease { LEASE } else { OBJECT }, at),
        }
    }

    fn answered(&mut self, reply: Bytes) -> Result<(), Wrong> {
        match std::mem::replace(&mut self.asked, Asked::Nothing) {
            Asked::Write { slot, write } => self.wrote(slot, write, reply),
            Asked::Get { slot, request } => self.got(slot, &request, reply),
            Asked::Page { request } => self.listed(&request, reply),
            Asked::Nothing => unreachable!("an answer to nothing"),
        }
    }

    fn failed(&mut self) {
        self.pager = None;
        if let Asked::Write { slot, .. } = std::mem::replace(&mut self.asked, Asked::Nothing) {
            self.revisions[slot] = Known::Unsure;
        }
    }
}

#[cfg(test)]
mod tests;
