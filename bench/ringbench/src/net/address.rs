//! Owns the meaning of an endpoint as it is written on the command line.
//! Invariant: names are resolved before any executor runs, which cannot.

use std::net::{SocketAddr, ToSocketAddrs};

/// The port of an endpoint that names none.
const PORT_USUAL: u16 = 2379;

/// Whether an endpoint is spoken to over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// No.
    Http,
    /// Yes.
    Https,
    /// If TLS is spoken of anywhere on the command line.
    Unsaid,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where to connect.
    pub address: SocketAddr,
    /// What the server is called.
    pub authority: String,
    /// How.
    pub scheme: Scheme,
}

/// Reads `host:port`, `host`, `http://host:port` or `https://host:port`.
pub fn resolve(endpoint: &str) -> Result<Target, String> {
    let bare = endpoint.trim();
    if bare.starts_with("unix") {
        return Err(format!("endpoint {bare:?}: ringbench connects over TCP alone"));
    }
    let (scheme, bare) = match (bare.strip_prefix("http://"), bare.strip_prefix("https://")) {
        (Some(rest), _) => (Scheme::Http, rest),
        (None, Some(rest)) => (Scheme::Https, rest),
        (None, None) => (Scheme::Unsaid, bare),
    };
    let bare = bare.trim_end_matches('/');
    let has_port = bare.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
    });
    let authority = if has_port { bare.to_string() } else { format!("{bare}:{PORT_USUAL}") };
    let mut found = authority
        .to_socket_addrs()
        .map_err(|error| format!("endpoint {endpoint:?} cannot be resolved: {error}"))?;
    match found.next() {
        Some(address) => Ok(Target { address, authority, scheme }),
        None => Err(format!("endpoint {endpoint:?} has no address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_etcdctl_reads_them() {
        let address = |text| resolve(text).unwrap().address.to_string();
        assert_eq!(address("127.0.0.1:1234"), "127.0.0.1:1234");
        assert_eq!(address("http://127.0.0.1:1234/"), "127.0.0.1:1234");
        assert_eq!(address("127.0.0.1"), "127.0.0.1:2379");
        assert_eq!(address("[::1]:17"), "[::1]:17");
        assert_eq!(resolve("127.0.0.1").unwrap().authority, "127.0.0.1:2379");
        assert!(resolve("unix:///tmp/etcd").unwrap_err().contains("over TCP alone"));
        let scheme = |text| resolve(text).unwrap().scheme;
        assert_eq!(scheme("https://127.0.0.1"), Scheme::Https);
        assert_eq!(scheme("http://127.0.0.1:1"), Scheme::Http);
        assert_eq!(scheme("127.0.0.1:1"), Scheme::Unsaid);
        assert!(resolve("").is_err());
    }
}
