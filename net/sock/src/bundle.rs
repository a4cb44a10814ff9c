//! Owns the small messages of one stream that wait for the connection's turn, to leave in as few
//! DATA frames as they fit: a watch of many keys is told many small things at once, and a frame
//! costs more than a message.
//! Never holds more than one frame. Invariant: what waits here is counted by the call's meter, and
//! leaves before anything that is queued after it.

use std::rc::Rc;

use bytes::{BufMut, Bytes};
use h2::SendStream;

use crate::chunk::{CallMeter, Chunk, Meter, PREFIX_BYTES, Prefix};
use crate::limits::{BUNDLED_BYTES_MAX, DATA_BYTES_MAX};

/// Whether a part was taken into the bundle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bundled {
    /// It was: the connection must come for it.
    Yes,
    /// It is too large to be copied.
    No,
}

/// Takes the next part of a message into the bundle of its call, if it is small; `owed` bytes of
/// the same message follow.
pub(crate) fn add(
    stream: &mut SendStream<Chunk>,
    meter: &Rc<CallMeter>,
    prefix: Option<Prefix>,
    part: &Bytes,
    owed: u32,
) -> Result<Bundled, h2::Error> {
    if BUNDLED_BYTES_MAX < part.len() {
        return Ok(Bundled::No);
    }
    let bytes = prefix.map_or(0, |_| PREFIX_BYTES) + part.len();
    if DATA_BYTES_MAX < meter.bundle.borrow().len() + bytes {
        send(stream, meter)?;
    }
    let mut bundle = meter.bundle.borrow_mut();
    if bundle.is_empty() {
        bundle.reserve(bytes + BUNDLED_BYTES_MAX.min(owed as usize));
    }
    if let Some(prefix) = prefix {
        bundle.put_slice(&prefix.bytes());
    }
    bundle.put_slice(part);
    meter.put(bytes);
    Ok(Bundled::Yes)
}

/// Queues what was bundled.
pub(crate) fn send(stream: &mut SendStream<Chunk>, meter: &Rc<CallMeter>) -> Result<(), h2::Error> {
    let bundle = meter.bundle.take();
    if bundle.is_empty() {
        return Ok(());
    }
    stream.send_data(Chunk::counted(bundle.freeze(), Meter::Call(meter.clone())), false)
}

impl Drop for CallMeter {
    /// The call is over, and nobody will come for what waits.
    fn drop(&mut self) {
        let left = self.bundle.take().len();
        if left > 0 {
            self.line.queue_shrank(left);
        }
    }
}
