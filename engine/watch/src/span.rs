//! Owns what a watch covers: one key, a half-open range, or everything from a key on.
//! Invariant: a span is never empty, and its bytes are its own, not a slice of some request.

use std::cmp::Ordering;
use std::sync::Arc;

/// A set of neighbouring keys. Cheap to clone; 24 bytes and one shared allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first key, and behind it the end if there is one.
    bytes: Arc<[u8]>,
    start_len: u32,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Key,
    Between,
    From,
}

/// A range whose end is not above its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmptySpan;

impl Span {
    /// Reads a watch's `key` and `range_end`: an empty key is one zero byte, an empty end means
    /// the key alone, an end of one zero byte means every key from it on.
    pub fn of(key: &[u8], range_end: &[u8]) -> Result<Span, EmptySpan> {
        let key = if key.is_empty() { &[0] } else { key };
        let (shape, end) = match range_end {
            [] => (Shape::Key, range_end),
            [0] => (Shape::From, &[][..]),
            end if key < end => (Shape::Between, end),
            _ => return Err(EmptySpan),
        };
        let start_len = u32::try_from(key.len()).expect("requests are far below 4 GiB");
        let bytes = match end {
            [] => Arc::from(key),
            end => [key, end].concat().into(),
        };
        Ok(Span { bytes, start_len, shape })
    }

    /// The first key that could be inside.
    pub fn start(&self) -> &[u8] {
        &self.bytes[..self.start_len as usize]
    }

    /// The only key, if there is only one.
    pub fn only(&self) -> Option<&[u8]> {
        match self.shape {
            Shape::Key => Some(self.start()),
            Shape::Between | Shape::From => None,
        }
    }

    /// The first key after a range; `None` if it has no end or is a single key.
    pub fn end(&self) -> Option<&[u8]> {
        match self.shape {
            Shape::Between => Some(&self.bytes[self.start_len as usize..]),
            Shape::Key | Shape::From => None,
        }
    }

    /// Whether the key is inside.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self.shape {
            Shape::Key => self.start() == key,
            Shape::Between | Shape::From => self.start() <= key && self.ends_after(key),
        }
    }

    /// Whether a range ends above `key`.
    pub(crate) fn ends_after(&self, key: &[u8]) -> bool {
        assert!(self.shape != Shape::Key);
        self.end().is_none_or(|end| key < end)
    }

    /// Orders the ends of ranges; no end is above every end.
    pub(crate) fn cmp_end(&self, other: &Span) -> Ordering {
        match (self.end(), other.end()) {
            (Some(ours), Some(theirs)) => ours.cmp(theirs),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }

    /// Orders ranges by start, then by end.
    pub(crate) fn cmp_range(&self, other: &Span) -> Ordering {
        self.start().cmp(other.start()).then_with(|| self.cmp_end(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_what_the_request_means() {
        let span = |key: &[u8], end: &[u8]| Span::of(key, end).unwrap();
        assert!(span(b"a", b"").contains(b"a"));
        assert!(!span(b"a", b"").contains(b"aa"));
        assert!(span(b"a", b"c").contains(b"bz"));
        assert!(!span(b"a", b"c").contains(b"c"));
        assert!(span(b"b", b"\0").contains(b"zz"));
        assert!(!span(b"b", b"\0").contains(b"a"));
        assert!(span(b"", b"\0").contains(b"\0"));
        assert!(span(b"", b"").contains(b"\0"));
        assert!(!span(b"", b"").contains(b"a"));
    }

    #[test]
    fn a_range_that_ends_at_or_before_its_start_is_refused() {
        assert_eq!(Span::of(b"b", b"b"), Err(EmptySpan));
        assert_eq!(Span::of(b"b", b"a"), Err(EmptySpan));
        assert_eq!(Span::of(b"\x01", b"\0\0"), Err(EmptySpan));
        assert!(Span::of(b"\0", b"\0").is_ok());
    }

    #[test]
    fn a_span_is_small() {
        assert!(std::mem::size_of::<Span>() <= 24);
    }
}
