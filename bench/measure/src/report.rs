//! Owns how outcomes read, and how a time is written. One file per form.

pub mod etcd;
pub mod html;
pub mod perfdash;
mod svg;
pub mod table;

/// A time with three digits and its unit.
pub fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "us"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    match value {
        value if value < 10.0 && unit != "ns" => format!("{value:.2} {unit}"),
        value if value < 100.0 && unit != "ns" => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

/// A number with its thousands apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_counts_can_be_read() {
        let times = [0.0, 12.0, 1234.0, 56_789.0, 999_000.0, 1.5e6, 2e9, 300e9];
        let texts = times.map(time);
        let wanted =
            ["0 ns", "12 ns", "1.23 us", "56.8 us", "999 us", "1.50 ms", "2.00 s", "300 s"];
        assert_eq!(texts, wanted);
        assert_eq!([1, 999, 1000, 1_234_567].map(count), ["1", "999", "1,000", "1,234,567"]);
    }
}
