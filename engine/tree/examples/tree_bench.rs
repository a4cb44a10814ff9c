//! Prints what one verb of the tree costs on a warm tree of one million keys, and what a key costs
//! in memory. `cargo run --release -p ringleader-tree --example tree_bench [keys] [value bytes]`
//!
//! Measures the pure tree alone: no disk, no checksums but in the checkpoint part.

use std::hint::black_box;
use std::ops::{Bound, ControlFlow};
use std::time::Duration;

use base::{Prng, Rev};
use bytes::Bytes;
use ringleader_tree::{Entry, Options, Tree, Value};

fn main() {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse().expect("a number"));
    let keys: u64 = numbers.next().unwrap_or(1_000_000);
    let value_bytes = numbers.next().unwrap_or(256) as usize;
    let value = Bytes::from(vec![7; value_bytes]);
    println!("{keys} keys of 16 bytes, values of {value_bytes}");

    let mut order: Vec<u64> = (0..keys).collect();
    let mut in_order = filled("put, new, in order", &order, &value);
    shuffle(&mut order);
    let mut at_random = filled("put, new, at random", &order, &value);
    for (name, tree) in [("loaded in order", &mut in_order), ("loaded at random", &mut at_random)] {
        verbs(name, tree, &order, &value);
    }
    checkpoint(&mut at_random);
    verbs("after a checkpoint", &mut at_random, &order, &value);
}

/// What this thread has spent on a processor: neighbours on the machine do not count.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let spent = stat.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(spent.expect("a number first"))
}

/// Memory of this process.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).and_then(|field| field.parse::<usize>().ok());
    pages.expect("two numbers at least") * 4096
}

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key/000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

fn shuffle(order: &mut [u64]) {
    let mut dice = Prng::from_seed(1);
    for at in (1..order.len()).rev() {
        order.swap(at, dice.below(at as u64 + 1) as usize);
    }
}

fn put(tree: &mut Tree, number: u64, version: i64, value: &Bytes) {
    let modified = Rev::new(version, 0);
    let value = Value::Inline(value.clone());
    let entry = Entry { modified, create: 1, version, lease: 0, value };
    black_box(tree.put(&key(number), &entry).expect("all in memory"));
}

fn filled(what: &str, order: &[u64], value: &Bytes) -> Tree {
    let held = resident_bytes();
    let mut tree = Tree::create(Options { cache_bytes: 8 << 30 });
    let start = cpu_time();
    order.iter().for_each(|number| put(&mut tree, *number, 1, value));
    report(what, cpu_time() - start, order.len());
    let held = resident_bytes() - held;
    println!("    {} bytes of memory per key", held / order.len());
    tree
}

fn verbs(name: &str, tree: &mut Tree, order: &[u64], value: &Bytes) {
    println!("{name}");
    let start = cpu_time();
    for number in order {
        black_box(tree.get(&key(*number)).expect("all in memory"));
    }
    report("get, at random", cpu_time() - start, order.len());
    let start = cpu_time();
    for number in 0..order.len() as u64 {
        black_box(tree.get(&key(number)).expect("all in memory"));
    }
    report("get, in order", cpu_time() - start, order.len());
    let start = cpu_time();
    order.iter().for_each(|number| put(tree, *number, 2, value));
    report("put, over the old, at random", cpu_time() - start, order.len());
    let start = cpu_time();
    for pair in order.chunks_exact(2) {
        let (from, to) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
        black_box(tree.count_live(&key(from), Some(&key(to))).expect("all in memory"));
    }
    report("count of a range", cpu_time() - start, order.len() / 2);
    let mut seen = 0;
    let start = cpu_time();
    let end = tree.scan(Bound::Unbounded, None, &mut |key, entry| {
        seen += black_box(key.len() + entry.value.value_bytes());
        ControlFlow::Continue(())
    });
    report("scan, an entry", cpu_time() - start, order.len());
    assert!(end.is_ok() && seen > 0);
}

fn checkpoint(tree: &mut Tree) {
    let start = cpu_time();
    tree.freeze(1);
    let (mut writes, mut bytes) = (0, 0);
    while let Some(write) = tree.poll_write() {
        writes += 1;
        bytes += write.bytes.len();
        tree.wrote(write.ticket);
    }
    assert!(tree.frozen_root().is_some());
    tree.commit(1);
    let took = cpu_time() - start;
    println!("checkpoint of everything: {} MiB in {writes} writes", bytes >> 20);
    println!("    {:.0} MiB/s of CPU", (bytes >> 20) as f64 / took.as_secs_f64());
    println!("    {:?}", tree.space());
}

fn report(what: &str, took: Duration, count: usize) {
    println!("    {what:32} {:6.0} ns", took.as_nanos() as f64 / count as f64);
}
