//! Owns what reading the settings has to tell: lines for the log, and orders to stop.
//! Never prints. Invariant: a stop carries its exit code and every text that must be seen first.

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Worth changing.
    Warn,
    /// The reason of a stop.
    Fatal,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
    /// A truth.
    Bool(bool),
    /// Several texts.
    List(Vec<String>),
}

impl From<&str> for Field {
    fn from(text: &str) -> Field {
        Field::Text(text.into())
    }
}

impl From<String> for Field {
    fn from(text: String) -> Field {
        Field::Text(text)
    }
}

/// One line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub level: Level,
    /// The sentence.
    pub message: String,
    /// What it is about, in order.
    pub fields: Vec<(&'static str, Field)>,
}

impl Notice {
    /// A line without fields.
    pub fn new(level: Level, message: &str) -> Notice {
        Notice { level, message: message.into(), fields: Vec::new() }
    }

    /// The same line with one more field.
    pub fn with(mut self, name: &'static str, value: impl Into<Field>) -> Notice {
        self.fields.push((name, value.into()));
        self
    }
}

/// The process ends before it served: what to print where, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Exit code of the process.
    pub code: u8,
    /// Text for standard output.
    pub stdout: String,
    /// Text for standard error, not a log line.
    pub stderr: String,
    /// Lines for the log, after the texts.
    pub notices: Vec<Notice>,
}

impl Stop {
    /// Prints this and ends well.
    pub(crate) fn answer(stdout: String, stderr: String) -> Stop {
        Stop { code: 0, stdout, stderr, notices: Vec::new() }
    }

    /// The command line could not be read: the sentence, the usage, and exit code 2.
    pub(crate) fn usage(sentence: String, usage: &str) -> Stop {
        let stderr = format!("{sentence}\n{usage}");
        Stop { code: 2, stdout: String::new(), stderr, notices: Vec::new() }
    }

    /// The settings are not acceptable: etcd's line with the error as a field, and exit code 1.
    pub(crate) fn invalid(error: impl Into<String>) -> Stop {
        let notice = Notice::new(Level::Warn, "failed to verify flags").with("error", error.into());
        Stop::logged(vec![notice])
    }

    /// The member could not be set up: etcd's two lines, and exit code 1.
    pub(crate) fn start(error: impl Into<String>) -> Stop {
        let error = error.into();
        let first = Notice::new(Level::Warn, "failed to start etcd").with("error", error.as_str());
        let last = Notice::new(Level::Fatal, "discovery failed").with("error", error);
        Stop::logged(vec![first, last])
    }

    /// A plain text on standard error, and exit code 1.
    pub(crate) fn plain(text: String) -> Stop {
        Stop { code: 1, stdout: String::new(), stderr: text, notices: Vec::new() }
    }

    /// Log lines alone, and exit code 1.
    pub(crate) fn logged(notices: Vec<Notice>) -> Stop {
        Stop { code: 1, stdout: String::new(), stderr: String::new(), notices }
    }

    /// The same stop after these earlier lines.
    pub(crate) fn after(mut self, mut earlier: Vec<Notice>) -> Stop {
        earlier.append(&mut self.notices);
        self.notices = earlier;
        self
    }
}
