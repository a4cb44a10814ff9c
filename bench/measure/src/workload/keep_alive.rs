//! Owns the judgement of lease keep-alives. Invariant: an answer is for the lease that was asked
//! about, and says that it lives.

use bytes::Bytes;
use wire::Method;
use wire::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};

use crate::op::{Op, Wrong, decode, revision};
use crate::workload::Workload;

/// Keep-alives of one lease, one call each, as `KeepAliveOnce` of etcd's client sends them.
#[derive(Debug)]
pub struct KeepAlive {
    lease: i64,
}

impl KeepAlive {
    /// Of this lease.
    pub fn new(lease: i64) -> KeepAlive {
        KeepAlive { lease }
    }
}

impl Workload for KeepAlive {
    fn next(&mut self, _: u64) -> Op {
        Op::new(0, Method::LeaseKeepAlive, &LeaseKeepAliveRequest { id: self.lease })
    }

    fn answered(&mut self, reply: Bytes) -> Result<(), Wrong> {
        let reply: LeaseKeepAliveResponse = decode(reply)?;
        revision(reply.header.as_ref())?;
        if reply.id != self.lease {
            return Err(Wrong::new("a keep-alive of another lease"));
        }
        match 0 < reply.ttl {
            true => Ok(()),
            false => Err(Wrong::new("the lease is gone")),
        }
    }
}
