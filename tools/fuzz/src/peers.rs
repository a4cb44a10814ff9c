//! Owns the targets of words between members: greetings, frames, and notes.
//! Never opens a socket. Law: no bytes make a decoder panic; a frame that comes out is one that
//! went in, at its place; a note that is accepted survives another round.

use base::Prng;
use bytes::Bytes;
use node::PeerNote;
use node::peer::PeerAsk;
use wire::peer::{
    ANSWER_BYTES, Answer, FrameReader, FrameWriter, HELLO_BYTES, Hello, Lane, Verdict, Version,
};

use crate::formats;
use crate::mutate::mutate;

/// The payloads of one stream: equal seeds make equal ones, so the reader knows what went in.
const PAYLOADS: [&[u8]; 4] = [b"", b"append", b"heartbeat", &[7; 300]];

fn version(dice: &mut Prng) -> Version {
    let mut number = || dice.below(10) as u16;
    Version { major: number(), minor: number(), patch: number() }
}

/// A hello or an answer.
pub fn greeting(dice: &mut Prng) -> Vec<u8> {
    let (version, cluster_id) = (version(dice), dice.next_u64());
    let sample = match dice.chance(500) {
        true => {
            let lane = *dice.pick(&Lane::ALL);
            let (from, to) = (dice.next_u64(), dice.next_u64());
            let version_min = version;
            Hello { lane, cluster_id, from, to, version, version_min }.encode().to_vec()
        }
        false => {
            let verdict = *dice.pick(&[Verdict::Accepted, Verdict::Removed]);
            Answer { verdict, cluster_id, version }.encode().to_vec()
        }
    };
    mutate(dice, &sample)
}

/// What is read is what would be written.
pub fn try_greeting(bytes: &Bytes) {
    if let Some(bytes) = bytes.first_chunk::<HELLO_BYTES>()
        && let Ok(hello) = Hello::decode(bytes)
    {
        assert_eq!(hello.encode(), *bytes);
    }
    if let Some(bytes) = bytes.first_chunk::<ANSWER_BYTES>()
        && let Ok(answer) = Answer::decode(bytes)
    {
        assert_eq!(answer.encode(), *bytes);
    }
}

/// A stream of [`PAYLOADS`].
pub fn stream(dice: &mut Prng) -> Vec<u8> {
    let mut writer = FrameWriter::new(Lane::Prompt);
    let mut sample = Vec::new();
    for payload in PAYLOADS {
        sample.extend_from_slice(&writer.head(payload));
        sample.extend_from_slice(payload);
    }
    mutate(dice, &sample)
}

/// Whole and in pieces the same comes out, and it is what went in, up to the first damage.
pub fn try_stream(bytes: &Bytes) {
    let whole = payloads(bytes, bytes.len().max(1));
    assert_eq!(whole, payloads(bytes, 5));
    for (payload, sent) in whole.0.iter().zip(PAYLOADS) {
        assert_eq!(payload[..], *sent);
    }
    assert!(whole.0.len() <= PAYLOADS.len());
}

fn payloads(bytes: &Bytes, piece: usize) -> (Vec<Bytes>, bool) {
    let mut reader = FrameReader::new(Lane::Prompt);
    let mut payloads = Vec::new();
    for mut chunk in bytes.chunks(piece) {
        loop {
            match reader.next(&mut chunk) {
                Ok(Some(payload)) => payloads.push(payload),
                Ok(None) => break,
                Err(_) => return (payloads, false),
            }
        }
    }
    (payloads, reader.is_between_frames())
}

/// A note of some kind.
pub fn note(dice: &mut Prng) -> Vec<u8> {
    let number = dice.next_u64();
    let bytes = Bytes::from_static(b"part");
    let sample = match dice.below(6) {
        // An append with one entry, as its protobuf fields.
        0 => b"\x01\0\0\0\0\0\0\0\x08\x03\x10\x01\x18\x02\x20\x05\x28\x04\x30\x03\
               \x3a\x08\x10\x05\x18\x04\x22\x02hi\x40\x03"
            .to_vec(),
        1 => [&[2, 0, 0, 0, 0, 0, 0, 0][..], &formats::command_batch(dice)].concat(),
        2 => {
            let peer_urls = vec!["http://a:1".to_owned(), "http://b:2".to_owned()];
            let ask = PeerAsk::UpdateMember { id: number, peer_urls };
            PeerNote::Ask { number, ask }.encode().to_vec()
        }
        3 => PeerNote::Part { transfer: number, number: 3, bytes }.encode().to_vec(),
        4 => PeerNote::Taken { transfer: number, number: 3 }.encode().to_vec(),
        _ => PeerNote::Refused { transfer: number }.encode().to_vec(),
    };
    mutate(dice, &sample)
}

/// What is accepted survives another round.
pub fn try_note(bytes: &Bytes) {
    if let Ok(note) = PeerNote::decode(bytes) {
        let again = note.encode();
        assert_eq!(PeerNote::decode(&again), Ok(note));
    }
}
