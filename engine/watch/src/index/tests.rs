//! The interval index against a list that is searched from end to end.

use base::Prng;

use super::*;

fn random_span(dice: &mut Prng, alphabet: u64) -> Span {
    let word = |dice: &mut Prng| {
        let mut out = Vec::new();
        for _ in 0..1 + dice.below(3) {
            out.push(b'a' + dice.below(alphabet) as u8);
        }
        out
    };
    loop {
        let key = word(dice);
        let end = match dice.below(8) {
            0..3 => Vec::new(),
            3 => vec![0],
            _ => word(dice),
        };
        if let Ok(span) = Span::of(&key, &end) {
            return span;
        }
    }
}

/// Heights, balance, order and furthest ends of a subtree; answers its height.
fn check(index: &Index, at: GroupId, seen: &mut Vec<GroupId>) -> u8 {
    if at == NIL {
        return 0;
    }
    let group = &index.groups[at as usize];
    let left = check(index, group.left, seen);
    seen.push(at);
    let below = seen.len();
    let right = check(index, group.right, seen);
    assert!(left.abs_diff(right) <= 1);
    assert_eq!(group.height, 1 + left.max(right));
    assert!(below <= seen.len());
    let furthest = &index.groups[group.furthest as usize].span;
    for child in [group.left, group.right] {
        if child != NIL {
            let child = &index.groups[index.groups[child as usize].furthest as usize].span;
            assert_ne!(child.cmp_end(furthest), Ordering::Greater);
        }
    }
    assert_ne!(group.span.cmp_end(furthest), Ordering::Greater);
    group.height
}

#[test]
fn a_stab_finds_whom_a_search_from_end_to_end_finds() {
    for seed in 0..60 {
        let mut dice = Prng::from_seed(seed);
        let alphabet = *dice.pick(&[2, 4, 26]);
        let (mut index, mut twin) = (Index::new(), BTreeMap::new());
        for step in 0..600 {
            let member = dice.below(200) as u32;
            if twin.remove(&member).is_some() {
                index.remove(member);
            } else {
                let span = random_span(&mut dice, alphabet);
                index.insert(member, span.clone());
                twin.insert(member, span);
            }
            let key = random_span(&mut dice, alphabet).start().to_vec();
            let mut found = Vec::new();
            index.stab(&key, |group| found.extend_from_slice(index.members(group)));
            found.sort_unstable();
            let holds = |(&member, span): (&u32, &Span)| span.contains(&key).then_some(member);
            let wanted: Vec<_> = twin.iter().filter_map(holds).collect();
            assert_eq!(found, wanted, "seed {seed} step {step} key {key:?}");
        }
        let mut order = Vec::new();
        check(&index, index.root, &mut order);
        assert!(order.is_sorted_by(|&a, &b| index.cmp(a, b) == Ordering::Less));
        for (&member, span) in &twin {
            assert_eq!(index.span(index.group_of(member)), span);
            index.remove(member);
        }
        assert_eq!((index.root, index.singles.len()), (NIL, 0));
    }
}

#[test]
fn ranges_in_sorted_order_stay_balanced() {
    let mut index = Index::new();
    for n in 0..4096_u32 {
        let key = n.to_be_bytes();
        let end = (n + 1).to_be_bytes();
        index.insert(n, Span::of(&key, &end).unwrap());
    }
    assert!(index.height(index.root) <= 13);
    let mut found = Vec::new();
    index.stab(&[0, 0, 7, 9, 1], |group| found.extend_from_slice(index.members(group)));
    assert_eq!(found, [0x709]);
}

#[test]
fn a_thousand_members_of_one_span_are_one_group() {
    let mut index = Index::new();
    let span = Span::of(b"a", b"b").unwrap();
    let first = index.insert(0, span.clone());
    for member in 1..1000 {
        assert_eq!(index.insert(member, span.clone()), first);
    }
    let mut groups = 0;
    index.stab(b"aa", |_| groups += 1);
    assert_eq!(groups, 1);
    for member in (0..1000).rev().step_by(2).chain((0..1000).step_by(2)) {
        index.remove(member);
    }
    index.stab(b"aa", |_| panic!("nobody is left"));
}
