//! Owns the frame headers of one connection's input: which frame ended, on which stream. h2 reads
//! the same bytes; this tells what h2 does not say (pings, resets) and which streams to look at.
//! Never looks into a payload. Invariant: a frame is reported once, when its last byte is seen.
//!
//! ```text
//!  0            3      4       5                 9
//!  +------------+------+-------+-----------------+-----------+
//!  | length, be | kind | flags | R | stream, be  | payload   |
//!  +------------+------+-------+-----------------+-----------+
//! ```

use crate::limits::DATA_BYTES_MAX;

/// Bytes of a frame header.
pub(crate) const HEADER_BYTES: usize = 9;

/// END_STREAM of DATA and HEADERS, ACK of SETTINGS and PING.
pub(crate) const FLAG_END_OR_ACK: u8 = 1;

/// No CONTINUATION follows.
pub(crate) const FLAG_END_HEADERS: u8 = 4;

/// A frame of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: FrameKind,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload_bytes: u32,
}

/// RFC 9113, section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    Unknown,
}

impl FrameKind {
    fn of(byte: u8) -> FrameKind {
        match byte {
            0 => FrameKind::Data,
            1 => FrameKind::Headers,
            2 => FrameKind::Priority,
            3 => FrameKind::Reset,
            4 => FrameKind::Settings,
            5 => FrameKind::PushPromise,
            6 => FrameKind::Ping,
            7 => FrameKind::GoAway,
            8 => FrameKind::WindowUpdate,
            9 => FrameKind::Continuation,
            10..=255 => FrameKind::Unknown,
        }
    }
}

/// Where in the stream of frames the input stands.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    payload_left: u32,
}

impl Scanner {
    /// Walks over the next bytes; `bytes` is cut to what follows the first frame that ends.
    pub(crate) fn next(&mut self, bytes: &mut &[u8]) -> Option<Seen> {
        if self.header_bytes < HEADER_BYTES {
            let missing = HEADER_BYTES - self.header_bytes;
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.header[self.header_bytes..][..taken.len()].copy_from_slice(taken);
            self.header_bytes += taken.len();
            *bytes = rest;
            if self.header_bytes < HEADER_BYTES {
                return None;
            }
            self.payload_left = length_of(&self.header);
        }
        let skipped = (self.payload_left as usize).min(bytes.len());
        *bytes = &bytes[skipped..];
        self.payload_left -= skipped as u32;
        if self.payload_left > 0 {
            return None;
        }
        self.header_bytes = 0;
        let [_, _, _, kind, flags, a, b, c, d] = self.header;
        let stream = u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff;
        let payload_bytes = length_of(&self.header);
        Some(Seen { kind: FrameKind::of(kind), flags, stream, payload_bytes })
    }
}

impl Scanner {
    /// Ends a piece of `piece_bytes`: how many bytes at its end belong to a HEADERS frame, or to
    /// what may become one, of which more is to come. Those must be shown again, with the rest.
    /// None of a frame that is spread over CONTINUATION or too large: h2 knows what to do with it.
    pub(crate) fn unfinished_headers(&mut self, piece_bytes: usize) -> usize {
        let [_, _, _, kind, flags, ..] = self.header;
        let mut seen = self.header_bytes;
        if 3 < seen && FrameKind::of(kind) != FrameKind::Headers {
            return 0;
        }
        if seen == HEADER_BYTES {
            let length = length_of(&self.header);
            if flags & FLAG_END_HEADERS == 0 || DATA_BYTES_MAX < length as usize {
                return 0;
            }
            seen += (length - self.payload_left) as usize;
        }
        assert!(seen <= piece_bytes, "it was given back before");
        self.header_bytes = 0;
        seen
    }
}

fn length_of(header: &[u8; HEADER_BYTES]) -> u32 {
    u32::from_be_bytes([0, header[0], header[1], header[2]])
}

#[cfg(test)]
mod tests {
    use base::Prng;

    use super::*;

    #[test]
    fn any_cutting_of_the_input_shows_the_same_frames() {
        for seed in 0..300 {
            let mut dice = Prng::from_seed(seed);
            let (mut input, mut sent) = (Vec::new(), Vec::new());
            for _ in 0..1 + dice.below(20) {
                let payload_bytes = dice.below(60) as u32;
                let (kind, flags) = (dice.below(12) as u8, dice.below(256) as u8);
                let stream = dice.below(1 << 31) as u32;
                input.extend_from_slice(&payload_bytes.to_be_bytes()[1..]);
                input.extend_from_slice(&[kind, flags]);
                input.extend_from_slice(&(stream | 1 << 31).to_be_bytes());
                input.resize(input.len() + payload_bytes as usize, 0xff);
                sent.push(Seen { kind: FrameKind::of(kind), flags, stream, payload_bytes });
            }
            let (mut scanner, mut seen, mut rest) = (Scanner::default(), Vec::new(), &input[..]);
            while !rest.is_empty() {
                let (mut piece, after) =
                    rest.split_at((1 + dice.below(40) as usize).min(rest.len()));
                while let Some(frame) = scanner.next(&mut piece) {
                    seen.push(frame);
                }
                assert!(piece.is_empty());
                rest = after;
            }
            assert_eq!(seen, sent, "seed {seed}");
        }
    }
}
