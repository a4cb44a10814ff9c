//! Laws of the cache: what stays, what goes, and how much.

use base::Prng;

use super::*;

fn page() -> Page {
    Page::from_parts(0, vec![0; 1000], &[])
}

/// Reads a page in if it is not there, as an operation does. Whether it was there.
fn touch(nodes: &mut Nodes, start: u32, touch: Touch) -> bool {
    let hit = nodes.find(start, touch).is_some();
    if !hit {
        nodes.load(page(), start);
        nodes.find(start, touch).expect("an operation keeps what it needs");
    }
    nodes.next_pulse();
    hit
}

fn touch_all(nodes: &mut Nodes, starts: std::ops::Range<u32>, how: Touch) {
    for start in starts {
        touch(nodes, start, how);
    }
}

#[test]
fn clean_pages_never_take_more_than_the_limit_and_one_operation() {
    let mut dice = Prng::from_seed(4);
    let mut nodes = Nodes::new(50_000);
    for _ in 0..20_000 {
        touch(&mut nodes, dice.below(400) as u32, *dice.pick(&[Touch::Warm, Touch::Passing]));
        let stats = nodes.stats();
        assert!(stats.clean_bytes <= 51_000, "{stats:?}");
        assert_eq!(stats.clean_pages * 1000, stats.clean_bytes);
    }
    assert!(nodes.queues.seats() <= 2 * 51 + 64);
}

#[test]
fn a_scan_over_everything_leaves_the_pages_in_daily_use_alone() {
    let mut nodes = Nodes::new(100_000);
    for round in 0..20 {
        touch_all(&mut nodes, 0..60, Touch::Warm);
        if round > 4 {
            touch_all(&mut nodes, 1000..3000, Touch::Passing);
        }
    }
    let stayed = (0..60).filter(|start| touch(&mut nodes, *start, Touch::Warm)).count();
    assert!(stayed >= 55, "{stayed} of 60");
}

#[test]
fn a_page_that_comes_back_soon_stays_longer_than_one_that_does_not() {
    let mut nodes = Nodes::new(20_000);
    for round in 0..200 {
        touch(&mut nodes, 7, Touch::Warm);
        // Just enough others in between to drive a page out of the small queue.
        let first = 1000 + round * 15;
        touch_all(&mut nodes, first..first + 15, Touch::Warm);
    }
    assert!(touch(&mut nodes, 7, Touch::Warm));
}

#[test]
fn what_the_operation_under_way_has_touched_does_not_leave() {
    let mut nodes = Nodes::new(2000);
    (0..10).for_each(|start| nodes.load(page(), start));
    assert!((0..10).all(|start| nodes.find(start, Touch::Warm).is_some()));
    nodes.next_pulse();
    nodes.load(page(), 10);
    assert!(nodes.stats().clean_bytes <= 3000);
}

#[test]
fn pages_being_written_stay_until_they_are_written_and_dirty_ones_always() {
    let mut nodes = Nodes::new(0);
    let (dirty, writing) = (nodes.alloc(page(), 1), nodes.alloc(page(), 1));
    nodes.place(writing, 5);
    nodes.next_pulse();
    nodes.load(page(), 6);
    assert!(!nodes.is_on_disk(5) && nodes.is_in_memory(5));
    assert_eq!(nodes.stats().dirty_pages, 2);
    nodes.next_pulse();
    nodes.wrote(5);
    assert!(nodes.is_on_disk(5) && !nodes.is_in_memory(5));
    assert_eq!(nodes.page(dirty).bytes(), page().bytes());
    assert_eq!((nodes.stats().dirty_pages, nodes.stats().clean_pages), (1, 0));
}
