//! The bytes on disk are what docs/data_file.md says, to the bit. If this fails, the format
//! has changed: raise its version, or put the old bytes back.

use std::fmt::Write;

use base::Rev;
use bytes::Bytes;

use super::disk::Rig;
use crate::{Entry, ROOT_BYTES, RootRef, Value};

/// A small tree: one large value, one tombstone, keys of several lengths, three leaves.
fn planted() -> (Rig, RootRef) {
    let mut rig = Rig::new(1 << 20);
    let put = |rig: &mut Rig, key: &[u8], version: i64, value: Vec<u8>| {
        let modified = Rev::new(0x0102_0304_0506 + version, version as u32);
        let value = Value::Inline(Bytes::from(value));
        let entry = Entry { modified, create: version, version, lease: -version, value };
        rig.put(key, &entry).expect("no rot");
    };
    put(&mut rig, b"a", 1, b"inline".to_vec());
    put(&mut rig, b"a/large", 2, vec![0xee; 5000]);
    put(&mut rig, b"b", 0, Vec::new());
    for number in 0..9 {
        put(&mut rig, format!("c/{number}").as_bytes(), 3, vec![number; 4000]);
    }
    let root = rig.checkpoint();
    (rig, root)
}

/// Hex, 16 bytes a line; runs of equal lines are shortened to a star, as hexdump does.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut last: Option<&[u8]> = None;
    let mut is_run = false;
    for (line, sixteen) in bytes.chunks(16).enumerate() {
        if last == Some(sixteen) {
            text.push_str(if is_run { "" } else { "*\n" });
            is_run = true;
            continue;
        }
        (last, is_run) = (Some(sixteen), false);
        write!(text, "{:06x} ", line * 16).expect("memory");
        sixteen.iter().for_each(|byte| write!(text, " {byte:02x}").expect("memory"));
        text.push('\n');
    }
    text
}

#[test]
fn the_bytes_of_file_and_root_are_the_golden_ones() {
    let (rig, root) = planted();
    rig.check(&root);
    let mut bytes = Vec::new();
    root.put(&mut bytes);
    assert_eq!(bytes.len(), ROOT_BYTES);
    let found = format!("root reference\n{}file\n{}", hex(&bytes), hex(&rig.disk));
    let golden = include_str!("golden.hex");
    let differs = found.lines().zip(golden.lines()).find(|(found, golden)| found != golden);
    assert_eq!((differs, found.len()), (None, golden.len()), "found:\n{found}");
}

#[test]
fn no_other_root_reference_than_a_sane_one_is_taken() {
    use base::bytes_le::Take;
    let (_, root) = planted();
    let mut bytes = Vec::new();
    root.put(&mut bytes);
    assert_eq!(RootRef::take(&mut Take::new(&bytes)), Ok(root));
    assert!(RootRef::take(&mut Take::new(&bytes[..ROOT_BYTES - 1])).is_err());
    // A start, a size or a count that cannot be, and bytes that must be zero.
    for at in [11, 15, 23, 31, 43, 47, 58, 61, 62, 63] {
        let mut other = bytes.clone();
        other[at] = 0xff;
        assert!(RootRef::take(&mut Take::new(&other)).is_err(), "byte {at}");
    }
    let mut empty = Vec::new();
    RootRef::EMPTY.put(&mut empty);
    assert_eq!(RootRef::take(&mut Take::new(&empty)), Ok(RootRef::EMPTY));
}
