//! Compiles the `.proto` files with protox (so that no protoc needs to be installed) and lists the
//! services it found, so that a test can hold the hand-written method table against them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, error, fs};

const PROTOS: [&str; 6] = [
    "proto/mvcc.proto",
    "proto/auth.proto",
    "proto/rpc.proto",
    "proto/lock.proto",
    "proto/election.proto",
    "proto/health.proto",
];

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut files = protox::compile(PROTOS, ["proto"])?;
    let mut methods = String::new();
    for file in &mut files.file {
        let package = file.package().to_owned();
        for service in &file.service {
            for method in &service.method {
                writeln!(
                    methods,
                    "/{package}.{}/{} {} {}",
                    service.name(),
                    method.name(),
                    method.client_streaming(),
                    method.server_streaming()
                )?;
            }
        }
        for message in &mut file.message_type {
            for field in &mut message.field {
                // Names do not cross the wire. As they stand, Rust would call them `peer_ur_ls`.
                match field.name() {
                    "peerURLs" => field.name = Some("peer_urls".to_owned()),
                    "clientURLs" => field.name = Some("client_urls".to_owned()),
                    _ => {}
                }
            }
        }
    }
    fs::write(out.join("methods.txt"), methods)?;
    prost_build::Config::new().bytes(["."]).btree_map(["."]).compile_fds(files)?;
    Ok(())
}
