//! Owns what a member of the group is told at its start, and every bound that Raft is given.
//! Never leaves a bound of the library at a default that is unlimited or zero.

use std::time::Duration;

use wal::{HardState, Mark, Window};

use crate::convert::Membership;

/// Who the member is and how fast its clocks run.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// This member; not 0.
    pub id: u64,
    /// Decides the election timeouts.
    pub seed: u64,
    /// Differs between any two runs of this member, so that no read context is ever used twice.
    pub boot: u64,
    /// Ticks without a leader before an election; the timeout is drawn from this to half as
    /// much again.
    pub election_ticks: usize,
    /// Ticks between heartbeats, fewer than `election_ticks`.
    pub heartbeat_ticks: usize,
    /// How long a read waits for its read point before it counts as lost.
    pub read_timeout: Duration,
    /// Entry data that stays in memory after it is applied. Peers that lag further get entries that
    /// are read from segments.
    pub window_bytes: usize,
}

/// What the member remembers.
#[derive(Clone, Debug)]
pub struct Start {
    /// Entries after the checkpoint.
    pub window: Window,
    /// Latest hard state.
    pub hard_state: HardState,
    /// Members as of `applied`.
    pub membership: Membership,
    /// Last entry that the store holds.
    pub applied: u64,
}

/// Most bytes of entries in one message to a peer.
pub(crate) const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Most unanswered messages to one peer.
pub(crate) const MESSAGES_IN_FLIGHT_MAX: usize = 256;
/// Most bytes of proposals that are not committed; beyond, proposing fails.
pub(crate) const UNCOMMITTED_BYTES_MAX: u64 = 256 << 20;
/// Most bytes of entries given out to be applied at once.
pub(crate) const APPLY_BYTES_MAX: u64 = 4 << 20;

/// Most reads of old entries at once; each brings [`MESSAGE_BYTES_MAX`], or one entry.
pub(crate) const FETCHES_MAX: usize = 4;
/// Most messages to a peer that are not answered while more old entries are read for it.
pub(crate) const FETCH_AHEAD_MAX: usize = 4;
/// Ticks after which one more is read all the same: the answers may be lost.
pub(crate) const FETCH_PATIENCE_TICKS: u64 = 5;

const _: () = assert!(MESSAGE_BYTES_MAX <= UNCOMMITTED_BYTES_MAX);

impl Start {
    /// The founding of a group: every founder starts from the same members at entry 1 of term 1,
    /// which exists nowhere. So a member that joins later, at 0, cannot be served from the log
    /// alone, which does not tell who founded the group: it gets a snapshot.
    pub fn founding(membership: Membership) -> Start {
        let founding = Mark { term: 1, index: 1 };
        Start {
            window: Window::new(founding),
            hard_state: HardState { term: 1, vote: 0, commit: 1 },
            membership,
            applied: founding.index,
        }
    }

    /// A member that joins a running group and knows nothing yet.
    pub fn joining() -> Start {
        Start {
            window: Window::new(Mark { term: 0, index: 0 }),
            hard_state: HardState::START,
            membership: Membership::default(),
            applied: 0,
        }
    }
}

impl Config {
    pub(crate) fn for_raft(&self, applied: u64) -> raft::Config {
        assert!(self.id != 0);
        assert!(0 < self.heartbeat_ticks);
        assert!(self.heartbeat_ticks < self.election_ticks);
        raft::Config {
            id: self.id,
            election_tick: self.election_ticks,
            heartbeat_tick: self.heartbeat_ticks,
            applied,
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_inflight_msgs: MESSAGES_IN_FLIGHT_MAX,
            // A leader cut off from its quorum steps down, and a returning member asks before it
            // disturbs.
            check_quorum: true,
            pre_vote: true,
            min_election_tick: self.election_ticks,
            max_election_tick: 2 * self.election_ticks,
            read_only_option: raft::ReadOnlyOption::Safe,
            // A message to everybody at every commit, and an answer to each, doubled the messages
            // of a lone write. The next append says it too; who must know sooner is told, see
            // `Event::TellCommit`.
            skip_bcast_commit: true,
            // Raft 0.7.0 puts entries into a message that waits without looking at the index that
            // the message follows if it has no entries yet. After a loss was reported they may
            // begin before it, and the answer claims more than the peer has.
            batch_append: false,
            priority: 0,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: APPLY_BYTES_MAX,
        }
    }
}
