//! Owns what members ask each other: the leader on behalf of a client, and anyone about itself.
//! Invariant: an error arrives as the error it was.

use base::bytes_le::Take;
use bytes::{BufMut, BytesMut};
use prost::Message;
use wire::ApiError;
use wire::etcdserverpb as pb;
use wire::peer::Version;

use super::BadNote;
use crate::corruption::HashAt;
use crate::versions::Served;

/// What only the leader can answer, if nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAsk {
    /// Renew a lease.
    KeepAlive {
        /// Which.
        lease: i64,
    },
    /// How long a lease has, and what hangs on it.
    TimeToLive {
        /// Which.
        lease: i64,
        /// With the attached keys?
        keys: bool,
    },
    /// A member should join.
    AddMember {
        /// Where it is reached.
        peer_urls: Vec<String>,
        /// Without a vote?
        learner: bool,
    },
    /// A member should leave.
    RemoveMember {
        /// Which.
        id: u64,
    },
    /// A member's peer URLs should change.
    UpdateMember {
        /// Which.
        id: u64,
        /// The new ones.
        peer_urls: Vec<String>,
    },
    /// A learner should vote.
    PromoteMember {
        /// Which.
        id: u64,
    },
    /// Who is a member, as you know it? The question has the number 0, which no other has; peers
    /// from which nothing comes are also told unasked.
    Members,
    /// Of which version are you? Everybody answers.
    Version,
    /// What is the hash of your history? Everybody answers.
    Hash {
        /// Up to this revision.
        revision: i64,
    },
}

/// What the peer says.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerAnswer {
    /// It cannot be done.
    Failed(ApiError),
    /// Seconds that the lease has; 0 if there is none.
    KeptAlive {
        /// Which.
        lease: i64,
        /// Seconds.
        ttl: i64,
    },
    /// For LeaseTimeToLive.
    TimeToLive(pb::LeaseTimeToLiveResponse),
    /// All members after the change; one that was added is the last.
    Members(Vec<pb::Member>),
    /// Ask somebody else.
    NotLeader,
    /// For `Version`.
    Version(Served),
    /// For `Hash`.
    Hash(HashAt),
}

impl PeerAsk {
    pub(super) fn put(&self, to: &mut BytesMut) {
        match self {
            PeerAsk::KeepAlive { lease } => {
                to.put_u8(1);
                to.put_i64_le(*lease);
            }
            PeerAsk::TimeToLive { lease, keys } => {
                to.put_u8(2);
                to.put_i64_le(*lease);
                to.put_u8(u8::from(*keys));
            }
            PeerAsk::AddMember { peer_urls, learner } => {
                to.put_u8(3);
                to.put_u8(u8::from(*learner));
                put_texts(to, peer_urls);
            }
            PeerAsk::RemoveMember { id } => {
                to.put_u8(4);
                to.put_u64_le(*id);
            }
            PeerAsk::UpdateMember { id, peer_urls } => {
                to.put_u8(5);
                to.put_u64_le(*id);
                put_texts(to, peer_urls);
            }
            PeerAsk::PromoteMember { id } => {
                to.put_u8(6);
                to.put_u64_le(*id);
            }
            PeerAsk::Members => to.put_u8(7),
            PeerAsk::Version => to.put_u8(8),
            PeerAsk::Hash { revision } => {
                to.put_u8(9);
                to.put_i64_le(*revision);
            }
        }
    }

    pub(super) fn take(from: &mut Take<'_>) -> Result<PeerAsk, BadNote> {
        Ok(match from.u8()? {
            1 => PeerAsk::KeepAlive { lease: from.i64()? },
            2 => PeerAsk::TimeToLive { lease: from.i64()?, keys: take_flag(from)? },
            3 => {
                let learner = take_flag(from)?;
                PeerAsk::AddMember { peer_urls: take_texts(from)?, learner }
            }
            4 => PeerAsk::RemoveMember { id: from.u64()? },
            5 => PeerAsk::UpdateMember { id: from.u64()?, peer_urls: take_texts(from)? },
            6 => PeerAsk::PromoteMember { id: from.u64()? },
            7 => PeerAsk::Members,
            8 => PeerAsk::Version,
            9 => PeerAsk::Hash { revision: from.i64()? },
            _ => return Err(BadNote),
        })
    }
}

impl PeerAnswer {
    pub(super) fn put(&self, to: &mut BytesMut) {
        match self {
            PeerAnswer::Failed(error) => {
                to.put_u8(1);
                put_text(to, error.message());
            }
            PeerAnswer::KeptAlive { lease, ttl } => {
                to.put_u8(2);
                to.put_i64_le(*lease);
                to.put_i64_le(*ttl);
            }
            PeerAnswer::TimeToLive(response) => {
                to.put_u8(3);
                put_bytes(to, &response.encode_to_vec());
            }
            PeerAnswer::Members(members) => {
                to.put_u8(4);
                let list = pb::MemberListResponse { header: None, members: members.clone() };
                put_bytes(to, &list.encode_to_vec());
            }
            PeerAnswer::NotLeader => to.put_u8(5),
            PeerAnswer::Version(served) => {
                to.put_u8(6);
                put_text(to, &served.server.to_string());
                put_text(to, &served.oldest.to_string());
            }
            PeerAnswer::Hash(HashAt { hash, revision, compact, head }) => {
                to.put_u8(7);
                to.put_u32_le(*hash);
                [revision, compact, head].into_iter().for_each(|number| to.put_i64_le(*number));
            }
        }
    }

    pub(super) fn take(from: &mut Take<'_>) -> Result<PeerAnswer, BadNote> {
        Ok(match from.u8()? {
            1 => {
                let text = take_text(from)?;
                let known = ApiError::ALL.iter().find(|error| error.message() == text);
                PeerAnswer::Failed(known.cloned().unwrap_or(ApiError::Unknown(text)))
            }
            2 => PeerAnswer::KeptAlive { lease: from.i64()?, ttl: from.i64()? },
            3 => PeerAnswer::TimeToLive(message(from)?),
            4 => PeerAnswer::Members(message::<pb::MemberListResponse>(from)?.members),
            5 => PeerAnswer::NotLeader,
            6 => PeerAnswer::Version(Served {
                server: take_version(from)?,
                oldest: take_version(from)?,
            }),
            7 => PeerAnswer::Hash(HashAt {
                hash: from.u32()?,
                revision: from.i64()?,
                compact: from.i64()?,
                head: from.i64()?,
            }),
            _ => return Err(BadNote),
        })
    }
}

fn put_bytes(to: &mut BytesMut, bytes: &[u8]) {
    to.put_u32_le(u32::try_from(bytes.len()).expect("a word between members is below 4 GiB"));
    to.put_slice(bytes);
}

fn put_text(to: &mut BytesMut, text: &str) {
    put_bytes(to, text.as_bytes());
}

fn put_texts(to: &mut BytesMut, texts: &[String]) {
    to.put_u32_le(u32::try_from(texts.len()).expect("fewer than 2^32 URLs"));
    texts.iter().for_each(|text| put_text(to, text));
}

fn take_bytes<'a>(from: &mut Take<'a>) -> Result<&'a [u8], BadNote> {
    let len = from.u32()? as usize;
    Ok(from.bytes(len)?)
}

fn take_text(from: &mut Take<'_>) -> Result<String, BadNote> {
    String::from_utf8(take_bytes(from)?.to_vec()).map_err(|_| BadNote)
}

fn take_texts(from: &mut Take<'_>) -> Result<Vec<String>, BadNote> {
    (0..from.u32()?).map(|_| take_text(from)).collect()
}

fn take_version(from: &mut Take<'_>) -> Result<Version, BadNote> {
    Version::parse(&take_text(from)?).ok_or(BadNote)
}

fn take_flag(from: &mut Take<'_>) -> Result<bool, BadNote> {
    match from.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(BadNote),
    }
}

fn message<M: Message + Default>(from: &mut Take<'_>) -> Result<M, BadNote> {
    M::decode(take_bytes(from)?).map_err(|_| BadNote)
}
