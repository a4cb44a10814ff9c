//! Flipped bits, lost writes and old pages are found, and nothing is ever answered from them.

use std::ops::Bound;

use base::Prng;
use bytes::Bytes;

use super::disk::{Rig, Twin, entry, read};
use crate::{RootRef, Why, check, rebuild_map};

const CACHE_BYTES: usize = 32 << 10;

/// A committed tree with inner nodes, large values and tombstones.
fn planted(dice: &mut Prng) -> (Rig, Twin, RootRef) {
    let mut rig = Rig::new(CACHE_BYTES);
    let mut twin = Twin::new();
    let mut root = RootRef::EMPTY;
    for round in 0..3 {
        for _ in 0..400 {
            let key = Bytes::from(format!("key/{:05}", dice.below(1000)));
            let most = if dice.chance(30) { 12_000 } else { 400 };
            let value = Bytes::from(vec![round; dice.below(most) as usize]);
            let entry = entry(i64::from(round) + 1, value);
            rig.put(&key, &entry).expect("no rot");
            twin.insert(key, entry);
        }
        root = rig.checkpoint();
    }
    (rig, twin, root)
}

/// Opens the root afresh and compares everything, through scans and gets. The answer counts
/// if there is one.
fn expect_right_or_rot(rig: &mut Rig, twin: &Twin, root: RootRef) -> bool {
    rig.reopen(root);
    let scanned = rig.scan(Bound::Unbounded, None);
    if let Ok(found) = &scanned {
        assert!(found.iter().map(|(key, entry)| (key, entry)).eq(twin));
    }
    for (key, entry) in twin {
        if let Ok(found) = rig.get(key) {
            assert_eq!(found.as_ref(), Some(entry));
        }
    }
    scanned.is_err()
}

#[test]
fn a_flipped_bit_is_rot_and_never_a_wrong_answer() {
    let mut dice = Prng::from_seed(7);
    let (mut rig, twin, root) = planted(&mut dice);
    let used = rig.check(&root).used_units;
    assert!(used > 60, "{used} units");
    let mut found = 0;
    for _ in 0..150 {
        let at = dice.below(rig.disk.len() as u64) as usize;
        let bit = 1 << dice.below(8);
        rig.disk[at] ^= bit;
        let rotten = expect_right_or_rot(&mut rig, &twin, root);
        let checked = check(&root, &mut |offset, len| read(&rig.disk, offset, len));
        // A scan reads no free map, and the padding behind a value is nobody's.
        assert!(!rotten || checked.is_err());
        rig.reopen(root);
        assert_eq!(rig.scrub().is_err(), checked.is_err(), "byte {at}");
        found += u32::from(checked.is_err());
        rig.disk[at] ^= bit;
    }
    assert!(found > 30, "{found} flips hit something");
    assert!(!expect_right_or_rot(&mut rig, &twin, root));
}

#[test]
fn a_unit_of_zeros_or_of_another_page_is_rot() {
    let mut dice = Prng::from_seed(8);
    let (mut rig, twin, root) = planted(&mut dice);
    let whole = rig.disk.clone();
    let units = whole.len() as u64 / 4096;
    for _ in 0..100 {
        let (from, to) = (dice.below(units) as usize * 4096, dice.below(units) as usize * 4096);
        match dice.chance(500) {
            true => rig.disk[to..to + 4096].fill(0),
            false => rig.disk.copy_within(from..from + 4096, to),
        }
        expect_right_or_rot(&mut rig, &twin, root);
        rig.disk.copy_from_slice(&whole);
    }
}

#[test]
fn a_lost_write_is_found_although_the_old_page_is_whole() {
    let mut rig = Rig::new(CACHE_BYTES);
    let key = b"key";
    rig.put(key, &entry(1, Bytes::from_static(b"old"))).expect("no rot");
    rig.checkpoint();
    rig.put(key, &entry(2, Bytes::from_static(b"new"))).expect("no rot");
    rig.checkpoint();
    let before = rig.disk.clone();
    rig.put(key, &entry(3, Bytes::from_static(b"newer"))).expect("no rot");
    let root = rig.checkpoint();
    rig.disk = before;
    rig.reopen(root);
    assert_eq!(rig.get(key).expect_err("lost").why, Why::Checksum);
}

#[test]
fn a_rotten_free_map_stops_changes_not_reads_and_is_computed_again() {
    let mut dice = Prng::from_seed(9);
    let (mut rig, twin, root) = planted(&mut dice);
    let map_at = root.map.start as usize * 4096;
    rig.disk[map_at + 30] ^= 1;
    assert!(!expect_right_or_rot(&mut rig, &twin, root));
    let refused = rig.put(b"key", &entry(9, Bytes::new())).expect_err("rot");
    assert_eq!(refused.offset, map_at as u64);
    let (offset, bytes) =
        rebuild_map(&root, &mut |offset, len| read(&rig.disk, offset, len)).expect("whole");
    rig.disk[offset as usize..offset as usize + bytes.len()].copy_from_slice(&bytes);
    rig.check(&root);
    rig.put(b"key", &entry(9, Bytes::new())).expect("no rot");
}

#[test]
fn any_bytes_decode_to_a_page_or_a_reason() {
    use crate::codec::{Expected, decode};
    let mut dice = Prng::from_seed(10);
    let (rig, _, root) = planted(&mut dice);
    let page = root.page.expect("not empty");
    let at = page.start as usize * 4096;
    let whole = &rig.disk[at..at + page.units as usize * 4096];
    for _ in 0..20_000 {
        let mut bytes = whole.to_vec();
        for _ in 0..=dice.below(3) {
            let near = if dice.chance(500) { 64 } else { bytes.len() as u64 };
            let byte = dice.below(near) as usize;
            bytes[byte] = dice.next_u64() as u8;
        }
        // With a checksum that fits, so that the parser sees it.
        let crc = base::checksum::checksum(&bytes);
        let (live, total) = (root.live, root.total);
        let _ =
            decode(&bytes, &Expected { units: page.units, crc, level: root.level, live, total });
        let _ = decode(&bytes, &Expected { units: page.units, crc, level: 0, live, total });
    }
}
