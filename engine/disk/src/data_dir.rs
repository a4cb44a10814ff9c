//! Owns the names and the lock of the data directory.
//! Never opens a file for data. Invariant: at most one process holds a data directory.
//!
//! ```text
//! DIR/member/LOCK                       held by flock while a server runs
//! DIR/member/store/manifest             two slots
//! DIR/member/store/SSSS.tree            one per slice, SSSS in hex
//! DIR/member/store/SSSS-NNNNNNNNNNNNNNNN.history
//! WAL/NNNNNNNNNNNNNNNN.log              WAL is DIR/member/wal or --wal-dir
//! WAL/NNNNNNNNNNNNNNNN.log.tmp          a segment being zero-filled; removed at start
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base::FileId;
use rustix::fs::{FlockOperation, flock};

/// An opened and locked data directory. Dropping it releases the lock.
#[derive(Debug)]
pub struct DataDir {
    store: PathBuf,
    wal: PathBuf,
    _lock: fs::File,
}

/// Why a data directory cannot be used.
#[derive(Debug)]
pub enum DataDirError {
    /// Another process runs on it.
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// etcd's own data stands there.
    Foreign {
        /// What was found.
        path: PathBuf,
    },
    /// The system refused.
    Os {
        /// On what.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl std::fmt::Display for DataDirError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DataDirError::Locked { path } => write!(
                f,
                "another process holds {}; stop it, or choose another --data-dir",
                path.display()
            ),
            DataDirError::Foreign { path } => write!(
                f,
                "{} belongs to an etcd server, whose files are not read here; choose another \
                 --data-dir",
                path.display()
            ),
            DataDirError::Os { path, error } => write!(f, "cannot use {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for DataDirError {}

impl DataDir {
    /// Makes the directories if they are missing (mode 0700), takes the lock, removes leftovers.
    /// `wal_dir` is `--wal-dir`, if given.
    pub fn open(data_dir: &Path, wal_dir: Option<&Path>) -> Result<DataDir, DataDirError> {
        let member = absolute(data_dir)?.join("member");
        let store = member.join("store");
        let wal = match wal_dir {
            Some(dir) => absolute(dir)?,
            None => member.join("wal"),
        };
        let foreign = member.join("snap").join("db");
        if foreign.exists() {
            return Err(DataDirError::Foreign { path: foreign });
        }
        for dir in [&member, &store, &wal] {
            make_dir(dir)?;
        }
        let lock = take_lock(&member.join("LOCK"))?;
        let dir = DataDir { store, wal, _lock: lock };
        dir.remove_leftovers()?;
        Ok(dir)
    }

    /// Where a file lies.
    pub fn path(&self, file: FileId) -> PathBuf {
        let folder = match file {
            FileId::Log(_) => &self.wal,
            FileId::Manifest | FileId::Tree(_) | FileId::History { .. } => &self.store,
        };
        folder.join(file.to_string())
    }

    /// The log segments that exist, with their sizes in bytes, in order of their numbers.
    pub fn log_segments(&self) -> Result<Vec<(u64, u64)>, DataDirError> {
        let mut found = Vec::new();
        for entry in list(&self.wal)? {
            let name = entry.file_name();
            let Some(number) = name
                .to_str()
                .and_then(|name| name.strip_suffix(".log"))
                .and_then(|stem| u64::from_str_radix(stem, 16).ok())
            else {
                continue;
            };
            let size = entry.metadata().map_err(|error| os(&entry.path(), error))?.len();
            found.push((number, size));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// True if a manifest file exists: the directory has been used before.
    pub fn initialized(&self) -> bool {
        self.path(FileId::Manifest).exists()
    }

    fn remove_leftovers(&self) -> Result<(), DataDirError> {
        for entry in list(&self.wal)? {
            if entry.file_name().to_str().is_some_and(|name| name.ends_with(".log.tmp")) {
                fs::remove_file(entry.path()).map_err(|error| os(&entry.path(), error))?;
            }
        }
        Ok(())
    }
}

fn absolute(path: &Path) -> Result<PathBuf, DataDirError> {
    std::path::absolute(path).map_err(|error| os(path, error))
}

fn os(path: &Path, error: io::Error) -> DataDirError {
    DataDirError::Os { path: path.to_path_buf(), error }
}

fn make_dir(dir: &Path) -> Result<(), DataDirError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .and_then(|()| fs::File::open(dir)?.sync_all())
        .map_err(|error| os(dir, error))
}

fn list(dir: &Path) -> Result<Vec<fs::DirEntry>, DataDirError> {
    fs::read_dir(dir)
        .and_then(|entries| entries.collect::<io::Result<Vec<_>>>())
        .map_err(|error| os(dir, error))
}

/// A killed server may hold its lock for a moment longer, while the kernel ends its rings: try
/// for five seconds before giving up.
fn take_lock(path: &Path) -> Result<fs::File, DataDirError> {
    let file = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| os(path, error))?;
    for _ in 0..100 {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            Err(error) => return Err(os(path, error.into())),
        }
    }
    Err(DataDirError::Locked { path: path.to_path_buf() })
}
