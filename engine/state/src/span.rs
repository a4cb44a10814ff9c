//! Owns what etcd means by a key and a range end: one key, a half-open range, or everything from
//! a key on. Never looks at a store.
//! Invariant: a span that ends at or before its start contains nothing.

use std::ops::Bound;

use bytes::Bytes;

/// A set of neighbouring keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    /// Exactly this key.
    Key(Bytes),
    /// From `start`, included, to `end`, excluded.
    Between {
        /// First key.
        start: Bytes,
        /// First key after the span.
        end: Bytes,
    },
    /// From this key on, without end.
    From(Bytes),
}

impl Span {
    /// Reads a request's `key` and `range_end`: empty means the key alone, one zero byte means
    /// every key from it on.
    pub fn of(key: &Bytes, range_end: &Bytes) -> Span {
        match range_end.as_ref() {
            [] => Span::Key(key.clone()),
            [0] => Span::From(key.clone()),
            _ => Span::Between { start: key.clone(), end: range_end.clone() },
        }
    }

    /// The first key that could be inside.
    pub fn start(&self) -> &Bytes {
        match self {
            Span::Key(start) | Span::From(start) | Span::Between { start, .. } => start,
        }
    }

    /// The same span as `[start, end)`, where `None` is without end. A single key ends at its
    /// direct successor, itself with a zero byte appended.
    pub fn bounds(&self) -> (Bytes, Option<Bytes>) {
        match self {
            Span::From(start) => (start.clone(), None),
            Span::Between { start, end } => (start.clone(), Some(end.clone())),
            Span::Key(key) => {
                let mut end = Vec::with_capacity(key.len() + 1);
                end.extend_from_slice(key);
                end.push(0);
                (key.clone(), Some(Bytes::from(end)))
            }
        }
    }

    /// Whether the key is inside.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Span::Key(only) => only.as_ref() == key,
            Span::From(start) => start.as_ref() <= key,
            Span::Between { start, end } => start.as_ref() <= key && key < end.as_ref(),
        }
    }

    /// The end as a bound, for ordered structures.
    pub fn end_bound(&self) -> Bound<&[u8]> {
        match self {
            Span::Key(key) => Bound::Included(key.as_ref()),
            Span::From(_) => Bound::Unbounded,
            Span::Between { end, .. } => Bound::Excluded(end.as_ref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn an_empty_end_is_one_key_and_a_zero_end_is_all_that_follow() {
        assert_eq!(Span::of(&bytes("a"), &bytes("")), Span::Key(bytes("a")));
        assert_eq!(Span::of(&bytes("a"), &bytes("\0")), Span::From(bytes("a")));
        assert!(Span::of(&bytes("\0"), &bytes("\0")).contains(b"\0"));
        assert!(!Span::of(&bytes("b"), &bytes("b")).contains(b"b"));
        assert!(!Span::of(&bytes("b"), &bytes("a")).contains(b"a"));
    }

    #[test]
    fn bounds_say_the_same_as_contains() {
        let keys = ["a", "a\0", "a\0\0", "aa", "b", "c"];
        for (key, end) in [("a", ""), ("a", "b"), ("a", "\0"), ("b", "a"), ("a\0", "")] {
            let span = Span::of(&bytes(key), &bytes(end));
            let (start, stop) = span.bounds();
            for probe in keys.map(bytes) {
                let inside = start <= probe && stop.as_ref().is_none_or(|stop| probe < *stop);
                assert_eq!(span.contains(&probe), inside, "{span:?} {probe:?}");
            }
        }
    }
}
