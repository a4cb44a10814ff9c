//! Owns the values of fields, and how JSON spells them.
//! Never holds a secret: what must not be read is `Hidden` before it gets here.
//! Invariant: whatever goes in, valid JSON comes out.

use std::fmt::Write as _;
use std::time::Duration;

/// Longest text of one field; the rest is cut, because a line must fit the queue.
pub const TEXT_BYTES_MAX: usize = 8 << 10;

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number below 0, or any other.
    Signed(i64),
    /// A number from 0.
    Unsigned(u64),
    /// A number with decimals.
    Float(f64),
    /// A truth.
    Bool(bool),
    /// A span of time, written as Go does.
    Span(Duration),
    /// Several texts.
    List(Vec<String>),
}

/// Stands where a secret would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden;

macro_rules! value_from {
    ($($from:ty => $make:expr),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Value {
                let make: fn($from) -> Value = $make;
                make(value)
            }
        }
    )*};
}

value_from! {
    &str => |text| Value::Text(text.into()),
    String => Value::Text,
    &String => |text| Value::Text(text.clone()),
    std::borrow::Cow<'_, str> => |text| Value::Text(text.into_owned()),
    i32 => |number| Value::Signed(i64::from(number)),
    i64 => Value::Signed,
    u8 => |number| Value::Unsigned(u64::from(number)),
    u16 => |number| Value::Unsigned(u64::from(number)),
    u32 => |number| Value::Unsigned(u64::from(number)),
    u64 => Value::Unsigned,
    usize => |number| Value::Unsigned(number as u64),
    f64 => Value::Float,
    bool => Value::Bool,
    Duration => Value::Span,
    Vec<String> => Value::List,
    &[String] => |list| Value::List(list.to_vec()),
    Hidden => |_| Value::Text("<hidden>".into()),
}

impl Value {
    /// Appends the value as JSON.
    pub(crate) fn put_json(&self, to: &mut String) {
        match self {
            Value::Text(text) => put_text(to, text),
            Value::Signed(number) => put(to, number),
            Value::Unsigned(number) => put(to, number),
            Value::Float(number) if number.is_finite() => put(to, number),
            Value::Float(number) => put_text(to, &number.to_string()),
            Value::Bool(truth) => put(to, truth),
            Value::Span(span) => put_text(to, &base::span::text(*span)),
            Value::List(list) => {
                to.push('[');
                for (at, text) in list.iter().enumerate() {
                    if at > 0 {
                        to.push(',');
                    }
                    put_text(to, text);
                }
                to.push(']');
            }
        }
    }
}

fn put(to: &mut String, value: impl std::fmt::Display) {
    write!(to, "{value}").unwrap_or_else(|_| unreachable!("a string takes every text"));
}

/// Appends a text in quotes, cut where it is too long.
pub(crate) fn put_text(to: &mut String, text: &str) {
    let (kept, cut) = match text.len() > TEXT_BYTES_MAX {
        true => (&text[..text.floor_char_boundary(TEXT_BYTES_MAX)], "...(cut)"),
        false => (text, ""),
    };
    to.push('"');
    for letter in kept.chars() {
        match letter {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            control if control < ' ' => {
                put(to, format_args!("\\u{:04x}", u32::from(control)));
            }
            other => to.push(other),
        }
    }
    to.push_str(cut);
    to.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: impl Into<Value>) -> String {
        let mut text = String::new();
        value.into().put_json(&mut text);
        text
    }

    #[test]
    fn every_kind_is_written_as_json() {
        assert_eq!(json("a\"b\\\n\u{1}é"), "\"a\\\"b\\\\\\n\\u0001é\"");
        assert_eq!(json(-5i64), "-5");
        assert_eq!(json(7usize), "7");
        assert_eq!(json(1.5), "1.5");
        assert_eq!(json(f64::NAN), "\"NaN\"");
        assert_eq!(json(true), "true");
        assert_eq!(json(Duration::from_millis(1500)), "\"1.5s\"");
        assert_eq!(json(vec!["a".to_string(), "b".into()]), "[\"a\",\"b\"]");
        assert_eq!(json(Hidden), "\"<hidden>\"");
    }

    #[test]
    fn a_long_text_is_cut_at_a_letter() {
        let text = json("é".repeat(TEXT_BYTES_MAX));
        assert!(text.len() <= TEXT_BYTES_MAX + 10, "{}", text.len());
        assert!(text.ends_with("é...(cut)\""));
    }
}
