//! Laws of the framing: any cutting of a stream gives the same messages, and nothing panics.

use base::Prng;

use super::*;
use crate::etcdserverpb::PutRequest;

fn drain(decoder: &mut Decoder, into: &mut Vec<Bytes>) -> Result<(), Status> {
    while let Some(message) = decoder.next_message()? {
        into.push(message);
    }
    Ok(())
}

#[test]
fn any_cutting_of_a_stream_gives_the_same_messages() {
    for seed in 0..200 {
        let mut dice = Prng::from_seed(seed);
        let mut stream = BytesMut::new();
        let mut sent = Vec::new();
        for _ in 0..dice.below(8) {
            let mut message = vec![0; dice.below(40) as usize];
            dice.fill(&mut message);
            put_prefix(&mut stream, message.len());
            stream.put_slice(&message);
            sent.push(Bytes::from(message));
        }
        let mut stream = stream.freeze();
        let (mut decoder, mut received) = (Decoder::new(64, Encoding::Identity), Vec::new());
        while !stream.is_empty() {
            let cut = (1 + dice.below(30) as usize).min(stream.len());
            decoder.push(stream.split_to(cut));
            if dice.chance(800) {
                drain(&mut decoder, &mut received).unwrap();
            }
        }
        drain(&mut decoder, &mut received).unwrap();
        assert_eq!(received, sent, "seed {seed}");
        assert_eq!(decoder.finish(), Ok(()));
        assert_eq!(decoder.buffered(), 0);
    }
}

#[test]
fn a_message_within_one_chunk_is_not_copied() {
    let chunk = frame(&PutRequest { key: Bytes::from_static(b"k"), ..PutRequest::default() });
    let mut decoder = Decoder::new(1024, Encoding::Identity);
    decoder.push(chunk.clone());
    let message = decoder.next_message().unwrap().unwrap();
    assert_eq!(message.as_ptr(), chunk[PREFIX_BYTES..].as_ptr());
    let put: PutRequest = decode(message).unwrap();
    assert_eq!(put.key.as_ptr(), chunk[PREFIX_BYTES + 2..].as_ptr());
}

#[test]
fn a_message_over_the_limit_is_refused_at_its_prefix() {
    for cut in [1, 3, 5] {
        let prefix = Bytes::from_static(&[0, 0, 0x21, 0x91, 0xdd]);
        let mut decoder = Decoder::new(2_097_152, Encoding::Identity);
        decoder.push(prefix.slice(..cut));
        assert_eq!(decoder.next_message().is_err(), cut == 5);
        decoder.push(prefix.slice(cut..));
        let error = decoder.next_message().unwrap_err();
        assert_eq!(error.code, Code::ResourceExhausted);
        assert_eq!(error.message, "grpc: received message larger than max (2200029 vs. 2097152)");
        assert_eq!(decoder.next_message().unwrap_err(), error);
    }
}

#[test]
fn compressed_and_unknown_flags_are_refused() {
    let refusal = |flag| {
        let mut decoder = Decoder::new(9, Encoding::Identity);
        decoder.push(Bytes::copy_from_slice(&[flag, 0, 0, 0, 0]));
        decoder.next_message().unwrap_err().code
    };
    assert_eq!(refusal(1), Code::Internal);
    assert_eq!(refusal(2), Code::Internal);
    assert_eq!(refusal(255), Code::Internal);
    let error = parse_encoding("snappy").unwrap_err();
    assert_eq!(error.code, Code::Unimplemented);
    let text = "grpc: Decompressor is not installed for grpc-encoding \"snappy\"";
    assert_eq!(error.message, text);
    assert_eq!(parse_encoding("GZIP").unwrap_err().code, Code::Unimplemented);
    assert_eq!(parse_encoding("identity"), Ok(Encoding::Identity));
    assert_eq!(parse_encoding(""), Ok(Encoding::Identity));
    assert_eq!(parse_encoding("gzip"), Ok(Encoding::Gzip));
}

#[test]
fn packed_and_plain_messages_mix_in_one_stream() {
    let packed = crate::gzip::Packer::fast().pack(b"packed");
    let mut stream = BytesMut::new();
    put_prefix(&mut stream, 5);
    stream.put_slice(b"plain");
    stream.put_u8(FLAG_PACKED);
    stream.put_u32(packed.len() as u32);
    stream.put_slice(&packed);
    let stream = stream.freeze();
    for cut in 1..stream.len() {
        let (mut decoder, mut received) = (Decoder::new(64, Encoding::Gzip), Vec::new());
        for part in [stream.slice(..cut), stream.slice(cut..)] {
            decoder.push(part);
            drain(&mut decoder, &mut received).unwrap();
        }
        assert_eq!(received, ["plain", "packed"], "cut at {cut}");
        assert_eq!(decoder.finish(), Ok(()));
    }
}

#[test]
fn a_stream_that_ends_inside_a_message_is_an_error() {
    let mut decoder = Decoder::new(9, Encoding::Identity);
    decoder.push(Bytes::from_static(&[0, 0, 0, 0, 3, 1]));
    assert_eq!(decoder.next_message(), Ok(None));
    assert_eq!(decoder.finish().unwrap_err().message, "unexpected EOF");
}

#[test]
fn timeouts_read_as_grpc_writes_them() {
    assert_eq!(parse_timeout("1H"), Ok(Duration::from_secs(3600)));
    assert_eq!(parse_timeout("2M"), Ok(Duration::from_secs(120)));
    assert_eq!(parse_timeout("3S"), Ok(Duration::from_secs(3)));
    assert_eq!(parse_timeout("4999998u"), Ok(Duration::from_micros(4_999_998)));
    assert_eq!(parse_timeout("5m"), Ok(Duration::from_millis(5)));
    assert_eq!(parse_timeout("6n"), Ok(Duration::from_nanos(6)));
    assert_eq!(parse_timeout("99999999H"), Ok(Duration::from_secs(99_999_999 * 3600)));
    for bad in ["", "1", "S", "1x", "-1S", "+1S", "1 S", "123456789S", "1é", "é"] {
        assert_eq!(parse_timeout(bad).unwrap_err().code, Code::Internal, "{bad}");
    }
}

#[test]
fn random_bytes_never_panic_the_framing() {
    let mut dice = Prng::from_seed(41);
    for _ in 0..20_000 {
        let mut bytes = vec![0; dice.below(24) as usize];
        dice.fill(&mut bytes);
        if dice.chance(700) && bytes.len() > 3 {
            bytes[..3].fill(0);
        }
        let _ = parse_timeout(&String::from_utf8_lossy(&bytes));
        let mut decoder = Decoder::new(16, Encoding::Identity);
        decoder.push(Bytes::from(bytes));
        while let Ok(Some(message)) = decoder.next_message() {
            assert!(message.len() <= 16);
        }
        assert!(decoder.buffered() <= 24);
    }
}
