//! Owns the rows about the cluster: members, discovery, compaction and reconfiguration.
//! Never about listeners. Invariant: as in the table.

use crate::row::{Kind, Row, Section, row};

const S: Section = Section::Clustering;
const DISCOVERY: &str = "discovery";

/// The words of `--v2-deprecation`, mildest first.
const V2_STAGES: &[&str] =
    &["not-yet", "write-only", "write-only-skip-check", "write-only-drop-data", "gone"];

/// A flag of the discovery service, which has its keys under `discovery-config`.
const fn discovery(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    path: &'static [&'static str],
    help: &'static str,
) -> Row {
    row(S, name, kind, default, help).nested(path).not_yet(DISCOVERY)
}

/// The rows.
pub(super) const ROWS: &[Row] = &[
    row(
        S,
        "initial-advertise-peer-urls",
        Kind::Urls,
        "http://localhost:2380",
        "Peer URLs of this member, as the others reach it.",
    ),
    row(
        S,
        "initial-cluster",
        Kind::Text,
        "default=http://localhost:2380",
        "Every member of a new cluster as name=peerURL, comma separated.",
    ),
    row(
        S,
        "initial-cluster-state",
        Kind::Choice(&["new", "existing"]),
        "new",
        "Whether to found a cluster (new) or to join one (existing).",
    ),
    row(
        S,
        "initial-cluster-token",
        Kind::Text,
        "etcd-cluster",
        "Word that tells this cluster's identifiers from another's.",
    ),
    row(
        S,
        "advertise-client-urls",
        Kind::Urls,
        "http://localhost:2379",
        "Client URLs of this member, as clients reach it.",
    ),
    row(S, "discovery", Kind::Text, "", "URL of a v2 discovery service.").not_yet(DISCOVERY),
    row(S, "discovery-proxy", Kind::Text, "", "HTTP proxy on the way to it.").not_yet(DISCOVERY),
    row(
        S,
        "discovery-fallback",
        Kind::Choice(&["exit", "proxy"]),
        "exit",
        "What to do when the discovered cluster is full.",
    ),
    row(S, "discovery-srv", Kind::Text, "", "DNS domain that names the members.")
        .not_yet(DISCOVERY),
    row(S, "discovery-srv-name", Kind::Text, "", "Suffix of the DNS service names.")
        .not_yet(DISCOVERY),
    discovery(
        "discovery-token",
        Kind::Text,
        "",
        &["discovery-config", "token"],
        "Token of the cluster at the discovery service.",
    ),
    discovery(
        "discovery-endpoints",
        Kind::Set,
        "",
        &["discovery-config", "client", "endpoints"],
        "Endpoints of the discovery service.",
    ),
    discovery(
        "discovery-dial-timeout",
        Kind::Span,
        "2s",
        &["discovery-config", "client", "dial-timeout"],
        "Time to connect to the discovery service.",
    ),
    discovery(
        "discovery-request-timeout",
        Kind::Span,
        "5s",
        &["discovery-config", "client", "request-timeout"],
        "Time for a request to the discovery service.",
    ),
    discovery(
        "discovery-keepalive-time",
        Kind::Span,
        "2s",
        &["discovery-config", "client", "keepalive-time"],
        "Gap of pings to the discovery service.",
    ),
    discovery(
        "discovery-keepalive-timeout",
        Kind::Span,
        "6s",
        &["discovery-config", "client", "keepalive-timeout"],
        "Wait for an answer to such a ping.",
    ),
    discovery(
        "discovery-insecure-transport",
        Kind::Bool,
        "true",
        &["discovery-config", "client", "secure", "insecure-transport"],
        "Reach the discovery service without TLS.",
    ),
    discovery(
        "discovery-insecure-skip-tls-verify",
        Kind::Bool,
        "false",
        &["discovery-config", "client", "secure", "insecure-skip-tls-verify"],
        "Trust any certificate of the discovery service.",
    ),
    discovery(
        "discovery-cert",
        Kind::Text,
        "",
        &["discovery-config", "client", "secure", "cert"],
        "Client certificate for the discovery service.",
    ),
    discovery(
        "discovery-key",
        Kind::Text,
        "",
        &["discovery-config", "client", "secure", "key"],
        "Its key.",
    ),
    discovery(
        "discovery-cacert",
        Kind::Text,
        "",
        &["discovery-config", "client", "secure", "cacert"],
        "Authority of the discovery service.",
    ),
    discovery(
        "discovery-user",
        Kind::Text,
        "",
        &["discovery-config", "client", "auth", "username"],
        "User at the discovery service.",
    ),
    discovery(
        "discovery-password",
        Kind::Text,
        "",
        &["discovery-config", "client", "auth", "password"],
        "Password at the discovery service.",
    ),
    row(
        S,
        "strict-reconfig-check",
        Kind::Bool,
        "true",
        "Refuse member changes that would lose the quorum.",
    ),
    row(S, "pre-vote", Kind::Bool, "true", "Ask before an election whether it could be won."),
    row(
        S,
        "auto-compaction-mode",
        Kind::Text,
        "periodic",
        "What retention counts: periodic (time) or revision.",
    ),
    row(
        S,
        "auto-compaction-retention",
        Kind::Text,
        "0",
        "History to keep: a duration or hours, or a number of revisions (0: all).",
    ),
    row(S, "enable-v2", Kind::Bool, "false", "Serve the v2 API.").not_yet("the v2 API"),
    row(
        S,
        "v2-deprecation",
        Kind::ChoiceQuoted(V2_STAGES),
        "write-only",
        "How far the v2 store is taken away.",
    )
    .no_meaning("members are not kept in a v2 store"),
    row(S, "max-learners", Kind::Signed, "1", "Most learners in the cluster.").within(1, 1 << 16),
];
