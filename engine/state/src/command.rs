//! Owns what goes through the log: one command, and the batch of commands that is one log entry.
//! Never decides a command. Invariant: a batch is read back as it was written, its bodies sharing
//! the entry's buffer; any other bytes are an error.
//!
//! ```text
//!   batch    format (2) = 1 | zero (2) | count (4) | count commands, nothing after them
//!   command  kind (1) | zero (3) | body length (4) | member (8) | sequence (8) | body
//! ```
//! All numbers are little-endian. An empty log entry (a new leader's first) is not a batch.

use base::bytes_le::{Short, Take};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use wire::etcdserverpb::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest,
    PutRequest, TxnRequest,
};

use crate::leases::LeaseCheckpoint;
use crate::members::MemberAttributes;

#[cfg(test)]
mod tests;

const FORMAT: u16 = 1;
const BATCH_HEADER_BYTES: usize = 8;
/// What a command takes in the log besides its body.
pub const COMMAND_HEADER_BYTES: usize = 24;

/// Who waits for the answer: a member, and its own number for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The member that proposed it.
    pub member: u64,
    /// That member's number.
    pub sequence: u64,
}

/// What a command does. The numbers are in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Body: `PutRequest`.
    Put = 1,
    /// Body: `DeleteRangeRequest`.
    DeleteRange = 2,
    /// Body: `TxnRequest`.
    Txn = 3,
    /// Body: `CompactionRequest`.
    Compact = 4,
    /// Body: `LeaseGrantRequest`, id and minimum filled in by the leader.
    LeaseGrant = 5,
    /// Body: `LeaseRevokeRequest`.
    LeaseRevoke = 6,
    /// Body: lease ids, 8 bytes each.
    LeasesExpired = 7,
    /// Body: `AlarmRequest`.
    Alarm = 8,
    /// Body: lease ids and remaining seconds, 8 bytes each.
    LeaseCheckpoint = 9,
    /// Body: member attributes (`members.rs`).
    MemberAttributes = 10,
    /// Body: the version as text.
    ClusterVersion = 11,
    /// Body: the version that the cluster should go back to, as text; empty for none.
    DowngradeTarget = 12,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What it does.
    pub kind: Kind,
    /// Who waits.
    pub origin: Origin,
    /// What to do it with; a client's request exactly as it came.
    pub body: Bytes,
}

/// The commands of one log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandBatch {
    /// In order.
    pub commands: Vec<Command>,
}

/// A command's body, read.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// See [`Kind::Put`].
    Put(PutRequest),
    /// See [`Kind::DeleteRange`].
    DeleteRange(DeleteRangeRequest),
    /// See [`Kind::Txn`].
    Txn(TxnRequest),
    /// See [`Kind::Compact`].
    Compact(CompactionRequest),
    /// See [`Kind::LeaseGrant`].
    LeaseGrant(LeaseGrantRequest),
    /// See [`Kind::LeaseRevoke`].
    LeaseRevoke(LeaseRevokeRequest),
    /// See [`Kind::LeasesExpired`].
    LeasesExpired(Vec<i64>),
    /// See [`Kind::Alarm`].
    Alarm(AlarmRequest),
    /// See [`Kind::LeaseCheckpoint`].
    LeaseCheckpoint(Vec<LeaseCheckpoint>),
    /// See [`Kind::MemberAttributes`].
    MemberAttributes(MemberAttributes),
    /// See [`Kind::ClusterVersion`].
    ClusterVersion(String),
    /// See [`Kind::DowngradeTarget`].
    DowngradeTarget(String),
}

/// Why an entry is not a batch that this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBatch {
    /// It ends early.
    Short,
    /// A newer format.
    Format {
        /// What was found.
        found: u16,
    },
    /// A kind that this version does not know: a newer member wrote it.
    Kind {
        /// What was found.
        found: u8,
    },
    /// Bytes that must be zero are not, or bytes follow the last command.
    Padding,
}

/// A body that its kind does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBody {
    /// The command's kind.
    pub kind: Kind,
}

impl From<Short> for BadBatch {
    fn from(_: Short) -> BadBatch {
        BadBatch::Short
    }
}

impl CommandBatch {
    /// What the batch takes in the log.
    pub fn encoded_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.commands.iter().map(Command::encoded_bytes).sum::<usize>()
    }

    /// The log entry.
    pub fn encode(&self) -> Bytes {
        let mut to = BytesMut::with_capacity(self.encoded_bytes());
        self.put(&mut to);
        to.freeze()
    }

    /// The same bytes, behind whatever is there.
    pub fn put(&self, to: &mut BytesMut) {
        let end = to.len() + self.encoded_bytes();
        to.put_u16_le(FORMAT);
        to.put_u16_le(0);
        to.put_u32_le(u32::try_from(self.commands.len()).expect("a batch is far below 2^32"));
        for command in &self.commands {
            command.put(to);
        }
        assert_eq!(to.len(), end);
    }

    /// Reads a log entry. Bodies are slices of it.
    pub fn decode(entry: &Bytes) -> Result<CommandBatch, BadBatch> {
        let mut from = Take::new(entry);
        let found = from.u16()?;
        if found != FORMAT {
            return Err(BadBatch::Format { found });
        }
        if from.u16()? != 0 {
            return Err(BadBatch::Padding);
        }
        let count = from.u32()? as usize;
        let most = from.rest().len() / COMMAND_HEADER_BYTES;
        let mut commands = Vec::with_capacity(count.min(most));
        for _ in 0..count {
            commands.push(Command::take(entry, &mut from)?);
        }
        if from.rest().is_empty() { Ok(CommandBatch { commands }) } else { Err(BadBatch::Padding) }
    }
}

impl Command {
    /// Many leases whose time is over.
    pub fn leases_expired(origin: Origin, ids: &[i64]) -> Command {
        let mut body = BytesMut::with_capacity(ids.len() * 8);
        ids.iter().for_each(|id| body.put_i64_le(*id));
        Command { kind: Kind::LeasesExpired, origin, body: body.freeze() }
    }

    /// Remaining seconds of many leases.
    pub fn lease_checkpoint(origin: Origin, checkpoints: &[LeaseCheckpoint]) -> Command {
        let mut body = BytesMut::with_capacity(checkpoints.len() * 16);
        for checkpoint in checkpoints {
            body.put_i64_le(checkpoint.id);
            body.put_i64_le(checkpoint.remaining_s);
        }
        Command { kind: Kind::LeaseCheckpoint, origin, body: body.freeze() }
    }

    /// What a member says of itself.
    pub fn member_attributes(origin: Origin, attributes: &MemberAttributes) -> Command {
        Command { kind: Kind::MemberAttributes, origin, body: attributes.encode() }
    }

    /// The version that the whole cluster serves.
    pub fn cluster_version(origin: Origin, version: &str) -> Command {
        let body = Bytes::copy_from_slice(version.as_bytes());
        Command { kind: Kind::ClusterVersion, origin, body }
    }

    /// What the command takes in a batch.
    pub fn encoded_bytes(&self) -> usize {
        COMMAND_HEADER_BYTES + self.body.len()
    }

    /// Reads the body. Keys and values are slices of it.
    pub fn request(&self) -> Result<Request, BadBody> {
        let kind = self.kind;
        let body = self.body.clone();
        let request = match kind {
            Kind::Put => PutRequest::decode(body).ok().map(Request::Put),
            Kind::DeleteRange => DeleteRangeRequest::decode(body).ok().map(Request::DeleteRange),
            Kind::Txn => TxnRequest::decode(body).ok().map(Request::Txn),
            Kind::Compact => CompactionRequest::decode(body).ok().map(Request::Compact),
            Kind::LeaseGrant => LeaseGrantRequest::decode(body).ok().map(Request::LeaseGrant),
            Kind::LeaseRevoke => LeaseRevokeRequest::decode(body).ok().map(Request::LeaseRevoke),
            Kind::LeasesExpired => lease_ids(&body).map(Request::LeasesExpired),
            Kind::Alarm => AlarmRequest::decode(body).ok().map(Request::Alarm),
            Kind::LeaseCheckpoint => checkpoints(&body).map(Request::LeaseCheckpoint),
            Kind::MemberAttributes => {
                MemberAttributes::decode(&body).ok().map(Request::MemberAttributes)
            }
            Kind::ClusterVersion => {
                String::from_utf8(body.to_vec()).ok().map(Request::ClusterVersion)
            }
            Kind::DowngradeTarget => {
                String::from_utf8(body.to_vec()).ok().map(Request::DowngradeTarget)
            }
        };
        request.ok_or(BadBody { kind })
    }

    fn put(&self, to: &mut BytesMut) {
        to.put_u8(self.kind as u8);
        to.put_bytes(0, 3);
        to.put_u32_le(u32::try_from(self.body.len()).expect("a request is far below 4 GiB"));
        to.put_u64_le(self.origin.member);
        to.put_u64_le(self.origin.sequence);
        to.put_slice(&self.body);
    }

    fn take(entry: &Bytes, from: &mut Take<'_>) -> Result<Command, BadBatch> {
        let found = from.u8()?;
        let kind = Kind::of(found).ok_or(BadBatch::Kind { found })?;
        if from.bytes(3)? != [0; 3] {
            return Err(BadBatch::Padding);
        }
        let len = from.u32()? as usize;
        let origin = Origin { member: from.u64()?, sequence: from.u64()? };
        let body = entry.slice_ref(from.bytes(len)?);
        Ok(Command { kind, origin, body })
    }
}

impl Kind {
    fn of(number: u8) -> Option<Kind> {
        match number {
            1 => Some(Kind::Put),
            2 => Some(Kind::DeleteRange),
            3 => Some(Kind::Txn),
            4 => Some(Kind::Compact),
            5 => Some(Kind::LeaseGrant),
            6 => Some(Kind::LeaseRevoke),
            7 => Some(Kind::LeasesExpired),
            8 => Some(Kind::Alarm),
            9 => Some(Kind::LeaseCheckpoint),
            10 => Some(Kind::MemberAttributes),
            11 => Some(Kind::ClusterVersion),
            12 => Some(Kind::DowngradeTarget),
            _ => None,
        }
    }
}

fn lease_ids(body: &[u8]) -> Option<Vec<i64>> {
    let (ids, rest) = body.as_chunks::<8>();
    rest.is_empty().then(|| ids.iter().map(|id| i64::from_le_bytes(*id)).collect())
}

fn checkpoints(body: &[u8]) -> Option<Vec<LeaseCheckpoint>> {
    let numbers = lease_ids(body)?;
    let (pairs, rest) = numbers.as_chunks::<2>();
    let read = |&[id, remaining_s]: &[i64; 2]| LeaseCheckpoint { id, remaining_s };
    rest.is_empty().then(|| pairs.iter().map(read).collect())
}
