//! The file gives back what is no longer needed.

use bytes::Bytes;

use super::disk::{Rig, entry};
use crate::Trim;

fn key(number: u32) -> Bytes {
    Bytes::from(format!("key/{number:08}"))
}

#[test]
fn loading_in_order_fills_pages_to_nineteen_parts_of_twenty() {
    let mut rig = Rig::new(1 << 30);
    let value = Bytes::from(vec![7; 256]);
    for number in 0..20_000 {
        rig.put(&key(number), &entry(1, value.clone())).expect("no rot");
    }
    rig.checkpoint();
    let payload = 20_000 * (44 + 12 + 256);
    let used = rig.tree.space().used_bytes;
    assert!(used * 95 <= payload * 100, "used {used} for {payload}");
}

/// Loads keys, deletes those for which `keep` is false, lets ten checkpoints pass, and expects
/// the file to be at most half larger than what it holds.
fn expect_shrinks(count: u32, value_bytes: usize, keep: impl Fn(u32) -> bool) {
    let mut rig = Rig::new(1 << 20);
    let value = Bytes::from(vec![7; value_bytes]);
    for number in 0..count {
        rig.put(&key(number), &entry(1, value.clone())).expect("no rot");
    }
    rig.checkpoint();
    for number in (0..count).filter(|number| !keep(*number)) {
        rig.remove(&key(number)).expect("no rot");
    }
    for _ in 0..10 {
        rig.relocate();
        rig.checkpoint();
        rig.trim();
    }
    let root = rig.checkpoint();
    let report = rig.check(&root);
    let kept = (0..count).filter(|number| keep(*number)).count() as u64;
    assert_eq!((report.live, report.total), (kept, kept));
    let live = kept * (44 + 12 + value_bytes as u64);
    assert!(rig.tree.file_bytes() <= live * 3 / 2, "{:?} for {live}", rig.tree.space());
    assert_eq!(rig.disk.len() as u64, rig.tree.file_bytes());
}

#[test]
fn after_a_mass_delete_the_file_shrinks_to_half_more_than_it_holds() {
    expect_shrinks(100_000, 256, |number| number % 5 == 0);
}

#[test]
fn the_file_shrinks_also_if_what_stays_lies_at_its_end_and_is_never_touched() {
    expect_shrinks(100_000, 256, |number| number >= 80_000);
    expect_shrinks(2000, 15_000, |number| number >= 1500);
}

#[test]
fn a_tree_that_lost_all_its_keys_keeps_a_file_of_a_free_map() {
    let mut rig = Rig::new(1 << 20);
    for number in 0..30_000 {
        rig.put(&key(number), &entry(1, Bytes::from(vec![1; 300]))).expect("no rot");
    }
    rig.checkpoint();
    for number in 0..30_000 {
        rig.remove(&key(number)).expect("no rot");
    }
    assert_eq!(rig.tree.total(), 0);
    for _ in 0..10 {
        rig.checkpoint();
        rig.trim();
    }
    assert!(rig.tree.file_bytes() <= 2 << 20, "{:?}", rig.tree.space());
    assert_eq!(rig.tree.space().used_bytes, 4096);
}

#[test]
fn free_ranges_inside_the_file_are_punched_once() {
    let mut rig = Rig::new(1 << 30);
    for number in 0..40_000 {
        rig.put(&key(number), &entry(1, Bytes::from(vec![1; 300]))).expect("no rot");
    }
    rig.checkpoint();
    for number in 0..35_000 {
        rig.remove(&key(number)).expect("no rot");
    }
    for _ in 0..6 {
        rig.checkpoint();
    }
    let mut punched = 0;
    while let Some(trim) = rig.tree.poll_trim() {
        if let Trim::Punch { len, .. } = trim {
            punched += len;
        }
        rig.tree.trimmed();
    }
    let stats = rig.tree.space();
    assert!(punched > 8 << 20 && punched <= stats.free_bytes, "{punched} of {stats:?}");
}

#[test]
fn an_image_stays_readable_while_it_is_pinned_and_only_so_long() {
    let mut rig = Rig::new(1 << 20);
    for number in 0..5000 {
        rig.put(&key(number), &entry(1, Bytes::from(vec![1; 300]))).expect("no rot");
    }
    let old = rig.checkpoint();
    let pin = rig.tree.pin();
    for round in 2..6 {
        for number in 0..5000 {
            rig.put(&key(number), &entry(round, Bytes::from(vec![2; 300]))).expect("no rot");
        }
        rig.checkpoint();
        rig.trim();
    }
    assert_eq!(rig.check(&old).live, 5000);
    let held = rig.tree.space();
    rig.tree.unpin(pin);
    rig.trim();
    let freed = held.used_bytes - rig.tree.space().used_bytes;
    assert!(freed > 3 * 5000 * 300, "{freed} of {held:?}");
}
