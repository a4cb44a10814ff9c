//! Owns the making of trouble: which, when, and the end of it.
//! Never harms what was synced: that is the operator's to do. Invariant: whatever was stopped, cut
//! or killed here is set right by the end of the trouble.

use std::time::Duration;

use base::Prng;
use ringleader_sim::plan::{Ending, Fault, Kind};

use crate::plan::Trouble;
use crate::world::{Actor, World};

/// Longest time that a member is down.
const DOWN_MS: u64 = 3000;
/// Longest time that a process stands still.
const PAUSE_MS: u64 = 4000;
/// Longest time that a log is stuck.
const STUCK_MS: u64 = 3000;
/// Rivals are left alone for so long: until both have stood for election.
const ELECTION_REST: Duration = Duration::from_millis(2500);

/// Who makes trouble.
pub struct Nemesis {
    dice: Prng,
    /// How much of each kind, in the order of its first time.
    pub done: Vec<(Trouble, u64)>,
}

impl Nemesis {
    /// Somebody who begins at once.
    pub fn new(world: &mut World, dice: Prng) -> Nemesis {
        let mut nemesis = Nemesis { dice, done: Vec::new() };
        nemesis.sleep(world, Duration::ZERO);
        nemesis
    }

    /// Makes the next trouble.
    pub fn act(&mut self, world: &mut World) {
        let mut rest = Duration::ZERO;
        if let Some(trouble) = self.choose(world) {
            if trouble == Trouble::Rivals {
                rest = ELECTION_REST;
            }
            match self.done.iter_mut().find(|(done, _)| *done == trouble) {
                Some((_, count)) => *count += 1,
                None => self.done.push((trouble, 1)),
            }
            world.remark(format_args!("trouble: {trouble:?}"));
            self.make(world, trouble);
        }
        self.sleep(world, rest);
    }

    /// Only these members are looked after: they are up, go on and reach each other, and nobody
    /// else reaches them or is reached by them. All others stay as they are.
    pub fn heal_core(&mut self, world: &mut World, core: &[u64]) {
        world.network.lose(0);
        world.client_breaks_per_mille = 0;
        world.network.heal_among(core);
        for id in world.ids() {
            for other in core.iter().copied().filter(|_| !core.contains(&id)) {
                world.network.cut(id, other);
                world.network.cut(other, id);
            }
        }
        for id in core {
            world.go_on(*id);
            world.endure(*id);
            if !world.member(*id).is_up() {
                world.start(*id, Ending::Open);
            }
        }
    }

    /// Everything works again.
    pub fn heal_all(&mut self, world: &mut World) {
        let all = world.ids();
        self.heal_core(world, &all);
    }

    fn sleep(&mut self, world: &mut World, rest: Duration) {
        let most = world.shape.trouble_every.as_nanos() as u64;
        let wait = Duration::from_nanos(1 + self.dice.below(most));
        world.wake(rest + wait, Actor::Nemesis, 0);
    }

    fn choose(&mut self, world: &World) -> Option<Trouble> {
        let troubles = &world.shape.troubles;
        if troubles.is_empty() { None } else { Some(*self.dice.pick(troubles)) }
    }

    fn make(&mut self, world: &mut World, trouble: Trouble) {
        let all = world.ids();
        if all.is_empty() {
            return;
        }
        let victim = *self.dice.pick(&all);
        let others: Vec<u64> = all.iter().copied().filter(|id| *id != victim).collect();
        match trouble {
            // Nobody is alone with anybody.
            Trouble::OneWay | Trouble::Reset if others.is_empty() => {}
            Trouble::Rivals if others.len() < 2 => {}
            Trouble::Crash => self.crash(world, victim),
            Trouble::Doom => self.doom(world, victim),
            Trouble::CrashAll => all.iter().for_each(|id| self.crash(world, *id)),
            Trouble::Pause => {
                let pause = Duration::from_millis(self.dice.below(PAUSE_MS));
                world.pause(victim, pause);
            }
            Trouble::Isolate => others.iter().for_each(|other| {
                world.network.cut(victim, *other);
                world.network.cut(*other, victim);
            }),
            Trouble::Split => self.split(world, &all),
            Trouble::OneWay => {
                let deaf: Vec<u64> = match self.dice.chance(500) {
                    true => others,
                    false => vec![*self.dice.pick(&others)],
                };
                deaf.iter().for_each(|other| world.network.cut(victim, *other));
            }
            Trouble::Reset => {
                let other = *self.dice.pick(&others);
                world.network.reset(victim, other);
                world.network.reset(other, victim);
            }
            Trouble::Heal => world.network.heal_among(&all),
            Trouble::Leave => world.stop(victim),
            Trouble::Stuck => {
                let time = Duration::from_millis(self.dice.below(STUCK_MS));
                world.stick(victim, time);
            }
            Trouble::Fail => {
                let fault = Fault::failing(&mut self.dice);
                world.crash(victim);
                world.start_with(victim, Ending::Open, fault);
            }
            Trouble::Rivals => return self.rivals(world, victim, &others),
        }
        // Cuts never pile up for long, or nothing would ever be written.
        if self.dice.chance(300) {
            world.network.heal_among(&all);
        }
    }

    fn crash(&mut self, world: &mut World, victim: u64) {
        if world.member(victim).is_up() {
            world.crash(victim);
            world.start_after(Duration::from_millis(self.dice.below(DOWN_MS)), victim);
        }
    }

    /// The member starts over, and its next life ends where it hurts.
    fn doom(&mut self, world: &mut World, victim: u64) {
        const KINDS: [Kind; 5] =
            [Kind::Flush, Kind::Manifest, Kind::ManifestSync, Kind::Page, Kind::PageSync];
        let ending = match self.dice.below(5) {
            0 => Ending::Effects(1 + self.dice.below(2000)),
            1 => Ending::Request(*self.dice.pick(&KINDS), 1 + self.dice.below(8)),
            2 => Ending::Done(*self.dice.pick(&KINDS), 1 + self.dice.below(8)),
            _ => Ending::Sends(1 + self.dice.below(20)),
        };
        world.crash(victim);
        world.start(victim, ending);
    }

    /// Everybody starts over, but for those whose votes are not needed. The third member's vote
    /// decides, and its power goes after one of its first notes.
    fn rivals(&mut self, world: &mut World, third: u64, others: &[u64]) {
        let away = Duration::from_millis(4 * DOWN_MS / 3);
        world.network.heal_among(&world.ids());
        for id in world.ids() {
            world.crash(id);
        }
        for id in &others[2..] {
            world.start_after(away, *id);
        }
        world.network.cut(others[0], others[1]);
        world.network.cut(others[1], others[0]);
        world.start(others[0], Ending::Open);
        world.start(others[1], Ending::Open);
        world.start(third, Ending::Sends(1 + self.dice.below(5)));
    }

    fn split(&mut self, world: &mut World, all: &[u64]) {
        let left: Vec<u64> = all.iter().copied().filter(|_| self.dice.chance(500)).collect();
        for one in all.iter().filter(|id| left.contains(id)) {
            for other in all.iter().filter(|id| !left.contains(id)) {
                world.network.cut(*one, *other);
                world.network.cut(*other, *one);
            }
        }
    }
}
