//! Owns where a core's thread runs, and whether it waits awake.
//! Never starts a thread. Invariant: no two threads that wait awake share a processor, and the
//! processors that the process was given are kept to.
//!
//! A thread that parks is woken by the kernel: a message to another core and back takes 72 us then,
//! and 11 us if both look for it for 50 us before they park. The price is at most these 50 us each
//! time there is nothing to do, so an idle member pays 0.1 percent of a processor a core. With one
//! core nobody sends messages, so nobody waits for them.

use std::time::Duration;

use glommio::{CpuSet, Placement};
use settings::Cores;

/// How long a thread looks for work before it parks.
const SPIN: Duration = Duration::from_micros(50);

/// A thread's place.
pub struct Seat {
    /// On which processors.
    pub placement: Placement,
    /// How long to look for work before parking.
    pub spin: Option<Duration>,
}

/// The place of core `number`.
pub fn of(cores: &Cores, number: usize) -> Seat {
    let set = &cores.cpu_set;
    if let Some(cpu) = set.get(number % set.len().max(1)) {
        let placement = Placement::Fixed(usize::from(*cpu));
        return Seat { placement, spin: spin(cores.count, set.len()) };
    }
    // The runtime looks for work only on a thread that is bound, if only to what it has anyway.
    let Some((allowed, count)) = allowed() else {
        return Seat { placement: Placement::Unbound, spin: None };
    };
    match spin(cores.count, count) {
        Some(span) => Seat { placement: Placement::Fenced(allowed), spin: Some(span) },
        None => Seat { placement: Placement::Unbound, spin: None },
    }
}

fn spin(cores: u16, processors: usize) -> Option<Duration> {
    (1 < cores && usize::from(cores) <= processors).then_some(SPIN)
}

/// The processors that this process may use, and their number; `None` if they are not known.
fn allowed() -> Option<(CpuSet, usize)> {
    let mine = rustix::thread::sched_getaffinity(None).ok()?;
    let online = CpuSet::online().ok()?;
    let allowed = online
        .filter(|place| place.cpu < rustix::thread::CpuSet::MAX_CPU && mine.is_set(place.cpu));
    let count = allowed.len();
    (count > 0).then_some((allowed, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_several_cores_with_a_processor_each_wait_awake() {
        assert_eq!(spin(1, 8), None);
        assert_eq!(spin(2, 1), None);
        assert_eq!(spin(2, 2), Some(SPIN));
        assert_eq!(spin(3, 2), None);
    }
}
