//! Owns TLS of one connection as bytes: what h2 writes is sealed, what comes in is opened. Never
//! touches a socket. Invariant: nothing of h2 leaves unsealed, and not before the server has shown
//! who it is.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// What both ends agree to speak.
pub(super) const ALPN: &[u8] = b"h2";

pub(super) struct Tls {
    connection: ClientConnection,
}

impl Tls {
    /// Towards the server that `authority`, `host:port`, names.
    pub(super) fn new(config: &Arc<ClientConfig>, authority: &str) -> Result<Tls, String> {
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_string();
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        let mut connection =
            ClientConnection::new(config.clone(), name).map_err(|error| error.to_string())?;
        // What is gathered in a turn is sealed at once; the pipe bounds it.
        connection.set_buffer_limit(None);
        Ok(Tls { connection })
    }

    /// Whether the ends are still finding out who they are.
    pub(super) fn is_shaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the server has agreed to HTTP/2.
    pub(super) fn speaks_http2(&self) -> bool {
        self.connection.alpn_protocol() == Some(ALPN)
    }

    /// Seals `plain`, behind what the protocol itself has to say.
    pub(super) fn seal(&mut self, plain: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
        self.connection.writer().write_all(plain)?;
        while self.connection.wants_write() {
            self.connection.write_tls(to)?;
        }
        Ok(())
    }

    /// Opens what came, as far as it is whole.
    pub(super) fn open(&mut self, mut sealed: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
        while !sealed.is_empty() {
            self.connection.read_tls(&mut sealed)?;
            let state = self
                .connection
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let (at, more) = (to.len(), state.plaintext_bytes_to_read());
            to.resize(at + more, 0);
            self.connection.reader().read_exact(&mut to[at..])?;
        }
        Ok(())
    }
}
