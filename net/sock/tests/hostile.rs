//! Clients that mean harm, frame by frame over a plain socket. Each flood ends with its own
//! GOAWAY, its own counter, and every other client undisturbed.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Running, framed};
use ringleader_sock::{Options, Seats};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const ENHANCE_YOUR_CALM: u32 = 11;

struct Raw {
    stream: TcpStream,
}

/// A frame of the server's.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Raw {
    /// A connection with the preface done.
    fn connect(server: &Running) -> Raw {
        let mut raw = Raw::open(server);
        raw.send_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        raw.send(SETTINGS, 0, 0, &[]);
        raw
    }

    fn open(server: &Running) -> Raw {
        let stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        Raw { stream }
    }

    /// The server may have hung up already.
    fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send_bytes(&frame(kind, flags, stream, payload));
    }

    /// The next frame, or none at the end.
    fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Code and text of the GOAWAY that ends the connection.
    fn goaway(&mut self) -> (u32, String) {
        let mut last = None;
        while let Some(frame) = self.next() {
            if frame.kind == GOAWAY {
                last = Some(frame);
            }
        }
        let payload = last.expect("a GOAWAY before the end").payload;
        let code = u32::from_be_bytes(payload[4..8].try_into().unwrap());
        (code, String::from_utf8_lossy(&payload[8..]).into_owned())
    }

    fn request(&mut self, stream: u32, path: &str) {
        self.send(HEADERS, END_HEADERS, stream, &grpc_head(path));
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9 + payload.len());
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Literal fields without indexing, which need no table.
fn grpc_head(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name, value) in
        [(":path", path), (":authority", "h"), ("content-type", "application/grpc")]
    {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn fast_pings() -> Options {
    Options { ping_interval_min: Duration::from_millis(300), ..Options::as_etcd() }
}

/// Another client of the same server still gets its answer.
fn others_are_served(server: &Running) {
    let mut raw = Raw::connect(server);
    raw.request(1, "/t.T/Echo");
    raw.send(DATA, END_STREAM, 1, &framed(b"x"));
    let data = raw.next_of(DATA).expect("an answer");
    assert_eq!(data.payload, framed(b"x"));
}

#[test]
fn pings_at_a_decent_pace_are_answered() {
    let server = Running::start(fast_pings());
    let mut raw = Raw::connect(&server);
    raw.request(1, "/t.T/Hang");
    raw.send(DATA, END_STREAM, 1, &framed(b"x"));
    server.await_entry("hang");
    for n in 0..6u8 {
        raw.send(PING, 0, 0, &[n; 8]);
        let pong = raw.next_of(PING).expect("an answer");
        assert_eq!((pong.flags, pong.payload), (ACK, vec![n; 8]));
        std::thread::sleep(Duration::from_millis(310));
    }
    assert_eq!(server.stat("floods_ping"), 0);
}

#[test]
fn too_many_pings_end_with_grpcs_words() {
    let server = Running::start(Options::as_etcd());
    let mut raw = Raw::connect(&server);
    raw.request(1, "/t.T/Hang");
    raw.send(DATA, END_STREAM, 1, &framed(b"x"));
    server.await_entry("hang");
    for _ in 0..4 {
        raw.send(PING, 0, 0, &[1; 8]);
    }
    assert_eq!(raw.goaway(), (ENHANCE_YOUR_CALM, "too_many_pings".to_owned()));
    assert_eq!(server.stat("floods_ping"), 1);
    server.await_entry("gone");
    others_are_served(&server);
}

#[test]
fn pings_without_a_call_are_too_many_sooner() {
    let server = Running::start(fast_pings());
    let mut raw = Raw::connect(&server);
    for _ in 0..4 {
        raw.send(PING, 0, 0, &[1; 8]);
        std::thread::sleep(Duration::from_millis(310));
    }
    assert_eq!(raw.goaway().1, "too_many_pings");
}

#[test]
fn floods_of_frames_that_carry_nothing_end_the_connection() {
    let server = Running::start(Options::as_etcd());
    let one = |kind, stream, payload: &[u8]| frame(kind, 0, stream, payload);
    for (flood, counter, text) in [
        (one(SETTINGS, 0, &[]), "floods_settings", "too_many_settings"),
        (one(PRIORITY, 1, &[0; 5]), "floods_idle_frames", "too_many_empty_frames"),
        (one(77, 1, &[0; 5]), "floods_idle_frames", "too_many_empty_frames"),
        (frame(PING, ACK, 0, &[0; 8]), "floods_idle_frames", "too_many_empty_frames"),
    ] {
        let before = server.stat(counter);
        let mut raw = Raw::connect(&server);
        raw.send_bytes(&flood.repeat(2000));
        assert_eq!(raw.goaway(), (ENHANCE_YOUR_CALM, text.to_owned()));
        assert_eq!(server.stat(counter), before + 1);
        others_are_served(&server);
    }
}

#[test]
fn a_flood_of_empty_data_ends_the_connection() {
    let server = Running::start(Options::as_etcd());
    let mut raw = Raw::connect(&server);
    raw.request(1, "/t.T/Chat");
    raw.send_bytes(&frame(DATA, 0, 1, &[]).repeat(2000));
    assert_eq!(raw.goaway().0, ENHANCE_YOUR_CALM);
    assert_eq!(server.stat("floods_idle_frames"), 1);
    others_are_served(&server);
}

#[test]
fn a_flood_of_continuations_ends_the_connection() {
    let server = Running::start(Options::as_etcd());
    let mut raw = Raw::connect(&server);
    raw.send(HEADERS, 0, 1, &grpc_head("/t.T/Echo"));
    raw.send_bytes(&frame(CONTINUATION, 0, 1, &[]).repeat(3000));
    assert_eq!(raw.goaway().0, ENHANCE_YOUR_CALM);
    let mut raw = Raw::connect(&server);
    raw.send(HEADERS, 0, 1, &grpc_head("/t.T/Echo"));
    for _ in 0..1000 {
        raw.send(CONTINUATION, 0, 1, &vec![0x40; 10_000]);
    }
    assert_ne!(raw.goaway().0, 0);
    others_are_served(&server);
}

#[test]
fn a_rapid_reset_ends_the_connection() {
    let server = Running::start(Options::as_etcd());
    let mut raw = Raw::connect(&server);
    let mut writer = raw.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        for n in 0..20_000u32 {
            let stream = 2 * n + 1;
            let mut bytes = frame(HEADERS, END_HEADERS, stream, &grpc_head("/t.T/Hang"));
            bytes.extend_from_slice(&frame(DATA, END_STREAM, stream, &framed(b"x")));
            bytes.extend_from_slice(&frame(RESET, 0, stream, &8u32.to_be_bytes()));
            if writer.write_all(&bytes).is_err() {
                return;
            }
        }
    });
    assert_eq!(raw.goaway().0, ENHANCE_YOUR_CALM);
    sending.join().unwrap();
    server.await_stat("calls_now", 1);
    assert!(server.stat("calls_opened") < 4000);
    others_are_served(&server);
}

#[test]
fn headers_beyond_the_limit_are_refused_and_forgotten() {
    let server = Running::start(Options::as_etcd());
    let mut raw = Raw::connect(&server);
    let mut block = grpc_head("/t.T/Echo");
    for _ in 0..40 {
        // A literal of 2 KB under a new name.
        block.extend_from_slice(&[0, 1, b'a', 0x7f, 0xd1, 0x0e]);
        block.extend_from_slice(&[b'v'; 2000]);
    }
    let mut pieces = block.chunks(16_000);
    raw.send(HEADERS, END_STREAM, 1, pieces.next().unwrap());
    let rest: Vec<_> = pieces.collect();
    for (n, piece) in rest.iter().enumerate() {
        raw.send(CONTINUATION, if n + 1 == rest.len() { END_HEADERS } else { 0 }, 1, piece);
    }
    // 431 or a reset, and no call.
    let frame = raw.next_of(HEADERS);
    assert!(frame.is_some_and(|frame| frame.stream == 1));
    assert_eq!(server.stat("calls_opened"), 1);
    others_are_served(&server);
}

#[test]
fn streams_beyond_the_limit_are_refused_and_the_rest_served() {
    let server = Running::start(Options { concurrent_streams_max: 3, ..Options::as_etcd() });
    let mut raw = Raw::connect(&server);
    let settings = raw.next_of(SETTINGS).unwrap();
    assert!(settings.payload.windows(6).any(|item| item == [0, 3, 0, 0, 0, 3]));
    raw.send(SETTINGS, ACK, 0, &[]);
    for n in 0..3 {
        raw.request(2 * n + 1, "/t.T/Hang");
        raw.send(DATA, END_STREAM, 2 * n + 1, &framed(b"x"));
    }
    raw.request(7, "/t.T/Echo");
    let reset = raw.next_of(RESET).expect("a refusal");
    assert_eq!((reset.stream, reset.payload), (7, 7u32.to_be_bytes().to_vec()));
    raw.send(RESET, 0, 1, &8u32.to_be_bytes());
    raw.request(9, "/t.T/Echo");
    raw.send(DATA, END_STREAM, 9, &framed(b"x"));
    assert_eq!(raw.next_of(DATA).unwrap().stream, 9);
}

#[test]
fn broken_http2_is_an_error_of_its_connection_alone() {
    let server = Running::start(Options::as_etcd());
    let mut others = Raw::connect(&server);
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = frame(SETTINGS, 0, 0, &[]);
    let cases: Vec<Vec<u8>> = vec![
        // No SETTINGS first.
        [preface, &frame(PING, 0, 0, &[0; 8])].concat(),
        // A frame larger than announced.
        [preface, &settings[..], &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat(),
        // DATA on no stream, and on an idle one.
        [preface, &settings[..], &frame(DATA, 0, 0, b"x")].concat(),
        [preface, &settings[..], &frame(DATA, 0, 5, b"x")].concat(),
        // An even stream.
        [preface, &settings[..], &frame(HEADERS, END_HEADERS, 2, &grpc_head("/"))].concat(),
        // A header block that is not HPACK.
        [preface, &settings[..], &frame(HEADERS, END_HEADERS, 1, &[0xff; 20])].concat(),
        // PING of a wrong size, WINDOW_UPDATE of nothing.
        [preface, &settings[..], &frame(PING, 0, 0, &[0; 7])].concat(),
        [preface, &settings[..], &frame(WINDOW_UPDATE, 0, 0, &[0; 4])].concat(),
        // An ACK of SETTINGS that we never sent.
        [preface, &settings[..], &frame(SETTINGS, ACK, 0, &[]).repeat(2)].concat(),
    ];
    let count = cases.len() as u64;
    for (n, case) in cases.into_iter().enumerate() {
        let mut raw = Raw::open(&server);
        raw.send_bytes(&case);
        assert_ne!(raw.goaway().0, 0, "case {n}");
    }
    assert_eq!(server.stat("errors_http2"), count);
    others.request(1, "/t.T/Echo");
    others.send(DATA, END_STREAM, 1, &framed(b"x"));
    assert!(others.next_of(DATA).is_some());
}

#[test]
fn random_frames_never_hurt_the_server() {
    let server = Running::start(Options::as_etcd());
    let seed = 20_261_121;
    println!("seed {seed}");
    let mut dice = base::Prng::from_seed(seed);
    for _ in 0..150 {
        let mut raw = Raw::connect(&server);
        raw.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        for _ in 0..dice.below(60) {
            let stream = dice.below(12) as u32;
            let bytes = match dice.below(4) {
                0 => frame(HEADERS, dice.below(256) as u8, stream, &grpc_head("/t.T/Chat")),
                1 => frame(DATA, dice.below(2) as u8, stream, &framed(b"hello")),
                _ => {
                    let mut payload = vec![0; dice.below(40) as usize];
                    dice.fill(&mut payload);
                    frame(dice.below(11) as u8, dice.below(256) as u8, stream, &payload)
                }
            };
            raw.send_bytes(&bytes);
        }
        let _ = raw.next();
    }
    others_are_served(&server);
}

#[test]
fn a_silent_http2_client_is_pinged_and_then_dropped() {
    let options = Options {
        keepalive_interval: Duration::from_millis(500),
        keepalive_timeout: Duration::from_millis(700),
        ..Options::as_etcd()
    };
    let server = Running::start(options);
    let mut raw = Raw::connect(&server);
    for _ in 0..3 {
        let ping = raw.next_of(PING).expect("a ping");
        assert_eq!(ping.flags, 0);
        raw.send(PING, ACK, 0, &ping.payload);
    }
    assert_eq!(server.stat("timeouts_keepalive"), 0);
    assert!(raw.next_of(PING).is_some());
    assert!(raw.next().is_none(), "an unanswered ping ends the connection");
    assert_eq!(server.stat("timeouts_keepalive"), 1);
}

#[test]
fn a_client_that_sends_the_preface_and_nothing_more_is_dropped() {
    let options = Options { handshake_timeout: Duration::from_millis(500), ..Options::as_etcd() };
    let server = Running::start(options);
    let mut raw = Raw::open(&server);
    raw.send_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    while raw.next().is_some() {}
    assert_eq!(server.stat("timeouts_handshake"), 1);
}

#[test]
fn a_client_that_never_reads_is_refused_and_bounded() {
    let server = Running::start(Options::as_etcd());
    let mut raw = Raw::connect(&server);
    // Windows that let everything through, as far as HTTP/2 is concerned.
    let windows = [0, 4, 0x7f, 0xff, 0xff, 0xff];
    raw.send(SETTINGS, 0, 0, &windows);
    raw.send(WINDOW_UPDATE, 0, 0, &0x7fff_0000u32.to_be_bytes());
    raw.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    for n in 0..40u32 {
        raw.request(2 * n + 1, "/t.T/Big");
        raw.send(DATA, END_STREAM, 2 * n + 1, &framed(&5_000_000u32.to_be_bytes()));
    }
    // 64 MiB wait at most, and what the kernel's buffers took.
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while server.stat("calls_refused_unread") < 20 {
        assert!(std::time::Instant::now() < end, "{}", server.stat("calls_refused_unread"));
    }
    others_are_served(&server);
}

#[test]
fn connections_beyond_the_seats_wait_for_one() {
    let server = Running::start_with(Options::as_etcd(), Seats::new(2));
    let mut first = Raw::connect(&server);
    let second = Raw::connect(&server);
    assert!(first.next_of(SETTINGS).is_some());
    let mut third = Raw::connect(&server);
    third.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(third.next().is_none());
    drop(second);
    third.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(third.next_of(SETTINGS).is_some());
}
