//! Owns one member as two kinds of machine: the leader, which decides, and the shards, which serve;
//! and the messages between them. Never touches a socket, a file, a clock or a thread.
//! Invariant: the same events in the same order give the same effects, on any runtime.
#![forbid(unsafe_code)]

pub mod corruption;
pub mod figures;
pub mod leader;
pub mod manifest;
pub mod message;
pub mod peer;
pub mod shard;
pub mod snapshot;
pub mod versions;

pub use leader::{
    CheckNews, Founding, Leader, LeaderConfig, LeaderEffect, LeaderEvent, LogPolicy, PeerPlace,
    Reconfig, Report, Restart, VersionNews,
};
pub use message::{CallId, ShardId, ToLeader, ToShard};
pub use peer::{Lane, PeerNote};
pub use shard::{Shard, ShardConfig, ShardEffect, ShardEvent};
