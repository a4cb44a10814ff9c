//! Owns the first words between two members: who calls whom on which lane, and the answer.
//! Never touches a socket and keeps no list of members. Invariant: whatever bytes come in, they are
//! read as they were written or they are an error; a word that is damaged anywhere is an error.
//!
//! ```text
//!   hello    magic (8) | format (2) | lane (1) | zero (5) | cluster (8) | from (8) | to (8)
//!            | version (6) | zero (2) | version_min (6) | zero (6) | checksum (4)        64 bytes
//!   answer   magic (8) | format (2) | verdict (1) | zero (5) | cluster (8)
//!            | version (6) | zero (6) | checksum (4)                                     40 bytes
//!   version  major (2) | minor (2) | patch (2)
//! ```
//! All numbers are little-endian; a checksum covers everything before it. A stream carries notes
//! one way, from the caller: after a good answer come [`frame`]s. The magic's first byte begins
//! neither an HTTP method nor a TLS record, so one port can serve all three.

pub mod frame;

use base::bytes_le::{Short, Take};
use base::checksum::checksum;
use bytes::BufMut;

pub use frame::{BadFrame, FrameReader, FrameWriter};

/// What a hello and an answer begin with.
pub const MAGIC: [u8; 8] = *b"\x89RINGLE\n";
/// The format of everything on the stream.
pub const FORMAT: u16 = 1;
/// Bytes of a hello.
pub const HELLO_BYTES: usize = 64;
/// Bytes of an answer.
pub const ANSWER_BYTES: usize = 40;

/// Which stream between two members it is: what is short and urgent, or what is long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Elections, heartbeats, appends, commands, questions.
    Prompt,
    /// Pieces of snapshots.
    Bulk,
}

impl Lane {
    /// Both.
    pub const ALL: [Lane; 2] = [Lane::Prompt, Lane::Bulk];

    /// Most bytes of one frame's payload.
    pub const fn frame_bytes_max(self) -> usize {
        match self {
            Lane::Prompt => frame::PROMPT_FRAME_BYTES_MAX,
            Lane::Bulk => frame::BULK_FRAME_BYTES_MAX,
        }
    }
}

/// A server version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 3 in 3.7.1.
    pub major: u16,
    /// 7 in 3.7.1.
    pub minor: u16,
    /// 1 in 3.7.1.
    pub patch: u16,
}

impl Version {
    /// Reads `3.7.1`; what follows a `-` or `+` behind it is left out.
    pub fn parse(text: &str) -> Option<Version> {
        let numbers = text.split(['-', '+']).next()?;
        let mut parts = numbers.split('.').map(|part| part.parse().ok());
        let version =
            Version { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
        parts.next().is_none().then_some(version)
    }

    fn put(self, to: &mut impl BufMut) {
        to.put_u16_le(self.major);
        to.put_u16_le(self.minor);
        to.put_u16_le(self.patch);
    }

    fn take(from: &mut Take<'_>) -> Result<Version, Short> {
        Ok(Version { major: from.u16()?, minor: from.u16()?, patch: from.u16()? })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// What the caller says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Which lane this stream is.
    pub lane: Lane,
    /// The cluster of both.
    pub cluster_id: u64,
    /// The caller.
    pub from: u64,
    /// Whom it wants.
    pub to: u64,
    /// The caller's version.
    pub version: Version,
    /// The oldest version that the caller works with.
    pub version_min: Version,
}

/// What the called member makes of a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Frames may follow.
    Accepted,
    /// It belongs to another cluster.
    WrongCluster,
    /// It is another member than the one that was wanted.
    WrongMember,
    /// The caller was removed from the cluster for good.
    Removed,
    /// It does not know the caller, perhaps not yet.
    UnknownMember,
    /// One of the two is too old for the other.
    Incompatible,
}

impl Verdict {
    const ALL: [Verdict; 6] = [
        Verdict::Accepted,
        Verdict::WrongCluster,
        Verdict::WrongMember,
        Verdict::Removed,
        Verdict::UnknownMember,
        Verdict::Incompatible,
    ];

    /// Why a caller is refused, in the words of etcd's peers.
    pub fn text(self) -> &'static str {
        match self {
            Verdict::Accepted => "accepted",
            Verdict::WrongCluster => "cluster ID mismatch",
            Verdict::WrongMember => "to field mismatch",
            Verdict::Removed => "the member has been permanently removed from the cluster",
            Verdict::UnknownMember => "error sender not found",
            Verdict::Incompatible => "incompatible version",
        }
    }
}

/// The answer to a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether frames may follow.
    pub verdict: Verdict,
    /// The cluster of the called member.
    pub cluster_id: u64,
    /// Its version.
    pub version: Version,
}

/// Bytes that are no hello and no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadGreeting {
    /// They begin with something else.
    Magic,
    /// They are of another format.
    Format(u16),
    /// They were damaged on the way.
    Checksum,
    /// They say what nobody means.
    Meaning,
}

impl std::fmt::Display for BadGreeting {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadGreeting::Magic => write!(to, "not a word of the peer protocol"),
            BadGreeting::Format(format) => write!(to, "peer protocol {format}, known is {FORMAT}"),
            BadGreeting::Checksum => write!(to, "a greeting with a wrong checksum"),
            BadGreeting::Meaning => write!(to, "a greeting with an unknown field"),
        }
    }
}

impl From<Short> for BadGreeting {
    fn from(_: Short) -> BadGreeting {
        BadGreeting::Meaning
    }
}

impl Hello {
    /// Its bytes.
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        let to = &mut &mut bytes[..];
        to.put_slice(&MAGIC);
        to.put_u16_le(FORMAT);
        to.put_u8(match self.lane {
            Lane::Prompt => 0,
            Lane::Bulk => 1,
        });
        to.put_bytes(0, 5);
        to.put_u64_le(self.cluster_id);
        to.put_u64_le(self.from);
        to.put_u64_le(self.to);
        self.version.put(to);
        to.put_bytes(0, 2);
        self.version_min.put(to);
        to.put_bytes(0, 6);
        assert_eq!(to.len(), 4);
        seal(&mut bytes);
        bytes
    }

    /// Reads them.
    pub fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Hello, BadGreeting> {
        let mut from = open(bytes)?;
        let lane = match from.u8()? {
            0 => Lane::Prompt,
            1 => Lane::Bulk,
            _ => return Err(BadGreeting::Meaning),
        };
        zeros(&mut from, 5)?;
        let (cluster_id, caller, to) = (from.u64()?, from.u64()?, from.u64()?);
        let version = Version::take(&mut from)?;
        zeros(&mut from, 2)?;
        let version_min = Version::take(&mut from)?;
        zeros(&mut from, 6)?;
        Ok(Hello { lane, cluster_id, from: caller, to, version, version_min })
    }
}

impl Answer {
    /// Its bytes.
    pub fn encode(&self) -> [u8; ANSWER_BYTES] {
        let mut bytes = [0; ANSWER_BYTES];
        let to = &mut &mut bytes[..];
        to.put_slice(&MAGIC);
        to.put_u16_le(FORMAT);
        let number = Verdict::ALL.iter().position(|verdict| *verdict == self.verdict);
        to.put_u8(number.expect("the list has all of them") as u8);
        to.put_bytes(0, 5);
        to.put_u64_le(self.cluster_id);
        self.version.put(to);
        to.put_bytes(0, 6);
        assert_eq!(to.len(), 4);
        seal(&mut bytes);
        bytes
    }

    /// Reads them.
    pub fn decode(bytes: &[u8; ANSWER_BYTES]) -> Result<Answer, BadGreeting> {
        let mut from = open(bytes)?;
        let verdict = Verdict::ALL.get(usize::from(from.u8()?)).ok_or(BadGreeting::Meaning)?;
        zeros(&mut from, 5)?;
        let cluster_id = from.u64()?;
        let version = Version::take(&mut from)?;
        zeros(&mut from, 6)?;
        Ok(Answer { verdict: *verdict, cluster_id, version })
    }
}

/// Puts the checksum of what is before it at the end.
fn seal(bytes: &mut [u8]) {
    let (summed, sum) = bytes.split_at_mut(bytes.len() - 4);
    sum.copy_from_slice(&checksum(summed).to_le_bytes());
}

/// Checks magic, format and checksum, in this order: another format may put its sum elsewhere.
fn open(bytes: &[u8]) -> Result<Take<'_>, BadGreeting> {
    let (summed, sum) = bytes.split_at(bytes.len() - 4);
    let mut from = Take::new(summed);
    if from.bytes(MAGIC.len())? != MAGIC {
        return Err(BadGreeting::Magic);
    }
    let format = from.u16()?;
    if format != FORMAT {
        return Err(BadGreeting::Format(format));
    }
    if checksum(summed).to_le_bytes() != sum {
        return Err(BadGreeting::Checksum);
    }
    Ok(from)
}

fn zeros(from: &mut Take<'_>, count: usize) -> Result<(), BadGreeting> {
    let all_zero = from.bytes(count)?.iter().all(|byte| *byte == 0);
    if all_zero { Ok(()) } else { Err(BadGreeting::Meaning) }
}

#[cfg(test)]
mod tests;
