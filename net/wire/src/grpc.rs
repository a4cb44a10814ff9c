//! Owns gRPC's framing of messages: the five-byte prefix, its limits, the encoding of messages, and
//! the call timeout.
//! Never touches a stream. Invariant: a message larger than the limit is refused when its prefix is
//! seen, before any of it is kept; one that inflates beyond it, when it passes the limit.
//!
//! ```text
//!  0      1                    5                 5 + length
//!  +------+--------------------+------------------+
//!  | flag | length, big-endian | one message      |   flag 0: as it is, 1: in the call's encoding
//!  +------+--------------------+------------------+
//! ```

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use crate::gzip;
use crate::status::{Code, Status};

/// Bytes before every message.
pub const PREFIX_BYTES: usize = 5;

/// The flag of a message that comes as it is.
pub const FLAG_PLAIN: u8 = 0;
/// The flag of a message in the encoding that its call named.
pub const FLAG_PACKED: u8 = 1;

/// What `grpc-encoding` says of the messages of one call. Each message may still come as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Identity,
    /// Packed; see [`gzip`].
    Gzip,
}

/// Cuts a byte stream into messages. A message that arrives within one chunk, as it is, is handed
/// out without copying it.
#[derive(Debug)]
pub struct Decoder {
    message_bytes_max: u32,
    encoding: Encoding,
    /// Not yet looked at.
    rest: Bytes,
    /// The beginning of one message, prefix included, that spans chunks.
    partial: BytesMut,
}

impl Decoder {
    /// A decoder that refuses messages above `message_bytes_max`, as they are sent and as they are
    /// meant.
    pub fn new(message_bytes_max: u32, encoding: Encoding) -> Decoder {
        Decoder { message_bytes_max, encoding, rest: Bytes::new(), partial: BytesMut::new() }
    }

    /// Takes the next bytes of the stream. Callers drain [`Decoder::next_message`] after each push;
    /// what they leave is kept and joined.
    pub fn push(&mut self, chunk: Bytes) {
        if self.rest.is_empty() {
            self.rest = chunk;
        } else {
            let mut joined = BytesMut::with_capacity(self.rest.len() + chunk.len());
            joined.put_slice(&self.rest);
            joined.put_slice(&chunk);
            self.rest = joined.freeze();
        }
    }

    /// The next whole message, if it has arrived. After an error the stream is of no further use,
    /// and every call answers the same error.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, Status> {
        if self.partial.is_empty() {
            let Some(length) = self.length_of(&self.rest)? else {
                self.partial.put_slice(&self.rest);
                self.rest.clear();
                return Ok(None);
            };
            if let Some(end) = PREFIX_BYTES.checked_add(length).filter(|&e| e <= self.rest.len()) {
                let framed = self.rest.split_to(end);
                return self.unpack(framed).map(Some);
            }
        }
        self.gather()
    }

    /// Says whether the stream may end here: not inside a message.
    pub fn finish(&self) -> Result<(), Status> {
        match self.partial.is_empty() && self.rest.is_empty() {
            true => Ok(()),
            false => Err(Status::new(Code::Internal, "unexpected EOF")),
        }
    }

    /// Bytes held for messages that are not complete.
    pub fn buffered(&self) -> usize {
        self.partial.len() + self.rest.len()
    }

    fn gather(&mut self) -> Result<Option<Bytes>, Status> {
        self.take(PREFIX_BYTES);
        let Some(length) = self.length_of(&self.partial)? else { return Ok(None) };
        self.take(PREFIX_BYTES + length);
        if self.partial.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        let framed = self.partial.split().freeze();
        self.unpack(framed).map(Some)
    }

    /// The message behind its prefix, which `length_of` has checked.
    fn unpack(&mut self, mut framed: Bytes) -> Result<Bytes, Status> {
        let flag = framed[0];
        framed.advance(PREFIX_BYTES);
        if flag == FLAG_PLAIN {
            return Ok(framed);
        }
        assert_eq!((flag, self.encoding), (FLAG_PACKED, Encoding::Gzip));
        gzip::inflate(&framed, self.message_bytes_max)
    }

    /// Moves bytes to the partial message until it has `len`, as far as they are there. Grows with
    /// what arrives and not with what the prefix announces, which costs the sender nothing.
    fn take(&mut self, len: usize) {
        let missing = len.saturating_sub(self.partial.len()).min(self.rest.len());
        self.partial.put_slice(&self.rest[..missing]);
        self.rest.advance(missing);
    }

    /// The length in the prefix, if the prefix is there, checked.
    fn length_of(&self, bytes: &[u8]) -> Result<Option<usize>, Status> {
        let Some((prefix, _)) = bytes.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let [flag, a, b, c, d] = *prefix;
        match (flag, self.encoding) {
            (FLAG_PLAIN, _) | (FLAG_PACKED, Encoding::Gzip) => {}
            (FLAG_PACKED, Encoding::Identity) => {
                let text = "grpc: compressed flag set with identity or empty encoding";
                return Err(Status::new(Code::Internal, text));
            }
            (flag, _) => {
                let text = format!("grpc: received unexpected payload format {flag}");
                return Err(Status::new(Code::Internal, text));
            }
        }
        let length = u32::from_be_bytes([a, b, c, d]);
        if length > self.message_bytes_max {
            let max = self.message_bytes_max;
            let text = format!("grpc: received message larger than max ({length} vs. {max})");
            return Err(Status::new(Code::ResourceExhausted, text));
        }
        Ok(Some(length as usize))
    }
}

/// Writes the prefix of a message of `length` bytes, which must fit 32 bits.
pub fn put_prefix(to: &mut BytesMut, length: usize) {
    to.put_u8(0);
    to.put_u32(u32::try_from(length).expect("gRPC messages are below 4 GiB"));
}

/// Appends one message with its prefix.
pub fn put_message(to: &mut BytesMut, message: &impl Message) {
    let length = message.encoded_len();
    to.reserve(PREFIX_BYTES + length);
    put_prefix(to, length);
    message.encode_raw(to);
}

/// One message with its prefix, in an allocation of its own.
pub fn frame(message: &impl Message) -> Bytes {
    let mut out = BytesMut::new();
    put_message(&mut out, message);
    out.freeze()
}

/// One message without a prefix.
pub fn encode(message: &impl Message) -> Bytes {
    Bytes::from(message.encode_to_vec())
}

/// What `grpc-accept-encoding` says to a client whose encoding is not known here.
pub const ENCODINGS: &str = "identity,gzip";

/// Reads the `grpc-encoding` header of a call. Names are told apart by case, as grpc-go does.
pub fn parse_encoding(encoding: &str) -> Result<Encoding, Status> {
    match encoding {
        "" | "identity" => Ok(Encoding::Identity),
        gzip::NAME => Ok(Encoding::Gzip),
        other => {
            let text = format!("grpc: Decompressor is not installed for grpc-encoding {other:?}");
            Err(Status::new(Code::Unimplemented, text))
        }
    }
}

/// Decodes the request of a call. The text is what unary handlers of etcd answer to garbage.
pub fn decode<M: Message + Default>(bytes: Bytes) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| {
        let text = format!("grpc: error unmarshalling request: {error}");
        Status::new(Code::Internal, text)
    })
}

/// Reads the `grpc-timeout` header: one to eight digits and a unit out of `HMSmun`.
pub fn parse_timeout(text: &str) -> Result<Duration, Status> {
    let malformed = |why: &str| {
        let text = format!("malformed grpc-timeout: transport: timeout {why}: {text:?}");
        Status::new(Code::Internal, text)
    };
    if text.len() < 2 {
        return Err(malformed("string is too short"));
    }
    if text.len() > 9 {
        return Err(malformed("string is too long"));
    }
    let (digits, unit) = match text.split_at_checked(text.len() - 1) {
        Some(split) => split,
        None => return Err(malformed("unit is not recognized")),
    };
    let span: fn(u64) -> Duration = match unit {
        "H" => |n| Duration::from_secs(n * 3600),
        "M" => |n| Duration::from_secs(n * 60),
        "S" => Duration::from_secs,
        "m" => Duration::from_millis,
        "u" => Duration::from_micros,
        "n" => Duration::from_nanos,
        _ => return Err(malformed("unit is not recognized")),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(malformed("is not a number"));
    }
    // Eight digits at most, so neither the number nor its hours overflow.
    Ok(span(digits.parse().map_err(|_| malformed("is not a number"))?))
}

#[cfg(test)]
mod tests;
