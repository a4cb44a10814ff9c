//! Owns the question whether a disk is good enough, with its numbers.
//! Invariant: the verdict says which figure it comes from, and who set the bound.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use measure::Latency;
use measure::report::time;

/// What etcd's hardware page asks `fio` for: appends of 2300 bytes, each followed by fdatasync.
const RECORD_BYTES: usize = 2300;
const BLOCK_BYTES: usize = 4096;
/// Bytes that are overwritten, like a log segment's zeros.
const FILE_BYTES: u64 = 16 << 20;
/// "the 99th percentile of the durations of fdatasync should be less than 10ms" (etcd FAQ and its
/// `wal_fsync_duration_seconds` alert).
const P99_SYNC_MAX: Duration = Duration::from_millis(10);
/// "typically 50 sequential IOPS (e.g., a 7200 RPM disk) are required" (etcd hardware page).
const IOPS_MIN: f64 = 50.0;
/// "for heavily loaded clusters, 500 sequential IOPS ... are recommended" (the same page).
const IOPS_GOOD: f64 = 500.0;

#[derive(Args, Debug)]
pub struct Flags {
    /// A directory on the disk that is meant
    dir: PathBuf,
    /// Write so long, for each of the two ways
    #[arg(long, default_value = "5s", value_parser = crate::flags::span)]
    span: Duration,
    /// Write at most so often
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    writes: u64,
}

/// What the figures amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Enough,
    Poor,
}

/// Judges the disk; whether it is good enough.
pub fn run(flags: &Flags) -> Result<bool, String> {
    let path = flags.dir.join(format!("ringbench-disk-check-{}", std::process::id()));
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let synced = appended(&path, flags);
    let direct = overwritten(&path, flags);
    let _ = fs::remove_file(&path);
    let synced = synced.map_err(told)?;
    let direct = match direct {
        Ok(direct) => Some(direct),
        // tmpfs, for one: a member cannot keep its log there either.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => None,
        Err(error) => return Err(told(error)),
    };
    println!("appends of {RECORD_BYTES} B, each with fdatasync: {}", said(&synced));
    match &direct {
        Some(direct) => {
            println!("overwrites of {BLOCK_BYTES} B with O_DIRECT and O_DSYNC: {}", said(direct));
        }
        None => println!("overwrites with O_DIRECT and O_DSYNC: not possible in this directory"),
    }
    let verdict = judge(&synced, direct.as_ref());
    println!(
        "{}. Bounds: p99 of fdatasync below {P99_SYNC_MAX:?} (etcd's FAQ), {IOPS_MIN} writes a \
         second at least, {IOPS_GOOD} under heavy load (etcd's hardware page).",
        match verdict {
            Verdict::Good => "good: fit for a heavily loaded member",
            Verdict::Enough => "enough: fit for a small member",
            Verdict::Poor => "not good enough: members on it will lose their leader under load",
        }
    );
    Ok(verdict != Verdict::Poor)
}

fn said(latency: &Latency) -> String {
    let at = |percent| time(latency.percentile_ns(percent) as f64);
    let max = time(latency.max_ns() as f64);
    format!("{:.0} a second, p50 {}, p99 {}, max {max}", rate(latency), at(50.0), at(99.0))
}

/// Writes a second, one at a time.
fn rate(latency: &Latency) -> f64 {
    1e9 / latency.mean_ns().max(1.0)
}

fn judge(synced: &Latency, direct: Option<&Latency>) -> Verdict {
    let slow = P99_SYNC_MAX.as_nanos() as u64 <= synced.percentile_ns(99.0);
    let rate = rate(synced);
    match direct {
        None => Verdict::Poor,
        Some(_) if slow || rate < IOPS_MIN => Verdict::Poor,
        Some(_) if rate < IOPS_GOOD => Verdict::Enough,
        Some(_) => Verdict::Good,
    }
}

fn timed(
    flags: &Flags,
    mut write: impl FnMut(u64) -> std::io::Result<()>,
) -> std::io::Result<Latency> {
    let (begun, mut latency) = (Instant::now(), Latency::default());
    for number in 0..flags.writes {
        let sent = Instant::now();
        write(number)?;
        latency.record(sent.elapsed().as_nanos() as u64);
        if flags.span <= begun.elapsed() {
            break;
        }
    }
    Ok(latency)
}

fn appended(path: &Path, flags: &Flags) -> std::io::Result<Latency> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let record = [b'r'; RECORD_BYTES];
    timed(flags, |number| {
        if FILE_BYTES <= number * RECORD_BYTES as u64 % (FILE_BYTES + RECORD_BYTES as u64) {
            file.seek(SeekFrom::Start(0))?;
        }
        file.write_all(&record)?;
        file.sync_data()
    })
}

fn overwritten(path: &Path, flags: &Flags) -> std::io::Result<Latency> {
    fs::write(path, vec![0; FILE_BYTES as usize])?;
    let mut options = OpenOptions::new();
    let file = options.write(true).custom_flags(libc::O_DIRECT | libc::O_DSYNC).open(path)?;
    // Direct writes need memory that is aligned as the blocks are.
    let memory = vec![b'b'; 2 * BLOCK_BYTES];
    let skip = memory.as_ptr().align_offset(BLOCK_BYTES);
    let block = &memory[skip..skip + BLOCK_BYTES];
    timed(flags, |number| file.write_all_at(block, number * BLOCK_BYTES as u64 % FILE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(ns: u64) -> Latency {
        let mut latency = Latency::default();
        (0..100).for_each(|_| latency.record(ns));
        latency
    }

    #[test]
    fn a_verdict_follows_the_bounds() {
        let fast = writes(100_000);
        assert_eq!(judge(&fast, Some(&fast)), Verdict::Good);
        assert_eq!(judge(&fast, None), Verdict::Poor);
        assert_eq!(judge(&writes(5_000_000), Some(&fast)), Verdict::Enough);
        assert_eq!(judge(&writes(11_000_000), Some(&fast)), Verdict::Poor);
    }
}
