//! A slice against the list of all its changes, on a disk that finishes in any order, with caches
//! smaller than the data, through compaction, checkpoints and power loss at any moment.

mod disk;
mod world;

use base::Rev;
use bytes::Bytes;

use self::world::{TINY, World};
use crate::*;

const EVERYTHING: KeyRange = KeyRange { start: Bytes::new(), end: RangeEnd::Unbounded };

#[test]
fn a_slice_agrees_with_the_list_of_its_changes_through_crashes_and_compaction() {
    run_seeds(0..10);
}

#[test]
#[ignore = "minutes; cargo test --release -p ringleader-slice -- --ignored"]
fn a_slice_agrees_with_the_list_of_its_changes_for_many_seeds() {
    run_seeds(1000..1400);
}

fn run_seeds(seeds: std::ops::Range<u64>) {
    let (mut answers, mut compacted, mut checkpoints, mut pinned) = (0, 0, 0, 0);
    for seed in seeds {
        let mut world = World::new(seed, TINY);
        world.disk.no_space = if seed % 3 == 0 { 100 } else { 0 };
        world.disk.hold = if seed % 2 == 0 { 30 } else { 0 };
        for _ in 0..8000 {
            world.random_step();
            assert_eq!(world.broken, None);
        }
        world.settle();
        checkpoint(&mut world);
        world.crash();
        check_head(&mut world);
        assert_eq!(world.broken, None);
        answers += world.answers;
        compacted += world.compacted_answers;
        checkpoints += world.checkpoints;
        pinned += world.pinned_answers;
    }
    println!(
        "{answers} answers, {compacted} compacted, {pinned} pinned, {checkpoints} checkpoints"
    );
    assert!(20 < pinned);
    assert!(3000 < answers);
    assert!(compacted < answers / 2);
    assert!(50 < checkpoints);
}

/// Asks for everything at a point and checks the answer.
fn check_all(world: &mut World, at: Rev) {
    world.ask_for(ReadRequest::Range {
        keys: EVERYTHING,
        at,
        limit: usize::MAX,
        limit_bytes: usize::MAX,
        fields: Fields::WithValues,
    });
    world.ask_for(ReadRequest::Count { keys: EVERYTHING, at });
    world.settle();
}

fn check_head(world: &mut World) {
    let at = Rev::end_of(world.main);
    check_all(world, at);
}

fn checkpoint(world: &mut World) {
    let before = world.slice.stats();
    world.freeze();
    world.settle();
    assert_eq!(world.slice.stats().applied, before.applied.max(world.main));
}

#[test]
fn every_point_since_the_compact_revision_can_be_read() {
    let mut world = World::new(21, TINY);
    for _ in 0..60 {
        world.batch();
    }
    checkpoint(&mut world);
    world.compact_to(20);
    for main in 20..=world.main {
        for sub in [0, 1, 2, u32::MAX] {
            check_all(&mut world, Rev::new(main, sub));
        }
    }
    assert_eq!((world.broken, world.compacted_answers), (None, 0));
    check_all(&mut world, Rev::end_of(19));
    assert_eq!(world.compacted_answers, 2);
}

#[test]
fn points_inside_the_compacted_transaction_end_with_the_next_freeze() {
    let mut world = World::new(22, TINY);
    while world.twin.last().is_none_or(|record| record.rev.sub == 0) {
        world.batch();
    }
    let main = world.twin.last().expect("just made").rev.main;
    world.compact_to(main);
    check_all(&mut world, Rev::new(main, 0));
    assert_eq!(world.compacted_answers, 0);
    checkpoint(&mut world);
    check_all(&mut world, Rev::new(main, 0));
    assert_eq!(world.compacted_answers, 2);
    check_all(&mut world, Rev::end_of(main));
    assert_eq!(world.compacted_answers, 2);
}

#[test]
fn a_pin_keeps_the_past_until_it_is_given_back() {
    let mut world = World::new(29, TINY);
    for _ in 0..150 {
        world.batch();
    }
    checkpoint(&mut world);
    let half = world.main / 2;
    let pin = world.pin(half).expect("nothing was compacted");
    world.delete_most();
    world.pass();
    world.compact_to(world.main);
    for _ in 0..3 {
        checkpoint(&mut world);
    }
    for main in [half, half + 1, world.main - 2] {
        check_all(&mut world, Rev::end_of(main));
    }
    let (from, to) = (Rev::new(half + 1, 0), world.main);
    let history = ReadRequest::History {
        from,
        to,
        keys: Vec::new(),
        limit_bytes: usize::MAX,
        prev: Prev::Wanted,
    };
    world.ask_for(history);
    world.settle();
    assert_eq!(world.compacted_answers, 0);
    assert_ne!(world.slice.stats().total, world.slice.stats().live);
    world.pins.clear();
    world.slice.unpin(pin);
    assert_eq!(world.pin(half), None);
    // It goes without a freeze between; the files go with the next one.
    world.settle();
    checkpoint(&mut world);
    let stats = world.slice.stats();
    assert_eq!((stats.total, stats.history.map(|past| past.file_bytes)), (stats.live, Some(0)));
    check_all(&mut world, Rev::end_of(half));
    assert_eq!(world.compacted_answers, 2);
    assert_eq!(world.broken, None);
}

#[test]
fn compaction_at_the_head_leaves_live_keys_and_nothing_else() {
    let mut world = World::new(23, TINY);
    for round in 0..6 {
        for _ in 0..100 {
            world.batch();
        }
        world.settle();
        // Records of the compact revision itself stay for watches that begin there.
        world.pass();
        world.compact_to(world.main);
        // The first freeze lets the purge begin, the second makes it durable and drops segments.
        checkpoint(&mut world);
        assert!(world.purged.contains(&world.main), "round {round}");
        checkpoint(&mut world);
        world.settle();
        let stats = world.slice.stats();
        assert_eq!((stats.live, stats.total), (world.live.len() as u64, world.live.len() as u64));
        assert_eq!(stats.history.map(|history| history.file_bytes), Some(0));
        check_head(&mut world);
    }
    world.crash();
    check_head(&mut world);
    assert_eq!(world.broken, None);
}

#[test]
fn a_compaction_is_done_when_its_space_is_given_back() {
    let mut world = World::new(30, TINY);
    for _ in 0..150 {
        world.batch();
    }
    checkpoint(&mut world);
    world.delete_most();
    world.pass();
    let main = world.main;
    assert_eq!(world.slice.compaction(main), Compaction::Working);
    world.compact_to(main);
    let mut checkpoints = 0;
    for _ in 0..100_000 {
        match world.slice.compaction(main) {
            Compaction::Done => break,
            Compaction::WantsCheckpoint => {
                world.freeze();
                world.settle();
                checkpoints += 1;
            }
            Compaction::Working => {
                world.step_slice();
                world.work_slice();
                world.disk_step();
            }
        }
    }
    assert_eq!(world.slice.compaction(main), Compaction::Done);
    assert_eq!(checkpoints, 2, "one for the history to follow, one for the files to go");
    let after = world.slice.stats();
    assert_eq!((after.total, after.history.map(|past| past.file_bytes)), (after.live, Some(0)));
    let files = world
        .disk
        .files
        .keys()
        .filter(|file| matches!(file, base::FileId::History { segment, .. } if *segment != 0));
    assert_eq!(files.count(), 0);
}

#[test]
fn a_compaction_does_not_wait_for_pins() {
    let mut world = World::new(31, TINY);
    for _ in 0..60 {
        world.batch();
    }
    let pin = world.pin(10).expect("nothing was compacted");
    world.compact_to(world.main);
    for _ in 0..3 {
        checkpoint(&mut world);
    }
    assert_eq!(world.slice.compaction(world.compact), Compaction::Done);
    world.pins.clear();
    world.slice.unpin(pin);
    assert_ne!(world.slice.compaction(world.compact), Compaction::Done);
}

#[test]
fn a_key_that_came_back_survives_the_purge_of_its_tombstone() {
    let mut world = World::new(24, TINY);
    world.keys = 3;
    for _ in 0..200 {
        world.batch();
        world.compact_to(world.main - 1);
        world.freeze();
        world.settle();
        check_head(&mut world);
    }
    assert_eq!(world.broken, None);
}

#[test]
fn a_flipped_bit_breaks_the_slice_or_changes_no_answer() {
    let mut world = World::new(25, TINY);
    for _ in 0..60 {
        world.batch();
    }
    checkpoint(&mut world);
    let files: Vec<_> = world.disk.files.keys().copied().collect();
    let mut broken = 0;
    for _ in 0..150 {
        let file = *world.dice.pick(&files);
        let len = world.disk.files[&file].len() as u64;
        let (at, bit) = (world.dice.below(len) as usize, 1 << world.dice.below(8));
        world.disk.files.get_mut(&file).expect("listed")[at] ^= bit;
        world.crash();
        // World::check compares every answer with the twin.
        let from = Rev::new(1, 0);
        let prev = Prev::Wanted;
        let keys = Vec::new();
        let (to, limit_bytes) = (world.main, usize::MAX);
        world.ask_for(ReadRequest::History { from, to, keys, limit_bytes, prev });
        let middle = Rev::end_of(world.main / 2);
        check_all(&mut world, middle);
        check_head(&mut world);
        broken += u64::from(world.broken.take().is_some());
        world.disk.files.get_mut(&file).expect("listed")[at] ^= bit;
    }
    println!("{broken} of 150 flips were noticed; the others hit nothing that is in use");
    assert!(50 < broken);
    world.crash();
    check_head(&mut world);
    assert_eq!(world.broken, None);
}

#[test]
fn a_slice_without_history_keeps_the_newest_state_through_crashes() {
    let options = Options { history: HistoryMode::None, ..TINY };
    for seed in 40..44 {
        let mut world = World::new(seed, options);
        for _ in 0..2500 {
            match world.dice.below(10) {
                0 | 1 => world.batch(),
                2 => world.freeze(),
                3 => world.manifest_step(),
                4 if world.dice.chance(30) => world.crash(),
                4 | 5 => drop(world.step_slice()),
                6 => drop(world.work_slice()),
                _ => world.disk_step(),
            }
        }
        world.settle();
        check_head(&mut world);
        assert_eq!(world.slice.stats().total, world.live.len() as u64);
        assert!(2 < world.checkpoints);
    }
}

#[test]
fn a_turn_looks_at_no_more_than_its_share() {
    let mut world =
        World::new(26, Options { tree: tree::Options { cache_bytes: 8 << 20 }, ..TINY });
    world.keys = 2000;
    for _ in 0..800 {
        world.batch();
    }
    world.settle();
    world.ask_for(ReadRequest::Range {
        keys: EVERYTHING,
        at: Rev::end_of(world.main),
        limit: usize::MAX,
        limit_bytes: usize::MAX,
        fields: Fields::KeysOnly,
    });
    let mut turns = 0;
    while world.slice.stats().reads > 0 {
        world.slice.step(StepBudget { changes: 0, turns: 1 });
        world.drain();
        turns += 1;
    }
    assert!(world.slice.stats().live <= turns * TINY.turn_entries as u64);
}

#[test]
fn the_scrub_finds_rot_that_nobody_reads() {
    let mut world = World::new(27, TINY);
    for _ in 0..60 {
        world.batch();
    }
    checkpoint(&mut world);
    let scrub = |world: &mut World| {
        let rounds = world.slice.stats().scrub_rounds;
        for _ in 0..20_000 {
            if rounds + 2 <= world.slice.stats().scrub_rounds || world.broken.is_some() {
                return;
            }
            world.work_slice();
            world.disk_step();
        }
        panic!("a round never ends: {:?}", world.slice.stats());
    };
    scrub(&mut world);
    assert_eq!(world.broken, None);
    let pages = world.slice.stats().scrubbed_pages;
    assert!(40 < pages, "{pages}");
    let tree = base::FileId::Tree(world::SLICE);
    let file = world.disk.files.get_mut(&tree).expect("written");
    file.iter_mut().step_by(4096).for_each(|byte| *byte ^= 1);
    scrub(&mut world);
    assert!(matches!(world.broken, Some(Failure::Rot { file, .. }) if file == tree));
}

#[test]
fn the_file_of_the_tree_shrinks_after_a_mass_delete() {
    let cache = tree::Options { cache_bytes: 1 << 20 };
    let mut world = World::new(28, Options { tree: cache, ..TINY });
    world.keys = 2000;
    world.value_scale = 8;
    for _ in 0..800 {
        world.batch();
    }
    checkpoint(&mut world);
    let before = world.slice.stats();
    world.delete_most();
    world.pass();
    world.compact_to(world.main);
    world.value_scale = 1;
    for _ in 0..40 {
        checkpoint(&mut world);
        for _ in 0..50 {
            world.work_slice();
            world.step_slice();
            world.disk_step();
        }
        world.batch();
        world.settle();
    }
    let after = world.slice.stats();
    println!("{} -> {} bytes", before.space.file_bytes, after.space.file_bytes);
    assert!(after.space.file_bytes < before.space.file_bytes / 2);
    check_head(&mut world);
    assert_eq!(world.broken, None);
}
