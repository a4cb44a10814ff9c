//! gRPC and plain HTTP/2 as well-behaved clients speak it. The client is h2's own.

mod common;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::client::{
    Client, End, finish, grpc, next_message, read, runtime, send_all, with, within,
};
use common::{Running, framed};
use h2::Reason;
use http::Request;
use ringleader_sock::Options;

#[test]
fn a_unary_call_gets_its_message_and_its_trailers() {
    with(Options::as_etcd(), |client, _server| async move {
        for _ in 0..3 {
            let (bytes, trailers) = client.call("/t.T/Echo", b"hello").await;
            assert_eq!(bytes, framed(b"hello"));
            assert_eq!(trailers["grpc-status"], "0");
            assert!(!trailers.contains_key("grpc-message"));
        }
        let (bytes, _) = client.call("/t.T/Echo", b"").await;
        assert_eq!(bytes, framed(b""));
        let (bytes, trailers) = client.call("/t.T/Parts", b"").await;
        assert_eq!(bytes, framed(b"0123456789"));
        assert_eq!(trailers["grpc-status"], "0");
    });
}

#[test]
fn an_error_is_trailers_alone_with_its_text_encoded() {
    with(Options::as_etcd(), |client, _server| async move {
        let (bytes, trailers) = client.call("/t.T/Fail", b"x").await;
        assert!(bytes.is_empty());
        assert_eq!(trailers["grpc-status"], "5");
        assert_eq!(trailers["grpc-message"], "100%25 gone%0A");
    });
}

#[test]
fn unknown_paths_are_unimplemented_in_grpc_gos_words() {
    with(Options::as_etcd(), |client, _server| async move {
        for (path, text) in [
            ("/etcdserverpb.KV/Nope", "unknown method Nope for service etcdserverpb.KV"),
            ("/foo.Bar/Baz", "unknown service foo.Bar"),
        ] {
            let (_, trailers) = client.call(path, b"x").await;
            assert_eq!(trailers["grpc-status"], "12");
            assert_eq!(trailers["grpc-message"], text);
        }
    });
}

#[test]
fn metadata_reaches_the_service() {
    with(Options::as_etcd(), |client, _server| async move {
        let request = grpc("/t.T/Head")
            .header("authorization", "second")
            .header("token", "first")
            .header("hasleader", "true")
            .header("client-api-version", "3.7")
            .header("grpc-timeout", "1500m")
            .header("grpc-encoding", "identity");
        let (answer, mut body) = client.start(request.body(()).unwrap()).await;
        send_all(&mut body, framed(b""), End::Yes).await;
        let (bytes, _) = finish(within(answer).await.unwrap()).await;
        assert_eq!(&bytes[5..], b"first leader Some(1.5s) 3.7");
        let (bytes, _) = client.call("/t.T/Head", b"").await;
        assert_eq!(&bytes[5..], b"no token any None no version");
    });
}

#[test]
fn what_grpc_go_refuses_is_refused() {
    with(Options::as_etcd(), |client, _server| async move {
        let other = |kind: &str| {
            Request::post("http://h/t.T/Echo").header("content-type", kind).body(()).unwrap()
        };
        let (answer, _) = client.open(other("application/grpc-web")).await;
        assert_eq!(answer.status(), 415);
        let (answer, mut body) = client.start(other("application/grpc+proto")).await;
        send_all(&mut body, framed(b"x"), End::Yes).await;
        assert_eq!(within(answer).await.unwrap().status(), 200);
        let get = grpc("/t.T/Echo").method("GET").body(()).unwrap();
        assert_eq!(client.open(get).await.0.status(), 405);
        for (name, value, status) in
            [("grpc-encoding", "snappy", "12"), ("grpc-timeout", "soon", "13")]
        {
            let request = grpc("/t.T/Echo").header(name, value).body(()).unwrap();
            let (answer, _body) = client.open(request).await;
            assert_eq!(answer.headers()["grpc-status"], status);
        }
    });
}

#[test]
fn a_message_too_large_is_refused_at_its_prefix() {
    with(Options::as_etcd(), |client, server| async move {
        let (answer, mut body) = client.start_grpc("/t.T/Echo").await;
        let prefix = [0, 0, 0x21, 0x91, 0xdd];
        body.send_data(Bytes::copy_from_slice(&prefix), false).unwrap();
        let (_, trailers) = finish(within(answer).await.unwrap()).await;
        assert_eq!(trailers["grpc-status"], "8");
        let text = "grpc: received message larger than max (2200029 vs. 2097152)";
        assert_eq!(trailers["grpc-message"], text);
        // The rest of the message is not wanted.
        let reset = within(std::future::poll_fn(|context| body.poll_reset(context))).await;
        assert_eq!(reset.unwrap(), Reason::NO_ERROR);
        // The largest that is allowed passes.
        let largest = vec![1; 2_097_152];
        let (bytes, trailers) = client.call("/t.T/Echo", &largest).await;
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(bytes.len(), largest.len() + 5);
        assert_eq!(server.stat("messages_too_large"), 1);
    });
}

#[test]
fn a_body_that_ends_inside_a_message_is_an_error() {
    with(Options::as_etcd(), |client, server| async move {
        for path in ["/t.T/Echo", "/t.T/Chat"] {
            let (answer, mut body) = client.start_grpc(path).await;
            body.send_data(Bytes::from_static(&[0, 0, 0, 0, 9, 1]), true).unwrap();
            let (_, trailers) = finish(within(answer).await.unwrap()).await;
            assert_eq!(trailers["grpc-status"], "13");
            assert_eq!(trailers["grpc-message"], "unexpected EOF");
        }
        // The service knew of the stream, not of the unary call.
        server.await_entry("gone");
        assert_eq!(server.diary.lock().unwrap().len(), 2);
    });
}

#[test]
fn many_large_calls_at_once_all_come_through() {
    with(Options::as_etcd(), |client, _server| async move {
        let calls = (0..60u8).map(|n| {
            let client = client.clone();
            async move {
                let message = vec![n; 1_000_000];
                let (bytes, trailers) = client.call("/t.T/Echo", &message).await;
                assert_eq!(trailers["grpc-status"], "0");
                assert_eq!(bytes[5..], message[..]);
            }
        });
        let calls: Vec<_> = calls.map(|call| tokio::spawn(call)).collect();
        for call in calls {
            call.await.unwrap();
        }
    });
}

#[test]
fn a_small_call_overtakes_a_large_answer() {
    with(Options::as_etcd(), |client, _server| async move {
        let big = client.clone();
        let (answer, mut body) = big.start_grpc("/t.T/Big").await;
        send_all(&mut body, framed(&60_000_000u32.to_be_bytes()), End::Yes).await;
        let mut answer = within(answer).await.unwrap();
        // The large answer is on its way and nobody reads it: the window of its stream is full.
        tokio::time::sleep(Duration::from_millis(100)).await;
        for _ in 0..50 {
            let (bytes, _) = client.call("/t.T/Echo", b"quick").await;
            assert_eq!(&bytes[5..], b"quick");
        }
        assert_eq!(read(answer.body_mut()).await.len(), 60_000_005);
    });
}

#[test]
fn a_stream_talks_both_ways_until_half_close() {
    with(Options::as_etcd(), |client, server| async move {
        let (answer, mut body) = client.start_grpc("/t.T/Chat").await;
        body.send_data(framed(b"one"), false).unwrap();
        let mut answer = within(answer).await.unwrap();
        let mut rest = BytesMut::new();
        let first = next_message(answer.body_mut(), &mut rest).await;
        assert_eq!(first.unwrap(), &b"one"[..]);
        // Two messages and a half in one frame, the other half later.
        let mut bytes = BytesMut::new();
        for message in [&b"two"[..], b"three", b"four"] {
            bytes.extend_from_slice(&framed(message));
        }
        let mut bytes = bytes.freeze();
        body.send_data(bytes.split_to(20), false).unwrap();
        for wanted in [&b"two"[..], b"three"] {
            assert_eq!(next_message(answer.body_mut(), &mut rest).await.unwrap(), wanted);
        }
        body.send_data(bytes, true).unwrap();
        let last = next_message(answer.body_mut(), &mut rest).await;
        assert_eq!(last.unwrap(), &b"four"[..]);
        assert!(next_message(answer.body_mut(), &mut rest).await.is_none());
        let trailers = within(answer.body_mut().trailers()).await.unwrap().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        server.await_entry("half");
    });
}

#[test]
fn small_messages_of_one_turn_share_frames_and_keep_their_order() {
    with(Options::as_etcd(), |client, _server| async move {
        let mut sent = BytesMut::new();
        for n in 0..900u32 {
            // Some are too large to be copied, and some frames fill up.
            let size = if n % 100 == 50 { 3_000 } else { 16 + n as usize % 80 };
            let mut message = n.to_be_bytes().to_vec();
            message.resize(size, n as u8);
            sent.extend_from_slice(&framed(&message));
        }
        let (answer, mut body) = client.start_grpc("/t.T/Chat").await;
        send_all(&mut body, sent.clone().freeze(), End::Yes).await;
        let mut answer = within(answer).await.unwrap();
        let (mut got, mut frames) = (Vec::new(), 0);
        while let Some(data) = within(answer.body_mut().data()).await {
            let data = data.unwrap();
            assert!(data.len() <= 16 << 10, "a DATA frame of {}", data.len());
            answer.body_mut().flow_control().release_capacity(data.len()).unwrap();
            got.extend_from_slice(&data);
            frames += 1;
        }
        assert!(got == sent[..], "what was sent comes back in its order");
        assert!(frames < 300, "{frames} frames for 900 messages");
        let trailers = within(answer.body_mut().trailers()).await.unwrap().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
    });
}

#[test]
fn a_stream_can_be_ended_by_the_service() {
    with(Options::as_etcd(), |client, _server| async move {
        let (answer, mut body) = client.start_grpc("/t.T/Chat").await;
        body.send_data(framed(b"hello"), false).unwrap();
        body.send_data(framed(b"bye"), false).unwrap();
        let (bytes, trailers) = finish(within(answer).await.unwrap()).await;
        assert_eq!(bytes, framed(b"hello"));
        assert_eq!(trailers["grpc-status"], "14");
        assert_eq!(trailers["grpc-message"], "bye");
    });
}

#[test]
fn a_reset_is_told_once_and_late_answers_are_harmless() {
    with(Options::as_etcd(), |client, server| async move {
        for path in ["/t.T/Hang", "/t.T/Chat"] {
            let (answer, mut body) = client.start_grpc(path).await;
            send_all(&mut body, framed(b"x"), End::No).await;
            if path == "/t.T/Hang" {
                body.send_data(Bytes::new(), true).unwrap();
                server.await_entry("hang");
            } else {
                server.await_entry("open");
            }
            server.diary.lock().unwrap().retain(|entry| !entry.starts_with("gone"));
            body.send_reset(Reason::CANCEL);
            drop(answer);
            server.await_entry("gone");
        }
        let (bytes, _) = client.call("/t.T/Echo", b"still here").await;
        assert_eq!(&bytes[5..], b"still here");
        let gone = |entry: &&String| entry.starts_with("gone");
        assert_eq!(server.diary.lock().unwrap().iter().filter(gone).count(), 1);
        assert_eq!(server.stat("calls_gone"), 2);
        server.await_stat("calls_now", 1);
    });
}

#[test]
fn a_lost_connection_gives_up_all_its_calls() {
    let server = Running::start(Options::as_etcd());
    let runtime = runtime();
    runtime.block_on(within(async {
        let client = Client::connect(&server).await;
        for _ in 0..10 {
            let (answer, mut body) = client.start_grpc("/t.T/Hang").await;
            send_all(&mut body, framed(b"x"), End::Yes).await;
            std::mem::forget(answer);
        }
        // The eleventh is the one that asks.
        server.await_stat("calls_now", 11);
    }));
    drop(runtime);
    server.await_stat("calls_gone", 10);
    server.await_stat("connections_now", 1);
}

#[test]
fn a_stream_is_pushed_back_upon_and_goes_on_when_drained() {
    with(Options::as_etcd(), |client, server| async move {
        let (answer, mut body) = client.start_grpc("/t.T/Flood").await;
        body.send_data(framed(&20_000_000u32.to_be_bytes()), false).unwrap();
        let mut answer = within(answer).await.unwrap();
        let full = server.await_entry("full");
        let queued: usize = full[5..].parse().unwrap();
        assert!(queued < 400_000, "{queued} bytes queued");
        let bytes = read(answer.body_mut()).await;
        assert_eq!(bytes.len(), 20_000_000 + 400 * 5);
        server.await_entry("drained");
        let trailers = within(answer.body_mut().trailers()).await.unwrap().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
    });
}

#[test]
fn a_client_that_does_not_read_its_answers_is_not_read_either() {
    with(Options::as_etcd(), |client, server| async move {
        let (answer, mut body) = client.start_grpc("/t.T/Chat").await;
        let message = framed(&vec![5; 100_000]);
        let total = 300;
        let sending = tokio::spawn(async move {
            for _ in 0..total {
                send_all(&mut body, message.clone(), End::No).await;
            }
            body.send_data(Bytes::new(), true).unwrap();
        });
        let mut answer = within(answer).await.unwrap();
        server.await_entry("chat full");
        tokio::time::sleep(Duration::from_millis(300)).await;
        // What the client may have sent: what was echoed, our queue, and one window.
        let received = server.stat("received_bytes");
        assert!(received < 4_000_000, "{received} bytes were read");
        assert!(!sending.is_finished());
        assert_eq!(read(answer.body_mut()).await.len(), total * 100_005);
        sending.await.unwrap();
    });
}

#[test]
fn plain_http_comes_over_the_same_connection() {
    with(
        Options { http_body_bytes_max: 1000, ..Options::as_etcd() },
        |client, server| async move {
            let get = Request::get("http://h:1/a?b").body(()).unwrap();
            let (answer, mut body) = client.start(get).await;
            body.send_data(Bytes::new(), true).unwrap();
            let mut answer = within(answer).await.unwrap();
            assert_eq!(answer.headers()["content-length"], "15");
            assert_eq!(answer.headers()["x-test"], "yes");
            assert_eq!(read(answer.body_mut()).await, b"GET /a b h:1 0\n");

            let head = Request::head("http://h/a").body(()).unwrap();
            let (answer, mut body) = client.start(head).await;
            body.send_data(Bytes::new(), true).unwrap();
            let mut answer = within(answer).await.unwrap();
            assert!(answer.headers().contains_key("content-length"));
            assert!(read(answer.body_mut()).await.is_empty());

            let post = Request::post("http://h/echo").body(()).unwrap();
            let (answer, mut body) = client.start(post.clone()).await;
            send_all(&mut body, Bytes::from(vec![3; 1000]), End::Yes).await;
            let mut answer = within(answer).await.unwrap();
            assert_eq!(read(answer.body_mut()).await, vec![3; 1000]);

            let (answer, mut body) = client.start(post).await;
            send_all(&mut body, Bytes::from(vec![3; 1001]), End::No).await;
            assert_eq!(within(answer).await.unwrap().status(), 413);
            assert_eq!(server.stat("bodies_too_large"), 1);

            let lines = Request::get("http://h/lines?3000").body(()).unwrap();
            let (answer, mut body) = client.start(lines).await;
            body.send_data(Bytes::new(), true).unwrap();
            let mut answer = within(answer).await.unwrap();
            let text = String::from_utf8(read(answer.body_mut()).await).unwrap();
            assert_eq!(text.lines().count(), 3000);

            for (path, status) in [("/drop", 500), ("/nothing", 204)] {
                let request = Request::get(format!("http://h{path}")).body(()).unwrap();
                let (answer, mut body) = client.start(request).await;
                body.send_data(Bytes::new(), true).unwrap();
                assert_eq!(within(answer).await.unwrap().status(), status);
            }
            let cut = Request::get("http://h/cut").body(()).unwrap();
            let (answer, mut body) = client.start(cut).await;
            body.send_data(Bytes::new(), true).unwrap();
            match within(answer).await {
                Err(error) => assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR)),
                Ok(mut answer) => loop {
                    match within(answer.body_mut().data()).await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => {
                            assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
                            break;
                        }
                        None => panic!("a cut answer looks whole"),
                    }
                },
            }
        },
    );
}

#[test]
fn answers_to_many_calls_share_few_sends() {
    with(Options::as_etcd(), |client, server| async move {
        let before = server.stat("sends");
        let mut answers = Vec::new();
        for _ in 0..500 {
            let (answer, mut body) = client.start_grpc("/t.T/Echo").await;
            body.send_data(framed(b"hello"), true).unwrap();
            answers.push(answer);
        }
        for answer in answers {
            finish(within(answer).await.unwrap()).await;
        }
        let sends = server.stat("sends") - before;
        assert!(sends < 100, "{sends} sends for 500 answers");
    });
}

#[test]
fn a_stop_lets_open_calls_end_and_takes_no_new_ones() {
    with(Options::as_etcd(), |client, server| async move {
        let (answer, mut body) = client.start_grpc("/t.T/Chat").await;
        body.send_data(framed(b"one"), false).unwrap();
        let mut answer = within(answer).await.unwrap();
        let mut rest = BytesMut::new();
        assert!(next_message(answer.body_mut(), &mut rest).await.is_some());
        server.stop(Duration::from_secs(20));
        // GOAWAY arrives: the client starts nothing more.
        loop {
            match client.0.clone().ready().await {
                Err(_) => break,
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        body.send_data(framed(b"two"), true).unwrap();
        assert!(next_message(answer.body_mut(), &mut rest).await.is_some());
        let trailers = within(answer.body_mut().trailers()).await.unwrap().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        let begun = std::time::Instant::now();
        tokio::task::spawn_blocking(move || server.join()).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10), "well before the grace is over");
    });
}

#[test]
fn a_stop_does_not_wait_forever() {
    with(Options::as_etcd(), |client, server| async move {
        let (answer, mut body) = client.start_grpc("/t.T/Hang").await;
        send_all(&mut body, framed(b"x"), End::Yes).await;
        server.await_entry("hang");
        let begun = std::time::Instant::now();
        server.stop(Duration::from_millis(300));
        let (diary, server) = (server.diary.clone(), server.clone());
        tokio::task::spawn_blocking(move || server.join()).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(within(answer).await.is_err());
        assert!(diary.lock().unwrap().iter().any(|entry| entry.starts_with("gone")));
    });
}

#[test]
fn unfinished_requests_share_a_bounded_memory() {
    with(Options::as_etcd(), |client, server| async move {
        // 80 messages of 2 MiB, each short of its end: 128 MiB may wait.
        let mut open = Vec::new();
        for _ in 0..80 {
            let (answer, mut body) = client.start_grpc("/t.T/Echo").await;
            let message = framed(&vec![0; 2_000_000]);
            let most = message.slice(..1_900_000);
            open.push(tokio::spawn(async move {
                // A refused call ends its body early.
                let mut rest = most;
                while !rest.is_empty() {
                    body.reserve_capacity(rest.len());
                    let room = std::future::poll_fn(|context| body.poll_capacity(context)).await;
                    let Some(Ok(room)) = room else { break };
                    let piece = rest.split_to(room.min(rest.len()));
                    if body.send_data(piece, false).is_err() {
                        break;
                    }
                }
                match tokio::time::timeout(Duration::from_secs(3), answer).await {
                    Err(_) => None,
                    Ok(answer) => Some(finish(answer.unwrap()).await.1),
                }
            }));
        }
        let mut refused = 0;
        for call in open {
            if let Some(trailers) = call.await.unwrap() {
                assert_eq!(trailers["grpc-status"], "8");
                assert_eq!(trailers["grpc-message"], "etcdserver: too many requests");
                refused += 1;
            }
        }
        assert!((10..30).contains(&refused), "{refused} refused");
        assert_eq!(server.stat("calls_refused_memory"), refused);
        // The memory comes back.
        let (bytes, _) = client.call("/t.T/Echo", &vec![1; 2_000_000]).await;
        assert_eq!(bytes.len(), 2_000_005);
    });
}
