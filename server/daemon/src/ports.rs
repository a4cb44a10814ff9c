//! Owns the listening sockets: which address serves what.
//! Invariant: every address is bound before the member starts, so that a taken port is told at
//! once.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use settings::{Ports, Settings, Url};
use sock::{Address, Bound, PortSharing};

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// gRPC and all pages.
    Client,
    /// gRPC alone: pages have listeners of their own.
    ClientGrpc,
    /// All pages and no gRPC.
    ClientHttp,
    /// The peer pages.
    Peer,
    /// Metrics and health alone.
    Metrics,
}

/// Binds every address of the settings.
pub fn bind(settings: &Settings) -> Result<Vec<(Role, Bound)>, String> {
    let listen = &settings.listen;
    let client = match listen.http.is_empty() {
        true => Role::Client,
        false => Role::ClientGrpc,
    };
    let roles = [
        (Role::Peer, &listen.peer),
        (client, &listen.client),
        (Role::ClientHttp, &listen.http),
        (Role::Metrics, &listen.metrics),
    ];
    let sharing = match listen.ports {
        Ports::Own => PortSharing::Exclusive,
        Ports::Shared => PortSharing::Shared,
    };
    let mut bounds = Vec::new();
    for (role, urls) in roles {
        for url in urls {
            let address = match url.is_file() {
                true => Address::Unix(PathBuf::from(&url.place)),
                false => Address::Tcp(resolve(url)?),
            };
            let bound = Bound::bind(&address, sharing).map_err(|error| error.to_string())?;
            bounds.push((role, bound));
        }
    }
    Ok(bounds)
}

/// Removes the socket files at the end of the run, as etcd does.
pub fn remove_files(settings: &Settings) {
    let listen = &settings.listen;
    for url in [&listen.client, &listen.http, &listen.metrics].into_iter().flatten() {
        if url.is_file() {
            // Whoever removed it before has done no harm.
            let _ = std::fs::remove_file(&url.place);
        }
    }
}

/// Listen URLs hold an address or `localhost`, which is looked up before any core runs.
fn resolve(url: &Url) -> Result<SocketAddr, String> {
    let found = url.place.to_socket_addrs().map_err(|error| format!("{url}: {error}"))?;
    let all: Vec<SocketAddr> = found.collect();
    let v4 = all.iter().find(|address| address.is_ipv4()).or(all.first());
    v4.copied().ok_or_else(|| format!("{url}: no address"))
}
