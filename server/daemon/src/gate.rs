//! Owns who may ask for pages on the client ports: under which host names, and from which origins.
//! Never looks at gRPC calls or at other ports, as etcd does not. Invariant: the answers are etcd's
//! to the byte; the host is judged before the origin.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use settings::{Access, Names};
use sock::{HttpRequest, HttpResponse};

/// Judges a request: the fields that every answer to it carries, or the refusal.
pub fn judge(access: &Access, request: &HttpRequest) -> Result<HeaderMap, Box<HttpResponse>> {
    let named = request.headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    let named = String::from_utf8_lossy(named);
    let host = host_of(&named);
    if !access.hosts.have(host) {
        journal::warn!("rejecting HTTP request to prevent DNS rebinding attacks", "host" => host);
        return Err(Box::new(misdirected(host)));
    }
    Ok(origin_fields(&access.origins, request.headers.get(header::ORIGIN)))
}

/// The host without its port; what cannot be told apart stays whole, as Go has it.
fn host_of(named: &str) -> &str {
    let Some((host, _port)) = named.rsplit_once(':') else { return named };
    match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').filter(|ip| !ip.contains(['[', ']'])),
        None => Some(host).filter(|host| !host.contains([':', '[', ']'])),
    }
    .unwrap_or(named)
}

/// What tells a browser that it may hand the answer to the script that asked.
fn origin_fields(origins: &Names, origin: Option<&HeaderValue>) -> HeaderMap {
    let allowed = match (origins, origin) {
        (Names::Any, _) => Some(HeaderValue::from_static("*")),
        (Names::Only(_), Some(origin)) => {
            let known = origin.to_str().is_ok_and(|text| !text.is_empty() && origins.have(text));
            known.then(|| origin.clone())
        }
        (Names::Only(_), None) => None,
    };
    let mut fields = HeaderMap::new();
    if let Some(allowed) = allowed {
        let methods = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
        let names = HeaderValue::from_static("accept, content-type, authorization");
        fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    fields
}

fn misdirected(host: &str) -> HttpResponse {
    let body = format!(
        "\netcd received your request, but the Host header was unrecognized.\n\n\
         To fix this, choose one of the following options:\n\
         - Enable TLS, then any HTTPS request will be allowed.\n\
         - Add the hostname you want to use to the whitelist in settings.\n  \
         - e.g. etcd --host-whitelist {host:?}\n\n\
         This requirement has been added to help prevent \"DNS Rebinding\" attacks \
         (CVE-2018-5702).\n\n"
    );
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    HttpResponse { status: StatusCode::MISDIRECTED_REQUEST, headers, body: Bytes::from(body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;
    use sock::Peer;

    fn request(host: &str, origin: Option<&'static str>) -> HttpRequest {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        HttpRequest {
            peer: Peer::Unix,
            method: Method::GET,
            path: "/version".into(),
            query: String::new(),
            headers,
            body: Bytes::new(),
        }
    }

    fn only(names: &[&str]) -> Names {
        Names::Only(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_host_is_its_name_letter_by_letter_without_the_port() {
        let access = Access { origins: Names::Any, hosts: only(&["good.com", "::1"]) };
        for (host, good) in [
            ("good.com", true),
            ("good.com:2379", true),
            ("[::1]:2379", true),
            ("::1", true),
            ("[::1]", false),
            ("GOOD.COM", false),
            ("good.com.", false),
            ("evil.com", false),
            ("", false),
        ] {
            assert_eq!(judge(&access, &request(host, None)).is_ok(), good, "{host}");
        }
    }

    #[test]
    fn a_refusal_is_etcds_to_the_byte_and_names_no_origin() {
        let access = Access { origins: Names::Any, hosts: only(&["good.com"]) };
        let refused = |host| judge(&access, &request(host, Some("http://a:1"))).unwrap_err();
        let response = refused("evil.com:2379");
        assert_eq!(response.status, 421);
        assert!(!response.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        // The lengths that 3.5.1 sends.
        assert_eq!(response.body.len(), 370);
        assert_eq!(refused("[::1]:3").body.len(), 365);
        assert_eq!(refused("").body.len(), 362);
    }

    #[test]
    fn listed_origins_are_named_back_and_others_pass_without() {
        let access = Access { origins: only(&["http://a.com:80"]), hosts: Names::Any };
        let of = |origin| judge(&access, &request("h", origin)).unwrap();
        assert_eq!(of(Some("http://a.com:80"))["access-control-allow-origin"], "http://a.com:80");
        assert_eq!(of(Some("http://a.com:80")).len(), 3);
        assert!(of(Some("http://a.com")).is_empty());
        assert!(of(Some("")).is_empty());
        assert!(of(None).is_empty());
        let all = Access { origins: Names::Any, hosts: Names::Any };
        let fields = judge(&all, &request("h", None)).unwrap();
        assert_eq!(fields["access-control-allow-origin"], "*");
    }
}
