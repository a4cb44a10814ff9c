//! Owns what a seed decides beforehand: how large the cluster is, who uses it, and what may go
//! wrong.
//! Invariant: a shape is a function of the dice alone.

use std::time::Duration;

use base::Prng;
use node::leader::checks::{AtStart, CheckPolicy};
use ringleader_sim::plan::Pace;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The power of one member goes now.
    Crash,
    /// The power of one member goes at some effect of its machines, or right after a note to a
    /// peer, or at a request of its disk.
    Doom,
    /// The power of all members goes at once.
    CrashAll,
    /// A process stands still for a while, then goes on as if nothing had been.
    Pause,
    /// One member hears nobody and is heard by nobody.
    Isolate,
    /// The members fall into two halves.
    Split,
    /// One member is not heard by another, or by all others.
    OneWay,
    /// The connections of two members break, with what was on its way.
    Reset,
    /// All cuts heal.
    Heal,
    /// Two members that do not reach each other want to lead, and a third, which is to decide, dies
    /// around its vote and is back at once.
    Rivals,
}

/// What there may be, in the order of the dice.
const TROUBLES: [Trouble; 10] = [
    Trouble::Crash,
    Trouble::Doom,
    Trouble::CrashAll,
    Trouble::Pause,
    Trouble::Isolate,
    Trouble::Split,
    Trouble::OneWay,
    Trouble::Reset,
    Trouble::Heal,
    Trouble::Rivals,
];

/// What holds for a whole run.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Members.
    pub members: u64,
    /// Memory for pages of each slice.
    pub cache_bytes: u64,
    /// Time between checkpoints.
    pub checkpoint_interval: Duration,
    /// Log bytes between checkpoints.
    pub checkpoint_log_bytes: u64,
    /// Bytes that a stream of watches is sent at once.
    pub watch_stream_bytes: usize,
    /// Different keys.
    pub keys: u64,
    /// Clients that read and write.
    pub clients: u64,
    /// Watches.
    pub watches: u64,
    /// Clients that hold leases.
    pub holders: u64,
    /// Longest pause between a client's requests.
    pub think: Duration,
    /// Longest usual way of a note between members.
    pub latency: Duration,
    /// Of a thousand notes, those lost for no reason while there is trouble.
    pub lossy_per_mille: u64,
    /// By how many millionths clocks run wrong, at most.
    pub drift: u64,
    /// How long there is trouble.
    pub storm: Duration,
    /// Longest time between two troubles.
    pub trouble_every: Duration,
    /// What kinds of trouble.
    pub troubles: Vec<Trouble>,
    /// When members' data is compared.
    pub checks: CheckPolicy,
}

impl Shape {
    /// Draws one. Every run has some kinds of trouble and not the others, so that none hides what
    /// another would show.
    pub fn draw(dice: &mut Prng) -> Shape {
        let millis = |dice: &mut Prng, choices: &[u64]| Duration::from_millis(*dice.pick(choices));
        let keep = 300 + dice.below(700);
        let mut troubles = TROUBLES.to_vec();
        troubles.retain(|_| dice.chance(keep));
        Shape {
            members: if dice.chance(750) { 3 } else { 5 },
            cache_bytes: *dice.pick(&[64 << 10, 1 << 20]),
            checkpoint_interval: millis(dice, &[50, 500, 5000]),
            checkpoint_log_bytes: *dice.pick(&[8 << 10, 64 << 10, 1 << 20]),
            watch_stream_bytes: *dice.pick(&[256, 1 << 20]),
            keys: *dice.pick(&[2, 5, 12]),
            clients: 2 + dice.below(4),
            watches: 1 + dice.below(3),
            holders: dice.below(3),
            think: millis(dice, &[20, 100, 300]),
            latency: Duration::from_micros(*dice.pick(&[100, 1000, 10_000, 40_000])),
            lossy_per_mille: *dice.pick(&[0, 2, 20]),
            drift: *dice.pick(&[0, 1000, 20_000]),
            storm: millis(dice, &[3000, 6000, 12_000]),
            trouble_every: millis(dice, &[200, 600, 2000]),
            troubles,
            checks: checks(dice),
        }
    }
}

/// Half of all clusters compare their members, far more often than any operator would.
fn checks(dice: &mut Prng) -> CheckPolicy {
    if dice.chance(500) {
        return CheckPolicy::OFF;
    }
    let gap = |dice: &mut Prng| {
        dice.chance(700).then(|| Duration::from_millis(*dice.pick(&[200, 1000, 5000])))
    };
    CheckPolicy {
        at_start: if dice.chance(500) { AtStart::Compare } else { AtStart::Serve },
        every: gap(dice),
        compactions_every: gap(dice),
    }
}

/// How fast a life of a member is. Nothing ticks as often as in the simulator of one member:
/// there are more of them, and they live longer.
pub fn pace(dice: &mut Prng) -> Pace {
    let micros = |dice: &mut Prng, choices: &[u64]| Duration::from_micros(*dice.pick(choices));
    Pace {
        message: micros(dice, &[1, 20, 400]),
        disk: micros(dice, &[50, 300, 5000, 20_000]),
        hiccup: micros(dice, &[100, 10_000, 80_000, 1_500_000]),
        tick_max: micros(dice, &[10_000, 30_000, 50_000]),
    }
}
