//! Owns the two ways of an open stream. Invariant: messages come out whole and in order; what is
//! not read stays with the sender, but for the stream's window.

use std::future::poll_fn;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use wire::Status;
use wire::grpc::Decoder;

use super::link::{check_end, lost};

/// The way to the server.
pub struct Outgoing {
    body: SendStream<Bytes>,
}

impl Outgoing {
    pub(super) fn new(body: SendStream<Bytes>) -> Outgoing {
        Outgoing { body }
    }

    /// Sends one framed message.
    pub fn send(&mut self, frame: Bytes) -> Result<(), Status> {
        self.body.send_data(frame, false).map_err(|error| lost(&error))
    }
}

/// The way from the server.
pub struct Incoming {
    body: RecvStream,
    decoder: Decoder,
}

impl Incoming {
    pub(super) fn new(body: RecvStream, decoder: Decoder) -> Incoming {
        Incoming { body, decoder }
    }

    /// The next message; None when the server has ended the stream well.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.decoder.next_message()? {
                return Ok(Some(message));
            }
            match poll_fn(|context| self.body.poll_data(context)).await {
                Some(data) => {
                    let data = data.map_err(|error| lost(&error))?;
                    let _ = self.body.flow_control().release_capacity(data.len());
                    self.decoder.push(data);
                }
                None => {
                    check_end(&mut self.body, &HeaderMap::new()).await?;
                    return Ok(None);
                }
            }
        }
    }
}
