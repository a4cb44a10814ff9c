//! The tree against a `BTreeMap`, with a cache of a few pages so that everything misses.

use std::ops::Bound;

use base::{Prng, Rev};
use bytes::Bytes;

use super::disk::{Rig, Twin, entry};
use crate::{Entry, RootRef};

/// What a random run draws from.
struct Draw {
    dice: Prng,
    keys: u64,
    key_bytes_max: u64,
    value_bytes_max: u64,
    main: i64,
}

impl Draw {
    fn key(&mut self) -> Bytes {
        let number = self.dice.below(self.keys);
        // The number decides the length, so that a key is drawn again as it was.
        let tail = Prng::from_seed(number).below(self.key_bytes_max) as usize;
        let shared = [b'/'; 40];
        let shared = &shared[..(number % 7) as usize * 6];
        Bytes::from([shared, &number.to_be_bytes()[4..], &vec![b'k'; tail]].concat())
    }

    fn entry(&mut self) -> Entry {
        self.main += 1;
        if self.dice.chance(150) {
            return Entry::tombstone(Rev::new(self.main, 0));
        }
        let large = self.dice.chance(60);
        let most = if large { self.value_bytes_max } else { 600 };
        let mut value = vec![0; self.dice.below(most) as usize];
        self.dice.fill(&mut value);
        entry(self.main, Bytes::from(value))
    }
}

fn end_of(draw: &mut Draw) -> Option<Bytes> {
    if draw.dice.chance(300) { None } else { Some(draw.key()) }
}

fn expect_equal(rig: &mut Rig, twin: &Twin) {
    let all = rig.scan(Bound::Unbounded, None).expect("no rot");
    assert_eq!(all.len(), twin.len());
    for ((key, entry), (twin_key, twin_entry)) in all.iter().zip(twin) {
        assert_eq!((key, entry), (twin_key, twin_entry));
    }
    let live = twin.values().filter(|entry| entry.is_live()).count() as u64;
    assert_eq!((rig.tree.live(), rig.tree.total()), (live, twin.len() as u64));
}

fn expect_range_equal(rig: &mut Rig, twin: &Twin, draw: &mut Draw) {
    let (from, end) = (draw.key(), end_of(draw));
    let inside = |key: &Bytes| *key >= from && end.as_ref().is_none_or(|end| key < end);
    let expected: Vec<_> = twin.iter().filter(|(key, _)| inside(key)).collect();
    let live = expected.iter().filter(|(_, entry)| entry.is_live()).count() as u64;
    let bound =
        if draw.dice.chance(500) { Bound::Included(&*from) } else { Bound::Excluded(&*from) };
    let found = rig.scan(bound, end.as_deref()).expect("no rot");
    let counted = rig.with(|tree| tree.count_live(&from, end.as_deref()));
    assert_eq!(counted, Ok(live));
    let skip = |key: &&Bytes| !(matches!(bound, Bound::Excluded(_)) && **key == from);
    let expected: Vec<_> = expected.into_iter().filter(|(key, _)| skip(key)).collect();
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(expected).all(|((k, e), (tk, te))| (k, e) == (tk, te)));
}

/// The images that a crash may come back to.
struct Images {
    committed: (RootRef, Twin),
    frozen: Option<Twin>,
}

fn run(seed: u64, steps: u64, cache_bytes: usize, mut draw: Draw) {
    println!("seed {seed}");
    let mut rig = Rig::new(cache_bytes);
    let mut twin = Twin::new();
    let mut images = Images { committed: (RootRef::EMPTY, Twin::new()), frozen: None };
    for _ in 0..steps {
        match draw.dice.below(1000) {
            0..450 => {
                let (key, entry) = (draw.key(), draw.entry());
                let was = rig.put(&key, &entry).expect("no rot");
                let was = was.map(|was| rig.whole(was).expect("no rot"));
                assert_eq!(was, twin.insert(key, entry), "seed {seed}");
            }
            450..700 => {
                let key = draw.key();
                let was = rig.remove(&key).expect("no rot");
                let was = was.map(|was| rig.whole(was).expect("no rot"));
                assert_eq!(was, twin.remove(&key), "seed {seed}");
            }
            700..900 => {
                let key = draw.key();
                assert_eq!(rig.get(&key).expect("no rot").as_ref(), twin.get(&key), "seed {seed}");
            }
            900..920 => expect_range_equal(&mut rig, &twin, &mut draw),
            _ => step_of_checkpoint(&mut rig, &mut twin, &mut images, &mut draw),
        }
    }
    expect_equal(&mut rig, &twin);
}

fn step_of_checkpoint(rig: &mut Rig, twin: &mut Twin, images: &mut Images, draw: &mut Draw) {
    match (draw.dice.below(100), images.frozen.is_some()) {
        (0..20, false) => {
            rig.freeze();
            images.frozen = Some(twin.clone());
        }
        (0..70, true) => {
            rig.write_one();
        }
        (70..90, true) => {
            let root = rig.commit();
            let report = rig.check(&root);
            assert_eq!((report.live, report.total), (root.live, root.total));
            images.committed = (root, images.frozen.take().expect("just seen"));
        }
        (20..90, false) => rig.trim(),
        (93..96, _) => {
            rig.scrub().expect("no rot");
        }
        (96..100, _) => rig.relocate(),
        (90..93, _) => {
            // A crash: the working tree and what was frozen are gone.
            rig.reopen(images.committed.0);
            *twin = images.committed.1.clone();
            images.frozen = None;
            expect_equal(rig, twin);
        }
        _ => {}
    }
}

#[test]
fn a_tree_that_always_misses_answers_as_its_twin_through_checkpoints_and_crashes() {
    for seed in 0..12 {
        let dice = Prng::from_seed(seed);
        let keys = [20, 300, 3000][seed as usize % 3];
        let draw = Draw { dice, keys, key_bytes_max: 40, value_bytes_max: 20_000, main: 0 };
        run(seed, 12_000, 48 << 10, draw);
    }
}

#[test]
fn keys_larger_than_nodes_are_kept_as_others_are() {
    for seed in 100..104 {
        let dice = Prng::from_seed(seed);
        let draw = Draw { dice, keys: 60, key_bytes_max: 60_000, value_bytes_max: 9000, main: 0 };
        run(seed, 2000, 1 << 10, draw);
    }
}

#[test]
#[ignore = "minutes; cargo test --release -p ringleader-tree -- --ignored"]
fn a_tree_answers_as_its_twin_for_many_seeds() {
    for seed in 1000..1400 {
        let mut dice = Prng::from_seed(seed);
        let keys = *dice.pick(&[5, 60, 1000, 20_000]);
        let key_bytes_max = *dice.pick(&[1, 30, 400, 20_000]);
        let value_bytes_max = *dice.pick(&[10, 5000, 100_000]);
        let cache_bytes = *dice.pick(&[0, 40_000, 1 << 30]);
        let draw = Draw { dice, keys, key_bytes_max, value_bytes_max, main: 0 };
        run(seed, 20_000, cache_bytes, draw);
    }
}
