//! Owns the verbs that answer requests that are not gRPC, over HTTP/1.1 and HTTP/2 alike. Queues,
//! like the hub; never touches a socket.
//! Invariant: every request that reached the service is answered once, if need be with a 500.

use std::rc::Rc;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Response, StatusCode};

use crate::chunk::{CallMeter, Chunk, Meter};
use crate::hub::{Hub, send_bare};
use crate::line::{Line, Outgoing};
use crate::service::{CallId, Pressure};
use crate::slab::{Answer, Call, Sink};

/// A complete answer to a request that is not gRPC.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// The status.
    pub status: StatusCode,
    /// All fields but the length, which the network adds.
    pub headers: HeaderMap,
    /// The body; left out in answers to `HEAD`.
    pub body: Bytes,
}

/// The right and duty to answer one request that is not gRPC. Dropped without an answer, it
/// answers 500, or cuts an answer that has begun.
pub struct HttpReply {
    hub: Hub,
    call: CallId,
    /// What the answer carries whoever gives it.
    fields: HeaderMap,
}

impl HttpReply {
    pub(crate) fn new(hub: Hub, call: CallId) -> HttpReply {
        HttpReply { hub, call, fields: HeaderMap::new() }
    }

    /// The call, as [`crate::Service::gone`] and [`crate::Service::drained`] name it.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// Fields that the answer carries whoever gives it; its own win.
    pub fn always(&mut self, fields: HeaderMap) {
        self.fields = fields;
    }

    /// The whole answer at once.
    pub fn respond(mut self, response: HttpResponse) {
        let Some(call) = self.hub.0.remove(self.call) else { return };
        let HttpResponse { status, headers, body } = response;
        let headers = self.with_fields(headers);
        respond(call, status, headers, body);
    }

    /// No answer: the request was not for this listener. Over HTTP/1.1 the connection ends, over
    /// HTTP/2 the stream.
    pub fn hang_up(self) {
        let Some(mut call) = self.hub.0.remove(self.call) else { return };
        call.line.call_finished();
        match &mut call.sink {
            Sink::Head(sender) => sender.send_reset(Reason::PROTOCOL_ERROR),
            Sink::Body(stream) => stream.send_reset(Reason::PROTOCOL_ERROR),
            Sink::Http1 => end_http1(&call.line, Outgoing::Abort),
        }
    }

    fn with_fields(&mut self, mut headers: HeaderMap) -> HeaderMap {
        for (name, value) in std::mem::take(&mut self.fields) {
            if let Some(name) = name {
                headers.entry(name).or_insert(value);
            }
        }
        headers
    }

    /// Begins an answer whose length is not known. Parts follow with [`HttpReply::send`].
    pub fn begin(&mut self, status: StatusCode, headers: HeaderMap) {
        let headers = self.with_fields(headers);
        let mut calls = self.hub.0.calls.borrow_mut();
        let Some(entry) = calls.get_mut(self.call) else { return };
        assert!(entry.meter.is_none());
        let meter = CallMeter::new(self.call, entry.line.clone());
        entry.meter = Some(Rc::new(meter));
        match &mut entry.sink {
            Sink::Head(respond) => {
                let mut response = Response::new(());
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                if let Ok(stream) = respond.send_response(response, false) {
                    entry.sink = Sink::Body(stream);
                }
            }
            Sink::Body(_) => unreachable!("begin() twice"),
            Sink::Http1 => {
                let head = Outgoing::Head { status, headers: Box::new(headers), length: None };
                entry.line.outgoing.borrow_mut().push_back(head);
                entry.line.bell.ring();
            }
        }
    }

    /// Queues the next part of an answer that has begun.
    pub fn send(&self, part: Bytes) -> Pressure {
        let mut calls = self.hub.0.calls.borrow_mut();
        let Some(entry) = calls.get_mut(self.call) else { return Pressure::Gone };
        let meter = entry.meter.clone().expect("begin() comes first");
        if entry.answer == Answer::HttpHeadOnly {
            return Pressure::Room;
        }
        match &mut entry.sink {
            // The stream was reset before its head could be queued.
            Sink::Head(_) => return Pressure::Gone,
            Sink::Body(stream) => {
                if send_bare(stream, part, || Meter::Call(meter.clone())).is_err() {
                    drop(calls);
                    return self.hub.lost(self.call);
                }
            }
            Sink::Http1 if part.is_empty() => {}
            Sink::Http1 => {
                meter.put(part.len());
                let body = Outgoing::Body(part, meter.clone());
                entry.line.outgoing.borrow_mut().push_back(body);
                entry.line.bell.ring();
            }
        }
        meter.pressure()
    }

    /// Ends an answer that has begun.
    pub fn end(self) {
        let Some(call) = self.hub.0.remove(self.call) else { return };
        assert!(call.meter.is_some());
        call.line.call_finished();
        match call.sink {
            Sink::Head(_) => {}
            Sink::Body(mut stream) => {
                let meter = Meter::Line(call.line.clone());
                let _ = stream.send_data(Chunk::bare(Bytes::new(), meter), true);
            }
            Sink::Http1 => end_http1(&call.line, Outgoing::End),
        }
    }
}

impl Drop for HttpReply {
    fn drop(&mut self) {
        let Some(mut call) = self.hub.0.remove(self.call) else { return };
        match &mut call.sink {
            Sink::Body(stream) => stream.send_reset(Reason::INTERNAL_ERROR),
            Sink::Http1 if call.meter.is_some() => end_http1(&call.line, Outgoing::Abort),
            Sink::Head(_) | Sink::Http1 => {
                let body = Bytes::from_static(b"Internal Server Error\n");
                respond(call, StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new(), body);
            }
        }
    }
}

fn end_http1(line: &Line, how: Outgoing) {
    line.outgoing.borrow_mut().push_back(how);
    line.bell.ring();
}

/// Writes a whole answer; the call was removed from the slab.
pub(crate) fn respond(mut call: Call, status: StatusCode, mut headers: HeaderMap, body: Bytes) {
    call.line.call_finished();
    let body_follows = call.answer != Answer::HttpHeadOnly && !body.is_empty();
    match &mut call.sink {
        Sink::Head(sender) => {
            let length = http::HeaderValue::from(body.len());
            headers.insert(http::header::CONTENT_LENGTH, length);
            let mut response = Response::new(());
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            let Ok(mut stream) = sender.send_response(response, !body_follows) else { return };
            if !body_follows {
                return;
            }
            let line = call.line.clone();
            if send_bare(&mut stream, body, || Meter::Line(line.clone())).is_ok() {
                let last = Chunk::bare(Bytes::new(), Meter::Line(line.clone()));
                let _ = stream.send_data(last, true);
            }
        }
        Sink::Body(_) => unreachable!("respond() after begin()"),
        Sink::Http1 => {
            let length = Some(body.len() as u64);
            let head = Outgoing::Head { status, headers: Box::new(headers), length };
            let mut outgoing = call.line.outgoing.borrow_mut();
            outgoing.push_back(head);
            if body_follows {
                let id = CallId { slot: u32::MAX, generation: 0 };
                let meter = Rc::new(CallMeter::new(id, call.line.clone()));
                meter.put(body.len());
                outgoing.push_back(Outgoing::Body(body, meter));
            }
            outgoing.push_back(Outgoing::End);
            drop(outgoing);
            call.line.bell.ring();
        }
    }
}
