//! Owns the targets of HTTP: requests of HTTP/1.1, and HEADERS frames whose authority is a URL.
//! Never opens a socket. Laws: however a client's bytes are cut, the same requests come of them;
//! and a rewritten frame says what it said, less the scheme.

use base::Prng;
use bytes::Bytes;
use sock::readers::{Authorities, Requests, requests};

use crate::mutate::mutate;

const BODY_BYTES_MAX: usize = 100;
/// Fields of HTTP/1.1 requests: good ones, ones that contradict each other, ones that are too odd.
const FIELDS: [&str; 14] = [
    "Host: h:2379",
    "host: other",
    "Content-Length: 5",
    "Content-Length: 500",
    "content-length: +5",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Connection: close, keep-alive",
    "Expect: 100-continue",
    "Content-Type: application/json",
    "X: ",
    " folded: yes",
    "Grpc-Metadata-Token: \u{e9}",
    "Authorization:token",
];
const TARGETS: [&str; 6] = ["/health", "/v3/kv/put?a=b", "*", "http://h/metrics", "/%2e?", "h:1"];
const BODIES: [&str; 5] =
    ["", "hello", "5\r\nhello\r\n0\r\n\r\n", "a;x=y\r\n", "0\r\nT: x\r\n\r\n"];

/// Some requests, one after the other.
pub fn http1(dice: &mut Prng) -> Vec<u8> {
    let mut sample = String::new();
    for _ in 0..1 + dice.below(3) {
        let method = dice.pick(&["GET", "POST", "HEAD", "PRI"]);
        let version = dice.pick(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]);
        sample += &format!("{method} {} {version}\r\n", dice.pick(&TARGETS));
        if dice.chance(800) {
            sample += "Host: h\r\n";
        }
        for _ in 0..dice.below(4) {
            sample += *dice.pick(&FIELDS);
            sample += "\r\n";
        }
        sample += "\r\n";
        sample += *dice.pick(&BODIES);
    }
    mutate(dice, sample.as_bytes())
}

/// Reads them whole and in pieces.
pub fn try_http1(bytes: &Bytes) {
    let whole = shown(&requests(bytes, bytes.len().max(1), BODY_BYTES_MAX));
    for piece_bytes in [1, 3, 17] {
        assert_eq!(shown(&requests(bytes, piece_bytes, BODY_BYTES_MAX)), whole);
    }
}

fn shown(found: &Requests) -> String {
    for request in &found.whole {
        let count = |name| request.headers.get_all(name).iter().count();
        assert!(count("host") <= 1, "whose request is it?");
        let framings = usize::from(count("content-length") > 0) + count("transfer-encoding");
        assert!(framings <= 1, "where does it end?");
        assert!(request.body.len() <= BODY_BYTES_MAX);
    }
    format!("{found:?}")
}

/// Symbols by length of their Huffman code (RFC 7541, appendix B), in order of the codes.
const SYMBOLS: [(&[u8], u32); 8] = [
    (b"012aceiost", 5),
    (b" %-./3456789=A_bdfghlmnpru", 6),
    (b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz", 7),
    (b"&*,;XZ", 8),
    (b"!\"()?", 10),
    (b"'+|", 11),
    (b"#>", 12),
    (b"\0$@[]~", 13),
];
const PLAIN: u8 = 0;
const HUFFMAN: u8 = 0x80;
const SCHEMES: [&[u8]; 2] = [b"http://", b"https://"];
const HEADER_BYTES: usize = 9;
const NAME_AUTHORITY: usize = 1;

/// A HEADERS frame that is whole, mostly with a URL as its authority.
pub fn authority(dice: &mut Prng) -> Vec<u8> {
    let mut block = Vec::new();
    if dice.chance(200) {
        put_integer(&mut block, 0x20, 5, dice.below(4096) as usize);
    }
    for _ in 0..dice.below(4) {
        match dice.below(3) {
            0 => put_integer(&mut block, 0x80, 7, 2 + dice.below(200) as usize),
            1 => {
                put_integer(&mut block, 0x40, 6, 4);
                put_text(&mut block, b"/etcdserverpb.KV/Put", *dice.pick(&[PLAIN, HUFFMAN]));
            }
            _ => {
                block.push(0x10);
                put_text(&mut block, b":method", *dice.pick(&[PLAIN, HUFFMAN]));
                put_text(&mut block, b"POST", *dice.pick(&[PLAIN, HUFFMAN]));
            }
        }
    }
    let (first, bits) = *dice.pick(&[(0x40, 6), (0, 4), (0x10, 4)]);
    put_integer(&mut block, first, bits, NAME_AUTHORITY);
    let scheme = *dice.pick(&[SCHEMES[0], SCHEMES[0], SCHEMES[1], b""]);
    let host = b"etcd-0.cluster.local:2379".repeat(1 + dice.below(8) as usize);
    let host = &host[..1 + dice.below(host.len() as u64) as usize];
    put_text(&mut block, &[scheme, host].concat(), *dice.pick(&[PLAIN, HUFFMAN]));
    block.push(0x83);
    let mut frame = frame_of(0x04, &block);
    if dice.chance(750) {
        let payload = mutate(dice, &frame[HEADER_BYTES..]);
        let flags = 0x04 | (dice.below(256) as u8 & 0x29);
        frame = frame_of(flags, &payload);
    }
    frame
}

fn frame_of(flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[1, flags, 0, 0, 0, 3]);
    frame.extend_from_slice(payload);
    frame
}

/// Rewrites it, and reads both as slowly as can be.
pub fn try_authority(bytes: &Bytes) {
    let new = Authorities::of_a_new_connection().strip(bytes.to_vec());
    if new == *bytes {
        return;
    }
    let length = u32::from_be_bytes([0, new[0], new[1], new[2]]) as usize;
    assert_eq!(length + HEADER_BYTES, new.len());
    let old = Sight::of(bytes).expect("only what can be read is rewritten");
    let new = Sight::of(&new).expect("what was written can be read");
    let is_less_a_scheme =
        |scheme: &&[u8]| old.authority.strip_prefix(*scheme) == Some(&new.authority[..]);
    assert!(SCHEMES.iter().any(is_less_a_scheme), "{old:?} became {new:?}");
    assert!(!new.authority.is_empty());
    assert_eq!((old.before, old.coding, old.after), (new.before, new.coding, new.after));
}

/// A frame, split at the value of its authority.
#[derive(Debug)]
struct Sight {
    /// Without the frame's length.
    before: Vec<u8>,
    coding: u8,
    authority: Vec<u8>,
    after: Vec<u8>,
}

impl Sight {
    fn of(frame: &[u8]) -> Option<Sight> {
        let flags = frame[4];
        let mut at = HEADER_BYTES + usize::from(flags & 0x08 != 0);
        at += if flags & 0x20 != 0 { 5 } else { 0 };
        loop {
            let first = *frame.get(at)?;
            let (name, after) = match first {
                0x80..=0xff => {
                    at = integer(frame, at, 7)?.1;
                    continue;
                }
                0x20..=0x3f => {
                    at = integer(frame, at, 5)?.1;
                    continue;
                }
                0x40..=0x7f => integer(frame, at, 6)?,
                0x00..=0x1f => integer(frame, at, 4)?,
            };
            let value_at = if name == 0 { skip_text(frame, after)? } else { after };
            if name != NAME_AUTHORITY {
                at = skip_text(frame, value_at)?;
                continue;
            }
            let (bytes, begin) = integer(frame, value_at, 7)?;
            let coding = frame[value_at] & HUFFMAN;
            let value = frame.get(begin..begin + bytes)?;
            return Some(Sight {
                before: frame[3..value_at].to_vec(),
                coding,
                authority: if coding == PLAIN { value.to_vec() } else { decoded(value)? },
                after: frame[begin + bytes..].to_vec(),
            });
        }
    }
}

fn skip_text(block: &[u8], at: usize) -> Option<usize> {
    let (bytes, begin) = integer(block, at, 7)?;
    Some(begin + bytes)
}

fn integer(block: &[u8], at: usize, bits: u32) -> Option<(usize, usize)> {
    let most = (1 << bits) - 1;
    let mut value = usize::from(*block.get(at)?) & most;
    if value < most {
        return Some((value, at + 1));
    }
    for (n, byte) in block[at + 1..].iter().take(5).enumerate() {
        value += usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, at + 2 + n));
        }
    }
    None
}

/// One symbol after the other, by trying every code.
fn decoded(value: &[u8]) -> Option<Vec<u8>> {
    let mut digits: String = value.iter().map(|byte| format!("{byte:08b}")).collect();
    let mut symbols = Vec::new();
    while digits.len() >= 8 || digits.contains('0') {
        let (code, symbol) = codes().into_iter().find(|(code, _)| digits.starts_with(code))?;
        digits.drain(..code.len());
        symbols.push(symbol);
    }
    Some(symbols)
}

fn codes() -> Vec<(String, u8)> {
    let (mut codes, mut code, mut bits_before) = (Vec::new(), 0u32, 5);
    for (symbols, bits) in SYMBOLS {
        code <<= bits - bits_before;
        bits_before = bits;
        for symbol in symbols {
            codes.push((format!("{code:0width$b}", width = bits as usize), *symbol));
            code += 1;
        }
    }
    codes
}

fn put_text(block: &mut Vec<u8>, text: &[u8], coding: u8) {
    if coding == PLAIN {
        put_integer(block, PLAIN, 7, text.len());
        return block.extend_from_slice(text);
    }
    let codes = codes();
    let code = |symbol: &u8| {
        let found = codes.iter().find(|(_, of)| of == symbol);
        found.expect("hosts have short codes").0.as_str()
    };
    let mut digits: String = text.iter().map(code).collect();
    digits.push_str(&"1".repeat((8 - digits.len() % 8) % 8));
    put_integer(block, HUFFMAN, 7, digits.len() / 8);
    let byte = |at| u8::from_str_radix(&digits[at..at + 8], 2).expect("eight digits");
    block.extend((0..digits.len()).step_by(8).map(byte));
}

fn put_integer(block: &mut Vec<u8>, first: u8, bits: u32, mut value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        return block.push(first | value as u8);
    }
    block.push(first | most as u8);
    value -= most;
    while 0x80 <= value {
        block.push(0x80 | (value & 0x7f) as u8);
        value >>= 7;
    }
    block.push(value as u8);
}
