//! Owns the command line of the simulator of clusters.
//! Invariant: a seed that fails is printed with the command that replays it; the exit code is 1.
//!
//! ```text
//! ringleader-simcluster --seeds 1..301      the kept seeds first, then these
//! ringleader-simcluster 217                 one seed, twice, with its fingerprint
//! ringleader-simcluster 143 --plain         without what only the full scope has
//! ringleader-simcluster ... --verbose       a line for each seed
//! ringleader-simcluster 217 --tell          what happens, as it happens; --tell-all: every note
//! ringleader-simcluster ... --jobs 4        so many at once; 2 if nothing is said
//! ringleader-simcluster ... --plant votes   with a bug: votes, reads, flushes, hash, outcast,
//!                                           learner or quorum
//! ```

use std::cell::Cell;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringleader_simcluster::plan::Scope;
use ringleader_simcluster::{Planted, Summary, Voice, run};

/// Seeds that once failed.
const KEPT: &str = include_str!("../seeds.txt");
/// Every so many seeds one is run twice and must not differ.
const TWICE: usize = 25;
/// In so many seeds members lag in every way there is.
const ENOUGH: usize = 100;

thread_local! {
    /// The seed of this thread, for whoever reads of a panic.
    static SEED: Cell<(u64, Scope)> = const { Cell::new((0, Scope::Full)) };
}

struct Asked {
    seeds: Vec<(u64, Scope)>,
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
                 [--plain] [--tell | --tell-all] \
                 [--plant votes|reads|flushes|hash|outcast|learner|quorum]"
            );
            return ExitCode::from(2);
        }
    };
    std::panic::set_hook(Box::new(|info| {
        let (seed, scope) = SEED.get();
        println!("seed {seed}: {info}\n  replay with: {}", replay(seed, scope));
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
         events on {} streams, {} renewals, {} changes of members, {} machines born, {} \
         refusals, {} old entries and {} stores sent, slowest recovery {} ms, {:.1} s, \
         fingerprint {:016x}",
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
        total.changes,
        total.born,
        total.refusals,
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
            let Some((seed, scope)) = asked.seeds.get(at) else { return Ok(found) };
            let twice = at.is_multiple_of(TWICE);
            let summary = one(*seed, *scope, if twice { 2 } else { 1 }, asked)
                .map_err(|text| format!("{text}\n  replay with: {}", replay(*seed, *scope)))?;
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

fn one(seed: u64, scope: Scope, times: u64, asked: &Asked) -> Result<Summary, String> {
    SEED.set((seed, scope));
    let summary =
        run(seed, scope, asked.planted, asked.voice).map_err(|failure| failure.to_string())?;
    for _ in 1..times {
        let again = run(seed, scope, asked.planted, Voice::Silent)
            .map_err(|failure| failure.to_string())?;
        if again != summary {
            return Err(format!("seed {seed} differs: {summary:x?}, then {again:x?}"));
        }
    }
    Ok(summary)
}

fn replay(seed: u64, scope: Scope) -> String {
    let plain = if scope == Scope::Plain { " --plain" } else { "" };
    format!("ringleader-simcluster {seed}{plain}")
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
    total.changes += one.changes;
    total.born += one.born;
    total.refusals += one.refusals;
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
    let (mut args, mut plain) = (args, false);
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
                let range = number(first)?..number(end)?;
                asked.seeds.extend(range.map(|seed| (seed, Scope::Full)));
            }
            "--plain" => plain = true,
            seed => asked.seeds.push((number(seed)?, Scope::Full)),
        }
    }
    if plain {
        asked.seeds.iter_mut().for_each(|(_, scope)| *scope = Scope::Plain);
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
        "hash" => Ok(Planted::HashWrongly),
        "outcast" => Ok(Planted::ServeRemoved),
        "learner" => Ok(Planted::PromoteBlindly),
        "quorum" => Ok(Planted::AddBlindly),
        other => Err(format!("no bug is called {other:?}")),
    }
}

fn kept() -> Result<Vec<(u64, Scope)>, String> {
    let lines = KEPT.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let seed = |line: &str| match line.strip_suffix(" plain") {
        Some(seed) => Ok((number(seed)?, Scope::Plain)),
        None => Ok((number(line)?, Scope::Full)),
    };
    lines.filter(|line| !line.is_empty()).map(seed).collect()
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}
