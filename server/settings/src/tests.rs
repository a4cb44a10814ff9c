//! Owns the laws of the crate as a whole, by source: names, command line, environment, file, rules.
//! Never reads the machine. Invariant: texts are those that etcd 3.5.1 printed, or compat's for
//! newer versions.

mod environment;
mod files;
mod line;
mod names;
mod rules;

use crate::{ConfigFile, Field, Machine, Notice, Settings, Settled, Stop, parse, settle};

fn words(argv: &[&str]) -> Vec<String> {
    argv.iter().map(|word| word.to_string()).collect()
}

fn pairs(env: &[(&str, &str)]) -> Vec<(String, String)> {
    env.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
}

fn machine() -> Machine {
    Machine { cores_available: 2, default_host: None }
}

/// Command line and environment to settings.
fn run(argv: &[&str], env: &[(&str, &str)]) -> Result<Settled, Stop> {
    let line = parse(&words(argv))?;
    settle(&line, &pairs(env), None, &machine())
}

/// A configuration file to settings.
fn run_file(text: &str) -> Result<Settled, Stop> {
    let line = parse(&words(&["--config-file", "c.yml"]))?;
    assert_eq!(line.config_path(&[]), Some("c.yml"));
    let file = ConfigFile { path: "c.yml", text: Ok(text) };
    settle(&line, &[], Some(file), &machine())
}

fn settings(argv: &[&str]) -> Settings {
    run(argv, &[]).unwrap_or_else(|stop| panic!("{argv:?}: {stop:?}")).settings
}

/// The text of a field of a line with this message.
fn field(notices: &[Notice], message: &str, name: &str) -> Option<String> {
    let notice = notices.iter().find(|notice| notice.message == message)?;
    let (_, value) = notice.fields.iter().find(|(key, _)| *key == name)?;
    match value {
        Field::Text(text) => Some(text.clone()),
        Field::List(list) => Some(list.join(" ")),
        Field::Number(number) => Some(number.to_string()),
        Field::Bool(truth) => Some(truth.to_string()),
    }
}

/// The error of a refusal with exit code 1 in etcd's line.
fn invalid(stop: &Stop) -> String {
    assert_eq!((stop.code, stop.stderr.as_str()), (1, ""), "{stop:?}");
    field(&stop.notices, "failed to verify flags", "error").unwrap_or_else(|| panic!("{stop:?}"))
}
