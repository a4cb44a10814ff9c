//! Owns the command line of the simulator of clusters.
//! Invariant: a seed that fails is printed with the command that replays it; the exit code is 1.
//!
//! ```text
//! ringleader-simcluster --seeds 1..301      the kept seeds first, then these
//! ringleader-simcluster 217                 one seed, twice, with its fingerprint
//! ringleader-simcluster ... --verbose       a line for each seed
//! ringleader-simcluster 217 --tell          what happens, as it happens; --tell-all: every note
//! ringleader-simcluster ... --jobs 4        so many at once; 2 if nothing is said
//! ringleader-simcluster ... --plant votes   with a bug: votes, reads or flushes
//! ```

use std::cell::Cell;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringleader_simcluster::{Planted, Summary, Voice, run};

/// Seeds that once failed.
const KEPT: &str = include_str!("../seeds.txt");
/// Every so many seeds one is run twice and must not differ.
const TWICE: usize = 25;
/// In so many seeds members lag in every way there is.
const ENOUGH: usize = 100;

thread_local! {
    /// The seed of this thread, for whoever reads of a panic.
    static SEED: Cell<u64> = const { Cell::new(0) };
}

struct Asked {
    seeds: Vec<u64>,
    verbose: bool,
    jobs: usize,
    voice: Voice,
    planted: Planted,
}

fn main() -> ExitCode {
    let asked = match parse(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(text) => {
            eprintln!(
                "{text}\nusage: ringleader-simcluster SEED | --seeds A..B [--verbose] [--jobs N] \
                 [--tell | --tell-all] [--plant votes|reads|flushes]"
            );
            return ExitCode::from(2);
        }
    };
    std::panic::set_hook(Box::new(|info| {
        let seed = SEED.get();
        println!("seed {seed}: {info}\n  replay with: ringleader-simcluster {seed}");
        std::process::exit(1);
    }));
    let began = std::time::Instant::now();
    let total = match all(&asked) {
        Ok(total) => total,
        Err(text) => {
            println!("{text}");
            return ExitCode::FAILURE;
        }
    };
    if ENOUGH <= asked.seeds.len() && (total.fetched == 0 || total.stores == 0) {
        println!("nobody who lagged got old entries, or nobody a store: {total:?}");
        return ExitCode::FAILURE;
    }
    println!(
        "{} seeds, {} crashes, {} terms, {} operations, {} told, {} found, {} revisions, {} \
         events on {} streams, {} renewals, {} old entries and {} stores sent, slowest recovery \
         {} ms, {:.1} s, fingerprint {:016x}",
        asked.seeds.len(),
        total.crashes,
        total.terms,
        total.asked,
        total.told,
        total.found,
        total.revisions,
        total.events,
        total.streams,
        total.renewals,
        total.fetched,
        total.stores,
        total.recovery_ms,
        began.elapsed().as_secs_f64(),
        total.hash,
    );
    ExitCode::SUCCESS
}

/// Runs all seeds, several at once; the total is in the order of the seeds.
fn all(asked: &Asked) -> Result<Summary, String> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut found = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(seed) = asked.seeds.get(at) else { return Ok(found) };
            let twice = at.is_multiple_of(TWICE);
            let summary = one(*seed, if twice { 2 } else { 1 }, asked)
                .map_err(|text| format!("{text}\n  replay with: ringleader-simcluster {seed}"))?;
            if asked.verbose {
                println!("seed {seed}: {summary:x?}");
            }
            found.push((at, summary));
        }
    };
    let results: Vec<Result<Vec<(usize, Summary)>, String>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..asked.jobs).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a panic ends the process")).collect()
    });
    let mut found = Vec::new();
    for result in results {
        found.extend(result?);
    }
    found.sort_unstable_by_key(|(at, _)| *at);
    let mut total = Summary::default();
    found.iter().for_each(|(_, summary)| add(&mut total, summary));
    Ok(total)
}

fn one(seed: u64, times: u64, asked: &Asked) -> Result<Summary, String> {
    SEED.set(seed);
    let summary = run(seed, asked.planted, asked.voice).map_err(|failure| failure.to_string())?;
    for _ in 1..times {
        let again =
            run(seed, asked.planted, Voice::Silent).map_err(|failure| failure.to_string())?;
        if again != summary {
            return Err(format!("seed {seed} differs: {summary:x?}, then {again:x?}"));
        }
    }
    Ok(summary)
}

fn add(total: &mut Summary, one: &Summary) {
    total.hash = total.hash.rotate_left(7) ^ one.hash;
    total.crashes += one.crashes;
    total.terms += one.terms;
    total.asked += one.asked;
    total.told += one.told;
    total.found += one.found;
    total.revisions += one.revisions;
    total.events += one.events;
    total.streams += one.streams;
    total.renewals += one.renewals;
    total.fetched += one.fetched;
    total.stores += one.stores;
    total.recovery_ms = total.recovery_ms.max(one.recovery_ms);
}

fn parse(args: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked {
        seeds: Vec::new(),
        verbose: false,
        jobs: 2,
        voice: Voice::Silent,
        planted: Planted::Nothing,
    };
    let mut args = args;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--verbose" => asked.verbose = true,
            "--plant" => asked.planted = planted(&args.next().ok_or("--plant wants a bug")?)?,
            "--tell" => asked.voice = Voice::Loud,
            "--tell-all" => asked.voice = Voice::Full,
            "--jobs" => asked.jobs = number(&args.next().ok_or("--jobs wants a number")?)? as usize,
            "--seeds" => {
                let text = args.next().ok_or("--seeds wants A..B")?;
                let (first, end) = text.split_once("..").ok_or("--seeds wants A..B")?;
                asked.seeds.extend(kept()?);
                asked.seeds.extend(number(first)?..number(end)?);
            }
            seed => asked.seeds.push(number(seed)?),
        }
    }
    match asked.seeds.is_empty() {
        true => Err("no seed".into()),
        false => Ok(asked),
    }
}

fn planted(name: &str) -> Result<Planted, String> {
    match name {
        "votes" => Ok(Planted::ForgetVote),
        "reads" => Ok(Planted::ReadWithoutRound),
        "flushes" => Ok(Planted::AckBeforeDurable),
        other => Err(format!("no bug is called {other:?}")),
    }
}

fn kept() -> Result<Vec<u64>, String> {
    let lines = KEPT.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(number).collect()
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}
