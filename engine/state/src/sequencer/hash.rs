//! Owns the state hash: one number for all that the sequencer computes. Reads everything, so it is
//! for tests, scrubbing and comparing members, not for the path of a request.
//! Invariant: equal states have equal hashes, however they came about.

use super::Sequencer;

/// FNV-1a, 64 bits (Fowler, Noll, Vo): slow and simple, and the same forever, so that members of
/// different versions can compare.
struct Fnv(u64);

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn number(&mut self, number: i64) {
        self.add(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as i64);
        self.add(bytes);
    }
}

impl Sequencer {
    /// One number for the replicated state: revisions, live keys with their metadata, leases,
    /// alarms, members, cluster version. O(keys).
    pub fn state_hash(&self) -> u64 {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        hash.number(self.store.revision);
        hash.number(self.store.compacted);
        hash.number(self.store.head.len() as i64);
        for slot in self.store.head.iter() {
            let version = self.store.head.version(slot);
            hash.bytes(self.store.head.key(slot));
            hash.number(version.create);
            hash.number(version.modified.main);
            hash.number(i64::from(version.modified.sub));
            hash.number(version.version);
            hash.number(version.lease);
        }
        // Leases, alarms, members and version are what they are in the meta slice; which keys are
        // attached was said by the keys.
        for fact in self.all_meta() {
            hash.bytes(&fact.key);
            hash.bytes(&fact.value.unwrap_or_default());
        }
        hash.0
    }
}
