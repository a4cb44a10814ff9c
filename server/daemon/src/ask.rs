//! Owns the questions that this process asks other members before it runs: blocking, over HTTP/1.0,
//! so that an answer ends where the connection does.
//! Never runs on an executor. Invariant: an answer is bounded in bytes and in time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use serde_json::Value;
use settings::Url;
use settings::join::{Running, RunningMember, Vote};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Whether failed questions are worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// They are: an answer is needed.
    Failures,
    /// They are not: it was only a precaution.
    Nothing,
}

/// The cluster as the first of these members that answers describes it.
pub fn cluster(urls: &[Url], wait: Duration, tell: Tell) -> Result<Running, &'static str> {
    for url in urls {
        let failed = |what: &'static str, error: &str| {
            if tell == Tell::Failures {
                let address = format!("{url}/members");
                crate::setup::line(
                    journal::Level::Warn,
                    what,
                    &[("address", address.into()), ("error", error.into())],
                );
            }
        };
        match get(url, "/members", wait) {
            Err(error) => failed("failed to get cluster response", &error),
            Ok(answer) => match (members(&answer.body), answer.cluster_id()) {
                (None, _) => failed("failed to unmarshal cluster response", "not a member list"),
                (Some(_), None) => failed("failed to parse cluster ID", "no cluster ID"),
                (Some(members), Some(_)) if members.is_empty() => {
                    return Err("failed to get raft cluster member(s) from the given URLs");
                }
                (Some(members), Some(cluster_id)) => return Ok(Running { cluster_id, members }),
            },
        }
    }
    Err("could not retrieve cluster information from the given URLs")
}

/// The cluster version that the member at this URL works with.
pub fn cluster_version(url: &Url, wait: Duration) -> Option<String> {
    let answer = get(url, "/version", wait).ok()?;
    let value: Value = serde_json::from_slice(&answer.body).ok()?;
    Some(value.get("etcdcluster")?.as_str()?.to_owned())
}

/// An answer, whatever its status: etcd does not look at it either.
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn cluster_id(&self) -> Option<u64> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut ids = fields.filter(|(name, _)| name.eq_ignore_ascii_case("x-etcd-cluster-id"));
        u64::from_str_radix(ids.next()?.1.trim(), 16).ok()
    }
}

fn get(url: &Url, path: &str, wait: Duration) -> Result<Answer, String> {
    let failed = |error: &dyn std::fmt::Display| format!("Get \"{url}{path}\": {error}");
    if url.is_secure() || url.is_file() {
        return Err(failed(&"this build of ringleader reaches peers over http alone"));
    }
    let end = Instant::now() + wait;
    let host = url.host_and_port().0;
    let addresses = url.place.to_socket_addrs();
    let addresses =
        addresses.map_err(|_| failed(&format!("dial tcp: lookup {host}: no such host")))?;
    let mut last = "no such host".to_owned();
    for address in addresses {
        match talk(&url.place, address, path, end) {
            Ok(bytes) => return parse(&bytes).ok_or_else(|| failed(&"malformed HTTP response")),
            Err(error) => last = format!("dial tcp {address}: connect: {}", reason(&error)),
        }
    }
    Err(failed(&last))
}

/// As Go says it.
fn reason(error: &std::io::Error) -> String {
    let text = journal::reason(error);
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

fn talk(
    host: &str,
    address: SocketAddr,
    path: &str,
    end: Instant,
) -> Result<Vec<u8>, std::io::Error> {
    let left = || {
        let left = end.saturating_duration_since(Instant::now());
        // Zero would mean no limit.
        left.max(Duration::from_millis(1))
    };
    let mut stream = unbroken(end, || TcpStream::connect_timeout(&address, left()))?;
    stream.set_write_timeout(Some(left()))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 << 10];
    loop {
        stream.set_read_timeout(Some(left()))?;
        match unbroken(end, || stream.read(&mut chunk))? {
            0 => return Ok(bytes),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
        if ANSWER_BYTES_MAX < bytes.len() as u64 || end < Instant::now() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
    }
}

/// Does it again if a signal came between, as the rings of this process may send them.
fn unbroken<T>(
    end: Instant,
    mut what: impl FnMut() -> Result<T, std::io::Error>,
) -> Result<T, std::io::Error> {
    loop {
        match what() {
            Err(error)
                if error.kind() == std::io::ErrorKind::Interrupted && Instant::now() < end => {}
            done => return done,
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..at]).ok()?;
    head.starts_with("HTTP/1.")
        .then(|| Answer { head: head.to_owned(), body: bytes[at + 4..].to_vec() })
}

/// The list in the shape of etcd's page: numbers for identifiers, absent fields for empty ones.
fn members(body: &[u8]) -> Option<Vec<RunningMember>> {
    let list: Value = serde_json::from_slice(body).ok()?;
    list.as_array()?.iter().map(member).collect()
}

fn member(value: &Value) -> Option<RunningMember> {
    let urls = |name: &str| -> Option<Vec<String>> {
        let list = match value.get(name) {
            None | Some(Value::Null) => return Some(Vec::new()),
            Some(list) => list.as_array()?,
        };
        let texts = list.iter().map(|url| url.as_str().map(str::to_owned));
        let mut urls = texts.collect::<Option<Vec<String>>>()?;
        urls.sort_unstable();
        Some(urls)
    };
    let learns = value.get("isLearner").and_then(Value::as_bool).unwrap_or(false);
    Some(RunningMember {
        id: value.get("id")?.as_u64()?,
        name: value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        peer_urls: urls("peerURLs")?,
        client_urls: urls("clientURLs")?,
        vote: if learns { Vote::Learner } else { Vote::Voter },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_in_between_is_no_answer() {
        let signal = || std::io::Error::from(std::io::ErrorKind::Interrupted);
        let mut left = 3;
        let later = Instant::now() + Duration::from_secs(60);
        let done = unbroken(later, || {
            left -= 1;
            if left > 0 { Err(signal()) } else { Ok("connected") }
        });
        assert_eq!((done.unwrap(), left), ("connected", 0));
        let late = unbroken(Instant::now(), || Err::<(), _>(signal()));
        assert_eq!(late.unwrap_err().kind(), std::io::ErrorKind::Interrupted, "time is up");
    }

    #[test]
    fn a_member_list_in_etcds_shape_is_read() {
        let body = br#"[{"id":9003822997549385596,"peerURLs":["http://b:2","http://a:1"],
            "name":"m2","clientURLs":["http://c:3"]},{"id":7,"peerURLs":["http://d:4"],
            "isLearner":true}]"#;
        let got = members(body).unwrap();
        assert_eq!(got[0].id, 9003822997549385596);
        assert_eq!(got[0].peer_urls, ["http://a:1", "http://b:2"]);
        assert_eq!((got[1].name.as_str(), got[1].vote), ("", Vote::Learner));
        assert_eq!(got[1].client_urls, Vec::<String>::new());
        for bad in
            [&b"zzz"[..], b"{}", b"[{}]", b"[{\"id\":\"7\"}]", b"[{\"id\":7,\"peerURLs\":7}]"]
        {
            assert_eq!(members(bad), None);
        }
    }

    #[test]
    fn an_answer_has_a_head_and_a_body_and_names_its_cluster_in_any_case() {
        let answer = parse(b"HTTP/1.0 200 OK\r\nX-Etcd-Cluster-Id: c3b9\r\n\r\n[]\n").unwrap();
        assert_eq!((answer.cluster_id(), &answer.body[..]), (Some(0xc3b9), &b"[]\n"[..]));
        assert!(parse(b"HTTP/1.0 200 OK\r\n").is_none());
        assert!(parse(b"SSH-2.0\r\n\r\n").is_none());
    }
}
