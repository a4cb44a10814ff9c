//! Owns the search for promises beyond the place where the chain of batches broke.
//! Never reads payloads and never yields data. Invariant: a header that is found sound at its own
//! place told the truth when it was written, in whichever run that was, so its promise counts.

use crate::batch::{Header, Identity};
use crate::position::{Place, Position};
use base::limits::BLOCK_BYTES;

/// What the headers beyond the break say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan {
    identity: Identity,
    /// Highest promise.
    pub promised: Position,
    /// Highest epoch.
    pub epoch: u32,
    /// Headers found.
    pub headers: u32,
}

impl Scan {
    pub(crate) fn new(identity: Identity, promised: Position, epoch: u32) -> Scan {
        Scan { identity, promised, epoch, headers: 0 }
    }

    /// Looks at every block of `bytes`, which starts at `start`.
    pub(crate) fn blocks(&mut self, start: Place, bytes: &[u8]) {
        for (number, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
            let offset = start.offset + (number * BLOCK_BYTES) as u32;
            self.block(Place { offset, ..start }, block);
        }
    }

    fn block(&mut self, place: Place, block: &[u8]) {
        let Ok((header, _)) = Header::take(block) else { return };
        if header.place == place && header.identity == self.identity {
            self.promised = self.promised.max(header.synced_through);
            self.epoch = self.epoch.max(header.epoch);
            self.headers += 1;
        }
    }
}
