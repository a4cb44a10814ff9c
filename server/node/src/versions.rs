//! Owns which version a cluster has: when it is set, raised and lowered, and which members may
//! serve in it. Asks nobody. Invariant: a version is one that every member can work at, and it
//! changes only when all of them have said so.
//!
//! etcd's rules: the version is the smallest major and minor of all members' servers, it rises
//! without being asked for, and it falls by one minor version when somebody enabled a downgrade.

use wire::peer::Version;

/// What one member says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its server's version.
    pub server: Version,
    /// The oldest version that it works with.
    pub oldest: Version,
}

impl Served {
    /// Whether it works in a cluster of this version.
    pub fn works_at(self, cluster: Version) -> bool {
        self.oldest <= cluster && cluster <= of_cluster(self.server)
    }
}

/// What is known of the cluster's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The version, once there is one.
    pub cluster: Option<Version>,
    /// The version that somebody wants the cluster to go back to.
    pub target: Option<Version>,
}

/// How a member stands to the version of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It may serve.
    Fits,
    /// It is older, and the cluster is on its way down to it.
    Awaited,
    /// It is older.
    TooOld,
}

/// A server's version as the version of a cluster: without the patch.
pub fn of_cluster(server: Version) -> Version {
    Version { patch: 0, ..server }
}

/// The version that the cluster should have instead, if any. `said` has one place for each member,
/// empty for those that have said nothing.
pub fn decide(standing: Standing, said: &[Option<Served>]) -> Option<Version> {
    let all: Vec<Served> = said.iter().copied().collect::<Option<Vec<Served>>>()?;
    let least = all.iter().map(|member| of_cluster(member.server)).min()?;
    let Some(cluster) = standing.cluster else { return Some(least) };
    match standing.target {
        Some(target) => {
            let down = is_one_below(target, cluster);
            (down && all.iter().all(|member| member.works_at(target))).then_some(target)
        }
        None => (cluster < least && cluster.major == least.major).then_some(least),
    }
}

/// Whether a downgrade has come to its end: the cluster is there, and every server is of that
/// version.
pub fn is_downgraded(standing: Standing, said: &[Option<Served>]) -> bool {
    let Some(target) = standing.target else { return false };
    let there = |member: &Option<Served>| member.map(|said| of_cluster(said.server));
    standing.cluster == Some(target) && said.iter().all(|member| there(member) == Some(target))
}

/// Whether the target of a downgrade is the one that may be asked for.
pub fn is_one_below(target: Version, cluster: Version) -> bool {
    target.major == cluster.major && target.minor + 1 == cluster.minor
}

/// Whether a server may take part in a cluster.
pub fn fit(server: Version, standing: Standing) -> Fit {
    let own = of_cluster(server);
    match standing.cluster {
        Some(cluster) if own < cluster && standing.target == Some(own) => Fit::Awaited,
        Some(cluster) if own < cluster => Fit::TooOld,
        Some(_) | None => Fit::Fits,
    }
}

#[cfg(test)]
mod tests {
    use base::Prng;

    use super::*;

    fn version(minor: u16, patch: u16) -> Version {
        Version { major: 3, minor, patch }
    }

    fn server(minor: u16, oldest: u16) -> Served {
        Served { server: version(minor, 1), oldest: version(oldest, 0) }
    }

    #[test]
    fn a_version_waits_for_the_word_of_all() {
        let none = Standing { cluster: None, target: None };
        assert_eq!(decide(none, &[Some(server(7, 7)), None]), None);
        assert_eq!(decide(none, &[Some(server(7, 6)), Some(server(6, 6))]), Some(version(6, 0)));
        assert_eq!(decide(none, &[]), None);
        let at_six = Standing { cluster: Some(version(6, 0)), target: None };
        assert_eq!(decide(at_six, &[Some(server(7, 6)), Some(server(6, 6))]), None);
        assert_eq!(decide(at_six, &[Some(server(7, 6)), None]), None);
        assert_eq!(decide(at_six, &[Some(server(7, 6)); 2]), Some(version(7, 0)));
    }

    #[test]
    fn it_falls_only_by_a_wish_that_every_member_can_follow() {
        let wish = Standing { cluster: Some(version(7, 0)), target: Some(version(6, 0)) };
        let idle = Standing { target: None, ..wish };
        let (able, unable) = (Some(server(7, 6)), Some(server(7, 7)));
        assert_eq!(decide(idle, &[able, able]), None);
        assert_eq!(decide(wish, &[able, unable]), None);
        assert_eq!(decide(wish, &[able, None]), None);
        assert_eq!(decide(wish, &[able, Some(server(6, 6))]), Some(version(6, 0)));
        // It has fallen: it does not rise again while the wish stands.
        let fallen = Standing { cluster: Some(version(6, 0)), ..wish };
        assert_eq!(decide(fallen, &[able, able]), None);
        assert!(!is_downgraded(fallen, &[able, Some(server(6, 6))]));
        assert!(!is_downgraded(fallen, &[None, Some(server(6, 6))]));
        assert!(!is_downgraded(wish, &[Some(server(6, 6))]));
        assert!(is_downgraded(fallen, &[Some(server(6, 5)), Some(server(6, 6))]));
    }

    #[test]
    fn an_older_server_may_serve_only_where_it_is_awaited() {
        let standing = |target| Standing { cluster: Some(version(7, 0)), target };
        assert_eq!(fit(version(7, 1), standing(None)), Fit::Fits);
        assert_eq!(fit(version(8, 0), standing(None)), Fit::Fits);
        assert_eq!(fit(version(6, 9), standing(None)), Fit::TooOld);
        assert_eq!(fit(version(6, 9), standing(Some(version(6, 0)))), Fit::Awaited);
        assert_eq!(fit(version(5, 9), standing(Some(version(6, 0)))), Fit::TooOld);
        assert_eq!(fit(version(5, 9), Standing { cluster: None, target: None }), Fit::Fits);
    }

    /// The dumb twin tries every version there is.
    fn twin(standing: Standing, said: &[Option<Served>]) -> Option<Version> {
        let nobody = said.is_empty() || said.iter().any(Option::is_none);
        let good = |minor: &u16| -> bool {
            let at = version(*minor, 0);
            let all_reach = said.iter().flatten().all(|member| member.server.minor >= at.minor);
            let all_reach_more = said.iter().flatten().all(|m| m.server.minor > at.minor);
            match (standing.cluster, standing.target) {
                _ if nobody => false,
                (None, _) => all_reach && !all_reach_more,
                (Some(now), None) => now.minor < at.minor && all_reach && !all_reach_more,
                (Some(now), Some(to)) => {
                    let near = to == at && at.minor + 1 == now.minor;
                    near && all_reach && said.iter().flatten().all(|member| member.oldest <= at)
                }
            }
        };
        (0..10).find(good).map(|minor| version(minor, 0))
    }

    #[test]
    fn every_decision_is_the_dumb_twins_and_one_that_all_can_work_at() {
        let mut dice = Prng::from_seed(77);
        let mut changed = 0;
        for _ in 0..20_000 {
            let any = |dice: &mut Prng| dice.chance(700).then(|| version(dice.below(6) as u16, 0));
            let standing = Standing { cluster: any(&mut dice), target: any(&mut dice) };
            let said: Vec<Option<Served>> = (0..dice.below(5))
                .map(|_| {
                    let minor = dice.below(6) as u16;
                    let oldest = dice.below(u64::from(minor) + 1) as u16;
                    dice.chance(950).then(|| server(minor, oldest))
                })
                .collect();
            let decided = decide(standing, &said);
            assert_eq!(decided, twin(standing, &said), "{standing:?} {said:?}");
            changed += u32::from(decided.is_some());
            if let (Some(to), Some(target)) = (decided, standing.target)
                && standing.cluster.is_some()
            {
                assert_eq!(to, target);
                assert!(said.iter().flatten().all(|member| member.works_at(to)));
            }
        }
        assert!(changed > 2000, "{changed}");
    }
}
