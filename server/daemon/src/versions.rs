//! Owns what all cores may know of the cluster's version, and the lines that tell of it.
//! Never decides it. Invariant: the board shows what the leader machine reported last.

use std::sync::atomic::{AtomicU64, Ordering};

use node::VersionNews;
use wire::peer::Version;

use crate::config::{Identity, VERSION};

/// A word that is no version.
const NONE: u64 = 0;
/// Set in every word that is a version.
const SOME: u64 = 1 << 63;

/// The cluster's version, for pages.
#[derive(Debug, Default)]
pub struct Board {
    cluster: AtomicU64,
    target: AtomicU64,
}

impl Board {
    /// The version of the cluster, once it is known.
    pub fn cluster(&self) -> Option<Version> {
        unpack(self.cluster.load(Ordering::Relaxed))
    }

    /// Whether the cluster is to go back to an older version.
    pub fn is_downgrading(&self) -> bool {
        unpack(self.target.load(Ordering::Relaxed)).is_some()
    }

    /// Takes what the leader machine reports.
    pub fn note(&self, news: &VersionNews) {
        let set = |place: &AtomicU64, version: Option<Version>| {
            place.store(version.map_or(NONE, pack), Ordering::Relaxed);
        };
        match news {
            VersionNews::Found { version, target } => {
                set(&self.cluster, Some(*version));
                set(&self.target, *target);
            }
            VersionNews::Changed { to, .. } => set(&self.cluster, Some(*to)),
            VersionNews::Target { target } => set(&self.target, *target),
            VersionNews::Proposed { .. }
            | VersionNews::Done { .. }
            | VersionNews::Downgraded { .. }
            | VersionNews::Awaited { .. }
            | VersionNews::TooOld { .. } => {}
        }
    }
}

fn pack(version: Version) -> u64 {
    let Version { major, minor, patch } = version;
    SOME | u64::from(major) << 32 | u64::from(minor) << 16 | u64::from(patch)
}

fn unpack(word: u64) -> Option<Version> {
    let part = |shift: u32| (word >> shift & 0xffff) as u16;
    (word != NONE).then(|| Version { major: part(32), minor: part(16), patch: part(0) })
}

/// Major and minor, as etcd's lines name a cluster's version.
pub fn short(version: Version) -> String {
    format!("{}.{}", version.major, version.minor)
}

/// etcd's lines.
pub fn tell(who: Identity, news: &VersionNews) {
    let (cluster, member) = (format!("{:x}", who.cluster_id), format!("{:x}", who.member_id));
    match news {
        VersionNews::Found { version, .. } => {
            journal::info!("set cluster version from store", "cluster-version" => short(*version));
        }
        VersionNews::Proposed { from: None, to } => {
            journal::info!("setting up initial cluster version using v3 API",
                "cluster-version" => short(*to));
        }
        VersionNews::Proposed { from: Some(from), to } => {
            journal::info!("updating cluster version using v3 API", "from" => short(*from),
                "to" => short(*to));
        }
        VersionNews::Changed { from, to } => {
            match from {
                None => journal::info!("set initial cluster version", "cluster-id" => cluster,
                    "local-member-id" => member, "cluster-version" => short(*to)),
                Some(from) => journal::info!("updated cluster version", "cluster-id" => cluster,
                    "local-member-id" => member, "from" => short(*from), "to" => short(*to)),
            }
            journal::info!("enabled capabilities for version", "cluster-version" => short(*to));
        }
        VersionNews::Done { to } => {
            journal::info!("cluster version is updated", "cluster-version" => short(*to));
        }
        VersionNews::Target { target: Some(target) } => {
            journal::info!("The server is ready to downgrade",
                "target-version" => target.to_string(), "server-version" => VERSION);
        }
        VersionNews::Target { target: None } => {}
        VersionNews::Downgraded { to } => {
            journal::info!("the cluster has been downgraded", "cluster-version" => to.to_string());
        }
        VersionNews::Awaited { server, cluster } => {
            journal::info!("cluster is downgrading to target version",
                "target-cluster-version" => short(*server),
                "determined-cluster-version" => short(*cluster),
                "current-server-version" => server.to_string());
        }
        VersionNews::TooOld { server, cluster } => journal::fatal!(
            "invalid downgrade; server version is lower than determined cluster version",
            "current-server-version" => server.to_string(),
            "determined-cluster-version" => short(*cluster)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_board_shows_what_was_reported_last() {
        let board = Board::default();
        assert_eq!((board.cluster(), board.is_downgrading()), (None, false));
        let version = |minor| Version { major: 3, minor, patch: 0 };
        board.note(&VersionNews::Changed { from: None, to: version(7) });
        board.note(&VersionNews::Proposed { from: None, to: version(9) });
        board.note(&VersionNews::Target { target: Some(version(6)) });
        assert_eq!((board.cluster(), board.is_downgrading()), (Some(version(7)), true));
        board.note(&VersionNews::Found { version: version(6), target: None });
        assert_eq!((board.cluster(), board.is_downgrading()), (Some(version(6)), false));
        let odd = Version { major: 65_535, minor: 0, patch: 65_535 };
        assert_eq!((unpack(pack(odd)), short(odd)), (Some(odd), "65535.0".to_owned()));
        assert_eq!(unpack(pack(Version { major: 0, minor: 0, patch: 0 })).unwrap().major, 0);
    }
}
