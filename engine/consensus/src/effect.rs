//! Owns the words between consensus and its member: what happens to it and what it wants done.

use bytes::Bytes;
use wal::{Entry, HardState, Mark, Record, Urgency};

use crate::convert::Membership;
use crate::message::PeerMessage;

/// Names one [`Persist`]; rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadyNumber(pub u64);

/// The member's own name for a read; need not be fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadContext(pub u64);

/// What happens to a member of the group.
#[derive(Clone, Debug)]
pub enum Event {
    /// One tick of the election clock passed.
    Tick,
    /// A peer sent this.
    Received(PeerMessage),
    /// All records of this and every earlier [`Persist`] are durable. Only those that
    /// [`Urgency::Wait`] are reported, in order; a later one stands for earlier ones.
    Persisted(ReadyNumber),
    /// The store holds all entries up to this index.
    Applied(u64),
    /// A linearizable read wants a read point. Answered by `ReadReady` or `ReadLost`.
    ReadIndex(ReadContext),
    /// Messages to this peer are being lost.
    Unreachable(u64),
    /// The process of this peer is no more, as far as anybody can know: its host answers that
    /// nobody listens at its port.
    Ended(u64),
    /// What came of a snapshot that was sent to a peer. Must follow every one that was sent.
    SnapshotSent {
        /// To whom.
        peer: u64,
        /// What came of it.
        delivery: Delivery,
    },
    /// A snapshot that `SnapshotWanted` asked for can be sent to this peer.
    SnapshotMade {
        /// For whom.
        peer: u64,
        /// What.
        snapshot: Snapshot,
    },
    /// The snapshot that was made for this peer is of no use any more.
    SnapshotDropped {
        /// For whom.
        peer: u64,
    },
    /// Entries up to this index, all applied, are not kept in memory for peers.
    Compact(u64),
    /// Entries after this one can be read from segments, and no others. It only rises.
    Held(u64),
    /// What came of a [`Effect::Fetch`].
    Fetched {
        /// Its first entry.
        low: u64,
        /// Entries from there on, some of those that were wanted; none if they are gone.
        entries: Vec<Entry>,
    },
    /// Tell this peer now how far the group has committed, if it was not told and this member
    /// leads. See [`crate::Consensus::untold`].
    TellCommit(u64),
    /// Stand for election now: a member that is alone need not wait for a timeout.
    Campaign,
    /// Hand leadership to this peer.
    TransferLeader(u64),
}

/// What came of sending a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The peer has it.
    Delivered,
    /// The peer does not.
    Failed,
}

/// What a member of the group wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Log this.
    Persist(Persist),
    /// Send this to a peer. It may be lost.
    Send {
        /// To whom.
        to: u64,
        /// What.
        message: PeerMessage,
    },
    /// Apply these committed entries in order, then report [`Event::Applied`].
    Apply(Vec<Entry>),
    /// The read sees everything once the entry at `index` is applied.
    ReadReady {
        /// Which read.
        context: ReadContext,
        /// Its read point.
        index: u64,
    },
    /// The read got no read point: there is no leader, it changed, or the answer did not come. Ask
    /// again, but not before the next tick or change of role.
    ReadLost {
        /// Which read.
        context: ReadContext,
    },
    /// Who leads, in which term, or this member's role in that, changed.
    Role(RoleChange),
    /// Replace the store by this snapshot, durably. The `Persist` that comes next carries its mark,
    /// which must not be logged before. It counts as applied at once.
    Install(Snapshot),
    /// Peers need entries that are not in memory: read them, as many from the front as have
    /// `bytes_max` of data together but at least one, and answer with [`Event::Fetched`].
    Fetch {
        /// The first.
        low: u64,
        /// The one after the last.
        high: u64,
        /// Bytes of data.
        bytes_max: u64,
    },
    /// A peer needs a snapshot at `index` or later; answer with [`Event::SnapshotMade`].
    SnapshotWanted {
        /// Which peer.
        peer: u64,
        /// From where on it will do.
        index: u64,
    },
}

/// Records for the log, to be appended in the order mark, entries, hard state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// To be reported if somebody waits.
    pub number: ReadyNumber,
    /// The log starts over here.
    pub mark: Option<Mark>,
    /// Entries. The first may replace older ones of the same index and all after them.
    pub entries: Vec<Entry>,
    /// Hard state, if it changed.
    pub hard_state: Option<HardState>,
    /// Whether durability is waited for. If not, no report is expected.
    pub urgency: Urgency,
}

impl Persist {
    /// Its records, in the order in which they must be appended to the log.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let mark = self.mark.map(Record::Mark).into_iter();
        let entries = self.entries.iter().cloned().map(Record::Entry);
        mark.chain(entries).chain(self.hard_state.map(Record::HardState))
    }
}

/// The state of the store at one entry, for a peer that is too far behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entry in it.
    pub at: Mark,
    /// Members as of that entry.
    pub membership: Membership,
    /// What the member needs to fetch or rebuild it.
    pub data: Bytes,
}

/// What a member is in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader or waits for one.
    Follower,
    /// Asks whether it could win.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
}

/// Who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// The leader, if one is known.
    pub leader: Option<u64>,
    /// The term.
    pub term: u64,
    /// This member's part.
    pub role: Role,
}

/// Where a proposal stands in the log. It is ours when, and only when, the entry applied at this
/// index has this term; if another term's entry is applied there, it is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// The leader's term.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

/// Why a proposal was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposeError {
    /// This member does not lead.
    NotLeader {
        /// Who does, if known.
        leader: Option<u64>,
    },
    /// Leadership is being handed over.
    Transferring,
    /// Too much is uncommitted.
    Full,
    /// An earlier membership change is not applied yet.
    ChangePending,
}
