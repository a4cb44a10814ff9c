//! Owns the rows about certificates, origins and users.
//! Never reads a certificate. Invariant: as in the table.

use crate::row::{Kind, Row, Section, Unit, row};

const S: Section = Section::Security;
const A: Section = Section::Auth;
const TLS: &str = "TLS";
const NO_TLS: &str = "this build has no TLS";
const NO_AUTH: &str = "this build has no users and tokens";

/// A row of the client listeners' certificates.
const fn client(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    path: &'static [&'static str],
    help: &'static str,
) -> Row {
    row(S, name, kind, default, help).nested(path).not_yet(TLS)
}

/// The rows.
pub(super) const ROWS: &[Row] = &[
    client(
        "cert-file",
        Kind::Text,
        "",
        &["client-transport-security", "cert-file"],
        "Certificate of the client listeners.",
    ),
    client(
        "key-file",
        Kind::Text,
        "",
        &["client-transport-security", "key-file"],
        "Key of the client listeners.",
    ),
    client(
        "client-cert-auth",
        Kind::Bool,
        "false",
        &["client-transport-security", "client-cert-auth"],
        "Demand and verify certificates of clients.",
    ),
    client(
        "client-cert-file",
        Kind::Text,
        "",
        &["client-transport-security", "client-cert-file"],
        "Certificate with which this server dials clients' URLs.",
    ),
    client(
        "client-key-file",
        Kind::Text,
        "",
        &["client-transport-security", "client-key-file"],
        "Its key.",
    ),
    row(S, "client-crl-file", Kind::Text, "", "Revoked client certificates.").no_key().not_yet(TLS),
    client(
        "client-cert-allowed-hostname",
        Kind::List,
        "",
        &["client-transport-security", "allowed-hostname"],
        "Names of which a client certificate must carry one.",
    ),
    client(
        "trusted-ca-file",
        Kind::Text,
        "",
        &["client-transport-security", "trusted-ca-file"],
        "Authority of client certificates.",
    ),
    client(
        "auto-tls",
        Kind::Bool,
        "false",
        &["client-transport-security", "auto-tls"],
        "Make a certificate for the client listeners.",
    ),
    client(
        "peer-cert-file",
        Kind::Text,
        "",
        &["peer-transport-security", "cert-file"],
        "Certificate of the peer listeners.",
    ),
    client(
        "peer-key-file",
        Kind::Text,
        "",
        &["peer-transport-security", "key-file"],
        "Key of the peer listeners.",
    ),
    client(
        "peer-client-cert-auth",
        Kind::Bool,
        "false",
        &["peer-transport-security", "client-cert-auth"],
        "Demand and verify certificates of peers.",
    ),
    client(
        "peer-client-cert-file",
        Kind::Text,
        "",
        &["peer-transport-security", "client-cert-file"],
        "Certificate with which this server dials peers.",
    ),
    client(
        "peer-client-key-file",
        Kind::Text,
        "",
        &["peer-transport-security", "client-key-file"],
        "Its key.",
    ),
    client(
        "peer-trusted-ca-file",
        Kind::Text,
        "",
        &["peer-transport-security", "trusted-ca-file"],
        "Authority of peer certificates.",
    ),
    client(
        "peer-cert-allowed-cn",
        Kind::List,
        "",
        &["peer-transport-security", "allowed-cn"],
        "Common names of which a peer certificate must carry one.",
    ),
    client(
        "peer-cert-allowed-hostname",
        Kind::List,
        "",
        &["peer-transport-security", "allowed-hostname"],
        "Names of which a peer certificate must carry one.",
    ),
    client(
        "peer-auto-tls",
        Kind::Bool,
        "false",
        &["peer-transport-security", "auto-tls"],
        "Make a certificate for the peer listeners.",
    ),
    row(S, "peer-crl-file", Kind::Text, "", "Revoked peer certificates.").no_key().not_yet(TLS),
    client(
        "peer-skip-client-san-verification",
        Kind::Bool,
        "false",
        &["peer-transport-security", "skip-client-san-verification"],
        "Do not compare a peer's address with its certificate.",
    ),
    row(S, "self-signed-cert-validity", Kind::Unsigned, "1", "Life of made certificates.")
        .unit(Unit::Years)
        .no_meaning(NO_TLS),
    row(S, "cipher-suites", Kind::List, "", "Suites to allow below TLS 1.3.").not_yet(TLS),
    row(S, "tls-min-version", Kind::Text, "TLS1.2", "Oldest TLS version.").not_yet(TLS),
    row(S, "tls-max-version", Kind::Text, "", "Newest TLS version; empty: the newest known.")
        .not_yet(TLS),
    row(S, "cors", Kind::Origins, "*", "Origins that browsers may come from."),
    row(S, "host-whitelist", Kind::Set, "*", "Host names that plain HTTP requests may name."),
    row(A, "auth-token", Kind::Text, "simple", "Kind of tokens: simple, or jwt with options.")
        .not_yet("any kind of tokens but simple"),
    row(A, "bcrypt-cost", Kind::Unsigned, "10", "Cost of hashing a password (4 to 31).")
        .no_meaning(NO_AUTH),
    row(A, "auth-token-ttl", Kind::Unsigned, "300", "Life of an unused simple token.")
        .unit(Unit::Seconds)
        .no_meaning(NO_AUTH),
];
