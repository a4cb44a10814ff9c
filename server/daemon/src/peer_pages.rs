//! Owns the pages of the peer port: the members, the version, and what etcd's own peers are told
//! who take us for one of theirs.
//! Never takes part in etcd's own protocol between members: who speaks it is sent away.
//! Invariant: status, body and content type are etcd's; there are no fields for browsers here.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method as Verb, StatusCode, header};
use node::ShardEvent;
use sock::{HttpReply, HttpRequest, HttpResponse};
use wire::grpc::encode;
use wire::peer::Version;
use wire::{Method, Status, etcdserverpb as pb};

use crate::config::{CLUSTER_VERSION_MIN, VERSION};
use crate::core::Core;
use crate::lease_pages;
use crate::pages;

const TEXT: &str = "text/plain; charset=utf-8";

/// Where a request leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page<'a> {
    Members,
    /// A learner is to vote; this names it.
    Promote(&'a str),
    Renew,
    LookUp,
    Version,
    Downgrade,
    Hash,
    Probing,
    /// A stream as etcd's peers open it: refused.
    Stream,
    /// A message as etcd's peers send it: refused.
    Message,
    /// The path lacks its last slash.
    Moved(&'static str),
    NotAllowed(Allowed),
    Nowhere,
}

/// Whether a refused verb is told the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowed {
    Told(&'static str),
    Untold,
}

fn page<'a>(verb: &Verb, path: &'a str) -> Page<'a> {
    let only = |wanted: &Verb, allowed: &'static str, page: Page<'a>| {
        if verb == wanted { page } else { Page::NotAllowed(Allowed::Told(allowed)) }
    };
    let posted = |page| if verb == Verb::POST { page } else { Page::NotAllowed(Allowed::Untold) };
    match path {
        "/members" => only(&Verb::GET, "GET", Page::Members),
        "/members/promote" => Page::Moved("/members/promote/"),
        path if let Some(id) = path.strip_prefix("/members/promote/") => {
            only(&Verb::POST, "POST", Page::Promote(id))
        }
        "/leases" => posted(Page::Renew),
        "/leases/internal" => posted(Page::LookUp),
        "/version" => only(&Verb::GET, "GET", Page::Version),
        "/members/hashkv" => only(&Verb::GET, "GET", Page::Hash),
        "/downgrade/enabled" => only(&Verb::GET, "GET", Page::Downgrade),
        "/raft/probing" => Page::Probing,
        "/raft" | "/raft/snapshot" => only(&Verb::POST, "POST", Page::Message),
        "/raft/stream" => Page::Moved("/raft/stream/"),
        path if path.starts_with("/raft/stream/") => only(&Verb::GET, "GET", Page::Stream),
        _ => Page::Nowhere,
    }
}

/// Answers one request.
pub fn serve(core: &Rc<Core>, request: &HttpRequest, reply: HttpReply) {
    let cluster = core.shared.cluster_id;
    let answer = match page(&request.method, &request.path) {
        Page::Members => return members(core, reply),
        Page::Promote(id) => return promote(core, id, reply),
        Page::Renew => return lease_pages::renew(core, request, reply),
        Page::LookUp => return lease_pages::look_up(core, request, reply),
        Page::Hash => return hash(core, request, reply),
        Page::Version => with_kind(
            StatusCode::OK,
            "application/json",
            pages::version_body(core.shared.versions.cluster()),
        ),
        Page::Downgrade => {
            let enabled = core.shared.versions.is_downgrading().to_string();
            in_cluster(cluster, with_kind(StatusCode::OK, "text/plain", enabled))
        }
        Page::Probing => {
            let body = format!("{{\"OK\":true,\"Now\":\"{}\"}}\n", journal::utc_now());
            with_kind(StatusCode::OK, TEXT, body)
        }
        Page::Stream => in_cluster(cluster, with_version(unwelcome(cluster, &request.headers))),
        Page::Message => in_cluster(cluster, unwelcome(cluster, &request.headers)),
        Page::Moved(to) => moved(&request.method, to),
        Page::NotAllowed(allowed) => {
            let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
            if let Allowed::Told(verb) = allowed {
                response.headers.insert(header::ALLOW, HeaderValue::from_static(verb));
            }
            response
        }
        Page::Nowhere => error(StatusCode::NOT_FOUND, "404 page not found\n"),
    };
    reply.respond(answer);
}

/// Where a path goes on that lacks its last slash, as Go's router says it.
fn moved(verb: &Verb, to: &'static str) -> HttpResponse {
    let mut response = match *verb {
        Verb::GET | Verb::HEAD => {
            let body = format!("<a href=\"{to}\">Moved Permanently</a>.\n\n");
            with_kind(StatusCode::MOVED_PERMANENTLY, "text/html; charset=utf-8", body)
        }
        _ => HttpResponse {
            status: StatusCode::MOVED_PERMANENTLY,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        },
    };
    response.headers.insert(header::LOCATION, HeaderValue::from_static(to));
    response
}

/// A learner is to vote: etcd's members pass this on to their leader by it.
fn promote(core: &Rc<Core>, id: &str, reply: HttpReply) {
    let cluster = core.shared.cluster_id;
    let Ok(id) = id.parse::<u64>() else {
        let text = format!("member {id} not found in cluster\n");
        return reply.respond(in_cluster(cluster, error(StatusCode::NOT_FOUND, text)));
    };
    let asked = encode(&pb::MemberPromoteRequest { id });
    pages::call(core, Method::MemberPromote, asked, move |result| {
        let answer = match result {
            Ok(bytes) => {
                let list: pb::MemberPromoteResponse =
                    prost::Message::decode(bytes).expect("our own reply");
                with_kind(StatusCode::OK, "application/json", members_body(list.members))
            }
            Err(why) => unpromoted(&why),
        };
        reply.respond(in_cluster(cluster, answer));
    });
}

/// Why a learner does not vote, as etcd tells its members and not as it tells clients.
fn unpromoted(why: &Status) -> HttpResponse {
    match why.message.as_ref() {
        "etcdserver: member not found" => {
            error(StatusCode::NOT_FOUND, "membership: ID not found\n")
        }
        "etcdserver: can only promote a learner member" => error(
            StatusCode::PRECONDITION_FAILED,
            "membership: can only promote a learner member\n",
        ),
        unready @ "etcdserver: can only promote a learner member which is in sync with leader" => {
            error(StatusCode::PRECONDITION_FAILED, format!("{unready}\n"))
        }
        _ => with_kind(
            StatusCode::INTERNAL_SERVER_ERROR,
            "application/json",
            "{\"message\":\"Internal Server Error\"}",
        ),
    }
}

/// The list as this member knows it, which is what etcd's page shows too.
fn members(core: &Rc<Core>, reply: HttpReply) {
    let cluster = core.shared.cluster_id;
    let own = encode(&pb::MemberListRequest { linearizable: false });
    pages::call(core, Method::MemberList, own, move |result: Result<Bytes, Status>| {
        let answer = match result {
            Ok(bytes) => {
                let list: pb::MemberListResponse =
                    prost::Message::decode(bytes).expect("our own reply");
                let body = members_body(list.members);
                with_kind(StatusCode::OK, "application/json", body)
            }
            Err(why) => error(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", why.message)),
        };
        reply.respond(in_cluster(cluster, answer));
    });
}

/// The hash that members compare, of a revision that the body names.
fn hash(core: &Rc<Core>, request: &HttpRequest, reply: HttpReply) {
    let cluster = core.shared.cluster_id;
    let revision = match revision_of(cluster, request) {
        Ok(revision) => revision,
        Err(refusal) => return reply.respond(in_cluster(cluster, *refusal)),
    };
    let call = core.inside.begin(Box::new(move |result: Result<Bytes, Status>| {
        let answer = match result {
            Ok(bytes) => {
                let hash: pb::HashKvResponse = prost::Message::decode(bytes).expect("our own");
                with_kind(StatusCode::OK, "application/json", hash_body(&hash))
            }
            Err(why) => error(StatusCode::BAD_REQUEST, format!("{}\n", hash_error(&why.message))),
        };
        reply.respond(in_cluster(cluster, answer));
    }));
    core.tell_shard(ShardEvent::Hash { call, revision });
}

/// The revision asked for, or etcd's refusal.
fn revision_of(cluster: u64, request: &HttpRequest) -> Result<i64, Box<HttpResponse>> {
    let named = request.headers.get("x-etcd-cluster-id").map(HeaderValue::as_bytes);
    if named.is_some_and(|named| named != format!("{cluster:x}").as_bytes()) {
        let refusal = error(StatusCode::PRECONDITION_FAILED, "cluster ID mismatch\n");
        return Err(Box::new(refusal));
    }
    let body: Option<serde_json::Value> = serde_json::from_slice(&request.body).ok();
    let revision = match body.as_ref().map(|body| (body.is_object(), body.get("revision"))) {
        Some((true, None)) => Some(0),
        Some((true, Some(revision))) => revision.as_i64(),
        Some((false, _)) | None => None,
    };
    let refused = || error(StatusCode::BAD_REQUEST, "error unmarshalling request\n");
    revision.ok_or_else(|| Box::new(refused()))
}

/// Nothing stands in it that is zero, as Go's encoder leaves it out.
fn hash_body(hash: &pb::HashKvResponse) -> String {
    let header = hash.header.as_ref().map_or(0, |header| header.revision);
    let mut text = format!("{{\"header\":{{\"revision\":{header}}}");
    let figures = [
        ("hash", i64::from(hash.hash)),
        ("compact_revision", hash.compact_revision),
        ("hash_revision", hash.hash_revision),
    ];
    for (name, figure) in figures.into_iter().filter(|(_, figure)| *figure != 0) {
        text.push_str(&format!(",\"{name}\":{figure}"));
    }
    text + "}"
}

/// etcd's texts there are those of its store.
fn hash_error(message: &str) -> String {
    message.strip_prefix("etcdserver: ").unwrap_or(message).to_owned()
}

fn members_body(mut members: Vec<pb::Member>) -> String {
    members.sort_by_key(|member| member.id);
    let texts = members.iter().map(|member| {
        let mut text = format!("{{\"id\":{},\"peerURLs\":{}", member.id, list(&member.peer_urls));
        if member.is_learner {
            text.push_str(",\"isLearner\":true");
        }
        if !member.name.is_empty() {
            text.push_str(&format!(",\"name\":{}", serde_json::Value::from(member.name.as_str())));
        }
        if !member.client_urls.is_empty() {
            text.push_str(&format!(",\"clientURLs\":{}", list(&member.client_urls)));
        }
        text + "}"
    });
    format!("[{}]\n", texts.collect::<Vec<String>>().join(","))
}

fn list(texts: &[String]) -> String {
    serde_json::Value::from(texts.to_vec()).to_string()
}

fn with_kind(status: StatusCode, kind: &'static str, body: impl Into<String>) -> HttpResponse {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    HttpResponse { status, headers, body: Bytes::from(body.into()) }
}

/// A refusal in plain words.
pub fn error(status: StatusCode, body: impl Into<String>) -> HttpResponse {
    let mut response = with_kind(status, TEXT, body);
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// Why somebody is sent away who speaks etcd's protocol between members. Whoever fits in by version
/// and is of another cluster is told that, as by etcd; for all others it is the protocol that is
/// incompatible.
fn unwelcome(cluster: u64, headers: &HeaderMap) -> HttpResponse {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let version = |name| text(name).and_then(Version::parse);
    let minor = |version: Version| (version.major, version.minor);
    let ours = |text| minor(Version::parse(text).expect("our own version"));
    let fits = version("x-server-version").is_some_and(|of| ours(CLUSTER_VERSION_MIN) <= minor(of))
        && version("x-min-cluster-version").is_none_or(|least| minor(least) <= ours(VERSION));
    let own = format!("{cluster:x}");
    let why = match fits && text("x-etcd-cluster-id").is_some_and(|theirs| theirs != own) {
        true => "cluster ID mismatch\n",
        false => "incompatible version\n",
    };
    error(StatusCode::PRECONDITION_FAILED, why)
}

fn in_cluster(id: u64, mut response: HttpResponse) -> HttpResponse {
    let id = HeaderValue::from_str(&format!("{id:x}")).expect("digits");
    response.headers.insert(HeaderName::from_static("x-etcd-cluster-id"), id);
    response
}

fn with_version(mut response: HttpResponse) -> HttpResponse {
    let version = HeaderValue::from_static(VERSION);
    response.headers.insert(HeaderName::from_static("x-server-version"), version);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_a_verb_lead_where_etcd_leads_them() {
        let table = [
            (Verb::GET, "/members", Page::Members),
            (Verb::HEAD, "/members", Page::NotAllowed(Allowed::Told("GET"))),
            (Verb::POST, "/version", Page::NotAllowed(Allowed::Told("GET"))),
            (Verb::GET, "/raft", Page::NotAllowed(Allowed::Told("POST"))),
            (Verb::POST, "/members/promote/7", Page::Promote("7")),
            (Verb::POST, "/members/promote/7/", Page::Promote("7/")),
            (Verb::GET, "/members/promote/7", Page::NotAllowed(Allowed::Told("POST"))),
            (Verb::POST, "/members/promote", Page::Moved("/members/promote/")),
            (Verb::POST, "/leases", Page::Renew),
            (Verb::GET, "/leases", Page::NotAllowed(Allowed::Untold)),
            (Verb::POST, "/leases/internal", Page::LookUp),
            (Verb::POST, "/leases/", Page::Nowhere),
            (Verb::GET, "/members/hashkv", Page::Hash),
            (Verb::POST, "/members/hashkv", Page::NotAllowed(Allowed::Told("GET"))),
            (Verb::POST, "/raft/snapshot", Page::Message),
            (Verb::GET, "/raft/stream", Page::Moved("/raft/stream/")),
            (Verb::GET, "/raft/stream/msgapp/1", Page::Stream),
            (Verb::POST, "/raft/stream/", Page::NotAllowed(Allowed::Told("GET"))),
            (Verb::POST, "/raft/probing", Page::Probing),
            (Verb::GET, "/raft/", Page::Nowhere),
            (Verb::GET, "/health", Page::Nowhere),
        ];
        for (verb, path, expected) in table {
            assert_eq!(page(&verb, path), expected, "{verb} {path}");
        }
    }

    #[test]
    fn who_speaks_etcds_protocol_is_told_what_is_wrong_first() {
        let said = |fields: &[(&'static str, &'static str)]| {
            let headers = fields.iter().map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            unwelcome(0xc1, &headers.collect()).body
        };
        let (wrong, old) = (&b"cluster ID mismatch\n"[..], &b"incompatible version\n"[..]);
        let (server, least) = (("x-server-version", "3.7.0"), ("x-min-cluster-version", "3.0.0"));
        assert_eq!(said(&[]), old);
        assert_eq!(said(&[server, least, ("x-etcd-cluster-id", "c2")]), wrong);
        assert_eq!(said(&[server, least, ("x-etcd-cluster-id", "c1")]), old);
        assert_eq!(said(&[("x-server-version", "3.5.1"), ("x-etcd-cluster-id", "c2")]), old);
        let newer = ("x-min-cluster-version", "9.0.0");
        assert_eq!(said(&[server, newer, ("x-etcd-cluster-id", "c2")]), old);
    }

    #[test]
    fn a_hash_page_is_etcds_to_the_byte() {
        let header = Some(pb::ResponseHeader { revision: 99, ..Default::default() });
        let hash = pb::HashKvResponse {
            header,
            hash: 1_373_160_329,
            compact_revision: 6,
            hash_revision: 99,
        };
        assert_eq!(
            hash_body(&hash),
            "{\"header\":{\"revision\":99},\"hash\":1373160329,\"compact_revision\":6,\
             \"hash_revision\":99}"
        );
        let text = hash_error("etcdserver: mvcc: required revision is a future revision");
        assert_eq!(text, "mvcc: required revision is a future revision");
    }

    #[test]
    fn the_member_list_is_etcds_to_the_byte() {
        let started = pb::Member {
            id: 12_760_173_706_306_901_879,
            name: "m3".into(),
            peer_urls: vec!["http://127.0.0.1:25621".into()],
            client_urls: vec!["http://127.0.0.1:25620".into()],
            is_learner: false,
        };
        let added = pb::Member {
            id: 7,
            name: String::new(),
            client_urls: Vec::new(),
            is_learner: true,
            ..started.clone()
        };
        assert_eq!(
            members_body(vec![started, added]),
            "[{\"id\":7,\"peerURLs\":[\"http://127.0.0.1:25621\"],\"isLearner\":true},\
             {\"id\":12760173706306901879,\"peerURLs\":[\"http://127.0.0.1:25621\"],\
             \"name\":\"m3\",\"clientURLs\":[\"http://127.0.0.1:25620\"]}]\n"
        );
        assert_eq!(members_body(Vec::new()), "[]\n");
    }
}
