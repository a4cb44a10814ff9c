//! Owns the reading of HTTP/1.1 requests without a connection, for tests that throw bytes at it.
//! Pure. Invariant: head and body are read by the same functions, in the same order, as there.

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use super::head::{self, Bad};
use crate::service::{HttpRequest, Peer};

/// What came of a client's bytes.
#[derive(Debug)]
pub struct Requests {
    /// Complete ones, in order.
    pub whole: Vec<HttpRequest>,
    /// What the client would be told of the one after them.
    pub refused: Option<StatusCode>,
    /// Bytes behind what was understood, if nothing was refused.
    pub left: usize,
}

/// Reads requests that arrive in pieces of so many bytes.
pub fn requests(input: &[u8], piece_bytes: usize, body_bytes_max: usize) -> Requests {
    assert!(0 < piece_bytes);
    let mut reader = Reader { input: BytesMut::new(), open: None, body_bytes_max };
    let mut found = Requests { whole: Vec::new(), refused: None, left: 0 };
    for piece in input.chunks(piece_bytes) {
        reader.input.extend_from_slice(piece);
        loop {
            match reader.next() {
                Ok(Some(request)) => found.whole.push(request),
                Ok(None) => break,
                Err(bad) => {
                    found.refused = Some(bad.words().0);
                    return found;
                }
            }
        }
    }
    found.left = reader.input.len();
    found
}

struct Reader {
    input: BytesMut,
    /// A request whose body is still to come, and what of it came.
    open: Option<(Box<HttpRequest>, super::body::Plan, BytesMut)>,
    body_bytes_max: usize,
}

impl Reader {
    fn next(&mut self) -> Result<Option<HttpRequest>, Bad> {
        let (mut request, mut plan, mut body) = match self.open.take() {
            Some(open) => open,
            None => match head::parse(&mut self.input, Peer::Unix)? {
                None => return Ok(None),
                Some((request, _, plan)) => {
                    if plan.length().is_some_and(|length| (self.body_bytes_max as u64) < length) {
                        return Err(Bad::TooLarge);
                    }
                    (request, plan, BytesMut::new())
                }
            },
        };
        plan.take(&mut self.input, &mut body, self.body_bytes_max)?;
        if !plan.is_done() {
            self.open = Some((request, plan, body));
            return Ok(None);
        }
        request.body = Bytes::from(body);
        Ok(Some(*request))
    }
}
