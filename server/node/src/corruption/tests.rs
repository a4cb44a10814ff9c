//! Comparisons against etcd's rules said out loud, and against a twin that counts by hand.

use base::Prng;

use super::*;

fn hash(hash: u32) -> HashAt {
    HashAt { hash, revision: 10, compact: 5, head: 12 }
}

fn all(said: &[(u64, Said)]) -> BTreeMap<u64, Said> {
    said.iter().cloned().collect()
}

fn same() -> Said {
    Said::Hash(hash(1))
}

fn other() -> Said {
    Said::Hash(hash(2))
}

fn elsewhere() -> Said {
    Said::Hash(HashAt { compact: 7, ..hash(3) })
}

fn silent() -> Said {
    Said::Nothing("timed out".into())
}

#[test]
fn a_member_that_starts_is_stopped_by_another_hash_of_the_same_and_by_nothing_else() {
    let good = all(&[
        (2, same()),
        (3, elsewhere()),
        (4, Said::Behind),
        (5, Said::Compacted),
        (6, silent()),
    ]);
    let verdict = judge_start(hash(1), &good);
    assert_eq!((verdict.blamed.len(), verdict.compared, verdict.findings.len()), (0, 2, 4));
    let verdict = judge_start(hash(1), &all(&[(2, same()), (3, other())]));
    assert_eq!(verdict.blamed, [3]);
}

#[test]
fn the_leader_blames_one_peer_and_never_for_being_late() {
    let own = hash(1);
    let late = all(&[(2, Said::Behind), (3, Said::Compacted), (4, silent()), (5, same())]);
    let verdict = judge_now(1, own, own, &late);
    assert_eq!((verdict.blamed.len(), verdict.compared), (0, 1));
    let two = all(&[(2, same()), (3, other()), (4, other())]);
    let verdict = judge_now(1, own, own, &two);
    assert_eq!((&verdict.blamed[..], verdict.findings.len()), (&[3][..], 2));
    // A peer that has compacted further is late only until the leader has done so too.
    let ahead = all(&[(2, elsewhere())]);
    assert_eq!(judge_now(1, own, HashAt { compact: 7, ..own }, &ahead).blamed, [0; 0]);
    assert_eq!(judge_now(1, own, own, &ahead).blamed, [2]);
    let head = all(&[(2, Said::Hash(HashAt { head: 13, ..own }))]);
    assert_eq!(judge_now(1, own, own, &head).blamed, [2]);
    assert_eq!(judge_now(1, own, HashAt { head: 13, ..own }, &head).blamed, [0; 0]);
}

#[test]
fn a_leader_that_computes_another_hash_of_the_same_blames_itself() {
    let said = all(&[(2, same())]);
    assert_eq!(judge_now(1, hash(1), hash(2), &said).blamed, [1]);
    let moved = HashAt { revision: 11, ..hash(2) };
    assert_eq!(judge_now(1, hash(1), moved, &said).blamed, [0; 0]);
}

#[test]
fn of_a_compaction_the_majority_is_right_and_else_nobody_knows() {
    let judge = |said: &[(u64, Said)]| judge_compaction(1, hash(1), &all(said));
    assert_eq!(judge(&[(2, same()), (3, same())]).1, Older::Settled);
    assert_eq!(judge(&[(2, same()), (3, elsewhere())]).1, Older::Open);
    assert_eq!(judge(&[(2, same()), (3, silent())]).1, Older::Open);
    assert_eq!(judge(&[(2, same()), (3, other())]).0.blamed, [3]);
    // The leader may be the one.
    assert_eq!(judge(&[(2, other()), (3, other())]).0.blamed, [1]);
    assert_eq!(judge(&[(2, other()), (3, silent())]).0.blamed, [0]);
    assert_eq!(judge(&[(2, other())]).0.blamed, [0]);
    assert_eq!(judge(&[(2, same()), (3, other()), (4, other())]).0.blamed, [0]);
    assert_eq!(judge(&[]).1, Older::Settled);
}

/// Counts, for each member, how many have what it has.
fn twin(own: u32, said: &BTreeMap<u64, Said>) -> Vec<u64> {
    let mut have = vec![(1, own)];
    have.extend(said.iter().filter_map(|(peer, said)| match said {
        Said::Hash(at) if at.compact == 5 => Some((*peer, at.hash)),
        Said::Hash(_) | Said::Behind | Said::Compacted | Said::Nothing(_) => None,
    }));
    let members = said.len() + 1;
    let like = |hash: u32| have.iter().filter(|(_, other)| *other == hash).count();
    let right = |hash: u32| 2 * like(hash) > members;
    if have.iter().all(|(_, hash)| *hash == own) {
        return Vec::new();
    }
    if !have.iter().any(|(_, hash)| right(*hash)) {
        return vec![0];
    }
    have.iter().filter(|(_, hash)| !right(*hash)).map(|(member, _)| *member).collect()
}

#[test]
fn a_verdict_on_a_compaction_is_the_dumb_twins() {
    let mut dice = Prng::from_seed(12);
    let mut seen = [0; 3];
    for _ in 0..20_000 {
        let said: BTreeMap<u64, Said> = (2..2 + dice.below(6))
            .map(|peer| {
                let hash = HashAt { hash: 1 + dice.below(3) as u32, ..hash(0) };
                let said = match dice.below(6) {
                    0 => elsewhere(),
                    1 => silent(),
                    _ => Said::Hash(hash),
                };
                (peer, said)
            })
            .collect();
        let (verdict, older) = judge_compaction(1, hash(1), &said);
        let mut blamed = verdict.blamed.clone();
        blamed.sort_unstable();
        assert_eq!(blamed, twin(1, &said), "{said:?}");
        assert!(blamed.is_empty() || older == Older::Settled);
        seen[blamed.len().min(2)] += 1;
    }
    assert!(seen.iter().all(|times| 200 < *times), "{seen:?}");
}

#[test]
fn the_newest_hashes_of_compactions_are_kept() {
    let mut kept = Kept::default();
    for revision in 1..=15 {
        kept.keep(HashAt { revision, ..hash(revision as u32) });
    }
    assert_eq!(kept.of(5), None);
    assert_eq!(kept.of(6).map(|at| at.hash), Some(6));
    let after: Vec<i64> = kept.after(12).iter().map(|at| at.revision).collect();
    assert_eq!(after, [15, 14, 13]);
    assert_eq!(kept.after(15), []);
}
