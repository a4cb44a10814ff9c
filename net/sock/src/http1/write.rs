//! Owns the bytes of HTTP/1.1 answers. Knows no socket. Invariant: the framing told in the head is
//! the framing of the body.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};

use super::After;
use super::head::{Head, Version};

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// By its length, which may be told although no body follows (`HEAD`).
    Length,
    /// By an empty chunk.
    Chunked,
    /// By the end of the connection (HTTP/1.0).
    UntilClose,
}

/// Writes status and fields; may change what comes after the answer.
pub(super) fn head(
    to: &mut Vec<u8>,
    status: StatusCode,
    headers: &HeaderMap,
    length: Option<u64>,
    request: &mut Head,
) -> Framing {
    let reason = status.canonical_reason().unwrap_or("Unknown");
    put(to, format_args!("HTTP/1.1 {} {reason}\r\n", status.as_u16()));
    for (name, value) in headers {
        if [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(name) {
            continue;
        }
        put_name(to, name.as_str());
        to.extend_from_slice(b": ");
        to.extend_from_slice(value.as_bytes());
        to.extend_from_slice(b"\r\n");
    }
    if !headers.contains_key(DATE) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        put(to, format_args!("Date: {}\r\n", http_date(now)));
    }
    let has_body = !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED;
    let framing = match (length, request.version) {
        (_, _) if !has_body => Framing::Length,
        (Some(length), _) => {
            put(to, format_args!("Content-Length: {length}\r\n"));
            Framing::Length
        }
        (None, Version::Http11) => {
            to.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            Framing::Chunked
        }
        (None, Version::Http10) => {
            request.after = After::Close;
            Framing::UntilClose
        }
    };
    match (request.after, request.version) {
        (After::Close, _) => to.extend_from_slice(b"Connection: close\r\n"),
        (After::Keep, Version::Http10) => to.extend_from_slice(b"Connection: keep-alive\r\n"),
        (After::Keep, Version::Http11) => {}
    }
    to.extend_from_slice(b"\r\n");
    framing
}

/// Writes a piece of the body, which is not empty.
pub(super) fn body(to: &mut Vec<u8>, bytes: &[u8], framing: Framing) {
    assert!(!bytes.is_empty());
    match framing {
        Framing::Length | Framing::UntilClose => to.extend_from_slice(bytes),
        Framing::Chunked => {
            put(to, format_args!("{:x}\r\n", bytes.len()));
            to.extend_from_slice(bytes);
            to.extend_from_slice(b"\r\n");
        }
    }
}

/// Ends the body.
pub(super) fn end(to: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length | Framing::UntilClose => {}
        Framing::Chunked => to.extend_from_slice(b"0\r\n\r\n"),
    }
}

fn put(to: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    to.write_fmt(text).expect("memory takes everything");
}

/// A field name as Go writes it: each word with a capital.
fn put_name(to: &mut Vec<u8>, name: &str) {
    let mut is_first = true;
    for byte in name.bytes() {
        to.push(if is_first { byte.to_ascii_uppercase() } else { byte });
        is_first = byte == b'-';
    }
}

/// A date as RFC 9110, 5.6.7 wants it. Civil date from days by the era method.
fn http_date(unix_s: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    // Count from 1 March of year 0, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(http_date(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 GMT");
        assert_eq!(http_date(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
    }

    #[test]
    fn names_are_written_with_capitals() {
        let mut out = Vec::new();
        put_name(&mut out, "x-content-type-options");
        assert_eq!(out, b"X-Content-Type-Options");
    }
}
