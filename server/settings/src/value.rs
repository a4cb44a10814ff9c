//! Owns chosen values and how the text of each kind becomes one, with Go's words for what is wrong.
//! Never knows where a text came from. Invariant: a value always fits its row's kind and limits.

use std::collections::BTreeSet;

use crate::gates::Gates;
use crate::row::{Kind, Row};
use crate::span;
use crate::url::{self, Url};

/// A value of some kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a switch.
    Bool(bool),
    /// Of a text or a choice.
    Text(String),
    /// Of a number from 0, and of a size.
    Unsigned(u64),
    /// Of a number.
    Signed(i64),
    /// Of a duration, in nanoseconds.
    SpanNs(i64),
    /// Of URLs.
    Urls(Vec<Url>),
    /// Of a list or a set.
    List(Vec<String>),
    /// Of feature gates.
    Gates(Gates),
    /// Of a set of processors.
    Cpus(BTreeSet<u16>),
    /// Of an ignored flag.
    Nothing,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue {
    /// The sentence that follows `invalid value "x" for flag -y: `.
    pub why: String,
}

fn bad<T>(why: impl Into<String>) -> Result<T, BadValue> {
    Err(BadValue { why: why.into() })
}

const SYNTAX: &str = "parse error";
const RANGE: &str = "value out of range";

/// The value of `text` in this row.
pub fn parse(row: &Row, text: &str) -> Result<Value, BadValue> {
    let value = parse_kind(row, text)?;
    check_limits(row, &value)?;
    Ok(value)
}

fn parse_kind(row: &Row, text: &str) -> Result<Value, BadValue> {
    match row.kind {
        Kind::Bool => match go_bool(text) {
            Some(value) => Ok(Value::Bool(value)),
            None => bad(SYNTAX),
        },
        Kind::Text => Ok(Value::Text(text.into())),
        Kind::Unsigned => unsigned(text).map(Value::Unsigned).or_else(|e| bad(e.short())),
        Kind::Unsigned32 => match unsigned(text).and_then(fit_32_bits) {
            Ok(value) => Ok(Value::Unsigned(value)),
            Err(error) => bad(format!("strconv.ParseUint: parsing {text:?}: {}", error.long())),
        },
        Kind::Signed => signed(text).map(Value::Signed).or_else(|e| bad(e.short())),
        Kind::Span => span::parse_ns(text).map(Value::SpanNs).or_else(|_| bad(SYNTAX)),
        // An empty list of URLs leaves the default as it is, as in etcd.
        Kind::Urls if text.is_empty() => parse_default_urls(row),
        Kind::Urls => url::parse_list(text).map(Value::Urls).or_else(bad),
        Kind::Origins => origins(text).map(Value::List),
        Kind::Set => Ok(Value::List(set(text))),
        Kind::List if text.is_empty() => Ok(Value::List(Vec::new())),
        Kind::List => Ok(Value::List(text.split(',').map(String::from).collect())),
        Kind::Choice(words) if words.contains(&text) => Ok(Value::Text(text.into())),
        Kind::Choice(_) => bad("invalid value"),
        Kind::ChoiceQuoted(words) if words.contains(&text) => Ok(Value::Text(text.into())),
        Kind::ChoiceQuoted(_) => bad(format!("invalid value {text:?}")),
        Kind::Gates => Gates::parse(text).map(Value::Gates).or_else(bad),
        Kind::Bytes => bytes(text).map(Value::Unsigned),
        Kind::CpuSet => cpus(text).map(Value::Cpus),
        Kind::Ignored => Ok(Value::Nothing),
    }
}

fn parse_default_urls(row: &Row) -> Result<Value, BadValue> {
    if row.default.is_empty() {
        return Ok(Value::Urls(Vec::new()));
    }
    url::parse_list(row.default).map(Value::Urls).or_else(bad)
}

/// Refuses a number outside of its row's limits.
pub fn check_limits(row: &Row, value: &Value) -> Result<(), BadValue> {
    let number = match value {
        Value::Unsigned(number) => i64::try_from(*number).unwrap_or(i64::MAX),
        Value::Signed(number) | Value::SpanNs(number) => *number,
        Value::Bool(_) | Value::Text(_) | Value::Urls(_) | Value::List(_) => return Ok(()),
        Value::Gates(_) | Value::Cpus(_) | Value::Nothing => return Ok(()),
    };
    let (least, most) = (row.limits.least, row.limits.most);
    if least <= number && number <= most {
        return Ok(());
    }
    if row.kind == Kind::Span {
        let show = |ns: i64| base::span::text(std::time::Duration::from_nanos(ns as u64));
        return bad(format!("must be between {} and {}", show(least), show(most)));
    }
    bad(format!("must be between {least} and {most}"))
}

/// Go's spellings of true and false.
pub fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Why a number was not read.
enum BadNumber {
    Syntax,
    Range,
}

impl BadNumber {
    fn short(&self) -> &'static str {
        match self {
            BadNumber::Syntax => SYNTAX,
            BadNumber::Range => RANGE,
        }
    }

    fn long(&self) -> &'static str {
        match self {
            BadNumber::Syntax => "invalid syntax",
            BadNumber::Range => RANGE,
        }
    }
}

fn fit_32_bits(number: u64) -> Result<u64, BadNumber> {
    if number > u64::from(u32::MAX) { Err(BadNumber::Range) } else { Ok(number) }
}

fn signed(text: &str) -> Result<i64, BadNumber> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = i128::from(unsigned(digits)?);
    let number = if negative { -magnitude } else { magnitude };
    i64::try_from(number).map_err(|_| BadNumber::Range)
}

/// A number in any of Go's bases: 10, 0x1f, 0b1, 0o7, 07, with underscores between digits.
fn unsigned(text: &str) -> Result<u64, BadNumber> {
    let lower = text.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let misplaced = digits.ends_with('_') || digits.contains("__");
    if misplaced || lower.starts_with('_') || digits.is_empty() {
        return Err(BadNumber::Syntax);
    }
    let mut total: Option<u64> = Some(0);
    for digit in digits.chars().filter(|digit| *digit != '_') {
        let digit = digit.to_digit(base).ok_or(BadNumber::Syntax)?;
        let shifted = total.and_then(|n| n.checked_mul(u64::from(base)));
        total = shifted.and_then(|n| n.checked_add(u64::from(digit)));
    }
    total.ok_or(BadNumber::Range)
}

/// A sorted set of words.
fn set(text: &str) -> Vec<String> {
    let words: BTreeSet<&str> = text.split(',').collect();
    words.into_iter().map(String::from).collect()
}

/// Origins: `*`, or URLs.
fn origins(text: &str) -> Result<Vec<String>, BadValue> {
    if text == "*" {
        return Ok(vec!["*".into()]);
    }
    let urls = url::parse_list(text).or_else(bad)?;
    Ok(urls.iter().map(Url::to_string).collect())
}

/// A size such as `268435456`, `256MiB`, `1g`.
fn bytes(text: &str) -> Result<u64, BadValue> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let factor = match suffix.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "k" | "kib" => 1 << 10,
        "mb" => 1_000_000,
        "m" | "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "g" | "gib" => 1 << 30,
        "tb" => 1_000_000_000_000,
        "t" | "tib" => 1u64 << 40,
        _ => return bad("must be a size such as 256MiB"),
    };
    let Ok(number) = number.parse::<u64>() else {
        return bad("must be a size such as 256MiB");
    };
    number.checked_mul(factor).ok_or_else(|| BadValue { why: RANGE.into() })
}

/// The largest processor number.
const CPU_MAX: u16 = 4095;

/// Processor numbers: `0-3,8`.
fn cpus(text: &str) -> Result<BTreeSet<u16>, BadValue> {
    let mut set = BTreeSet::new();
    if text.is_empty() {
        return Ok(set);
    }
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
            (Ok(first), Ok(last)) if first <= last && last <= CPU_MAX => set.extend(first..=last),
            _ => return bad("must be processor numbers such as 0-3,8"),
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    fn of(name: &str, text: &str) -> Result<Value, String> {
        parse(table::known(name), text).map_err(|error| error.why)
    }

    #[test]
    fn every_default_parses_by_its_own_row() {
        for row in table::rows() {
            let is_alias = row.section == crate::row::Section::Old && row.default.is_empty();
            if !is_alias {
                assert!(parse(row, row.default).is_ok(), "{}", row.name);
            }
        }
    }

    #[test]
    fn numbers_are_read_in_every_base_of_go() {
        for (text, number) in
            [("100", 100), ("0x10", 16), ("0X1f", 31), ("1_0", 10), ("0b11", 3), ("017", 15)]
        {
            assert_eq!(of("heartbeat-interval", text), Ok(Value::Unsigned(number)), "{text}");
        }
        for text in ["", "abc", "-1", "1.5", "_1", "1_", "1__0", "0x", "08", " 1"] {
            assert_eq!(of("heartbeat-interval", text), Err(SYNTAX.into()), "{text}");
        }
        assert_eq!(of("heartbeat-interval", "99999999999999999999"), Err(RANGE.into()));
        assert_eq!(of("quota-backend-bytes", "-5"), Ok(Value::Signed(-5)));
        let min = i64::MIN.to_string();
        assert_eq!(of("quota-backend-bytes", &min), Ok(Value::Signed(i64::MIN)));
    }

    #[test]
    fn a_32_bit_number_answers_in_gos_longer_words() {
        let of = |text| of("max-concurrent-streams", text);
        assert_eq!(of("7"), Ok(Value::Unsigned(7)));
        let words = "strconv.ParseUint: parsing";
        assert_eq!(of("abc"), Err(format!("{words} \"abc\": invalid syntax")));
        assert_eq!(of("5000000000"), Err(format!("{words} \"5000000000\": value out of range")));
    }

    #[test]
    fn sizes_and_processors_have_their_own_spelling() {
        assert_eq!(of("cache-size", "64MiB"), Ok(Value::Unsigned(64 << 20)));
        assert_eq!(of("cache-size", "8000000"), Ok(Value::Unsigned(8_000_000)));
        assert!(of("cache-size", "1KiB").is_err());
        assert!(of("cache-size", "MiB").is_err());
        assert!(of("cache-size", "99999999999TiB").is_err());
        let cpus = Value::Cpus(BTreeSet::from([0, 1, 2, 8]));
        assert_eq!(of("cpu-set", "0-2,8"), Ok(cpus));
        for text in ["2-1", "a", "0,", "0-99999"] {
            assert!(of("cpu-set", text).is_err(), "{text}");
        }
        assert_eq!(
            of("checkpoint-interval", "1ms"),
            Err("must be between 100ms and 24h0m0s".into())
        );
    }

    #[test]
    fn a_set_is_sorted_and_a_list_keeps_its_order() {
        let list = |words: &[&str]| Value::List(words.iter().map(|w| w.to_string()).collect());
        assert_eq!(of("log-outputs", "stdout,a,stdout"), Ok(list(&["a", "stdout"])));
        assert_eq!(of("cipher-suites", "b,a"), Ok(list(&["b", "a"])));
        assert_eq!(of("cors", "*"), Ok(list(&["*"])));
        assert!(of("cors", "").is_err());
    }

    #[test]
    fn empty_urls_leave_the_default() {
        let empty = of("listen-client-urls", "");
        assert_eq!(empty, of("listen-client-urls", "http://localhost:2379"));
        assert_eq!(of("listen-metrics-urls", ""), Ok(Value::Urls(Vec::new())));
    }
}
