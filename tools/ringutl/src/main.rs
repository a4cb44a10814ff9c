//! Owns the command line of `ringutl`: etcdutl's words where it has them. Decides nothing about
//! data. Invariant: 0 is success, 1 is failure or damage, 4 an output shape that a command does not
//! have, 128 arguments that contradict each other.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ringleader_ringutl::check;
use ringleader_ringutl::restore::{self, Bump, Order};
use ringleader_ringutl::source::HashCheck;
use ringleader_ringutl::status::{Shape, Status};

/// What is wrong with arguments that parse.
const BAD_ARGUMENTS: u8 = 128;
/// A shape that the command does not have.
const BAD_SHAPE: u8 = 4;

#[derive(Parser)]
#[command(name = "ringutl", version, about = "Works on Ringleader's data while no server does")]
struct Line {
    /// How to print: simple, fields, json, table
    #[arg(short = 'w', long = "write-out", global = true, default_value = "simple")]
    write_out: WriteOut,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, ValueEnum)]
enum WriteOut {
    Simple,
    Fields,
    Json,
    Table,
    Protobuf,
}

#[derive(Subcommand)]
enum Command {
    /// Snapshot files
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Verifies every page, segment and batch of a data directory
    Check(Place),
}

#[derive(Subcommand)]
enum SnapshotCommand {
    /// Tells what a snapshot holds
    Status {
        /// The snapshot file
        file: PathBuf,
    },
    /// Makes a data directory from a snapshot
    Restore(Restore),
}

#[derive(Args)]
struct Place {
    /// The data directory
    #[arg(long)]
    data_dir: PathBuf,
    /// Its log, if that lies elsewhere
    #[arg(long)]
    wal_dir: Option<PathBuf>,
}

#[derive(Args)]
struct Restore {
    /// The snapshot file
    file: PathBuf,
    /// The directory to make; NAME.etcd if not given
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Where its log goes, if not below it
    #[arg(long)]
    wal_dir: Option<PathBuf>,
    /// Name of this member
    #[arg(long, default_value = "default")]
    name: String,
    /// Founding members
    #[arg(long, default_value = "default=http://localhost:2380")]
    initial_cluster: String,
    /// Token of the cluster
    #[arg(long, default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// Peer URLs of this member
    #[arg(long, default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: String,
    /// Takes a file without a SHA-256 at its end, such as one copied from elsewhere
    #[arg(long)]
    skip_hash_check: bool,
    /// How much to raise the revision
    #[arg(long, default_value_t = 0)]
    bump_revision: u64,
    /// Marks everything before the raised revision as compacted; goes with --bump-revision
    #[arg(long)]
    mark_compacted: bool,
    /// Slices of the new store; one for each core of this machine if not given
    #[arg(long)]
    slices: Option<u16>,
}

/// Why nothing was done.
struct Refusal {
    code: u8,
    text: String,
}

impl From<String> for Refusal {
    fn from(text: String) -> Refusal {
        Refusal { code: 1, text }
    }
}

fn main() -> ExitCode {
    let line = Line::parse();
    let done = match line.command {
        Command::Snapshot(SnapshotCommand::Status { file }) => status(&file, line.write_out),
        Command::Snapshot(SnapshotCommand::Restore(what)) => restore_snapshot(what),
        Command::Check(place) => verify(&place),
    };
    match done {
        Ok(code) => code,
        Err(Refusal { code, text }) => {
            eprintln!("Error: {text}");
            ExitCode::from(code)
        }
    }
}

fn status(file: &std::path::Path, shape: WriteOut) -> Result<ExitCode, Refusal> {
    let shape = match shape {
        WriteOut::Simple => Shape::Simple,
        WriteOut::Fields => Shape::Fields,
        WriteOut::Json => Shape::Json,
        WriteOut::Table => Shape::Table,
        WriteOut::Protobuf => {
            let text = "protobuf not supported as output format".to_owned();
            return Err(Refusal { code: BAD_SHAPE, text });
        }
    };
    println!("{}", Status::of(file)?.text(shape));
    Ok(ExitCode::SUCCESS)
}

fn restore_snapshot(what: Restore) -> Result<ExitCode, Refusal> {
    let bump = match (what.bump_revision, what.mark_compacted) {
        (0, false) => Bump::Keep,
        (by, true) if by > 0 => Bump::By(by),
        _ => {
            let text = "--mark-compacted required if --bump-revision".to_owned();
            return Err(Refusal { code: BAD_ARGUMENTS, text });
        }
    };
    let peers = settings::url::parse_list(&what.initial_advertise_peer_urls)?;
    let founding = settings::cluster::found(
        &what.initial_cluster,
        &what.initial_cluster_token,
        &what.name,
        &peers,
    )
    .map_err(|error| error.to_string())?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let order = Order {
        snapshot: what.file,
        data_dir: what.data_dir.unwrap_or_else(|| restore::default_data_dir(&what.name)),
        wal_dir: what.wal_dir,
        founding,
        slices: what.slices.unwrap_or(u16::try_from(cores).unwrap_or(u16::MAX)).max(1),
        check: if what.skip_hash_check { HashCheck::Skipped } else { HashCheck::Required },
        bump,
    };
    let restored = restore::restore(&order)?;
    eprintln!(
        "restored {} keys at revision {} (compact revision {}) into {}: member {:x}, cluster {:x}",
        restored.keys,
        restored.revision,
        restored.compact_revision,
        order.data_dir.display(),
        order.founding.local_id,
        order.founding.cluster_id,
    );
    Ok(ExitCode::SUCCESS)
}

fn verify(place: &Place) -> Result<ExitCode, Refusal> {
    let findings = check::check(&place.data_dir, place.wal_dir.as_deref())?;
    findings.sound.iter().for_each(|line| println!("{line}"));
    findings.rot.iter().for_each(|line| eprintln!("{line}"));
    match findings.rot.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}
