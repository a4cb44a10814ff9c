//! Owns reading of durations as Go's programs take them: `1h30m`, `1.5s`, `-2m`, `0`.
//! Never prints one (that is `base::span`). Invariant: what fits 63 bits of nanoseconds is read
//! exactly, anything else is an error with Go's text.

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds of the text, or the sentence that Go's parser answers.
pub fn parse_ns(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (part_ns, after) = parse_part(text, rest)?;
        total = total.checked_add(part_ns).filter(|ns| *ns <= 1 << 63).ok_or_else(invalid)?;
        rest = after;
    }
    if negative {
        // The most negative number has no positive twin: go through the wrapping bits.
        return Ok((total as i64).wrapping_neg());
    }
    i64::try_from(total).map_err(|_| invalid())
}

/// One number with its unit, and what follows.
fn parse_part<'a>(whole: &str, text: &'a str) -> Result<(u64, &'a str), String> {
    let invalid = || format!("time: invalid duration {whole:?}");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (integer, mut rest) = text.split_at(digits);
    let mut fraction = "";
    if let Some(after) = rest.strip_prefix('.') {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        (fraction, rest) = after.split_at(digits);
    }
    if integer.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let unit_end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    if unit.is_empty() {
        return Err(format!("time: missing unit in duration {whole:?}"));
    }
    let Some((_, unit_ns)) = UNITS.iter().find(|(word, _)| *word == unit) else {
        return Err(format!("time: unknown unit {unit:?} in duration {whole:?}"));
    };
    let integer: u64 =
        if integer.is_empty() { 0 } else { integer.parse().map_err(|_| invalid())? };
    let whole_ns = integer.checked_mul(*unit_ns).ok_or_else(invalid)?;
    let ns = whole_ns.checked_add(fraction_ns(fraction, *unit_ns)).ok_or_else(invalid)?;
    Ok((ns, rest))
}

/// The decimals of a unit, cut to whole nanoseconds.
fn fraction_ns(digits: &str, unit_ns: u64) -> u64 {
    let mut scale = u128::from(unit_ns);
    let mut total = 0u128;
    // Each digit is worth a tenth of the one before it; 18 of them exceed any unit's nanoseconds.
    let mut divisor = 1u128;
    for digit in digits.bytes().take(18) {
        divisor *= 10;
        total = total * 10 + u128::from(digit - b'0');
    }
    scale *= total;
    u64::try_from(scale / divisor).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let table = [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("-1.5h", -5_400_000_000_000),
            ("1h5m.5s", 3_900_500_000_000),
            ("100ms", 100_000_000),
            ("1.000000001s", 1_000_000_001),
            ("3us", 3_000),
            ("3µs", 3_000),
            (".1ns", 0),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ];
        for (text, ns) in table {
            assert_eq!(parse_ns(text), Ok(ns), "{text}");
        }
    }

    #[test]
    fn a_bad_duration_is_answered_with_gos_sentence() {
        let table = [
            ("", "time: invalid duration \"\""),
            ("zz", "time: invalid duration \"zz\""),
            ("-", "time: invalid duration \"-\""),
            (".s", "time: invalid duration \".s\""),
            ("5", "time: missing unit in duration \"5\""),
            ("-1", "time: missing unit in duration \"-1\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            ("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""),
            ("9999999h", "time: invalid duration \"9999999h\""),
        ];
        for (text, error) in table {
            assert_eq!(parse_ns(text), Err(error.to_string()));
        }
    }
}
