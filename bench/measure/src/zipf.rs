//! Owns the choice of ranks by Zipf's law: rank `k` of `1..=n` with a weight of `1 / k^s`.
//! Rejection-inversion (W. Hörmann and G. Derflinger, "Rejection-inversion to generate variates
//! from monotone discrete distributions", 1996): constant memory and time whatever `n` is.
//! Invariant: ranks are within `1..=n`.

use base::Prng;

/// The exponent that YCSB made usual.
pub const EXPONENT_USUAL: f64 = 0.99;

/// A Zipf distribution over `1..=n`.
#[derive(Clone, Debug)]
pub struct Zipf {
    n: u64,
    exponent: f64,
    integral_first: f64,
    integral_last: f64,
    shortcut: f64,
}

impl Zipf {
    /// `n` must be at least 1 and `exponent` above 0.
    pub fn new(n: u64, exponent: f64) -> Zipf {
        assert!(0 < n);
        assert!(0.0 < exponent && exponent.is_finite());
        let mut zipf = Zipf { n, exponent, integral_first: 0.0, integral_last: 0.0, shortcut: 0.0 };
        zipf.integral_first = zipf.integral(1.5) - 1.0;
        zipf.integral_last = zipf.integral(n as f64 + 0.5);
        zipf.shortcut = 2.0 - zipf.integral_inverse(zipf.integral(2.5) - zipf.weight(2.0));
        zipf
    }

    /// The next rank.
    pub fn draw(&self, dice: &mut Prng) -> u64 {
        loop {
            let unit = unit(dice);
            let u = self.integral_last + unit * (self.integral_first - self.integral_last);
            let x = self.integral_inverse(u);
            let rank = ((x + 0.5) as u64).clamp(1, self.n);
            let near = rank as f64 - x <= self.shortcut;
            if near || self.integral(rank as f64 + 0.5) - self.weight(rank as f64) <= u {
                return rank;
            }
        }
    }

    /// The weight of `x`, continued to real numbers.
    fn weight(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// Its integral from 1 to `x`.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        exp_minus_one_over((1.0 - self.exponent) * log) * log
    }

    fn integral_inverse(&self, area: f64) -> f64 {
        // Rounding may lead just below the smallest value that has a logarithm.
        let t = (area * (1.0 - self.exponent)).max(-1.0);
        (log_one_plus_over(t) * area).exp()
    }
}

/// A number in `0.0..1.0`, of 53 random bits.
pub(crate) fn unit(dice: &mut Prng) -> f64 {
    (dice.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// `(e^x - 1) / x`, also near 0.
fn exp_minus_one_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.exp_m1() / x } else { 1.0 + x / 2.0 * (1.0 + x / 3.0) }
}

/// `ln(1 + x) / x`, also near 0.
fn log_one_plus_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.ln_1p() / x } else { 1.0 - x * (0.5 - x / 3.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dumb twin: weights summed up.
    fn share(n: u64, exponent: f64, rank: u64) -> f64 {
        let weight = |k: u64| (k as f64).powf(-exponent);
        weight(rank) / (1..=n).map(weight).sum::<f64>()
    }

    #[test]
    fn ranks_come_as_often_as_their_weight_says() {
        const DRAWS: u64 = 200_000;
        for (n, exponent) in [(10, 0.99), (1000, 0.99), (100, 1.0), (50, 2.0), (1000, 0.3)] {
            let (zipf, mut dice) = (Zipf::new(n, exponent), Prng::from_seed(7));
            let mut counts = vec![0u64; n as usize + 1];
            for _ in 0..DRAWS {
                counts[zipf.draw(&mut dice) as usize] += 1;
            }
            assert_eq!(counts[0], 0);
            for rank in 1..=n.min(20) {
                let wanted = share(n, exponent, rank) * DRAWS as f64;
                let off = (counts[rank as usize] as f64 - wanted).abs();
                // Five standard deviations of a binomial draw.
                assert!(off < 5.0 * wanted.sqrt() + 5.0, "{n} {exponent} {rank}: {off}");
            }
        }
    }

    #[test]
    fn one_rank_is_no_choice_and_a_billion_stay_in_range() {
        let mut dice = Prng::from_seed(1);
        assert!((0..100).all(|_| Zipf::new(1, 0.99).draw(&mut dice) == 1));
        let wide = Zipf::new(1_000_000_000, 0.99);
        assert!((0..10_000).all(|_| (1..=1_000_000_000).contains(&wide.draw(&mut dice))));
    }
}
