//! A disk that finishes requests in any order, keeps unsynced writes apart, and loses or tears
//! them when power goes.

use std::collections::BTreeMap;

use base::{FileId, IoError, IoRequest, IoResult, OpId, Prng};
use bytes::Bytes;

struct Unsynced {
    file: FileId,
    offset: u64,
    bytes: Bytes,
    /// Number of the write; a sync covers those that were done when it was asked for.
    number: u64,
}

#[derive(Default)]
pub(crate) struct Disk {
    pub files: BTreeMap<FileId, Vec<u8>>,
    unsynced: Vec<Unsynced>,
    writes: u64,
    inflight: Vec<(OpId, IoRequest, u64)>,
    /// A read that takes very long, and when it may end.
    held: Option<(OpId, IoRequest, u64)>,
    finished: u64,
    /// Per mille of reads that are held, one at a time.
    pub hold: u64,
    /// Per mille of writes that find no room.
    pub no_space: u64,
}

fn fold(offset: u64) -> usize {
    // The directories' areas lie far apart; keep the fake's files small.
    let half = base::limits::HISTORY_DIRECTORY_BYTES_MAX;
    (if offset < half { offset } else { offset - half + (1 << 20) }) as usize
}

fn put(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let at = fold(offset);
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

impl Disk {
    pub fn submit(&mut self, op: OpId, request: IoRequest) {
        self.inflight.push((op, request, self.writes));
    }

    pub fn is_idle(&self) -> bool {
        self.inflight.is_empty() && self.held.is_none()
    }

    /// Finishes one request, drawn from all.
    pub fn finish_one(&mut self, dice: &mut Prng) -> Option<(OpId, IoResult)> {
        self.finished += 1;
        let is_over = |held: &(OpId, IoRequest, u64)| held.2 < self.finished;
        if self.inflight.is_empty() || self.held.as_ref().is_some_and(is_over) {
            let (op, request, _) = self.held.take()?;
            return Some((op, self.run(request, 0)));
        }
        let at = dice.below(self.inflight.len() as u64) as usize;
        let (op, request, asked) = self.inflight.swap_remove(at);
        let is_read = matches!(request, IoRequest::Read { .. });
        if is_read && self.held.is_none() && dice.chance(self.hold) {
            self.held = Some((op, request, self.finished + dice.below(1500)));
            return self.finish_one(dice);
        }
        let is_write = matches!(request, IoRequest::Write { .. });
        if is_write && dice.chance(self.no_space) {
            return Some((op, IoResult::Failed(IoError::NoSpace)));
        }
        Some((op, self.run(request, asked)))
    }

    fn run(&mut self, request: IoRequest, asked: u64) -> IoResult {
        match request {
            IoRequest::Read { file, offset, len } => {
                return IoResult::Read(self.read(file, offset, len as usize));
            }
            IoRequest::Write { file, offset, bytes } => {
                assert_eq!((offset % 4096, bytes.len() % 4096), (0, 0));
                self.writes += 1;
                let number = self.writes;
                self.unsynced.push(Unsynced { file, offset, bytes, number });
            }
            IoRequest::Sync { file } => {
                let (covered, rest) = std::mem::take(&mut self.unsynced)
                    .into_iter()
                    .partition(|write| write.file == file && write.number <= asked);
                self.unsynced = rest;
                let covered: Vec<Unsynced> = covered;
                for write in covered {
                    put(self.files.entry(file).or_default(), write.offset, &write.bytes);
                }
            }
            IoRequest::Remove { file } => {
                self.files.remove(&file);
                self.unsynced.retain(|write| write.file != file);
            }
            IoRequest::Clear { .. } => unreachable!("a slice does not clear itself"),
            IoRequest::Punch { file, offset, len } => {
                self.settle(file);
                let bytes = vec![0; len as usize];
                put(self.files.entry(file).or_default(), offset, &bytes);
            }
            IoRequest::Truncate { file, len } => {
                self.settle(file);
                self.files.entry(file).or_default().truncate(len as usize);
            }
            IoRequest::Prepare { .. } => unreachable!("slices have no log"),
        }
        IoResult::Done
    }

    fn settle(&mut self, file: FileId) {
        let mut whole = self.whole(file);
        std::mem::swap(self.files.entry(file).or_default(), &mut whole);
        self.unsynced.retain(|write| write.file != file);
    }

    fn whole(&self, file: FileId) -> Vec<u8> {
        let mut whole = self.files.get(&file).cloned().unwrap_or_default();
        for write in self.unsynced.iter().filter(|write| write.file == file) {
            put(&mut whole, write.offset, &write.bytes);
        }
        whole
    }

    fn read(&self, file: FileId, offset: u64, len: usize) -> Bytes {
        assert_eq!((offset % 4096, len % 4096), (0, 0));
        let from = fold(offset);
        let mut bytes = vec![0; len];
        let mut lay = |at: usize, piece: &[u8]| {
            let (low, high) = (at.max(from), (at + piece.len()).min(from + len));
            if low < high {
                bytes[low - from..high - from].copy_from_slice(&piece[low - at..high - at]);
            }
        };
        if let Some(durable) = self.files.get(&file) {
            lay(0, durable);
        }
        for write in self.unsynced.iter().filter(|write| write.file == file) {
            lay(fold(write.offset), &write.bytes);
        }
        Bytes::from(bytes)
    }

    /// Power goes: what was not synced, done or not, is there whole, in part or not at all.
    pub fn crash(&mut self, dice: &mut Prng) {
        self.held = None;
        for (_, request, _) in std::mem::take(&mut self.inflight) {
            if let IoRequest::Write { file, offset, bytes } = request {
                self.unsynced.push(Unsynced { file, offset, bytes, number: 0 });
            }
        }
        for write in std::mem::take(&mut self.unsynced) {
            let kept = match dice.below(3) {
                0 => 0,
                1 => 512 * dice.below(write.bytes.len() as u64 / 512) as usize,
                _ => write.bytes.len(),
            };
            let file = self.files.entry(write.file).or_default();
            put(file, write.offset, &write.bytes[..kept]);
        }
    }
}
