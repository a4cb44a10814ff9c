//! Owns gRPC's status: the code and text that end every call, and how they are written in trailers.
//! Knows no error of etcd's. Invariant: a code has one number and one name.

use std::borrow::Cow;
use std::fmt;

/// How a call ended, with gRPC's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Code {
    /// Success.
    Ok = 0,
    /// The caller gave up.
    Canceled = 1,
    /// No better code.
    Unknown = 2,
    /// The request is wrong whatever the state.
    InvalidArgument = 3,
    /// The time ran out.
    DeadlineExceeded = 4,
    /// The thing named does not exist.
    NotFound = 5,
    /// The thing to make exists.
    AlreadyExists = 6,
    /// Known caller, not allowed.
    PermissionDenied = 7,
    /// A limit or quota was reached.
    ResourceExhausted = 8,
    /// Not in this state.
    FailedPrecondition = 9,
    /// A conflict; try the whole again.
    Aborted = 10,
    /// Past a valid range.
    OutOfRange = 11,
    /// Not served here.
    Unimplemented = 12,
    /// Broken contract between peers.
    Internal = 13,
    /// Not now; try again.
    Unavailable = 14,
    /// Data is lost or corrupt.
    DataLoss = 15,
    /// Caller not known.
    Unauthenticated = 16,
}

impl Code {
    /// Every code, by number.
    pub const ALL: [Code; 17] = [
        Code::Ok,
        Code::Canceled,
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
        Code::Unauthenticated,
    ];

    /// The number as the `grpc-status` trailer carries it.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The number in decimal, without formatting at run time.
    pub fn digits(self) -> &'static str {
        const DIGITS: [&str; 17] = [
            "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15",
            "16",
        ];
        DIGITS[usize::from(self.number())]
    }

    /// The name as Go's clients and logs print it, also the `grpc_code` label of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Code::Ok => "OK",
            Code::Canceled => "Canceled",
            Code::Unknown => "Unknown",
            Code::InvalidArgument => "InvalidArgument",
            Code::DeadlineExceeded => "DeadlineExceeded",
            Code::NotFound => "NotFound",
            Code::AlreadyExists => "AlreadyExists",
            Code::PermissionDenied => "PermissionDenied",
            Code::ResourceExhausted => "ResourceExhausted",
            Code::FailedPrecondition => "FailedPrecondition",
            Code::Aborted => "Aborted",
            Code::OutOfRange => "OutOfRange",
            Code::Unimplemented => "Unimplemented",
            Code::Internal => "Internal",
            Code::Unavailable => "Unavailable",
            Code::DataLoss => "DataLoss",
            Code::Unauthenticated => "Unauthenticated",
        }
    }
}

/// How a call ended: a code and what to tell the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The code.
    pub code: Code,
    /// The text, not yet percent-encoded. Empty for [`Code::Ok`].
    pub message: Cow<'static, str>,
}

impl Status {
    /// Success.
    pub const OK: Status = Status { code: Code::Ok, message: Cow::Borrowed("") };

    /// A status with its text.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Status {
        Status { code, message: message.into() }
    }
}

/// As Go prints an error of a call; etcd puts this text into watch replies.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rpc error: code = {} desc = {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Status {}

/// The text as the `grpc-message` trailer carries it: printable ASCII stays, `%` and every other
/// byte become `%XX` (gRPC over HTTP/2, "Percent-Encoded").
pub fn percent_encode(text: &str) -> Cow<'_, str> {
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    Cow::Owned(out)
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'%'
}

/// The reverse of [`percent_encode`], for clients. A `%` without two hex digits stays as it is;
/// bytes that are not UTF-8 become replacement characters.
pub fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |offset: usize| {
            let digit = char::from(*bytes.get(at + offset)?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        match (bytes[at], hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            (byte, _, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_carry_their_own_number() {
        for (number, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(number, usize::from(code.number()));
            assert_eq!(number.to_string(), code.digits());
        }
    }

    #[test]
    fn a_message_survives_its_trailer() {
        for text in ["", "plain text", "100% sure", "a\nb\t\u{7f}", "grüße €", "%41"] {
            let encoded = percent_encode(text);
            assert!(encoded.bytes().all(|b| (b' '..=b'~').contains(&b)), "{encoded}");
            assert_eq!(percent_decode(&encoded), text);
        }
        assert_eq!(percent_encode("50%\n"), "50%25%0A");
        assert_eq!(percent_decode("%zz%4"), "%zz%4");
    }
}
