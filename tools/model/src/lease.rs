//! Owns leases: grant, revoke, renewal, what is attached. Never tells the time: a lease ends when
//! it is revoked, and expiry is a revoke. Invariant: what is attached is read off the live pairs.

use super::{Model, no_lease};
use wire::etcdserverpb as pb;
use wire::{Code, Status};

/// The least time to live, in seconds, at etcd's default election timeout.
const TTL_MIN: i64 = 2;
const TTL_MAX: i64 = 9_000_000_000;

/// One lease.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    /// Granted seconds.
    ttl: i64,
    /// When it was granted or renewed last, as a count.
    renewed: u64,
}

impl Model {
    pub(super) fn lease_grant(
        &mut self,
        grant: &pb::LeaseGrantRequest,
    ) -> Result<pb::LeaseGrantResponse, Status> {
        assert!(grant.id != 0, "the model cannot choose an id as a server would");
        if grant.ttl > TTL_MAX {
            return Err(Status::new(Code::OutOfRange, "etcdserver: too large lease TTL"));
        }
        if self.leases.contains_key(&grant.id) {
            return Err(Status::new(Code::FailedPrecondition, "etcdserver: lease already exists"));
        }
        let ttl = grant.ttl.max(TTL_MIN);
        self.renewals += 1;
        self.leases.insert(grant.id, Lease { ttl, renewed: self.renewals });
        Ok(pb::LeaseGrantResponse {
            header: self.header(),
            id: grant.id,
            ttl,
            error: String::new(),
        })
    }

    /// Takes the lease and its keys, in key order, in one revision.
    pub(super) fn lease_revoke(
        &mut self,
        revoke: &pb::LeaseRevokeRequest,
    ) -> Result<pb::LeaseRevokeResponse, Status> {
        if self.leases.remove(&revoke.id).is_none() {
            return Err(no_lease());
        }
        self.store.begin();
        for key in self.attached(revoke.id) {
            self.store.delete(&key, b"");
        }
        self.store.end();
        Ok(pb::LeaseRevokeResponse { header: self.header() })
    }

    pub(super) fn lease_keep(
        &mut self,
        keep: &pb::LeaseKeepAliveRequest,
    ) -> pb::LeaseKeepAliveResponse {
        let header = self.header();
        let mut ttl = 0;
        if let Some(lease) = self.leases.get_mut(&keep.id) {
            self.renewals += 1;
            lease.renewed = self.renewals;
            ttl = lease.ttl;
        }
        pb::LeaseKeepAliveResponse { header, id: keep.id, ttl }
    }

    pub(super) fn lease_ttl(
        &self,
        ask: &pb::LeaseTimeToLiveRequest,
    ) -> pb::LeaseTimeToLiveResponse {
        let mut reply = pb::LeaseTimeToLiveResponse {
            header: self.header(),
            id: ask.id,
            ttl: -1,
            ..Default::default()
        };
        if let Some(lease) = self.leases.get(&ask.id) {
            reply.ttl = lease.ttl;
            reply.granted_ttl = lease.ttl;
            if ask.keys {
                reply.keys = self.attached(ask.id);
            }
        }
        reply
    }

    pub(super) fn lease_list(&self) -> pb::LeaseLeasesResponse {
        let mut leases: Vec<_> = self.leases.iter().collect();
        leases.sort_by_key(|(_, lease)| (lease.ttl, lease.renewed));
        pb::LeaseLeasesResponse {
            header: self.header(),
            leases: leases.into_iter().map(|(id, _)| pb::LeaseStatus { id: *id }).collect(),
        }
    }

    fn attached(&self, id: i64) -> Vec<bytes::Bytes> {
        let all = self.store.pairs(b"\0", b"\0", self.store.written_revision());
        all.into_iter().filter(|pair| pair.lease == id).map(|pair| pair.key).collect()
    }
}
