//! Owns what the daemon decides about the network. Holds values, has no opinions of its own.
//! Invariant: every option is named by its caller; nothing has a hidden default.

use std::time::Duration;

/// What the daemon decides, one for all cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Largest gRPC message taken (`--max-request-bytes` + 512 KiB).
    pub message_bytes_max: u32,
    /// Largest body of a request that is not gRPC.
    pub http_body_bytes_max: u32,
    /// `--max-concurrent-streams`; never more than `limits::CONNECTION_CALLS_MAX`.
    pub concurrent_streams_max: u32,
    /// `--grpc-keepalive-min-time`: pings that come sooner are strikes.
    pub ping_interval_min: Duration,
    /// `--grpc-keepalive-interval`: a silent client is pinged after this; zero never.
    pub keepalive_interval: Duration,
    /// `--grpc-keepalive-timeout`: a client that does not answer is dropped; zero never.
    pub keepalive_timeout: Duration,
    /// From accept to a complete preface or request head.
    pub handshake_timeout: Duration,
    /// Between two requests of an HTTP/1.1 connection.
    pub idle_timeout: Duration,
    /// From the head of an HTTP/1.1 request to the end of its body.
    pub body_timeout: Duration,
}

impl Options {
    /// What etcd does when no flag says otherwise; our own times where it has none.
    pub fn as_etcd() -> Options {
        use base::limits::{REQUEST_BYTES_DEFAULT, REQUEST_OVERHEAD_BYTES};
        let message_bytes_max = REQUEST_BYTES_DEFAULT + REQUEST_OVERHEAD_BYTES;
        Options {
            message_bytes_max,
            http_body_bytes_max: 2 * message_bytes_max,
            concurrent_streams_max: u32::MAX,
            ping_interval_min: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(2 * 3600),
            keepalive_timeout: Duration::from_secs(20),
            handshake_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            body_timeout: Duration::from_secs(60),
        }
    }
}
