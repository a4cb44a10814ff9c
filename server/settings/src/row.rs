//! Owns the shape of one setting: a row that is parser, default, documentation and check at once.
//! Never holds a chosen value. Invariant: a row's default parses by its own kind and limits.

/// What the text of a setting means, and how it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A switch: alone it means true; otherwise Go's spellings of true and false.
    Bool,
    /// Any text.
    Text,
    /// A whole number from 0.
    Unsigned,
    /// A whole number from 0 that fits 32 bits; errors carry Go's longer text.
    Unsigned32,
    /// A whole number.
    Signed,
    /// A Go duration such as `1h30m`; in a file, nanoseconds.
    Span,
    /// Comma-separated URLs with a port and no path.
    Urls,
    /// Comma-separated origins: URLs, or `*`.
    Origins,
    /// A comma-separated set, kept sorted.
    Set,
    /// A comma-separated list, kept in order.
    List,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words; the error text repeats the wrong one.
    ChoiceQuoted(&'static [&'static str]),
    /// Feature gates: `Name=true,Other=false`.
    Gates,
    /// A size: digits with an optional suffix such as `MiB`.
    Bytes,
    /// Processor numbers such as `0-3,8`.
    CpuSet,
    /// Anything, read as a switch and thrown away.
    Ignored,
}

/// The unit of a number, for the help text and for error texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number, or not a number.
    Plain,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Years.
    Years,
    /// Bytes.
    Bytes,
    /// Megabytes.
    Megabytes,
}

impl Unit {
    /// The word that the help text adds, if any.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Unit::Plain => None,
            Unit::Milliseconds => Some("milliseconds"),
            Unit::Seconds => Some("seconds"),
            Unit::Years => Some("years"),
            Unit::Bytes => Some("bytes"),
            Unit::Megabytes => Some("megabytes"),
        }
    }
}

/// The bounds of a number, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Smallest.
    pub least: i64,
    /// Largest.
    pub most: i64,
}

impl Limits {
    /// Whatever the kind can hold.
    pub const NONE: Limits = Limits { least: i64::MIN, most: i64::MAX };
}

/// Where a configuration file says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKey {
    /// Under the flag's own name.
    Same,
    /// Under this key of the top level.
    Renamed(&'static str),
    /// Under these nested keys.
    Nested(&'static [&'static str]),
    /// Nowhere.
    Absent,
}

/// What this build does with the setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does what it says.
    Works,
    /// A user could rely on it and this build cannot do it: any other value than the default stops
    /// the start.
    NotYet {
        /// What is missing.
        why: &'static str,
    },
    /// Accepted with a warning: nothing here corresponds to it.
    NoMeaning {
        /// Why nothing corresponds to it.
        why: &'static str,
    },
    /// An older spelling of another row: accepted with a warning.
    OldName {
        /// The flag to use.
        now: &'static str,
    },
    /// An older spelling of a feature gate: accepted with a warning.
    OldGate {
        /// The gate to use.
        gate: &'static str,
    },
    /// An older switch that stands for a value of another row: accepted with a warning.
    OldSwitch {
        /// The flag to use.
        now: &'static str,
        /// The value that `true` stands for.
        value: &'static str,
    },
    /// Ignored since etcd 2: accepted with a warning.
    Ignored,
    /// Not a flag any more: refused like an unknown one, with a hint.
    Gone {
        /// What to use instead.
        instead: &'static str,
    },
}

/// The heading in the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// This member.
    Member,
    /// The cluster it belongs to.
    Clustering,
    /// Certificates and origins.
    Security,
    /// Users and tokens.
    Auth,
    /// Metrics and profiling.
    Monitoring,
    /// Log lines.
    Logging,
    /// Spans.
    Tracing,
    /// Periodic work.
    Features,
    /// Settings that etcd does not have.
    Ours,
    /// Dangerous ones and the process itself.
    Process,
    /// Old spellings.
    Old,
}

impl Section {
    /// Every section in the order of the help text.
    pub const ALL: [Section; 11] = [
        Section::Member,
        Section::Clustering,
        Section::Security,
        Section::Auth,
        Section::Monitoring,
        Section::Logging,
        Section::Tracing,
        Section::Features,
        Section::Ours,
        Section::Process,
        Section::Old,
    ];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Section::Member => "Member",
            Section::Clustering => "Clustering",
            Section::Security => "Security",
            Section::Auth => "Auth",
            Section::Monitoring => "Profiling and Monitoring",
            Section::Logging => "Logging",
            Section::Tracing => "Distributed tracing",
            Section::Features => "Features",
            Section::Ours => "Ringleader",
            Section::Process => "Unsafe and process",
            Section::Old => "Accepted from older versions",
        }
    }
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The flag without dashes.
    pub name: &'static str,
    /// How its text is read.
    pub kind: Kind,
    /// The default, in the same spelling that a user would type.
    pub default: &'static str,
    /// One or two sentences for the help text.
    pub help: &'static str,
    /// Unit of the number.
    pub unit: Unit,
    /// Bounds of the number.
    pub limits: Limits,
    /// Its place in a configuration file.
    pub file_key: FileKey,
    /// Its heading.
    pub section: Section,
    /// What this build does with it.
    pub standing: Standing,
}

impl Row {
    /// The environment variable: `ETCD_` and the name in capitals with underscores.
    pub fn env_name(&self) -> String {
        let mut name = String::from("ETCD_");
        for letter in self.name.chars() {
            name.push(if letter == '-' { '_' } else { letter.to_ascii_uppercase() });
        }
        name
    }

    /// Whether the flag may stand alone, without a value.
    pub fn is_switch(&self) -> bool {
        matches!(self.kind, Kind::Bool | Kind::Ignored)
    }

    /// Whether its value must never reach a log line.
    pub fn is_secret(&self) -> bool {
        matches!(self.name, "discovery-password" | "discovery-user" | "discovery-token")
    }

    /// Whether it is still a flag at all.
    pub fn is_accepted(&self) -> bool {
        !matches!(self.standing, Standing::Gone { .. })
    }
}

/// A working row of the section; the methods below say what is special.
pub(crate) const fn row(
    section: Section,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Row {
    let (unit, limits) = (Unit::Plain, Limits::NONE);
    let (file_key, standing) = (FileKey::Same, Standing::Works);
    Row { name, kind, default, help, unit, limits, file_key, section, standing }
}

impl Row {
    pub(crate) const fn unit(mut self, unit: Unit) -> Row {
        self.unit = unit;
        self
    }

    pub(crate) const fn within(mut self, least: i64, most: i64) -> Row {
        self.limits = Limits { least, most };
        self
    }

    pub(crate) const fn nested(mut self, path: &'static [&'static str]) -> Row {
        self.file_key = FileKey::Nested(path);
        self
    }

    pub(crate) const fn key(mut self, key: &'static str) -> Row {
        self.file_key = FileKey::Renamed(key);
        self
    }

    pub(crate) const fn no_key(mut self) -> Row {
        self.file_key = FileKey::Absent;
        self
    }

    pub(crate) const fn not_yet(mut self, why: &'static str) -> Row {
        self.standing = Standing::NotYet { why };
        self
    }

    pub(crate) const fn no_meaning(mut self, why: &'static str) -> Row {
        self.standing = Standing::NoMeaning { why };
        self
    }
}

/// An old spelling of the row `now`.
pub(crate) const fn old(name: &'static str, kind: Kind, now: &'static str) -> Row {
    let mut row = row(Section::Old, name, kind, "", "");
    row.standing = Standing::OldName { now };
    row
}

/// An old spelling of a feature gate.
pub(crate) const fn old_gate(name: &'static str, gate: &'static str, default: &'static str) -> Row {
    let mut row = row(Section::Old, name, Kind::Bool, default, "");
    row.standing = Standing::OldGate { gate };
    row
}

/// A flag that etcd itself has long ignored.
pub(crate) const fn ignored(name: &'static str) -> Row {
    let mut row = row(Section::Old, name, Kind::Ignored, "", "");
    row.standing = Standing::Ignored;
    row
}

/// A name that is refused, with a hint.
pub(crate) const fn gone(name: &'static str, kind: Kind, instead: &'static str) -> Row {
    let mut row = row(Section::Old, name, kind, "", "");
    row.standing = Standing::Gone { instead };
    row
}

/// A switch that became a value of the row `now`.
pub(crate) const fn old_switch(name: &'static str, now: &'static str, value: &'static str) -> Row {
    let mut row = row(Section::Old, name, Kind::Bool, "false", "");
    row.standing = Standing::OldSwitch { now, value };
    row
}
