//! Owns the message between two members. Its inside is the library's; peers see bytes.

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use wal::Mark;

/// A message of the Raft group, to or from a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerMessage(pub(crate) Message);

/// Marks a heartbeat that only tells how far the group has committed. The context of a read is
/// longer, that of other heartbeats is empty.
const NOTICE: &[u8] = b"c";

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMessage;

impl PeerMessage {
    /// Its bytes, behind whatever is there.
    pub fn encode(&self, to: &mut Vec<u8>) {
        to.reserve_exact(self.0.compute_size() as usize);
        self.0.write_to_vec(to).expect("a message that was built has no missing field");
    }

    /// Reads bytes of a peer. Entries stay views of the same memory.
    pub fn decode(bytes: &Bytes) -> Result<PeerMessage, BadMessage> {
        let message = Message::parse_from_carllerche_bytes(bytes).map_err(|_| BadMessage)?;
        Ok(PeerMessage(message))
    }

    /// Who sent it.
    pub fn from(&self) -> u64 {
        self.0.from
    }

    /// Whom it is for.
    pub fn to(&self) -> u64 {
        self.0.to
    }

    /// Whether it carries a snapshot, so that its delivery must be reported.
    pub fn is_snapshot(&self) -> bool {
        self.0.msg_type == MessageType::MsgSnapshot
    }

    /// The index and the data of the snapshot that it carries.
    pub fn snapshot(&self) -> Option<(u64, Bytes)> {
        let snapshot = self.0.get_snapshot();
        self.is_snapshot().then(|| (snapshot.get_metadata().index, snapshot.data.clone()))
    }

    /// Whether it says nothing of what its sender has made durable, beyond the sender's term:
    /// answers to heartbeats, and questions for a read point.
    pub(crate) fn claims_only_term(&self) -> bool {
        matches!(self.0.msg_type, MessageType::MsgHeartbeatResponse | MessageType::MsgReadIndex)
    }

    /// Tells a peer that the entry at this mark is committed. A heartbeat that says so by its
    /// commit index goes only as far as the peer has answered; this is good for any peer whose log
    /// has this very entry, and asks for no answer.
    pub(crate) fn notice(from: u64, to: u64, term: u64, commit: Mark) -> PeerMessage {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgHeartbeat);
        (message.from, message.to, message.term) = (from, to, term);
        (message.index, message.log_term) = (commit.index, commit.term);
        message.context = NOTICE.into();
        PeerMessage(message)
    }

    /// The entry that this tells to be committed, if it is such a notice.
    pub(crate) fn noticed(&self) -> Option<Mark> {
        let is_notice = self.0.msg_type == MessageType::MsgHeartbeat && self.0.context == NOTICE;
        is_notice.then_some(Mark { term: self.0.log_term, index: self.0.index })
    }

    /// Whether this is the library's answer to a notice, which nobody waits for.
    pub(crate) fn answers_notice(&self) -> bool {
        self.0.msg_type == MessageType::MsgHeartbeatResponse && self.0.context == NOTICE
    }

    /// The commit index that its receiver learns, if it is of that kind.
    pub(crate) fn tells_commit(&self) -> Option<u64> {
        let of_message =
            matches!(self.0.msg_type, MessageType::MsgAppend | MessageType::MsgHeartbeat);
        self.noticed().map(|mark| mark.index).or(of_message.then_some(self.0.commit))
    }

    /// The index of the read point that this gives to a peer.
    pub(crate) fn read_point(&self) -> Option<u64> {
        (self.0.msg_type == MessageType::MsgReadIndexResp).then_some(self.0.index)
    }

    /// Whether a peer may say this: proposals go to the leader over the member's own paths, which
    /// can answer them, and some types are only ever for oneself.
    pub(crate) fn is_for(&self, id: u64) -> bool {
        let message = &self.0;
        let proposal = message.msg_type == MessageType::MsgPropose;
        let addressed = message.to == id && message.from != id && message.from != 0;
        !proposal && addressed && self.is_continuous()
    }

    /// Whether the entries of an append follow what it follows, one after another. The library
    /// takes that for granted, and would answer for entries that it does not have.
    fn is_continuous(&self) -> bool {
        let message = &self.0;
        let follows = message.entries.iter().zip(1..).all(|(entry, after)| {
            message.index.checked_add(after).is_some_and(|index| entry.index == index)
        });
        message.msg_type != MessageType::MsgAppend || follows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Prng;

    #[test]
    fn an_append_whose_entries_do_not_follow_its_index_is_for_nobody() {
        let append = |index: u64, entries: &[u64]| {
            let mut message = Message::default();
            message.set_msg_type(MessageType::MsgAppend);
            (message.from, message.to, message.index) = (1, 2, index);
            let entry = |index: &u64| raft::eraftpb::Entry { index: *index, ..Default::default() };
            message.set_entries(entries.iter().map(entry).collect::<Vec<_>>().into());
            PeerMessage(message)
        };
        assert!(append(35, &[]).is_for(2) && append(35, &[36, 37]).is_for(2));
        assert!(!append(35, &[34, 35, 36]).is_for(2) && !append(35, &[36, 38]).is_for(2));
        assert!(!append(u64::MAX, &[0]).is_for(2));
    }

    #[test]
    fn a_message_survives_its_bytes_and_noise_is_an_error_or_a_message_but_no_panic() {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgAppend);
        (message.from, message.to, message.term) = (1, 2, 3);
        let data = "put".into();
        let entry = raft::eraftpb::Entry { data, ..raft::eraftpb::Entry::default() };
        message.mut_entries().push(entry);
        let message = PeerMessage(message);
        let mut bytes = vec![];
        message.encode(&mut bytes);
        let bytes = Bytes::from(bytes);
        assert_eq!(PeerMessage::decode(&bytes), Ok(message));
        let mut prng = Prng::from_seed(5);
        for _ in 0..5000 {
            let mut noise = bytes.to_vec();
            let at = prng.below(noise.len() as u64) as usize;
            noise[at] ^= 1 << prng.below(8);
            noise.truncate(prng.below(noise.len() as u64 + 1) as usize);
            let _ = PeerMessage::decode(&noise.into());
        }
    }
}
