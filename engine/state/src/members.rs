//! Owns the members of the cluster: the one list, by id, and the ids that may never come back.
//! Invariant: an id is a member, removed, or unknown, never two of them; a member's role changes
//! only by adding it and by promoting it, whatever else is updated.

use std::collections::{BTreeMap, BTreeSet};

use base::bytes_le::{Short, Take};
use bytes::{BufMut, Bytes, BytesMut};
use wire::ApiError;

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Never 0, never used twice.
    pub id: u64,
    /// Empty until the member has started.
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has started.
    pub client_urls: Vec<String>,
    /// Whether it votes.
    pub role: MemberRole,
}

/// Whether a member votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRole {
    /// Counts for the quorum.
    Voter,
    /// Only follows.
    Learner,
}

/// What a member says of itself once it has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberAttributes {
    /// Who.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
}

/// A change of the list, as it travels with a change of the Raft group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// A new member.
    Add(Member),
    /// A member leaves for good.
    Remove(u64),
    /// New peer URLs; nothing else changes.
    UpdatePeerUrls {
        /// Who.
        id: u64,
        /// The new ones.
        peer_urls: Vec<String>,
    },
    /// A learner votes from now on.
    Promote(u64),
}

/// The members, and the removed ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    by_id: BTreeMap<u64, Member>,
    removed: BTreeSet<u64>,
}

impl Members {
    /// By id, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values()
    }

    /// One member.
    pub fn get(&self, id: u64) -> Option<&Member> {
        self.by_id.get(&id)
    }

    /// Ids that may never come back, ascending.
    pub fn removed(&self) -> impl Iterator<Item = u64> + '_ {
        self.removed.iter().copied()
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether nobody has joined yet.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Whether the change could be made now, by the rules that every member checks in log order.
    /// (Whether enough members are up is asked by the leader before.)
    pub fn check(&self, change: &MemberChange) -> Result<(), ApiError> {
        match change {
            MemberChange::Add(member) if self.removed.contains(&member.id) => {
                Err(ApiError::MemberNotFound)
            }
            MemberChange::Add(member) if self.by_id.contains_key(&member.id) => {
                Err(ApiError::MemberExists)
            }
            MemberChange::Add(member) => self.urls_free(member.id, &member.peer_urls),
            MemberChange::Remove(id) => self.known(*id).map(|_| ()),
            MemberChange::UpdatePeerUrls { id, peer_urls } => {
                self.known(*id)?;
                self.urls_free(*id, peer_urls)
            }
            MemberChange::Promote(id) => match self.known(*id)?.role {
                MemberRole::Learner => Ok(()),
                MemberRole::Voter => Err(ApiError::MemberNotLearner),
            },
        }
    }

    /// Makes a change if it can be made, as every member does when it applies it.
    pub fn change(&mut self, change: MemberChange) -> Result<(), ApiError> {
        self.check(&change)?;
        self.make(change);
        Ok(())
    }

    /// Makes a change that was checked. Returns the id it touched.
    pub(crate) fn make(&mut self, change: MemberChange) -> u64 {
        match change {
            MemberChange::Add(member) => {
                let id = member.id;
                assert!(self.by_id.insert(id, member).is_none());
                id
            }
            MemberChange::Remove(id) => {
                assert!(self.by_id.remove(&id).is_some());
                self.removed.insert(id);
                id
            }
            MemberChange::UpdatePeerUrls { id, peer_urls } => {
                self.member_mut(id).peer_urls = peer_urls;
                id
            }
            MemberChange::Promote(id) => {
                self.member_mut(id).role = MemberRole::Voter;
                id
            }
        }
    }

    /// Notes a member's own words; false if it is not a member (any more).
    pub(crate) fn describe(&mut self, attributes: MemberAttributes) -> bool {
        let Some(member) = self.by_id.get_mut(&attributes.id) else { return false };
        member.name = attributes.name;
        member.client_urls = attributes.client_urls;
        true
    }

    pub(crate) fn restore(&mut self, member: Member) {
        self.by_id.insert(member.id, member);
    }

    pub(crate) fn restore_removed(&mut self, id: u64) {
        self.removed.insert(id);
    }

    fn known(&self, id: u64) -> Result<&Member, ApiError> {
        self.by_id.get(&id).ok_or(ApiError::MemberNotFound)
    }

    fn member_mut(&mut self, id: u64) -> &mut Member {
        self.by_id.get_mut(&id).unwrap_or_else(|| unreachable!("member {id} was checked"))
    }

    fn urls_free(&self, id: u64, urls: &[String]) -> Result<(), ApiError> {
        let taken = |url| self.by_id.values().any(|m| m.id != id && m.peer_urls.contains(url));
        if urls.iter().any(taken) { Err(ApiError::PeerUrlExists) } else { Ok(()) }
    }
}

/// Bytes that are no member or member change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMember;

impl From<Short> for BadMember {
    fn from(_: Short) -> BadMember {
        BadMember
    }
}

impl Member {
    /// `id (8) role (1) name peer_urls client_urls`; a text is its length (4) and its bytes, a
    /// list is its count (4) and its texts.
    pub(crate) fn put(&self, to: &mut BytesMut) {
        to.put_u64_le(self.id);
        to.put_u8(match self.role {
            MemberRole::Voter => 0,
            MemberRole::Learner => 1,
        });
        put_text(to, &self.name);
        put_texts(to, &self.peer_urls);
        put_texts(to, &self.client_urls);
    }

    pub(crate) fn take(from: &mut Take<'_>) -> Result<Member, BadMember> {
        let id = from.u64()?;
        let role = match from.u8()? {
            0 => MemberRole::Voter,
            1 => MemberRole::Learner,
            _ => return Err(BadMember),
        };
        let name = take_text(from)?;
        let (peer_urls, client_urls) = (take_texts(from)?, take_texts(from)?);
        Ok(Member { id, name, peer_urls, client_urls, role })
    }
}

impl MemberAttributes {
    /// `id (8) name client_urls`.
    pub(crate) fn encode(&self) -> Bytes {
        let mut to = BytesMut::new();
        to.put_u64_le(self.id);
        put_text(&mut to, &self.name);
        put_texts(&mut to, &self.client_urls);
        to.freeze()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<MemberAttributes, BadMember> {
        let mut from = Take::new(bytes);
        let (id, name) = (from.u64()?, take_text(&mut from)?);
        let client_urls = take_texts(&mut from)?;
        end(from)?;
        Ok(MemberAttributes { id, name, client_urls })
    }
}

impl MemberChange {
    /// `kind (1)` and then the member, its id, or its id and peer URLs.
    pub fn encode(&self) -> Bytes {
        let mut to = BytesMut::new();
        match self {
            MemberChange::Add(member) => {
                to.put_u8(1);
                member.put(&mut to);
            }
            MemberChange::Remove(id) => {
                to.put_u8(2);
                to.put_u64_le(*id);
            }
            MemberChange::UpdatePeerUrls { id, peer_urls } => {
                to.put_u8(3);
                to.put_u64_le(*id);
                put_texts(&mut to, peer_urls);
            }
            MemberChange::Promote(id) => {
                to.put_u8(4);
                to.put_u64_le(*id);
            }
        }
        to.freeze()
    }

    /// Reads what [`MemberChange::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<MemberChange, BadMember> {
        let mut from = Take::new(bytes);
        let change = match from.u8()? {
            1 => MemberChange::Add(Member::take(&mut from)?),
            2 => MemberChange::Remove(from.u64()?),
            3 => {
                let (id, peer_urls) = (from.u64()?, take_texts(&mut from)?);
                MemberChange::UpdatePeerUrls { id, peer_urls }
            }
            4 => MemberChange::Promote(from.u64()?),
            _ => return Err(BadMember),
        };
        end(from)?;
        Ok(change)
    }
}

fn put_text(to: &mut BytesMut, text: &str) {
    to.put_u32_le(u32::try_from(text.len()).expect("a name or URL is shorter than 4 GiB"));
    to.put_slice(text.as_bytes());
}

fn put_texts(to: &mut BytesMut, texts: &[String]) {
    to.put_u32_le(u32::try_from(texts.len()).expect("fewer than 2^32 URLs"));
    texts.iter().for_each(|text| put_text(to, text));
}

fn take_text(from: &mut Take<'_>) -> Result<String, BadMember> {
    let len = from.u32()? as usize;
    let bytes = from.bytes(len)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| BadMember)
}

fn take_texts(from: &mut Take<'_>) -> Result<Vec<String>, BadMember> {
    // No capacity is reserved from the count: it may lie.
    (0..from.u32()?).map(|_| take_text(from)).collect()
}

pub(crate) fn end(from: Take<'_>) -> Result<(), BadMember> {
    if from.rest().is_empty() { Ok(()) } else { Err(BadMember) }
}

#[cfg(test)]
mod tests;
