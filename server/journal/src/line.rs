//! Owns the shape of a line: etcd's JSON object, or columns for people.
//! Never decides whether a line is written. Invariant: a line ends with its only line feed.

use std::time::SystemTime;

use crate::clock;
use crate::value::{Value, put_text};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// For who looks for a bug.
    Debug,
    /// Worth knowing.
    Info,
    /// Worth changing.
    Warn,
    /// Something went wrong.
    Error,
    /// The process ends: our bug.
    Panic,
    /// The process ends: it cannot go on.
    Fatal,
}

impl Level {
    /// The word in a line.
    pub fn word(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Panic => "panic",
            Level::Fatal => "fatal",
        }
    }

    /// The number that syslog and the system's journal use.
    pub(crate) fn syslog(self) -> u8 {
        match self {
            Level::Debug => 7,
            Level::Info => 6,
            Level::Warn => 4,
            Level::Error => 3,
            Level::Panic | Level::Fatal => 2,
        }
    }
}

/// The shape of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// Columns with tabs between them.
    Console,
}

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Source file as the compiler names it.
    pub file: &'static str,
    /// Line in it.
    pub line: u32,
}

impl Caller {
    /// `part/file.rs`: the last folder that says something, and the file.
    fn place(&self) -> (&'static str, &'static str) {
        let mut parts = self.file.rsplit(['/', '\\']);
        let file = parts.next().unwrap_or_default();
        let folder = parts.find(|part| *part != "src").unwrap_or("ringleader");
        (folder, file)
    }
}

/// One line before it is bytes.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// How much it matters.
    pub level: Level,
    /// The part of the program that speaks, where it has a name of its own.
    pub logger: Option<&'a str>,
    /// Where in the source.
    pub caller: Caller,
    /// The sentence.
    pub message: &'a str,
    /// What it is about, in order.
    pub fields: &'a [(&'a str, Value)],
}

impl Line<'_> {
    /// The line as bytes, with its line feed.
    pub fn encode(&self, format: Format, at: SystemTime) -> String {
        let mut text = String::with_capacity(160 + 48 * self.fields.len());
        match format {
            Format::Json => self.put_json(&mut text, at),
            Format::Console => self.put_console(&mut text, at),
        }
        text.push('\n');
        text
    }

    fn put_json(&self, to: &mut String, at: SystemTime) {
        let (folder, file) = self.caller.place();
        to.push_str("{\"level\":\"");
        to.push_str(self.level.word());
        to.push_str("\",\"ts\":\"");
        clock::put_utc(to, at);
        to.push('"');
        if let Some(logger) = self.logger {
            to.push_str(",\"logger\":");
            put_text(to, logger);
        }
        to.push_str(",\"caller\":");
        put_text(to, &format!("{folder}/{file}:{}", self.caller.line));
        to.push_str(",\"msg\":");
        put_text(to, self.message);
        if !self.fields.is_empty() {
            to.push(',');
            self.put_fields(to);
        }
        to.push('}');
    }

    fn put_console(&self, to: &mut String, at: SystemTime) {
        let (folder, file) = self.caller.place();
        clock::put_utc(to, at);
        to.push('\t');
        to.push_str(self.level.word());
        if let Some(logger) = self.logger {
            to.push('\t');
            to.push_str(logger);
        }
        to.push_str(&format!("\t{folder}/{file}:{}\t", self.caller.line));
        // A line feed inside the sentence would make two lines of one.
        to.push_str(&self.message.replace('\n', "\\n"));
        if !self.fields.is_empty() {
            to.push_str("\t{");
            self.put_fields(to);
            to.push('}');
        }
    }

    fn put_fields(&self, to: &mut String) {
        for (at, (name, value)) in self.fields.iter().enumerate() {
            if at > 0 {
                to.push(',');
            }
            put_text(to, name);
            to.push(':');
            value.put_json(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const CALLER: Caller = Caller { file: "server/journal/src/line.rs", line: 12 };

    fn at() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_216_600_163_123)
    }

    #[test]
    fn a_json_line_has_etcds_keys_in_etcds_order() {
        let fields = [("took", Value::from(Duration::from_millis(7))), ("n", Value::from(3u64))];
        let message = "ready to \"serve\"";
        let line =
            Line { level: Level::Info, logger: None, caller: CALLER, message, fields: &fields };
        assert_eq!(
            line.encode(Format::Json, at()),
            "{\"level\":\"info\",\"ts\":\"2026-11-20T23:16:40.163123Z\",\
             \"caller\":\"journal/line.rs:12\",\"msg\":\"ready to \\\"serve\\\"\",\
             \"took\":\"7ms\",\"n\":3}\n"
        );
        let named = Line { logger: Some("raft"), fields: &[], ..line };
        let text = named.encode(Format::Json, at());
        assert!(text.contains("Z\",\"logger\":\"raft\",\"caller\":"), "{text}");
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed["msg"], "ready to \"serve\"");
    }

    #[test]
    fn a_console_line_has_columns_and_one_line_feed() {
        let fields = [("a", Value::from("b\nc"))];
        let message = "one\ntwo";
        let line =
            Line { level: Level::Warn, logger: None, caller: CALLER, message, fields: &fields };
        assert_eq!(
            line.encode(Format::Console, at()),
            "2026-11-20T23:16:40.163123Z\twarn\tjournal/line.rs:12\tone\\ntwo\t{\"a\":\"b\\nc\"}\n"
        );
    }
}
