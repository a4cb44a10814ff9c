//! Owns the way of an HTTP/2 call from its head to the service: is it gRPC, may it come in, what
//! does it carry. Never answers on the service's behalf except to refuse.
//! Invariant: a call is in the hub before the service hears of it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::{ALLOW, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use wire::grpc::Decoder;
use wire::{Code, Status};

use crate::body::{Body, Kind, Next};
use crate::chunk::Chunk;
use crate::conn::Seat;
use crate::limits::CONNECTION_QUEUE_BYTES_MAX;
use crate::pack::Packing;
use crate::reply::{HttpReply, respond};
use crate::service::{CallHead, CallId, HttpRequest, LeaderNeed, Metadata, Route};
use crate::slab::{Answer, Call, Sink};
use crate::stats;

const GRPC: &[u8] = b"application/grpc";

/// Takes a new call, on this stream.
pub(super) fn accept<S>(
    seat: &Seat<S>,
    stream: u32,
    request: Request<RecvStream>,
    mut sink: SendResponse<Chunk>,
) {
    if CONNECTION_QUEUE_BYTES_MAX < seat.line.queued_bytes() {
        // Its client does not read; it may try again on a better connection.
        stats::add(&seat.core().counters.calls_refused_unread, 1);
        sink.send_reset(Reason::REFUSED_STREAM);
        return;
    }
    let (parts, recv) = request.into_parts();
    let kind = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let call = |answer| Call {
        line: seat.line.clone(),
        stream,
        sink: Sink::Head(sink),
        answer,
        body: None,
        meter: None,
        owed: 0,
        prefix: None,
        packing: Packing::Plain,
    };
    // As etcd does it: whatever mentions gRPC goes to the gRPC server, the rest to the HTTP mux.
    let mentions = || kind.windows(GRPC.len()).any(|window| window == GRPC);
    if !kind.starts_with(GRPC) && !mentions() {
        let answer = match parts.method == Method::HEAD {
            true => Answer::HttpHeadOnly,
            false => Answer::Http,
        };
        return http(seat, parts, recv, call(answer));
    }
    if let Some(refusal) = refuse_grpc(&parts, kind) {
        let (status, text) = refusal;
        return refuse(call(Answer::Http), status, text);
    }
    grpc(seat, &parts, recv, call(Answer::Grpc));
}

fn grpc<S>(seat: &Seat<S>, parts: &Parts, recv: RecvStream, call: Call) {
    let core = seat.core();
    let opened = read_head(seat, &parts.headers).and_then(|(head, encoding)| {
        match seat.service.route(parts.uri.path()) {
            Route::Refused(status) => Err(status),
            route @ (Route::Unary(_) | Route::Stream(_)) => Ok((head, encoding, route)),
        }
    });
    let (head, encoding, route) = match opened {
        Ok(opened) => opened,
        Err(status) => {
            let call = core.insert(call);
            return seat.hub.finish(call, &status);
        }
    };
    let encoding = match wire::grpc::parse_encoding(&String::from_utf8_lossy(encoding)) {
        Ok(encoding) => encoding,
        Err(status) => return refuse_encoding(seat, call, &status),
    };
    let call = Call { packing: Packing::new(encoding), ..call };
    let decoder = Decoder::new(core.options.message_bytes_max, encoding);
    match route {
        Route::Unary(method) => {
            let kind = Kind::Unary { method, head, message: None, decoder };
            first_look(seat, call, Body::new(kind, recv, core, &seat.line));
        }
        Route::Stream(method) => {
            let body = Body::new(Kind::Stream { decoder }, recv, core, &seat.line);
            let call = core.insert(Call { body: Some(Box::new(body)), ..call });
            seat.service.open(call, method, head);
            pump(seat, call);
        }
        Route::Refused(_) => unreachable!("sorted out above"),
    }
}

fn http<S>(seat: &Seat<S>, parts: Parts, recv: RecvStream, call: Call) {
    let mut headers = parts.headers;
    if let Some(authority) = parts.uri.authority()
        && !headers.contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(HOST, host);
    }
    let request = Some(Box::new(HttpRequest {
        peer: seat.line.peer,
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers,
        body: Bytes::new(),
    }));
    let kind = Kind::Http { request, bytes: BytesMut::new() };
    first_look(seat, call, Body::new(kind, recv, seat.core(), &seat.line));
}

/// Most requests arrive whole: those never wait in the hub with a body.
fn first_look<S>(seat: &Seat<S>, call: Call, mut body: Body) {
    match step(seat, &mut body) {
        Step::Later => {
            seat.core().insert(Call { body: Some(Box::new(body)), ..call });
        }
        done => {
            drop(body);
            let call = seat.core().insert(call);
            finish_step(seat, call, done);
        }
    }
}

/// Reads what has come for a call, as far as the call can take it.
pub(super) fn pump<S>(seat: &Seat<S>, call: CallId) {
    let core = seat.core();
    let body = core.calls.borrow_mut().get_mut(call).and_then(|entry| entry.body.take());
    let Some(mut body) = body else { return };
    loop {
        if is_full(seat, call) {
            break;
        }
        match step(seat, &mut body) {
            Step::Later => break,
            Step::Message(message) => {
                seat.service.message(call, message);
                if core.calls.borrow_mut().get_mut(call).is_none() {
                    return;
                }
            }
            done => {
                drop(body);
                return finish_step(seat, call, done);
            }
        }
    }
    if let Some(entry) = core.calls.borrow_mut().get_mut(call) {
        entry.body = Some(body);
    }
}

/// A call that does not read its answers may not ask for more.
fn is_full<S>(seat: &Seat<S>, call: CallId) -> bool {
    let mut calls = seat.core().calls.borrow_mut();
    let meter = calls.get_mut(call).and_then(|entry| entry.meter.as_ref());
    meter.is_some_and(|meter| meter.is_full())
}

/// What one look at a body led to.
enum Step {
    Later,
    Unary { method: u16, head: CallHead, message: Bytes },
    Message(Bytes),
    Closed,
    Http(Box<HttpRequest>),
    Failed { status: Status, was_open: WasOpen },
    TooLarge,
    Gone(WasOpen),
}

/// Whether the service knows of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WasOpen {
    Yes,
    No,
}

fn finish_step<S>(seat: &Seat<S>, call: CallId, step: Step) {
    let counters = &seat.core().counters;
    match step {
        Step::Unary { method, head, message } => seat.service.unary(call, method, head, message),
        Step::Closed => seat.service.half_closed(call),
        Step::Http(request) => {
            seat.service.http(*request, HttpReply::new(seat.hub.clone(), call));
        }
        Step::Failed { status, was_open } => {
            if status.code == Code::ResourceExhausted {
                let too_large = status.message.starts_with("grpc: received");
                let counter = match too_large {
                    true => &counters.messages_too_large,
                    false => &counters.calls_refused_memory,
                };
                stats::add(counter, 1);
            }
            seat.hub.finish(call, &status);
            if was_open == WasOpen::Yes {
                seat.service.gone(call);
            }
        }
        Step::TooLarge => {
            stats::add(&counters.bodies_too_large, 1);
            let Some(call) = seat.core().remove(call) else { return };
            refuse(call, StatusCode::PAYLOAD_TOO_LARGE, "http: request body too large\n".into());
        }
        Step::Gone(was_open) => {
            stats::add(&counters.calls_gone, 1);
            if seat.core().remove(call).is_some() && was_open == WasOpen::Yes {
                seat.service.gone(call);
            }
        }
        Step::Later | Step::Message(_) => unreachable!("the caller goes on with these"),
    }
}

fn step<S>(seat: &Seat<S>, body: &mut Body) -> Step {
    loop {
        if let Kind::Stream { decoder } = &mut body.kind {
            match decoder.next_message() {
                Ok(Some(message)) => return Step::Message(message),
                Ok(None) => {}
                Err(status) => return Step::Failed { status, was_open: WasOpen::Yes },
            }
        }
        let done = match body.next() {
            Next::Data(data) => take(seat, body, data),
            Next::End => Some(end(body)),
            Next::Gone => Some(Step::Gone(was_open(body))),
            Next::Later => match body.account() {
                Ok(()) => Some(Step::Later),
                Err(status) => Some(match body.kind {
                    Kind::Unary { .. } | Kind::Stream { .. } => {
                        Step::Failed { status, was_open: was_open(body) }
                    }
                    Kind::Http { .. } => Step::TooLarge,
                }),
            },
        };
        if let Some(done) = done {
            return done;
        }
    }
}

fn was_open(body: &Body) -> WasOpen {
    match body.kind {
        Kind::Stream { .. } => WasOpen::Yes,
        Kind::Unary { .. } | Kind::Http { .. } => WasOpen::No,
    }
}

fn take<S>(seat: &Seat<S>, body: &mut Body, data: Bytes) -> Option<Step> {
    match &mut body.kind {
        Kind::Unary { message, decoder, .. } => {
            // What follows the one message is of no interest (grpc-go reads no further either).
            if message.is_none() {
                decoder.push(data);
                match decoder.next_message() {
                    Ok(found) => *message = found,
                    Err(status) => return Some(Step::Failed { status, was_open: WasOpen::No }),
                }
            }
        }
        Kind::Stream { decoder } => decoder.push(data),
        Kind::Http { bytes, .. } => {
            let limit = seat.core().options.http_body_bytes_max as usize;
            if limit < bytes.len() + data.len() {
                return Some(Step::TooLarge);
            }
            bytes.extend_from_slice(&data);
        }
    }
    None
}

fn end(body: &mut Body) -> Step {
    match &mut body.kind {
        Kind::Unary { method, head, message, decoder } => match message.take() {
            Some(message) => {
                let metadata = head.metadata.take();
                let (peer, leader, timeout) = (head.peer, head.leader, head.timeout);
                let head = CallHead { peer, leader, timeout, metadata };
                Step::Unary { method: *method, head, message }
            }
            None => {
                let text = if decoder.finish().is_ok() { "EOF" } else { "unexpected EOF" };
                let status = Status::new(Code::Internal, text);
                Step::Failed { status, was_open: WasOpen::No }
            }
        },
        Kind::Stream { decoder } => match decoder.finish() {
            Ok(()) => Step::Closed,
            Err(status) => Step::Failed { status, was_open: WasOpen::Yes },
        },
        Kind::Http { request, bytes } => {
            let mut request = request.take().expect("a body ends once");
            request.body = std::mem::take(bytes).freeze();
            Step::Http(request)
        }
    }
}

/// Everything of the metadata that anybody looks at, in one pass, and how messages are encoded.
fn read_head<'a, S>(
    seat: &Seat<S>,
    headers: &'a HeaderMap,
) -> Result<(CallHead, &'a [u8]), Status> {
    let mut metadata = Metadata::default();
    let (mut leader, mut timeout, mut any) = (LeaderNeed::Any, None, false);
    let mut encoding = None;
    for (name, value) in headers {
        match name.as_str() {
            "token" => metadata.token.get_or_insert_with(|| value.clone()),
            "authorization" => metadata.authorization.get_or_insert_with(|| value.clone()),
            "client-api-version" => {
                metadata.client_api_version.get_or_insert_with(|| value.clone())
            }
            "hasleader" => {
                if value.as_bytes() == b"true" {
                    leader = LeaderNeed::Required;
                }
                continue;
            }
            "grpc-timeout" => {
                timeout = Some(read_timeout(value)?);
                continue;
            }
            "grpc-encoding" => {
                encoding.get_or_insert(value.as_bytes());
                continue;
            }
            _ => continue,
        };
        any = true;
    }
    let metadata = any.then(|| Box::new(metadata));
    let head = CallHead { peer: seat.line.peer, leader, timeout, metadata };
    Ok((head, encoding.unwrap_or_default()))
}

/// Says which encodings are known, as gRPC asks of a server (its "Message Encoding").
fn refuse_encoding<S>(seat: &Seat<S>, call: Call, status: &Status) {
    call.line.call_finished();
    if let Sink::Head(mut respond) = call.sink {
        let _ = respond.send_response(seat.core().heads.encoding_refused(status), true);
    }
}

fn read_timeout(value: &HeaderValue) -> Result<Duration, Status> {
    wire::grpc::parse_timeout(&String::from_utf8_lossy(value.as_bytes()))
}

/// What grpc-go's HTTP handler refuses before it looks for the method.
fn refuse_grpc(parts: &Parts, kind: &[u8]) -> Option<(StatusCode, String)> {
    if parts.method != Method::POST {
        let text = format!("invalid gRPC request method {:?}\n", parts.method.as_str());
        return Some((StatusCode::METHOD_NOT_ALLOWED, text));
    }
    let is_ours = kind
        .strip_prefix(GRPC)
        .is_some_and(|rest| rest.first().is_none_or(|first| matches!(first, b'+' | b';')));
    if !is_ours {
        let text = String::from_utf8_lossy(kind);
        let text = format!("invalid gRPC request content-type {text:?}\n");
        return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    None
}

/// Ends a call that the hub does not know, in words.
fn refuse(call: Call, status: StatusCode, text: String) {
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    respond(call, status, headers, Bytes::from(text));
}
