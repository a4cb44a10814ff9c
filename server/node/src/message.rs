//! Owns what passes between the machines of one member: commands and questions to the leader,
//! frozen batches and answers to the shards, reads between shards.
//! Decides nothing. Invariant: whatever crosses is owned or frozen; nobody keeps a way to change
//! it.

use std::sync::Arc;

use base::{Change, ChangeKind, Instant, SliceId};
use bytes::Bytes;
use slice::{Compaction, PinId, PinTooLate, ReadId, ReadRequest, ReadResult};
use state::{Applied, Kind, MemberRole, MetaChange, Outcome, TxnPlan, ValueAnswer, ValueNeed};
use wire::ApiError;
use wire::etcdserverpb as pb;

use crate::corruption::HashAt;
use crate::shard::Side;

/// One shard, which is one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// One call of a client at one shard, named by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// A call, seen from the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRef {
    /// Where the answer goes.
    pub shard: ShardId,
    /// Which call there.
    pub call: CallId,
}

/// A command that wants to go through the log.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The call that waits for the outcome.
    pub call: CallId,
    /// What kind of command.
    pub kind: Kind,
    /// The request as the client sent it.
    pub body: Bytes,
    /// What it would add to the store, in bytes (etcd's quota costs); 0 for what frees room.
    pub quota_cost_bytes: u64,
    /// When it arrived.
    pub since: Instant,
}

/// A question that only the leader core can answer.
#[derive(Clone, Debug)]
pub enum Question {
    /// Evaluate a read-only transaction at the current state.
    PlanTxn(pb::TxnRequest),
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
    /// All leases.
    Leases,
    /// All members.
    Members,
    /// All members, as known here, whoever leads.
    MembersHere,
    /// A change of one member.
    ChangeMember {
        /// Which member.
        id: u64,
        /// What should become of it.
        change: MemberAsk,
    },
    /// A member should join.
    AddMember {
        /// Where it is reached.
        peer_urls: Vec<String>,
        /// Whether it votes at once.
        role: MemberRole,
    },
    /// The cluster should go back to an older version, or not any more, or may it?
    Downgrade(pb::DowngradeRequest),
    /// Leadership should go to this member.
    MoveLeader {
        /// Which.
        to: u64,
    },
    /// Raft's and the store's figures.
    Status,
    /// Active alarms of a type, 0 for all.
    Alarms {
        /// Which.
        alarm: i32,
    },
    /// The same as this member knows them by itself.
    AlarmsHere {
        /// Which.
        alarm: i32,
    },
    /// What a snapshot taken now is made of, besides keys.
    Snapshot,
    /// Answer when everything that was decided before is in a durable checkpoint.
    Checkpoint,
    /// The hash of the store's history that members compare, as this member has it.
    Hash {
        /// Up to this revision, 0 for the newest.
        revision: i64,
    },
}

/// What a client wants of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberAsk {
    /// It should leave.
    Remove,
    /// Its peer URLs should change.
    Update {
        /// To these.
        peer_urls: Vec<String>,
    },
    /// It should vote.
    Promote,
}

/// Answers to [`Question`]s.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It cannot be done.
    Failed(ApiError),
    /// How to make the reply of a read-only transaction.
    Plan(TxnPlan),
    /// New time to live in seconds; 0 if there is no such lease.
    KeptAlive {
        /// Which.
        lease: i64,
        /// Seconds.
        ttl: i64,
    },
    /// For LeaseTimeToLive.
    TimeToLive(pb::LeaseTimeToLiveResponse),
    /// For LeaseLeases.
    Leases(Vec<i64>),
    /// For MemberList and for what changes members.
    Members(Vec<pb::Member>),
    /// For MemberAdd.
    Added {
        /// The new one.
        member: Box<pb::Member>,
        /// All, after the change.
        members: Vec<pb::Member>,
    },
    /// For MoveLeader.
    Moved,
    /// For Downgrade: the version of the cluster.
    Downgrade(String),
    /// For Status; the header is the shard's to fill.
    Status(Box<pb::StatusResponse>),
    /// For Alarm GET.
    Alarms(Vec<pb::AlarmMember>),
    /// For Snapshot.
    Snapshot(Arc<SnapshotCut>),
    /// For Hash.
    Hash(HashAt),
    /// Nothing more to say.
    Done,
}

/// Where a snapshot is taken, and what it holds besides keys, all of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotCut {
    /// Revision of the store.
    pub revision: i64,
    /// Compact revision; -1 for never.
    pub compact_revision: i64,
    /// Term of the last applied entry.
    pub term: u64,
    /// Its index.
    pub index: u64,
    /// Everything in the meta slice.
    pub meta: Vec<MetaChange>,
    /// Version of the storage, for example `3.7.0`.
    pub version: String,
}

/// To the leader.
#[derive(Debug)]
pub enum ToLeader {
    /// Commands of one turn.
    Propose(Vec<Proposal>),
    /// A linearizable read point is wanted; one answer per round.
    ReadIndex {
        /// The shard's own number for the round.
        round: u64,
    },
    /// A question of a call, answered after leadership was confirmed.
    Ask {
        /// Who asks.
        call: CallId,
        /// What.
        question: Question,
    },
    /// The client of a call that asked or proposed has left, or was told that it took too long:
    /// what has not been proposed for it by now never is.
    Left {
        /// Whose.
        call: CallId,
    },
    /// The values that a [`ToShard::Fetch`] asked for.
    Values {
        /// Which fetch.
        fetch: u64,
        /// One for each need, in order.
        answers: Vec<ValueAnswer>,
    },
    /// A slice's frozen image is durable.
    Durable {
        /// Whose.
        slice: SliceId,
        /// Of which checkpoint.
        generation: u64,
        /// What the manifest should say.
        root: Bytes,
    },
    /// Keys found while a slice was scanned at start; `None` ends the slice.
    Restored {
        /// Whose.
        slice: SliceId,
        /// Key and metadata; for the meta slice the value too.
        keys: Vec<RestoredKey>,
        /// True with the last message of the slice.
        last: bool,
    },
    /// The next piece of a store that goes to a peer.
    Shipped {
        /// Names the transfer.
        transfer: u64,
        /// The piece.
        bytes: Bytes,
        /// Whether another follows.
        piece: Piece,
    },
    /// What was to be sent was compacted away meanwhile.
    ShipFailed {
        /// Names the transfer.
        transfer: u64,
    },
    /// All steps of a new store so far have been taken in; one for each.
    Staged,
    /// Nothing of the old store is open or under way here.
    Retired,
    /// Everything up to this batch has been taken in, and the slices' sizes as of now.
    Progress {
        /// Sequence number of the batch.
        seq: u64,
        /// Bytes of the files.
        file_bytes: u64,
        /// Bytes in use.
        used_bytes: u64,
    },
    /// A hash that [`ToShard::Hash`] asked for, or why there is none.
    Hashed {
        /// Its number.
        number: u64,
        /// What came of it.
        result: Result<HashAt, ApiError>,
    },
    /// The disk or the data cannot be trusted: stop.
    Broken {
        /// What and where.
        what: String,
    },
}

/// Which hash of the store's history is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashWant {
    /// Up to a revision, 0 for the newest, as of the compact revision of the moment.
    At(i64),
    /// What a compaction is about to take away counts too.
    Compaction {
        /// Compacted to here.
        revision: i64,
        /// The compact revision before; -1 for never.
        compact: i64,
    },
}

/// Where a piece stands in its transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Others follow.
    Middle,
    /// It is the last one.
    Last,
}

/// A step in the making of a new store beside the old one. Each is answered by
/// [`ToLeader::Staged`], and the freeze by the roots as well.
#[derive(Clone, Debug)]
pub enum Stage {
    /// Empty slices on the other side.
    Begin,
    /// Pairs as of the compact revision, in any order.
    Rows(Vec<(SliceId, Change)>),
    /// All pairs are there; this is the compact revision, 0 for never compacted.
    Compacted(i64),
    /// Changes after that, in order of revision.
    Changes(Vec<(SliceId, Change)>),
    /// Everything is there, up to this revision.
    Freeze(i64),
    /// It is of no use: forget it.
    Drop,
}

/// One key of a slice at start.
#[derive(Clone, Debug)]
pub struct RestoredKey {
    /// The key.
    pub key: Bytes,
    /// Its metadata.
    pub version: base::Version,
    /// Its value, in the meta slice only.
    pub value: Bytes,
}

/// What the log did, frozen, for every shard.
#[derive(Debug)]
pub struct ApplyBatch {
    /// Rises by one.
    pub seq: u64,
    /// Revision of the store after the batch.
    pub revision: i64,
    /// All changes in order of revision.
    pub changes: Vec<Change>,
    /// Changes of the meta slice in order.
    pub meta: Vec<MetaChange>,
    /// The compact revision was raised to this.
    pub compact: Option<i64>,
    /// Slices freeze after this batch, for this checkpoint.
    pub checkpoint: Option<u64>,
}

impl ApplyBatch {
    /// Whether it only makes slices and watchers newer: a shard where nobody waits for that may
    /// take it in together with later ones.
    pub fn is_patient(&self) -> bool {
        self.compact.is_none() && self.checkpoint.is_none()
    }

    /// Bytes of keys and values that it keeps in memory.
    pub fn bytes(&self) -> usize {
        let value = |change: &Change| match &change.kind {
            ChangeKind::Put { value, .. } => value.len(),
            ChangeKind::Delete => 0,
        };
        let changes: usize = self.changes.iter().map(|one| one.key.len() + value(one)).sum();
        let metas =
            self.meta.iter().map(|one| one.key.len() + one.value.as_ref().map_or(0, Bytes::len));
        changes + metas.sum::<usize>()
    }
}

/// To a shard.
#[derive(Debug)]
pub enum ToShard {
    /// Open or make the slices of this shard. What stands on the other side is removed.
    OpenSlices {
        /// Which ids the slices have.
        side: Side,
        /// Id and encoded root; an empty root makes a new slice.
        slices: Vec<(SliceId, Bytes)>,
        /// Revision of the store in those roots.
        revision: i64,
        /// Compact revision in those roots.
        compact_revision: i64,
    },
    /// Changes to take in.
    Apply(Arc<ApplyBatch>),
    /// Outcomes of commands, in the order of the log.
    Outcomes(Vec<(CallId, OutcomeAt)>),
    /// Answer to [`ToLeader::Ask`].
    Answer {
        /// Whose.
        call: CallId,
        /// What.
        answer: Answer,
    },
    /// Answer to [`ToLeader::ReadIndex`].
    ReadAt {
        /// Which round.
        round: u64,
        /// Read at the end of this revision, or why not.
        revision: Result<i64, ApiError>,
    },
    /// The leader needs values before it can go on (a barrier in the log).
    Fetch {
        /// Names the fetch.
        fetch: u64,
        /// What is needed; each names its point.
        needs: Vec<ValueNeed>,
    },
    /// Send the store as of this cut to a peer, in pieces; one may go now.
    Ship {
        /// Names the transfer.
        transfer: u64,
        /// As of where.
        cut: Arc<SnapshotCut>,
    },
    /// Another piece may go.
    ShipMore {
        /// Names the transfer.
        transfer: u64,
    },
    /// Nobody wants it any more.
    ShipStop {
        /// Names the transfer.
        transfer: u64,
    },
    /// A hash is wanted; [`ToLeader::Hashed`] brings it.
    Hash {
        /// Its number.
        number: u64,
        /// Which.
        want: HashWant,
    },
    /// A step in the making of a new store.
    Stage(Stage),
    /// A new store takes the place of this one: end every call, close every slice, say
    /// [`ToLeader::Retired`], and wait for [`ToShard::OpenSlices`].
    Retire,
    /// The manifest of this checkpoint is durable.
    Commit {
        /// Which.
        generation: u64,
    },
    /// A slice of yours is wanted by another shard.
    Read {
        /// Who asks.
        from: ShardId,
        /// The asker's name for it.
        read: ReadId,
        /// Of which slice.
        slice: SliceId,
        /// What.
        request: ReadRequest,
    },
    /// Answer to [`ToShard::Read`].
    ReadDone {
        /// The asker's name for it.
        read: ReadId,
        /// Of which slice.
        slice: SliceId,
        /// What came of it.
        result: ReadResult,
    },
    /// Another shard wants the past kept from the end of a revision on, in all your slices.
    Pin {
        /// Who asks.
        from: ShardId,
        /// The name of the pin.
        pin: PinId,
        /// The revision.
        main: i64,
    },
    /// Answer to [`ToShard::Pin`].
    Pinned {
        /// The name of the pin.
        pin: PinId,
        /// It is kept, or some of it is gone.
        result: Result<(), PinTooLate>,
    },
    /// It need not be kept any more.
    Unpin {
        /// The name of the pin.
        pin: PinId,
    },
    /// A call of another shard waits for the space of a compaction: tell how far your slices are,
    /// once they do not go on by themselves.
    WatchCompaction {
        /// Who asks.
        from: ShardId,
        /// Whose call there.
        call: CallId,
        /// The compact revision.
        main: i64,
    },
    /// Answer to [`ToShard::WatchCompaction`].
    CompactionAt {
        /// Whose call.
        call: CallId,
        /// Where the slices are.
        state: Compaction,
    },
    /// What every shard knows of the member.
    Facts(Facts),
    /// Stop taking new calls; streams end with an error.
    Stop,
}

/// An outcome with the term that the reply's header shows.
#[derive(Debug)]
pub struct OutcomeAt {
    /// Term of the leader.
    pub term: u64,
    /// Revision of the store when it was decided.
    pub revision: i64,
    /// The plan of the reply.
    pub outcome: Outcome,
}

/// What every shard knows of the member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Raft's term.
    pub term: u64,
    /// The leader; 0 for none.
    pub leader: u64,
    /// Revision of the store as sequenced.
    pub revision: i64,
    /// Compact revision as sequenced; -1 for never.
    pub compact_revision: i64,
    /// Active alarms.
    pub alarms: Vec<pb::AlarmMember>,
    /// Whether the member votes.
    pub role: MemberRole,
    /// True once the member has published itself.
    pub serving: bool,
}

/// Helper of the leader: what one applied command adds to a batch.
pub fn extend(batch: &mut ApplyBatch, applied: &mut Applied) {
    batch.changes.append(&mut applied.changes);
    batch.meta.append(&mut applied.meta);
    batch.revision = applied.revision;
    if applied.compacted.is_some() {
        batch.compact = applied.compacted;
    }
}
