//! Owns the cost of the tree while its pages are in memory.

use std::ops::{Bound, ControlFlow};

use ::tree::{Entry, Options, Tree, Value};
use base::Rev;
use bytes::Bytes;
use divan::{Bencher, black_box};

use crate::data::{key, keys, ring, value};

const KEYS: u64 = 100_000;
/// More than the tree takes.
const CACHE_BYTES: usize = 1 << 30;
/// Entries of a scan.
const ROWS: usize = 100;

fn entry(version: i64, value: Bytes) -> Entry {
    let modified = Rev::new(version, 0);
    Entry { modified, create: 1, version, lease: 0, value: Value::Inline(value) }
}

/// A tree that has just been written: a page that is changed now is copied first.
fn tree(keys: &[Bytes]) -> Tree {
    let mut tree = Tree::create(Options { cache_bytes: CACHE_BYTES });
    let entry = entry(1, value());
    for key in keys {
        tree.put(key, &entry).expect("in memory");
    }
    tree.freeze(1);
    while let Some(write) = tree.poll_write() {
        tree.wrote(write.ticket);
    }
    tree.frozen_root().expect("all pages are written");
    tree.commit(1);
    tree
}

#[divan::bench]
fn get(bencher: Bencher) {
    let keys = keys(KEYS);
    let (mut tree, mut next) = (tree(&keys), ring(keys.len()));
    bencher.bench_local(|| tree.get(black_box(&keys[next()])).expect("in memory"));
}

#[divan::bench]
fn overwrite(bencher: Bencher) {
    let keys = keys(KEYS);
    let (mut tree, mut next, entry) = (tree(&keys), ring(keys.len()), entry(2, value()));
    bencher.bench_local(|| tree.put(black_box(&keys[next()]), &entry).expect("in memory"));
}

#[divan::bench]
fn insert(bencher: Bencher) {
    let (mut tree, entry) = (tree(&keys(KEYS)), entry(2, value()));
    let mut number = KEYS;
    bencher
        .with_inputs(|| {
            number += 1;
            key(number)
        })
        .bench_local_refs(|key| tree.put(key, &entry).expect("in memory"));
}

#[divan::bench]
fn count(bencher: Bencher) {
    let keys = keys(KEYS);
    let (mut tree, mut next) = (tree(&keys), ring(keys.len()));
    bencher.bench_local(|| tree.count_live(black_box(&keys[next()]), None).expect("in memory"));
}

#[divan::bench]
fn scan_100(bencher: Bencher) {
    let keys = keys(KEYS);
    let (mut tree, mut next) = (tree(&keys), ring(keys.len()));
    bencher.bench_local(|| {
        let (mut seen, mut bytes) = (0, 0);
        let from = Bound::Included(&keys[next()][..]);
        let scanned = tree.scan(from, None, &mut |key, _| {
            (seen, bytes) = (seen + 1, bytes + key.len());
            if seen < ROWS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        assert!(scanned.is_ok());
        bytes
    });
}
