//! Throws hostile bytes at every decoder: valid samples with a few changes, and noise.
//! Never needs more than a stable compiler. Invariant: `fuzz --seed S --iterations 1 TARGET` with
//! the figures of a panic replays it.
#![forbid(unsafe_code)]

mod formats;
mod heads;
mod member;
mod mutate;
mod peers;
mod words;

use std::process::ExitCode;
use std::time::Instant;

use base::Prng;
use bytes::Bytes;

const USAGE: &str = "usage: fuzz [--iterations N] [--seed S] [TARGET...]";

/// Takes one input; panics if a law is broken.
type Consumer = Box<dyn FnMut(&Bytes)>;

/// One decoder, or several that read the same bytes.
struct Target {
    name: &'static str,
    /// Iterations of this one for each thousand that are asked for: dear ones get fewer.
    per_mille: u64,
    make: fn(&mut Prng) -> Vec<u8>,
    /// Made once, used for every input.
    prepare: fn() -> Consumer,
}

const TARGETS: &[Target] = &[
    Target {
        name: "command_batch",
        per_mille: 1000,
        make: formats::command_batch,
        prepare: || Box::new(formats::try_command_batch),
    },
    Target {
        name: "manifest",
        per_mille: 50,
        make: formats::manifest,
        prepare: || Box::new(formats::try_manifest),
    },
    Target {
        name: "slice_root",
        per_mille: 1000,
        make: formats::slice_root,
        prepare: || Box::new(formats::try_slice_root),
    },
    Target {
        name: "meta_fact",
        per_mille: 1000,
        make: formats::meta_fact,
        prepare: || Box::new(formats::try_meta_fact),
    },
    Target {
        name: "member_change",
        per_mille: 1000,
        make: formats::member_change,
        prepare: || Box::new(formats::try_member_change),
    },
    Target {
        name: "log",
        per_mille: 20,
        make: formats::log,
        prepare: || Box::new(formats::try_log),
    },
    Target {
        name: "protobuf",
        per_mille: 1000,
        make: words::protobuf,
        prepare: || Box::new(words::try_protobuf),
    },
    Target {
        name: "frames",
        per_mille: 1000,
        make: words::frames,
        prepare: || Box::new(words::try_frames),
    },
    Target {
        name: "http1",
        per_mille: 1000,
        make: heads::http1,
        prepare: || Box::new(heads::try_http1),
    },
    Target {
        name: "authority",
        per_mille: 100,
        make: heads::authority,
        prepare: || Box::new(heads::try_authority),
    },
    Target {
        name: "greeting",
        per_mille: 1000,
        make: peers::greeting,
        prepare: || Box::new(peers::try_greeting),
    },
    Target {
        name: "stream",
        per_mille: 1000,
        make: peers::stream,
        prepare: || Box::new(peers::try_stream),
    },
    Target {
        name: "note",
        per_mille: 1000,
        make: peers::note,
        prepare: || Box::new(peers::try_note),
    },
    Target {
        name: "argv",
        per_mille: 100,
        make: words::argv,
        prepare: || Box::new(words::try_argv),
    },
    Target {
        name: "yaml",
        per_mille: 100,
        make: words::yaml,
        prepare: || Box::new(words::try_yaml),
    },
    Target {
        name: "headers",
        per_mille: 1000,
        make: words::headers,
        prepare: || Box::new(words::try_headers),
    },
    Target {
        name: "request",
        per_mille: 100,
        make: member::request,
        prepare: || {
            let mut server = member::Server::new();
            Box::new(move |bytes| server.try_request(bytes))
        },
    },
    Target {
        name: "disk",
        per_mille: 10,
        make: member::Damage::damage,
        prepare: || {
            let damage = member::Damage::new();
            Box::new(move |bytes| damage.try_damage(bytes))
        },
    },
];

struct Asked {
    iterations: u64,
    seed: u64,
    targets: Vec<&'static Target>,
}

fn main() -> ExitCode {
    let asked = match arguments(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(wrong) => {
            eprintln!("fuzz: {wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let (began, mut inputs) = (Instant::now(), 0);
    for target in &asked.targets {
        let iterations = (asked.iterations * target.per_mille).div_ceil(1000);
        run(target, asked.seed, iterations);
        inputs += iterations;
    }
    let (targets, seconds) = (asked.targets.len(), began.elapsed().as_secs_f64());
    println!("fuzz: seed {}, {targets} targets, {inputs} inputs, {seconds:.1} s", asked.seed);
    ExitCode::SUCCESS
}

fn run(target: &'static Target, seed: u64, iterations: u64) {
    let began = Instant::now();
    let mut consume = (target.prepare)();
    for seed in seed..seed + iterations {
        let bytes = Bytes::from((target.make)(&mut Prng::from_seed(seed)));
        let (name, shown) = (target.name, bytes.clone());
        std::panic::set_hook(Box::new(move |panic| {
            eprintln!("{panic}\ninput: {shown:02x?}");
            eprintln!("replay: fuzz --seed {seed} --iterations 1 {name}");
        }));
        consume(&bytes);
    }
    println!("{:14} {iterations} inputs, {:.1} s", target.name, began.elapsed().as_secs_f64());
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked { iterations: 10_000, seed: 1, targets: Vec::new() };
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or(format!("{word} needs a number"))?;
            text.parse().map_err(|_| format!("{word} {text}: not a number"))
        };
        match word.as_str() {
            "--iterations" => asked.iterations = number()?,
            "--seed" => asked.seed = number()?,
            name => {
                let target = TARGETS.iter().find(|target| target.name == name);
                asked.targets.push(target.ok_or(format!("no target is called {name}"))?);
            }
        }
    }
    if asked.targets.is_empty() {
        asked.targets.extend(TARGETS);
    }
    Ok(asked)
}
