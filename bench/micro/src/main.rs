//! The `ringbench-micro` program: what each hot path of the pure parts costs, alone.
//! Owns the allocator that counts. Never measures a disk or a socket. Invariant: equal work in each
//! run, so that instructions can be compared: all data is drawn from one seed.

mod commands;
mod data;
mod head;
mod history;
mod log;
mod messages;
mod tree;
mod watch;

use divan::{AllocProfiler, Divan};

/// Calls between two looks at the clock; what divan would choose hangs on how long the first takes,
/// which finds nothing in the processor's caches.
const SAMPLE_CALLS: u32 = 64;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    let divan = Divan::default().sample_size(SAMPLE_CALLS).config_with_args();
    match std::env::args().any(|word| word == "--test" || word == "--list") {
        true => divan.main(),
        false => divan.run_benches(),
    }
}
