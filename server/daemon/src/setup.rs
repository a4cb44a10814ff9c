//! Owns everything before the member exists: settings from argv, environment and file, and the
//! journal.
//! Invariant: a program that was asked for help or told nonsense leaves no trace on disk.

use std::io::Write;

use settings::{
    ConfigFile, Field, Level, Log, LogFormat, LogLevel, LogOutput, Machine, Notice, Settings,
    Settled, Stop,
};

/// Reads the settings.
pub fn settle(argv: &[String]) -> Result<Settled, Stop> {
    let line = settings::parse(argv)?;
    let env: Vec<(String, String)> = std::env::vars_os()
        .map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        })
        .collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let machine = Machine {
        cores_available: u32::try_from(cores).unwrap_or(u32::MAX),
        default_host: default_host(),
    };
    let Some(path) = line.config_path(&env) else {
        return settings::settle(&line, &env, None, &machine);
    };
    let text = std::fs::read_to_string(path).map_err(|error| journal::reason(&error));
    let file = ConfigFile { path, text: text.as_deref().map_err(String::as_str) };
    settings::settle(&line, &env, Some(file), &machine)
}

/// The address that the default route leaves from. Connecting a datagram socket sends nothing.
fn default_host() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

/// Prints what a stop says and ends the process.
pub fn end(stop: &Stop) -> ! {
    let _ = std::io::stdout().write_all(stop.stdout.as_bytes());
    let _ = std::io::stderr().write_all(stop.stderr.as_bytes());
    if !stop.notices.is_empty() {
        let log = Log {
            level: LogLevel::Info,
            format: LogFormat::Json,
            outputs: vec![LogOutput::Stderr],
        };
        start(&log);
        tell(&stop.notices);
    }
    journal::flush(journal::FLUSH_WAIT);
    std::process::exit(i32::from(stop.code));
}

/// Starts the journal as the settings say.
pub fn start_journal(settings: &Settings) {
    start(&settings.log);
}

fn start(log: &Log) {
    let outputs = log
        .outputs
        .iter()
        .map(|output| match output {
            LogOutput::Stderr => journal::Output::Stderr,
            LogOutput::SystemdJournal => journal::Output::SystemdJournal,
            LogOutput::Stdout => journal::Output::Stdout,
            LogOutput::File(path) => journal::Output::File(path.clone()),
        })
        .collect();
    let options = journal::Options {
        level: match log.level {
            LogLevel::Debug => journal::Level::Debug,
            LogLevel::Info => journal::Level::Info,
            LogLevel::Warn => journal::Level::Warn,
            LogLevel::Error => journal::Level::Error,
            LogLevel::Panic => journal::Level::Panic,
            LogLevel::Fatal => journal::Level::Fatal,
        },
        format: match log.format {
            LogFormat::Json => journal::Format::Json,
            LogFormat::Console => journal::Format::Console,
        },
        outputs,
        sampling: journal::Sampling::OnRepeat,
        bounds: journal::Bounds { lines_max: journal::LINES_MAX, bytes_max: journal::BYTES_MAX },
    };
    if let Err(error) = journal::start(options) {
        journal::warn!("failed to verify flags", "error" => error.to_string());
        std::process::exit(1);
    }
    journal::log_panics();
}

/// Writes what the settings had to say.
pub fn tell(notices: &[Notice]) {
    for notice in notices {
        let fields: Vec<(&str, journal::Value)> =
            notice.fields.iter().map(|(name, value)| (*name, value_of(value))).collect();
        let level = match notice.level {
            Level::Info => journal::Level::Info,
            Level::Warn => journal::Level::Warn,
            // The process ends through the stop's own exit code, not through the line.
            Level::Fatal => journal::Level::Fatal,
        };
        line(level, &notice.message, &fields);
    }
}

/// Writes one line whose fields are known only at run time.
pub fn line(level: journal::Level, message: &str, fields: &[(&str, journal::Value)]) {
    journal::write(&journal::Line {
        level,
        logger: None,
        caller: journal::Caller { file: file!(), line: line!() },
        message,
        fields,
    });
}

/// A settings field as a journal value.
pub fn value_of(field: &Field) -> journal::Value {
    match field {
        Field::Text(text) => text.as_str().into(),
        Field::Number(number) => (*number).into(),
        Field::Bool(truth) => (*truth).into(),
        Field::List(texts) => texts.clone().into(),
    }
}
