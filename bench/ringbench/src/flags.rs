//! Owns the command line. Invariant: a flag that etcd's `benchmark` has too has its name, its
//! meaning and its default.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use measure::{Arrivals, Pace};

use crate::load::{self, Load};
use crate::net::TrustFlags;

/// A load generator for etcd endpoints.
#[derive(Parser, Debug)]
#[command(name = "ringbench", version, propagate_version = true)]
pub struct Command {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub task: Task,
}

/// What is done.
#[derive(Subcommand, Debug)]
pub enum Task {
    #[command(flatten)]
    Load(Load),
    /// Answer puts and ranges at once: what a load costs without a server behind it
    NullServer(crate::null_server::Flags),
    /// Measure servers side by side: etcd and ringleader in turn, several rounds
    Compare(crate::compare::Flags),
    /// Measure the project's own log or tree on a directory
    Storage(crate::storage::Flags),
    /// Is this disk good enough?
    DiskCheck(crate::storage::DiskCheckFlags),
    /// Show runs that were kept with --json, side by side
    Report(crate::show::ReportFlags),
}

/// What every load understands.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Who is asked: host:port, http://host:port or https://host:port, separated by commas
    #[arg(long, global = true, value_delimiter = ',', default_value = "127.0.0.1:2379")]
    pub endpoints: Vec<String>,
    /// Connections
    #[arg(long, global = true, default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    pub conns: u32,
    /// Clients; they share the connections in turn
    #[arg(long, global = true, default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    pub clients: u32,
    /// Log in: name:password
    #[arg(long, global = true)]
    pub user: Option<String>,
    /// Executors; at most one for each connection
    #[arg(long, global = true, default_value_t = 1)]
    #[arg(value_parser = value_parser!(u32).range(1..=256))]
    pub cores: u32,
    /// Processors for the executors, separated by commas; otherwise the kernel chooses
    #[arg(long, global = true, value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// Look for work so long before sleeping: better latencies for processor time
    #[arg(long, global = true, default_value = "0s", value_parser = span)]
    pub spin: Duration,
    /// Seed of all dice
    #[arg(long, global = true, default_value_t = 1)]
    pub seed: u64,
    /// Send so long before anything counts
    #[arg(long, global = true, default_value = "0s", value_parser = span)]
    pub warm_up: Duration,
    /// Run so long, instead of --total requests
    #[arg(long, global = true, value_parser = span)]
    pub duration: Option<Duration>,
    /// How requests follow one another at a --rate
    #[arg(long, global = true, value_enum, default_value_t = ArrivalKind::Even)]
    pub arrivals: ArrivalKind,
    /// Give up connecting after so long; 0 leaves that to the kernel
    #[arg(long, global = true, default_value = "0s", value_parser = span)]
    pub dial_timeout: Duration,
    /// Give up when answers are due and none has come for so long
    #[arg(long, global = true, default_value = "30s", value_parser = span)]
    pub timeout: Duration,
    /// Watch processor time and memory of these processes, separated by commas
    #[arg(long, global = true, value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Watch processor time and memory as the endpoints' /metrics tell them
    #[arg(long, global = true)]
    pub metrics: bool,
    /// What the run is called in reports of several
    #[arg(long, global = true)]
    pub label: Option<String>,
    #[command(flatten)]
    pub trust: TrustFlags,
    #[command(flatten)]
    pub output: Output,
}

/// Where the outcome goes.
#[derive(Args, Clone, Debug)]
pub struct Output {
    /// The form of the report
    #[arg(long, global = true, value_enum, default_value_t = ReportKind::Table)]
    pub report: ReportKind,
    /// All digits, in the report of etcd
    #[arg(long, global = true)]
    pub precise: bool,
    /// Each second, in the report of etcd
    #[arg(long, global = true)]
    pub sample: bool,
    /// Keep the outcome in this file
    #[arg(long, global = true)]
    pub json: Option<PathBuf>,
    /// Keep percentiles for Kubernetes' perfdash, in $ARTIFACTS or ./_artifacts
    #[arg(long, global = true)]
    pub report_perfdash: bool,
    /// Write a page with charts to this file
    #[arg(long, global = true)]
    pub html: Option<PathBuf>,
}

/// Forms of a report.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportKind {
    /// A table
    Table,
    /// The text of etcd's benchmark
    Etcd,
}

/// See [`Arrivals`].
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrivalKind {
    /// At equal distances
    Even,
    /// As independent users come
    Poisson,
}

impl Common {
    /// The pace of so many requests a second; 0 for a closed loop.
    pub fn pace(&self, rate: u64) -> Pace {
        let arrivals = match self.arrivals {
            ArrivalKind::Even => Arrivals::Even,
            ArrivalKind::Poisson => Arrivals::Poisson,
        };
        match rate {
            0 => Pace::Closed,
            rate => Pace::Open { rate: rate as f64, arrivals },
        }
    }

    /// A phase of the main kind: `total` requests or the duration that was asked for.
    pub fn phase(&self, names: &[&str], total: u64, rate: u64) -> crate::run::Phase {
        crate::run::Phase {
            names: names.iter().map(|name| (*name).to_string()).collect(),
            pace: self.pace(rate),
            end: match self.duration {
                Some(span) => crate::run::End::For(span),
                None => crate::run::End::Total(total),
            },
            warm_up: self.warm_up,
        }
    }
}

/// Reads a span as Go writes it: `300ms`, `10s`, `1m30s`, `2h`.
pub fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a span of time like 500ms, 10s or 1m30s");
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "\u{b5}s" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(wrong()),
        };
        seconds += number.parse::<f64>().map_err(|_| wrong())? * factor;
        rest = after;
    }
    match text.is_empty() || seconds > 1e9 {
        true => Err(wrong()),
        false => Ok(Duration::from_secs_f64(seconds)),
    }
}

/// Where keys come from; shared by loads.
#[derive(Args, Clone, Debug)]
pub struct KeyFlags {
    /// Bytes of a key
    #[arg(long, default_value_t = 8)]
    pub key_size: usize,
    /// How many keys there are
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..))]
    pub key_space_size: u64,
    /// Take the keys one after the other, not by chance
    #[arg(long)]
    pub sequential_keys: bool,
    /// Take the keys by Zipf's law with this exponent; 0.99 is usual
    #[arg(long, conflicts_with = "sequential_keys", value_parser = exponent)]
    pub zipf: Option<f64>,
    /// In front of every key
    #[arg(long, default_value = "")]
    pub prefix: String,
}

fn exponent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(exponent) if exponent > 0.0 && exponent < 100.0 => Ok(exponent),
        Ok(_) | Err(_) => Err("an exponent is a number above 0".to_string()),
    }
}

impl KeyFlags {
    /// The keys.
    pub fn space(&self) -> measure::KeySpace {
        let order = match (self.sequential_keys, self.zipf) {
            (true, _) => measure::KeyOrder::Sequential,
            (false, None) => measure::KeyOrder::Uniform,
            (false, Some(exponent)) => {
                measure::KeyOrder::Zipf(measure::zipf::Zipf::new(self.key_space_size, exponent))
            }
        };
        let prefix = bytes::Bytes::from(self.prefix.clone().into_bytes());
        let KeyFlags { key_size, key_space_size, .. } = *self;
        measure::KeySpace { size: key_space_size, key_bytes: key_size, prefix, order }
    }
}

/// Reads `l` or `s`, or their long names.
pub fn consistency(text: &str) -> Result<load::Consistency, String> {
    match text {
        "l" | "linearizable" => Ok(load::Consistency::Linearizable),
        "s" | "serializable" => Ok(load::Consistency::Serializable),
        _ => Err("l (linearizable) or s (serializable)".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_reads_etcds_flags() {
        Command::command().debug_assert();
        for line in [
            "put --endpoints=a:1,b:2 --conns=100 --clients=1000 --key-size=8 --sequential-keys \
             --total=100000 --val-size=256 --rate 10 --compact-interval=5m --check-hashkv",
            "--endpoints a range key end --consistency=s --total=1",
            "range foo --limit 3 --count-only --prefix",
            "range foo --stream --keys-only --prefix",
            "range foo z --paginate",
            "put --endpoints https://a --cacert ca --cert c --key k --insecure-skip-tls-verify",
            "txn-put --txn-ops 2 --key-space-size 3",
            "txn-mixed --rw-ratio 2 --end-key z --limit 1 --consistency l",
            "watch --streams 1 --watch-per-stream 2 --watched-key-total 3 --put-rate 4",
            "watch-latency --streams 2 --watchers-per-stream 3 --prevkv --put-total 1",
            "watch-latency --total 1 --dial-timeout 2s --report-perfdash",
            "watch-get --watchers 3 --streams 2 --events 1",
            "lease-keepalive --total 3",
            "stm --isolation ss --keys 3 --keys-per-txn 2 --txn-wr-percent 10",
        ] {
            let words = line.split_whitespace();
            Command::try_parse_from(["ringbench"].into_iter().chain(words)).expect(line);
        }
    }

    #[test]
    fn spans_are_read_as_go_writes_them() {
        let ms = |text| span(text).map(|span| span.as_millis());
        assert_eq!(ms("1m30s"), Ok(90_000));
        assert_eq!(ms("1.5s"), Ok(1500));
        assert_eq!(ms("250ms"), Ok(250));
        for wrong in ["", "10", "s", "1x", "-1s"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
