//! Owns every bound of the engine, in one place, argued with compile-time asserts.
//! Invariant: a number that limits something stands here, with its unit last in its name.

/// Unit of all direct I/O: offsets, lengths and buffers are multiples of it.
pub const BLOCK_BYTES: usize = 4096;

/// Size of one log segment file.
pub const LOG_SEGMENT_BYTES: u64 = 64 << 20;
/// Most bytes of one log flush while few are waiting.
pub const LOG_BATCH_BYTES: usize = 256 << 10;
/// Most bytes of one log flush under backlog.
pub const LOG_BATCH_BACKLOG_BYTES: usize = 1 << 20;
/// Log flushes in flight at once, acknowledged in order.
pub const LOG_FLUSHES_MAX: usize = 4;

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
