//! Owns what members of one cluster say to each other, as values and as bytes.
//! Sends nothing. Invariant: a note is read back as it was written; any other bytes are an error,
//! and no count in them reserves memory.
//!
//! ```text
//!   note    kind (1) | zero (7) | body
//!   1 raft      the message as the group encodes it
//!   2 commands  a batch as in a log entry (engine/state), to be proposed by the leader
//!   3 ask       number (8) | ask      kind (1) and its fields
//!   4 answer    number (8) | answer   kind (1) and its fields
//!   5 part      transfer (8) | number (4) | the part
//!   6 taken     transfer (8) | number (4)
//!   7 refused   transfer (8)
//!   8 probe     sent (8)
//!   9 probed    sent (8) | wall (8)
//! ```
//! All numbers are little-endian.

mod ask;

use base::bytes_le::{Short, Take};
use bytes::{BufMut, Bytes, BytesMut};
use consensus::PeerMessage;
use state::CommandBatch;

pub use ask::{PeerAnswer, PeerAsk};

/// Bytes before the body.
const HEADER_BYTES: usize = 8;

/// From one member to another. Any of them may be lost, and none arrives twice.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerNote {
    /// A word of the Raft group.
    Raft(PeerMessage),
    /// Commands of the sender's clients, for the leader to propose.
    Commands(CommandBatch),
    /// A question.
    Ask {
        /// The asker's number for it.
        number: u64,
        /// What.
        ask: PeerAsk,
    },
    /// The answer to one.
    Answer {
        /// The asker's number for it.
        number: u64,
        /// What came of it.
        answer: PeerAnswer,
    },
    /// A piece of a snapshot of the store.
    Part {
        /// Names the transfer.
        transfer: u64,
        /// Rises by one from 0.
        number: u32,
        /// What `snapshot` wrote.
        bytes: Bytes,
    },
    /// The piece was taken in: another may follow.
    Taken {
        /// Names the transfer.
        transfer: u64,
        /// Which piece.
        number: u32,
    },
    /// The transfer is of no use to the receiver.
    Refused {
        /// Names the transfer.
        transfer: u64,
    },
    /// How long does it take there and back?
    Probe {
        /// What the asker's clock of machines shows: of no meaning to anybody else.
        sent: u64,
    },
    /// The answer, at once.
    Probed {
        /// As it was asked.
        sent: u64,
        /// What the clock on the wall shows, in nanoseconds since 1970.
        wall_ns: u64,
    },
}

/// Which stream a note takes. What is short and urgent never waits behind what is long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Elections, heartbeats, appends, commands, questions.
    Prompt,
    /// Pieces of snapshots.
    Bulk,
}

/// Bytes that are no note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadNote;

impl From<Short> for BadNote {
    fn from(_: Short) -> BadNote {
        BadNote
    }
}

impl PeerNote {
    /// The stream it belongs to.
    pub fn lane(&self) -> Lane {
        match self {
            PeerNote::Raft(_)
            | PeerNote::Commands(_)
            | PeerNote::Ask { .. }
            | PeerNote::Answer { .. }
            | PeerNote::Taken { .. }
            | PeerNote::Refused { .. }
            | PeerNote::Probe { .. }
            | PeerNote::Probed { .. } => Lane::Prompt,
            PeerNote::Part { .. } => Lane::Bulk,
        }
    }

    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        match self {
            PeerNote::Raft(message) => {
                let mut to = vec![0; HEADER_BYTES];
                to[0] = 1;
                message.encode(&mut to);
                to.into()
            }
            PeerNote::Commands(batch) => {
                let mut to = header(2, batch.encoded_bytes());
                batch.put(&mut to);
                to.freeze()
            }
            PeerNote::Ask { number, ask } => {
                let mut to = header(3, 8);
                to.put_u64_le(*number);
                ask.put(&mut to);
                to.freeze()
            }
            PeerNote::Answer { number, answer } => {
                let mut to = header(4, 8);
                to.put_u64_le(*number);
                answer.put(&mut to);
                to.freeze()
            }
            PeerNote::Part { transfer, number, bytes } => {
                let mut to = header(5, 12 + bytes.len());
                to.put_u64_le(*transfer);
                to.put_u32_le(*number);
                to.put_slice(bytes);
                to.freeze()
            }
            PeerNote::Taken { transfer, number } => {
                let mut to = header(6, 12);
                to.put_u64_le(*transfer);
                to.put_u32_le(*number);
                to.freeze()
            }
            PeerNote::Refused { transfer } => {
                let mut to = header(7, 8);
                to.put_u64_le(*transfer);
                to.freeze()
            }
            PeerNote::Probe { sent } => {
                let mut to = header(8, 8);
                to.put_u64_le(*sent);
                to.freeze()
            }
            PeerNote::Probed { sent, wall_ns } => {
                let mut to = header(9, 16);
                to.put_u64_le(*sent);
                to.put_u64_le(*wall_ns);
                to.freeze()
            }
        }
    }

    /// Reads the bytes of a peer. Entries and parts stay views of the same memory.
    pub fn decode(bytes: &Bytes) -> Result<PeerNote, BadNote> {
        let mut from = Take::new(bytes);
        let kind = from.u8()?;
        if from.bytes(HEADER_BYTES - 1)?.iter().any(|byte| *byte != 0) {
            return Err(BadNote);
        }
        let body = bytes.slice(HEADER_BYTES..);
        let note = match kind {
            1 => return PeerMessage::decode(&body).map(PeerNote::Raft).map_err(|_| BadNote),
            2 => return CommandBatch::decode(&body).map(PeerNote::Commands).map_err(|_| BadNote),
            3 => PeerNote::Ask { number: from.u64()?, ask: PeerAsk::take(&mut from)? },
            4 => PeerNote::Answer { number: from.u64()?, answer: PeerAnswer::take(&mut from)? },
            5 => {
                let (transfer, number) = (from.u64()?, from.u32()?);
                let at = bytes.len() - from.rest().len();
                return Ok(PeerNote::Part { transfer, number, bytes: bytes.slice(at..) });
            }
            6 => PeerNote::Taken { transfer: from.u64()?, number: from.u32()? },
            7 => PeerNote::Refused { transfer: from.u64()? },
            8 => PeerNote::Probe { sent: from.u64()? },
            9 => PeerNote::Probed { sent: from.u64()?, wall_ns: from.u64()? },
            _ => return Err(BadNote),
        };
        if from.rest().is_empty() { Ok(note) } else { Err(BadNote) }
    }
}

fn header(kind: u8, body: usize) -> BytesMut {
    let mut to = BytesMut::with_capacity(HEADER_BYTES + body);
    to.put_u8(kind);
    to.put_bytes(0, HEADER_BYTES - 1);
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Prng;
    use state::{Command, Kind, Origin};
    use wire::ApiError;
    use wire::etcdserverpb as pb;
    use wire::peer::Version;

    use crate::corruption::HashAt;
    use crate::versions::Served;

    fn notes() -> Vec<PeerNote> {
        let member = pb::Member {
            id: 7,
            name: "a".to_owned(),
            peer_urls: vec!["http://10.0.0.1:2380".to_owned()],
            client_urls: Vec::new(),
            is_learner: true,
        };
        let origin = Origin { member: 3, sequence: 9 };
        let command = Command { kind: Kind::Put, origin, body: Bytes::from_static(b"body") };
        let ttl = pb::LeaseTimeToLiveResponse { id: 4, ttl: 5, ..Default::default() };
        let urls = vec!["http://b:1".to_owned()];
        let asks = [
            PeerAsk::KeepAlive { lease: -4 },
            PeerAsk::TimeToLive { lease: 5, keys: true },
            PeerAsk::AddMember { peer_urls: urls.clone(), learner: true },
            PeerAsk::RemoveMember { id: 8 },
            PeerAsk::UpdateMember { id: 8, peer_urls: urls },
            PeerAsk::PromoteMember { id: 8 },
            PeerAsk::Members,
            PeerAsk::Version,
            PeerAsk::Hash { revision: 12 },
        ];
        let answers = [
            PeerAnswer::Failed(ApiError::MemberNotFound),
            PeerAnswer::Failed(ApiError::Unknown("why not".to_owned())),
            PeerAnswer::KeptAlive { lease: 4, ttl: 60 },
            PeerAnswer::TimeToLive(ttl),
            PeerAnswer::Members(vec![member]),
            PeerAnswer::NotLeader,
            PeerAnswer::Version(Served {
                server: Version { major: 3, minor: 7, patch: 1 },
                oldest: Version { major: 3, minor: 6, patch: 0 },
            }),
        ];
        let hash = HashAt { hash: 0x1234_5678, revision: 12, compact: -1, head: 13 };
        let mut notes = vec![
            PeerNote::Answer { number: 2, answer: PeerAnswer::Hash(hash) },
            PeerNote::Commands(CommandBatch { commands: vec![command] }),
            PeerNote::Part { transfer: 1, number: 2, bytes: Bytes::from_static(b"part") },
            PeerNote::Taken { transfer: 1, number: 2 },
            PeerNote::Refused { transfer: 1 },
            PeerNote::Probe { sent: 3 },
            PeerNote::Probed { sent: 3, wall_ns: 4 },
        ];
        notes.extend(asks.into_iter().map(|ask| PeerNote::Ask { number: 1, ask }));
        notes.extend(answers.into_iter().map(|answer| PeerNote::Answer { number: 1, answer }));
        notes
    }

    #[test]
    fn a_note_survives_its_bytes_and_damage_is_an_error_or_another_note_but_no_panic() {
        let mut dice = Prng::from_seed(11);
        for note in notes() {
            let bytes = note.encode();
            assert_eq!(PeerNote::decode(&bytes), Ok(note));
            for _ in 0..500 {
                let mut noise = bytes.to_vec();
                let at = dice.below(noise.len() as u64) as usize;
                noise[at] ^= 1 << dice.below(8);
                noise.truncate(dice.below(noise.len() as u64 + 1) as usize);
                let _ = PeerNote::decode(&noise.into());
            }
        }
    }
}
