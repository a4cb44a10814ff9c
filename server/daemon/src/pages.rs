//! Owns the plain pages of the client port: health, version, metrics, variables.
//! Never answers from what the machines do not say. Invariant: bodies and content types are etcd's
//! to the byte, since probes and dashboards compare them.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method as Verb, StatusCode, header};
use node::ShardEvent;
use node::shard::{CallMeta, Caller, LeaderNeed};
use sock::{HttpReply, HttpRequest, HttpResponse};
use wire::grpc::encode;
use wire::peer::Version;
use wire::{Method, Status, etcdserverpb as pb};

use crate::config::VERSION;
use crate::core::Core;
use crate::metrics;
use crate::peer_pages;
use crate::ports::Role;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers one request.
pub fn serve(core: &Rc<Core>, role: Role, request: &HttpRequest, reply: HttpReply) {
    if role == Role::Peer {
        return peer_pages::serve(core, request, reply);
    }
    if role != Role::Metrics && request.method == Verb::OPTIONS {
        return reply.respond(response(StatusCode::OK, None, Bytes::new()));
    }
    if !serves(role, &request.path) {
        return reply.respond(text(StatusCode::NOT_FOUND, "404 page not found\n"));
    }
    let head = request.method == Verb::HEAD && request.path != "/debug/vars";
    if request.method != Verb::GET && !head && request.path != "/metrics" {
        return reply.respond(not_allowed());
    }
    match request.path.as_str() {
        "/version" => reply.respond(version(core)),
        "/metrics" => metrics::serve(core, reply),
        "/debug/vars" => variables(core, reply),
        "/health" => health(core, request, reply),
        _ => checks(core, request, reply),
    }
}

fn serves(role: Role, path: &str) -> bool {
    let watched = matches!(path, "/health" | "/metrics") || check_name(path).is_some();
    match role {
        Role::Client | Role::ClientHttp => watched || matches!(path, "/version" | "/debug/vars"),
        Role::Metrics => watched,
        Role::Peer | Role::ClientGrpc => unreachable!("these have other pages or none"),
    }
}

fn version(core: &Core) -> HttpResponse {
    let body = version_body(core.shared.versions.cluster());
    response(StatusCode::OK, Some(JSON), Bytes::from(body))
}

/// The versions, as both ports tell them.
pub fn version_body(cluster: Option<Version>) -> String {
    let (cluster, storage) = match cluster {
        Some(version) => (version.to_string(), version.to_string()),
        None => ("not_decided".to_owned(), "unknown".to_owned()),
    };
    format!(
        "{{\"etcdserver\":\"{VERSION}\",\"etcdcluster\":\"{cluster}\",\
         \"storage\":\"{storage}\"}}"
    )
}

fn response(status: StatusCode, kind: Option<&'static str>, body: Bytes) -> HttpResponse {
    let mut headers = HeaderMap::new();
    if let Some(kind) = kind {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    HttpResponse { status, headers, body }
}

fn text(status: StatusCode, body: impl Into<String>) -> HttpResponse {
    let mut response = response(status, Some(TEXT), Bytes::from(body.into()));
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

fn not_allowed() -> HttpResponse {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    response.headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
    response
}

/// The values of a repeatable query parameter; `None` where it has no value.
fn parameters<'a>(query: &'a str, name: &str) -> Vec<&'a str> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .collect()
}

/// Calls our own shard; `then` gets the reply.
pub fn call(
    core: &Rc<Core>,
    method: Method,
    message: Bytes,
    then: impl FnOnce(Result<Bytes, Status>) + 'static,
) {
    call_led(core, method, LeaderNeed::Any, message, then);
}

/// The same, refused at once while nobody leads if the page cannot do without.
fn call_led(
    core: &Rc<Core>,
    method: Method,
    leader: LeaderNeed,
    message: Bytes,
    then: impl FnOnce(Result<Bytes, Status>) + 'static,
) {
    let call = core.inside.begin(Box::new(then));
    let meta = CallMeta { leader, caller: Caller::Page };
    core.tell_shard(ShardEvent::Unary { call, method, meta, message });
}

/// Opens a stream at our own shard and says one thing on it; `then` gets the first reply.
pub fn first_of_stream(
    core: &Rc<Core>,
    method: Method,
    message: Bytes,
    then: impl FnOnce(Result<Bytes, Status>) + 'static,
) {
    let call = core.inside.begin(Box::new(then));
    let meta = CallMeta { leader: LeaderNeed::Required, caller: Caller::Page };
    core.tell_shard(ShardEvent::Open { call, method, meta });
    core.tell_shard(ShardEvent::Message { call, message });
}

/// What a health probe reads: one key, without its value (etcd's own probe).
fn probe(serializable: bool) -> Bytes {
    encode(&pb::RangeRequest {
        key: Bytes::from_static(b"a"),
        limit: 1,
        keys_only: true,
        serializable,
        ..pb::RangeRequest::default()
    })
}

fn health(core: &Rc<Core>, request: &HttpRequest, reply: HttpReply) {
    let excluded: Vec<String> =
        parameters(&request.query, "exclude").into_iter().map(str::to_owned).collect();
    let serializable = parameters(&request.query, "serializable").first() == Some(&"true");
    let next = core.clone();
    call(core, Method::Alarm, encode(&pb::AlarmRequest::default()), move |alarms| {
        if let Some(reason) = alarm_reason(alarms, &excluded) {
            next.tally.probed(Some(&reason));
            return reply.respond(health_body(Some(reason)));
        }
        let last = next.clone();
        // Reads that may be old need no leader, so such a probe does not ask for one (3.6).
        let led = if serializable { LeaderNeed::Any } else { LeaderNeed::Required };
        call_led(&next, Method::Range, led, probe(serializable), move |read| {
            let reason = read.err().map(|error| match error.message.as_ref() {
                "etcdserver: no leader" => "RAFT NO LEADER".to_owned(),
                other => format!("RANGE ERROR:{other}"),
            });
            last.tally.probed(reason.as_deref());
            reply.respond(health_body(reason));
        });
    });
}

fn alarm_reason(alarms: Result<Bytes, Status>, excluded: &[String]) -> Option<String> {
    let response: pb::AlarmResponse = match alarms {
        Ok(bytes) => prost::Message::decode(bytes).expect("our own reply"),
        Err(error) if error.message == "etcdserver: no leader" => {
            return Some("RAFT NO LEADER".into());
        }
        Err(error) => return Some(format!("RANGE ERROR:{}", error.message)),
    };
    let mut names = response.alarms.iter().map(|alarm| alarm.alarm().as_str_name());
    let active = names.rfind(|name| !excluded.iter().any(|excluded| excluded == name));
    active.map(|name| format!("ALARM {name}"))
}

fn health_body(reason: Option<String>) -> HttpResponse {
    match reason {
        None => {
            let body = Bytes::from_static(b"{\"health\":\"true\",\"reason\":\"\"}");
            response(StatusCode::OK, Some(TEXT), body)
        }
        Some(reason) => {
            let reason = serde_json::Value::String(reason);
            let body = format!("{{\"health\":\"false\",\"reason\":{reason}}}\n");
            text(StatusCode::SERVICE_UNAVAILABLE, body)
        }
    }
}

/// One check of `/livez` and `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }
}

const LIVE: &[Check] = &[Check::SerializableRead];
const READY: &[Check] =
    &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

/// The checks of a path: all of its page, or the one named below it.
fn check_name(path: &str) -> Option<Vec<Check>> {
    let (page, name) = match path.strip_prefix('/')?.split_once('/') {
        Some((page, name)) => (page, Some(name)),
        None => (path.strip_prefix('/')?, None),
    };
    let all = match page {
        "livez" => LIVE,
        "readyz" => READY,
        _ => return None,
    };
    let chosen: Vec<Check> =
        all.iter().copied().filter(|check| name.is_none_or(|name| check.name() == name)).collect();
    (!chosen.is_empty()).then_some(chosen)
}

fn checks(core: &Rc<Core>, request: &HttpRequest, reply: HttpReply) {
    let mut todo = check_name(&request.path).expect("the path was known");
    let root = matches!(request.path.as_str(), "/livez" | "/readyz");
    if root {
        let excluded = parameters(&request.query, "exclude");
        todo.retain(|check| !excluded.contains(&check.name()));
    }
    let verbose = !parameters(&request.query, "verbose").is_empty();
    todo.reverse();
    run_checks(core.clone(), todo, Vec::new(), verbose, reply);
}

fn run_checks(
    core: Rc<Core>,
    mut todo: Vec<Check>,
    mut done: Vec<(Check, Option<String>)>,
    verbose: bool,
    reply: HttpReply,
) {
    let Some(check) = todo.pop() else { return reply.respond(checks_body(&done, verbose)) };
    let (method, message) = match check {
        Check::NonLearner => (Method::Status, Bytes::new()),
        Check::DataCorruption => {
            let corrupt = pb::AlarmType::Corrupt as i32;
            let get = pb::AlarmRequest { alarm: corrupt, ..pb::AlarmRequest::default() };
            (Method::Alarm, encode(&get))
        }
        Check::SerializableRead => (Method::Range, probe(true)),
        Check::LinearizableRead => (Method::Range, probe(false)),
    };
    let next = core.clone();
    call(&core, method, message, move |result| {
        let error = match (check, result) {
            (Check::DataCorruption, result) => {
                alarm_reason(result, &[]).map(|_| "alarm activated: CORRUPT".to_owned())
            }
            (Check::NonLearner, Ok(status)) => learner_reason(status),
            (Check::SerializableRead | Check::LinearizableRead, Ok(_)) => None,
            (Check::NonLearner | Check::SerializableRead | Check::LinearizableRead, Err(error)) => {
                Some(error.message.into_owned())
            }
        };
        done.push((check, error));
        run_checks(next, todo, done, verbose, reply);
    });
}

/// Why a member is not ready that does not vote yet, in etcd's words.
fn learner_reason(status: Bytes) -> Option<String> {
    let status: pb::StatusResponse = prost::Message::decode(status).expect("our own reply");
    status.is_learner.then(|| "not supported for learner".to_owned())
}

fn checks_body(done: &[(Check, Option<String>)], verbose: bool) -> HttpResponse {
    let failed = done.iter().any(|(_, error)| error.is_some());
    let mut body = String::new();
    if verbose || failed {
        for (check, error) in done {
            match error {
                None => body.push_str(&format!("[+]{} ok\n", check.name())),
                Some(error) => body.push_str(&format!("[-]{} failed: {error}\n", check.name())),
            }
        }
    }
    match failed {
        true => text(StatusCode::SERVICE_UNAVAILABLE, body + "\n"),
        false => text(StatusCode::OK, body + "ok\n"),
    }
}

fn variables(core: &Rc<Core>, reply: HttpReply) {
    call(core, Method::Status, Bytes::new(), move |result| {
        let status: pb::StatusResponse =
            result.ok().and_then(|bytes| prost::Message::decode(bytes).ok()).unwrap_or_default();
        let id = status.header.as_ref().map_or(0, |header| header.member_id);
        let own = serde_json::json!({
            "match": status.raft_index,
            "next": status.raft_index + 1,
            "state": "StateReplicate",
        });
        let mut progress = serde_json::Map::new();
        progress.insert(format!("{id:x}"), own);
        let body = serde_json::json!({
            "cmdline": std::env::args().collect::<Vec<String>>(),
            "file_descriptor_limit": sock::files_max(),
            "memstats": {},
            "raft.status": {
                "id": format!("{id:x}"),
                "term": status.raft_term,
                "vote": format!("{id:x}"),
                "commit": status.raft_index,
                "lead": format!("{:x}", status.leader),
                "raftState": if status.leader == id { "StateLeader" } else { "StateFollower" },
                "applied": status.raft_applied_index,
                "progress": progress,
                "leadtransferee": "0",
            },
        });
        let kind = "application/json; charset=utf-8";
        reply.respond(response(StatusCode::OK, Some(kind), Bytes::from(body.to_string())));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_etcds_to_the_byte() {
        assert_eq!(&health_body(None).body[..], b"{\"health\":\"true\",\"reason\":\"\"}");
        let sick = health_body(Some("ALARM NOSPACE".into()));
        assert_eq!(&sick.body[..], b"{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
        let ok = checks_body(&[(Check::SerializableRead, None)], true);
        assert_eq!(&ok.body[..], b"[+]serializable_read ok\nok\n");
        let bad =
            checks_body(&[(Check::LinearizableRead, Some("etcdserver: no leader".into()))], false);
        assert_eq!(&bad.body[..], b"[-]linearizable_read failed: etcdserver: no leader\n\n");
    }

    #[test]
    fn a_member_without_a_vote_is_not_ready() {
        let status = |is_learner| encode(&pb::StatusResponse { is_learner, ..Default::default() });
        assert_eq!(learner_reason(status(false)), None);
        let reason = learner_reason(status(true));
        let body = checks_body(&[(Check::NonLearner, reason)], false);
        assert_eq!(&body.body[..], b"[-]non_learner failed: not supported for learner\n\n");
    }

    #[test]
    fn a_path_below_a_page_is_one_check() {
        assert_eq!(check_name("/readyz/data_corruption"), Some(vec![Check::DataCorruption]));
        assert_eq!(check_name("/livez"), Some(LIVE.to_vec()));
        assert_eq!(check_name("/livez/linearizable_read"), None);
        assert_eq!(check_name("/other"), None);
    }
}
