//! Prints random commands with the model's answers, one a line, for `against_etcd.py` to replay on
//! a real server: `METHOD REQUEST ok REPLY`, `METHOD REQUEST err CODE TEXT`, and after the last
//! command some watches of the past, `watch REQUEST ok REPLY` `watch REQUEST compacted REVISION` or
//! `watch REQUEST empty -`. Messages are protobuf in hexadecimal.

use prost::Message;
use ringleader_model::{Generator, Model, Request, Response, WatchEnd};
use std::fmt::Write as _;
use wire::etcdserverpb::WatchResponse;

const WATCHES: u32 = 12;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (Some(Ok(seed)), Some(Ok(commands)), None) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: transcript SEED COMMANDS");
        std::process::exit(2);
    };
    let mut model = Model::new();
    let mut generator = Generator::new(seed);
    for _ in 0..commands {
        let request = generator.next(model.revision(), model.compacted());
        let answer = model.execute(&request);
        let (method, sent) = encode_request(&request);
        match answer {
            Ok(response) => println!("{method} {sent} ok {}", encode_response(&response)),
            Err(status) => {
                println!("{method} {sent} err {} {}", status.code.number(), status.message);
            }
        }
    }
    for _ in 0..WATCHES {
        let watch = generator.watch(model.revision(), model.compacted());
        match model.watch(&watch) {
            Ok(events) => {
                let reply = WatchResponse { events, ..Default::default() };
                println!("watch {} ok {}", hex(&watch), hex(&reply));
            }
            Err(WatchEnd::Compacted(at)) => println!("watch {} compacted {at}", hex(&watch)),
            Err(WatchEnd::EmptyRange) => println!("watch {} empty -", hex(&watch)),
        }
    }
}

fn encode_request(request: &Request) -> (&'static str, String) {
    match request {
        Request::Range(message) => ("KV/Range", hex(message)),
        Request::Put(message) => ("KV/Put", hex(message)),
        Request::DeleteRange(message) => ("KV/DeleteRange", hex(message)),
        Request::Txn(message) => ("KV/Txn", hex(message)),
        Request::Compact(message) => ("KV/Compact", hex(message)),
        Request::LeaseGrant(message) => ("Lease/LeaseGrant", hex(message)),
        Request::LeaseRevoke(message) => ("Lease/LeaseRevoke", hex(message)),
        Request::LeaseKeepAlive(message) => ("Lease/LeaseKeepAlive", hex(message)),
        Request::LeaseTimeToLive(message) => ("Lease/LeaseTimeToLive", hex(message)),
        Request::LeaseLeases(message) => ("Lease/LeaseLeases", hex(message)),
    }
}

fn encode_response(response: &Response) -> String {
    match response {
        Response::Range(message) => hex(message),
        Response::Put(message) => hex(message),
        Response::DeleteRange(message) => hex(message),
        Response::Txn(message) => hex(message),
        Response::Compact(message) => hex(message),
        Response::LeaseGrant(message) => hex(message),
        Response::LeaseRevoke(message) => hex(message),
        Response::LeaseKeepAlive(message) => hex(message),
        Response::LeaseTimeToLive(message) => hex(message),
        Response::LeaseLeases(message) => hex(message),
    }
}

/// `.` stands for the message without fields.
fn hex(message: &impl Message) -> String {
    let mut text = String::new();
    for byte in message.encode_to_vec() {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    if text.is_empty() { ".".to_owned() } else { text }
}
