//! Owns which source decided each setting: command line, environment, file or default.
//! Never judges whether the values agree. Invariant: a default is never stored, only answered.

use std::collections::BTreeMap;

use crate::argv::CommandLine;
use crate::gates::Gates;
use crate::notice::{Level, Notice, Stop};
use crate::row::{Row, Standing};
use crate::table;
use crate::url::Url;
use crate::value::{self, Value};

/// The values that somebody set.
#[derive(Clone, Debug)]
pub struct Chosen {
    values: BTreeMap<&'static str, Value>,
    origin: Origin,
}

/// Where values come from: a file excludes the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    File,
    LineAndEnv,
}

impl Chosen {
    /// What a configuration file said.
    pub(crate) fn from_file(values: BTreeMap<&'static str, Value>) -> Chosen {
        Chosen { values, origin: Origin::File }
    }

    /// The command line over the environment. Both saying the same setting is a conflict.
    pub(crate) fn from_line_and_env(
        line: &CommandLine,
        env: &[(String, String)],
        notices: &mut Vec<Notice>,
    ) -> Result<Chosen, Stop> {
        let mut chosen = Chosen { values: line.given.clone(), origin: Origin::LineAndEnv };
        let mut known = vec!["ETCD_VERSION".to_string()];
        note_version(env, notices);
        for row in table::rows().filter(|row| row.is_accepted() && row.name != "version") {
            let name = row.env_name();
            let text = env.iter().find(|(key, text)| *key == name && !text.is_empty());
            if let Some((_, text)) = text {
                chosen.take_env(row, &name, text, notices)?;
            }
            known.push(name);
        }
        for (name, text) in env {
            if name.starts_with("ETCD_") && !known.contains(name) {
                notices.push(
                    Notice::new(Level::Warn, "unrecognized environment variable")
                        .with("environment-variable", format!("{name}={text}")),
                );
            }
        }
        Ok(chosen)
    }

    fn take_env(
        &mut self,
        row: &'static Row,
        name: &str,
        text: &str,
        notices: &mut Vec<Notice>,
    ) -> Result<(), Stop> {
        if self.values.contains_key(row.name) {
            // The doubled parenthesis is in etcd's text, and scripts match on the text.
            let sentence = "conflicting environment variable is shadowed by corresponding \
                            command-line flag (either unset environment variable or disable flag))";
            let notice = Notice::new(Level::Fatal, sentence).with("environment-variable", name);
            return Err(Stop::logged(vec![notice]));
        }
        let value = value::parse(row, text).map_err(|error| {
            Stop::invalid(format!("invalid value {text:?} for {name}: {}", error.why))
        })?;
        let note = Notice::new(Level::Info, "recognized and used environment variable");
        let shown = if row.is_secret() { "<hidden>" } else { text };
        notices.push(note.with("variable-name", name).with("variable-value", shown));
        self.values.insert(row.name, value);
        Ok(())
    }

    /// Moves values of old spellings to the rows that they stand for.
    pub(crate) fn rename_old(&mut self, notices: &mut Vec<Notice>) -> Result<(), Stop> {
        let old: Vec<&'static Row> = self.rows().collect();
        notices.extend(CommandLine::note_ignored(old.iter().copied()));
        for row in old {
            match row.standing {
                Standing::OldName { now } => self.rename(row, now, notices)?,
                Standing::OldSwitch { now, value } => {
                    if self.bool(row.name) {
                        self.values.insert(row.name, Value::Text(value.into()));
                        self.rename(row, now, notices)?;
                    }
                }
                Standing::OldGate { gate } => self.rename_gate(row, gate, notices)?,
                Standing::Works | Standing::NotYet { .. } | Standing::NoMeaning { .. } => {}
                Standing::Ignored | Standing::Gone { .. } => {}
            }
        }
        Ok(())
    }

    fn rename(
        &mut self,
        row: &'static Row,
        now: &'static str,
        notices: &mut Vec<Notice>,
    ) -> Result<(), Stop> {
        if self.values.contains_key(now) {
            return Err(Stop::invalid(format!(
                "cannot set --{} and --{now} at the same time, please use --{now} only",
                row.name
            )));
        }
        if let Some(value) = self.values.remove(row.name) {
            self.values.insert(now, value);
        }
        notices.push(old_name_note(row, format!("--{now}")));
        Ok(())
    }

    fn rename_gate(
        &mut self,
        row: &'static Row,
        gate: &'static str,
        notices: &mut Vec<Notice>,
    ) -> Result<(), Stop> {
        let on = self.bool(row.name);
        let mut gates = self.gates();
        if gates.names(gate) {
            return Err(Stop::invalid(format!(
                "cannot set --{} and --feature-gates={gate} at the same time, \
                 please use --feature-gates={gate}={on} only",
                row.name
            )));
        }
        gates.set(gate, on).unwrap_or_else(|why| unreachable!("{why}"));
        self.values.insert("feature-gates", Value::Gates(gates));
        notices.push(old_name_note(row, format!("--feature-gates={gate}={on}")));
        Ok(())
    }

    /// The rows that somebody set, in the order of the table.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &'static Row> + '_ {
        table::rows().filter(|row| self.values.contains_key(row.name))
    }

    /// Whether somebody set it.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(table::known(name).name)
    }

    /// Whether a configuration file decided.
    pub(crate) fn is_from_file(&self) -> bool {
        self.origin == Origin::File
    }

    /// As `is_unusual`, by name.
    pub(crate) fn is_unusual_name(&self, name: &str) -> bool {
        self.is_unusual(table::known(name))
    }

    /// Whether somebody set it to something else than the default.
    pub(crate) fn is_unusual(&self, row: &Row) -> bool {
        self.values.get(row.name).is_some_and(|value| *value != default_of(row))
    }

    fn value(&self, name: &str) -> Value {
        let row = table::known(name);
        self.values.get(row.name).cloned().unwrap_or_else(|| default_of(row))
    }

    /// A switch.
    pub(crate) fn bool(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Bool(value) => value,
            other => unreachable!("{name} is not a switch: {other:?}"),
        }
    }

    /// A text.
    pub(crate) fn text(&self, name: &str) -> String {
        match self.value(name) {
            Value::Text(value) => value,
            other => unreachable!("{name} is not a text: {other:?}"),
        }
    }

    /// A number from 0.
    pub(crate) fn unsigned(&self, name: &str) -> u64 {
        match self.value(name) {
            Value::Unsigned(value) => value,
            other => unreachable!("{name} is not a number from 0: {other:?}"),
        }
    }

    /// A number from 0, cut to 32 bits.
    pub(crate) fn unsigned_32(&self, name: &str) -> u32 {
        u32::try_from(self.unsigned(name)).unwrap_or(u32::MAX)
    }

    /// A number.
    pub(crate) fn signed(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Signed(value) => value,
            other => unreachable!("{name} is not a number: {other:?}"),
        }
    }

    /// A duration; a negative one counts as none.
    pub(crate) fn span(&self, name: &str) -> std::time::Duration {
        match self.value(name) {
            Value::SpanNs(ns) => std::time::Duration::from_nanos(u64::try_from(ns).unwrap_or(0)),
            other => unreachable!("{name} is not a duration: {other:?}"),
        }
    }

    /// URLs.
    pub(crate) fn urls(&self, name: &str) -> Vec<Url> {
        match self.value(name) {
            Value::Urls(urls) => urls,
            other => unreachable!("{name} is not a list of URLs: {other:?}"),
        }
    }

    /// A list.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Value::List(list) => list,
            other => unreachable!("{name} is not a list: {other:?}"),
        }
    }

    /// The processors to pin to.
    pub(crate) fn cpus(&self) -> Vec<u16> {
        match self.value("cpu-set") {
            Value::Cpus(cpus) => cpus.into_iter().collect(),
            other => unreachable!("not a set of processors: {other:?}"),
        }
    }

    /// The feature gates.
    pub(crate) fn gates(&self) -> Gates {
        match self.value("feature-gates") {
            Value::Gates(gates) => gates,
            other => unreachable!("not gates: {other:?}"),
        }
    }
}

fn default_of(row: &Row) -> Value {
    match value::parse(row, row.default) {
        Ok(value) => value,
        Err(error) => unreachable!("the default of --{}: {}", row.name, error.why),
    }
}

fn old_name_note(row: &Row, now: String) -> Notice {
    Notice::new(Level::Warn, "flag is accepted under the name of an older version")
        .with("flag", format!("--{}", row.name))
        .with("use", now)
}

/// `ETCD_VERSION` is the name that images set for themselves; it is not the flag `--version`.
fn note_version(env: &[(String, String)], notices: &mut Vec<Notice>) {
    for (name, text) in env.iter().filter(|(name, text)| name == "ETCD_VERSION" && !text.is_empty())
    {
        notices.push(
            Notice::new(Level::Warn, "cannot set special environment variable")
                .with("key", name.as_str())
                .with("value", text.as_str()),
        );
    }
}
