//! HTTP/1.1 as clients speak it, well and badly. Scripts over a plain socket.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use common::Running;
use ringleader_sock::Options;

fn quick() -> Options {
    Options {
        http_body_bytes_max: 100_000,
        handshake_timeout: Duration::from_millis(600),
        idle_timeout: Duration::from_millis(900),
        body_timeout: Duration::from_millis(600),
        ..Options::as_etcd()
    }
}

fn connect(server: &Running) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Sends all of it and reads to the end of the connection, without the date.
fn talk(server: &Running, input: &[u8]) -> String {
    let mut stream = connect(server);
    stream.write_all(input).unwrap();
    read_all(&mut stream)
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let lines = text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: "));
    lines.collect()
}

/// Reads until the text ends like this.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(end.as_bytes()) {
        match stream.read(&mut byte).unwrap() {
            0 => panic!("ended after {:?}", String::from_utf8_lossy(&bytes)),
            _ => bytes.push(byte[0]),
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_request_is_answered_and_the_connection_kept() {
    let server = Running::start(quick());
    let mut stream = connect(&server);
    for _ in 0..3 {
        stream.write_all(b"GET /a%20b?x=1&y HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let answer = read_until(&mut stream, "h 0\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\nX-Test: yes\r\nDate: "), "{answer}");
        assert!(answer.ends_with("Content-Length: 21\r\n\r\nGET /a%20b x=1&y h 0\n"), "{answer}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Running::start(quick());
    let mut input = Vec::new();
    for n in 0..500 {
        write!(input, "GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    }
    input.extend_from_slice(b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let answers = talk(&server, &input);
    let bodies: Vec<_> = answers.lines().filter(|line| line.starts_with("GET ")).collect();
    assert_eq!(bodies.len(), 501);
    assert!((0..500).all(|n| bodies[n] == format!("GET /{n}  h 0")));
}

#[test]
fn http10_closes_unless_asked_to_keep() {
    let server = Running::start(quick());
    let answer = talk(&server, b"GET / HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with("Connection: close\r\n\r\nGET /  - 0\n"), "{answer}");
    let mut stream = connect(&server);
    stream.write_all(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").unwrap();
    let answer = read_until(&mut stream, "GET /  - 0\n");
    assert!(answer.contains("Connection: keep-alive\r\n"), "{answer}");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(read_all(&mut stream).contains("Connection: close"));
}

#[test]
fn bodies_come_by_length_or_in_chunks() {
    let server = Running::start(quick());
    let close = "Host: h\r\nConnection: close\r\n";
    let sized = format!("POST /echo HTTP/1.1\r\n{close}Content-Length: 5\r\n\r\nhello");
    assert!(talk(&server, sized.as_bytes()).ends_with("\r\n\r\nhello"));
    let chunked = format!(
        "POST /echo HTTP/1.1\r\n{close}Transfer-Encoding: chunked\r\n\r\n\
         2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: t\r\n\r\n"
    );
    assert!(talk(&server, chunked.as_bytes()).ends_with("\r\n\r\nhello"));
    // Byte by byte, as slow networks do.
    let mut stream = connect(&server);
    for byte in chunked.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(read_all(&mut stream).ends_with("\r\n\r\nhello"));
}

#[test]
fn a_large_body_survives_both_ways() {
    let server = Running::start(Options { http_body_bytes_max: 8 << 20, ..quick() });
    let body: Vec<u8> = (0..5_000_000u32).map(|n| n as u8).collect();
    let mut stream = connect(&server);
    let mut sender = stream.try_clone().unwrap();
    let sent = body.clone();
    let sending = std::thread::spawn(move || {
        let head = "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5000000";
        sender.write_all(head.as_bytes()).unwrap();
        sender.write_all(b"\r\n\r\n").unwrap();
        sender.write_all(&sent).unwrap();
    });
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    sending.join().unwrap();
    assert!(bytes.ends_with(&body));
}

#[test]
fn expect_continue_is_answered_before_the_body() {
    let server = Running::start(quick());
    let mut stream = connect(&server);
    let head =
        "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(read_until(&mut stream, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"ok").unwrap();
    assert!(read_until(&mut stream, "\r\n\r\nok").starts_with("HTTP/1.1 200 OK\r\n"));
    let other = talk(&server, b"GET / HTTP/1.1\r\nHost: h\r\nExpect: wonders\r\n\r\n");
    assert!(other.starts_with("HTTP/1.1 417 "), "{other}");
}

#[test]
fn head_has_the_length_and_no_body() {
    let server = Running::start(quick());
    let input = b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\nGET /x HTTP/1.0\r\n\r\n";
    let answers = talk(&server, input);
    assert_eq!(answers.matches("Content-Length: 13\r\n").count(), 1, "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2);
    assert!(answers.ends_with("\r\n\r\nGET /x  - 0\n"), "{answers}");
    let lines = talk(&server, b"HEAD /lines?2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(lines.ends_with("\r\n\r\n"), "{lines}");
}

#[test]
fn an_answer_without_content_has_no_length() {
    let server = Running::start(quick());
    let answers = talk(&server, b"GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let wanted = "HTTP/1.1 204 No Content\r\nX-Test: yes\r\nConnection: close\r\n\r\n";
    assert_eq!(answers, wanted);
}

#[test]
fn streamed_answers_are_chunked_and_pushed_back_upon() {
    let server = Running::start(quick());
    let mut stream = connect(&server);
    let request = b"GET /lines?20000 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    server.await_entry("drained");
    let text = read_all(&mut stream);
    assert!(text.contains("Transfer-Encoding: chunked\r\n"));
    assert!(text.ends_with("\r\n0\r\n\r\n"));
    assert_eq!(text.matches("\nline ").count(), 20_000);
    let old = talk(&server, b"GET /lines?3 HTTP/1.0\r\n\r\n");
    assert!(!old.contains("chunked"));
    assert_eq!(old.matches("line ").count(), 3);
}

#[test]
fn an_unanswered_request_is_our_error() {
    let server = Running::start(quick());
    let answer = talk(&server, b"GET /drop HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{answer}");
    let cut = talk(&server, b"GET /cut HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(cut.ends_with("4\r\nhalf\r\n"), "{cut}");
}

#[test]
fn what_cannot_be_understood_is_refused_in_words() {
    let server = Running::start(quick());
    let h = "Host: h\r\n";
    for (input, wanted) in [
        (format!("G(T / HTTP/1.1\r\n{h}\r\n"), "HTTP/1.1 400 Bad Request\r\n"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400 Bad Request: missing required Host header"),
        (format!("GET / HTTP/1.1\r\n{h}{h}\r\n"), "400 Bad Request: too many Host headers"),
        (
            format!("GET / HTTP/1.1\r\n{h}\r\nGET / HTTP/2.0\r\n{h}\r\n"),
            "HTTP/1.1 505 HTTP Version Not Supported\r\n",
        ),
        (format!("GET / HTTP/1.1\r\n{h}A : b\r\n\r\n"), "HTTP/1.1 400 Bad Request\r\n"),
        (format!("GET / HTTP/1.1\r\n{h}A: b\r\n c\r\n\r\n"), "HTTP/1.1 400 Bad Request\r\n"),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: x\r\n\r\n"), "400 Bad Request"),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: +1\r\n\r\n"), "400 Bad Request"),
        (
            format!("POST / HTTP/1.1\r\n{h}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            "400 Bad Request",
        ),
        (
            format!(
                "POST / HTTP/1.1\r\n{h}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
            "400 Bad Request",
        ),
        (format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: gzip\r\n\r\n"), "HTTP/1.1 501 "),
        (
            format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
            "400 Bad Request",
        ),
        (format!("POST / HTTP/1.1\r\n{h}Content-Length: 100001\r\n\r\n"), "HTTP/1.1 413 "),
        (
            format!("POST / HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n186a1\r\n"),
            "HTTP/1.1 413 ",
        ),
        (format!("GET /{} HTTP/1.1\r\n{h}\r\n", "a".repeat(70_000)), "HTTP/1.1 431 "),
        (format!("GET / HTTP/1.1\r\n{h}{}\r\n", "A: b\r\n".repeat(200)), "HTTP/1.1 431 "),
    ] {
        let answer = talk(&server, input.as_bytes());
        assert!(answer.contains(wanted), "{:?} got {answer}", &input[..input.len().min(90)]);
        assert!(answer.contains("Connection: close\r\n"));
    }
    assert_eq!(server.stat("errors_http1"), 16);
    assert_eq!(server.stat("bodies_too_large"), 2);
}

/// What Go's crypto/tls says first, up to where the lists of extensions begin; the 10 of
/// supported_groups is the line feed that ends the "line".
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03\
    0123456789abcdef0123456789abcdef\x00\x00\x02\x13\x01\x01\x00\x00\x0a\x00\x00";

#[test]
fn whoever_does_not_speak_http_is_hung_up_on_without_a_word() {
    let server = Running::start(quick());
    for input in [
        CLIENT_HELLO,
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.\r\nHost: h\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\n\r\n",
        &[0x80; 5000],
    ] {
        let begun = std::time::Instant::now();
        assert_eq!(talk(&server, input), "", "{input:?}");
        assert!(begun.elapsed() < Duration::from_millis(500), "{input:?} waited for a timeout");
        // In two pieces, too.
        let mut stream = connect(&server);
        stream.write_all(&input[..3]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(&input[3..]).unwrap();
        assert_eq!(read_all(&mut stream), "", "{input:?}");
    }
    assert_eq!(server.stat("errors_http1"), 16);
}

#[test]
fn slow_clients_are_dropped_in_every_phase() {
    let server = Running::start(quick());
    for input in [
        &b""[..],
        b"GET / HT",
        b"PRI * HTTP/2.0\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ] {
        assert_eq!(talk(&server, input), "", "{input:?}");
    }
    let idle = talk(&server, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(idle.ends_with("GET /  h 0\n"), "{idle}");
    assert_eq!(server.stat("timeouts_handshake"), 3);
    assert_eq!(server.stat("timeouts_http1"), 3);
}

#[test]
fn a_client_that_stops_sending_still_gets_its_answer() {
    let server = Running::start(quick());
    let mut stream = connect(&server);
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read_all(&mut stream).ends_with("GET /x  h 0\n"));
}

#[test]
fn a_stream_ends_when_its_client_leaves() {
    let server = Running::start(quick());
    let mut stream = connect(&server);
    stream.write_all(b"GET /lines?1000000 HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    read_until(&mut stream, "line ");
    drop(stream);
    server.await_entry("gone");
    server.await_stat("connections_now", 1);
}

#[test]
fn input_beyond_a_waiting_answer_is_bounded() {
    let server = Running::start(quick());
    let mut stream = connect(&server);
    stream.write_all(b"GET /hang HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    server.await_entry("hang");
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let junk = vec![b'x'; 1 << 20];
    let sent = (0..64).take_while(|_| stream.write_all(&junk).is_ok()).count();
    assert!(sent < 64, "the server read {sent} MiB that it has no use for");
    assert!(server.stat("received_bytes") < 1 << 20);
}
