//! Owns the cost of commands: into a log entry, out of it, and decided.

use divan::{Bencher, black_box};
use state::{
    CheckpointPolicy, Command, CommandBatch, Kind, LogPosition, Origin, Sequencer, SequencerOptions,
};
use wire::etcdserverpb::PutRequest;

use crate::data::{keys, ring, value};

/// Live keys of the store that decides.
const LIVE: u64 = 100_000;

/// Puts of different keys.
fn puts(count: u64) -> Vec<Command> {
    let value = value();
    let put = |(sequence, key)| {
        let request = PutRequest { key, value: value.clone(), ..PutRequest::default() };
        let origin = Origin { member: 1, sequence };
        Command { kind: Kind::Put, origin, body: wire::grpc::encode(&request) }
    };
    (0..).zip(keys(count)).map(put).collect()
}

#[divan::bench(args = [1, 100])]
fn encode_batch(bencher: Bencher, commands: u64) {
    let batch = CommandBatch { commands: puts(commands) };
    bencher.bench_local(|| black_box(&batch).encode());
}

#[divan::bench(args = [1, 100])]
fn decode_batch(bencher: Bencher, commands: u64) {
    let entry = CommandBatch { commands: puts(commands) }.encode();
    bencher.bench_local(|| CommandBatch::decode(black_box(&entry)));
}

#[divan::bench]
fn decide_put(bencher: Bencher) {
    let commands = puts(LIVE);
    let lease_checkpoints = CheckpointPolicy::Off;
    let mut sequencer = Sequencer::new(SequencerOptions { hash_seed: 1, lease_checkpoints });
    let mut at = LogPosition { term: 1, index: 0 };
    let mut decide = move |command: &Command| {
        at.index += 1;
        sequencer.apply(at, command)
    };
    for command in &commands {
        decide(command);
    }
    let mut next = ring(commands.len());
    bencher.bench_local(|| decide(&commands[next()]));
}
