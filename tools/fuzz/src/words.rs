//! Owns the targets of words between client and server: protobuf requests, gRPC frames, and the
//! texts of settings. Never opens a socket.
//! Law: no bytes make a decoder panic, and what it accepts survives another round.

use base::Prng;
use bytes::Bytes;
use prost::Message;
use ringleader_model::Generator;
use ringleader_twin::rpc;
use settings::{ConfigFile, Machine};
use wire::etcdserverpb as pb;
use wire::grpc::{Decoder, Encoding, FLAG_PACKED};
use wire::gzip::Packer;

use crate::mutate::mutate;

const MESSAGE_BYTES_MAX: u32 = 1 << 16;

/// A valid request of some kind.
pub fn message(dice: &mut Prng) -> Vec<u8> {
    let mut generator = Generator::new(dice.next_u64());
    if dice.chance(200) {
        let create = generator.watch(9, 3);
        let union = pb::watch_request::RequestUnion::CreateRequest(create);
        return pb::WatchRequest { request_union: Some(union) }.encode_to_vec();
    }
    rpc::encode(&generator.next(9, 3)).1.to_vec()
}

/// A request.
pub fn protobuf(dice: &mut Prng) -> Vec<u8> {
    let sample = message(dice);
    mutate(dice, &sample)
}

/// Decodes it as everything that a client may send.
pub fn try_protobuf(bytes: &Bytes) {
    again::<pb::RangeRequest>(bytes);
    again::<pb::PutRequest>(bytes);
    again::<pb::DeleteRangeRequest>(bytes);
    again::<pb::TxnRequest>(bytes);
    again::<pb::CompactionRequest>(bytes);
    again::<pb::LeaseGrantRequest>(bytes);
    again::<pb::WatchRequest>(bytes);
    again::<pb::AlarmRequest>(bytes);
    again::<pb::MemberAddRequest>(bytes);
    again::<pb::AuthUserAddRequest>(bytes);
}

fn again<M: Message + Default + PartialEq>(bytes: &Bytes) {
    if let Ok(message) = M::decode(bytes.clone()) {
        let encoded = Bytes::from(message.encode_to_vec());
        assert!(M::decode(encoded) == Ok(message), "what was written is read the same");
    }
}

/// A stream of frames.
pub fn frames(dice: &mut Prng) -> Vec<u8> {
    let mut sample = Vec::new();
    for _ in 0..1 + dice.below(4) {
        let mut message = message(dice);
        let flag = dice.below(2) as u8;
        if flag == FLAG_PACKED {
            message = Packer::fast().pack(&message).to_vec();
        }
        sample.push(flag);
        sample.extend_from_slice(&(message.len() as u32).to_be_bytes());
        sample.extend(message);
    }
    mutate(dice, &sample)
}

/// Reads it whole and in small pieces: the same messages must come.
pub fn try_frames(bytes: &Bytes) {
    for encoding in [Encoding::Identity, Encoding::Gzip] {
        let whole = messages(bytes, bytes.len().max(1), encoding);
        assert_eq!(whole, messages(bytes, 3, encoding));
    }
}

fn messages(bytes: &Bytes, piece: usize, encoding: Encoding) -> (Vec<Bytes>, bool) {
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX, encoding);
    let mut messages = Vec::new();
    for from in (0..bytes.len()).step_by(piece) {
        decoder.push(bytes.slice(from..(from + piece).min(bytes.len())));
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(_) => return (messages, false),
            }
        }
    }
    (messages, decoder.finish().is_ok())
}

/// Words of a command line, one a line.
pub fn argv(dice: &mut Prng) -> Vec<u8> {
    const SAMPLES: [&str; 6] = [
        "--name\nn1\n--data-dir=/d\n--quota-backend-bytes\n100",
        "-listen-client-urls\nhttp://localhost:1,unix://a:2\n--advertise-client-urls=http://a:1",
        "--initial-cluster\na=http://a:1,b=http://b:2\n--name=a\n--initial-cluster-token\nt",
        "--auto-compaction-retention\n1h30m\n--auto-compaction-mode=periodic",
        "--feature-gates=LeaseCheckpoint=true\n--log-level\ndebug\n--cpu-set\n0,2-3",
        "--heartbeat-interval=50\n--election-timeout\n500\n--cache-size=1GiB\n--",
    ];
    let sample = *dice.pick(&SAMPLES);
    mutate(dice, sample.as_bytes())
}

/// Reads it as far as it goes.
pub fn try_argv(bytes: &Bytes) {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<String> = text.lines().map(str::to_owned).collect();
    if let Ok(line) = settings::parse(&words) {
        let _ = settings::settle(&line, &[], None, &machine());
    }
}

/// A configuration file.
pub fn yaml(dice: &mut Prng) -> Vec<u8> {
    const SAMPLES: [&str; 3] = [
        "name: n1\ndata-dir: /d\nquota-backend-bytes: 100\nlog-outputs: [stderr]\n",
        "listen-client-urls: http://localhost:1\nclient-transport-security:\n  auto-tls: false\n",
        "{\"heartbeat-interval\": 50, \"election-timeout\": 500, \"cors\": \"*\"}",
    ];
    let sample = *dice.pick(&SAMPLES);
    mutate(dice, sample.as_bytes())
}

/// Reads it.
pub fn try_yaml(bytes: &Bytes) {
    let text = String::from_utf8_lossy(bytes);
    let words = ["--config-file".to_owned(), "f".to_owned()];
    let Ok(line) = settings::parse(&words) else { unreachable!("two plain words") };
    let file = ConfigFile { path: "f", text: Ok(&text) };
    let _ = settings::settle(&line, &[], Some(file), &machine());
}

fn machine() -> Machine {
    Machine { cores_available: 4, default_host: None }
}

/// Texts in headers.
pub fn headers(dice: &mut Prng) -> Vec<u8> {
    let sample = *dice.pick(&["100m", "5S", "a%20b%E2%82", "/etcdserverpb.KV/Range"]);
    mutate(dice, sample.as_bytes())
}

/// Reads it as each of them.
pub fn try_headers(bytes: &Bytes) {
    let text = String::from_utf8_lossy(bytes);
    let _ = wire::grpc::parse_timeout(&text);
    let _ = wire::status::percent_decode(&text);
    assert_eq!(wire::status::percent_decode(&wire::status::percent_encode(&text)), text);
    let _ = wire::Method::from_path(&text);
}
