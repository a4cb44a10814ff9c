//! Owns the fields of gRPC answers, built once per core and cloned. Sends nothing.
//! Invariant: an answer that carries a status carries its text percent-encoded.

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Response};
use wire::grpc::Encoding;
use wire::{Code, Status};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Field sets that every core reuses.
pub(crate) struct Heads {
    head: HeaderMap,
    head_gzip: HeaderMap,
    trailers: HeaderMap,
}

impl Heads {
    pub(crate) fn new() -> Heads {
        let mut head = HeaderMap::with_capacity(1);
        head.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let mut head_gzip = head.clone();
        head_gzip.insert(GRPC_ENCODING, HeaderValue::from_static(wire::gzip::NAME));
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(GRPC_STATUS, HeaderValue::from_static(Code::Ok.digits()));
        Heads { head, head_gzip, trailers }
    }

    /// The head before messages.
    pub(crate) fn head(&self, encoding: Encoding) -> Response<()> {
        let mut response = Response::new(());
        *response.headers_mut() = match encoding {
            Encoding::Identity => self.head.clone(),
            Encoding::Gzip => self.head_gzip.clone(),
        };
        response
    }

    /// The trailers after messages.
    pub(crate) fn trailers(&self, status: &Status) -> HeaderMap {
        match status.code {
            Code::Ok => self.trailers.clone(),
            _ => {
                let mut fields = HeaderMap::with_capacity(2);
                put_status(&mut fields, status);
                fields
            }
        }
    }

    /// Head and trailers in one, for a call that ends without a message.
    pub(crate) fn trailers_only(&self, status: &Status) -> Response<()> {
        let mut response = self.head(Encoding::Identity);
        put_status(response.headers_mut(), status);
        response
    }

    /// The same for a call whose messages come in an encoding that is not known here.
    pub(crate) fn encoding_refused(&self, status: &Status) -> Response<()> {
        let mut response = self.trailers_only(status);
        let known = HeaderValue::from_static(wire::grpc::ENCODINGS);
        response.headers_mut().insert(GRPC_ACCEPT_ENCODING, known);
        response
    }
}

fn put_status(fields: &mut HeaderMap, status: &Status) {
    fields.insert(GRPC_STATUS, HeaderValue::from_static(status.code.digits()));
    if !status.message.is_empty() {
        let text = wire::status::percent_encode(&status.message);
        let value = HeaderValue::from_str(&text).expect("percent-encoded text is printable");
        fields.insert(GRPC_MESSAGE, value);
    }
}
