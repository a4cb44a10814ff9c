//! Owns the fingerprint of a run: two runs of a seed that differ anywhere differ in it.
//! Invariant: everything that crosses between machines, disk and clients is mixed in, in order.

/// The fingerprint so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace(u64);

impl Trace {
    /// Of nothing.
    pub fn new() -> Trace {
        Trace(0xcbf2_9ce4_8422_2325)
    }

    /// Mixes a number in.
    pub fn note(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 29;
    }

    /// Mixes bytes in.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.note(bytes.len() as u64);
        self.note(u64::from(base::checksum::checksum(bytes)));
    }

    /// The number to compare.
    pub fn value(self) -> u64 {
        self.0
    }
}

impl Default for Trace {
    fn default() -> Trace {
        Trace::new()
    }
}
