//! Compares one whole member, made of its pure machines and a disk in memory, with the dumb model:
//! the same random commands for both, every reply and every watched event the same.
//! Never draws a number from anywhere but its seed. Invariant: `twin --seed S --commands N` with
//! the figures of a difference replays it.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use ringleader_twin::run::{self, COMMANDS, Run, Tally};

const USAGE: &str = "usage: twin [--commands N] [--seed S]";

struct Asked {
    commands: u64,
    seed: u64,
}

fn main() -> ExitCode {
    let asked = match arguments(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(wrong) => {
            eprintln!("twin: {wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    println!("twin: seed {}, {} commands", asked.seed, asked.commands);
    let began = Instant::now();
    let runs = asked.commands.div_ceil(COMMANDS);
    let mut sum = Tally::default();
    for run in 0..runs {
        let seed = asked.seed + run;
        let commands = COMMANDS.min(asked.commands - run * COMMANDS);
        std::panic::set_hook(Box::new(move |panic| {
            eprintln!("{panic}\nthe last commands:\n{}{}", run::recent(), replay(seed, commands));
        }));
        match Run::new(seed).go(commands) {
            Ok(tally) => sum = add(sum, tally),
            Err(difference) => {
                println!("{difference}{}", replay(seed, commands));
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "twin: {} commands ({} refused), {} watched events, {} crashes, {} checkpoints: no \
         difference, {:.1} s",
        sum.commands,
        sum.refused,
        sum.events,
        sum.crashes,
        sum.checkpoints,
        began.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}

fn replay(seed: u64, commands: u64) -> String {
    format!("replay: twin --seed {seed} --commands {commands}")
}

fn add(one: Tally, other: Tally) -> Tally {
    Tally {
        commands: one.commands + other.commands,
        refused: one.refused + other.refused,
        events: one.events + other.events,
        crashes: one.crashes + other.crashes,
        checkpoints: one.checkpoints + other.checkpoints,
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked { commands: 100_000, seed: 1 };
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or(format!("{word} needs a number"))?;
            text.parse().map_err(|_| format!("{word} {text}: not a number"))
        };
        match word.as_str() {
            "--commands" => asked.commands = number()?,
            "--seed" => asked.seed = number()?,
            other => return Err(format!("{other} is not known")),
        }
    }
    Ok(asked)
}
