//! Owns the laws of greetings and frames: golden bytes, round trips, and that damage is told.

use base::Prng;

use super::frame::FRAME_HEAD_BYTES;
use super::*;

const V: Version = Version { major: 3, minor: 7, patch: 1 };

fn hello() -> Hello {
    Hello {
        lane: Lane::Bulk,
        cluster_id: 0xcdf8_1819_4e3a_8c32,
        from: 0x8e9e_05c5_2164_694d,
        to: 7,
        version: V,
        version_min: Version { major: 3, minor: 7, patch: 0 },
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stream(lane: Lane, payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = FrameWriter::new(lane);
    let mut bytes = Vec::new();
    for payload in payloads {
        bytes.extend_from_slice(&writer.head(payload));
        bytes.extend_from_slice(payload);
    }
    bytes
}

fn read(lane: Lane, bytes: &[u8], dice: &mut Prng) -> Result<(Vec<Vec<u8>>, bool), BadFrame> {
    let mut reader = FrameReader::new(lane);
    let (mut payloads, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let end = bytes.len().min(at + 1 + dice.below(300) as usize);
        let mut chunk = &bytes[at..end];
        at = end;
        while let Some(payload) = reader.next(&mut chunk)? {
            payloads.push(payload.to_vec());
        }
        assert!(chunk.is_empty());
    }
    Ok((payloads, reader.is_between_frames()))
}

#[test]
fn greetings_and_frames_have_these_bytes_forever() {
    assert_eq!(
        hex(&hello().encode()),
        "8952494e474c450a0100010000000000328c3a4e1918f8cd4d696421c5059e8e0700000000000000\
         03000700010000000300070000000000000000006db32093"
    );
    let answer = Answer { verdict: Verdict::Removed, cluster_id: 9, version: V };
    assert_eq!(
        hex(&answer.encode()),
        "8952494e474c450a010003000000000009000000000000000300070001000000000000003d51b420"
    );
    let bytes = stream(Lane::Prompt, &[b"append".to_vec(), b"".to_vec()]);
    assert_eq!(hex(&bytes), "0600000005c9fdc4617070656e6400000000008a70e0");
}

#[test]
fn a_greeting_survives_its_bytes_and_damage_anywhere_is_told() {
    let bytes = hello().encode();
    assert_eq!(Hello::decode(&bytes), Ok(hello()));
    for verdict in Verdict::ALL {
        let answer = Answer { verdict, cluster_id: 9, version: V };
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
    for bit in 0..8 * HELLO_BYTES {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Hello::decode(&damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn another_format_is_named_even_if_its_checksum_stands_elsewhere() {
    let mut bytes = hello().encode();
    bytes[8] = 2;
    assert_eq!(Hello::decode(&bytes), Err(BadGreeting::Format(2)));
    bytes[0] = b'G';
    assert_eq!(Hello::decode(&bytes), Err(BadGreeting::Magic));
}

#[test]
fn a_version_is_three_numbers_and_they_compare_as_such() {
    assert_eq!(Version::parse("3.7.1"), Some(V));
    assert_eq!(
        Version::parse("3.8.0-alpha.0").map(|version| version.to_string()).as_deref(),
        Some("3.8.0")
    );
    for bad in ["", "3", "3.7", "3.7.1.0", "3.x.1", "3.7.99999"] {
        assert_eq!(Version::parse(bad), None, "{bad}");
    }
    assert!(Version::parse("3.10.0") > Version::parse("3.9.9"));
}

#[test]
fn frames_come_out_as_they_went_in_whatever_pieces_they_arrive_in() {
    let mut dice = Prng::from_seed(21);
    for _ in 0..200 {
        let payloads: Vec<Vec<u8>> = (0..dice.below(8))
            .map(|_| {
                let mut payload = vec![0; dice.below(2000) as usize];
                dice.fill(&mut payload);
                payload
            })
            .collect();
        let bytes = stream(Lane::Prompt, &payloads);
        assert_eq!(read(Lane::Prompt, &bytes, &mut dice), Ok((payloads, true)));
    }
}

#[test]
fn a_large_frame_takes_exactly_its_length() {
    let payload = vec![7; 1_000_003];
    let bytes = stream(Lane::Bulk, std::slice::from_ref(&payload));
    let mut reader = FrameReader::new(Lane::Bulk);
    let mut got = None;
    for mut chunk in bytes.chunks(100_000) {
        got = reader.next(&mut chunk).unwrap();
    }
    assert_eq!(got.unwrap(), payload);
}

#[test]
fn a_flipped_bit_or_a_moved_frame_never_comes_out_as_a_frame() {
    let mut dice = Prng::from_seed(22);
    let payloads = [b"one".to_vec(), b"two".to_vec(), vec![3; 500]];
    let bytes = stream(Lane::Prompt, &payloads);
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // A longer length may swallow the rest of the stream and wait for more: nothing came out.
        match read(Lane::Prompt, &damaged, &mut dice) {
            Ok((got, ended)) => assert!(!ended && got.len() < 3, "bit {bit}"),
            Err(BadFrame::Checksum { .. } | BadFrame::TooLong { .. }) => {}
        }
    }
    let frame = FRAME_HEAD_BYTES + 3;
    let swapped = [&bytes[frame..2 * frame], &bytes[..frame], &bytes[2 * frame..]].concat();
    assert_eq!(read(Lane::Prompt, &swapped, &mut dice), Err(BadFrame::Checksum { number: 0 }));
    let repeated = [&bytes[..frame], &bytes[..frame]].concat();
    assert_eq!(read(Lane::Prompt, &repeated, &mut dice), Err(BadFrame::Checksum { number: 1 }));
}

#[test]
fn a_frame_beyond_its_lane_is_refused_when_its_head_is_seen() {
    for lane in Lane::ALL {
        let too_long = lane.frame_bytes_max() as u32 + 1;
        let mut head = [0; FRAME_HEAD_BYTES];
        head[..4].copy_from_slice(&too_long.to_le_bytes());
        let refused = FrameReader::new(lane).next(&mut &head[..]);
        assert_eq!(refused, Err(BadFrame::TooLong { bytes: too_long }));
    }
}
