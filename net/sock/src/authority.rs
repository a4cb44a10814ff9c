//! Owns the `:authority` of requests on their way to h2. etcdctl 3.4 writes the whole endpoint
//! there (`http://host:port`), and clients of a socket file write its path (`/run/etcd.sock`,
//! `run%2Fetcd.sock`); etcd takes both, h2 resets the stream. So the scheme is cut off, and a path
//! is written over with letters that say nothing.
//! Pure. Never decodes more of a header block than it must pass to find that field.
//! Invariant: a frame that needs no change, or is not understood, keeps every byte.
//!
//! ```text
//!  HEADERS: | 9 bytes | pad length? | priority (5)? | header block | padding? |
//!  block:   | table sizes... | 1 index | 01 name, value | 0000 name, value | ...
//!  value:   | H, length (7+) | bytes, Huffman-coded if H |
//! ```
//!
//! The field enters the dynamic table of both sides, ours 7 or 8 bytes smaller. Fields are counted
//! from the newest, so a table with room to spare only keeps old ones longer, where no index of
//! the client's leads. That holds unless the field is too large for the client's table and not
//! for ours; so table sizes are followed, and where they cannot be, nothing is cut any more. A path
//! keeps its bytes on the wire; Huffman-coded it may become shorter, never longer.

use crate::scan::{FLAG_END_HEADERS, HEADER_BYTES};
use crate::service::Peer;

const FLAG_PADDED: u8 = 8;
const FLAG_PRIORITY: u8 = 0x20;

/// Stream dependency and weight.
const PRIORITY_BYTES: usize = 5;

/// Of the static table (RFC 7541, appendix A).
const NAME_AUTHORITY: u32 = 1;
const NAME: &[u8] = b":authority";

/// What a field with this name takes in a table, without its value (RFC 7541, 4.1).
const ENTRY_BYTES: u32 = 32 + NAME.len() as u32;

/// A table before anybody speaks of it. We announce no other, so no client may go beyond.
const TABLE_BYTES_DEFAULT: u32 = 4096;

/// `:method`, `:scheme`, `:path` and `:authority` come before all other fields.
const PSEUDO_FIELDS_MAX: u32 = 4;

/// Integers of more than this many bytes after the first say nothing sensible.
const INTEGER_BYTES_MAX: usize = 4;

/// Above the codes of so many bits, left-aligned in [`WINDOW_BITS`], those of the next length
/// begin (RFC 7541, appendix B; the code is canonical). No host needs a longer code than these.
const CODES: [(u16, usize); 8] = [
    (0x0a << 8, 5),
    (0x2e << 7, 6),
    (0x7c << 6, 7),
    (0xfe << 5, 8),
    (0x3fd << 3, 10),
    (0x7fd << 2, 11),
    (0xffc << 1, 12),
    (0x1ffe, 13),
];

/// Of the longest code in [`CODES`].
const WINDOW_BITS: usize = 13;

/// What a path is written over with, and the same Huffman-coded: a letter whose code is one byte.
const MASK: u8 = b'X';
const MASK_CODED: u8 = 0xfc;

/// The codes of the slash and of the percent sign, six bits each.
const PATH_CODES: [u16; 2] = [0b01_1000, 0b01_0101];
const PATH_CODE_BITS: usize = 6;

/// What is cut off; and Huffman-coded its whole bytes, then the bits of one more.
struct Scheme {
    plain: &'static [u8],
    coded: [u8; 5],
    coded_last: u8,
    coded_last_bits: usize,
}

const SCHEMES: [Scheme; 2] = [
    Scheme {
        plain: b"http://",
        coded: [0x9d, 0x29, 0xae, 0xe3, 0x0c],
        coded_last: 0,
        coded_last_bits: 1,
    },
    Scheme {
        plain: b"https://",
        coded: [0x9d, 0x29, 0xad, 0x17, 0x18],
        coded_last: 0b01_1000,
        coded_last_bits: 6,
    },
];

/// Whether the size of the client's table is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    Known { bytes: u32 },
    Lost,
}

/// The authorities of one connection.
#[derive(Debug)]
pub(crate) struct Authority {
    table: Table,
    /// Whether the connection came through a socket file, where clients name its path.
    peer: Peer,
}

/// A string of a header block: where its length begins, its bytes begin, and it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Text {
    at: usize,
    begin: usize,
    end: usize,
    coding: Coding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Plain,
    Huffman,
}

/// Whether a field enters the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Indexing {
    Yes,
    No,
}

impl Authority {
    pub(crate) fn new(peer: Peer) -> Authority {
        Authority { table: Table::Known { bytes: TABLE_BYTES_DEFAULT }, peer }
    }

    /// Looks at a whole HEADERS frame, in the order of the connection. If its authority begins
    /// with a scheme or names a socket file, rewrites the frame in place and answers how many bytes
    /// it has now.
    pub(crate) fn strip(&mut self, frame: &mut [u8]) -> Option<usize> {
        assert!(HEADER_BYTES <= frame.len());
        let Table::Known { bytes: table_bytes } = &mut self.table else { return None };
        let block = match block_of(frame) {
            Some((at, end)) => skip_sizes(&frame[..end], at, table_bytes).map(|at| (at, end)),
            None => None,
        };
        let Some((at, end)) = block else {
            // Its sizes may stand in a CONTINUATION, or it is broken and h2 will say so.
            self.table = Table::Lost;
            return None;
        };
        let (text, indexing) = find(&frame[..end], at)?;
        let value = &frame[text.begin..text.end];
        let (change, value_bytes) = match cut(value, text.coding) {
            Some((from, value_bytes, rest)) => (Change::Cut { from, rest }, value_bytes),
            None if self.peer == Peer::Unix => (Change::Mask, path(value, text.coding)?),
            None => return None,
        };
        if indexing == Indexing::Yes && *table_bytes < ENTRY_BYTES + value_bytes {
            return None;
        }
        match change {
            Change::Cut { from, rest } => Some(rewrite(frame, &text, from, rest)),
            Change::Mask => {
                let letter = match text.coding {
                    Coding::Plain => MASK,
                    Coding::Huffman => MASK_CODED,
                };
                frame[text.begin..text.end].fill(letter);
                Some(frame.len())
            }
        }
    }

    /// The connection had a header block that was not shown.
    pub(crate) fn lose(&mut self) {
        self.table = Table::Lost;
    }
}

/// Where the header block of a frame that holds all of it begins and ends.
fn block_of(frame: &[u8]) -> Option<(usize, usize)> {
    let flags = frame[4];
    let (mut at, mut end) = (HEADER_BYTES, frame.len());
    if flags & FLAG_END_HEADERS == 0 {
        return None;
    }
    if flags & FLAG_PADDED != 0 {
        end = end.checked_sub(usize::from(*frame.get(at)?))?;
        at += 1;
    }
    if flags & FLAG_PRIORITY != 0 {
        at += PRIORITY_BYTES;
    }
    (at <= end).then_some((at, end))
}

/// Walks over the changes of the table's size, which stand first.
fn skip_sizes(block: &[u8], mut at: usize, table_bytes: &mut u32) -> Option<usize> {
    while block.get(at).is_some_and(|first| first & 0xe0 == 0x20) {
        (*table_bytes, at) = integer(block, at, 5)?;
    }
    Some(at)
}

/// The value of an authority that is spelled out. Most blocks have an index for it instead, or
/// for all of these fields, and are done after four bytes.
fn find(block: &[u8], mut at: usize) -> Option<(Text, Indexing)> {
    for _ in 0..PSEUDO_FIELDS_MAX {
        let first = *block.get(at)?;
        let (indexing, prefix_bits) = match first {
            0x80..=0xfe => {
                at += 1;
                continue;
            }
            0xff => {
                at = integer(block, at, 7)?.1;
                continue;
            }
            0x40..=0x7f => (Indexing::Yes, 6),
            0x20..=0x3f => return None,
            0x00..=0x1f => (Indexing::No, 4),
        };
        let (name, after) = integer(block, at, prefix_bits)?;
        // gRPC's C core spells names out, too.
        let spelled = if name == 0 { Some(text(block, after)?) } else { None };
        let value = text(block, spelled.map_or(after, |spelled| spelled.end))?;
        let is_named = spelled.is_some_and(|spelled| {
            spelled.coding == Coding::Plain && &block[spelled.begin..spelled.end] == NAME
        });
        if name == NAME_AUTHORITY || is_named {
            return Some((value, indexing));
        }
        at = value.end;
    }
    None
}

/// An integer that begins in the low bits of a byte, and where it ends (RFC 7541, 5.1).
fn integer(block: &[u8], at: usize, prefix_bits: u32) -> Option<(u32, usize)> {
    let most = (1u32 << prefix_bits) - 1;
    let first = u32::from(*block.get(at)?) & most;
    if first < most {
        return Some((first, at + 1));
    }
    let mut value = most;
    for (n, byte) in block[at + 1..].iter().take(INTEGER_BYTES_MAX).enumerate() {
        value += u32::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, at + 2 + n));
        }
    }
    None
}

fn text(block: &[u8], at: usize) -> Option<Text> {
    let coding = if block.get(at)? & 0x80 == 0 { Coding::Plain } else { Coding::Huffman };
    let (bytes, begin) = integer(block, at, 7)?;
    let end = begin + bytes as usize;
    (end <= block.len()).then_some(Text { at, begin, end, coding })
}

/// What is done to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Cut { from: usize, rest: Rest },
    Mask,
}

/// What stays of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rest {
    /// Bits of the first byte that go.
    shift: usize,
    bytes: usize,
}

/// If a scheme and more is there: the first byte that stays, the size of the whole value
/// decoded, and what stays.
fn cut(value: &[u8], coding: Coding) -> Option<(usize, u32, Rest)> {
    let (from, size, rest) = match coding {
        Coding::Plain => {
            let scheme = SCHEMES.iter().find(|scheme| value.starts_with(scheme.plain))?;
            let from = scheme.plain.len();
            (from, value.len(), Rest { shift: 0, bytes: value.len() - from })
        }
        Coding::Huffman => {
            let scheme = SCHEMES.iter().find(|scheme| scheme.begins(value))?;
            let from = scheme.coded.len();
            let shift = scheme.coded_last_bits;
            let (symbols, end) = symbols(value, 8 * from + shift)?;
            let bytes = (end - 8 * from - shift).div_ceil(8);
            (from, scheme.plain.len() + symbols, Rest { shift, bytes })
        }
    };
    (0 < rest.bytes).then_some((from, size as u32, rest))
}

/// If the value is the path of a file, its size decoded. One that would become longer is left.
fn path(value: &[u8], coding: Coding) -> Option<u32> {
    match coding {
        Coding::Plain => {
            value.iter().any(|b| matches!(b, b'/' | b'%')).then_some(value.len() as u32)
        }
        Coding::Huffman => {
            let (mut at, mut size, mut is_path) = (0, 0, false);
            while let Some((window, bits)) = code(value, at)? {
                let symbol = window >> (WINDOW_BITS - PATH_CODE_BITS);
                is_path |= bits == PATH_CODE_BITS && PATH_CODES.contains(&symbol);
                (at, size) = (at + bits, size + 1);
            }
            (is_path && value.len() <= size).then_some(size as u32)
        }
    }
}

impl Scheme {
    fn begins(&self, value: &[u8]) -> bool {
        let whole = self.coded.len();
        value.starts_with(&self.coded)
            && value.get(whole).is_some_and(|b| b >> (8 - self.coded_last_bits) == self.coded_last)
    }
}

/// Counts the symbols from this bit on, and tells where the padding begins. The last symbol may
/// itself end in ones, so only walking tells them apart.
fn symbols(value: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut symbols = 0;
    while let Some((_, bits)) = code(value, at)? {
        at += bits;
        symbols += 1;
    }
    Some((symbols, at))
}

/// The code that begins at this bit, left-aligned, and its length; `Some(None)` where the padding
/// begins, `None` where there is neither.
fn code(value: &[u8], at: usize) -> Option<Option<(u16, usize)>> {
    let bits = 8 * value.len();
    assert!(at <= bits);
    let byte = |n: usize| u32::from(*value.get(at / 8 + n).unwrap_or(&0xff));
    let three = byte(0) << 16 | byte(1) << 8 | byte(2);
    let window = (three >> (24 - WINDOW_BITS - at % 8)) as u16 & ((1 << WINDOW_BITS) - 1);
    if window == (1 << WINDOW_BITS) - 1 {
        return (bits - at < 8).then_some(None);
    }
    let (_, code_bits) = CODES.iter().find(|(end, _)| window < *end)?;
    (at + code_bits <= bits).then_some(Some((window, *code_bits)))
}

/// Writes the shorter value and moves up what follows; the new size of the frame.
fn rewrite(frame: &mut [u8], text: &Text, from: usize, rest: Rest) -> usize {
    let mut to = text.at;
    let coded = match text.coding {
        Coding::Plain => 0,
        Coding::Huffman => 0x80,
    };
    if rest.bytes < 0x7f {
        frame[to] = coded | rest.bytes as u8;
    } else {
        frame[to] = coded | 0x7f;
        let mut more = rest.bytes - 0x7f;
        while 0x80 <= more {
            to += 1;
            frame[to] = 0x80 | (more & 0x7f) as u8;
            more >>= 7;
        }
        to += 1;
        frame[to] = more as u8;
    }
    to += 1;
    assert!(to <= text.begin);
    for at in text.begin + from..text.begin + from + rest.bytes {
        // Beyond the end there is padding: ones.
        let next = if at + 1 < text.end { frame[at + 1] } else { 0xff };
        let two = u16::from(frame[at]) << 8 | u16::from(next);
        frame[to] = (two >> (8 - rest.shift)) as u8;
        to += 1;
    }
    frame.copy_within(text.end.., to);
    let bytes = frame.len() - (text.end - to);
    frame[..3].copy_from_slice(&((bytes - HEADER_BYTES) as u32).to_be_bytes()[1..]);
    bytes
}

/// Closes the gaps that rewritten frames leave in a buffer, each byte moved once.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// What is settled at the front.
    kept: usize,
    /// From where on bytes still stand where they came.
    from: usize,
}

impl Gaps {
    /// Nothing between these two is wanted.
    pub(crate) fn add(&mut self, buffer: &mut [u8], begin: usize, end: usize) {
        assert!(self.from <= begin);
        assert!(begin <= end);
        if self.kept < self.from {
            buffer.copy_within(self.from..begin, self.kept);
        }
        self.kept += begin - self.from;
        self.from = end;
    }

    /// Answers how many bytes are left.
    pub(crate) fn close(mut self, buffer: &mut [u8]) -> usize {
        self.add(buffer, buffer.len(), buffer.len());
        self.kept
    }
}

#[cfg(test)]
mod tests;
