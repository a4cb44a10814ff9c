//! Owns the table of rules.
//! Never prints. Invariant: a rule has a name, a reason and one function.

mod arrows;
mod licences;
mod purity;
mod shape;
mod texts;

use crate::Violation;
use crate::source::Source;
use crate::tree::Tree;

/// One rule.
pub struct Rule {
    /// Its name in the output.
    pub name: &'static str,
    /// Why it is one.
    pub why: &'static str,
    /// What it looks at.
    pub scope: Scope,
}

/// What a rule looks at. The function answers lines and sentences.
pub enum Scope {
    /// Each file of Rust.
    Rust(fn(&Source) -> Vec<(usize, String)>),
    /// Each text file.
    Text(fn(&Source) -> Vec<(usize, String)>),
    /// The checkout as a whole.
    Tree(fn(&Tree) -> Vec<(String, String)>),
}

/// Every rule.
pub const TABLE: &[Rule] = &[
    Rule {
        name: "header",
        why: "a file opens by saying what it owns, what it never does, and its invariant",
        scope: Scope::Rust(shape::header),
    },
    Rule { name: "width", why: "a line fits 100 columns", scope: Scope::Rust(shape::width) },
    Rule {
        name: "length",
        why: "a function fits a screen of 70 lines",
        scope: Scope::Rust(shape::length),
    },
    Rule {
        name: "bool",
        why: "a public function takes no bool: a call must say what it means",
        scope: Scope::Rust(shape::bool_parameter),
    },
    Rule {
        name: "purity",
        why: "a pure part asks the world nothing: it is told the time and handed the dice",
        scope: Scope::Rust(purity::world),
    },
    Rule {
        name: "forbid",
        why: "a pure part forbids unsafe code in its lib.rs",
        scope: Scope::Rust(purity::forbid),
    },
    Rule {
        name: "hashing",
        why: "random hashing makes order, and so behaviour, differ from run to run",
        scope: Scope::Rust(purity::hashing),
    },
    Rule {
        name: "sharing",
        why: "one core owns it; others send a message or read a frozen value",
        scope: Scope::Rust(shape::shared_mutable),
    },
    Rule {
        name: "unsafe",
        why: "unsafe lives in files named for it, one claim per block",
        scope: Scope::Rust(shape::unsafe_code),
    },
    Rule {
        name: "unfinished",
        why: "what is not done is not in the code, or says why",
        scope: Scope::Rust(texts::unfinished),
    },
    Rule {
        name: "paths",
        why: "the project speaks of itself alone, not of somebody's machine",
        scope: Scope::Text(texts::local_paths),
    },
    Rule {
        name: "hosts",
        why: "where packages come from is the builder's choice",
        scope: Scope::Text(texts::registry_hosts),
    },
    Rule {
        name: "arrows",
        why: "imports point downward, and only licensed parts name the runtime and raft",
        scope: Scope::Tree(arrows::arrows),
    },
    Rule {
        name: "lints",
        why: "every package obeys the lints of the workspace",
        scope: Scope::Tree(arrows::lints),
    },
    Rule {
        name: "licences",
        why: "what we are built from may be used and given away, and comes from one place",
        scope: Scope::Tree(licences::licences),
    },
];

/// Every violation, in the order of paths.
pub fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for rule in TABLE {
        let mut add = |path: &str, line: usize, what: String| {
            found.push(Violation { path: path.into(), line, rule: rule.name, what });
        };
        match rule.scope {
            Scope::Rust(check) => {
                for file in tree.files.iter().filter(|file| file.is_rust()) {
                    check(file).into_iter().for_each(|(line, what)| add(&file.path, line, what));
                }
            }
            Scope::Text(check) => {
                for file in &tree.files {
                    check(file).into_iter().for_each(|(line, what)| add(&file.path, line, what));
                }
            }
            Scope::Tree(check) => {
                check(tree).into_iter().for_each(|(path, what)| add(&path, 0, what));
            }
        }
    }
    found.sort();
    found
}
