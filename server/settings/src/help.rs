//! Owns the texts of `--help` and `--version`, made from the rows.
//! Never decides anything. Invariant: a flag that is accepted is in the help text.

use crate::row::{Kind, Row, Section, Standing};
use crate::table;

/// The version of etcd whose interface this server speaks, and reports where one is asked for.
pub const ETCD_VERSION: &str = "3.7.1";

/// The four lines of `--version`. Scripts read the first; the others keep their names.
pub fn version() -> String {
    format!(
        "etcd Version: {ETCD_VERSION}\n\
         Git SHA: ringleader-{}\n\
         Go Version: none (Rust)\n\
         Go OS/Arch: {}\n",
        env!("CARGO_PKG_VERSION"),
        platform()
    )
}

/// Operating system and processor in Go's words.
pub fn platform() -> String {
    let (os, arch) = (std::env::consts::OS, go_arch(std::env::consts::ARCH));
    format!("{os}/{arch}")
}

/// Go's word for a processor.
pub fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The ways to call the program.
pub fn usage() -> String {
    let ways = [
        ("[flags]", "Run a member."),
        ("--version", "Print the version."),
        ("-h | --help", "Print every flag."),
        ("--config-file FILE", "Read all settings from FILE and ignore flags and environment."),
    ];
    let mut text = String::from("Usage:\n\n");
    for (way, help) in ways {
        text.push_str(&format!("  ringleader {way}\n    {help}\n\n"));
    }
    text
}

/// Every flag under its heading.
pub fn flags() -> String {
    let mut text = String::new();
    for section in Section::ALL {
        text.push_str(&format!("\n{}:\n", section.title()));
        for row in table::rows().filter(|row| row.section == section && row.is_accepted()) {
            text.push_str(&flag(row));
        }
    }
    text
}

fn flag(row: &Row) -> String {
    let default = match row.kind {
        Kind::Bool if row.default.is_empty() => "false",
        _ => row.default,
    };
    let mut text = format!("  --{} '{default}'\n    ", row.name);
    match row.standing {
        Standing::Works => text.push_str(row.help),
        Standing::NotYet { .. } => text.push_str(&format!("{} Not in this build yet.", row.help)),
        Standing::NoMeaning { why } => {
            text.push_str(&format!("{} No effect: {why}.", row.help));
        }
        Standing::OldName { now } => text.push_str(&format!("Old name of --{now}.")),
        Standing::OldGate { gate } => {
            text.push_str(&format!("Old name of --feature-gates={gate}=true."));
        }
        Standing::OldSwitch { now, value } => {
            text.push_str(&format!("Old name of --{now}={value}."));
        }
        Standing::Ignored => text.push_str("Ignored."),
        Standing::Gone { .. } => unreachable!("a refused flag has no help"),
    }
    if let Some(word) = row.unit.word() {
        text.push_str(&format!(" In {word}."));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_flag_is_in_the_help_text_once() {
        let text = flags();
        for row in table::rows() {
            let line = format!("\n  --{} '", row.name);
            assert_eq!(text.matches(&line).count(), usize::from(row.is_accepted()), "{line}");
        }
    }

    #[test]
    fn the_version_has_the_four_lines_that_scripts_read() {
        let text = version();
        let names: Vec<&str> = text.lines().map(|l| l.split_once(": ").unwrap().0).collect();
        assert_eq!(names, ["etcd Version", "Git SHA", "Go Version", "Go OS/Arch"]);
        assert!(text.starts_with("etcd Version: 3.7.1\n"));
    }
}
