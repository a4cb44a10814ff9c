//! Owns Go's flag syntax: one or two dashes, `=` or the next word, switches without a value, the
//! last one wins, `--` ends. Written by hand because no library of ours speaks it.
//! Never reads the environment. Invariant: a command line that was read holds only valid values.

use std::collections::BTreeMap;

use crate::help;
use crate::notice::{Field, Level, Notice, Stop};
use crate::row::{Kind, Row, Standing};
use crate::table;
use crate::value::{self, Value};

/// What the command line said, every value read.
#[derive(Clone, Debug)]
pub struct CommandLine {
    pub(crate) given: BTreeMap<&'static str, Value>,
    pub(crate) notices: Vec<Notice>,
}

/// Reads the words after the program's name. Help, version, sub-commands and mistakes stop.
pub fn parse(argv: &[String]) -> Result<CommandLine, Stop> {
    if let Some(stop) = argv.first().and_then(|word| sub_command(word)) {
        return Err(stop);
    }
    let mut line = CommandLine { given: BTreeMap::new(), notices: Vec::new() };
    let mut words = argv.iter().map(String::as_str);
    let mut stray = None;
    while let Some(word) = words.next() {
        match split(word)? {
            Word::End => stray = words.next(),
            Word::Stray => stray = Some(word),
            Word::Flag { name, value } => {
                line.take(name, value, &mut words)?;
                continue;
            }
        }
        break;
    }
    let running = Notice::new(Level::Info, "Running: ");
    let running = running.with("args", Field::List(shown(argv)));
    line.notices.insert(0, running);
    if let Some(word) = stray {
        return Err(Stop::invalid(format!("'{word}' is not a valid flag")).after(line.notices));
    }
    if line.given.get("version") == Some(&Value::Bool(true)) {
        return Err(Stop::answer(help::version(), String::new()));
    }
    Ok(line)
}

/// The words as a log line may show them: without the values of secret flags.
fn shown(argv: &[String]) -> Vec<String> {
    let mut hide_next = false;
    let mut words = Vec::with_capacity(argv.len());
    for word in argv {
        let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
        let is_secret = word.starts_with('-') && table::find(name).is_some_and(Row::is_secret);
        words.push(match (hide_next, is_secret, word.split_once('=')) {
            (true, _, _) => "<hidden>".into(),
            (false, true, Some((flag, _))) => format!("{flag}=<hidden>"),
            (false, true, None) | (false, false, _) => word.clone(),
        });
        hide_next = is_secret && !hide_next && !word.contains('=');
    }
    words
}

fn sub_command(word: &str) -> Option<Stop> {
    match word {
        "gateway" | "grpc-proxy" => Some(Stop::plain(format!(
            "Error: this build has no {word:?} command; \
             run it from another version in front of this server\n"
        ))),
        _ => None,
    }
}

/// One word of the command line.
enum Word<'a> {
    End,
    Stray,
    Flag { name: &'a str, value: Option<&'a str> },
}

fn split(word: &str) -> Result<Word<'_>, Stop> {
    if word == "--" {
        return Ok(Word::End);
    }
    let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
        return Ok(Word::Stray);
    };
    let rest = rest.strip_prefix('-').unwrap_or(rest);
    if rest.is_empty() || rest.starts_with('-') || rest.starts_with('=') {
        return Err(mistake(format!("bad flag syntax: {word}")));
    }
    Ok(match rest.split_once('=') {
        Some((name, value)) => Word::Flag { name, value: Some(value) },
        None => Word::Flag { name: rest, value: None },
    })
}

fn mistake(sentence: String) -> Stop {
    Stop::usage(sentence, &help::usage())
}

impl CommandLine {
    /// Takes one flag, and the next word if that is its value.
    fn take<'a>(
        &mut self,
        name: &str,
        value: Option<&str>,
        words: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), Stop> {
        let Some(row) = table::find(name).filter(|row| row.is_accepted()) else {
            return Err(unknown(name));
        };
        let text = match value {
            Some(text) => text,
            None if row.is_switch() => "true",
            None => match words.next() {
                Some(text) => text,
                None => return Err(mistake(format!("flag needs an argument: -{name}"))),
            },
        };
        let value = value::parse(row, text).map_err(|error| {
            if row.kind == Kind::Bool {
                mistake(format!("invalid boolean value {text:?} for -{name}: {}", error.why))
            } else {
                mistake(format!("invalid value {text:?} for flag -{name}: {}", error.why))
            }
        })?;
        self.given.insert(row.name, value);
        Ok(())
    }

    /// The configuration file to read before anything else counts, if one is named.
    /// Every setting then comes from there.
    pub fn config_path<'a>(&'a self, env: &'a [(String, String)]) -> Option<&'a str> {
        if let Some(Value::Text(path)) = self.given.get("config-file") {
            return Some(path).filter(|path| !path.is_empty()).map(String::as_str);
        }
        let path = env.iter().find(|(name, _)| name == "ETCD_CONFIG_FILE")?;
        Some(path.1.as_str()).filter(|path| !path.is_empty())
    }

    /// What etcd notes about flags that it has long ignored.
    pub(crate) fn note_ignored(rows: impl Iterator<Item = &'static Row>) -> Vec<Notice> {
        let ignored = rows.filter(|row| row.standing == Standing::Ignored);
        let note = |row: &Row| {
            Notice::new(Level::Warn, "flag is no longer supported; ignoring it")
                .with("flag", format!("--{}", row.name))
        };
        ignored.map(note).collect()
    }
}

/// Nobody knows this flag; help asks for the flags, and a flag of old gets a hint.
fn unknown(name: &str) -> Stop {
    if name == "help" || name == "h" {
        return Stop::answer(help::flags(), help::usage());
    }
    let sentence = format!("flag provided but not defined: -{name}");
    let hint = table::find(name).and_then(|row| match row.standing {
        Standing::Gone { instead } => Some(instead),
        Standing::Works | Standing::NotYet { .. } | Standing::NoMeaning { .. } => None,
        Standing::OldName { .. } | Standing::OldGate { .. } => None,
        Standing::OldSwitch { .. } | Standing::Ignored => None,
    });
    match hint {
        Some(instead) => mistake(format!("{sentence}\n--{name} was removed long ago: {instead}")),
        None => mistake(sentence),
    }
}
