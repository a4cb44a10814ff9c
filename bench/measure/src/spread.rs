//! Owns figures that were measured several times: median with range, and ratios pair by pair.
//! Invariant: a ratio compares what was measured in the same round.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Median, lowest and highest of some rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one; of an even number the average of the two in the middle.
    pub median: f64,
    /// The lowest.
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
}

impl Spread {
    /// Of figures that are there; None of none.
    pub fn of(figures: &[f64]) -> Option<Spread> {
        let mut figures = figures.to_vec();
        figures.sort_by(f64::total_cmp);
        let (lowest, highest) = (*figures.first()?, *figures.last()?);
        let half = figures.len() / 2;
        let median = match figures.len() % 2 {
            0 => (figures[half - 1] + figures[half]) / 2.0,
            _ => figures[half],
        };
        Some(Spread { median, lowest, highest })
    }

    /// Of `ours` over `theirs`, round by round; rounds where theirs is 0 are left out.
    pub fn of_ratios(ours: &[f64], theirs: &[f64]) -> Option<Spread> {
        assert_eq!(ours.len(), theirs.len());
        let pairs = ours.iter().zip(theirs).filter(|(_, theirs)| **theirs != 0.0);
        Spread::of(&pairs.map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
    }
}

impl fmt::Display for Spread {
    /// `median (lowest-highest)`, with the digits asked for or one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        let Spread { median, lowest, highest } = self;
        write!(f, "{median:.digits$} ({lowest:.digits$}-{highest:.digits$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_its_median_and_its_ends() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]).unwrap().to_string(), "2.0 (1.0-3.0)");
        let even = Spread::of(&[4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!(format!("{even:.2}"), "2.50 (1.00-4.00)");
        assert_eq!(Spread::of(&[]), None);
        let ratio = Spread::of_ratios(&[1.0, 3.0], &[2.0, 0.0]).unwrap();
        assert_eq!(ratio.to_string(), "0.5 (0.5-0.5)");
    }
}
