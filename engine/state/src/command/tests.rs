//! Laws of the batch format.

use base::Prng;

use super::*;

fn command(kind: Kind, sequence: u64, body: &'static [u8]) -> Command {
    let origin = Origin { member: 0x0102_0304_0506_0708, sequence };
    Command { kind, origin, body: Bytes::from_static(body) }
}

#[test]
fn the_bytes_of_a_batch_never_change() {
    let batch = CommandBatch {
        commands: vec![command(Kind::Put, 9, b"body"), command(Kind::ClusterVersion, 10, b"")],
    };
    #[rustfmt::skip]
    let golden = [
        1, 0,  0, 0,  2, 0, 0, 0,
        1, 0, 0, 0,  4, 0, 0, 0,  8, 7, 6, 5, 4, 3, 2, 1,  9, 0, 0, 0, 0, 0, 0, 0,
        b'b', b'o', b'd', b'y',
        11, 0, 0, 0,  0, 0, 0, 0,  8, 7, 6, 5, 4, 3, 2, 1,  10, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(batch.encode().as_ref(), golden);
    assert_eq!(CommandBatch::decode(&Bytes::copy_from_slice(&golden)), Ok(batch));
}

#[test]
fn bodies_are_slices_of_the_entry() {
    let entry = CommandBatch { commands: vec![command(Kind::Put, 1, b"0123456789")] }.encode();
    let body = CommandBatch::decode(&entry).expect("ours").commands.remove(0).body;
    assert!(entry.as_ptr_range().contains(&body.as_ptr()));
}

#[test]
fn any_other_bytes_are_an_error() {
    let batch = CommandBatch {
        commands: vec![command(Kind::Txn, 1, b"abc"), command(Kind::Compact, 2, b"defg")],
    };
    let entry = batch.encode();
    for cut in 0..entry.len() {
        assert_eq!(CommandBatch::decode(&entry.slice(..cut)), Err(BadBatch::Short), "{cut}");
    }
    let changed = |at: usize, to: u8| {
        let mut bytes = entry.to_vec();
        bytes[at] = to;
        CommandBatch::decode(&Bytes::from(bytes))
    };
    assert_eq!(changed(0, 2), Err(BadBatch::Format { found: 2 }));
    assert_eq!(changed(2, 1), Err(BadBatch::Padding));
    assert_eq!(changed(4, 1), Err(BadBatch::Padding));
    assert_eq!(changed(7, 255), Err(BadBatch::Short));
    assert_eq!(changed(8, 0), Err(BadBatch::Kind { found: 0 }));
    assert_eq!(changed(8, 13), Err(BadBatch::Kind { found: 13 }));
    assert_eq!(changed(10, 1), Err(BadBatch::Padding));
}

#[test]
fn decoding_is_total_and_a_batch_has_one_encoding() {
    let mut dice = Prng::from_seed(3);
    let entry =
        CommandBatch { commands: vec![command(Kind::Alarm, 1, b"ab"); 3] }.encode().to_vec();
    for _ in 0..20_000 {
        let mut bytes = entry.clone();
        for _ in 0..=dice.below(3) {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] = dice.next_u64() as u8;
        }
        let bytes = Bytes::from(bytes);
        if let Ok(batch) = CommandBatch::decode(&bytes) {
            assert_eq!(batch.encode(), bytes);
            batch.commands.iter().for_each(|command| drop(command.request()));
        }
    }
}

#[test]
fn internal_bodies_are_read_back_as_they_were_written() {
    let origin = Origin { member: 1, sequence: 2 };
    let expired = Command::leases_expired(origin, &[1, -2, i64::MAX]);
    assert_eq!(expired.request(), Ok(Request::LeasesExpired(vec![1, -2, i64::MAX])));
    let checkpoints = vec![LeaseCheckpoint { id: 4, remaining_s: 5 }];
    let command = Command::lease_checkpoint(origin, &checkpoints);
    assert_eq!(command.request(), Ok(Request::LeaseCheckpoint(checkpoints)));
    let odd = Command { body: command.body.slice(..8), ..command };
    assert_eq!(odd.request(), Err(BadBody { kind: Kind::LeaseCheckpoint }));
    let version = Command::cluster_version(origin, "3.7.0");
    assert_eq!(version.request(), Ok(Request::ClusterVersion("3.7.0".to_owned())));
    let words = MemberAttributes { id: 1, name: "a".into(), client_urls: vec!["u".into()] };
    let command = Command::member_attributes(origin, &words);
    assert_eq!(command.request(), Ok(Request::MemberAttributes(words)));
}
