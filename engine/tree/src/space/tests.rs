//! Laws of the free map, against a plain list of owners.

use base::Prng;

use super::*;
use crate::sizes::{PUNCH_UNITS_MIN, TRUNCATE_UNITS_MIN};

#[test]
fn no_unit_is_ever_given_twice_and_none_is_lost() {
    let mut dice = Prng::from_seed(3);
    let mut space = Space::new();
    let mut held: Vec<Extent> = Vec::new();
    let mut stamp = 1;
    for _ in 0..20_000 {
        match dice.below(10) {
            0..5 => {
                let large = dice.chance(3);
                let units = 1 + dice.below(if large { 40_000 } else { 6 }) as u32;
                held.push(space.alloc(units).expect("room"));
            }
            5..8 if !held.is_empty() => {
                let at = dice.below(held.len() as u64) as usize;
                space.retire(stamp, held.swap_remove(at));
            }
            8 => {
                space.release(stamp);
                stamp += 1;
            }
            _ => drop(space.release_some(7)),
        }
    }
    space.release(stamp);
    space.release_some(usize::MAX);
    let units: u32 = held.iter().map(|extent| extent.units).sum();
    assert_eq!(space.used_units(), units);
    held.sort_unstable();
    assert!(held.windows(2).all(|two| two[0].end() <= two[1].start));
    assert!(held.iter().all(|extent| (extent.start..extent.end()).all(|unit| space.is_used(unit))));
    let (words, used) = space.words_at(stamp);
    assert_eq!(used, units);
    let again = Space::from_words(&words, space.file_units()).expect("as it was");
    assert_eq!(again.used_units(), units);
}

#[test]
fn what_an_image_needs_is_not_given_before_the_next_one_is_durable() {
    let mut space = Space::new();
    let first = space.alloc(4).expect("room");
    space.retire(2, first);
    space.release(1);
    assert!(!space.is_releasing());
    assert_ne!(space.alloc(4).expect("room"), first);
    // Image 2 does not need it: it is free there, and here once image 2 is durable.
    assert_eq!(space.words_at(1).1, 8);
    assert_eq!(space.words_at(2).1, 4);
    space.release(2);
    assert_eq!(space.release_some(1), [first]);
    assert_eq!(space.alloc(4), Ok(first));
}

#[test]
fn a_pinned_image_keeps_its_units_until_the_last_reader_is_gone() {
    let mut space = Space::new();
    let extent = space.alloc(1).expect("room");
    space.pin(1);
    space.pin(1);
    space.retire(2, extent);
    space.release(2);
    space.unpin(1);
    space.release(2);
    assert!(!space.is_releasing());
    space.unpin(1);
    space.release(2);
    assert!(space.is_releasing());
}

#[test]
fn the_lowest_run_that_fits_is_taken() {
    let mut space = Space::new();
    let all: Vec<Extent> = (0..40).map(|_| space.alloc(3).expect("room")).collect();
    for index in [30, 10, 11, 20] {
        space.retire(1, all[index]);
    }
    space.release(1);
    space.release_some(usize::MAX);
    assert_eq!(space.alloc(4).expect("room").start, all[10].start);
    assert_eq!(space.alloc(2).expect("room").start, all[10].start + 4);
    assert_eq!(space.alloc(3).expect("room").start, all[20].start);
}

#[test]
fn the_end_is_cut_and_the_inside_punched_each_once() {
    let mut space = Space::new();
    let gap = PUNCH_UNITS_MIN * 3;
    let extents = [10, gap, 10, gap + TRUNCATE_UNITS_MIN].map(|units| space.alloc(units));
    let [_, inside, last, end] = extents.map(|extent| extent.expect("room"));
    space.note_checkpoint();
    space.retire(1, inside);
    space.retire(1, end);
    space.release(1);
    space.release_some(usize::MAX);
    // Room for the next checkpoint is kept, half as much with each that took nothing.
    assert_eq!(space.next_trim(), None);
    (0..12).for_each(|_| space.note_checkpoint());
    let cut = space.next_trim().expect("the end is free");
    assert_eq!(cut, TrimUnits::Truncate { units: last.end() });
    space.trimmed(cut);
    assert_eq!(space.file_units(), last.end());
    assert_eq!(space.next_trim(), Some(TrimUnits::Punch(inside)));
    space.trimmed(TrimUnits::Punch(inside));
    assert_eq!(space.next_trim(), None);
    assert_eq!(space.alloc(1).expect("room").start, inside.start);
}

#[test]
fn bits_behind_the_end_of_the_file_are_not_a_map() {
    assert!(Space::from_words(&[0b111], 3).is_some());
    assert!(Space::from_words(&[0b1000], 3).is_none());
    assert!(Space::from_words(&[0; 10_000], 3).is_none());
}
