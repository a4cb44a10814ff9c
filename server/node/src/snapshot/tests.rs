//! Snapshots there and back, and what becomes of bent ones.

use base::Prng;

use super::*;

const HEADER: Header = Header {
    cluster_id: 0xcdf8_1819_4e3a_8c32,
    member_id: 0x8e9e_05c5_2164_694d,
    revision: 9,
    compact_revision: 4,
    term: 2,
    index: 77,
};

fn items() -> Vec<SnapshotItem> {
    let version = |main| Version { create: 2, modified: Rev::new(main, 1), version: 3, lease: -7 };
    let text = Bytes::from_static;
    vec![
        SnapshotItem::Row { key: text(b"b"), version: version(3), value: text(b"") },
        SnapshotItem::Row { key: text(b"a"), version: version(4), value: text(b"value") },
        SnapshotItem::Put { key: text(b"a"), version: version(5), value: text(b"new") },
        SnapshotItem::Delete { rev: Rev::new(9, 0), key: text(b"b") },
        SnapshotItem::Meta { key: text(b"l"), value: text(b"lease") },
    ]
}

fn written() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = SnapshotWriter::begin(&HEADER, &mut bytes);
    items().iter().for_each(|item| writer.item(item, &mut bytes));
    let whole = writer.finish(&mut bytes);
    assert_eq!(whole, bytes.len() as u64);
    bytes
}

fn read(bytes: &[u8]) -> Result<(Header, Vec<SnapshotItem>, u64), BadSnapshot> {
    let (head, mut rest) = bytes.split_first_chunk().ok_or(BadSnapshot::Short)?;
    let mut reader = SnapshotReader::begin(head)?;
    let mut items = Vec::new();
    loop {
        let (head, after) = rest.split_first_chunk().ok_or(BadSnapshot::Short)?;
        let len = SnapshotReader::body_bytes(head);
        let (body, after) = after.split_at_checked(len).ok_or(BadSnapshot::Short)?;
        rest = after;
        match reader.item(head, &Bytes::copy_from_slice(body))? {
            SnapshotItem::End(_) => return Ok((reader.header(), items, reader.whole_bytes())),
            item => items.push(item),
        }
    }
}

#[test]
fn a_snapshot_comes_back_as_it_was_written() {
    let bytes = written();
    assert_eq!(bytes.len() as u64 % ALIGN_BYTES, 0);
    assert_eq!(read(&bytes), Ok((HEADER, items(), bytes.len() as u64)));
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let bytes = written();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for at in 0..end {
        let mut bent = bytes.clone();
        bent[at] ^= 0x20;
        // The four zeros behind the header's checksum are covered by the one at the end.
        assert!(read(&bent).is_err(), "byte {at}");
        assert!(read(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn any_bytes_are_a_snapshot_or_an_error() {
    let bytes = written();
    let mut dice = Prng::from_seed(5);
    for _ in 0..20_000 {
        let mut bent = bytes.clone();
        for _ in 0..=dice.below(4) {
            let at = dice.below(bent.len() as u64) as usize;
            bent[at] = dice.next_u64() as u8;
        }
        let _ = read(&bent);
    }
}

#[test]
fn the_first_bytes_never_change() {
    let bytes = written();
    assert_eq!(&bytes[..16], b"RLSNAP01\x01\0\0\0\0\0\0\0");
    assert_eq!(&bytes[72..77], b"\x01\x29\0\0\0");
}
