//! Owns the words between the network and the daemon: what a call is, what it carries, and what
//! the daemon must answer to. Does nothing. Invariant: a call is named by an id that is never
//! taken for another call's, so a late answer is harmless.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use wire::Status;

use crate::reply::HttpReply;

/// Names one call of one core: a slot and the generation of its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl CallId {
    /// The id as one number, for messages that carry plain values.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The reverse of [`CallId::to_bits`].
    pub fn from_bits(bits: u64) -> CallId {
        CallId { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// Where a gRPC path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// One request message, one reply: [`Service::unary`].
    Unary(u16),
    /// Any other shape: [`Service::open`], [`Service::message`], [`Service::half_closed`].
    Stream(u16),
    /// The call ends at once with this, for example because there is no such method.
    Refused(Status),
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket, which has no address worth telling.
    Unix,
}

/// Metadata that a call may carry; absent in most calls.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// `token`.
    pub token: Option<HeaderValue>,
    /// `authorization`.
    pub authorization: Option<HeaderValue>,
    /// `client-api-version`, not yet checked to be UTF-8.
    pub client_api_version: Option<HeaderValue>,
}

/// Whether the caller wants to be refused while the member has no leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderNeed {
    /// `hasleader: true` was sent.
    Required,
    /// It was not.
    Any,
}

/// What came with a call besides its messages.
#[derive(Clone, Debug)]
pub struct CallHead {
    /// The other end.
    pub peer: Peer,
    /// `hasleader`.
    pub leader: LeaderNeed,
    /// `grpc-timeout`, from the arrival of the call.
    pub timeout: Option<Duration>,
    /// Everything else that etcd looks at.
    pub metadata: Option<Box<Metadata>>,
}

impl CallHead {
    /// The auth token: `token`, else `authorization` (whose `Bearer ` is the daemon's to cut).
    pub fn token(&self) -> Option<&[u8]> {
        let metadata = self.metadata.as_ref()?;
        let value = metadata.token.as_ref().or(metadata.authorization.as_ref())?;
        Some(value.as_bytes())
    }

    /// `client-api-version` as sent.
    pub fn client_api_version(&self) -> Option<&[u8]> {
        Some(self.metadata.as_ref()?.client_api_version.as_ref()?.as_bytes())
    }
}

/// A request that is not gRPC, over HTTP/1.1 or HTTP/2, its body complete.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The other end.
    pub peer: Peer,
    /// The method. `HEAD` is answered like `GET`; the network leaves the body out.
    pub method: Method,
    /// The path, as sent.
    pub path: String,
    /// What follows `?`, as sent; empty if nothing does.
    pub query: String,
    /// All fields; HTTP/2's `:authority` appears as `host`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Whether a call takes more output now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pressure {
    /// Go on.
    Room,
    /// Queued, but send no more before [`Service::drained`].
    Full,
    /// The call is over; [`Service::gone`] was or will not be called.
    Gone,
}

/// What the daemon implements, one per core. All calls come from that core's executor, and each
/// may answer through the [`crate::Hub`] before it returns.
pub trait Service {
    /// Where the path of a gRPC request leads, for example `/etcdserverpb.KV/Put`.
    fn route(&self, path: &str) -> Route;
    /// A whole unary request. Answer with `reply` or `fail`, now or later.
    fn unary(&self, call: CallId, method: u16, head: CallHead, message: Bytes);
    /// A stream begins.
    fn open(&self, call: CallId, method: u16, head: CallHead);
    /// One message of a stream from the client.
    fn message(&self, call: CallId, message: Bytes);
    /// The client will send no more on this stream; it still listens.
    fn half_closed(&self, call: CallId);
    /// The client gave up, or its connection did. The id is dead; sending on it does nothing.
    fn gone(&self, call: CallId);
    /// A call that was `Full` has room again.
    fn drained(&self, call: CallId);
    /// A request that is not gRPC. Answer through `reply`, now or later.
    fn http(&self, request: HttpRequest, reply: HttpReply);
}
