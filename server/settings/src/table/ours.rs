//! Owns the rows that etcd does not have, and those of the process itself.
//! Never asks how many processors there are. Invariant: as in the table.

use crate::row::{Kind, Row, Section, Unit, row};

const O: Section = Section::Ours;
const P: Section = Section::Process;

/// The rows.
pub(super) const ROWS: &[Row] = &[
    row(O, "cores", Kind::Unsigned, "0", "Cores to run on, one thread each (0: all available).")
        .within(0, 1024),
    row(O, "cpu-set", Kind::CpuSet, "", "Processors to pin the cores to, such as 0-3,8."),
    row(O, "slices", Kind::Unsigned, "0", "Partitions of a new data directory (0: as cores).")
        .within(0, 1024),
    row(O, "cache-size", Kind::Bytes, "256MiB", "Memory for pages of the store, filled as needed.")
        .unit(Unit::Bytes)
        .within(4 << 20, 1 << 50),
    row(O, "checkpoint-interval", Kind::Span, "30s", "Longest time between two checkpoints.")
        .within(100_000_000, 86_400_000_000_000),
    row(
        O,
        "checkpoint-log-bytes",
        Kind::Bytes,
        "256MiB",
        "Log since the last checkpoint that makes the next one due.",
    )
    .unit(Unit::Bytes)
    .within(1 << 20, 1 << 40),
    row(
        P,
        "force-new-cluster",
        Kind::Bool,
        "false",
        "Go on alone with the data of a cluster whose majority is lost: all others are removed.",
    ),
    row(P, "unsafe-no-fsync", Kind::Bool, "false", "Do not wait for the disk.")
        .no_meaning("every acknowledged write is on disk here, always"),
    row(P, "config-file", Kind::Text, "", "Read all settings from this file, and nothing else.")
        .no_key(),
    row(P, "version", Kind::Bool, "false", "Print the version and stop.").no_key(),
];
