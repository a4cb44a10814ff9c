//! Owns the choice of a cause of its own for each effect, where several may explain one.
//! Invariant: if there is a choice it is found: paths that change earlier choices are tried.

use std::collections::{BTreeMap, BTreeSet};

/// Chooses from each list one that nobody else has; or says for which list that cannot be.
pub fn distinct<T: Ord + Copy>(lists: &[Vec<T>]) -> Result<Vec<T>, usize> {
    let mut owners: BTreeMap<T, usize> = BTreeMap::new();
    for at in 0..lists.len() {
        if !place(lists, at, &mut owners, &mut BTreeSet::new()) {
            return Err(at);
        }
    }
    let mut chosen: Vec<(usize, T)> = owners.into_iter().map(|(one, at)| (at, one)).collect();
    chosen.sort_unstable_by_key(|(at, _)| *at);
    Ok(chosen.into_iter().map(|(_, one)| one).collect())
}

fn place<T: Ord + Copy>(
    lists: &[Vec<T>],
    at: usize,
    owners: &mut BTreeMap<T, usize>,
    tried: &mut BTreeSet<T>,
) -> bool {
    for one in &lists[at] {
        if !tried.insert(*one) {
            continue;
        }
        let free = match owners.get(one).copied() {
            None => true,
            Some(owner) => place(lists, owner, owners, tried),
        };
        if free {
            owners.insert(*one, at);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_choices_make_room_for_later_ones() {
        assert_eq!(distinct(&[vec![1, 2], vec![1]]), Ok(vec![2, 1]));
        assert_eq!(distinct(&[vec![1, 2], vec![2, 3], vec![1], vec![3, 4]]), Ok(vec![2, 3, 1, 4]));
        assert_eq!(distinct(&[vec![1], vec![2], vec![1, 2]]), Err(2));
    }
}
