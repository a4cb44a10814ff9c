//! Owns the joining of CRC-32C sums (Castagnoli, as etcd hashes its store): the sum of two runs of
//! bytes from the sums of each.
//! Never looks at the bytes. Invariant: joining in any grouping gives the sum of the whole.
//!
//! A run's sum is the remainder of a polynomial over GF(2). Putting `n` bytes behind the run
//! multiplies it by x^(8n), so a join is one multiplication and one addition. Bit 31 stands for
//! x^0.

/// The polynomial without its highest term, lowest power in the highest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;
const ONE: u32 = 1 << 31;

/// The sum of a run of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// CRC-32C.
    pub sum: u32,
    /// Bytes summed.
    pub len: u64,
}

impl Run {
    /// The sum of these bytes.
    pub fn of(bytes: &[u8]) -> Run {
        Run { sum: crc32c::crc32c(bytes), len: bytes.len() as u64 }
    }

    /// Adds bytes behind the run.
    pub fn add(&mut self, bytes: &[u8]) {
        self.sum = crc32c::crc32c_append(self.sum, bytes);
        self.len += bytes.len() as u64;
    }
}

/// Joins runs.
#[derive(Clone, Debug)]
pub struct Joiner {
    /// x^(8 * 2^n).
    powers: [u32; 64],
}

impl Joiner {
    /// With its table of powers.
    pub fn new() -> Joiner {
        let mut power = ONE >> 8;
        let powers = std::array::from_fn(|_| {
            let this = power;
            power = times(power, power);
            this
        });
        Joiner { powers }
    }

    /// The run of `left` with `right` behind it.
    pub fn join(&self, left: Run, right: Run) -> Run {
        let mut sum = left.sum;
        for (bit, power) in self.powers.iter().enumerate() {
            if right.len >> bit & 1 == 1 {
                sum = times(sum, *power);
            }
        }
        Run { sum: sum ^ right.sum, len: left.len + right.len }
    }
}

/// The product of two remainders.
fn times(left: u32, mut right: u32) -> u32 {
    let mut product = 0;
    for bit in (0..32).rev() {
        if left >> bit & 1 == 1 {
            product ^= right;
        }
        let carry = if right & 1 == 1 { POLYNOMIAL } else { 0 };
        right = right >> 1 ^ carry;
    }
    product
}

#[cfg(test)]
mod tests {
    use base::Prng;

    use super::*;

    #[test]
    fn joined_runs_have_the_sum_of_the_whole() {
        let mut dice = Prng::from_seed(31);
        let joiner = Joiner::new();
        for _ in 0..300 {
            let mut bytes = vec![0; dice.below(3000) as usize];
            dice.fill(&mut bytes);
            let mut joined = Run::default();
            let mut at = 0;
            while at < bytes.len() {
                let end = (at + dice.below(700) as usize).min(bytes.len());
                joined = joiner.join(joined, Run::of(&bytes[at..end]));
                at = end;
            }
            assert_eq!(joined, Run::of(&bytes));
        }
    }

    #[test]
    fn a_long_run_shifts_as_many_bytes() {
        let joiner = Joiner::new();
        let zeros = vec![0; 1 << 20];
        let mut whole = Run::of(b"left");
        whole.add(&zeros);
        assert_eq!(joiner.join(Run::of(b"left"), Run::of(&zeros)), whole);
    }
}
