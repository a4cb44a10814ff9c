//! Header blocks as etcdctl 3.4 sent them, and random ones against a dumb twin that builds the
//! shorter frame from scratch.

use base::Prng;

use super::*;

const TCP: Peer = Peer::Tcp(std::net::SocketAddr::V4(std::net::SocketAddrV4::new(
    std::net::Ipv4Addr::LOCALHOST,
    1,
)));

/// Captured from `etcdctl 3.4 --endpoints http://127.0.0.1:23978 endpoint status`: a HEADERS
/// frame with the authority `http://127.0.0.1:23978`, Huffman-coded and to be indexed.
const ETCDCTL_34: &str = "000077010400000001838645976 0a924882d9dcb6571afa066a925a87510ac6e48d36a3f\
    4190 9d29aee30c044eae05c0b86e0997dd7b 5f8b1d75d0620d263d4c4d65647a8b9acac8b4c7602bb2caecff\
    40027465864d833505b11f40899acac8b24d494f6a7f8669f7dd0bcf5b408d25062d495875996ee5b1063d5f03\
    332e34";

/// Captured from the same command of etcdctl 3.5, whose authority is the host; but with 3.4's
/// path, timeout and versions, so that only the field in question differs.
const AS_ETCDCTL_35: &str = "000072010400000001838645976 0a924882d9dcb6571afa066a925a87510ac6e48d36\
    a3f418b 089d5c0b8170dc132fbaf7 5f8b1d75d0620d263d4c4d65647a8b9acac8b4c7602bb2caecff\
    40027465864d833505b11f40899acac8b24d494f6a7f8669f7dd0bcf5b408d25062d495875996ee5b1063d5f03\
    332e34";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|b| *b != b' ').collect();
    let digit = |b: u8| char::from(b).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|two| digit(two[0]) << 4 | digit(two[1])).collect()
}

/// The frame after it went through; the same if nothing was cut.
fn through(authority: &mut Authority, frame: &[u8]) -> Vec<u8> {
    let mut copy = frame.to_vec();
    let left = authority.strip(&mut copy);
    if left.is_none() {
        assert_eq!(copy, frame, "nothing was said of a change");
    }
    copy.truncate(left.unwrap_or(frame.len()));
    copy
}

fn once(frame: &[u8]) -> Vec<u8> {
    through(&mut Authority::new(TCP), frame)
}

#[test]
fn etcdctl_34_becomes_what_etcdctl_35_sends() {
    assert_eq!(once(&bytes(ETCDCTL_34)), bytes(AS_ETCDCTL_35));
    assert_eq!(once(&bytes(AS_ETCDCTL_35)), bytes(AS_ETCDCTL_35));
}

/// Symbols by length of their code (RFC 7541, appendix B), each length in order of the codes.
const SYMBOLS: [(&str, u32); 8] = [
    ("012aceiost", 5),
    (" %-./3456789=A_bdfghlmnpru", 6),
    (":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz", 7),
    ("&*,;XZ", 8),
    ("!\"()?", 10),
    ("'+|", 11),
    ("#>", 12),
    ("\0$@[]~", 13),
];

/// The dumb twin's coder: strings of digits.
fn huffman(text: &str) -> Vec<u8> {
    let mut codes = std::collections::BTreeMap::new();
    let (mut code, mut bits_before) = (0u32, 5);
    for (symbols, bits) in SYMBOLS {
        code <<= bits - bits_before;
        bits_before = bits;
        for symbol in symbols.chars() {
            codes.insert(symbol, format!("{code:0width$b}", width = bits as usize));
            code += 1;
        }
    }
    let mut digits: String = text.chars().map(|symbol| codes[&symbol].as_str()).collect();
    digits.push_str(&"1".repeat((8 - digits.len() % 8) % 8));
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 8], 2).unwrap();
    (0..digits.len()).step_by(8).map(byte).collect()
}

fn put_integer(block: &mut Vec<u8>, first: u8, prefix_bits: u32, mut value: usize) {
    let most = (1 << prefix_bits) - 1;
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

fn put_text(block: &mut Vec<u8>, text: &str, coding: Coding) {
    let (bytes, mark) = match coding {
        Coding::Plain => (text.as_bytes().to_vec(), 0),
        Coding::Huffman => (huffman(text), 0x80),
    };
    put_integer(block, mark, 7, bytes.len());
    block.extend_from_slice(&bytes);
}

/// What makes a frame, except for the authority.
struct Shape {
    coding: Coding,
    /// First byte of the authority, without the index of its name.
    literal: (u8, u32),
    flags: u8,
    padding: usize,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Shape {
    fn roll(dice: &mut Prng) -> Shape {
        let literals = [(0x40, 6), (0, 4), (0x10, 4)];
        let mut shape = Shape {
            coding: coding(dice),
            literal: literals[dice.below(3) as usize],
            flags: FLAG_END_HEADERS | (dice.below(256) as u8 & (FLAG_PADDED | FLAG_PRIORITY | 1)),
            padding: dice.below(256) as usize,
            before: Vec::new(),
            after: (0..dice.below(40)).map(|_| dice.below(256) as u8).collect(),
        };
        if dice.below(4) == 0 {
            put_integer(&mut shape.before, 0x20, 5, 400 + dice.below(3600) as usize);
        }
        for _ in 0..dice.below(u64::from(PSEUDO_FIELDS_MAX)) {
            match dice.below(4) {
                0 => put_integer(&mut shape.before, 0x80, 7, 1 + dice.below(300) as usize),
                1 => {
                    put_integer(&mut shape.before, 0x40, 6, 2 + dice.below(200) as usize);
                    put_text(&mut shape.before, "/path", coding(dice));
                }
                2 => {
                    put_integer(&mut shape.before, 0, 4, 2 + dice.below(200) as usize);
                    put_text(&mut shape.before, &"x".repeat(200), coding(dice));
                }
                _ => {
                    shape.before.push(0x10);
                    put_text(&mut shape.before, ":method", coding(dice));
                    put_text(&mut shape.before, "http://", coding(dice));
                }
            }
        }
        shape
    }

    fn frame(&self, authority: &str) -> Vec<u8> {
        let mut payload = Vec::new();
        if self.flags & FLAG_PADDED != 0 {
            payload.push(self.padding as u8);
        }
        if self.flags & FLAG_PRIORITY != 0 {
            payload.extend_from_slice(&[0, 0, 0, 7, 16]);
        }
        payload.extend_from_slice(&self.before);
        put_integer(&mut payload, self.literal.0, self.literal.1, 1);
        put_text(&mut payload, authority, self.coding);
        payload.extend_from_slice(&self.after);
        if self.flags & FLAG_PADDED != 0 {
            payload.resize(payload.len() + self.padding, 0);
        }
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[1, self.flags, 0, 0, 0, 3]);
        frame.extend_from_slice(&payload);
        frame
    }
}

fn coding(dice: &mut Prng) -> Coding {
    if dice.below(2) == 0 { Coding::Plain } else { Coding::Huffman }
}

fn host(dice: &mut Prng) -> String {
    let symbols: Vec<char> = SYMBOLS.iter().flat_map(|(symbols, _)| symbols.chars()).collect();
    let most = if dice.chance(125) { 300 } else { 24 };
    let bytes = 1 + dice.below(most);
    (0..bytes).map(|_| symbols[dice.below(symbols.len() as u64) as usize]).collect()
}

#[test]
fn a_scheme_is_cut_from_any_shape_of_frame_and_nothing_else_is() {
    for seed in 0..5_000 {
        let mut dice = Prng::from_seed(seed);
        let (shape, host) = (Shape::roll(&mut dice), host(&mut dice));
        let plain = shape.frame(&host);
        for scheme in ["http://", "https://"] {
            let sent = shape.frame(&format!("{scheme}{host}"));
            assert_eq!(once(&sent), plain, "seed {seed}: {scheme}{host}");
        }
        if host.starts_with(['/', ':', 's', 'h', 't']) {
            continue;
        }
        for kept in ["HTTP://", "http:/", "httpx://", "unix://", "http", "https:", "//", "ht"] {
            let sent = shape.frame(&format!("{kept}{host}"));
            assert_eq!(once(&sent), sent, "seed {seed}: {kept}{host}");
        }
        assert_eq!(once(&plain), plain, "seed {seed}: {host}");
    }
}

#[test]
fn every_length_of_host_and_padding_is_cut_well() {
    let mut dice = Prng::from_seed(1);
    let shape = Shape { flags: FLAG_END_HEADERS, literal: (0x40, 6), ..Shape::roll(&mut dice) };
    for coding in [Coding::Plain, Coding::Huffman] {
        let shape = Shape { before: Vec::new(), after: vec![0x83], coding, ..shape };
        for symbol in ["0", "9", ":", "X", "?", "|", ">", "~"] {
            for bytes in 1..400 {
                let host = symbol.repeat(bytes);
                for scheme in ["http://", "https://"] {
                    let sent = shape.frame(&format!("{scheme}{host}"));
                    assert_eq!(once(&sent), shape.frame(&host), "{scheme}, {bytes} of {symbol}");
                }
            }
        }
        let empty = shape.frame("http://");
        assert_eq!(once(&empty), empty, "nothing would be left");
    }
}

#[test]
fn what_is_cut_short_or_random_passes_as_it_is() {
    let golden = bytes(ETCDCTL_34);
    // The value ends at 54; what follows is not looked at.
    for end in HEADER_BYTES..54 {
        assert_eq!(once(&golden[..end]), golden[..end]);
    }
    for seed in 0..50_000 {
        let mut dice = Prng::from_seed(seed);
        let mut frame: Vec<u8> = match dice.below(2) {
            0 => (0..HEADER_BYTES as u64 + dice.below(60)).map(|_| dice.next_u64() as u8).collect(),
            _ => golden.clone(),
        };
        for _ in 0..dice.below(6) {
            let at = dice.below(frame.len() as u64) as usize;
            frame[at] = dice.below(256) as u8;
        }
        let left = once(&frame);
        assert!(left.len() <= frame.len(), "seed {seed}");
        assert!(frame.len() - left.len() <= 10, "seed {seed}");
        let said = u32::from_be_bytes([0, left[0], left[1], left[2]]) as usize;
        assert!(left == frame || said + HEADER_BYTES == left.len(), "seed {seed}");
    }
}

#[test]
fn what_the_clients_table_cannot_hold_is_not_cut() {
    let mut dice = Prng::from_seed(2);
    let base = Shape { flags: FLAG_END_HEADERS, ..Shape::roll(&mut dice) };
    let host = "h".repeat(20);
    let url = format!("http://{host}");
    for (table_bytes, literal, is_cut) in [
        (42 + 27, (0x40, 6), true),
        (42 + 26, (0x40, 6), false),
        (0, (0x40, 6), false),
        (0, (0, 4), true),
    ] {
        for coding in [Coding::Plain, Coding::Huffman] {
            let mut before = Vec::new();
            put_integer(&mut before, 0x20, 5, table_bytes);
            let first = Shape { before, after: Vec::new(), literal, coding, ..base };
            // The size stays for the frames to come.
            let second = Shape { before: Vec::new(), after: Vec::new(), literal, coding, ..base };
            let mut authority = Authority::new(TCP);
            for shape in [&first, &second] {
                let sent = shape.frame(&url);
                let wanted = if is_cut { shape.frame(&host) } else { sent.clone() };
                assert_eq!(through(&mut authority, &sent), wanted, "{table_bytes}");
            }
        }
    }
}

#[test]
fn after_a_block_in_pieces_nothing_is_cut() {
    let golden = bytes(ETCDCTL_34);
    let mut authority = Authority::new(TCP);
    let mut pieces = golden.clone();
    pieces[4] &= !FLAG_END_HEADERS;
    assert_eq!(through(&mut authority, &pieces), pieces);
    assert_eq!(through(&mut authority, &golden), golden);
}

#[test]
fn gaps_are_closed_as_by_building_it_anew() {
    for seed in 0..2_000 {
        let mut dice = Prng::from_seed(seed);
        let mut buffer: Vec<u8> = (0..200).map(|n| n as u8).collect();
        let (mut gaps, mut wanted, mut at) = (Gaps::default(), Vec::new(), 0);
        for _ in 0..dice.below(6) {
            let begin = at + dice.below((buffer.len() - at) as u64 + 1) as usize;
            let end = begin + dice.below((buffer.len() - begin) as u64 + 1) as usize;
            wanted.extend(at as u8..begin as u8);
            gaps.add(&mut buffer, begin, end);
            at = end;
        }
        wanted.extend(at as u8..200);
        let left = gaps.close(&mut buffer);
        assert_eq!(buffer[..left], wanted, "seed {seed}");
    }
}

/// A frame as it must be after its path was written over.
fn masked(shape: &Shape, path: &str) -> Vec<u8> {
    let bytes = match shape.coding {
        Coding::Plain => path.len(),
        Coding::Huffman => huffman(path).len(),
    };
    shape.frame(&"X".repeat(bytes))
}

fn through_a_file(frame: &[u8]) -> Vec<u8> {
    through(&mut Authority::new(Peer::Unix), frame)
}

#[test]
fn the_path_of_a_socket_file_is_written_over() {
    for seed in 0..5_000 {
        let mut dice = Prng::from_seed(seed);
        let shape = Shape::roll(&mut dice);
        for path in ["/run/etcd.sock", "run%2Fetcd.sock", "/", "unix:/tmp/a-b_c", "%2Ftmp%2Fa"] {
            let sent = shape.frame(path);
            assert_eq!(through_a_file(&sent), masked(&shape, path), "seed {seed}: {path}");
            assert_eq!(once(&sent), sent, "only behind a socket file");
        }
        for host in ["localhost", "127.0.0.1:2379", "etcd.sock"] {
            let sent = shape.frame(host);
            assert_eq!(through_a_file(&sent), sent, "seed {seed}: {host}");
        }
        let url = shape.frame("http://h:1");
        assert_eq!(through_a_file(&url), shape.frame("h:1"), "seed {seed}");
    }
}

#[test]
fn a_path_that_would_become_longer_is_left() {
    let mut dice = Prng::from_seed(4);
    let shape = Shape { coding: Coding::Huffman, ..Shape::roll(&mut dice) };
    let sent = shape.frame("/~~~~~~~~");
    assert_eq!(through_a_file(&sent), sent);
}

/// The beginning of a request by grpcio 1.85 through `/tmp/edge.sock`: every name is spelled out.
#[test]
fn a_name_that_is_spelled_out_is_known() {
    let frame = |host: &[u8]| {
        let block = [&b"\x40\x05:path\x02/a\x40\x0a:authority\x0e"[..], host, b"\x83\x86"].concat();
        let head = [0, 0, block.len() as u8, 1, FLAG_END_HEADERS, 0, 0, 0, 1];
        [&head[..], &block].concat()
    };
    let sent = frame(b"tmp%2Fedge.soc");
    assert_eq!(through_a_file(&sent), frame(b"XXXXXXXXXXXXXX"));
    assert_eq!(once(&frame(b"http://a.org:1")), {
        let mut cut = frame(b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        let at = cut.len() - 2 - 14;
        cut.splice(at - 1..at + 14, b"\x07a.org:1".iter().copied());
        cut[2] -= 7;
        cut
    });
}
