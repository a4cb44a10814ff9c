//! Owns measuring the project's own storage on a directory, and judging a disk. The log and the
//! tree are the server's, driven through the server's disk shell; here is only who asks for what.
//! Invariant: what is measured lies in a directory of its own, which is removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use disk::DataDir;
use glommio::{LocalExecutorBuilder, Placement};
use measure::outcome::{FORMAT, LoaderOutcome};
use measure::{Outcome, Series, SeriesOutcome};

use crate::flags::Common;
use crate::run::machine;

mod desk;
mod disk_check;
mod fio;
mod log;
mod tree;

pub use disk_check::{Flags as DiskCheckFlags, run as disk_check};

#[derive(Args, Debug)]
pub struct Flags {
    #[command(subcommand)]
    what: What,
}

/// What is measured.
#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Append to the log in groups, as a member does
    Log(log::Flags),
    /// Fill a tree, check it point, read it, scan it
    Tree(tree::Flags),
}

/// Rows and notes of a measurement.
struct Measured {
    series: Vec<(String, Series)>,
    notes: Vec<String>,
}

/// Measures, and says what it saw.
pub fn run(flags: &Flags, common: &Common, command: String) -> Result<Outcome, String> {
    disk::probe::check(1).map_err(|error| error.to_string())?;
    let dir = match &flags.what {
        What::Log(flags) => &flags.dir,
        What::Tree(flags) => &flags.dir,
    };
    let machine = machine();
    let place = Place::make(dir)?;
    let data = Arc::new(DataDir::open(&place.0, None).map_err(|error| error.to_string())?);
    let (what, seed) = (flags.what.clone(), common.seed);
    let placement = common.cpus.first().map_or(Placement::Unbound, |cpu| Placement::Fixed(*cpu));
    let executor = LocalExecutorBuilder::new(placement).name("storage");
    let executor = executor.spawn(move || async move {
        match what {
            What::Log(flags) => log::measure(&flags, data, seed).await,
            What::Tree(flags) => tree::measure(&flags, data, seed).await,
        }
    });
    let executor = executor.map_err(|error| format!("cannot start a core: {error}"))?;
    let measured = executor.join().map_err(|error| format!("a core ended: {error}"))??;
    let begun_unix_s =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let rows = measured.series.iter().map(|(name, one)| SeriesOutcome::of(name, one));
    Ok(Outcome {
        format: FORMAT,
        label: common.label.clone().unwrap_or_else(|| dir.display().to_string()),
        command,
        version: env!("CARGO_PKG_VERSION").to_string(),
        begun_unix_s,
        machine,
        endpoints: vec![dir.display().to_string()],
        conns: 0,
        clients: 1,
        series: rows.collect(),
        servers: Vec::new(),
        loader: LoaderOutcome::default(),
        notes: measured.notes,
    })
}

/// A directory that is removed when nobody needs it.
struct Place(PathBuf);

impl Place {
    fn make(dir: &Path) -> Result<Place, String> {
        let place = dir.join(format!("ringbench-storage-{}", std::process::id()));
        fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
        Ok(Place(place))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed stays, under a name that says whose it is.
        let _ = fs::remove_dir_all(&self.0);
    }
}
