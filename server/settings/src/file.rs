//! Owns the configuration file: YAML (and so JSON) to values of the rows, with etcd's words for
//! what is wrong. Keys match without regard to case, unknown keys are passed over.
//! Never opens a file. Invariant: with a file, nothing but the file decides.

use std::collections::BTreeMap;

use serde_yaml_ng::{Mapping, Number, Value as Yaml};

use crate::gates::Gates;
use crate::notice::Stop;
use crate::row::{FileKey, Kind, Row, Standing};
use crate::table;
use crate::url;
use crate::value::{self, BadValue, Value};

/// A file that somebody else opened.
#[derive(Clone, Copy, Debug)]
pub struct ConfigFile<'a> {
    /// Its path, for messages.
    pub path: &'a str,
    /// Its text, or the reason why there is none, as the system says it.
    pub text: Result<&'a str, &'a str>,
}

/// The values of the rows that the file names.
pub(crate) fn read(file: &ConfigFile) -> Result<BTreeMap<&'static str, Value>, Stop> {
    let text = file.text.map_err(|why| Stop::invalid(format!("open {}: {why}", file.path)))?;
    let yaml: Yaml = serde_yaml_ng::from_str(text)
        .map_err(|error| Stop::invalid(format!("error converting YAML to JSON: yaml: {error}")))?;
    let empty = Mapping::new();
    let top = match &yaml {
        Yaml::Null => &empty,
        Yaml::Mapping(map) => map,
        other => {
            let what = kind_word(other);
            return Err(undecodable(format!("{what} into Go value of type embed.configYAML")));
        }
    };
    let mut values = BTreeMap::new();
    for row in table::rows() {
        if let Some(value) = row_value(row, top)? {
            values.insert(row.name, value);
        }
    }
    Ok(values)
}

/// What the file says for one row, if anything.
fn row_value(row: &Row, top: &Mapping) -> Result<Option<Value>, Stop> {
    let own_name = [row.name];
    let renamed;
    let path: &[&str] = match row.file_key {
        FileKey::Absent => return Ok(None),
        FileKey::Same => &own_name,
        FileKey::Renamed(key) => {
            renamed = [key];
            &renamed
        }
        FileKey::Nested(path) => path,
    };
    if matches!(row.standing, Standing::Ignored | Standing::Gone { .. }) {
        return Ok(None);
    }
    match find(top, path)? {
        None | Some(Yaml::Null) => Ok(None),
        Some(yaml) => convert(row, path, yaml).map(Some),
    }
}

/// The node under the path.
fn find<'a>(top: &'a Mapping, path: &[&str]) -> Result<Option<&'a Yaml>, Stop> {
    let mut map = top;
    for (depth, key) in path.iter().enumerate() {
        let Some(node) = member(map, key) else {
            return Ok(None);
        };
        if depth + 1 == path.len() {
            return Ok(Some(node));
        }
        map = match node {
            Yaml::Null => return Ok(None),
            Yaml::Mapping(map) => map,
            other => {
                let what = kind_word(other);
                let name = path[..=depth].join(".");
                return Err(undecodable(format!(
                    "{what} into Go struct field configYAML.{name} of type embed.securityConfig"
                )));
            }
        };
    }
    Ok(None)
}

/// The member of this name: the exact spelling first, then any capitals.
fn member<'a>(map: &'a Mapping, key: &str) -> Option<&'a Yaml> {
    let same = |name: &Yaml| name.as_str().is_some_and(|name| name.eq_ignore_ascii_case(key));
    map.get(key).or_else(|| map.iter().find(|(name, _)| same(name)).map(|(_, node)| node))
}

/// The node as a value of the row.
fn convert(row: &Row, path: &[&str], yaml: &Yaml) -> Result<Value, Stop> {
    let wrong = |what: String| undecodable(mismatch(path, &what, go_type(row)));
    let text = match (row.kind, yaml) {
        (Kind::Bool, Yaml::Bool(on)) => return Ok(Value::Bool(*on)),
        // YAML 1.1, which etcd reads, has more words for true and false.
        (Kind::Bool, Yaml::String(word)) if old_bool(word).is_some() => {
            return Ok(Value::Bool(old_bool(word) == Some(true)));
        }
        (Kind::Unsigned | Kind::Unsigned32 | Kind::Bytes, Yaml::Number(number)) => {
            let whole = whole(number).and_then(|n| u64::try_from(n).ok());
            let fits = |n: &u64| row.kind != Kind::Unsigned32 || *n <= u64::from(u32::MAX);
            let found = whole.filter(fits).ok_or_else(|| wrong(format!("number {number}")))?;
            return limited(row, Value::Unsigned(found));
        }
        (Kind::Signed | Kind::Span, Yaml::Number(number)) => {
            let whole = whole(number).and_then(|n| i64::try_from(n).ok());
            let found = whole.ok_or_else(|| wrong(format!("number {number}")))?;
            let is_span = row.kind == Kind::Span;
            return limited(row, if is_span { Value::SpanNs(found) } else { Value::Signed(found) });
        }
        (Kind::Set | Kind::List, Yaml::Sequence(items)) if takes_sequence(row) => {
            return list(row, path, items).map(Value::List);
        }
        (Kind::Set | Kind::List, Yaml::String(text)) if !takes_sequence(row) => text,
        (Kind::Text | Kind::Urls | Kind::Origins | Kind::Gates, Yaml::String(text)) => text,
        (Kind::Choice(_) | Kind::ChoiceQuoted(_), Yaml::String(text)) => text,
        (Kind::Bytes | Kind::CpuSet, Yaml::String(text)) => text,
        (_, other) => return Err(wrong(kind_word(other).into())),
    };
    scalar(row, text)
}

/// A text of the file as the row's value.
fn scalar(row: &Row, text: &str) -> Result<Value, Stop> {
    match row.kind {
        Kind::Urls if text.is_empty() => Ok(Value::Urls(Vec::new())),
        Kind::Urls => url::parse_list(text).map(Value::Urls).map_err(|why| {
            // etcd names the advertised client URLs wrongly, and prints this outside of the log.
            let name = match row.name {
                "advertise-client-urls" => "advertise-peer-urls",
                name => name,
            };
            Stop::plain(format!("unexpected error setting up {name}: {why}\n"))
        }),
        Kind::Choice(_) if row.name == "initial-cluster-state" => value::parse(row, text)
            .map_err(|_| Stop::invalid(format!("unexpected clusterState {text:?}"))),
        Kind::Gates => Gates::parse(text).map(Value::Gates).map_err(Stop::invalid),
        _ => value::parse(row, text).map_err(|error| named(row, text, error)),
    }
}

fn limited(row: &Row, value: Value) -> Result<Value, Stop> {
    match value::check_limits(row, &value) {
        Ok(()) => Ok(value),
        Err(error) => Err(Stop::invalid(format!("invalid value for {}: {}", row.name, error.why))),
    }
}

fn named(row: &Row, text: &str, error: BadValue) -> Stop {
    Stop::invalid(format!("invalid value {text:?} for {}: {}", row.name, error.why))
}

fn undecodable(what: String) -> Stop {
    Stop::invalid(format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {what}"
    ))
}

/// Go's word for what was found.
fn kind_word(yaml: &Yaml) -> &'static str {
    match yaml {
        Yaml::Null => "null",
        Yaml::Bool(_) => "bool",
        Yaml::Number(_) => "number",
        Yaml::String(_) => "string",
        Yaml::Sequence(_) => "array",
        Yaml::Mapping(_) | Yaml::Tagged(_) => "object",
    }
}

/// Go's word for what was expected.
fn go_type(row: &Row) -> &'static str {
    match row.kind {
        Kind::Bool | Kind::Ignored => "bool",
        Kind::Text | Kind::Urls | Kind::Origins | Kind::Gates | Kind::CpuSet => "string",
        Kind::Choice(_) | Kind::ChoiceQuoted(_) => "string",
        Kind::Unsigned if row.name.starts_with("snapshot-c") => "uint64",
        Kind::Unsigned | Kind::Bytes => "uint",
        Kind::Unsigned32 => "uint32",
        Kind::Signed if row.name == "quota-backend-bytes" => "int64",
        Kind::Signed => "int",
        Kind::Span => "time.Duration",
        Kind::Set | Kind::List if takes_sequence(row) => "[]string",
        Kind::Set | Kind::List => "string",
    }
}

/// Lists are sequences in the file, but for the host names, which are one text.
fn takes_sequence(row: &Row) -> bool {
    row.name != "host-whitelist"
}

fn list(row: &Row, path: &[&str], items: &[Yaml]) -> Result<Vec<String>, Stop> {
    let text = |item: &Yaml| match item.as_str() {
        Some(text) => Ok(text.to_string()),
        None => Err(undecodable(mismatch(path, kind_word(item), element_type(row)))),
    };
    items.iter().map(text).collect()
}

/// Go's word for what was expected inside of a list.
fn element_type(row: &Row) -> &'static str {
    go_type(row).trim_start_matches("[]")
}

/// What was found where something else was expected.
fn mismatch(path: &[&str], what: &str, kind: &str) -> String {
    let owner = if path.len() > 1 { "securityConfig" } else { "configYAML" };
    format!("{what} into Go struct field {owner}.{} of type {kind}", path.join("."))
}

/// A whole number, also when it is written as `1e9`.
fn whole(number: &Number) -> Option<i128> {
    if let Some(number) = number.as_u64() {
        return Some(i128::from(number));
    }
    if let Some(number) = number.as_i64() {
        return Some(i128::from(number));
    }
    let float = number.as_f64()?;
    let is_exact = float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0;
    is_exact.then_some(float as i128)
}

fn old_bool(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "y" | "yes" | "on" => Some(true),
        "n" | "no" | "off" => Some(false),
        _ => None,
    }
}
