//! Messages in an encoding of their own: what gRPC clients send and get when they pack.

mod common;

use bytes::{Bytes, BytesMut};
use common::client::{Client, End, finish, grpc, next_message, send_all, with, within};
use http::HeaderMap;
use ringleader_sock::{Options, limits};
use wire::gzip::{Packer, inflate};

/// A message as a client that packs frames it.
fn packed(message: &[u8]) -> Bytes {
    frame(1, &Packer::fast().pack(message))
}

fn frame(flag: u8, body: &[u8]) -> Bytes {
    let length = (body.len() as u32).to_be_bytes();
    [&[flag][..], &length, body].concat().into()
}

/// A call with this `grpc-encoding`: head, messages, trailers.
async fn call(client: &Client, path: &str, encoding: &str, sent: Bytes) -> Answer {
    let request = grpc(path).header("grpc-encoding", encoding).body(()).unwrap();
    let (answer, mut body) = client.start(request).await;
    send_all(&mut body, sent, End::Yes).await;
    let answer = within(answer).await.unwrap();
    let head = answer.headers().clone();
    let (body, trailers) = finish(answer).await;
    Answer { head, body, trailers }
}

struct Answer {
    head: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
}

impl Answer {
    fn flag(&self) -> u8 {
        self.body[0]
    }

    /// The one message, unpacked.
    fn message(&self) -> Vec<u8> {
        let length = u32::from_be_bytes(self.body[1..5].try_into().unwrap());
        assert_eq!(self.body.len(), 5 + length as usize);
        match self.flag() {
            0 => self.body[5..].to_vec(),
            flag => {
                assert_eq!(flag, 1);
                assert_eq!(self.head["grpc-encoding"], "gzip");
                inflate(&self.body[5..], 64 << 20).unwrap().to_vec()
            }
        }
    }
}

#[test]
fn who_packs_gets_packed_answers() {
    with(Options::as_etcd(), |client, _server| async move {
        for message in [&b"a message"[..], b"", &[b'x'; 50_000]] {
            let answer = call(&client, "/t.T/Echo", "gzip", packed(message)).await;
            assert_eq!((answer.flag(), &answer.message()[..]), (1, message));
            assert_eq!(answer.trailers["grpc-status"], "0");
        }
        // The call decides, not the message.
        let answer = call(&client, "/t.T/Echo", "gzip", frame(0, b"as it is")).await;
        assert_eq!((answer.flag(), &answer.message()[..]), (1, &b"as it is"[..]));
        let answer = call(&client, "/t.T/Parts", "gzip", packed(b"")).await;
        assert_eq!((answer.flag(), &answer.message()[..]), (1, &b"0123456789"[..]));
    });
}

#[test]
fn who_does_not_pack_gets_answers_as_they_are() {
    with(Options::as_etcd(), |client, _server| async move {
        let answer = call(&client, "/t.T/Echo", "identity", frame(0, b"plain")).await;
        assert_eq!((answer.flag(), &answer.message()[..]), (0, &b"plain"[..]));
        assert!(!answer.head.contains_key("grpc-encoding"));
        let answer = call(&client, "/t.T/Echo", "identity", packed(b"packed")).await;
        assert_eq!(answer.trailers["grpc-status"], "13");
        let text = "grpc: compressed flag set with identity or empty encoding";
        assert_eq!(answer.trailers["grpc-message"], text);
    });
}

#[test]
fn large_answers_go_out_as_they_are() {
    with(Options::as_etcd(), |client, _server| async move {
        for (size, flag) in [(limits::PACK_BYTES_MAX, 1), (limits::PACK_BYTES_MAX + 1, 0)] {
            let asked = packed(&(size as u32).to_be_bytes());
            let answer = call(&client, "/t.T/Big", "gzip", asked).await;
            assert_eq!((answer.flag(), answer.message()), (flag, vec![9; size]));
        }
    });
}

#[test]
fn a_stream_packs_every_message() {
    with(Options::as_etcd(), |client, _server| async move {
        let request = grpc("/t.T/Chat").header("grpc-encoding", "gzip").body(()).unwrap();
        let (answer, mut body) = client.start(request).await;
        body.send_data(packed(b"one"), false).unwrap();
        let mut answer = within(answer).await.unwrap();
        let mut rest = BytesMut::new();
        for said in [&b"one"[..], b"two", b"three"] {
            let heard = next_message(answer.body_mut(), &mut rest).await.unwrap();
            assert_eq!(&inflate(&heard, 100).unwrap()[..], said);
            let next: &[u8] = if said == b"one" { b"two" } else { b"three" };
            body.send_data(packed(next), false).unwrap();
        }
    });
}

#[test]
fn the_limit_is_that_of_the_message_as_it_is_meant() {
    let options = Options { message_bytes_max: 10_000, ..Options::as_etcd() };
    with(options, |client, server| async move {
        let sent = packed(&[0; 1 << 20]);
        assert!(sent.len() < 10_000);
        for path in ["/t.T/Echo", "/t.T/Chat"] {
            let answer = call(&client, path, "gzip", sent.clone()).await;
            assert_eq!(answer.trailers["grpc-status"], "8");
            let text = "grpc: received message larger than max (1048576 vs. 10000)";
            assert_eq!(answer.trailers["grpc-message"], text);
        }
        assert_eq!(server.stat("messages_too_large"), 2);
        let broken = call(&client, "/t.T/Echo", "gzip", frame(1, b"not packed at all")).await;
        assert_eq!(broken.trailers["grpc-status"], "13");
        let (head, largest) = (frame(0, b""), vec![0; 10_000]);
        let answer = call(&client, "/t.T/Echo", "gzip", packed(&largest)).await;
        assert_eq!((head.len(), answer.message()), (5, largest));
    });
}

#[test]
fn an_unknown_encoding_is_answered_with_those_that_are_known() {
    with(Options::as_etcd(), |client, _server| async move {
        for encoding in ["snappy", "GZIP", "deflate"] {
            let answer = call(&client, "/t.T/Echo", encoding, frame(0, b"x")).await;
            assert_eq!(answer.trailers["grpc-status"], "12");
            assert_eq!(answer.trailers["grpc-accept-encoding"], "identity,gzip");
            let text =
                format!("grpc: Decompressor is not installed for grpc-encoding \"{encoding}\"");
            assert_eq!(answer.trailers["grpc-message"], text.as_str());
        }
        // Where there is no method, nothing else matters.
        let answer = call(&client, "/no.Such/Method", "snappy", frame(0, b"x")).await;
        assert_eq!(answer.trailers["grpc-status"], "12");
        assert!(!answer.trailers.contains_key("grpc-accept-encoding"));
    });
}
