//! Laws of the head index, against a BTreeMap.

use std::collections::BTreeMap;

use base::{Prng, Rev, Version};
use bytes::Bytes;

use super::*;

fn version(main: i64) -> Version {
    Version { create: main, modified: Rev::new(main, 0), version: 1, lease: 0 }
}

/// Keys that share much, little, or all but their length.
fn key_of(dice: &mut Prng) -> Vec<u8> {
    let number = dice.below(1500);
    match dice.below(4) {
        0 => format!("/registry/pods/{number:08}").into_bytes(),
        1 => format!("{number}").into_bytes(),
        2 => vec![0; 1 + number as usize % 40],
        _ => [&number.to_be_bytes()[6..], &[0xff, 0]].concat(),
    }
}

fn contents(head: &HeadIndex) -> Vec<(Vec<u8>, Version)> {
    head.iter().map(|slot| (head.key(slot).to_vec(), head.version(slot))).collect()
}

fn check(head: &HeadIndex, twin: &BTreeMap<Vec<u8>, Version>) {
    assert_eq!(head.len(), twin.len());
    assert_eq!(contents(head), twin.iter().map(|(k, v)| (k.clone(), *v)).collect::<Vec<_>>());
    head.order.check(&head.slab);
}

#[test]
fn the_index_answers_as_a_map() {
    let seed = 20_251;
    println!("seed {seed}");
    let mut dice = Prng::from_seed(seed);
    let (mut head, mut twin) = (HeadIndex::new(seed), BTreeMap::new());
    for step in 0..40_000 {
        let key = key_of(&mut dice);
        assert_eq!(head.get(&key), twin.get(&key).copied());
        // Grow for a while, then shrink to almost nothing, then grow again.
        let put = dice.chance(if (step / 10_000) % 2 == 0 { 700 } else { 200 });
        match (put, head.find(&key)) {
            (true, Some(slot)) => head.set(slot, version(step)),
            (true, None) => drop(head.insert(&key, version(step))),
            (false, Some(slot)) => assert_eq!(Some(head.remove(slot)), twin.get(&key).copied()),
            (false, None) => {}
        }
        if put {
            twin.insert(key, version(step));
        } else {
            twin.remove(&key);
        }
        if step % 997 == 0 {
            check(&head, &twin);
        }
    }
    check(&head, &twin);
}

#[test]
fn a_range_holds_exactly_its_span_in_order() {
    let mut dice = Prng::from_seed(77);
    let (mut head, mut twin) = (HeadIndex::new(1), BTreeMap::new());
    for main in 0..2500 {
        let key = key_of(&mut dice);
        if twin.insert(key.clone(), version(main)).is_none() {
            head.insert(&key, version(main));
        }
    }
    for _ in 0..500 {
        let (start, end) = (Bytes::from(key_of(&mut dice)), Bytes::from(key_of(&mut dice)));
        for end in [Bytes::new(), Bytes::from_static(b"\0"), end] {
            let span = Span::of(&start, &end);
            let found: Vec<_> = head.range(&span).map(|slot| head.key(slot).to_vec()).collect();
            let twin: Vec<_> = twin.keys().filter(|key| span.contains(key)).cloned().collect();
            assert_eq!(found, twin, "{span:?}");
        }
    }
}

#[test]
fn a_restored_index_equals_one_that_was_filled() {
    let mut dice = Prng::from_seed(5);
    let (mut filled, mut restored) = (HeadIndex::new(1), HeadIndex::new(2));
    for main in 0..5000 {
        let key = key_of(&mut dice);
        if filled.find(&key).is_none() {
            filled.insert(&key, version(main));
            assert!(restored.restore(&key, version(main)));
        } else {
            assert!(!restored.restore(&key, version(main)));
        }
    }
    restored.finish_restore();
    restored.order.check(&restored.slab);
    assert_eq!(contents(&filled), contents(&restored));
    let slot = restored.iter().nth(700).expect("thousands were drawn");
    let key = restored.key(slot).to_vec();
    restored.remove(slot);
    restored.insert(&key, version(1));
    assert_eq!(restored.iter().count(), filled.len());
}

#[test]
fn rising_keys_fill_their_chunks() {
    let mut head = HeadIndex::new(1);
    for main in 0..5120_u32 {
        head.insert(&main.to_be_bytes(), version(i64::from(main)));
    }
    assert_eq!(head.order.chunk_sizes(), vec![512; 10]);
}

#[test]
fn falling_keys_split_the_first_chunk_again_and_again() {
    let mut head = HeadIndex::new(1);
    for main in (0..5000_u32).rev() {
        head.insert(&main.to_be_bytes(), version(i64::from(main)));
    }
    head.order.check(&head.slab);
    assert!((0..5000_u32).all(|main| head.get(&main.to_be_bytes()).is_some()));
    let span = Span::From(Bytes::copy_from_slice(&4321_u32.to_be_bytes()));
    assert_eq!(head.range(&span).count(), 5000 - 4321);
}

#[test]
fn an_empty_index_has_empty_ranges() {
    let mut head = HeadIndex::new(1);
    let all = Span::From(Bytes::from_static(b"\0"));
    assert_eq!(head.range(&all).count(), 0);
    head.finish_restore();
    let slot = head.insert(b"a", version(2));
    assert_eq!(head.range(&all).count(), 1);
    head.remove(slot);
    assert!(head.is_empty());
    assert_eq!(head.range(&all).count(), 0);
}
