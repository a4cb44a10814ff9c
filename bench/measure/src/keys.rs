//! Owns keys and values: which key a request takes, and the bytes of both.
//! Invariant: number `n` of a key space is the same key in every run, and no two numbers below the
//! space's size share one.
//!
//! The bytes are those of etcd's `benchmark`: the number as a varint in front of a row of zeros.
//!
//! ```text
//!  prefix | number, zigzag varint | 0 0 0 0 0 0 ...   up to the key size; the prefix comes on top
//! ```

use base::Prng;
use bytes::{BufMut, Bytes, BytesMut};

use crate::zipf::Zipf;

/// The longest varint.
const VARINT_BYTES_MAX: usize = 10;

/// In which order keys are taken.
#[derive(Clone, Debug)]
pub enum KeyOrder {
    /// One after the other, by the request's number.
    Sequential,
    /// Each as likely as any other.
    Uniform,
    /// By Zipf's law; which keys are the favourites is scattered over the space.
    Zipf(Zipf),
}

/// The keys of a workload.
#[derive(Clone, Debug)]
pub struct KeySpace {
    /// How many keys there are, at least 1.
    pub size: u64,
    /// Bytes of a key, without the prefix.
    pub key_bytes: usize,
    /// In front of every key.
    pub prefix: Bytes,
    /// Which comes next.
    pub order: KeyOrder,
}

impl KeySpace {
    /// The number of the key that request `turn` takes, below `size`.
    pub fn choose(&self, turn: u64, dice: &mut Prng) -> u64 {
        match &self.order {
            KeyOrder::Sequential => turn % self.size,
            KeyOrder::Uniform => dice.below(self.size),
            KeyOrder::Zipf(zipf) => scatter(zipf.draw(dice)) % self.size,
        }
    }

    /// Key `number`. A key size that cannot hold the number grows to what it needs.
    pub fn key(&self, number: u64) -> Bytes {
        let mut key = BytesMut::with_capacity(self.prefix.len() + self.key_bytes.max(10));
        key.put_slice(&self.prefix);
        let mut rest = u128::from(number) << 1;
        let mut put = 0;
        while put < VARINT_BYTES_MAX {
            let low = (rest & 0x7f) as u8;
            rest >>= 7;
            put += 1;
            if rest == 0 {
                key.put_u8(low);
                break;
            }
            key.put_u8(low | 0x80);
        }
        key.put_bytes(0, self.key_bytes.saturating_sub(put));
        key.freeze()
    }
}

/// Spreads neighbours over all 64 bits (the finish of splitmix64).
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The values of a workload: slices of one row of random bytes, so that making one costs nothing
/// and a compressing disk gains nothing.
#[derive(Clone, Debug)]
pub struct Values {
    pool: Bytes,
    value_bytes: usize,
}

/// How many random bytes there are beyond one value.
const POOL_BYTES: usize = 64 << 10;

impl Values {
    /// Values of so many bytes each.
    pub fn new(value_bytes: usize, seed: u64) -> Values {
        let mut pool = vec![0; value_bytes + POOL_BYTES];
        Prng::from_seed(seed).fill(&mut pool);
        Values { pool: Bytes::from(pool), value_bytes }
    }

    /// One of them.
    pub fn draw(&self, dice: &mut Prng) -> Bytes {
        let at = dice.below(POOL_BYTES as u64) as usize;
        self.pool.slice(at..at + self.value_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn space(size: u64, order: KeyOrder) -> KeySpace {
        KeySpace { size, key_bytes: 8, prefix: Bytes::new(), order }
    }

    #[test]
    fn keys_are_those_of_etcds_benchmark() {
        // binary.PutVarint of 0, 1, 63, 64 and 300, in front of zeros.
        let keys = space(1000, KeyOrder::Sequential);
        assert_eq!(&keys.key(0)[..], [0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&keys.key(1)[..], [2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&keys.key(63)[..], [126, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&keys.key(64)[..], [128, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&keys.key(300)[..], [216, 4, 0, 0, 0, 0, 0, 0]);
        let named = KeySpace { prefix: Bytes::from_static(b"a/"), key_bytes: 1, ..keys };
        assert_eq!(&named.key(300)[..], [b'a', b'/', 216, 4]);
    }

    #[test]
    fn every_number_has_a_key_of_its_own() {
        let keys = space(100_000, KeyOrder::Uniform);
        let all: BTreeSet<Bytes> = (0..keys.size).map(|number| keys.key(number)).collect();
        assert_eq!(all.len(), 100_000);
        assert!(all.iter().all(|key| key.len() == 8));
    }

    #[test]
    fn orders_choose_within_the_space_and_replay() {
        let zipf = KeyOrder::Zipf(Zipf::new(50, 0.99));
        for order in [KeyOrder::Sequential, KeyOrder::Uniform, zipf] {
            let keys = space(50, order);
            let (mut one, mut other) = (Prng::from_seed(3), Prng::from_seed(3));
            for turn in 0..1000 {
                let number = keys.choose(turn, &mut one);
                assert!(number < 50);
                assert_eq!(number, keys.choose(turn, &mut other));
            }
        }
        let sequential = space(50, KeyOrder::Sequential);
        assert_eq!(sequential.choose(51, &mut Prng::from_seed(0)), 1);
    }

    #[test]
    fn values_have_their_size_and_differ() {
        let (values, mut dice) = (Values::new(256, 9), Prng::from_seed(1));
        let (one, other) = (values.draw(&mut dice), values.draw(&mut dice));
        assert_eq!((one.len(), other.len()), (256, 256));
        assert_ne!(one, other);
        assert_eq!(Values::new(0, 9).draw(&mut dice).len(), 0);
    }
}
