//! Owns every setting: one row each in one table that is parser, default, help text and check.
//! Takes the command line, the environment and the text of a configuration file as arguments, and
//! answers settings or an order to stop.
//! Never reads, prints or asks the machine. Invariant: an answered `Settings` can be started.
//!
//! ```
//! use ringleader_settings::{Machine, parse, settle};
//! let argv = ["--name=a".to_string(), "--cores".into(), "2".into()];
//! let line = parse(&argv).unwrap();
//! assert_eq!(line.config_path(&[]), None);
//! let machine = Machine { cores_available: 4, default_host: None };
//! let settled = settle(&line, &[], None, &machine).unwrap();
//! assert_eq!((settled.settings.name.as_str(), settled.settings.cores.count), ("a", 2));
//! ```
#![forbid(unsafe_code)]

mod argv;
mod check;
mod chosen;
pub mod cluster;
mod compaction;
mod derive;
mod file;
pub mod gates;
pub mod help;
pub mod join;
mod logging;
pub mod notice;
pub mod row;
mod settings;
mod span;
pub mod table;
pub mod url;
mod value;

#[cfg(test)]
mod tests;

pub use argv::{CommandLine, parse};
pub use compaction::AutoCompaction;
pub use file::ConfigFile;
pub use logging::{Log, LogFormat, LogLevel, LogOutput};
pub use notice::{Field, Level, Notice, Stop};
pub use settings::{
    Access, Advertise, Checkpoint, Cluster, ClusterState, Cores, Keepalive, Limits, Listen,
    Machine, MetricsDetail, Names, Ports, Quota, Settings, Slow, Timing,
};
pub use url::{Scheme, Url};

/// Settings, and what there is to tell about them.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The settings.
    pub settings: Settings,
    /// Lines for the log, in order.
    pub notices: Vec<Notice>,
}

/// Decides every setting. With a file, nothing but the file counts; otherwise the command line, the
/// environment and the defaults, in this order.
pub fn settle(
    line: &CommandLine,
    env: &[(String, String)],
    file: Option<ConfigFile<'_>>,
    machine: &Machine,
) -> Result<Settled, Stop> {
    let mut notices = line.notices.clone();
    match decide(line, env, file, machine, &mut notices) {
        Ok(settings) => Ok(Settled { settings, notices }),
        Err(stop) => Err(stop.after(notices)),
    }
}

fn decide(
    line: &CommandLine,
    env: &[(String, String)],
    file: Option<ConfigFile<'_>>,
    machine: &Machine,
    notices: &mut Vec<Notice>,
) -> Result<Settings, Stop> {
    let mut chosen = match &file {
        Some(file) => chosen::Chosen::from_file(file::read(file)?),
        None => chosen::Chosen::from_line_and_env(line, env, notices)?,
    };
    chosen.rename_old(notices)?;
    let settings = Settings::from_chosen(&chosen, machine, notices)?;
    if let Some(file) = file {
        let sentence = "loaded server configuration, other configuration command line flags and \
                        environment variables will be ignored if provided";
        notices.push(Notice::new(Level::Info, sentence).with("path", file.path));
    }
    Ok(settings)
}
