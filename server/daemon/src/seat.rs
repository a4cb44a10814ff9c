//! Owns where a core's thread runs.
//! Never starts a thread. Invariant: the processors that the process was given are kept to.

use glommio::Placement;
use settings::Cores;

/// The place of core `number`.
pub fn of(cores: &Cores, number: usize) -> Placement {
    let set = &cores.cpu_set;
    match set.get(number % set.len().max(1)) {
        Some(cpu) => Placement::Fixed(usize::from(*cpu)),
        None => Placement::Unbound,
    }
}

/// How many processors the cores may use; 0 if that is not known.
pub fn processors(cores: &Cores) -> usize {
    match cores.cpu_set.len() {
        0 => rustix::thread::sched_getaffinity(None).map_or(0, |mine| mine.count() as usize),
        pinned => pinned,
    }
}
