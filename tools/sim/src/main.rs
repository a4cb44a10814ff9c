//! Owns the command line of the simulator.
//! Invariant: a seed that fails is printed with the command that replays it; the exit code is 1.
//!
//! ```text
//! sim --seeds 1..400       the kept seeds first, then these
//! sim 217                  one seed, with its fingerprint
//! sim ... --verbose        a line for each seed
//! ```

use std::process::ExitCode;

use ringleader_sim::{Planted, Summary, run};

/// Seeds that once failed.
const KEPT: &str = include_str!("../seeds.txt");
/// Every so many seeds one is run twice and must not differ.
const TWICE: u64 = 50;

struct Asked {
    seeds: Vec<u64>,
    verbose: bool,
}

fn main() -> ExitCode {
    let asked = match parse(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(text) => {
            eprintln!("{text}\nusage: sim SEED | sim --seeds A..B [--verbose]");
            return ExitCode::from(2);
        }
    };
    let began = std::time::Instant::now();
    let mut total = Summary::default();
    for (at, seed) in asked.seeds.iter().enumerate() {
        match one(*seed, at as u64) {
            Ok(summary) => {
                if asked.verbose {
                    println!("seed {seed}: {summary:x?}");
                }
                add(&mut total, &summary);
            }
            Err(text) => {
                println!("{text}\n  replay with: sim {seed}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "{} seeds, {} crashes ({} while starting), {} stops for cause, {} damaged blocks, {} \
         acknowledged changes, {} revisions read back, {:.1} s, fingerprint {:016x}",
        asked.seeds.len(),
        total.crashes,
        total.crashes_at_start,
        total.broken,
        total.damaged,
        total.acknowledged,
        total.revisions,
        began.elapsed().as_secs_f64(),
        total.hash,
    );
    ExitCode::SUCCESS
}

fn one(seed: u64, at: u64) -> Result<Summary, String> {
    std::panic::set_hook(Box::new(move |info| {
        println!("seed {seed}: {info}\n  replay with: sim {seed}");
        std::process::exit(1);
    }));
    let summary = run(seed, Planted::Nothing).map_err(|failure| failure.to_string())?;
    if at.is_multiple_of(TWICE) {
        let again = run(seed, Planted::Nothing).map_err(|failure| failure.to_string())?;
        if again != summary {
            return Err(format!("seed {seed} differs: {summary:x?}, then {again:x?}"));
        }
    }
    Ok(summary)
}

fn add(total: &mut Summary, one: &Summary) {
    total.hash = total.hash.rotate_left(7) ^ one.hash;
    total.crashes += one.crashes;
    total.crashes_at_start += one.crashes_at_start;
    total.broken += one.broken;
    total.damaged += one.damaged;
    total.acknowledged += one.acknowledged;
    total.revisions += one.revisions;
}

fn parse(args: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked { seeds: Vec::new(), verbose: false };
    let mut args = args;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--verbose" => asked.verbose = true,
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

fn kept() -> Result<Vec<u64>, String> {
    let lines = KEPT.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(number).collect()
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no seed"))
}
