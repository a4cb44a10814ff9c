//! Owns what a seed decides beforehand: the member's shape, how fast things are, what goes wrong.
//! Invariant: a plan is a function of the dice alone.

use std::time::Duration;

use base::{FileId, IoError, IoRequest, Prng};
use node::shard::Partition;

/// A bug planted on purpose, to see that it is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// None: the real thing.
    Nothing,
    /// Log flushes are reported done as soon as they are asked for.
    AckBeforeDurable,
    /// Syncs are reported done and never happen.
    ForgetSync,
    /// Linearizable reads are answered at what the member has, with nobody asked.
    ReadWithoutRound,
    /// The log holds no votes.
    ForgetVote,
    /// A member that was removed goes on, and answers reads from what it has.
    ServeRemoved,
    /// A learner is promoted whatever it holds.
    PromoteBlindly,
    /// Changes of members that could lose the quorum are not refused.
    AddBlindly,
    /// A store takes in other values than the log gave it.
    OtherValues,
    /// A peer that asks is told another hash than that of the store.
    HashWrongly,
}

/// What holds for all lives of the member.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Slices that hold keys.
    pub slices: u16,
    /// Lives in all.
    pub lives: u32,
    /// Memory for pages of each slice.
    pub cache_bytes: u64,
    /// Time between checkpoints.
    pub checkpoint_interval: Duration,
    /// Log bytes between checkpoints.
    pub checkpoint_log_bytes: u64,
    /// Different keys that clients use.
    pub keys: u64,
    /// Longest value in bytes.
    pub value_bytes_max: u64,
    /// Of a thousand values, how many are short whatever the longest is.
    pub small_per_mille: u64,
    /// Clients at once.
    pub clients: u64,
    /// Longest pause between a client's requests.
    pub think: Duration,
}

impl Shape {
    /// One in forty runs writes so much that segments of the log and of history roll over.
    pub fn draw(dice: &mut Prng) -> Shape {
        let bulk = dice.chance(25);
        Shape {
            slices: *dice.pick(&[1, 1, 2, 3, 4]),
            lives: if bulk { 5 } else { 5 + dice.below(4) as u32 },
            cache_bytes: *dice.pick(&[64 << 10, 256 << 10, 8 << 20]),
            checkpoint_interval: Duration::from_millis(*dice.pick(&[5, 30, 200, 2000])),
            checkpoint_log_bytes: *dice.pick(&[8 << 10, 64 << 10, 512 << 10]),
            keys: if bulk { 6 } else { *dice.pick(&[5, 16, 40, 120]) },
            value_bytes_max: match bulk {
                true => 500 << 10,
                false => *dice.pick(&[100, 1000, 1000, 20_000]),
            },
            small_per_mille: if bulk { 200 } else { 700 },
            clients: *dice.pick(&[1, 3, 8, 20]),
            think: Duration::from_micros(*dice.pick(&[50, 500, 5000, 50_000])),
        }
    }

    /// How this life deals slices: the number of cores may differ from start to start.
    pub fn partition(&self, dice: &mut Prng) -> Partition {
        Partition::new(self.slices, *dice.pick(&[1, 1, 2, 3]))
    }
}

/// How long things take in one life.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between machines.
    pub message: Duration,
    /// A disk request.
    pub disk: Duration,
    /// One in a thousand of either takes so much longer.
    pub hiccup: Duration,
    /// Longest time between two ticks.
    pub tick_max: Duration,
}

impl Pace {
    /// Draws one.
    pub fn draw(dice: &mut Prng) -> Pace {
        let micros = |dice: &mut Prng, choices: &[u64]| Duration::from_micros(*dice.pick(choices));
        Pace {
            message: micros(dice, &[1, 20, 400]),
            disk: micros(dice, &[20, 300, 5000]),
            hiccup: micros(dice, &[100, 10_000, 80_000]),
            tick_max: micros(dice, &[1000, 10_000, 50_000]),
        }
    }
}

/// How a life ends, if nothing else ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The power goes after so many effects of machines.
    Effects(u64),
    /// The power goes when the n-th disk request of a kind is handed over.
    Request(Kind, u64),
    /// The power goes when the n-th disk request of a kind is done, before anybody hears of it.
    Done(Kind, u64),
    /// It stops in order, then the power goes.
    Orderly,
    /// The power goes after so many notes to peers.
    Sends(u64),
    /// By nothing that happens inside of it.
    Open,
}

/// Kinds of disk requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A flush of the log.
    Flush,
    /// A new log segment.
    Prepare,
    /// A file is removed.
    Remove,
    /// Write of the manifest.
    Manifest,
    /// Sync of the manifest.
    ManifestSync,
    /// Write of a slice.
    Page,
    /// Sync of a slice.
    PageSync,
    /// Space given back.
    Trim,
    /// A read.
    Read,
}

impl Kind {
    /// The kind of a request.
    pub fn of(request: &IoRequest) -> Kind {
        match request {
            IoRequest::Read { .. } => Kind::Read,
            IoRequest::Write { file: FileId::Log(_), .. } => Kind::Flush,
            IoRequest::Write { file: FileId::Manifest, .. } => Kind::Manifest,
            IoRequest::Write { .. } => Kind::Page,
            IoRequest::Sync { file: FileId::Manifest } => Kind::ManifestSync,
            IoRequest::Sync { .. } => Kind::PageSync,
            IoRequest::Prepare { .. } => Kind::Prepare,
            IoRequest::Remove { .. } | IoRequest::Clear { .. } => Kind::Remove,
            IoRequest::Punch { .. } | IoRequest::Truncate { .. } => Kind::Trim,
        }
    }
}

/// Every kind but reads, for endings.
const KINDS: [Kind; 8] = [
    Kind::Flush,
    Kind::Prepare,
    Kind::Remove,
    Kind::Manifest,
    Kind::ManifestSync,
    Kind::Page,
    Kind::PageSync,
    Kind::Trim,
];

/// Kinds that a fault may pick.
const FAILING: [Kind; 9] = [
    Kind::Flush,
    Kind::Flush,
    Kind::Prepare,
    Kind::Remove,
    Kind::Manifest,
    Kind::ManifestSync,
    Kind::Page,
    Kind::PageSync,
    Kind::Read,
];

impl Ending {
    /// Draws one.
    pub fn draw(dice: &mut Prng) -> Ending {
        match dice.below(10) {
            0 => Ending::Effects(1 + dice.below(120)),
            1..5 => Ending::Effects(1 + dice.below(6000)),
            5 | 6 => Ending::Request(*dice.pick(&KINDS), 1 + dice.below(6)),
            7 | 8 => Ending::Done(*dice.pick(&KINDS), 1 + dice.below(6)),
            _ => Ending::Orderly,
        }
    }
}

/// What else goes wrong in a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The n-th request of a kind fails.
    Fails(Kind, u64, IoError),
    /// A bit is flipped in what the last life left.
    Flip,
    /// A write in flight at the last crash went to another place of its file.
    Misdirected,
}

impl Fault {
    /// Whether a member that meets this must stop, rather than may. A page of a slice waits for
    /// room, and a read may have been for what compaction dropped meanwhile.
    pub fn is_fatal(kind: Kind, error: IoError) -> bool {
        match kind {
            Kind::Flush | Kind::Prepare | Kind::Manifest | Kind::ManifestSync | Kind::PageSync => {
                true
            }
            Kind::Page => error != IoError::NoSpace,
            Kind::Remove | Kind::Trim | Kind::Read => false,
        }
    }

    /// Some request of the disk fails.
    pub fn failing(dice: &mut Prng) -> Fault {
        let error = *dice.pick(&[IoError::Os(5), IoError::NoSpace]);
        Fault::Fails(*dice.pick(&FAILING), 1 + dice.below(20), error)
    }

    /// Draws one. The first life has nothing to flip.
    pub fn draw(dice: &mut Prng, life: u32) -> Fault {
        match dice.below(10) {
            0 | 1 => Fault::failing(dice),
            2 if life > 0 => Fault::Flip,
            3 if life > 0 => Fault::Misdirected,
            _ => Fault::None,
        }
    }
}
