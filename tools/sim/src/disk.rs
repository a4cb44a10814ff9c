//! Owns the simulated disk: what reads see, what a crash may leave, and the damage done on purpose.
//! Never decides when a request is done. Invariant: what a completed sync, a completed log write
//! or a completed directory change covers survives every crash, unless damage was asked for.
//!
//! ```text
//! a block of a file:   solid | version, version, ...
//!                      |       `- written or punched, not yet synced; reads see the newest
//!                      `- survives every crash
//! ```
//! A crash leaves of each block its solid bytes, one of the versions (or of the writes in flight),
//! or a mixture of the two in pieces of 512 bytes, drawn block by block.

mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base::limits::BLOCK_BYTES;
use base::{FileId, IoRequest, IoResult, Prng, SliceId};
use bytes::Bytes;

pub use file::{Entry, File};

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// In which file.
    pub file: FileId,
    /// Number of the block in it.
    pub block: u64,
}

/// Damage that can be undone, as a repair from a healthy copy would.
#[derive(Clone, Debug)]
pub struct Damage {
    /// Where.
    pub spot: Spot,
    sound: Option<Bytes>,
    bad: Bytes,
}

/// The disk.
#[derive(Default)]
pub struct Disk {
    files: BTreeMap<FileId, File>,
    // Requests handed over and not done, with the stamp at which they came.
    in_flight: BTreeMap<u64, (u64, IoRequest)>,
    next: u64,
    stamp: u64,
}

impl Disk {
    /// Takes a request; its ticket is for [`Disk::complete`].
    pub fn begin(&mut self, request: IoRequest) -> u64 {
        self.next += 1;
        self.in_flight.insert(self.next, (self.stamp, request));
        self.next
    }

    /// What the ticket stands for.
    pub fn request(&self, ticket: u64) -> &IoRequest {
        &self.in_flight[&ticket].1
    }

    /// The request is done in full.
    pub fn complete(&mut self, ticket: u64) -> IoResult {
        let (came, request) = self.in_flight.remove(&ticket).expect("a ticket is used once");
        self.stamp += 1;
        match request {
            IoRequest::Read { file, offset, len } => {
                return IoResult::Read(match self.files.get(&file) {
                    Some(file) => file.read(offset, len as usize),
                    None => file::zeros(len as usize),
                });
            }
            IoRequest::Write { file: id, offset, bytes } => {
                let stamp = self.stamp;
                let file = self.files.entry(id).or_insert_with(File::unsynced);
                for (block, bytes) in blocks(offset, &bytes) {
                    match id {
                        FileId::Log(_) => file.put_solid(block, bytes),
                        _ => file.put(block, stamp, Some(bytes)),
                    }
                }
            }
            IoRequest::Sync { file } => {
                self.files.entry(file).or_insert_with(File::unsynced).sync(came);
            }
            IoRequest::Prepare { file, recycle, .. } => self.prepare(file, recycle),
            IoRequest::Remove { file } => drop(self.files.remove(&file)),
            IoRequest::Clear { slice } => self.clear(slice),
            IoRequest::Punch { file, offset, len } => self.cut(file, offset, Some(len)),
            IoRequest::Truncate { file, len } => self.cut(file, len, None),
        }
        IoResult::Done
    }

    /// The request fails; of a write any part may have been done.
    pub fn fail(&mut self, ticket: u64, dice: &mut Prng) {
        let (_, request) = self.in_flight.remove(&ticket).expect("a ticket is used once");
        self.stamp += 1;
        if let IoRequest::Write { file, offset, bytes } = request {
            let stamp = self.stamp;
            let file = self.files.entry(file).or_insert_with(File::unsynced);
            for (block, bytes) in blocks(offset, &bytes) {
                if dice.chance(500) {
                    file.put(block, stamp, Some(bytes));
                }
            }
        }
    }

    /// The power goes: what was not durable is drawn for, block by block.
    pub fn crash(&mut self, dice: &mut Prng) {
        for (_, request) in std::mem::take(&mut self.in_flight).into_values() {
            self.stamp += 1;
            self.half_done(request, dice);
        }
        let mut lost = Vec::new();
        for (id, file) in &mut self.files {
            if file.entry == Entry::Unsynced && dice.chance(500) {
                lost.push(*id);
            }
            file.settle(dice);
        }
        lost.iter().for_each(|id| drop(self.files.remove(id)));
    }

    fn half_done(&mut self, request: IoRequest, dice: &mut Prng) {
        let happened = dice.chance(500);
        match request {
            IoRequest::Read { .. } | IoRequest::Sync { .. } => {}
            IoRequest::Write { file, offset, bytes } => {
                let stamp = self.stamp;
                let file = self.files.entry(file).or_insert_with(File::unsynced);
                for (block, bytes) in blocks(offset, &bytes) {
                    file.put(block, stamp, Some(bytes));
                }
            }
            IoRequest::Prepare { file, recycle, .. } if happened => self.prepare(file, recycle),
            IoRequest::Remove { file } if happened => drop(self.files.remove(&file)),
            IoRequest::Clear { slice } if happened => self.clear(slice),
            IoRequest::Punch { file, offset, len } => self.cut(file, offset, Some(len)),
            IoRequest::Truncate { file, len } => self.cut(file, len, None),
            IoRequest::Prepare { .. } | IoRequest::Remove { .. } | IoRequest::Clear { .. } => {}
        }
    }

    fn clear(&mut self, slice: SliceId) {
        self.files.retain(|file, _| match file {
            FileId::Tree(owner) | FileId::History { slice: owner, .. } => *owner != slice,
            FileId::Manifest | FileId::Log(_) => true,
        });
    }

    fn prepare(&mut self, id: FileId, recycle: Option<FileId>) {
        let old = recycle.and_then(|old| self.files.remove(&old));
        let mut file = old.unwrap_or_else(File::unsynced);
        file.entry = Entry::Durable;
        self.files.insert(id, file);
    }

    fn cut(&mut self, id: FileId, offset: u64, len: Option<u64>) {
        let stamp = self.stamp;
        let Some(file) = self.files.get_mut(&id) else { return };
        let first = offset / BLOCK_BYTES as u64;
        let end = len.map_or(u64::MAX, |len| (offset + len) / BLOCK_BYTES as u64);
        for block in file.blocks_in(first, end) {
            file.put(block, stamp, None);
        }
    }

    /// The log segments in the directory, rising.
    pub fn log_segments(&self) -> Vec<u64> {
        let numbers = self.files.keys().filter_map(|file| match file {
            FileId::Log(number) => Some(*number),
            FileId::Manifest | FileId::Tree(_) | FileId::History { .. } => None,
        });
        numbers.collect()
    }

    /// Reads beside all requests, as the program does before its machines run.
    pub fn peek(&self, file: FileId, len: usize) -> Option<Bytes> {
        self.files.get(&file).map(|file| file.read(0, len))
    }

    /// Reads a part of a file beside all requests.
    pub fn look(&self, file: FileId, offset: u64, len: usize) -> Bytes {
        self.files.get(&file).map_or_else(|| file::zeros(len), |file| file.read(offset, len))
    }

    /// Every block that survives a crash now. Only sensible after one.
    pub fn solid_spots(&self) -> Vec<Spot> {
        let spots = self
            .files
            .iter()
            .flat_map(|(id, file)| file.solid_blocks().map(|block| Spot { file: *id, block }));
        spots.collect()
    }

    /// Writes in flight, as they would stand on disk.
    pub fn writes_in_flight(&self) -> Vec<(Spot, Bytes)> {
        let mut found = Vec::new();
        for (_, request) in self.in_flight.values() {
            if let IoRequest::Write { file, offset, bytes } = request {
                let each = blocks(*offset, bytes);
                found.extend(each.map(|(block, bytes)| (Spot { file: *file, block }, bytes)));
            }
        }
        found
    }

    /// A block's solid bytes.
    pub fn solid(&self, spot: Spot) -> Option<Bytes> {
        self.files.get(&spot.file)?.solid(spot.block)
    }

    /// Turns the bytes of a block into others behind everybody's back.
    pub fn damage(&mut self, spot: Spot, bad: Bytes) -> Damage {
        let file = self.files.get_mut(&spot.file).expect("there is something to damage");
        let sound = file.solid(spot.block);
        file.put_solid(spot.block, bad.clone());
        Damage { spot, sound, bad }
    }

    /// Puts back what was there, unless it has been written anew since.
    pub fn repair(&mut self, damage: &Damage) {
        let Some(file) = self.files.get_mut(&damage.spot.file) else { return };
        if file.solid(damage.spot.block).as_ref() == Some(&damage.bad) {
            file.restore(damage.spot.block, damage.sound.clone());
        }
    }
}

/// A write as blocks.
fn blocks(offset: u64, bytes: &Bytes) -> impl Iterator<Item = (u64, Bytes)> + use<> {
    assert!(offset.is_multiple_of(BLOCK_BYTES as u64));
    assert!(bytes.len().is_multiple_of(BLOCK_BYTES));
    let bytes = bytes.clone();
    (0..bytes.len() / BLOCK_BYTES).map(move |at| {
        let part = bytes.slice(at * BLOCK_BYTES..(at + 1) * BLOCK_BYTES);
        (offset / BLOCK_BYTES as u64 + at as u64, part)
    })
}
