//! Owns the words between pure parts and the disk: which file, what to do, what came of it.
//! Never touches a file. Invariant: every request gets exactly one result with the same id.

use bytes::Bytes;

/// One partition of the key space. The last id of a store is the meta slice (leases, alarms,
/// members), which has no history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SliceId(pub u16);

/// A file of the data directory, by role. It prints as its name, which is unique in the directory;
/// the shell alone knows in which folder it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileId {
    /// The two manifest slots.
    Manifest,
    /// One log segment, by its number.
    Log(u64),
    /// The tree of one slice.
    Tree(SliceId),
    /// One history segment of one slice.
    History {
        /// Owner.
        slice: SliceId,
        /// Number of the segment, rising.
        segment: u64,
    },
}

impl std::fmt::Display for FileId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FileId::Manifest => f.write_str("manifest"),
            FileId::Log(segment) => write!(f, "{segment:016x}.log"),
            FileId::Tree(SliceId(slice)) => write!(f, "{slice:04x}.tree"),
            FileId::History { slice: SliceId(slice), segment } => {
                write!(f, "{slice:04x}-{segment:016x}.history")
            }
        }
    }
}

/// Names one outstanding request of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// What a pure part wants done. Offsets and lengths are in bytes and multiples of 4 KiB
/// ([`crate::limits::BLOCK_BYTES`]) for `Read` and `Write`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IoRequest {
    /// Read `len` bytes; answered with exactly that many or an error. A range past the end of the
    /// file reads as zeros.
    Read {
        /// From where.
        file: FileId,
        /// Byte offset.
        offset: u64,
        /// Bytes wanted.
        len: u32,
    },
    /// Write all of `bytes`. Log files are opened so that the result means durable; others need
    /// a `Sync`. Creates the file if it is missing.
    Write {
        /// To where.
        file: FileId,
        /// Byte offset.
        offset: u64,
        /// What to write, a multiple of 4 KiB long.
        bytes: Bytes,
    },
    /// Make every completed write of the file durable, and its directory entry.
    Sync {
        /// Which.
        file: FileId,
    },
    /// Remove every file of one slice: what an abandoned or replaced store left. The slice must
    /// have no other request under way.
    Clear {
        /// Whose files.
        slice: SliceId,
    },
    /// Make a log segment of `len` zero bytes that is durable under its name. `recycle` names an
    /// old segment whose file may be renamed instead of writing zeros.
    Prepare {
        /// The new segment.
        file: FileId,
        /// Its size in bytes.
        len: u64,
        /// An old segment to rename.
        recycle: Option<FileId>,
    },
    /// Remove the file; missing is fine.
    Remove {
        /// Which.
        file: FileId,
    },
    /// Give a byte range back to the file system; it reads as zeros afterwards.
    Punch {
        /// Which.
        file: FileId,
        /// Byte offset.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Cut the file to `len` bytes.
    Truncate {
        /// Which.
        file: FileId,
        /// New size.
        len: u64,
    },
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IoResult {
    /// The bytes that were asked for.
    Read(Bytes),
    /// Done, in full.
    Done,
    /// Not done. Writers of the log stop the process; readers decide.
    Failed(IoError),
}

/// Why the disk could not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoError {
    /// No room is left.
    NoSpace,
    /// Anything else, with the system's error number.
    Os(i32),
}
