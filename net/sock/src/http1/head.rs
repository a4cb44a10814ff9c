//! Owns the head of an HTTP/1.1 request as bytes and what it demands. Pure.
//! Invariant: a head that two readers could understand differently is refused.

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::After;
use super::body::Plan;
use crate::limits::{HTTP1_FIELDS_MAX, HTTP1_HEAD_BYTES_MAX};
use crate::service::{HttpRequest, Peer};

/// What an answer must observe of its request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) version: Version,
    pub(super) after: After,
    pub(super) expects_continue: bool,
}

/// The minor version, which decides framing and the default of `Connection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

/// Why a request is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    Syntax,
    Version,
    HeadTooLarge,
    NoHost,
    ManyHosts,
    Length,
    Encoding,
    Expectation,
    TooLarge,
    Chunk,
}

impl Bad {
    /// The status, and what Go says after it.
    pub(super) fn words(&self) -> (StatusCode, &'static str) {
        match self {
            Bad::Syntax | Bad::Length | Bad::Chunk => (StatusCode::BAD_REQUEST, ""),
            Bad::NoHost => (StatusCode::BAD_REQUEST, ": missing required Host header"),
            Bad::ManyHosts => (StatusCode::BAD_REQUEST, ": too many Host headers"),
            Bad::Version => {
                (StatusCode::HTTP_VERSION_NOT_SUPPORTED, ": unsupported protocol version")
            }
            Bad::HeadTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, ""),
            Bad::Encoding => (StatusCode::NOT_IMPLEMENTED, ": unsupported transfer encoding"),
            Bad::Expectation => (StatusCode::EXPECTATION_FAILED, ""),
            Bad::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, ": http: request body too large"),
        }
    }
}

/// Takes a head from the input, if it is complete.
pub(super) fn parse(
    input: &mut BytesMut,
    peer: Peer,
) -> Result<Option<(Box<HttpRequest>, Head, Plan)>, Bad> {
    // Robust servers skip empty lines before a request (RFC 9112, 2.2).
    while input.starts_with(b"\r\n") || input.starts_with(b"\n") {
        input.advance(if input[0] == b'\r' { 2 } else { 1 });
    }
    let mut fields = [httparse::EMPTY_HEADER; HTTP1_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let used = match request.parse(input) {
        Ok(httparse::Status::Complete(used)) if used <= HTTP1_HEAD_BYTES_MAX => used,
        Ok(httparse::Status::Complete(_)) => return Err(Bad::HeadTooLarge),
        Ok(httparse::Status::Partial) if HTTP1_HEAD_BYTES_MAX <= input.len() => {
            return Err(Bad::HeadTooLarge);
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Bad::HeadTooLarge),
        Err(httparse::Error::Version) => return Err(Bad::Version),
        Err(_) => return Err(Bad::Syntax),
    };
    let version = match request.version {
        Some(0) => Version::Http10,
        _ => Version::Http11,
    };
    let method = request.method.unwrap_or_default();
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Bad::Syntax)?;
    let (path, query) = split_target(request.path.unwrap_or_default())?;
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Bad::Syntax)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Bad::Syntax)?;
        headers.append(name, value);
    }
    input.advance(used);
    let head = demands(version, &headers)?;
    let plan = plan(version, &headers)?;
    let request = HttpRequest { peer, method, path, query, headers, body: Bytes::new() };
    Ok(Some((Box::new(request), head, plan)))
}

/// Path and query of a request target in origin, absolute or asterisk form.
fn split_target(target: &str) -> Result<(String, String), Bad> {
    let uri: http::Uri = target.parse().map_err(|_| Bad::Syntax)?;
    if uri.path_and_query().is_none() {
        return Ok((target.to_owned(), String::new()));
    }
    Ok((uri.path().to_owned(), uri.query().unwrap_or_default().to_owned()))
}

fn demands(version: Version, headers: &HeaderMap) -> Result<Head, Bad> {
    match (headers.get_all(HOST).iter().count(), version) {
        (0, Version::Http11) => return Err(Bad::NoHost),
        (0, Version::Http10) | (1, _) => {}
        (_, _) => return Err(Bad::ManyHosts),
    }
    let asks = |wanted: &str| has_token(headers, &CONNECTION, wanted);
    let after = match version {
        Version::Http11 if asks("close") => After::Close,
        Version::Http11 => After::Keep,
        Version::Http10 if asks("keep-alive") => After::Keep,
        Version::Http10 => After::Close,
    };
    let expects_continue = match headers.get(EXPECT) {
        None => false,
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            version == Version::Http11
        }
        Some(_) => return Err(Bad::Expectation),
    };
    Ok(Head { version, after, expects_continue })
}

fn plan(version: Version, headers: &HeaderMap) -> Result<Plan, Bad> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let text = value.to_str().map_err(|_| Bad::Length)?;
        if text.is_empty() || !text.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(Bad::Length);
        }
        let found: u64 = text.parse().map_err(|_| Bad::Length)?;
        if length.is_some_and(|length| length != found) {
            return Err(Bad::Length);
        }
        length = Some(found);
    }
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(Plan::sized(length.unwrap_or(0))),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            // Both at once is how requests are smuggled past proxies.
            match (length, version) {
                (None, Version::Http11) => Ok(Plan::chunked()),
                (_, _) => Err(Bad::Length),
            }
        }
        (Some(_), _) => Err(Bad::Encoding),
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case(wanted))
}
