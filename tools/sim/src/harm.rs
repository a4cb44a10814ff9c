//! Owns the damage done to a disk between two lives, where it can be told from a crash.
//! Never touches what a crash may have torn. Invariant: whoever reads what was damaged can know.

use base::limits::BLOCK_BYTES;
use base::{FileId, Prng};
use bytes::BytesMut;
use node::manifest::{Manifest, SLOT_BYTES};
use wal::{Geometry, Header, Position};

use crate::disk::{Damage, Disk, Spot};

/// Flips a bit of what is durable. `None` if there is nothing.
pub fn flip(disk: &mut Disk, log: Geometry, dice: &mut Prng) -> Option<Damage> {
    let spots = judgeable(disk, log);
    if spots.is_empty() {
        return None;
    }
    let spot = *dice.pick(&spots);
    let mut bytes = BytesMut::from(&disk.solid(spot).expect("it is solid")[..]);
    let at = dice.below(BLOCK_BYTES as u64) as usize;
    bytes[at] ^= 1 << dice.below(8);
    Some(disk.damage(spot, bytes.freeze()))
}

/// The manifest in force.
pub fn known(disk: &Disk) -> Option<Manifest> {
    Manifest::choose(&disk.peek(FileId::Manifest, 2 * SLOT_BYTES)?).ok()
}

/// Durable blocks whose damage cannot be taken for a torn tail: of the log, those that a later
/// header vouches for.
pub fn judgeable(disk: &Disk, log: Geometry) -> Vec<Spot> {
    let promised = promised(disk);
    let place = |spot: &Spot| match spot.file {
        FileId::Log(segment) => {
            let end = (spot.block + 1) * BLOCK_BYTES as u64;
            Position(segment * u64::from(log.segment_bytes()) + end) <= promised
        }
        FileId::Manifest | FileId::Tree(_) | FileId::History { .. } => true,
    };
    disk.solid_spots().into_iter().filter(place).collect()
}

/// The log was durable through here by its own word or the manifest's.
fn promised(disk: &Disk) -> Position {
    let mut promised = known(disk).map_or(Position::START, |known| Position(known.log_position));
    for spot in disk.solid_spots() {
        let FileId::Log(segment) = spot.file else { continue };
        let block = disk.solid(spot).expect("it is solid");
        let Ok((header, _)) = Header::take(&block) else { continue };
        let offset = u64::from(header.place.offset);
        if header.place.segment == segment && offset == spot.block * BLOCK_BYTES as u64 {
            promised = promised.max(header.synced_through);
        }
    }
    promised
}
