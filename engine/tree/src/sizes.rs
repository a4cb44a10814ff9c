//! Owns every number of the tree: unit, node and write sizes, argued with compile-time asserts.
//! Invariant: a number that shapes the file or bounds the work stands here.

/// Allocation unit of the file. Everything on disk starts and ends on one.
pub const UNIT_BYTES: usize = base::limits::BLOCK_BYTES;

/// A node above this splits, if it has enough cells to. See docs/decisions/003-tree.md for why.
pub const NODE_BYTES_MAX: usize = 16 << 10;
/// A node below this looks for a neighbour to merge with.
pub const NODE_BYTES_MIN: usize = 4 << 10;
/// Two neighbours merge only if the result leaves some room to grow.
pub const MERGE_BYTES_MAX: usize = 14 << 10;
/// A value above this lives in an extent of its own.
pub const VALUE_INLINE_BYTES_MAX: usize = NODE_BYTES_MAX / 4;
/// Longest key. etcd's request limit is far below unless it was raised by flag.
pub const KEY_BYTES_MAX: usize = 256 << 20;
/// Longest value, for the same reason.
pub const VALUE_BYTES_MAX: usize = 1 << 30;

/// Units of one page at most, so that its bytes are counted with 32 bits.
pub const PAGE_UNITS_MAX: u32 = (1 << 20) - 1;

/// Adjacent pages are handed out as one write up to this size. A page larger than this is one
/// write all the same. Small, because a commit that comes at the same time waits for it.
pub const WRITE_BYTES_MAX: usize = 64 << 10;
/// Units in one region of the free map (64 MiB).
pub const REGION_UNITS: u32 = 16 << 10;
/// Units that the file may have at most (16 TiB less one region).
pub const FILE_UNITS_MAX: u32 = u32::MAX - REGION_UNITS;
/// Free space inside the file is punched out only in runs at least this long (1 MiB).
pub const PUNCH_UNITS_MIN: u32 = 256;
/// Longest run that one punch gives back (64 MiB).
pub const PUNCH_UNITS_MAX: u32 = REGION_UNITS;
/// The file is not cut for less than this (1 MiB): cutting and growing again costs metadata.
pub const TRUNCATE_UNITS_MIN: u32 = 256;
/// Leaves that a scan which missed one names for reading ahead.
pub const READ_AHEAD_LEAVES: usize = 15;

const _: () = assert!(NODE_BYTES_MAX.is_multiple_of(UNIT_BYTES));
const _: () = assert!(NODE_BYTES_MIN * 2 <= MERGE_BYTES_MAX);
const _: () = assert!(MERGE_BYTES_MAX <= NODE_BYTES_MAX);
const _: () = assert!(VALUE_INLINE_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(NODE_BYTES_MAX <= WRITE_BYTES_MAX);
const _: () = assert!(REGION_UNITS.is_multiple_of(64));
// Cells of a page are addressed with 32 bits, and an inner node that cannot split holds three
// separators: so three of the longest keys must fit.
const _: () = assert!((KEY_BYTES_MAX as u64) * 3 + (1 << 20) < u32::MAX as u64);
const _: () = assert!(KEY_BYTES_MAX * 3 + (1 << 20) < PAGE_UNITS_MAX as usize * UNIT_BYTES);
const _: () = assert!(VALUE_BYTES_MAX <= PAGE_UNITS_MAX as usize * UNIT_BYTES);
const _: () = assert!(FILE_UNITS_MAX as usize / 8 < PAGE_UNITS_MAX as usize * UNIT_BYTES);

/// Units needed for so many bytes.
pub(crate) fn units_for(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).expect("bounded by the limits above")
}

/// Byte offset of a unit.
pub(crate) fn offset_of(unit: u32) -> u64 {
    u64::from(unit) * UNIT_BYTES as u64
}
