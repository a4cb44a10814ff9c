//! Laws of the simulated disk.

use base::{FileId, IoRequest, IoResult, Prng, SliceId};
use bytes::Bytes;

use super::Disk;

const TREE: FileId = FileId::Tree(SliceId(0));

fn write(disk: &mut Disk, file: FileId, byte: u8) -> u64 {
    disk.begin(IoRequest::Write { file, offset: 4096, bytes: Bytes::from(vec![byte; 4096]) })
}

fn done(disk: &mut Disk, request: IoRequest) -> IoResult {
    let ticket = disk.begin(request);
    disk.complete(ticket)
}

fn read(disk: &mut Disk, file: FileId) -> Bytes {
    match done(disk, IoRequest::Read { file, offset: 4096, len: 4096 }) {
        IoResult::Read(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sync_keeps_what_was_complete_when_it_came_and_no_more() {
    let mut lost = 0;
    for seed in 0..100 {
        let (mut disk, mut dice) = (Disk::default(), Prng::from_seed(seed));
        let first = write(&mut disk, TREE, 1);
        disk.complete(first);
        let sync = disk.begin(IoRequest::Sync { file: TREE });
        let second = write(&mut disk, TREE, 2);
        disk.complete(second);
        disk.complete(sync);
        assert_eq!(read(&mut disk, TREE)[0], 2, "reads see the newest");
        disk.crash(&mut dice);
        let left = read(&mut disk, TREE);
        assert!(left.iter().all(|byte| *byte == 1 || *byte == 2));
        lost += u32::from(left[0] == 1);
    }
    assert!(0 < lost && lost < 100, "{lost} of 100");
}

#[test]
fn a_completed_log_write_survives_and_one_in_flight_may_tear() {
    let mut torn = 0;
    for seed in 0..100 {
        let (mut disk, mut dice) = (Disk::default(), Prng::from_seed(seed));
        let log = FileId::Log(1);
        done(&mut disk, IoRequest::Prepare { file: log, len: 64 << 20, recycle: None });
        let first = write(&mut disk, log, 1);
        disk.complete(first);
        write(&mut disk, log, 2);
        disk.crash(&mut dice);
        let left = read(&mut disk, log);
        assert!(left.iter().all(|byte| *byte == 1 || *byte == 2));
        torn += u32::from(left.iter().any(|byte| *byte != left[0]));
    }
    assert!(0 < torn && torn < 100, "{torn} of 100");
}

#[test]
fn a_file_without_a_sync_may_lose_its_name() {
    let left = (0..100).filter(|seed| {
        let mut disk = Disk::default();
        let ticket = write(&mut disk, TREE, 1);
        disk.complete(ticket);
        disk.crash(&mut Prng::from_seed(*seed));
        disk.peek(TREE, 4096).is_some()
    });
    let left = left.count();
    assert!(0 < left && left < 100, "{left} of 100");
}

#[test]
fn damage_is_undone_unless_the_block_was_written_since() {
    let mut disk = Disk::default();
    let ticket = write(&mut disk, FileId::Log(1), 1);
    disk.complete(ticket);
    let spot = disk.solid_spots()[0];
    let damage = disk.damage(spot, Bytes::from(vec![9; 4096]));
    assert_eq!(read(&mut disk, FileId::Log(1))[0], 9);
    disk.repair(&damage);
    assert_eq!(read(&mut disk, FileId::Log(1))[0], 1);
    let damage = disk.damage(spot, Bytes::from(vec![9; 4096]));
    let ticket = write(&mut disk, FileId::Log(1), 3);
    disk.complete(ticket);
    disk.repair(&damage);
    assert_eq!(read(&mut disk, FileId::Log(1))[0], 3);
}
