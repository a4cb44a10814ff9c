//! Owns what stands between a socket and the service: accepting, telling protocols apart, HTTP/2
//! with gRPC on it, HTTP/1.1, coalesced writes, limits against hostile clients, the orderly stop;
//! and the streams between members.
//! Runs on glommio, one of each per core, single-threaded. Knows no etcd, no policy, no placement.
//! Invariant: bytes of peers can end a call or a connection, never the process, and never take
//! more memory than `limits` allows.

mod authority;
mod body;
mod bundle;
mod chunk;
mod conn;
mod guard;
mod heads;
mod http1;
mod http2;
mod hub;
pub mod limits;
mod line;
mod listen;
mod options;
mod pack;
pub mod peer;
mod pipe;
pub mod readers;
mod reply;
mod roster;
mod scan;
mod server;
mod service;
mod slab;
mod stats;
mod sys;

pub use hub::Hub;
pub use listen::{Acceptor, Address, Arrival, Bound, ListenError, Parcel, PortSharing, Seats};
pub use options::Options;
pub use reply::{HttpReply, HttpResponse};
pub use server::Server;
pub use service::{
    CallHead, CallId, HttpRequest, LeaderNeed, Metadata, Peer, Pressure, Route, Service,
};
pub use stats::{FlushTimes, Stats};
pub use sys::files_max;
