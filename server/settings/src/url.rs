//! Owns URLs as members use them: scheme, host and port, nothing else.
//! Never resolves a name. Invariant: a list that was read has known schemes, a port where one is
//! due, no path, no repeats, and is sorted.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

/// How to talk to the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// TCP in clear.
    Http,
    /// TCP with TLS.
    Https,
    /// A socket file in clear.
    Unix,
    /// A socket file with TLS.
    Unixs,
}

impl Scheme {
    /// The word before `://`.
    pub fn word(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Unix => "unix",
            Scheme::Unixs => "unixs",
        }
    }
}

/// A place to listen on or to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// How.
    pub scheme: Scheme,
    /// Where: `host:port` as it was written; for a socket file, its path.
    pub place: String,
    /// What followed a question mark, with it; kept for printing only.
    pub query: String,
}

impl std::fmt::Display for Url {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}://{}{}", self.scheme.word(), self.place, self.query)
    }
}

impl Url {
    /// The host without brackets, and the port's text.
    pub fn host_and_port(&self) -> (&str, &str) {
        split_host_port(&self.place).unwrap_or((&self.place, ""))
    }

    /// Whether it is a socket file.
    pub fn is_file(&self) -> bool {
        matches!(self.scheme, Scheme::Unix | Scheme::Unixs)
    }

    /// Whether it asks for TLS.
    pub fn is_secure(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::Unixs)
    }

    /// The address to bind: `localhost` is the IPv4 loopback, an empty port is any free one.
    /// None for a host that is not an IP, a port that is none, or a socket file.
    pub fn bind_address(&self) -> Option<SocketAddr> {
        if self.is_file() {
            return None;
        }
        let (host, port) = self.host_and_port();
        let ip = match host {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host.parse().ok()?,
        };
        let port = if port.is_empty() { 0 } else { port.parse().ok()? };
        Some(SocketAddr::new(ip, port))
    }

    /// The same scheme and port on another host.
    pub(crate) fn with_host(&self, host: &str) -> Url {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
        let place = format!("{host}:{}", self.host_and_port().1);
        Url { scheme: self.scheme, place, query: String::new() }
    }
}

/// Reads a comma-separated list, or answers etcd's sentence about the first bad one.
pub fn parse_list(text: &str) -> Result<Vec<Url>, String> {
    let mut urls = Vec::new();
    for part in text.split(',') {
        urls.push(parse(part.trim())?);
    }
    sort(&mut urls);
    Ok(urls)
}

/// The order of every list: by text, without repeats.
pub(crate) fn sort(urls: &mut Vec<Url>) {
    urls.sort_by_key(Url::to_string);
    urls.dedup();
}

/// Reads one URL.
fn parse(text: &str) -> Result<Url, String> {
    let fail = |why: &str| format!("parse {text:?}: {why}");
    if text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err(fail("net/url: invalid control character in URL"));
    }
    let unknown = || Err(format!("URL scheme must be http, https, unix, or unixs: {text}"));
    let body = text.split('#').next().unwrap_or_default();
    let Some((scheme, rest)) = split_scheme(body).map_err(fail)? else {
        return match bad_escape(body) {
            Some(escape) => Err(fail(&format!("invalid URL escape {escape:?}"))),
            None if colon_in_first_segment(body) => {
                Err(fail("first path segment in URL cannot contain colon"))
            }
            None => unknown(),
        };
    };
    let (rest, query) = match rest.find('?') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let Some(rest) = rest.strip_prefix("//") else {
        return match known_scheme(&scheme) {
            Some(Scheme::Unix | Scheme::Unixs) | None => unknown(),
            Some(Scheme::Http | Scheme::Https) => Err(no_host_port(text)),
        };
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = authority.rsplit('@').next().unwrap_or_default();
    check_host(host).map_err(|why| fail(&why))?;
    let query = query.to_string();
    match known_scheme(&scheme) {
        None => unknown(),
        Some(scheme @ (Scheme::Unix | Scheme::Unixs)) => {
            Ok(Url { scheme, place: format!("{host}{path}"), query })
        }
        Some(Scheme::Http | Scheme::Https) if split_host_port(host).is_none() => {
            Err(no_host_port(text))
        }
        Some(Scheme::Http | Scheme::Https) if !path.is_empty() => {
            Err(format!("URL must not contain a path: {text}"))
        }
        Some(scheme @ (Scheme::Http | Scheme::Https)) => {
            Ok(Url { scheme, place: host.to_string(), query })
        }
    }
}

fn no_host_port(text: &str) -> String {
    format!("URL address does not have the form \"host:port\": {text}")
}

fn known_scheme(word: &str) -> Option<Scheme> {
    match word {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        "unix" => Some(Scheme::Unix),
        "unixs" => Some(Scheme::Unixs),
        _ => None,
    }
}

/// The scheme in small letters and what follows its colon; None when there is no scheme.
fn split_scheme(text: &str) -> Result<Option<(String, &str)>, &'static str> {
    for (at, letter) in text.char_indices() {
        match letter {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok(Some((text[..at].to_ascii_lowercase(), &text[at + 1..]))),
            _ => return Ok(None),
        }
    }
    Ok(None)
}

fn colon_in_first_segment(text: &str) -> bool {
    let first = text.split(['/', '?']).next().unwrap_or_default();
    !text.starts_with('/') && first.contains(':')
}

/// The first percent sign without two hexadecimal digits, with up to two letters after it.
fn bad_escape(text: &str) -> Option<&str> {
    for (at, _) in text.match_indices('%') {
        let digits = text[at + 1..].bytes().take(2).filter(u8::is_ascii_hexdigit).count();
        if digits < 2 {
            let end = text[at..].char_indices().nth(3).map_or(text.len(), |(n, _)| at + n);
            return Some(&text[at..end]);
        }
    }
    None
}

fn check_host(host: &str) -> Result<(), String> {
    let after = if let Some(inside) = host.strip_prefix('[') {
        let Some(end) = inside.rfind(']') else {
            return Err("missing ']' in host".into());
        };
        &inside[end + 1..]
    } else {
        match host.rfind(':') {
            Some(at) => &host[at..],
            None => "",
        }
    };
    let port_is_bad = match after.strip_prefix(':') {
        Some(digits) => !digits.bytes().all(|b| b.is_ascii_digit()),
        None => !after.is_empty(),
    };
    if port_is_bad {
        return Err(format!("invalid port {after:?} after host"));
    }
    if let Some(escape) = bad_escape(host) {
        return Err(format!("invalid URL escape {escape:?}"));
    }
    match host.chars().find(|c| matches!(c, ' ' | '"' | '\\' | '^' | '`' | '{' | '|' | '}')) {
        Some(letter) => Err(format!("invalid character {:?} in host name", letter.to_string())),
        None => Ok(()),
    }
}

/// Host without brackets and port of `host:port`; None unless there is exactly one such colon.
fn split_host_port(place: &str) -> Option<(&str, &str)> {
    if let Some(inside) = place.strip_prefix('[') {
        let (host, rest) = inside.split_once(']')?;
        return Some((host, rest.strip_prefix(':')?));
    }
    let (host, port) = place.rsplit_once(':')?;
    (!host.contains(':')).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_sorted_and_without_repeats() {
        let urls = parse_list("http://b:2, http://a:1,HTTP://b:2").unwrap();
        let texts: Vec<String> = urls.iter().map(Url::to_string).collect();
        assert_eq!(texts, ["http://a:1", "http://b:2"]);
        let file = &parse_list("unix://localhost:2379").unwrap()[0];
        assert_eq!((file.scheme, file.place.as_str()), (Scheme::Unix, "localhost:2379"));
        assert_eq!(file.bind_address(), None);
        assert_eq!(parse_list("unix:///tmp/a").unwrap()[0].place, "/tmp/a");
    }

    #[test]
    fn an_address_to_bind_is_an_ip_or_localhost() {
        let bind = |text: &str| parse_list(text).unwrap()[0].bind_address();
        assert_eq!(bind("http://localhost:2379"), "127.0.0.1:2379".parse().ok());
        assert_eq!(bind("http://[::1]:2379"), "[::1]:2379".parse().ok());
        assert_eq!(bind("http://0.0.0.0:"), "0.0.0.0:0".parse().ok());
        assert_eq!(bind("http://example.com:1"), None);
        assert_eq!(bind("http://127.0.0.1:99999"), None);
    }

    #[test]
    fn a_bad_url_is_answered_with_etcds_sentence() {
        let scheme = "URL scheme must be http, https, unix, or unixs: ";
        let port = "URL address does not have the form \"host:port\": ";
        let table = [
            ("ftp://1.2.3.4:1", format!("{scheme}ftp://1.2.3.4:1")),
            ("", scheme.to_string()),
            ("zz", format!("{scheme}zz")),
            ("http://127.0.0.1:1,", scheme.to_string()),
            ("http://127.0.0.1", format!("{port}http://127.0.0.1")),
            ("http:", format!("{port}http:")),
            ("http://1:2:3", format!("{port}http://1:2:3")),
            ("http://127.0.0.1:1/x", "URL must not contain a path: http://127.0.0.1:1/x".into()),
            (
                "127.0.0.1:1",
                "parse \"127.0.0.1:1\": first path segment in URL cannot contain colon".into(),
            ),
            (":2380", "parse \":2380\": missing protocol scheme".into()),
            ("http://[::1", "parse \"http://[::1\": missing ']' in host".into()),
            ("%zz", "parse \"%zz\": invalid URL escape \"%zz\"".into()),
            ("http://a:x", "parse \"http://a:x\": invalid port \":x\" after host".into()),
            ("http://a b:1", "parse \"http://a b:1\": invalid character \" \" in host name".into()),
        ];
        for (text, error) in table {
            assert_eq!(parse_list(text), Err(error), "{text}");
        }
    }
}
