//! Owns every bound of the engine, in one place, argued with compile-time asserts.
//! Invariant: a number that limits something stands here, with its unit last in its name.

/// Unit of all direct I/O: offsets, lengths and buffers are multiples of it.
pub const BLOCK_BYTES: usize = 4096;

/// Most slices that hold keys: every slice's root stands in the manifest.
pub const SLICES_MAX: u16 = 256;

/// Size of one log segment file.
pub const LOG_SEGMENT_BYTES: u64 = 64 << 20;
/// Most bytes of one log flush while few are waiting.
pub const LOG_BATCH_BYTES: usize = 256 << 10;
/// Most bytes of one log flush under backlog.
pub const LOG_BATCH_BACKLOG_BYTES: usize = 1 << 20;
/// Log flushes in flight at once, acknowledged in order.
pub const LOG_FLUSHES_MAX: usize = 4;
/// Largest data of one log entry. An entry never spans batches, so a batch can be this large.
pub const LOG_ENTRY_BYTES_MAX: usize = 16 << 20;
/// Log segments kept prepared beyond the one being written.
pub const LOG_SEGMENTS_AHEAD: usize = 1;
/// Freed log segments kept for recycling; more are removed.
pub const LOG_SEGMENTS_SPARE_MAX: usize = 2;
/// What recovery reads of a segment at once.
pub const LOG_READ_BYTES: u32 = 1 << 20;
/// What is read of a segment at once for a peer that lags: little, since flushes wait behind it.
pub const LOG_FETCH_READ_BYTES: u32 = 256 << 10;
/// Segments behind the checkpoint that are kept for peers that lag, unless `--max-wals` says
/// otherwise.
pub const LOG_SEGMENTS_KEPT: usize = 5;
/// Segments behind the checkpoint that are kept while a peer is catching up or takes in a whole
/// store.
pub const LOG_SEGMENTS_KEPT_MAX: usize = 64;
/// Most segments that can be kept: each segment tells of those before it.
pub const LOG_SEGMENTS_TOLD_MAX: usize = 1023;
/// How far into each later segment recovery looks for promises after the end of the log.
pub const LOG_SCAN_BYTES: u64 = 8 << 20;
/// Entry data kept in memory for Raft once it is applied; what is not applied stays anyway.
pub const LOG_WINDOW_BYTES: usize = 64 << 20;

/// A history block is closed once it is this long; a large record makes a longer one.
pub const HISTORY_BLOCK_BYTES: usize = 16 << 10;
/// A history segment is sealed once it is this long: the grain of compaction.
pub const HISTORY_SEGMENT_BYTES: u64 = 8 << 20;
/// Closed history blocks gather to so many bytes before they are written between checkpoints.
pub const HISTORY_FLUSH_BYTES: usize = 256 << 10;
/// Largest record of history: a key, its new value and the one before.
pub const HISTORY_RECORD_BYTES_MAX: usize = 1 << 30;
/// Room of each of the two history directories: 44 bytes a segment, 32 a block of the open one.
pub const HISTORY_DIRECTORY_BYTES_MAX: u64 = 64 << 20;

/// Largest request that goes through the log, unless `--max-request-bytes` says otherwise (etcd).
pub const REQUEST_BYTES_DEFAULT: u32 = 1_572_864;
/// What a gRPC message may be larger than the request limit (etcd).
pub const REQUEST_OVERHEAD_BYTES: u32 = 512 << 10;
/// Operations in each list of one transaction, unless `--max-txn-ops` says otherwise (etcd).
pub const TXN_OPS_DEFAULT: u32 = 128;
/// Store size at which puts are refused, unless `--quota-backend-bytes` says otherwise (etcd).
pub const QUOTA_BYTES_DEFAULT: u64 = 2 << 30;

const _: () = assert!(LOG_SEGMENT_BYTES.is_multiple_of(BLOCK_BYTES as u64));
const _: () = assert!(LOG_BATCH_BYTES <= LOG_BATCH_BACKLOG_BYTES);
const _: () = assert!((LOG_BATCH_BACKLOG_BYTES as u64) < LOG_SEGMENT_BYTES);
const _: () = assert!(
    REQUEST_BYTES_DEFAULT as usize + REQUEST_OVERHEAD_BYTES as usize
        <= LOG_SEGMENT_BYTES as usize / 4
);
const _: () = assert!(LOG_SEGMENTS_AHEAD >= 1);
const _: () = assert!(LOG_SEGMENTS_KEPT <= LOG_SEGMENTS_KEPT_MAX);
const _: () = assert!(LOG_SEGMENTS_KEPT_MAX <= LOG_SEGMENTS_TOLD_MAX);
const _: () = assert!(LOG_ENTRY_BYTES_MAX as u64 + BLOCK_BYTES as u64 <= LOG_SEGMENT_BYTES);
const _: () = assert!((LOG_FLUSHES_MAX * LOG_BATCH_BACKLOG_BYTES) as u64 <= LOG_SCAN_BYTES);
const _: () = assert!(REQUEST_BYTES_DEFAULT as usize <= LOG_ENTRY_BYTES_MAX);
const _: () = assert!(HISTORY_BLOCK_BYTES < HISTORY_SEGMENT_BYTES as usize);
const _: () = assert!(HISTORY_DIRECTORY_BYTES_MAX.is_multiple_of(BLOCK_BYTES as u64));
// A directory is read in one request, and a terabyte of history fits in it.
const _: () = assert!(HISTORY_DIRECTORY_BYTES_MAX < u32::MAX as u64);
const _: () = assert!((1 << 40) / HISTORY_SEGMENT_BYTES * 44 < HISTORY_DIRECTORY_BYTES_MAX);

/// Bytes of watch replies to one stream in one turn; what is beyond is read from history.
pub const WATCH_STREAM_BYTES: usize = 1 << 20;
/// Bytes of watch replies copied beside shared buffers in one turn.
pub const WATCH_COPY_BYTES: usize = 4 << 20;
/// Pairs of an event and a group of watches that are matched at once.
pub const WATCH_PAIRS: usize = 1 << 17;
/// Bytes of one read of history for watches.
pub const WATCH_HISTORY_BYTES: usize = 1 << 20;
/// Reads of history for the watches of one shard at once.
pub const WATCH_JOBS: usize = 2;
/// Watches that share one read of history.
pub const WATCH_JOB_WATCHES: usize = 1024;
/// Watches of one shard; at 400 bytes each.
pub const WATCHES_PER_SHARD: usize = 16 << 20;

/// Who takes nothing of a snapshot or a large range for so long loses it: the past that it reads is
/// kept from compaction meanwhile.
pub const READER_STALL_NS: u64 = 300_000_000_000;
