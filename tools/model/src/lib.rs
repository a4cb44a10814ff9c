//! Owns a dumb model of etcd's key-value and lease semantics, to be compared with the clever ones.
//! Never fast, never shares code with the real state machine: every question is answered by walking
//! the list of all changes from the beginning. Invariant: the list is in revision order, and
//! nothing is remembered beside it but the leases and the compacted revision.
//!
//! Where real etcd 3.5.1 was watched doing something surprising, the model does the same and a
//! comment says so; `tools/model/against_etcd.py` compares the two on random commands.
#![forbid(unsafe_code)]

mod generate;
mod lease;
mod store;
mod txn;

pub use generate::Generator;
pub use store::{Change, Store, WatchEnd};

use std::collections::BTreeMap;
use wire::etcdserverpb as pb;
use wire::mvccpb;
use wire::{Code, Status};

/// Most operations in one list of a txn, as `--max-txn-ops` is by default.
pub const TXN_OPS_MAX: usize = 128;

/// What a client may ask of the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// KV.Range
    Range(pb::RangeRequest),
    /// KV.Put
    Put(pb::PutRequest),
    /// KV.DeleteRange
    DeleteRange(pb::DeleteRangeRequest),
    /// KV.Txn
    Txn(pb::TxnRequest),
    /// KV.Compact
    Compact(pb::CompactionRequest),
    /// Lease.LeaseGrant
    LeaseGrant(pb::LeaseGrantRequest),
    /// Lease.LeaseRevoke
    LeaseRevoke(pb::LeaseRevokeRequest),
    /// One message of Lease.LeaseKeepAlive
    LeaseKeepAlive(pb::LeaseKeepAliveRequest),
    /// Lease.LeaseTimeToLive
    LeaseTimeToLive(pb::LeaseTimeToLiveRequest),
    /// Lease.LeaseLeases
    LeaseLeases(pb::LeaseLeasesRequest),
}

/// What the model answers. Headers carry the revision only: ids and terms are not its business.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// To [`Request::Range`]
    Range(pb::RangeResponse),
    /// To [`Request::Put`]
    Put(pb::PutResponse),
    /// To [`Request::DeleteRange`]
    DeleteRange(pb::DeleteRangeResponse),
    /// To [`Request::Txn`]
    Txn(pb::TxnResponse),
    /// To [`Request::Compact`]
    Compact(pb::CompactionResponse),
    /// To [`Request::LeaseGrant`]
    LeaseGrant(pb::LeaseGrantResponse),
    /// To [`Request::LeaseRevoke`]
    LeaseRevoke(pb::LeaseRevokeResponse),
    /// To [`Request::LeaseKeepAlive`]
    LeaseKeepAlive(pb::LeaseKeepAliveResponse),
    /// To [`Request::LeaseTimeToLive`]: no time passes here, so the remaining time is the granted
    /// one. Keys are in order; etcd's are in any.
    LeaseTimeToLive(pb::LeaseTimeToLiveResponse),
    /// To [`Request::LeaseLeases`]: by granted time to live, then by the last renewal.
    LeaseLeases(pb::LeaseLeasesResponse),
}

/// The whole state of an etcd store, as naively as it can be kept.
#[derive(Clone, Debug, Default)]
pub struct Model {
    store: Store,
    leases: BTreeMap<i64, lease::Lease>,
    /// Counts grants and renewals, to order leases of one time to live.
    renewals: u64,
}

impl Model {
    /// An empty store at revision 1.
    pub fn new() -> Model {
        Model::default()
    }

    /// The current revision.
    pub fn revision(&self) -> i64 {
        self.store.revision()
    }

    /// The compacted revision; -1 when nothing was ever compacted.
    pub fn compacted(&self) -> i64 {
        self.store.compacted()
    }

    /// Answers one request. A failed request changes nothing.
    pub fn execute(&mut self, request: &Request) -> Result<Response, Status> {
        match request {
            Request::Range(range) => {
                check_range(range)?;
                self.store.check_revision(range.revision)?;
                Ok(Response::Range(self.store.range(range)))
            }
            Request::Put(put) => self.put(put).map(Response::Put),
            Request::DeleteRange(delete) => {
                check_key(&delete.key)?;
                self.store.begin();
                let reply = self.apply_delete(delete);
                self.store.end();
                Ok(Response::DeleteRange(reply))
            }
            Request::Txn(txn) => self.txn(txn).map(Response::Txn),
            Request::Compact(compact) => {
                self.store.compact(compact.revision)?;
                Ok(Response::Compact(pb::CompactionResponse { header: self.header() }))
            }
            Request::LeaseGrant(grant) => self.lease_grant(grant).map(Response::LeaseGrant),
            Request::LeaseRevoke(revoke) => self.lease_revoke(revoke).map(Response::LeaseRevoke),
            Request::LeaseKeepAlive(keep) => Ok(Response::LeaseKeepAlive(self.lease_keep(keep))),
            Request::LeaseTimeToLive(ask) => Ok(Response::LeaseTimeToLive(self.lease_ttl(ask))),
            Request::LeaseLeases(_) => Ok(Response::LeaseLeases(self.lease_list())),
        }
    }

    /// All events that a watch with this request sees up to now, one revision after another, or why
    /// it is refused. A start in the future sees nothing.
    pub fn watch(&self, create: &pb::WatchCreateRequest) -> Result<Vec<mvccpb::Event>, WatchEnd> {
        self.store.watch(create)
    }

    fn header(&self) -> Option<pb::ResponseHeader> {
        header(self.store.revision())
    }

    fn put(&mut self, put: &pb::PutRequest) -> Result<pb::PutResponse, Status> {
        check_put(put)?;
        self.check_lease(put)?;
        self.check_ignored(put)?;
        self.store.begin();
        let reply = self.apply_put(put);
        self.store.end();
        Ok(reply)
    }

    fn check_lease(&self, put: &pb::PutRequest) -> Result<(), Status> {
        if put.lease != 0 && !self.leases.contains_key(&put.lease) {
            return Err(no_lease());
        }
        Ok(())
    }

    fn check_ignored(&self, put: &pb::PutRequest) -> Result<(), Status> {
        if (put.ignore_value || put.ignore_lease) && self.store.get(&put.key).is_none() {
            return Err(no_key());
        }
        Ok(())
    }

    /// Puts inside the open batch of changes; everything was checked.
    fn apply_put(&mut self, put: &pb::PutRequest) -> pb::PutResponse {
        let before = self.store.get(&put.key);
        let mut value = put.value.clone();
        let mut lease = put.lease;
        if let Some(before) = &before {
            if put.ignore_value {
                value = before.value.clone();
            }
            if put.ignore_lease {
                lease = before.lease;
            }
        }
        let revision = self.store.put(put.key.clone(), value, lease);
        pb::PutResponse { header: header(revision), prev_kv: before.filter(|_| put.prev_kv) }
    }

    /// Deletes inside the open batch of changes; everything was checked.
    fn apply_delete(&mut self, delete: &pb::DeleteRangeRequest) -> pb::DeleteRangeResponse {
        let gone = self.store.delete(&delete.key, &delete.range_end);
        pb::DeleteRangeResponse {
            header: header(self.store.written_revision()),
            deleted: gone.len() as i64,
            prev_kvs: if delete.prev_kv { gone } else { Vec::new() },
        }
    }
}

fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { cluster_id: 0, member_id: 0, revision, raft_term: 0 })
}

fn check_key(key: &[u8]) -> Result<(), Status> {
    if key.is_empty() {
        return Err(Status::new(Code::InvalidArgument, "etcdserver: key is not provided"));
    }
    Ok(())
}

fn check_range(range: &pb::RangeRequest) -> Result<(), Status> {
    check_key(&range.key)?;
    if !(0..=2).contains(&range.sort_order) || !(0..=4).contains(&range.sort_target) {
        return Err(Status::new(Code::InvalidArgument, "etcdserver: invalid sort option"));
    }
    Ok(())
}

fn check_put(put: &pb::PutRequest) -> Result<(), Status> {
    check_key(&put.key)?;
    if put.ignore_value && !put.value.is_empty() {
        return Err(Status::new(Code::InvalidArgument, "etcdserver: value is provided"));
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Status::new(Code::InvalidArgument, "etcdserver: lease is provided"));
    }
    Ok(())
}

fn no_key() -> Status {
    Status::new(Code::InvalidArgument, "etcdserver: key not found")
}

fn no_lease() -> Status {
    Status::new(Code::NotFound, "etcdserver: requested lease not found")
}

#[cfg(test)]
mod tests;
