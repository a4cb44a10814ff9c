//! Owns the open files of one executor.
//! Never reads or writes. Invariant: at most one handle per file is kept, at most
//! [`OPEN_FILES_MAX`] in all; a closed one is opened again when it is needed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use base::{FileId, IoError, SliceId};
use glommio::io::{DmaFile, OpenOptions};
use glommio::sync::Semaphore;

use crate::data_dir::DataDir;

/// Handles kept open by one executor.
const OPEN_FILES_MAX: usize = 256;

pub(crate) struct Files {
    dir: Arc<DataDir>,
    open: RefCell<BTreeMap<FileId, (u64, Rc<DmaFile>)>>,
    clock: Cell<u64>,
    // Two tasks that want the same closed file must not open it twice.
    door: Semaphore,
}

impl Files {
    pub(crate) fn new(dir: Arc<DataDir>) -> Files {
        Files {
            dir,
            open: RefCell::new(BTreeMap::new()),
            clock: Cell::new(0),
            door: Semaphore::new(1),
        }
    }

    pub(crate) fn dir(&self) -> &DataDir {
        &self.dir
    }

    /// The file, opened for direct reads and writes; made if it is missing.
    pub(crate) async fn get(&self, file: FileId) -> Result<Rc<DmaFile>, IoError> {
        if let Some(handle) = self.kept(file) {
            return Ok(handle);
        }
        let _permit = self.door.acquire_permit(1).await.map_err(|error| os_error(&error))?;
        if let Some(handle) = self.kept(file) {
            return Ok(handle);
        }
        self.make_room().await;
        let handle = Rc::new(open(&self.dir.path(file), durability(file)).await?);
        self.open.borrow_mut().insert(file, (self.tick(), handle.clone()));
        Ok(handle)
    }

    /// Forgets the file; it is closed when the last user is done.
    pub(crate) async fn close(&self, file: FileId) {
        let handle = self.open.borrow_mut().remove(&file);
        if let Some((_, handle)) = handle {
            // Whoever still reads holds a reference; a removed file needs no more than that.
            let _ = handle.close_rc().await;
        }
    }

    /// Forgets all files of a slice.
    pub(crate) async fn close_slice(&self, slice: SliceId) {
        let of_slice = |file: &FileId| match file {
            FileId::Tree(owner) | FileId::History { slice: owner, .. } => *owner == slice,
            FileId::Manifest | FileId::Log(_) => false,
        };
        let open: Vec<FileId> =
            self.open.borrow().keys().copied().filter(|file| of_slice(file)).collect();
        for file in open {
            self.close(file).await;
        }
    }

    fn kept(&self, file: FileId) -> Option<Rc<DmaFile>> {
        let now = self.tick();
        let mut open = self.open.borrow_mut();
        let (used, handle) = open.get_mut(&file)?;
        *used = now;
        Some(handle.clone())
    }

    async fn make_room(&self) {
        while self.open.borrow().len() >= OPEN_FILES_MAX {
            let oldest = {
                let open = self.open.borrow();
                open.iter().min_by_key(|(_, (used, _))| *used).map(|(file, _)| *file)
            };
            match oldest {
                Some(file) => self.close(file).await,
                None => return,
            }
        }
    }

    fn tick(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }
}

/// How a completed write of the file is to be understood.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Durable when it completes.
    EachWrite,
    /// Durable after the next sync.
    AtSync,
}

fn durability(file: FileId) -> Durability {
    match file {
        FileId::Log(_) => Durability::EachWrite,
        FileId::Manifest | FileId::Tree(_) | FileId::History { .. } => Durability::AtSync,
    }
}

pub(crate) async fn open(path: &Path, durability: Durability) -> Result<DmaFile, IoError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    if durability == Durability::EachWrite {
        options.custom_flags(libc::O_DSYNC);
    }
    options.dma_open(path).await.map_err(|error| os_error(&error))
}

/// Opens one file write-only before any other. glommio probes a device for polling with a read of
/// the first file it opens there; on a write-only file that probe fails and polling stays off.
/// With polling on, a lone `O_DSYNC` write is noticed only at the next timer tick, 4 ms later.
pub(crate) async fn turn_polling_off(path: &Path) -> Result<(), IoError> {
    let file = DmaFile::create(path).await.map_err(|error| os_error(&error))?;
    file.close().await.map_err(|error| os_error(&error))
}

pub(crate) fn os_error<T>(error: &glommio::GlommioError<T>) -> IoError {
    let code = match error {
        glommio::GlommioError::IoError(error) => error.raw_os_error(),
        glommio::GlommioError::EnhancedIoError { source, .. } => source.raw_os_error(),
        _ => None,
    };
    code.map_or(IoError::Os(libc::EIO), from_code)
}

pub(crate) fn from_code(code: i32) -> IoError {
    match code {
        libc::ENOSPC | libc::EDQUOT => IoError::NoSpace,
        code => IoError::Os(code),
    }
}
