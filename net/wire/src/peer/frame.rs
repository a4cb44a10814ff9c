//! Owns the frames of a stream between two members: payloads cut out of bytes, one after another.
//! Never looks into a payload. Invariant: what the reader hands out is what the writer was given,
//! in the same order and without a gap; anything else ends the stream, and no length that arrives
//! reserves more memory than twice what has arrived, or one step.
//!
//! ```text
//!   frame   length of the payload (4) | checksum (4) | payload
//! ```
//! Little-endian. The checksum covers the frame's number on its stream (8, not sent, rises by one
//! from 0), the length and the payload, so that a frame which is lost, repeated or moved is noticed
//! as a damaged one is.

use base::checksum::Checksum;
use base::limits::{LOG_ENTRY_BYTES_MAX, REQUEST_OVERHEAD_BYTES};
use bytes::Bytes;

use super::Lane;

/// Bytes before a payload.
pub const FRAME_HEAD_BYTES: usize = 8;
/// Largest payload of the prompt lane: a message with one entry of the largest size.
pub const PROMPT_FRAME_BYTES_MAX: usize = LOG_ENTRY_BYTES_MAX + REQUEST_OVERHEAD_BYTES as usize;
/// Largest payload of the bulk lane: a piece of 1 MiB that ends with a whole record of history,
/// which holds a value and the one before it.
pub const BULK_FRAME_BYTES_MAX: usize = (1 << 20) + 2 * PROMPT_FRAME_BYTES_MAX;
/// What a reader reserves at first for a payload that has not arrived.
const RESERVE_BYTES: usize = 64 << 10;

const _: () = assert!(LOG_ENTRY_BYTES_MAX < PROMPT_FRAME_BYTES_MAX);
const _: () = assert!(BULK_FRAME_BYTES_MAX < u32::MAX as usize);

/// Heads for the payloads of one stream.
#[derive(Debug)]
pub struct FrameWriter {
    lane: Lane,
    number: u64,
}

impl FrameWriter {
    /// For a stream that has not carried anything.
    pub fn new(lane: Lane) -> FrameWriter {
        FrameWriter { lane, number: 0 }
    }

    /// What to send before the next payload, which may not exceed the lane's limit.
    pub fn head(&mut self, payload: &[u8]) -> [u8; FRAME_HEAD_BYTES] {
        assert!(payload.len() <= self.lane.frame_bytes_max());
        let length = (payload.len() as u32).to_le_bytes();
        let sum = sum(self.number, length, payload);
        self.number += 1;
        let mut head = [0; FRAME_HEAD_BYTES];
        head[..4].copy_from_slice(&length);
        head[4..].copy_from_slice(&sum.to_le_bytes());
        head
    }
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// A payload beyond the lane's limit.
    TooLong {
        /// As announced.
        bytes: u32,
    },
    /// Not what was sent, or not in its place.
    Checksum {
        /// The frame's number on its stream.
        number: u64,
    },
}

impl std::fmt::Display for BadFrame {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadFrame::TooLong { bytes } => write!(to, "a frame of {bytes} bytes"),
            BadFrame::Checksum { number } => write!(to, "frame {number} with a wrong checksum"),
        }
    }
}

/// Cuts one stream into payloads. Each is memory of its own, so that keeping a small one does not
/// keep the read buffer that it came in.
#[derive(Debug)]
pub struct FrameReader {
    lane: Lane,
    number: u64,
    head: [u8; FRAME_HEAD_BYTES],
    head_bytes: usize,
    payload: Vec<u8>,
}

impl FrameReader {
    /// For a stream that has not carried anything.
    pub fn new(lane: Lane) -> FrameReader {
        let head = [0; FRAME_HEAD_BYTES];
        FrameReader { lane, number: 0, head, head_bytes: 0, payload: Vec::new() }
    }

    /// Takes from the front of `input` up to the end of one frame; `None` when all of it is taken
    /// and the frame goes on. After an error the stream is of no further use.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Bytes>, BadFrame> {
        let wanted = FRAME_HEAD_BYTES - self.head_bytes;
        let (head, rest) = input.split_at(wanted.min(input.len()));
        self.head[self.head_bytes..][..head.len()].copy_from_slice(head);
        self.head_bytes += head.len();
        *input = rest;
        if self.head_bytes < FRAME_HEAD_BYTES {
            return Ok(None);
        }
        let (length, announced) = self.announced();
        let bytes = u32::from_le_bytes(length) as usize;
        if self.lane.frame_bytes_max() < bytes {
            return Err(BadFrame::TooLong { bytes: bytes as u32 });
        }
        let (part, rest) = input.split_at((bytes - self.payload.len()).min(input.len()));
        self.keep(part, bytes);
        *input = rest;
        if self.payload.len() < bytes {
            return Ok(None);
        }
        if sum(self.number, length, &self.payload) != announced {
            return Err(BadFrame::Checksum { number: self.number });
        }
        self.number += 1;
        self.head_bytes = 0;
        Ok(Some(Bytes::from(std::mem::take(&mut self.payload))))
    }

    /// Whether the stream may end here.
    pub fn is_between_frames(&self) -> bool {
        self.head_bytes == 0
    }

    fn announced(&self) -> ([u8; 4], u32) {
        let (mut length, mut sum) = ([0; 4], [0; 4]);
        length.copy_from_slice(&self.head[..4]);
        sum.copy_from_slice(&self.head[4..]);
        (length, u32::from_le_bytes(sum))
    }

    /// Grows by doubling, but ends at exactly the payload's length.
    fn keep(&mut self, mut part: &[u8], bytes: usize) {
        while !part.is_empty() {
            if self.payload.len() == self.payload.capacity() {
                let step = self.payload.len().max(part.len()).max(RESERVE_BYTES);
                self.payload.reserve_exact(step.min(bytes - self.payload.len()));
            }
            let room = self.payload.capacity() - self.payload.len();
            let (fits, rest) = part.split_at(room.min(part.len()));
            self.payload.extend_from_slice(fits);
            part = rest;
        }
    }
}

fn sum(number: u64, length: [u8; 4], payload: &[u8]) -> u32 {
    Checksum::new().add(&number.to_le_bytes()).add(&length).add(payload).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_length_reserves_one_step_and_no_more() {
        let mut head = [0; FRAME_HEAD_BYTES + 1];
        head[..4].copy_from_slice(&(16u32 << 20).to_le_bytes());
        let mut reader = FrameReader::new(Lane::Prompt);
        assert_eq!(reader.next(&mut &head[..]), Ok(None));
        assert!(reader.payload.capacity() <= 64 << 10);
    }
}
