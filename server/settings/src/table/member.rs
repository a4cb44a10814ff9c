//! Owns the rows about this member: names, places, timers, listeners and request limits.
//! Never about other members. Invariant: as in the table.

use crate::row::{Kind, Row, Section, Unit, row};

const S: Section = Section::Member;
const NO_BACKEND: &str = "there is no backend database with batched commits here";
const BACKGROUND: &str = "log segments are recycled and checkpoints replace each other";
const REQUEST_BYTES_MOST: i64 =
    base::limits::LOG_SEGMENT_BYTES as i64 / 4 - base::limits::REQUEST_OVERHEAD_BYTES as i64;

/// The rows.
pub(super) const ROWS: &[Row] = &[
    row(S, "name", Kind::Text, "default", "Name of this member, for people."),
    row(S, "data-dir", Kind::Text, "", "Directory of all data; empty means <name>.etcd."),
    row(S, "wal-dir", Kind::Text, "", "A directory of its own for the write-ahead log."),
    row(S, "snapshot-count", Kind::Unsigned, "10000", "Applied entries between two snapshots.")
        .no_meaning("checkpoints follow --checkpoint-interval and --checkpoint-log-bytes"),
    row(S, "snapshot-catchup-entries", Kind::Unsigned, "5000", "Entries kept for followers.")
        .no_meaning("whole log segments are kept for followers, see --max-wals"),
    row(S, "heartbeat-interval", Kind::Unsigned, "100", "Time between two heartbeats.")
        .unit(Unit::Milliseconds),
    row(S, "election-timeout", Kind::Unsigned, "1000", "Silence after which to elect.")
        .unit(Unit::Milliseconds),
    row(
        S,
        "initial-election-tick-advance",
        Kind::Bool,
        "true",
        "Skip most of the first election timeout at start.",
    ),
    row(S, "listen-peer-urls", Kind::Urls, "http://localhost:2380", "Where members connect."),
    row(S, "listen-client-urls", Kind::Urls, "http://localhost:2379", "Where clients connect."),
    row(S, "listen-client-http-urls", Kind::Urls, "", "Where clients connect for HTTP alone."),
    row(S, "max-snapshots", Kind::Unsigned, "5", "Snapshot files to keep (0: all).")
        .no_meaning(BACKGROUND),
    row(
        S,
        "max-wals",
        Kind::Unsigned,
        "5",
        "Log segments to keep for followers that lag (0: as many as can be).",
    ),
    row(S, "memory-mlock", Kind::Bool, "false", "Lock all pages of the process in memory.")
        .not_yet("locking of memory"),
    row(
        S,
        "quota-backend-bytes",
        Kind::Signed,
        "0",
        "Size of the store at which writes are refused (0: 2 GiB; below 0: no quota).",
    )
    .unit(Unit::Bytes),
    row(S, "backend-bbolt-freelist-type", Kind::Text, "map", "Free list of a bbolt database.")
        .no_meaning("there is no bbolt database here"),
    row(S, "backend-batch-interval", Kind::Span, "0s", "Longest time between two commits.")
        .no_meaning(NO_BACKEND),
    row(S, "backend-batch-limit", Kind::Signed, "0", "Most operations between two commits.")
        .no_meaning(NO_BACKEND),
    row(S, "max-txn-ops", Kind::Unsigned, "128", "Most operations in each list of a transaction."),
    row(S, "max-request-bytes", Kind::Unsigned, "1572864", "Largest request of a client.")
        .unit(Unit::Bytes)
        .within(0, REQUEST_BYTES_MOST),
    row(
        S,
        "max-concurrent-streams",
        Kind::Unsigned32,
        "4294967295",
        "Most streams that a client may have open on one connection.",
    ),
    row(S, "grpc-keepalive-min-time", Kind::Span, "5s", "Shortest tolerated gap of client pings."),
    row(S, "grpc-keepalive-interval", Kind::Span, "2h", "Gap of server pings (0: none)."),
    row(S, "grpc-keepalive-timeout", Kind::Span, "20s", "Wait for an answer to a ping (0: none)."),
    row(S, "socket-reuse-port", Kind::Bool, "false", "Let listeners share a port (SO_REUSEPORT).")
        .nested(&["socket-options", "reuse-port"]),
    row(S, "socket-reuse-address", Kind::Bool, "false", "Bind while old connections linger.")
        .nested(&["socket-options", "reuse-address"])
        .no_meaning("listeners always set SO_REUSEADDR"),
    row(S, "enable-grpc-gateway", Kind::Bool, "true", "Serve JSON under /v3/.")
        .no_meaning("this build has no JSON gateway"),
    row(S, "raft-read-timeout", Kind::Span, "5s", "Read timeout of peer connections.")
        .no_key()
        .no_meaning("a single member has no peer connections"),
    row(S, "raft-write-timeout", Kind::Span, "5s", "Write timeout of peer connections.")
        .no_key()
        .no_meaning("a single member has no peer connections"),
    row(S, "feature-gates", Kind::Gates, "", "Gates to switch: Name=true,Other=false."),
];
