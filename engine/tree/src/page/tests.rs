//! Laws of one node.

use base::{Prng, Rev};

use super::*;
use crate::cell::PageRef;

fn put(page: &mut Page, key: &[u8], value: &[u8]) {
    let value = Stored::Inline(value);
    let modified = Rev::new(3, 1);
    let cell = LeafCell { key, modified, create: 2, version: 1, lease: 0, value };
    page.put_entry(page.search(key), &cell);
}

fn link(start: u32) -> Link {
    let at = At::Disk(PageRef { start, units: 1, crc: start, reach: start + 1 });
    Link { at, live: u64::from(start), total: u64::from(start) + 1 }
}

fn keys(page: &Page) -> Vec<Vec<u8>> {
    (0..page.count()).map(|index| page.key(index).to_vec()).collect()
}

#[test]
fn a_search_agrees_with_a_sorted_list_whatever_the_keys_share() {
    let mut dice = Prng::from_seed(1);
    for round in 0..300 {
        let shared = vec![b'/'; (round % 5) * 3];
        let letters = 1 + round as u64 % 4;
        let mut draw = || {
            let len = dice.below(9) as usize;
            let tail: Vec<u8> = (0..len).map(|_| b'a' + dice.below(letters) as u8).collect();
            if dice.chance(50) { tail } else { [&*shared, &*tail].concat() }
        };
        let mut page = Page::empty(0);
        let mut twin: Vec<Vec<u8>> = Vec::new();
        for _ in 0..60 {
            let key = draw();
            let at = twin.binary_search(&key);
            assert_eq!(page.search(&key), at);
            match at {
                Ok(index) if key.len() % 2 == 0 => {
                    page.remove(index);
                    twin.remove(index);
                }
                Ok(_) => put(&mut page, &key, &vec![1; key.len() * 7]),
                Err(index) => {
                    put(&mut page, &key, b"value");
                    twin.insert(index, key);
                }
            }
            assert_eq!(keys(&page), twin);
        }
    }
}

#[test]
fn splitting_loses_nothing_and_separators_separate() {
    let mut dice = Prng::from_seed(2);
    for _ in 0..200 {
        let mut page = Page::empty(0);
        while !page.overflows() {
            let mut key = vec![b'k'; dice.below(40) as usize];
            dice.fill(&mut key);
            let large = dice.chance(20);
            key.resize(key.len() + if large { 20_000 } else { 0 }, b'x');
            put(&mut page, &key, &vec![2; dice.below(900) as usize]);
        }
        let (all, counts) = (keys(&page), page.counts());
        let pieces = page.split();
        let mut rest = keys(&page);
        let mut sum = page.counts();
        let mut last = page.key(page.count() - 1).to_vec();
        for (separator, piece) in &pieces {
            assert!(last < *separator && separator.as_slice() <= piece.key(0));
            assert!(!piece.overflows() && piece.count() > 0);
            last = piece.key(piece.count() - 1).to_vec();
            rest.extend(keys(piece));
            sum = (sum.0 + piece.counts().0, sum.1 + piece.counts().1);
        }
        assert_eq!((rest, sum), (all, counts));
        assert!(!page.overflows());
    }
}

#[test]
fn a_rising_run_leaves_full_nodes_behind_also_in_the_middle_of_others() {
    for tail in [0, 3, 40] {
        let mut page = Page::empty(0);
        (0..tail).for_each(|number| put(&mut page, &[b'z', number], &[1; 200]));
        let mut left = Vec::new();
        for number in 0..1000 {
            put(&mut page, format!("k{number:06}").as_bytes(), &[1; 200]);
            if page.overflows() {
                let mut pieces = page.split();
                let (_, next) = pieces.pop().expect("something was cut off");
                assert!(pieces.is_empty());
                // The run goes on in one of the two.
                let goes_on = next.key(0) <= format!("k{number:06}").as_bytes();
                let done = if goes_on { std::mem::replace(&mut page, next) } else { next };
                left.extend(goes_on.then(|| done.bytes()));
            }
        }
        assert!(left.len() > 10);
        assert!(left.iter().all(|bytes| *bytes > NODE_BYTES_MAX * 95 / 100), "{left:?}");
    }
}

#[test]
fn an_inner_node_gives_its_first_key_away_and_gets_it_back_by_merging() {
    let mut page = Page::empty(1);
    page.insert_link(0, b"", link(1));
    for (index, key) in [b"b", b"d", b"f", b"h"].iter().enumerate() {
        page.insert_link(index + 1, *key, link(index as u32 + 2));
    }
    let whole = page.clone();
    let mut right = page.split_off(2);
    let separator = right.take_first_key();
    assert_eq!((separator.as_slice(), right.key(0)), (b"d".as_slice(), b"".as_slice()));
    assert_eq!(right.child_index(b"anything"), 0);
    page.absorb(&right, &separator);
    assert_eq!((page.cells(), page.counts()), (whole.cells(), whole.counts()));
    page.remove(0);
    assert_eq!((page.key(0), page.link(0)), (b"".as_slice(), link(2)));
    assert_eq!([b"a", b"d", b"g", b"z"].map(|key| page.child_index(key)), [0, 1, 2, 3]);
}

#[test]
fn what_a_removal_will_leave_is_known_before() {
    let mut page = Page::empty(1);
    page.insert_link(0, b"", link(1));
    page.insert_link(1, b"a long separator", link(2));
    page.insert_link(2, b"b", link(3));
    for index in [0, 0, 0] {
        let (bytes, count) = page.without(index);
        page.remove(index);
        assert_eq!((bytes, count), (page.bytes(), page.count()));
    }
}
