//! Owns gRPC's `gzip` message encoding: what comes in is inflated within the message limit, what
//! goes out is packed. Never decides which messages are packed.
//! Invariant: inflating holds no more than the limit and one byte, whatever the input promises.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use flate2::{Compress, Compression, Crc, FlushCompress, Status as Deflated};

use crate::status::{Code, Status};

/// As `grpc-encoding` and `grpc-accept-encoding` name it.
pub const NAME: &str = "gzip";
/// Before the deflated bytes: magic, deflate, no flags, no time, no hint, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Checksum and length, after them.
const TRAILER_BYTES: usize = 8;
/// Deflate adds at most this to what it cannot make smaller, for each stored block of 16 KiB or
/// less, and once.
const STORED_BYTES: usize = 64;

/// Inflates one message of at most `message_bytes_max` bytes. The texts are those that an etcd
/// server answers.
pub fn inflate(packed: &[u8], message_bytes_max: u32) -> Result<Bytes, Status> {
    check_header(packed)?;
    // The length that the last member claims, modulo 2^32: honest senders are refused unread.
    let claimed = packed.last_chunk::<4>().map_or(0, |tail| u32::from_le_bytes(*tail));
    if message_bytes_max < claimed {
        return Err(too_large(u64::from(claimed), message_bytes_max));
    }
    let room = u64::from(message_bytes_max) + 1;
    // A claim costs its sender nothing, so memory follows what was sent.
    let mut message = Vec::with_capacity((claimed as usize).min(packed.len().saturating_mul(8)));
    let read = MultiGzDecoder::new(packed).take(room).read_to_end(&mut message);
    let bytes = read.map_err(|error| broken(reason(&error)))? as u64;
    if bytes == room {
        return Err(too_large(bytes, message_bytes_max));
    }
    Ok(Bytes::from(message))
}

fn check_header(packed: &[u8]) -> Result<(), Status> {
    match packed {
        [] => Err(broken("EOF")),
        [0x1f, 0x8b, 8, ..] if HEADER.len() <= packed.len() => Ok(()),
        [..] if packed.len() < HEADER.len() => Err(broken("unexpected EOF")),
        [..] => Err(broken("gzip: invalid header")),
    }
}

/// The library tells these apart in words only.
fn reason(error: &std::io::Error) -> &'static str {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        return "unexpected EOF";
    }
    let text = error.to_string();
    match (text.contains("checksum"), text.contains("header")) {
        (true, _) => "gzip: invalid checksum",
        (false, true) => "gzip: invalid header",
        (false, false) => "flate: corrupt input",
    }
}

fn broken(reason: &str) -> Status {
    let text = format!("grpc: failed to decompress the received message {reason}");
    Status::new(Code::Internal, text)
}

fn too_large(bytes: u64, max: u32) -> Status {
    let text = format!("grpc: received message larger than max ({bytes} vs. {max})");
    Status::new(Code::ResourceExhausted, text)
}

/// Packs messages, one after the other. Keeps its tables, about 300 KiB, in between.
#[derive(Debug)]
pub struct Packer(Compress);

impl Packer {
    /// A packer that would rather be fast than thorough: replies wait for it.
    pub fn fast() -> Packer {
        Packer(Compress::new(Compression::fast(), false))
    }

    /// One message as a gzip member. Takes about 10 ms for a MiB, so large ones are better sent
    /// as they are.
    pub fn pack(&mut self, message: &[u8]) -> Bytes {
        self.0.reset();
        let worst = message.len() + message.len() / 64 + STORED_BYTES;
        let mut packed = Vec::with_capacity(HEADER.len() + worst + TRAILER_BYTES);
        packed.extend_from_slice(&HEADER);
        let mut at = 0;
        loop {
            let before = self.0.total_in();
            let done = self.0.compress_vec(&message[at..], &mut packed, FlushCompress::Finish);
            at += usize::try_from(self.0.total_in() - before).expect("less than the message");
            match done.expect("packing has no errors but misuse") {
                Deflated::StreamEnd => break,
                Deflated::Ok | Deflated::BufError => packed.reserve(STORED_BYTES),
            }
        }
        assert_eq!(at, message.len());
        let mut sum = Crc::new();
        sum.update(message);
        packed.extend_from_slice(&sum.sum().to_le_bytes());
        // The format counts modulo 2^32.
        packed.extend_from_slice(&(message.len() as u32).to_le_bytes());
        Bytes::from(packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Prng;

    fn message(dice: &mut Prng, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        match dice.below(3) {
            0 => dice.fill(&mut bytes),
            1 => bytes.iter_mut().for_each(|byte| *byte = b'a' + dice.below(3) as u8),
            _ => {}
        }
        bytes
    }

    fn refusal(packed: &[u8], max: u32) -> (Code, String) {
        let status = inflate(packed, max).unwrap_err();
        (status.code, status.message.into_owned())
    }

    #[test]
    fn what_was_packed_is_inflated_to_the_same_bytes() {
        let mut dice = Prng::from_seed(7);
        let mut packer = Packer::fast();
        for round in 0..300 {
            let len = dice.below([2, 100, 70_000][round % 3]);
            let sent = message(&mut dice, len);
            let packed = packer.pack(&sent);
            assert_eq!(inflate(&packed, sent.len() as u32).unwrap(), sent, "round {round}");
        }
    }

    #[test]
    fn a_bomb_is_refused_whatever_length_it_claims() {
        let packed = Packer::fast().pack(&vec![0; 3 << 20]);
        assert!(packed.len() < 40_000);
        let text = "grpc: received message larger than max (3145728 vs. 2097152)".to_owned();
        assert_eq!(refusal(&packed, 2_097_152), (Code::ResourceExhausted, text));
        let mut liar = packed.to_vec();
        let end = liar.len();
        liar[end - 4..].copy_from_slice(&10u32.to_le_bytes());
        let text = "grpc: received message larger than max (2097153 vs. 2097152)".to_owned();
        assert_eq!(refusal(&liar, 2_097_152), (Code::ResourceExhausted, text));
    }

    #[test]
    fn members_in_a_row_are_one_message() {
        let mut packer = Packer::fast();
        let mut both = packer.pack(b"one ").to_vec();
        both.extend_from_slice(&packer.pack(b"two"));
        assert_eq!(inflate(&both, 7).unwrap(), "one two");
        assert_eq!(refusal(&both, 6).0, Code::ResourceExhausted);
    }

    #[test]
    fn broken_input_is_told_in_the_words_of_an_etcd_server() {
        let packed = Packer::fast().pack(b"a message of some length, some length");
        let end = packed.len();
        let told = |bytes: &[u8]| {
            let (code, text) = refusal(bytes, 1 << 20);
            assert_eq!(code, Code::Internal);
            text.strip_prefix("grpc: failed to decompress the received message ")
                .unwrap()
                .to_owned()
        };
        let mut sum = packed.to_vec();
        sum[end - 8] ^= 1;
        let mut block = packed.to_vec();
        block[10] |= 6;
        assert_eq!(told(b""), "EOF");
        assert_eq!(told(b"\x1f\x8b"), "unexpected EOF");
        assert_eq!(told(b"hello world, no gzip"), "gzip: invalid header");
        assert_eq!(told(&sum), "gzip: invalid checksum");
        assert_eq!(told(&block), "flate: corrupt input");
        assert_eq!(told(&[&packed[..12], &[0; 4]].concat()), "unexpected EOF");
    }

    #[test]
    fn random_bytes_never_panic_inflating() {
        let mut dice = Prng::from_seed(11);
        let packed = Packer::fast().pack(&[7; 500]);
        for _ in 0..5_000 {
            let mut bytes = packed.to_vec();
            for _ in 0..1 + dice.below(3) {
                let at = dice.below(bytes.len() as u64) as usize;
                bytes[at] = dice.below(256) as u8;
            }
            bytes.truncate(dice.below(bytes.len() as u64 + 1) as usize);
            if let Ok(message) = inflate(&bytes, 600) {
                assert!(message.len() <= 600);
            }
        }
    }
}
