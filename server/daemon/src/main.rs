//! The `ringleader` program: reads its settings, checks the machine, and runs one member.
//! Owns exit codes and nothing else. Invariant: whatever stops the program is told first.

mod accept;
mod ask;
mod birth;
mod checks;
mod config;
mod core;
mod gate;
mod inside;
mod lease_pages;
mod letter;
mod links;
mod looks;
mod mesh;
mod metrics;
mod news;
mod pages;
mod peer_pages;
mod placement;
mod ports;
mod probe;
mod run;
mod seat;
mod service;
mod setup;
mod sys;
mod tally;
mod versions;
mod vigil;
mod wake;

fn main() {
    sys::keep_freed_memory();
    let argv: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let settled = match setup::settle(&argv) {
        Ok(settled) => settled,
        Err(stop) => setup::end(&stop),
    };
    setup::start_journal(&settled.settings);
    setup::tell(&settled.notices);
    match run::run(&settled.settings) {
        Ok(run::Ended::Signal(signal)) => {
            journal::flush(journal::FLUSH_WAIT);
            // The process dies of the signal it was sent, as etcd does, so that shells see 143.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            std::process::exit(0);
        }
        Err(error) => {
            journal::warn!("failed to start etcd", "error" => error.as_str());
            journal::fatal!("discovery failed", "error" => error.as_str());
        }
    }
}
