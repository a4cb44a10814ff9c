//! Owns a disk in memory: files as sparse blocks, and what each request of a machine does to them.
//! Never fails and never loses a write that it has performed. Invariant: what was never written
//! reads as zeros, as on a real disk.

use std::collections::BTreeMap;

use base::limits::BLOCK_BYTES;
use base::{FileId, IoRequest, IoResult};
use bytes::{Bytes, BytesMut};

/// All files of one data directory.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    files: BTreeMap<FileId, BTreeMap<u64, Bytes>>,
}

impl MemoryDisk {
    /// Does what a machine wants done.
    pub fn perform(&mut self, request: IoRequest) -> IoResult {
        match request {
            IoRequest::Read { file, offset, len } => {
                return IoResult::Read(self.read(file, offset, len));
            }
            IoRequest::Write { file, offset, bytes } => self.write(file, offset, &bytes),
            IoRequest::Sync { .. } => {}
            IoRequest::Prepare { file, len: _, recycle } => {
                // Renamed as it is: what an old segment holds must not be taken for a new one's.
                let old = recycle.and_then(|old| self.files.remove(&old));
                self.files.insert(file, old.unwrap_or_default());
            }
            IoRequest::Remove { file } => {
                self.files.remove(&file);
            }
            IoRequest::Clear { slice } => self.files.retain(|file, _| match file {
                FileId::Tree(owner) | FileId::History { slice: owner, .. } => *owner != slice,
                FileId::Manifest | FileId::Log(_) => true,
            }),
            IoRequest::Punch { file, offset, len } => {
                let blocks = self.files.entry(file).or_default();
                blocks.retain(|at, _| *at < offset || offset + len <= *at);
            }
            IoRequest::Truncate { file, len } => {
                self.files.entry(file).or_default().retain(|at, _| *at < len);
            }
        }
        IoResult::Done
    }

    /// Every block that was ever written.
    pub fn blocks(&self) -> Vec<(FileId, u64)> {
        let blocks = |(file, blocks): (&FileId, &BTreeMap<u64, Bytes>)| {
            blocks.keys().map(|at| (*file, *at)).collect::<Vec<_>>()
        };
        self.files.iter().flat_map(blocks).collect()
    }

    /// One of them.
    pub fn block(&self, file: FileId, at: u64) -> Bytes {
        self.read(file, at, BLOCK_BYTES as u32)
    }

    /// Numbers of the log segments, rising.
    pub fn log_segments(&self) -> Vec<u64> {
        let number = |file: &FileId| match file {
            FileId::Log(number) => Some(*number),
            FileId::Manifest | FileId::Tree(_) | FileId::History { .. } => None,
        };
        self.files.keys().filter_map(number).collect()
    }

    fn read(&self, file: FileId, offset: u64, len: u32) -> Bytes {
        let end = offset + u64::from(len);
        let mut bytes = BytesMut::zeroed(len as usize);
        for (at, block) in
            self.files.get(&file).into_iter().flat_map(|file| file.range(offset..end))
        {
            let from = (at - offset) as usize;
            bytes[from..from + block.len()].copy_from_slice(block);
        }
        bytes.freeze()
    }

    fn write(&mut self, file: FileId, offset: u64, bytes: &Bytes) {
        assert_eq!(offset % BLOCK_BYTES as u64, 0, "offsets are multiples of a block");
        assert_eq!(bytes.len() % BLOCK_BYTES, 0, "lengths are multiples of a block");
        let file = self.files.entry(file).or_default();
        for from in (0..bytes.len()).step_by(BLOCK_BYTES) {
            // A copy, so that a large write is not kept alive by one of its blocks.
            let block = Bytes::copy_from_slice(&bytes[from..from + BLOCK_BYTES]);
            file.insert(offset + from as u64, block);
        }
    }
}
