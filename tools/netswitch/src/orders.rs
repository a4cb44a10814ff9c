//! Owns the words in which the switch is told what its ways do, one line for each change.
//! Invariant: a line that is not understood changes nothing.

use crate::link::Shape;

/// What the switch is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The way from one place to another becomes this.
    Way {
        /// Where frames enter.
        from: usize,
        /// Where they leave.
        to: usize,
        /// What it does.
        shape: Shape,
    },
    /// All ways are perfect again.
    Heal,
}

/// Reads one line: `heal`, or `way FROM TO CUT DELAY_US JITTER_US LOSS_PPM BYTES_PER_S`.
pub fn parse(line: &str, places: usize) -> Result<Order, String> {
    let mut words = line.split_whitespace();
    match words.next() {
        Some("heal") => Ok(Order::Heal),
        Some("way") => {
            let numbers: Vec<u64> = words
                .map(|word| word.parse().map_err(|_| format!("{word:?} is no number")))
                .collect::<Result<_, _>>()?;
            let [from, to, cut, delay_us, jitter_us, loss_ppm, bytes_per_s] = numbers[..] else {
                return Err(format!("a way has 7 numbers, not {}", numbers.len()));
            };
            let (from, to) = (from as usize, to as usize);
            if places <= from || places <= to || from == to {
                return Err(format!("there is no way from {from} to {to} between {places} places"));
            }
            let shape = Shape { cut: cut != 0, delay_us, jitter_us, loss_ppm, bytes_per_s };
            Ok(Order::Way { from, to, shape })
        }
        Some(other) => Err(format!("{other:?} is no order: way or heal")),
        None => Err("an empty line".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_or_refused() {
        let shape = Shape { cut: false, delay_us: 5, jitter_us: 6, loss_ppm: 7, bytes_per_s: 8 };
        assert_eq!(parse("way 0 2 0 5 6 7 8", 3), Ok(Order::Way { from: 0, to: 2, shape }));
        assert_eq!(parse(" heal ", 3), Ok(Order::Heal));
        for wrong in ["", "way", "way 0 3 0 0 0 0 0", "way 1 1 0 0 0 0 0", "way a b 0 0 0 0 0", "x"]
        {
            assert!(parse(wrong, 3).is_err(), "{wrong}");
        }
    }
}
