//! Owns the running of disk requests on one executor.
//! Never decides, retries or repairs. Invariant: a request's result is pushed exactly once, after
//! the kernel has answered for all of it.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use base::limits::BLOCK_BYTES;
use base::{FileId, IoError, IoRequest, IoResult};
use bytes::Bytes;
use glommio::io::DmaFile;
use rustix::fs::{FallocateFlags, fallocate};

use crate::data_dir::DataDir;
use crate::files::{Durability, Files, from_code, open, os_error, turn_polling_off};

/// Largest single read handed to the kernel: larger ones have hung on some kernels when they were
/// bigger than the device's own limit.
const READ_PIECE_BYTES: usize = 512 << 10;
/// Largest single write.
const WRITE_PIECE_BYTES: usize = 1 << 20;
/// The zeros written at once while a log segment is prepared. Whoever commits meanwhile waits for
/// one such piece: with 1 MiB a put took 1 ms instead of 0.1 ms until the segment was full.
const ZERO_PIECE_BYTES: usize = 128 << 10;

const _: () = assert!(ZERO_PIECE_BYTES.is_multiple_of(BLOCK_BYTES));

/// Runs requests and collects their results under tags of type `T`.
pub struct Disk<T> {
    files: Rc<Files>,
    done: Rc<RefCell<Vec<(T, IoResult)>>>,
    wake: Rc<dyn Fn()>,
}

impl<T: 'static> Disk<T> {
    /// A runner on the current executor. `wake` is called whenever a result has arrived.
    pub async fn start(dir: Arc<DataDir>, wake: Rc<dyn Fn()>) -> Result<Disk<T>, IoError> {
        turn_polling_off(&dir.path(FileId::Manifest).with_extension("probe")).await?;
        Ok(Disk { files: Rc::new(Files::new(dir)), done: Rc::default(), wake })
    }

    /// Begins a request; its result will appear in [`Disk::take_done`].
    pub fn submit(&self, tag: T, request: IoRequest) {
        let files = self.files.clone();
        let done = self.done.clone();
        let wake = self.wake.clone();
        glommio::spawn_local(async move {
            let result = run(&files, request).await.unwrap_or_else(IoResult::Failed);
            done.borrow_mut().push((tag, result));
            wake();
        })
        .detach();
    }

    /// The results that have arrived since the last call.
    pub fn take_done(&self) -> Vec<(T, IoResult)> {
        std::mem::take(&mut *self.done.borrow_mut())
    }
}

async fn run(files: &Files, request: IoRequest) -> Result<IoResult, IoError> {
    match request {
        IoRequest::Read { file, offset, len } => {
            let handle = files.get(file).await?;
            return read(&handle, offset, len as usize).await.map(IoResult::Read);
        }
        IoRequest::Write { file, offset, bytes } => {
            let handle = files.get(file).await?;
            write(&handle, offset, &bytes).await?;
        }
        IoRequest::Sync { file } => {
            let handle = files.get(file).await?;
            handle.fdatasync().await.map_err(|error| os_error(&error))?;
            sync_parent(&files.dir().path(file)).await?;
        }
        IoRequest::Prepare { file, len, recycle } => prepare(files, file, len, recycle).await?,
        IoRequest::Remove { file } => {
            files.close(file).await;
            let path = files.dir().path(file);
            blocking(move || match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => sync_dir(&path),
            })
            .await?;
        }
        IoRequest::Clear { slice } => {
            files.close_slice(slice).await;
            let tree = files.dir().path(FileId::Tree(slice));
            let history = format!("{:04x}-", slice.0);
            blocking(move || remove_slice(&tree, &history)).await?;
        }
        IoRequest::Punch { file, offset, len } => {
            let path = files.dir().path(file);
            blocking(move || {
                let handle = fs::OpenOptions::new().write(true).open(path)?;
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                Ok(fallocate(&handle, flags, offset, len)?)
            })
            .await?;
        }
        IoRequest::Truncate { file, len } => {
            let path = files.dir().path(file);
            blocking(move || fs::OpenOptions::new().write(true).open(path)?.set_len(len)).await?;
        }
    }
    Ok(IoResult::Done)
}

/// Removes the tree and every file beside it whose name begins as the slice's history does.
fn remove_slice(tree: &Path, history: &str) -> io::Result<()> {
    let folder = tree.parent().expect("files of slices lie in a folder");
    let mut found = vec![tree.to_path_buf()];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(history) {
            found.push(entry.path());
        }
    }
    for path in found {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    sync_dir(tree)
}

async fn read(handle: &DmaFile, offset: u64, len: usize) -> Result<Bytes, IoError> {
    assert_eq!(offset % BLOCK_BYTES as u64, 0);
    let mut got = Vec::with_capacity(len);
    while got.len() < len {
        let want = (len - got.len()).min(READ_PIECE_BYTES);
        let piece = handle
            .read_at_aligned(offset + got.len() as u64, want)
            .await
            .map_err(|error| os_error(&error))?;
        if piece.is_empty() {
            // Past the end of the file: zeros, as the contract says.
            got.resize(len, 0);
        } else {
            got.extend_from_slice(&piece[..piece.len().min(want)]);
        }
    }
    Ok(Bytes::from(got))
}

async fn write(handle: &DmaFile, offset: u64, bytes: &[u8]) -> Result<(), IoError> {
    assert_eq!(offset % BLOCK_BYTES as u64, 0);
    assert_eq!(bytes.len() % BLOCK_BYTES, 0);
    let mut at = 0;
    while at < bytes.len() {
        let piece = &bytes[at..(at + WRITE_PIECE_BYTES).min(bytes.len())];
        let mut buffer = handle.alloc_dma_buffer(piece.len());
        buffer.as_bytes_mut().copy_from_slice(piece);
        let wrote =
            handle.write_at(buffer, offset + at as u64).await.map_err(|error| os_error(&error))?;
        // A short write on a regular file means that the device ran out or failed midway: the rest
        // tells which. The caller must not take part of a batch for the whole.
        at += whole_blocks(wrote)?;
    }
    Ok(())
}

/// Makes a log segment of durable zeros under its final name.
async fn prepare(
    files: &Files,
    file: FileId,
    len: u64,
    recycle: Option<FileId>,
) -> Result<(), IoError> {
    let path = files.dir().path(file);
    if let Some(old) = recycle {
        files.close(old).await;
        let from = files.dir().path(old);
        if fs::metadata(&from).is_ok_and(|found| found.len() == len) {
            return blocking(move || {
                fs::rename(&from, &path)?;
                sync_dir(&path)
            })
            .await;
        }
    }
    let temporary = temporary(&path);
    zero_fill(&temporary, len).await?;
    blocking(move || {
        fs::rename(&temporary, &path)?;
        sync_dir(&path)
    })
    .await
}

/// Writes the zeros in small pieces out of one buffer, and rests after each for as long as it took:
/// the device belongs to the log's own writes at least half of the time.
async fn zero_fill(path: &Path, len: u64) -> Result<(), IoError> {
    let handle = open(path, Durability::AtSync).await?;
    let mut zeros = handle.alloc_dma_buffer(ZERO_PIECE_BYTES);
    zeros.as_bytes_mut().fill(0);
    let zeros = Rc::new(zeros);
    let mut at = 0;
    while at + ZERO_PIECE_BYTES as u64 <= len {
        let begun = Instant::now();
        let wrote = handle.write_rc_at(zeros.clone(), at).await;
        at += whole_blocks(wrote.map_err(|error| os_error(&error))?)? as u64;
        glommio::timer::sleep(begun.elapsed()).await;
    }
    let rest = usize::try_from(len - at).expect("less than a piece");
    write(&handle, at, &zeros.as_bytes()[..rest]).await?;
    handle.fdatasync().await.map_err(|error| os_error(&error))?;
    handle.close().await.map_err(|error| os_error(&error))
}

/// How far a write came; an error if that cannot be gone on from.
fn whole_blocks(wrote: usize) -> Result<usize, IoError> {
    match 0 < wrote && wrote.is_multiple_of(BLOCK_BYTES) {
        true => Ok(wrote),
        false => Err(IoError::Os(libc::EIO)),
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

async fn sync_parent(path: &Path) -> Result<(), IoError> {
    let path = path.to_path_buf();
    blocking(move || sync_dir(&path)).await
}

fn sync_dir(path: &Path) -> io::Result<()> {
    let parent = path.parent().expect("every data file lies in a directory");
    fs::File::open(parent)?.sync_all()
}

/// Runs a blocking call on the executor's helper thread.
async fn blocking(call: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<(), IoError> {
    glommio::executor()
        .spawn_blocking(call)
        .await
        .map_err(|error| from_code(error.raw_os_error().unwrap_or(libc::EIO)))
}
