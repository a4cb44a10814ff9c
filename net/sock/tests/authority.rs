//! etcdctl 3.4 gives a whole URL as `:authority`, which h2 refuses and etcd takes. It worked for
//! `put` and `get` and failed for `endpoint status`, `endpoint hashkv` and `defrag`, which ask
//! one endpoint each.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use common::Running;
use ringleader_sock::Options;

/// Preface and SETTINGS, as grpc-go sends them.
const GREETING: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";

/// `http://127.0.0.1:23978`, as etcdctl 3.4 codes it.
const URL: &[u8] = b"\x41\x90\x9d\x29\xae\xe3\x0c\x04\x4e\xae\x05\xc0\xb8\x6e\x09\x97\xdd\x7b";

const HEADERS: u8 = 1;
const END_HEADERS_AND_STREAM: u8 = 5;

fn headers(stream: u8, block: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, block.len() as u8, HEADERS, END_HEADERS_AND_STREAM, 0, 0, 0, stream];
    frame.extend_from_slice(block);
    frame
}

/// Three requests over HTTP: one that spells its URL, one by index, one that spells it again.
fn requests() -> Vec<u8> {
    let mut input = Vec::new();
    for (stream, authority) in [(1, URL), (3, b"\xbe"), (5, URL), (7, b"\xbe"), (9, b"\xbf")] {
        input.extend(headers(stream, &[b"\x82\x86\x84", authority].concat()));
    }
    input
}

/// Sends the pieces, then reads frames until nothing more comes.
fn talk(server: &Running, pieces: &[&[u8]]) -> Vec<(u8, Vec<u8>)> {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for piece in pieces {
        stream.write_all(piece).unwrap();
        if 1 < pieces.len() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let (mut bytes, mut frames) = (Vec::new(), Vec::new());
    stream.read_to_end(&mut bytes).unwrap();
    let mut rest = &bytes[..];
    while let [a, b, c, kind, _, _, _, _, _, after @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        frames.push((*kind, after[..length].to_vec()));
        rest = &after[length..];
    }
    frames
}

fn bodies(frames: &[(u8, Vec<u8>)]) -> Vec<String> {
    let data = frames.iter().filter(|(kind, body)| *kind == 0 && !body.is_empty());
    data.map(|(_, body)| String::from_utf8_lossy(body).into_owned()).collect()
}

#[test]
fn a_url_as_authority_is_a_host_for_whoever_asks() {
    let server = Running::start(Options::as_etcd());
    let frames = talk(&server, &[&[GREETING, &requests()].concat()]);
    assert_eq!(bodies(&frames), vec!["GET /  127.0.0.1:23978 0\n"; 5], "{frames:?}");
}

#[test]
fn wherever_the_network_cuts_the_input() {
    let server = Running::start(Options::as_etcd());
    let input = [GREETING, &requests()].concat();
    for at in 1..input.len() {
        let (left, right) = input.split_at(at);
        let frames = talk(&server, &[left, right]);
        assert_eq!(bodies(&frames), vec!["GET /  127.0.0.1:23978 0\n"; 5], "cut at {at}");
    }
    let single: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(bodies(&talk(&server, &single)), vec!["GET /  127.0.0.1:23978 0\n"; 5]);
}

#[test]
fn thousands_in_one_read_are_all_cut() {
    let server = Running::start(Options::as_etcd());
    let mut input = GREETING.to_vec();
    for n in 0..2000u32 {
        let mut frame = headers(0, &[b"\x82\x86\x84", URL].concat());
        frame[5..9].copy_from_slice(&(2 * n + 1).to_be_bytes());
        input.extend(frame);
    }
    let frames = talk(&server, &[&input]);
    assert_eq!(bodies(&frames), vec!["GET /  127.0.0.1:23978 0\n"; 2000]);
}

#[test]
fn an_unfinished_head_is_given_up_with_its_connection() {
    let server = Running::start(Options::as_etcd());
    let input = [GREETING, &requests()].concat();
    for at in GREETING.len() + 1..GREETING.len() + 20 {
        assert!(bodies(&talk(&server, &[&input[..at]])).is_empty());
    }
    server.await_stat("connections_now", 1);
}
