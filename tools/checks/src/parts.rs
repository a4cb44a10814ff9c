//! Owns the map of the house: which part may use which, and which must be pure.
//! Never looks at code. Invariant: a part of the engine, the network or the server has a row.

/// Whether a part may touch the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purity {
    /// Bytes and events in, bytes and effects out.
    Pure,
    /// Does effects.
    Shell,
}

/// One part of the house.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Its folder.
    pub folder: &'static str,
    /// Its package.
    pub package: &'static str,
    /// Whether it is pure.
    pub purity: Purity,
    /// Parts of ours that it may use.
    pub may_use: &'static [&'static str],
    /// Crates of others that only the named parts may use, and this one may.
    pub licensed: &'static [&'static str],
}

const BASE: &[&str] = &["ringleader-base"];
const FORMATS: &[&str] = &[
    "ringleader-base",
    "ringleader-log",
    "ringleader-tree",
    "ringleader-history",
    "ringleader-wire",
];
const KEEPERS: &[&str] = &[
    "ringleader-base",
    "ringleader-log",
    "ringleader-tree",
    "ringleader-history",
    "ringleader-wire",
    "ringleader-slice",
    "ringleader-watch",
];
const MINDS: &[&str] = &[
    "ringleader-base",
    "ringleader-log",
    "ringleader-tree",
    "ringleader-history",
    "ringleader-wire",
    "ringleader-slice",
    "ringleader-watch",
    "ringleader-state",
    "ringleader-consensus",
];
const MEASURE: &[&str] = &["ringleader-base", "ringleader-wire"];
const DISK: &[&str] = &[
    "ringleader-base",
    "ringleader-log",
    "ringleader-tree",
    "ringleader-history",
    "ringleader-slice",
    "ringleader-journal",
];
const SOCK: &[&str] = &["ringleader-base", "ringleader-wire", "ringleader-journal"];
const DAEMON: &[&str] = &[
    "ringleader-base",
    "ringleader-log",
    "ringleader-tree",
    "ringleader-history",
    "ringleader-wire",
    "ringleader-slice",
    "ringleader-watch",
    "ringleader-state",
    "ringleader-consensus",
    "ringleader-node",
    "ringleader-disk",
    "ringleader-sock",
    "ringleader-journal",
    "ringleader-settings",
];

/// Crates that only licensed parts may use: the runtime and the consensus library.
pub const GUARDED: &[&str] = &["glommio", "raft"];

const fn pure(
    folder: &'static str,
    package: &'static str,
    may_use: &'static [&'static str],
) -> Part {
    Part { folder, package, purity: Purity::Pure, may_use, licensed: &[] }
}

const fn shell(
    folder: &'static str,
    package: &'static str,
    may_use: &'static [&'static str],
    licensed: &'static [&'static str],
) -> Part {
    Part { folder, package, purity: Purity::Shell, may_use, licensed }
}

/// The map. Arrows point downward: each row uses rows above it alone.
pub const PARTS: &[Part] = &[
    pure("engine/base", "ringleader-base", &[]),
    pure("engine/log", "ringleader-log", BASE),
    pure("engine/tree", "ringleader-tree", BASE),
    pure("engine/history", "ringleader-history", BASE),
    pure("net/wire", "ringleader-wire", BASE),
    pure("engine/slice", "ringleader-slice", FORMATS),
    pure("engine/watch", "ringleader-watch", FORMATS),
    pure("engine/state", "ringleader-state", KEEPERS),
    Part { licensed: &["raft"], ..pure("engine/consensus", "ringleader-consensus", KEEPERS) },
    pure("bench/measure", "ringleader-measure", MEASURE),
    pure("server/node", "ringleader-node", MINDS),
    pure("server/settings", "ringleader-settings", BASE),
    shell("server/journal", "ringleader-journal", BASE, &[]),
    shell("engine/disk", "ringleader-disk", DISK, &["glommio"]),
    shell("net/sock", "ringleader-sock", SOCK, &["glommio"]),
    shell("server/daemon", "ringleader-server", DAEMON, &["glommio"]),
];

/// Folders whose packages may use whatever they need, and that nobody above may use.
pub const WORKSHOPS: &[&str] = &["tools/", "bench"];

/// The row of a folder or of a file in it.
pub fn part_of(path: &str) -> Option<&'static Part> {
    PARTS.iter().find(|part| {
        path.strip_prefix(part.folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_of_the_map_point_downward() {
        for (at, part) in PARTS.iter().enumerate() {
            for used in part.may_use {
                let below = PARTS[..at].iter().any(|lower| lower.package == *used);
                assert!(below, "{} uses {used}, which is not above it in the map", part.package);
            }
        }
    }

    #[test]
    fn a_pure_part_uses_pure_parts_alone() {
        for part in PARTS.iter().filter(|part| part.purity == Purity::Pure) {
            for used in part.may_use {
                let row = PARTS.iter().find(|row| row.package == *used).unwrap();
                assert_eq!(row.purity, Purity::Pure, "{} uses {used}", part.package);
            }
        }
    }
}
