//! Owns the way of a model's request through the interface: which method, which bytes, and what the
//! reply's bytes mean in the model's words.
//! Never looks at the store. Invariant: only what the model does not know is masked: ids of cluster
//! and member, the term, and how much of a lease's time has passed.

use bytes::Bytes;
use prost::Message;
use ringleader_model::{Request, Response};
use wire::{Method, etcdserverpb as pb};

/// Seconds by which the remaining time of a lease may differ: no time passes in the model, and a
/// new leader gives every lease the election timeout on top.
const TTL_SLACK_S: i64 = 3;

/// Whom a reply's header must name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The cluster.
    pub cluster: u64,
    /// The member that answered.
    pub member: u64,
}

/// A request in the interface's words.
pub fn encode(request: &Request) -> (Method, Bytes) {
    let (method, bytes) = match request {
        Request::Range(message) => (Method::Range, message.encode_to_vec()),
        Request::Put(message) => (Method::Put, message.encode_to_vec()),
        Request::DeleteRange(message) => (Method::DeleteRange, message.encode_to_vec()),
        Request::Txn(message) => (Method::Txn, message.encode_to_vec()),
        Request::Compact(message) => (Method::Compact, message.encode_to_vec()),
        Request::LeaseGrant(message) => (Method::LeaseGrant, message.encode_to_vec()),
        Request::LeaseRevoke(message) => (Method::LeaseRevoke, message.encode_to_vec()),
        Request::LeaseKeepAlive(message) => (Method::LeaseKeepAlive, message.encode_to_vec()),
        Request::LeaseTimeToLive(message) => (Method::LeaseTimeToLive, message.encode_to_vec()),
        Request::LeaseLeases(message) => (Method::LeaseLeases, message.encode_to_vec()),
    };
    (method, Bytes::from(bytes))
}

/// A reply in the model's words.
pub fn decode(request: &Request, reply: &[u8], ids: Ids) -> Result<Response, prost::DecodeError> {
    Ok(match request {
        Request::Range(_) => {
            Response::Range(headed(reply, ids, |m: &mut pb::RangeResponse| &mut m.header)?)
        }
        Request::Put(_) => {
            Response::Put(headed(reply, ids, |m: &mut pb::PutResponse| &mut m.header)?)
        }
        Request::DeleteRange(_) => {
            Response::DeleteRange(headed(reply, ids, |m: &mut pb::DeleteRangeResponse| {
                &mut m.header
            })?)
        }
        Request::Txn(_) => {
            Response::Txn(headed(reply, ids, |m: &mut pb::TxnResponse| &mut m.header)?)
        }
        Request::Compact(_) => {
            Response::Compact(headed(reply, ids, |m: &mut pb::CompactionResponse| &mut m.header)?)
        }
        Request::LeaseGrant(_) => {
            Response::LeaseGrant(headed(reply, ids, |m: &mut pb::LeaseGrantResponse| {
                &mut m.header
            })?)
        }
        Request::LeaseRevoke(_) => {
            Response::LeaseRevoke(headed(reply, ids, |m: &mut pb::LeaseRevokeResponse| {
                &mut m.header
            })?)
        }
        Request::LeaseKeepAlive(_) => {
            Response::LeaseKeepAlive(headed(reply, ids, |m: &mut pb::LeaseKeepAliveResponse| {
                &mut m.header
            })?)
        }
        Request::LeaseTimeToLive(_) => {
            Response::LeaseTimeToLive(headed(reply, ids, |m: &mut pb::LeaseTimeToLiveResponse| {
                &mut m.header
            })?)
        }
        Request::LeaseLeases(_) => {
            Response::LeaseLeases(headed(reply, ids, |m: &mut pb::LeaseLeasesResponse| {
                &mut m.header
            })?)
        }
    })
}

fn headed<M: Message + Default>(
    reply: &[u8],
    ids: Ids,
    header: impl Fn(&mut M) -> &mut Option<pb::ResponseHeader>,
) -> Result<M, prost::DecodeError> {
    let mut message = M::decode(reply)?;
    if let Some(header) = header(&mut message) {
        // The model answers zeros; a wrong id must not hide behind the mask.
        let told = Ids { cluster: header.cluster_id, member: header.member_id };
        assert_eq!(told, ids, "a foreign header");
        assert!(0 < header.raft_term, "a header without a term");
        (header.cluster_id, header.member_id, header.raft_term) = (0, 0, 0);
    }
    Ok(message)
}

/// Whether two replies say the same.
pub fn same(want: &Response, got: &Response) -> bool {
    match (want, got) {
        (Response::LeaseTimeToLive(want), Response::LeaseTimeToLive(got)) => {
            let near = (want.ttl - got.ttl).abs() <= TTL_SLACK_S && (want.ttl < 0) == (got.ttl < 0);
            near && pb::LeaseTimeToLiveResponse { ttl: want.ttl, ..got.clone() } == *want
        }
        (want, got) => want == got,
    }
}

/// Whether the request may be sent with others at once: those of one shard are decided in order.
pub fn batches(request: &Request) -> bool {
    match request {
        Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Compact(_)
        | Request::LeaseGrant(_)
        | Request::LeaseRevoke(_) => true,
        Request::Txn(txn) => !state::validate::is_read_only(txn),
        Request::Range(_)
        | Request::LeaseKeepAlive(_)
        | Request::LeaseTimeToLive(_)
        | Request::LeaseLeases(_) => false,
    }
}
