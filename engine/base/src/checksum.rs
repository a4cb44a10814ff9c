//! Owns the checksum of everything we put on disk: CRC-32 (IEEE, hardware-folded by crc32fast).
//! Invariant: the same bytes in the same pieces or in one piece give the same sum.

/// A running checksum.
#[derive(Clone, Default)]
pub struct Checksum(crc32fast::Hasher);

impl Checksum {
    /// Starts at nothing.
    pub fn new() -> Checksum {
        Checksum::default()
    }

    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) -> &mut Checksum {
        self.0.update(bytes);
        self
    }

    /// The sum of what was added.
    pub fn sum(&self) -> u32 {
        self.0.clone().finalize()
    }
}

/// The checksum of one piece.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}
