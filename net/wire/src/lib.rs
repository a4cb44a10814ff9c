//! Owns what crosses a client port: etcd's protobuf messages, the names of its methods, gRPC's
//! message frames and metadata, and every error that a client can see; and what crosses a peer
//! port: greetings and frames between members.
//! Never touches a socket and decides nothing. Invariant: whatever bytes come in, the answer is a
//! message or an error, never a panic.
#![forbid(unsafe_code)]

pub mod encode;
pub mod error;
pub mod grpc;
pub mod gzip;
pub mod method;
pub mod peer;
pub mod status;

pub use error::ApiError;
pub use method::{Kind, Method};
pub use status::{Code, Status};

/// Messages of the v3 API.
#[allow(missing_docs, clippy::all)]
pub mod etcdserverpb {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
}

/// Keys and events.
#[allow(missing_docs, clippy::all)]
pub mod mvccpb {
    include!(concat!(env!("OUT_DIR"), "/mvccpb.rs"));
}

/// Users, roles and permissions.
#[allow(missing_docs, clippy::all)]
pub mod authpb {
    include!(concat!(env!("OUT_DIR"), "/authpb.rs"));
}

/// The lock service.
#[allow(missing_docs, clippy::all)]
pub mod v3lockpb {
    include!(concat!(env!("OUT_DIR"), "/v3lockpb.rs"));
}

/// The election service.
#[allow(missing_docs, clippy::all)]
pub mod v3electionpb {
    include!(concat!(env!("OUT_DIR"), "/v3electionpb.rs"));
}

/// The gRPC health service, `grpc.health.v1`.
#[allow(missing_docs, clippy::all)]
pub mod health {
    include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
}

#[cfg(test)]
mod tests;
