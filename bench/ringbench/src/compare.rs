//! Owns measuring servers side by side: each alone, in turn, several rounds, with the same loads on
//! the same processors, so that whatever else the machine does falls on all of them.
//! Invariant: a server is measured in a fresh directory, and is gone before the next one starts.

use std::path::PathBuf;

use clap::{Args, Parser};
use measure::{Comparison, Outcome, Sample};

use crate::drive;
use crate::flags::{Command, Common, Task};
use crate::load::Load;
use crate::member::{Member, Recipe, find_etcd};
use crate::show;

/// Workloads by name: the words of a command line.
const WORKLOADS: [(&str, &str); 8] = [
    ("put-100x10", "put --val-size=256 --conns=100 --clients=1000 --total=60000"),
    ("put-10x100", "put --val-size=256 --conns=10 --clients=1000 --total=60000"),
    ("get-100x10", "mixed --read-percent=100 --conns=100 --clients=1000 --total=60000"),
    ("get-10x100", "mixed --read-percent=100 --conns=10 --clients=1000 --total=60000"),
    ("put-one", "put --val-size=256 --total=2000"),
    (
        "mixed",
        "mixed --val-size=256 --read-percent=80 --zipf=0.99 --key-space-size=10000 --conns=10 \
         --clients=100 --total=30000",
    ),
    ("txn", "txn-put --val-size=256 --txn-ops=4 --key-space-size=10000 --conns=10 --clients=100"),
    ("kubernetes", "kubernetes --conns=10 --clients=50 --total=20000"),
];
/// Those that are measured unless others are named.
const USUAL: [&str; 5] = ["put-100x10", "put-10x100", "get-100x10", "get-10x100", "put-one"];

#[derive(Args, Debug)]
pub struct Flags {
    /// etcd to measure: its program, or `found` for the one in PATH
    #[arg(long)]
    etcd: Option<String>,
    /// Ringleader to measure: its program
    #[arg(long)]
    ringleader: Option<PathBuf>,
    /// Another server with etcd's flags, as name=program
    #[arg(long)]
    other: Vec<String>,
    /// One more flag for ringleader, like --ringleader-flag=--cores=1
    #[arg(long, allow_hyphen_values = true)]
    ringleader_flag: Vec<String>,
    /// One more flag for etcd
    #[arg(long, allow_hyphen_values = true)]
    etcd_flag: Vec<String>,
    /// What is measured: a name (see --list), or the words of a command line like
    /// 'put --conns 10 --clients 100 --total 5000'
    #[arg(long)]
    workload: Vec<String>,
    /// Say which workloads have names
    #[arg(long)]
    list: bool,
    /// Rounds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Where data directories are made
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Processors of the servers, as taskset reads them; the program's own are --cpus
    #[arg(long)]
    server_cpus: Option<String>,
}

/// Measures; whether every answer was good.
pub fn run(flags: &Flags, common: &Common) -> Result<bool, String> {
    if flags.list {
        WORKLOADS.iter().for_each(|(name, words)| println!("{name:12} {words}"));
        return Ok(true);
    }
    let recipes = recipes(flags)?;
    let workloads = workloads(flags, common)?;
    let mut comparison = Comparison::default();
    let mut last: Vec<Outcome> = Vec::new();
    let mut all_good = true;
    for round in 1..=flags.rounds {
        last.clear();
        for recipe in &recipes {
            let member = Member::start(recipe, &flags.dir, flags.server_cpus.as_deref())?;
            for workload in &workloads {
                let outcome = workload.measure(&member, common)?;
                eprintln!("round {round}, {}, {}: {}", recipe.name, workload.name, said(&outcome));
                all_good &= outcome.failed() == 0;
                comparison.add(&workload.name, &recipe.name, Sample::of(&outcome));
                last.push(outcome);
            }
        }
    }
    println!(
        "{} rounds; median (lowest-highest), ratios round by round to {}. Servers on processors \
         {}.\n",
        flags.rounds,
        recipes[0].name,
        flags.server_cpus.as_deref().unwrap_or("that the kernel chose")
    );
    print!("{}", comparison.table());
    if !all_good {
        println!("\nNot every answer was good: the last round's failures are in the lines above.");
    }
    show::comparison(&comparison, &last, &common.output)?;
    Ok(all_good)
}

fn said(outcome: &Outcome) -> String {
    let sample = Sample::of(outcome);
    let failed: Vec<String> = outcome
        .series
        .iter()
        .flat_map(|series| &series.failures)
        .map(|failure| format!("; {} failed: {} {}", failure.count, failure.code, failure.text))
        .collect();
    format!(
        "{:.1} us of CPU a request, {:.0}/s, p50 {:.0} us, p99 {:.0} us{}",
        sample.cpu_us,
        sample.rate,
        sample.latency_us_p50,
        sample.latency_us_p99,
        failed.concat()
    )
}

fn recipes(flags: &Flags) -> Result<Vec<Recipe>, String> {
    let mut recipes = Vec::new();
    if let Some(etcd) = &flags.etcd {
        let program = if etcd == "found" { find_etcd()? } else { PathBuf::from(etcd) };
        let flags = flags.etcd_flag.clone();
        recipes.push(Recipe { name: "etcd".to_string(), program, flags });
    }
    for other in &flags.other {
        let (name, program) =
            other.split_once('=').ok_or("--other needs a name: --other name=program")?;
        let program = PathBuf::from(program);
        recipes.push(Recipe { name: name.to_string(), program, flags: Vec::new() });
    }
    if let Some(program) = &flags.ringleader {
        let (name, flags) = ("ringleader".to_string(), flags.ringleader_flag.clone());
        recipes.push(Recipe { name, program: program.clone(), flags });
    }
    match recipes.is_empty() {
        true => Err("nothing to measure: name --etcd, --ringleader or --other".to_string()),
        false => Ok(recipes),
    }
}

/// One load with its own connections and clients.
struct Workload {
    name: String,
    common: Common,
    load: Load,
    words: String,
}

fn workloads(flags: &Flags, common: &Common) -> Result<Vec<Workload>, String> {
    let usual: Vec<String> = USUAL.iter().map(|name| (*name).to_string()).collect();
    let asked = if flags.workload.is_empty() { &usual } else { &flags.workload };
    asked.iter().map(|text| Workload::read(text, common)).collect()
}

impl Workload {
    fn read(text: &str, common: &Common) -> Result<Workload, String> {
        let named = WORKLOADS.iter().find(|(name, _)| *name == text);
        let words = named.map_or(text, |(_, words)| words);
        let argv = ["ringbench"].into_iter().chain(words.split_whitespace());
        let command = Command::try_parse_from(argv)
            .map_err(|error| format!("workload {text:?} (see --list): {error}"))?;
        let Task::Load(load) = command.task else {
            return Err(format!("workload {text:?} is not a load (see --list)"));
        };
        let own = command.common;
        let common = Common {
            conns: own.conns,
            clients: own.clients,
            duration: own.duration.or(common.duration),
            warm_up: own.warm_up.max(common.warm_up),
            ..common.clone()
        };
        Ok(Workload { name: text.to_string(), common, load, words: words.to_string() })
    }

    fn measure(&self, member: &Member, common: &Common) -> Result<Outcome, String> {
        let common = Common {
            endpoints: vec![member.endpoint.clone()],
            pid: vec![member.pid()],
            label: Some(format!("{}, {}", member.name, self.name)),
            cores: common.cores,
            ..self.common.clone()
        };
        drive::run(&common, &self.load, format!("ringbench {}", self.words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common() -> Common {
        Command::try_parse_from(["ringbench", "put", "--cores=2"]).unwrap().common
    }

    #[test]
    fn every_named_workload_can_be_read() {
        for (name, _) in WORKLOADS {
            let workload = Workload::read(name, &common()).unwrap();
            workload.load.check().unwrap();
            assert_eq!(workload.common.cores, 2);
        }
        assert!(USUAL.iter().all(|name| WORKLOADS.iter().any(|(known, _)| known == name)));
    }

    #[test]
    fn words_are_a_workload_too_and_nonsense_is_refused() {
        let workload = Workload::read("put --conns 3 --clients 7 --total 5", &common()).unwrap();
        assert_eq!((workload.common.conns, workload.common.clients), (3, 7));
        assert!(Workload::read("no-such-load", &common()).is_err());
        assert!(Workload::read("null-server", &common()).is_err());
    }
}
