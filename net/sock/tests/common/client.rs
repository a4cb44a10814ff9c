//! Owns the client of the HTTP/2 tests: h2's own, on a thread of its own. Asserts only what holds
//! of every answer.
#![allow(dead_code)] // Each test file uses its part.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use ringleader_sock::Options;

use super::{Running, framed};

/// Runs a client against a server.
pub fn with<F: Future<Output = ()>>(
    options: Options,
    test: impl FnOnce(Client, Arc<Running>) -> F,
) {
    let server = Arc::new(Running::start(options));
    runtime().block_on(async {
        let client = Client::connect(&server).await;
        let limit = tokio::time::timeout(Duration::from_secs(60), test(client, server.clone()));
        limit.await.expect("in time");
    });
}

/// The client's connections run on a thread of their own: tests may block.
pub fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

pub async fn within<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), answer).await.expect("in time")
}

#[derive(Clone)]
pub struct Client(pub SendRequest<Bytes>);

impl Client {
    pub async fn connect(server: &Running) -> Client {
        let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let (client, connection) = h2::client::Builder::new()
            .initial_window_size(1 << 20)
            .initial_connection_window_size(8 << 20)
            .max_frame_size(1 << 20)
            .handshake(stream)
            .await
            .unwrap();
        // The connection ends with an error where the tests provoke one.
        tokio::spawn(async move { drop(connection.await) });
        Client(client)
    }

    pub async fn open(&self, request: Request<()>) -> (Response<RecvStream>, SendStream<Bytes>) {
        let (answer, body) = self.start(request).await;
        (within(answer).await.unwrap(), body)
    }

    pub async fn start(
        &self,
        request: Request<()>,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let mut ready = self.0.clone().ready().await.unwrap();
        ready.send_request(request, false).unwrap()
    }

    pub async fn start_grpc(&self, path: &str) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        self.start(grpc(path).body(()).unwrap()).await
    }

    /// A unary call: messages and trailers.
    pub async fn call(&self, path: &str, message: &[u8]) -> (Vec<u8>, HeaderMap) {
        let (answer, mut body) = self.start_grpc(path).await;
        send_all(&mut body, framed(message), End::Yes).await;
        finish(within(answer).await.unwrap()).await
    }
}

pub fn grpc(path: &str) -> http::request::Builder {
    Request::builder()
        .method("POST")
        .uri(format!("http://h{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Yes,
    No,
}

/// Sends all, or what the server still wants: it may refuse a call at its head.
pub async fn send_all(body: &mut SendStream<Bytes>, mut bytes: Bytes, end: End) {
    while !bytes.is_empty() {
        body.reserve_capacity(bytes.len());
        let room = std::future::poll_fn(|context| body.poll_capacity(context)).await;
        let Some(Ok(room)) = room else { return };
        let piece = bytes.split_to(room.min(bytes.len()));
        if body.send_data(piece, bytes.is_empty() && end == End::Yes).is_err() {
            return;
        }
    }
}

/// Body and trailers (or the head, if it is all there is).
pub async fn finish(answer: Response<RecvStream>) -> (Vec<u8>, HeaderMap) {
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    let (head, mut body) = answer.into_parts();
    let bytes = read(&mut body).await;
    let trailers = within(body.trailers()).await.unwrap();
    (bytes, trailers.unwrap_or(head.headers))
}

pub async fn read(body: &mut RecvStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(data) = within(body.data()).await {
        let data = data.unwrap();
        assert!(data.len() <= 16 << 10, "a DATA frame of {}", data.len());
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    bytes
}

pub async fn next_message(body: &mut RecvStream, rest: &mut BytesMut) -> Option<Bytes> {
    loop {
        if rest.len() >= 5 {
            let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
            if rest.len() >= 5 + length {
                return Some(rest.split_to(5 + length).freeze().slice(5..));
            }
        }
        let data = within(body.data()).await?.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        rest.extend_from_slice(&data);
    }
}
