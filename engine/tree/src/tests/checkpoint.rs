//! What may happen between freeze and commit, and around them.

use std::ops::Bound;

use base::Prng;
use bytes::Bytes;

use super::disk::{Rig, Twin, entry};
use crate::sizes::WRITE_BYTES_MAX;
use crate::{PageWrite, Scrub, Trim};

fn key(number: u32) -> Bytes {
    Bytes::from(format!("key/{number:08}"))
}

/// Keys `0..count` with values of `value_bytes`, committed.
fn loaded(cache_bytes: usize, count: u32, value_bytes: usize) -> Rig {
    let mut rig = Rig::new(cache_bytes);
    rewrite(&mut rig, 1, count, value_bytes);
    rig.checkpoint();
    rig
}

fn rewrite(rig: &mut Rig, main: i64, count: u32, value_bytes: usize) {
    let value = Bytes::from(vec![main as u8; value_bytes]);
    for number in 0..count {
        rig.put(&key(number), &entry(main, value.clone())).expect("no rot");
    }
}

fn all_writes(rig: &mut Rig) -> Vec<PageWrite> {
    std::iter::from_fn(|| rig.tree.poll_write()).collect()
}

fn write(rig: &mut Rig, write: &PageWrite) {
    let (from, to) = (write.offset as usize, write.offset as usize + write.bytes.len());
    rig.disk.resize(rig.disk.len().max(to), 0);
    rig.disk[from..to].copy_from_slice(&write.bytes);
    rig.tree.wrote(write.ticket);
}

#[test]
fn adjacent_pages_are_written_together_and_in_any_order() {
    let mut rig = Rig::new(1 << 20);
    rewrite(&mut rig, 1, 10_000, 256);
    rig.freeze();
    let mut writes = all_writes(&mut rig);
    let bytes: usize = writes.iter().map(|write| write.bytes.len()).sum();
    assert!(writes.iter().all(|write| write.bytes.len() <= WRITE_BYTES_MAX));
    assert!(writes.len() <= bytes / (WRITE_BYTES_MAX - 16_384) + 1, "{}", writes.len());
    let mut dice = Prng::from_seed(5);
    while !writes.is_empty() {
        assert_eq!(rig.tree.frozen_root(), None);
        let at = dice.below(writes.len() as u64) as usize;
        write(&mut rig, &writes.swap_remove(at));
    }
    let root = rig.tree.frozen_root().expect("all is written");
    rig.tree.commit(rig.generation);
    assert_eq!(rig.check(&root).live, 10_000);
}

#[test]
fn what_is_being_written_is_read_from_memory_and_may_be_changed_again() {
    let mut rig = loaded(0, 2000, 300);
    rewrite(&mut rig, 2, 2000, 300);
    rig.freeze();
    let writes = all_writes(&mut rig);
    let loads = rig.tree.cache_stats().loads;
    for number in 0..2000 {
        let found = rig.tree.get(&key(number)).expect("no miss").expect("it is there");
        assert_eq!(found.version, 2);
    }
    rewrite(&mut rig, 3, 1000, 300);
    assert_eq!(rig.tree.cache_stats().loads, loads);
    writes.iter().for_each(|done| write(&mut rig, done));
    let root = rig.commit();
    rig.check(&root);
    let versions = |rig: &mut Rig| -> Vec<i64> {
        let all = rig.scan(Bound::Unbounded, None).expect("no rot");
        all.into_iter().map(|(_, entry)| entry.version).collect()
    };
    let now = versions(&mut rig);
    assert!(now[..1000].iter().all(|version| *version == 3));
    rig.reopen(root);
    assert!(versions(&mut rig).iter().all(|version| *version == 2));
}

#[test]
fn a_checkpoint_without_changes_writes_nothing_and_keeps_the_root() {
    let mut rig = loaded(1 << 20, 1000, 100);
    let first = rig.checkpoint();
    rig.freeze();
    assert_eq!(rig.tree.poll_write(), None);
    let second = rig.tree.frozen_root().expect("nothing to write");
    rig.tree.commit(rig.generation);
    assert_eq!(second, crate::RootRef { generation: first.generation + 1, ..first });
    // Nor does one of a tree that was just opened, whose free map nobody has read.
    rig.reopen(second);
    rig.freeze();
    assert_eq!(rig.tree.poll_write(), None);
    assert_eq!(rig.tree.frozen_root().map(|root| root.total), Some(1000));
}

#[test]
fn units_that_are_still_leaving_are_free_in_the_next_image() {
    // The large checkpoint frees more than the small one after it makes free on its way.
    let mut rig = loaded(1 << 30, 20_000, 300);
    rewrite(&mut rig, 2, 20_000, 300);
    rig.checkpoint();
    rig.put(&key(1), &entry(3, Bytes::new())).expect("no rot");
    let root = rig.checkpoint();
    assert!(rig.tree.space().retired_bytes > 1 << 20);
    rig.check(&root);
}

#[test]
fn an_answer_that_comes_after_its_page_was_freed_is_ignored() {
    let mut rig = loaded(0, 2000, 300);
    rewrite(&mut rig, 2, 2000, 300);
    let root = rig.checkpoint();
    rig.reopen(root);
    // Somebody misses a page, reads it, and is slow.
    let mut late = Vec::new();
    while let Err(miss) = rig.tree.get(&key(700)) {
        late.push((miss, rig.read(miss.offset, miss.len)));
        rig.supply(miss).expect("no rot");
    }
    // Meanwhile everything is written elsewhere and its place is taken by others.
    for main in 3..9 {
        rewrite(&mut rig, main, 2000, 300);
        rig.checkpoint();
        rig.trim();
    }
    for (miss, bytes) in late {
        assert_eq!(rig.tree.supply(miss.page, bytes), Ok(()));
        assert_eq!(rig.tree.supply(miss.page, rig.read(miss.offset, miss.len)), Ok(()));
    }
    let all = rig.scan(Bound::Unbounded, None).expect("no rot");
    assert!(all.len() == 2000 && all.iter().all(|(_, entry)| entry.version == 8));
}

#[test]
fn nothing_is_written_while_space_is_given_back_and_the_other_way_round() {
    let mut rig = loaded(1 << 30, 20_000, 300);
    for number in 0..20_000 {
        rig.remove(&key(number)).expect("no rot");
    }
    for _ in 0..14 {
        rig.checkpoint();
    }
    let mut trim = None;
    while trim.is_none() {
        trim = rig.tree.poll_trim();
    }
    assert!(matches!(trim, Some(Trim::Truncate { .. })));
    assert_eq!(rig.tree.poll_trim(), None);
    rewrite(&mut rig, 9, 3000, 300);
    rig.freeze();
    assert_eq!(rig.tree.poll_write(), None);
    rig.tree.trimmed();
    assert_eq!(rig.tree.poll_trim(), None);
    assert!(rig.write_one());
    rig.commit();
}

#[test]
fn a_scrub_does_not_take_a_value_that_moved_for_rot() {
    let mut rig = loaded(1 << 30, 40, 9000);
    let mut stale = 0;
    for main in 2..40 {
        // A few reads of the pass, then everything moves.
        for _ in 0..7 {
            if let Scrub::Read(miss) = rig.tree.poll_scrub() {
                let bytes = rig.read(miss.offset, miss.len);
                assert_eq!(rig.tree.scrubbed(miss.page, bytes), Ok(()));
            }
        }
        let late = rig.tree.poll_scrub();
        for round in 0..3 {
            rewrite(&mut rig, main * 3 + round, 40, 9000);
            rig.checkpoint();
            rig.trim();
        }
        if let Scrub::Read(miss) = late {
            let bytes = rig.read(miss.offset, miss.len);
            assert_eq!(rig.tree.scrubbed(miss.page, bytes), Ok(()));
            stale += 1;
        }
    }
    assert!(stale > 20);
}

#[test]
fn a_large_value_may_go_while_its_extent_is_being_made() {
    let mut rig = loaded(0, 50, 6000);
    let mut twin = Twin::new();
    rewrite(&mut rig, 2, 50, 7000);
    rig.freeze();
    rig.write_one();
    for number in 0..50 {
        match number % 3 {
            0 => drop(rig.remove(&key(number)).expect("no rot")),
            1 => {
                let new = entry(3, Bytes::from(vec![3; 8000]));
                rig.put(&key(number), &new).expect("no rot");
                twin.insert(key(number), new);
            }
            _ => {
                let old = entry(2, Bytes::from(vec![2; 7000]));
                twin.insert(key(number), old);
            }
        }
    }
    let root = rig.commit();
    assert_eq!(rig.check(&root).values, 50);
    let root = rig.checkpoint();
    assert_eq!(rig.check(&root).values, twin.len() as u64);
    rig.reopen(root);
    assert!(rig.scan(Bound::Unbounded, None).expect("no rot").into_iter().eq(twin));
}
