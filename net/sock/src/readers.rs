//! Owns a way to the pure readers of clients' bytes for tests that have no connection.
//! The server does not use it. Invariant: nothing is decided here.

use std::net::SocketAddr;

use crate::authority::Authority;
pub use crate::http1::alone::{Requests, requests};
use crate::service::Peer;

/// The authorities of one HTTP/2 connection.
#[derive(Debug)]
pub struct Authorities(Authority);

impl Authorities {
    /// Those of a new connection.
    pub fn of_a_new_connection() -> Authorities {
        let anybody = SocketAddr::from(([127, 0, 0, 1], 1));
        Authorities(Authority::new(Peer::Tcp(anybody)))
    }

    /// A whole HEADERS frame as h2 is shown it: without the scheme in its authority.
    pub fn strip(&mut self, mut frame: Vec<u8>) -> Vec<u8> {
        let bytes = self.0.strip(&mut frame).unwrap_or(frame.len());
        frame.truncate(bytes);
        frame
    }
}
