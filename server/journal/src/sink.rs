//! Owns the places where lines end: standard error, standard output, files, the system's journal.
//! Never buffers: a complete line is one write. Invariant: files are only appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;

use crate::line::Level;

/// Where the system's journal listens.
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// A place for lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// The system's journal; standard error where that fails.
    SystemdJournal,
    /// A file, appended to, made if missing.
    File(String),
}

/// A place could not be opened.
#[derive(Debug)]
pub struct OpenError {
    /// Its path.
    pub path: String,
    /// What the system said.
    pub source: io::Error,
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = &self.path;
        let why = reason(&self.source);
        write!(to, "couldn't open sink {path:?}: open {path}: {why}")
    }
}

impl std::error::Error for OpenError {}

/// What the system said, in the words of the C library without capitals, as Go prints it.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "no such file or directory".into(),
        ErrorKind::PermissionDenied => "permission denied".into(),
        ErrorKind::IsADirectory => "is a directory".into(),
        ErrorKind::NotADirectory => "not a directory".into(),
        ErrorKind::AddrInUse => "address already in use".into(),
        _ => error.to_string(),
    }
}

/// Something that takes whole lines.
pub(crate) trait Sink: Send {
    /// Writes the line, which ends with a line feed.
    fn write_line(&mut self, level: Level, line: &str) -> io::Result<()>;
}

pub(crate) fn open(output: &Output) -> Result<Box<dyn Sink>, OpenError> {
    Ok(match output {
        Output::Stderr => Box::new(Stderr),
        Output::Stdout => Box::new(Stdout),
        Output::SystemdJournal => Box::new(SystemdJournal { socket: None }),
        Output::File(path) => {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
            let file = file.map_err(|source| OpenError { path: path.clone(), source })?;
            Box::new(Appended(file))
        }
    })
}

struct Stderr;

impl Sink for Stderr {
    fn write_line(&mut self, _: Level, line: &str) -> io::Result<()> {
        io::stderr().lock().write_all(line.as_bytes())
    }
}

struct Stdout;

impl Sink for Stdout {
    fn write_line(&mut self, _: Level, line: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.flush()
    }
}

struct Appended(File);

impl Sink for Appended {
    fn write_line(&mut self, _: Level, line: &str) -> io::Result<()> {
        self.0.write_all(line.as_bytes())
    }
}

/// One datagram a line; connected on first use and again after a failure.
struct SystemdJournal {
    socket: Option<UnixDatagram>,
}

impl SystemdJournal {
    fn send(&mut self, level: Level, line: &str) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(JOURNAL_SOCKET)?;
                socket
            }
        };
        socket.send(journal_entry(level, line).as_bytes())?;
        self.socket = Some(socket);
        Ok(())
    }
}

impl Sink for SystemdJournal {
    fn write_line(&mut self, level: Level, line: &str) -> io::Result<()> {
        match self.send(level, line) {
            Ok(()) => Ok(()),
            Err(_) => Stderr.write_line(level, line),
        }
    }
}

/// The journal's own protocol: `NAME=value` lines. Our line has no line feed but its last.
fn journal_entry(level: Level, line: &str) -> String {
    let priority = level.syslog();
    format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER=ringleader\nMESSAGE={line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_opened_is_told_in_etcds_words() {
        let Err(error) = open(&Output::File("/nonexistent/x".into())) else {
            panic!("the folder must not exist");
        };
        assert_eq!(
            error.to_string(),
            "couldn't open sink \"/nonexistent/x\": open /nonexistent/x: no such file or directory"
        );
    }

    #[test]
    fn an_entry_of_the_systems_journal_has_priority_and_message() {
        assert_eq!(
            journal_entry(Level::Warn, "{}\n"),
            "PRIORITY=4\nSYSLOG_IDENTIFIER=ringleader\nMESSAGE={}\n"
        );
    }
}
