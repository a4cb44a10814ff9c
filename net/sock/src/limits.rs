//! Owns every bound of the network shell, argued with compile-time asserts.
//! Invariant: a number that limits something here stands in this file, with its unit last.

use base::limits::{REQUEST_BYTES_DEFAULT, REQUEST_OVERHEAD_BYTES};

/// What one `recv` takes at most. One such buffer per core, shared by its connections.
pub const READ_BYTES: usize = 128 << 10;
/// Reads of one connection in one turn before others get theirs.
pub const READ_ROUNDS_MAX: u32 = 4;
/// Output gathered for one `send`; more is sent before the turn ends.
pub const WRITE_BYTES: usize = 64 << 10;
/// First size of an output buffer; a connection without output holds none.
pub const WRITE_BYTES_FIRST: usize = 8 << 10;
/// Emptied output buffers that a core keeps for the next connection.
pub const WRITE_BUFFERS_SPARE: usize = 64;
/// Largest DATA payload sent, so that streams and pings of one connection take turns.
pub const DATA_BYTES_MAX: usize = 16 << 10;
/// Bytes that may wait unsent in the kernel before the socket counts as full: what waits there
/// cannot be overtaken any more.
pub const NOTSENT_BYTES: u32 = 128 << 10;
/// Largest part of a message that is copied to leave in one DATA frame with others of its call.
pub const BUNDLED_BYTES_MAX: usize = 1 << 10;

/// An unfinished HEADERS frame that waits for its rest, so that it can be looked at whole.
pub const UNFINISHED_BYTES_MAX: usize = 9 + DATA_BYTES_MAX;

/// Receive window of one stream. What arrives is taken in the same turn, so a window bounds
/// what is on the way, not what is in memory (`ASSEMBLING_BYTES_MAX` does).
pub const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Receive window of one connection. Held input (see [`CALL_QUEUE_BYTES_HIGH`]) stays in it.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Unfinished request bodies of all connections of one core.
pub const ASSEMBLING_BYTES_MAX: usize = 256 << 20;
/// Unfinished request bodies of one connection.
pub const CONNECTION_ASSEMBLING_BYTES_MAX: usize = 128 << 20;
/// Open calls of one connection, whatever `--max-concurrent-streams` says: at about 1 KiB each.
pub const CONNECTION_CALLS_MAX: u32 = 65_536;
/// Header list of one request (RFC 9113, 6.5.2: names, values and 32 bytes a field).
pub const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;

/// Largest answer that is packed for a client that packs: about 2 ms of one core.
pub const PACK_BYTES_MAX: usize = 256 << 10;

/// A call whose queue holds this much is full: `send` says so, and its input is not read.
pub const CALL_QUEUE_BYTES_HIGH: usize = 256 << 10;
/// A full call has room again when its queue falls to this.
pub const CALL_QUEUE_BYTES_LOW: usize = 64 << 10;
/// New calls of a connection are refused while so much of its output waits.
pub const CONNECTION_QUEUE_BYTES_MAX: usize = 64 << 20;

/// Pings sooner than allowed that are forgiven (grpc-go counts the same way).
pub const PING_STRIKES_MAX: u32 = 2;
/// Time between pings while no call is open, in milliseconds (grpc-go: two hours).
pub const PING_IDLE_MS: u64 = 2 * 3600 * 1000;
/// SETTINGS frames that may come at once, and one more a second.
pub const SETTINGS_BURST: u32 = 64;
/// RST_STREAM frames that may come at once; every finished call earns one more.
pub const RESETS_BURST: u32 = 2_000;
/// RST_STREAM frames a second after the burst.
pub const RESETS_PER_SECOND: u32 = 200;
/// Frames that carry nothing (empty DATA, PRIORITY, unknown types, acks) at once.
pub const IDLE_FRAMES_BURST: u32 = 1_000;
/// Frames that carry nothing, a second after the burst.
pub const IDLE_FRAMES_PER_SECOND: u32 = 100;
/// Calls reset by the client before they were looked at, in one read (h2).
pub const RESETS_UNSEEN_MAX: usize = 500;

/// The first line of a connection is waited for up to here, to see whether it is HTTP at all.
pub const FIRST_LINE_BYTES_MAX: usize = 4 << 10;
/// HTTP/1.1: request line and fields.
pub const HTTP1_HEAD_BYTES_MAX: usize = 64 << 10;
/// HTTP/1.1: number of fields.
pub const HTTP1_FIELDS_MAX: usize = 100;
/// HTTP/1.1: one chunk-size line or trailer section.
pub const HTTP1_CHUNK_LINE_BYTES_MAX: usize = 4 << 10;
/// Input thrown away after an error, so that the peer can read the reason before a reset.
pub const LINGER_BYTES_MAX: usize = 1 << 20;
/// How long that may take, in milliseconds.
pub const LINGER_MS: u64 = 1_000;

/// Writes of one peer's stream in one turn before others get theirs.
pub const PEER_WRITE_ROUNDS_MAX: u32 = 16;

/// How often deadlines are looked at, in milliseconds; they are late by at most this.
pub const TICK_MS: u64 = 250;
/// Connections waiting in the kernel to be accepted.
pub const BACKLOG: i32 = 1024;
/// File descriptors that connections must leave for other uses (etcd).
pub const FILES_RESERVED: u64 = 150;

const _: () = assert!(DATA_BYTES_MAX <= WRITE_BYTES);
const _: () = assert!(crate::chunk::PREFIX_BYTES + BUNDLED_BYTES_MAX <= DATA_BYTES_MAX);
const _: () = assert!(UNFINISHED_BYTES_MAX < READ_BYTES);
const _: () = assert!(CALL_QUEUE_BYTES_LOW < CALL_QUEUE_BYTES_HIGH);
const _: () = assert!(CALL_QUEUE_BYTES_HIGH < CONNECTION_QUEUE_BYTES_MAX);
const _: () = assert!(STREAM_WINDOW_BYTES < CONNECTION_WINDOW_BYTES);
const _: () = assert!(CONNECTION_ASSEMBLING_BYTES_MAX < ASSEMBLING_BYTES_MAX);
const _: () = assert!(
    (REQUEST_BYTES_DEFAULT + REQUEST_OVERHEAD_BYTES) as usize * 16
        < CONNECTION_ASSEMBLING_BYTES_MAX
);
const _: () = assert!(CONNECTION_CALLS_MAX < i16::MAX as u32 * 3, "wakers are per connection");
