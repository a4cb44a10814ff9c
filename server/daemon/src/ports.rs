//! Owns the listening sockets: which address serves what.
//! Invariant: every address is bound before the member starts, so that a taken port is told at
//! once.

use std::net::{SocketAddr, ToSocketAddrs};

use settings::{Settings, Url};
use sock::{Address, Bound, PortSharing};

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// gRPC and all pages.
    Client,
    /// The peer pages.
    Peer,
    /// Metrics and health alone.
    Metrics,
}

/// Binds every address of the settings.
pub fn bind(settings: &Settings) -> Result<Vec<(Role, Bound)>, String> {
    let listen = &settings.listen;
    let roles = [
        (Role::Peer, &listen.peer),
        (Role::Client, &listen.client),
        (Role::Metrics, &listen.metrics),
    ];
    let mut bounds = Vec::new();
    for (role, urls) in roles {
        for url in urls {
            let address = Address::Tcp(resolve(url)?);
            let bound =
                Bound::bind(&address, PortSharing::Exclusive).map_err(|error| error.to_string())?;
            bounds.push((role, bound));
        }
    }
    Ok(bounds)
}

/// Listen URLs hold an address or `localhost`, which is looked up before any core runs.
fn resolve(url: &Url) -> Result<SocketAddr, String> {
    let found = url.place.to_socket_addrs().map_err(|error| format!("{url}: {error}"))?;
    let all: Vec<SocketAddr> = found.collect();
    let v4 = all.iter().find(|address| address.is_ipv4()).or(all.first());
    v4.copied().ok_or_else(|| format!("{url}: no address"))
}
