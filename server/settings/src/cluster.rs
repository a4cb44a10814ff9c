//! Owns the founding members and the identifiers that follow from them.
//! Never resolves a name and never counts votes. Invariant: identifiers are a function of peer
//! URLs and token alone, so every member computes the same ones.

use sha1::{Digest, Sha1};

use crate::url::{self, Url};

/// One founding member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundingMember {
    /// Its name.
    pub name: String,
    /// Its peer URLs, sorted.
    pub peer_urls: Vec<Url>,
    /// Its identifier.
    pub id: u64,
}

/// A cluster before its first entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// Every member, by rising identifier.
    pub members: Vec<FoundingMember>,
    /// Identifier of this member.
    pub local_id: u64,
    /// Identifier of the cluster.
    pub cluster_id: u64,
}

/// The identifier of a member: the first 8 bytes of SHA-1 over its sorted peer URLs, the token, and
/// the Unix seconds in decimal if it was added to a running cluster.
pub fn member_id(peer_urls: &[String], token: &str, added_unix_s: Option<u64>) -> u64 {
    let mut sorted: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let mut bytes = sorted.concat();
    bytes.push_str(token);
    if let Some(seconds) = added_unix_s {
        bytes.push_str(&seconds.to_string());
    }
    first_8_bytes(bytes.as_bytes())
}

/// The identifier of a cluster: the first 8 bytes of SHA-1 over its members' identifiers, rising.
pub fn cluster_id(member_ids: &[u64]) -> u64 {
    let mut sorted = member_ids.to_vec();
    sorted.sort_unstable();
    let bytes: Vec<u8> = sorted.into_iter().flat_map(u64::to_be_bytes).collect();
    first_8_bytes(&bytes)
}

fn first_8_bytes(bytes: &[u8]) -> u64 {
    let hash = Sha1::digest(bytes);
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first)
}

/// What is wrong with the founding members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundingError {
    /// A URL does not parse.
    BadUrl(String),
    /// This member is not among them.
    NoLocalName(String),
    /// A URL stands there twice; all that stands there, as `name=url,name=url`.
    DuplicateUrl(String),
    /// Two members have the same identifier.
    Twins(u64),
    /// The list says more of this member than it advertises.
    NotAdvertised {
        /// What is missing, as `name=url,name=url`.
        listed: String,
        /// What this member advertises.
        advertised: String,
        /// How they differ.
        why: String,
    },
    /// This member advertises more than the list says of it.
    NotListed {
        /// What is missing.
        extra: String,
        /// All that it advertises, as `name=url,name=url` (etcd shows this in place of the list).
        advertised: String,
    },
}

impl std::fmt::Display for FoundingError {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FoundingError::BadUrl(why) => write!(to, "error setting up initial cluster: {why}"),
            FoundingError::NoLocalName(name) => {
                write!(to, "couldn't find local name {name:?} in the initial cluster configuration")
            }
            FoundingError::DuplicateUrl(all) => {
                write!(to, "initial cluster {all} has duplicate url")
            }
            FoundingError::Twins(id) => {
                write!(to, "error setting up initial cluster: two members with ID {id:x}")
            }
            FoundingError::NotAdvertised { listed, advertised, why } => write!(
                to,
                "--initial-cluster has {listed} but missing from \
                 --initial-advertise-peer-urls={advertised} ({why})"
            ),
            FoundingError::NotListed { extra, advertised } => write!(
                to,
                "--initial-advertise-peer-urls has {extra} but missing from \
                 --initial-cluster={advertised}"
            ),
        }
    }
}

/// The members of a new cluster; what this one advertises must be what the list says of it.
pub fn found(
    initial: &str,
    token: &str,
    name: &str,
    advertised: &[Url],
) -> Result<Founding, FoundingError> {
    let members = read(initial, token)?;
    compare(local(&members, name)?, advertised)?;
    name_all(members, name)
}

/// The members of a cluster that exists, before it was asked for their identifiers.
pub fn expect(initial: &str, token: &str, name: &str) -> Result<Founding, FoundingError> {
    name_all(read(initial, token)?, name)
}

/// Reads `name=peerURL,name=peerURL`; the members by rising identifier.
fn read(initial: &str, token: &str) -> Result<Vec<FoundingMember>, FoundingError> {
    let mut members: Vec<FoundingMember> = Vec::new();
    for part in initial.split(',').filter(|part| !part.is_empty()) {
        let (owner, text) = part.split_once('=').unwrap_or((part, ""));
        let urls = url::parse_list(text).map_err(FoundingError::BadUrl)?;
        match members.iter_mut().find(|member| member.name == owner) {
            Some(member) => member.peer_urls.extend(urls),
            None => {
                members.push(FoundingMember { name: owner.into(), peer_urls: urls, id: 0 });
            }
        }
    }
    for member in &mut members {
        url::sort(&mut member.peer_urls);
        member.id = member_id(&texts(&member.peer_urls), token, None);
    }
    members.sort_by_key(|member| member.id);
    Ok(members)
}

fn local<'a>(
    members: &'a [FoundingMember],
    name: &str,
) -> Result<&'a FoundingMember, FoundingError> {
    let local = members.iter().find(|member| member.name == name);
    local.ok_or_else(|| FoundingError::NoLocalName(name.into()))
}

fn name_all(members: Vec<FoundingMember>, name: &str) -> Result<Founding, FoundingError> {
    let local_id = local(&members, name)?.id;
    let mut urls: Vec<&Url> = members.iter().flat_map(|member| &member.peer_urls).collect();
    urls.sort_by_key(|url| url.to_string());
    if urls.windows(2).any(|pair| pair[0] == pair[1]) {
        let mut all: Vec<String> = members.iter().flat_map(named).collect();
        all.sort_unstable();
        return Err(FoundingError::DuplicateUrl(all.join(",")));
    }
    if let Some(pair) = members.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(FoundingError::Twins(pair[0].id));
    }
    let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
    Ok(Founding { local_id, cluster_id: cluster_id(&ids), members })
}

fn named(member: &FoundingMember) -> impl Iterator<Item = String> + '_ {
    member.peer_urls.iter().map(|url| format!("{}={url}", member.name))
}

/// The list and the advertised URLs must say the same of this member. Names are not resolved here:
/// texts are compared.
fn compare(local: &FoundingMember, advertised: &[Url]) -> Result<(), FoundingError> {
    let (listed, advertised) = (texts(&local.peer_urls), texts(advertised));
    if listed == advertised {
        return Ok(());
    }
    let named = |urls: &[String]| {
        let parts: Vec<String> = urls.iter().map(|url| format!("{}={url}", local.name)).collect();
        parts.join(",")
    };
    let only_in = |urls: &[String], others: &[String]| -> Vec<String> {
        urls.iter().filter(|url| !others.contains(url)).cloned().collect()
    };
    let (not_advertised, not_listed) =
        (only_in(&listed, &advertised), only_in(&advertised, &listed));
    let Some(first_listed) = not_advertised.first() else {
        let (extra, advertised) = (not_listed.join(","), named(&advertised));
        return Err(FoundingError::NotListed { extra, advertised });
    };
    let why = match not_listed.first() {
        Some(said) if listed.len() == advertised.len() => not_equal(said, first_listed),
        Some(_) | None => format!("len({}) != len({})", quoted(&advertised), quoted(&listed)),
    };
    let (listed, advertised) = (named(&not_advertised), advertised.join(","));
    Err(FoundingError::NotAdvertised { listed, advertised, why })
}

/// How two lists of URLs differ, if they do, in etcd's words.
pub(crate) fn difference(one: &[String], other: &[String]) -> Option<String> {
    if one.len() != other.len() {
        return Some(format!("len({}) != len({})", quoted(one), quoted(other)));
    }
    let pair = one.iter().zip(other).find(|(one, other)| one != other)?;
    Some(not_equal(pair.0, pair.1))
}

fn not_equal(one: &str, other: &str) -> String {
    format!("{one:?}(resolved from {one:?}) != {other:?}(resolved from {other:?})")
}

/// A list as Go shows it: `["a" "b"]`.
fn quoted(urls: &[String]) -> String {
    let parts: Vec<String> = urls.iter().map(|url| format!("{url:?}")).collect();
    format!("[{}]", parts.join(" "))
}

pub(crate) fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(Url::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "http://localhost:2380";

    fn urls(text: &str) -> Vec<Url> {
        url::parse_list(text).unwrap()
    }

    #[test]
    fn the_default_member_has_the_identifiers_that_everybody_knows() {
        let initial = format!("default={PEER}");
        let founding = found(&initial, "etcd-cluster", "default", &urls(PEER)).unwrap();
        assert_eq!(founding.local_id, 0x8e9e_05c5_2164_694d);
        assert_eq!(founding.cluster_id, 0xcdf8_1819_4e3a_8c32);
        assert_eq!(founding.members.len(), 1);
    }

    #[test]
    fn a_name_may_occur_repeatedly_and_order_does_not_matter() {
        let one = found(
            "a=http://1.1.1.1:1,a=http://1.1.1.1:2,b=http://1.1.1.1:3",
            "t",
            "a",
            &urls("http://1.1.1.1:2,http://1.1.1.1:1"),
        );
        let two = found(
            "b=http://1.1.1.1:3,a=http://1.1.1.1:2,a=http://1.1.1.1:1",
            "t",
            "a",
            &urls("http://1.1.1.1:1,http://1.1.1.1:2"),
        );
        assert_eq!(one, two);
        assert_eq!(one.unwrap().members.len(), 2);
    }

    #[test]
    fn nothing_between_commas_is_nobody() {
        let error = expect("", "tk", "x").unwrap_err();
        assert_eq!(error, FoundingError::NoLocalName("x".into()));
        let one = expect(",x=http://a:1,,", "tk", "x").unwrap();
        assert_eq!(one.members.len(), 1);
    }

    #[test]
    fn a_member_outside_of_the_list_is_told_so() {
        let error = |initial: &str, name: &str, advertised: &str| {
            found(initial, "t", name, &urls(advertised)).unwrap_err().to_string()
        };
        assert_eq!(
            error("a=http://b:1", "default", PEER),
            "couldn't find local name \"default\" in the initial cluster configuration"
        );
        assert_eq!(
            error("a", "b", PEER),
            "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: "
        );
        assert_eq!(
            error("default=http://127.0.0.1:9999", "default", PEER),
            "--initial-cluster has default=http://127.0.0.1:9999 but missing from \
             --initial-advertise-peer-urls=http://localhost:2380 \
             (\"http://localhost:2380\"(resolved from \"http://localhost:2380\") != \
             \"http://127.0.0.1:9999\"(resolved from \"http://127.0.0.1:9999\"))"
        );
        assert_eq!(
            error(&format!("b={PEER},default={PEER}"), "default", PEER),
            "initial cluster b=http://localhost:2380,default=http://localhost:2380 has duplicate \
             url"
        );
        let two = "http://localhost:2380,http://localhost:2381";
        assert_eq!(
            error(&format!("default={PEER},default=http://localhost:2381"), "default", PEER),
            "--initial-cluster has default=http://localhost:2381 but missing from \
             --initial-advertise-peer-urls=http://localhost:2380 \
             (len([\"http://localhost:2380\"]) != \
             len([\"http://localhost:2380\" \"http://localhost:2381\"]))"
        );
        assert_eq!(
            error(&format!("default={PEER}"), "default", two),
            "--initial-advertise-peer-urls has http://localhost:2381 but missing from \
             --initial-cluster=default=http://localhost:2380,default=http://localhost:2381"
        );
    }

    #[test]
    fn a_member_added_later_has_another_identifier() {
        let peers = [PEER.to_string()];
        assert_ne!(member_id(&peers, "t", None), member_id(&peers, "t", Some(1)));
    }
}
