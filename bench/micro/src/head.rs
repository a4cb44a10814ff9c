//! Owns the cost of the head index, with as many keys as no processor's cache holds.

use divan::{Bencher, black_box};
use state::{HeadIndex, Span};

use crate::data::{key, keys, ring, version};

const LIVE: u64 = 300_000;
/// Keys of a walk.
const ROWS: usize = 100;

fn index(live: &[bytes::Bytes]) -> HeadIndex {
    let mut index = HeadIndex::new(1);
    for key in live {
        assert!(index.restore(key, version(2)));
    }
    index.finish_restore();
    index
}

#[divan::bench]
fn find(bencher: Bencher) {
    let live = keys(LIVE);
    let (index, mut next) = (index(&live), ring(live.len()));
    bencher.bench_local(|| index.get(black_box(&live[next()])));
}

#[divan::bench]
fn update(bencher: Bencher) {
    let live = keys(LIVE);
    let (mut index, mut next) = (index(&live), ring(live.len()));
    bencher.bench_local(|| {
        let slot = index.find(black_box(&live[next()])).expect("it lives");
        let mut version = index.version(slot);
        version.version += 1;
        index.set(slot, version);
    });
}

#[divan::bench]
fn insert(bencher: Bencher) {
    let mut index = index(&keys(LIVE));
    let mut number = LIVE;
    bencher
        .with_inputs(|| {
            number += 1;
            key(number)
        })
        .bench_local_refs(|key| index.insert(key, version(3)));
}

#[divan::bench]
fn walk_100(bencher: Bencher) {
    let live = keys(LIVE);
    let (index, mut next) = (index(&live), ring(live.len()));
    bencher.bench_local(|| {
        let span = Span::of(&live[next()], &bytes::Bytes::from_static(&[0]));
        index.range(&span).take(ROWS).map(|slot| index.key(slot).len()).sum::<usize>()
    });
}
