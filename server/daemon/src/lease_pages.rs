//! Owns the pages of the peer port by which etcd's members renew and look up leases at their
//! leader.
//! Never renews anything itself. Invariant: statuses, texts and bytes are etcd's; only the leader
//! renews here, whatever a member would do for its own clients.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sock::{HttpReply, HttpRequest, HttpResponse};
use wire::grpc::encode;
use wire::{Method, Status, etcdserverpb as pb};

use crate::core::Core;
use crate::pages;
use crate::peer_pages::error;

/// etcd's `LeaseInternalRequest` (leasepb).
#[derive(Clone, PartialEq, prost::Message)]
struct InternalRequest {
    #[prost(message, optional, tag = "1")]
    request: Option<pb::LeaseTimeToLiveRequest>,
}

/// etcd's `LeaseInternalResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct InternalResponse {
    #[prost(message, optional, tag = "1")]
    response: Option<pb::LeaseTimeToLiveResponse>,
}

/// Answers `/leases`: a renewal.
pub fn renew(core: &Rc<Core>, request: &HttpRequest, reply: HttpReply) {
    let Ok(asked) = <pb::LeaseKeepAliveRequest as prost::Message>::decode(request.body.clone())
    else {
        return reply.respond(garbage());
    };
    if !core.leads() {
        return reply.respond(error(StatusCode::BAD_REQUEST, "not a primary lessor\n"));
    }
    pages::first_of_stream(core, Method::LeaseKeepAlive, encode(&asked), move |result| {
        reply.respond(renewed(result));
    });
}

fn renewed(result: Result<Bytes, Status>) -> HttpResponse {
    match result {
        Err(why) => failed(&why),
        Ok(bytes) => {
            let kept: pb::LeaseKeepAliveResponse =
                prost::Message::decode(bytes).expect("our own reply");
            match kept.ttl {
                ..=0 => unknown(),
                // etcd leaves the header out here.
                ttl => found(&pb::LeaseKeepAliveResponse { header: None, id: kept.id, ttl }),
            }
        }
    }
}

/// Answers `/leases/internal`: how long a lease has.
pub fn look_up(core: &Rc<Core>, request: &HttpRequest, reply: HttpReply) {
    let asked = <InternalRequest as prost::Message>::decode(request.body.clone());
    // Without a request inside, etcd hangs up on whoever asks.
    let Ok(InternalRequest { request: Some(asked) }) = asked else {
        return reply.respond(garbage());
    };
    pages::call(core, Method::LeaseTimeToLive, encode(&asked), move |result| {
        reply.respond(looked_up(result));
    });
}

fn looked_up(result: Result<Bytes, Status>) -> HttpResponse {
    match result {
        Err(why) => failed(&why),
        Ok(bytes) => {
            let response: pb::LeaseTimeToLiveResponse =
                prost::Message::decode(bytes).expect("our own reply");
            if response.granted_ttl <= 0 {
                return unknown();
            }
            let header = Some(pb::ResponseHeader::default());
            found(&InternalResponse {
                response: Some(pb::LeaseTimeToLiveResponse { header, ..response }),
            })
        }
    }
}

fn found(message: &impl prost::Message) -> HttpResponse {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/protobuf"));
    HttpResponse { status: StatusCode::OK, headers, body: message.encode_to_vec().into() }
}

fn garbage() -> HttpResponse {
    error(StatusCode::BAD_REQUEST, "error unmarshalling request\n")
}

fn unknown() -> HttpResponse {
    error(StatusCode::NOT_FOUND, "lease not found\n")
}

fn failed(why: &Status) -> HttpResponse {
    error(StatusCode::REQUEST_TIMEOUT, format!("{}\n", why.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_etcds_to_the_byte() {
        let header = Some(pb::ResponseHeader { revision: 9, ..Default::default() });
        let kept = |ttl| encode(&pb::LeaseKeepAliveResponse { header, id: 0x21, ttl });
        let good = renewed(Ok(kept(60)));
        assert_eq!((good.status, &good.body[..]), (StatusCode::OK, &b"\x10\x21\x18\x3c"[..]));
        assert_eq!(good.headers[header::CONTENT_TYPE], "application/protobuf");
        let gone = renewed(Ok(kept(0)));
        assert_eq!(
            (gone.status, &gone.body[..]),
            (StatusCode::NOT_FOUND, &b"lease not found\n"[..])
        );
    }

    #[test]
    fn a_look_up_is_etcds_to_the_byte() {
        let reply = |ttl, granted_ttl| {
            looked_up(Ok(encode(&pb::LeaseTimeToLiveResponse {
                header: Some(pb::ResponseHeader { revision: 9, ..Default::default() }),
                id: 0x21,
                ttl,
                granted_ttl,
                keys: vec![b"a"[..].into()],
            })))
        };
        let good = reply(59, 60);
        let bytes = b"\x0a\x0b\x0a\x00\x10\x21\x18\x3b\x20\x3c\x2a\x01a";
        assert_eq!((good.status, &good.body[..]), (StatusCode::OK, &bytes[..]));
        assert_eq!(reply(-1, 0).status, StatusCode::NOT_FOUND);
    }
}
