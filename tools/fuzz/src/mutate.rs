//! Owns the making of hostile bytes: a valid sample in, something like it out, or noise.
//! Never looks at a format. Invariant: the same dice give the same bytes.

use base::Prng;

/// Numbers that lengths and counts are often wrong by.
const EDGES: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
/// Changes made to one sample.
const CHANGES_MAX: u64 = 4;
/// Bytes of pure noise.
const NOISE_BYTES_MAX: u64 = 200;

/// A few changes to the sample; one time in ten noise instead, one time in twenty nothing.
pub fn mutate(dice: &mut Prng, sample: &[u8]) -> Vec<u8> {
    match dice.below(20) {
        0 => return sample.to_vec(),
        1 | 2 => {
            let mut noise = vec![0; dice.below(NOISE_BYTES_MAX) as usize];
            dice.fill(&mut noise);
            return noise;
        }
        _ => {}
    }
    let mut bytes = sample.to_vec();
    for _ in 0..1 + dice.below(CHANGES_MAX) {
        change(dice, &mut bytes);
    }
    bytes
}

fn change(dice: &mut Prng, bytes: &mut Vec<u8>) {
    let at = dice.below(bytes.len() as u64 + 1) as usize;
    match dice.below(7) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, dice.next_u64() as u8),
        2 => {
            let end = (at + dice.below(8) as usize).min(bytes.len());
            bytes.drain(at..end);
        }
        3 => {
            let piece = bytes[at..(at + dice.below(64) as usize).min(bytes.len())].to_vec();
            let to = dice.below(bytes.len() as u64 + 1) as usize;
            bytes.splice(to..to, piece);
        }
        4 => {
            let edge = dice.pick(&EDGES).to_le_bytes();
            let width = 1 << dice.below(4);
            let end = (at + width).min(bytes.len());
            bytes[at..end].copy_from_slice(&edge[..end - at]);
        }
        5 => bytes.extend_from_slice(&dice.next_u64().to_be_bytes()),
        _ if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        _ => {}
    }
}
