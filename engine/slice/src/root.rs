//! Owns what a checkpoint remembers of one slice: the roots of its tree and its history, and how
//! far it had come. Fixed size, for the manifest, which checksums it.
//! Invariant: `decode(encode(r)) == r`, and any bytes decode to a root or to an error.
//!
//! ```text
//!  0 slice     u16     8 applied  i64    24 tree     64
//!  2 format 1  u16    16 compact  i64    88 history  72, zeros without one
//!  4 history   u32   0 none, 1 kept
//! ```

use base::SliceId;
use base::bytes_le::{Short, Take};
use bytes::BufMut;
use history::HistoryRoot;
use tree::RootRef;

const FORMAT: u16 = 1;

/// Where one slice's checkpoint lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceRoot {
    /// Whose.
    pub slice: SliceId,
    /// The store's revision that the checkpoint holds everything of.
    pub applied: i64,
    /// The compact revision; 0 if never compacted.
    pub compact: i64,
    pub(crate) tree: RootRef,
    pub(crate) history: Option<HistoryRoot>,
}

/// Bytes that are no root of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRoot;

impl From<Short> for BadRoot {
    fn from(_: Short) -> BadRoot {
        BadRoot
    }
}

impl SliceRoot {
    /// Bytes of an encoded root.
    pub const BYTES: usize = 24 + tree::ROOT_BYTES + HistoryRoot::BYTES;

    /// The root's bytes.
    pub fn encode(&self) -> [u8; SliceRoot::BYTES] {
        let mut to = Vec::with_capacity(SliceRoot::BYTES);
        to.put_u16_le(self.slice.0);
        to.put_u16_le(FORMAT);
        to.put_u32_le(u32::from(self.history.is_some()));
        to.put_i64_le(self.applied);
        to.put_i64_le(self.compact);
        self.tree.put(&mut to);
        match &self.history {
            Some(history) => to.put_slice(&history.encode()),
            None => to.put_bytes(0, HistoryRoot::BYTES),
        }
        to.try_into().expect("all parts have fixed sizes")
    }

    /// The way back; total.
    pub fn decode(bytes: &[u8]) -> Result<SliceRoot, BadRoot> {
        let mut take = Take::new(bytes);
        let (slice, format, kept) = (SliceId(take.u16()?), take.u16()?, take.u32()?);
        let (applied, compact) = (take.i64()?, take.i64()?);
        let tree = RootRef::take(&mut take).map_err(|_| BadRoot)?;
        let rest = take.bytes(HistoryRoot::BYTES)?;
        let history = match kept {
            0 if rest.iter().all(|&byte| byte == 0) => None,
            1 => Some(HistoryRoot::decode(rest).map_err(|_| BadRoot)?),
            _ => return Err(BadRoot),
        };
        let fits = format == FORMAT && take.rest().is_empty() && compact <= applied.max(0);
        if !fits {
            return Err(BadRoot);
        }
        Ok(SliceRoot { slice, applied, compact, tree, history })
    }
}
