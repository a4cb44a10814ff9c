//! Owns what the paths are fed with: keys and values of the sizes that budgets speak of.
//! Invariant: the same in every run.

use base::{Prng, Rev, Version};
use bytes::Bytes;
use wire::encode::{Header, KeyValue};

/// Bytes of a key.
pub const KEY_BYTES: usize = 16;
/// Bytes of a value.
pub const VALUE_BYTES: usize = 256;
/// Seed of everything that is drawn.
const SEED: u64 = 1;

/// Key number `number`; neighbours in number are not neighbours in order.
pub fn key(number: u64) -> Bytes {
    let mut key = vec![0; KEY_BYTES];
    Prng::from_seed(number).fill(&mut key);
    Bytes::from(key)
}

/// Keys number 0 to `count`.
pub fn keys(count: u64) -> Vec<Bytes> {
    (0..count).map(key).collect()
}

/// A value that does not compress.
pub fn value() -> Bytes {
    let mut value = vec![0; VALUE_BYTES];
    dice().fill(&mut value);
    Bytes::from(value)
}

/// Dice.
pub fn dice() -> Prng {
    Prng::from_seed(SEED)
}

/// Counts up without end, and begins again at the first of `count`.
pub fn ring(count: usize) -> impl FnMut() -> usize {
    let mut at = 0;
    move || {
        at = (at + 1) % count;
        at
    }
}

/// A key's metadata after its first put at `main`.
pub fn version(main: i64) -> Version {
    Version { create: main, modified: Rev::new(main, 0), version: 1, lease: 0 }
}

/// The header of a reply, its numbers as long as in a real cluster.
pub fn header() -> Header {
    Header {
        cluster_id: 0x0cdf_8181_94e3_a8ed,
        member_id: 0x8e9e_05c5_2164_694d,
        revision: 1_234_567,
        raft_term: 7,
    }
}

/// A pair of a reply.
pub fn pair<'a>(key: &'a [u8], value: &'a [u8]) -> KeyValue<'a> {
    KeyValue { key, create: 1_000_000, modified: 1_234_567, version: 9, value, lease: 0 }
}
