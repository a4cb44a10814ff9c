//! Owns the choice of a core for a new connection, and the load that it is chosen by.
//! Never moves a connection later: HTTP/2 states do not travel. Invariant: with one core there is
//! no choice, and no figure of a core decides about anything but speed.
//!
//! A connection is served without a hop on the leader core, so that core takes connections while it
//! has room, and the others take their share once there is load to share. A client says nothing of
//! what it will ask, so what counts is what is asked already; connections that are open count for
//! little, as the load they may bring, so that hundreds that come at once are spread all the same:
//!
//! ```text
//!  score = busy permille of the last 50 ms + connections x weight + hop
//!
//!               weight  hop
//!  leader core       2    0     its connections, and the leader's work for all connections
//!  others            1  200     what a hop costs: a hundred idle connections, a fifth of a core
//! ```
//!
//! With weights of 75 and 50 a hundred connections were dealt 42 to 58 before any had asked
//! anything; on three members that share two processors every put then went through a hop in one of
//! two cases, and woke two threads.
//!
//! The lowest score takes the connection; of equals, the lowest core.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What one connection is taken for before anything is known of it, in permille of a core.
const CONNECTION_PERMILLE: u64 = 1;
/// The same on the leader core, which also orders what the connections of others ask.
const CONNECTION_PERMILLE_LEADER: u64 = 2;
/// What a hop to another core is worth.
const HOP_PERMILLE: u64 = 200;
/// The leader core.
const LEADER: usize = 0;

/// How one core stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Open connections.
    pub connections: u32,
    /// Time at work, of the last period.
    pub busy_permille: u32,
}

/// The core that takes the next connection.
pub fn choose(loads: &[Load]) -> usize {
    assert!(!loads.is_empty());
    let scores = loads.iter().enumerate().map(|(core, load)| (score(core, load), core));
    scores.min().map_or(LEADER, |(_, core)| core)
}

fn score(core: usize, load: &Load) -> u64 {
    let (each, hop) = match core {
        LEADER => (CONNECTION_PERMILLE_LEADER, 0),
        _ => (CONNECTION_PERMILLE, HOP_PERMILLE),
    };
    u64::from(load.busy_permille) + u64::from(load.connections) * each + hop
}

/// Time at work as a share of all time.
pub fn busy_permille(worked: Duration, passed: Duration) -> u32 {
    let permille = worked.as_micros() * 1000 / passed.as_micros().max(1);
    u32::try_from(permille.min(1000)).expect("at most 1000")
}

/// How one core stands, as the others see it: written by that core, and by whoever sends it a
/// connection that it has not counted yet.
#[derive(Debug, Default)]
pub struct Board {
    connections: AtomicU32,
    busy_permille: AtomicU32,
}

impl Board {
    /// What stands there now.
    pub fn read(&self) -> Load {
        Load {
            connections: self.connections.load(Ordering::Relaxed),
            busy_permille: self.busy_permille.load(Ordering::Relaxed),
        }
    }

    /// The core's own figures. A connection that is still on its way is forgotten here and counted
    /// when it has arrived.
    pub fn write(&self, load: Load) {
        self.connections.store(load.connections, Ordering::Relaxed);
        self.busy_permille.store(load.busy_permille, Ordering::Relaxed);
    }

    /// A connection goes there.
    pub fn sent(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Prng;

    fn idle(cores: usize) -> Vec<Load> {
        vec![Load { connections: 0, busy_permille: 0 }; cores]
    }

    fn place(loads: &mut [Load], connections: u32) -> Vec<u32> {
        for _ in 0..connections {
            loads[choose(loads)].connections += 1;
        }
        loads.iter().map(|load| load.connections).collect()
    }

    #[test]
    fn connections_stay_on_the_leader_core_while_it_has_room() {
        assert_eq!(place(&mut idle(8), 100), [100, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(place(&mut idle(1), 1000), [1000]);
    }

    #[test]
    fn many_connections_at_once_use_all_cores_and_the_leader_core_less() {
        assert_eq!(place(&mut idle(2), 1000), [400, 600]);
        let spread = place(&mut idle(4), 1000);
        assert!(spread[1..].iter().all(|&count| count > spread[0] && count < 300), "{spread:?}");
    }

    #[test]
    fn a_leader_core_with_load_leaves_the_next_connections_to_others() {
        let mut loads = idle(4);
        loads[0] = Load { connections: 10, busy_permille: 600 };
        assert_eq!(place(&mut loads, 30), [10, 10, 10, 10]);
    }

    #[test]
    fn a_busy_core_gets_no_more_while_another_is_idle() {
        let mut loads = idle(2);
        loads[0] = Load { connections: 1, busy_permille: 1000 };
        assert_eq!(place(&mut loads, 10), [1, 10]);
        loads[1].busy_permille = 1000;
        assert_eq!(choose(&loads), 0);
    }

    #[test]
    fn any_loads_have_a_choice_that_no_other_core_beats() {
        let mut dice = Prng::from_seed(3);
        for _ in 0..2_000 {
            let mut loads = idle(1 + dice.below(9) as usize);
            for load in &mut loads {
                load.connections = dice.below(1 << 20) as u32;
                load.busy_permille = dice.below(1001) as u32;
            }
            let chosen = choose(&loads);
            let least = score(chosen, &loads[chosen]);
            assert!(loads.iter().enumerate().all(|(core, load)| least <= score(core, load)));
        }
    }

    #[test]
    fn time_at_work_is_a_share_of_all_time() {
        let ms = Duration::from_millis;
        assert_eq!(busy_permille(ms(10), ms(50)), 200);
        assert_eq!(busy_permille(ms(60), ms(50)), 1000);
        assert_eq!(busy_permille(ms(0), ms(0)), 0);
    }
}
