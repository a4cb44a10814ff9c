//! Owns the rows about metrics, log lines, spans and periodic work.
//! Never writes a line. Invariant: as in the table.

use crate::row::{Kind, Row, Section, Unit, row};

const M: Section = Section::Monitoring;
const L: Section = Section::Logging;
const T: Section = Section::Tracing;
const F: Section = Section::Features;
const SPANS: &str = "distributed tracing";
const ROTATION: &str = "rotation of log files (send them to stderr, or rotate by copy)";
const ROTATION_DEFAULT: &str = concat!(
    "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, ",
    "\"localtime\": false, \"compress\": false}"
);
const WHOLE_SEGMENTS: &str = "compaction drops whole segments and needs no batches";

/// The rows.
pub(super) const ROWS: &[Row] = &[
    row(M, "enable-pprof", Kind::Bool, "false", "Serve profiles under /debug/pprof.")
        .not_yet("profiles over HTTP"),
    row(M, "metrics", Kind::Text, "basic", "Detail of the metrics: basic or extensive."),
    row(M, "listen-metrics-urls", Kind::Urls, "", "More listeners, for metrics and health alone."),
    row(L, "logger", Kind::Text, "zap", "Kind of logger; only zap's shape is known."),
    row(
        L,
        "log-outputs",
        Kind::Set,
        "default",
        "Where lines go: default, stderr, stdout, systemd/journal, or files.",
    ),
    row(L, "log-level", Kind::Text, "info", "Least level: debug, info, warn, error, panic, fatal."),
    row(L, "log-format", Kind::Text, "json", "Shape of a line: json or console."),
    row(L, "enable-log-rotation", Kind::Bool, "false", "Rotate the one log file.")
        .not_yet(ROTATION),
    row(L, "log-rotation-config-json", Kind::Text, ROTATION_DEFAULT, "How to rotate.")
        .not_yet(ROTATION),
    row(
        L,
        "warning-unary-request-duration",
        Kind::Span,
        "300ms",
        "Requests slower than this are logged.",
    ),
    row(T, "enable-distributed-tracing", Kind::Bool, "false", "Send spans to a collector.")
        .not_yet(SPANS),
    row(T, "distributed-tracing-address", Kind::Text, "localhost:4317", "The collector.")
        .not_yet(SPANS),
    row(T, "distributed-tracing-service-name", Kind::Text, "etcd", "Service name of the spans.")
        .not_yet(SPANS),
    row(T, "distributed-tracing-instance-id", Kind::Text, "", "Instance of the spans.")
        .not_yet(SPANS),
    row(T, "distributed-tracing-sampling-rate", Kind::Signed, "0", "Samples in a million.")
        .within(0, 1_000_000)
        .not_yet(SPANS),
    row(F, "corrupt-check-time", Kind::Span, "0s", "Gap of comparing members' data (0: never)."),
    row(F, "compact-hash-check-time", Kind::Span, "1m", "Gap of comparing compaction hashes."),
    row(F, "compaction-batch-limit", Kind::Signed, "0", "Revisions in one batch of compaction.")
        .no_meaning(WHOLE_SEGMENTS),
    row(F, "compaction-sleep-interval", Kind::Span, "0s", "Pause between two such batches.")
        .no_meaning(WHOLE_SEGMENTS),
    row(
        F,
        "watch-progress-notify-interval",
        Kind::Span,
        "0s",
        "Gap of progress notes on quiet watches (0: 10m).",
    ),
    row(F, "warning-apply-duration", Kind::Span, "100ms", "Applies slower than this are logged."),
    row(
        F,
        "bootstrap-defrag-threshold-megabytes",
        Kind::Unsigned,
        "0",
        "Space that makes a defragmentation at start worth while.",
    )
    .unit(Unit::Megabytes)
    .no_meaning("space is given back without defragmentation"),
    row(F, "downgrade-check-time", Kind::Span, "5s", "Gap of looking for the end of a downgrade."),
];
