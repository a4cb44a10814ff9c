//! Owns the files of a data directory as an offline tool sees them: paths by role, and disk
//! requests done at once, one after the other. Never used while a server runs: it holds the same
//! lock. Invariant: a request that was answered is in the file, and after a sync it is durable.
//!
//! The layout is the server's (`DIR/member/LOCK`, `DIR/member/store`, `DIR/member/wal`).

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base::{FileId, IoError, IoRequest, IoResult};
use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};

/// A data directory, locked.
#[derive(Debug)]
pub struct Files {
    store: PathBuf,
    wal: PathBuf,
    _lock: fs::File,
}

impl Files {
    /// Opens a data directory that exists.
    pub fn open(data_dir: &Path, wal_dir: Option<&Path>) -> Result<Files, String> {
        let member = data_dir.join("member");
        let store = member.join("store");
        if !store.is_dir() {
            return Err(format!("{} is no data directory of Ringleader", data_dir.display()));
        }
        Files::locked(&member, wal_dir)
    }

    /// Makes a new data directory. What exists must be empty.
    pub fn create(data_dir: &Path, wal_dir: Option<&Path>) -> Result<Files, String> {
        for dir in std::iter::once(data_dir).chain(wal_dir) {
            if !is_free(dir) {
                let name = if dir == data_dir { "data-dir" } else { "wal-dir" };
                return Err(format!("{name} {:?} not empty or could not be read", dir.display()));
            }
        }
        let member = data_dir.join("member");
        let wal = wal_dir.map_or_else(|| member.join("wal"), Path::to_path_buf);
        for dir in [&member, &member.join("store"), &wal] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        }
        Files::locked(&member, wal_dir)
    }

    fn locked(member: &Path, wal_dir: Option<&Path>) -> Result<Files, String> {
        let path = member.join("LOCK");
        let lock = fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| format!("cannot open {}: {error}", path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(format!("another process holds {}; stop it first", path.display()));
        }
        let wal = wal_dir.map_or_else(|| member.join("wal"), Path::to_path_buf);
        Ok(Files { store: member.join("store"), wal, _lock: lock })
    }

    /// Where a file lies.
    pub fn path(&self, file: FileId) -> PathBuf {
        let folder = match file {
            FileId::Log(_) => &self.wal,
            FileId::Manifest | FileId::Tree(_) | FileId::History { .. } => &self.store,
        };
        folder.join(file.to_string())
    }

    /// The log segments that exist, rising.
    pub fn log_segments(&self) -> Result<Vec<u64>, String> {
        let refused = |error: io::Error| format!("cannot list {}: {error}", self.wal.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.wal).map_err(refused)? {
            let name = entry.map_err(refused)?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".log"));
            found.extend(stem.and_then(|stem| u64::from_str_radix(stem, 16).ok()));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Makes the directory entries durable.
    pub fn sync_dirs(&self) -> io::Result<()> {
        fs::File::open(&self.store)?.sync_all()?;
        fs::File::open(&self.wal)?.sync_all()
    }

    /// Does one request.
    pub fn run(&self, request: &IoRequest) -> IoResult {
        self.try_run(request).unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                IoResult::Failed(IoError::NoSpace)
            }
            _ => IoResult::Failed(IoError::Os(error.raw_os_error().unwrap_or(0))),
        })
    }

    fn try_run(&self, request: &IoRequest) -> io::Result<IoResult> {
        match request {
            IoRequest::Read { file, offset, len } => {
                let bytes = read_at(&self.path(*file), *offset, *len as usize)?;
                return Ok(IoResult::Read(bytes));
            }
            IoRequest::Write { file, offset, bytes } => {
                self.writable(*file)?.write_all_at(bytes, *offset)?;
            }
            IoRequest::Sync { file } => self.writable(*file)?.sync_all()?,
            IoRequest::Remove { file } => match fs::remove_file(self.path(*file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            },
            IoRequest::Clear { .. } => unreachable!("the tool replaces no store"),
            // Space given back is a courtesy: a fresh directory has none to give.
            IoRequest::Punch { .. } => {}
            IoRequest::Truncate { file, len } => self.writable(*file)?.set_len(*len)?,
            IoRequest::Prepare { .. } => unreachable!("the tool writes no log"),
        }
        Ok(IoResult::Done)
    }

    fn writable(&self, file: FileId) -> io::Result<fs::File> {
        fs::OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path(file))
    }
}

/// Does it not exist, or is it an empty directory?
fn is_free(dir: &Path) -> bool {
    match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Reads bytes; zeros past the end of the file.
fn read_at(path: &Path, offset: u64, len: usize) -> io::Result<Bytes> {
    let file = fs::File::open(path)?;
    let mut bytes = vec![0; len];
    let mut at = 0;
    while at < len {
        match file.read_at(&mut bytes[at..], offset + at as u64)? {
            0 => break,
            read => at += read,
        }
    }
    Ok(Bytes::from(bytes))
}
