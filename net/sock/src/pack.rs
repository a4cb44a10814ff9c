//! Owns the compression of answers: which messages are packed, and the tables to do it with.
//! Never reads a request. Invariant: a message is packed whole or goes out as it is, and its flag
//! says which.
//!
//! A client that packs what it asks gets packed answers, as from an etcd server. Messages above
//! [`PACK_BYTES_MAX`] go out as they are, which every client of the encoding takes: packing them
//! would hold up the other clients of the core.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use wire::grpc::Encoding;
use wire::gzip::Packer;

use crate::chunk::Prefix;
use crate::limits::PACK_BYTES_MAX;

/// How one call's answers go out.
#[derive(Debug)]
pub(crate) enum Packing {
    /// As they are.
    Plain,
    /// Packed; what has come so far of a message that is given in parts.
    Gzip { gathered: Option<BytesMut> },
}

impl Packing {
    pub(crate) fn new(encoding: Encoding) -> Packing {
        match encoding {
            Encoding::Identity => Packing::Plain,
            Encoding::Gzip => Packing::Gzip { gathered: None },
        }
    }

    /// What the head of the answer calls it.
    pub(crate) fn encoding(&self) -> Encoding {
        match self {
            Packing::Plain => Encoding::Identity,
            Packing::Gzip { .. } => Encoding::Gzip,
        }
    }

    /// A message of so many bytes begins. Its parts are gathered if it will be packed.
    pub(crate) fn begin(&mut self, message_bytes: u32) {
        if let Packing::Gzip { gathered } = self
            && message_bytes as usize <= PACK_BYTES_MAX
        {
            assert!(gathered.is_none());
            *gathered = Some(BytesMut::with_capacity(message_bytes as usize));
        }
    }

    /// Takes the next part in, if parts are gathered, and gives the whole message with the last.
    pub(crate) fn gather(&mut self, part: Bytes, owed: u32) -> Gathered {
        let Packing::Gzip { gathered } = self else { return Gathered::Not(part) };
        let Some(so_far) = gathered else { return Gathered::Not(part) };
        so_far.extend_from_slice(&part);
        if owed > 0 {
            return Gathered::Unfinished;
        }
        Gathered::Whole(std::mem::take(gathered).unwrap_or_default())
    }
}

/// What became of a part.
#[derive(Debug)]
pub(crate) enum Gathered {
    /// It goes out as it is.
    Not(Bytes),
    /// It waits for more.
    Unfinished,
    /// The message is complete.
    Whole(BytesMut),
}

/// The tables of one core, made when the first client wants them.
#[derive(Default)]
pub(crate) struct Packers(RefCell<Option<Packer>>);

impl Packers {
    /// A whole message, as it goes out.
    pub(crate) fn frame(&self, packing: &Packing, message: Bytes) -> (Prefix, Bytes) {
        match packing {
            Packing::Gzip { .. } if message.len() <= PACK_BYTES_MAX => self.pack(&message),
            Packing::Gzip { .. } | Packing::Plain => (Prefix::plain(length(&message)), message),
        }
    }

    /// A message of at most [`PACK_BYTES_MAX`], packed.
    pub(crate) fn pack(&self, message: &[u8]) -> (Prefix, Bytes) {
        assert!(message.len() <= PACK_BYTES_MAX);
        let packed = self.0.borrow_mut().get_or_insert_with(Packer::fast).pack(message);
        (Prefix::packed(length(&packed)), packed)
    }
}

fn length(message: &Bytes) -> u32 {
    u32::try_from(message.len()).expect("gRPC messages are below 4 GiB")
}
