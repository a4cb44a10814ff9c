//! Owns the rules about pure parts: nothing in them asks the world.
//! Never looks at tests of pure parts, which may. Invariant: paths are compared whole, also when a
//! `use` groups them.

use crate::lex;
use crate::parts::{Purity, part_of};
use crate::source::Source;

/// Paths of the standard library that ask the world.
const WORLD: &[&str] = &[
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::os",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::env::args",
    "std::env::var",
    "std::env::vars",
    "std::env::temp_dir",
    "std::env::current_dir",
];

/// Words that do so, or that hide when something happens.
const WORDS: &[&str] = &[
    "async fn",
    "async move",
    ".await",
    "println!",
    "eprintln!",
    "print!",
    "eprint!",
    "thread_local!",
    "tokio::",
    "glommio::",
    "rand::",
    "getrandom::",
];

fn is_pure(file: &Source) -> bool {
    let is_build = file.path.ends_with("/build.rs");
    part_of(&file.path).is_some_and(|part| part.purity == Purity::Pure) && !is_build
}

/// A pure part names nothing of the world.
pub(super) fn world(file: &Source) -> Vec<(usize, String)> {
    if !is_pure(file) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for at in lex::words(&file.code, "std::").into_iter().filter(|at| !file.is_test(*at)) {
        for path in paths("std", &file.code, at + "std::".len()) {
            let asks = |world: &&&str| path == **world || path.starts_with(&format!("{world}::"));
            let glob = path.strip_suffix("*").filter(|start| {
                *start != "std::" && WORLD.iter().any(|world| world.starts_with(start))
            });
            if WORLD.iter().find(asks).is_some() || glob.is_some() {
                found.push((file.line_of(at), path));
            }
        }
    }
    for word in WORDS {
        for at in lex::words(&file.code, word).into_iter().filter(|at| !file.is_test(*at)) {
            found.push((file.line_of(at), word.to_string()));
        }
    }
    found
}

/// The full paths that a `use` or an expression spells from here on: one, or those of a group.
fn paths(prefix: &str, code: &[char], at: usize) -> Vec<String> {
    let mut end = at;
    while end < code.len() && code[end].is_whitespace() {
        end += 1;
    }
    if code.get(end) == Some(&'{') {
        let close = lex::closing(code, end).unwrap_or(code.len());
        return group(prefix, code, end + 1, close.saturating_sub(1));
    }
    let start = end;
    while end < code.len() && (lex::is_word(code[end]) || code[end] == '*') {
        end += 1;
    }
    let name: String = code[start..end].iter().collect();
    let path = format!("{prefix}::{name}");
    let is_longer = code.get(end) == Some(&':') && code.get(end + 1) == Some(&':');
    match is_longer && !name.is_empty() {
        true => paths(&path, code, end + 2),
        false => vec![path],
    }
}

fn group(prefix: &str, code: &[char], from: usize, to: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = from;
    while at < to {
        found.extend(paths(prefix, code, at));
        // To the next comma of this very group.
        while at < to && code[at] != ',' {
            at = if code[at] == '{' { lex::closing(code, at).unwrap_or(to) } else { at + 1 };
        }
        at += 1;
    }
    found
}

/// A pure part's `lib.rs` forbids unsafe code.
pub(super) fn forbid(file: &Source) -> Vec<(usize, String)> {
    let has = file.code.iter().collect::<String>().contains("#![forbid(unsafe_code)]");
    if !is_pure(file) || !file.path.ends_with("/src/lib.rs") || has {
        return Vec::new();
    }
    vec![(1, "#![forbid(unsafe_code)] is missing".into())]
}

/// Maps with random hashing have these constructors alone.
const RANDOM: &[&str] = &[
    "RandomState",
    "HashMap::new(",
    "HashMap::with_capacity(",
    "HashSet::new(",
    "HashSet::with_capacity(",
];

/// A pure part has no map with random hashing.
pub(super) fn hashing(file: &Source) -> Vec<(usize, String)> {
    if !is_pure(file) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for word in RANDOM {
        for at in lex::words(&file.code, word).into_iter().filter(|at| !file.is_test(*at)) {
            found.push((file.line_of(at), word.trim_end_matches('(').to_string()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pure(text: &str) -> Source {
        Source::new("engine/tree/src/a.rs", text)
    }

    fn names(text: &str) -> Vec<String> {
        world(&pure(text)).into_iter().map(|(_, what)| what).collect()
    }

    #[test]
    fn the_world_is_found_in_every_spelling() {
        assert_eq!(names("use std::fs::File;"), ["std::fs::File"]);
        assert_eq!(names("use std::{fmt, net::{self, TcpStream}};").len(), 2);
        assert_eq!(names("use std::time::{Duration, Instant};"), ["std::time::Instant"]);
        assert_eq!(names("use std::time::*;"), ["std::time::*"]);
        assert_eq!(names("let x = std::process::id();"), ["std::process::id"]);
        assert_eq!(names("async fn a() { b().await }"), ["async fn", ".await"]);
    }

    #[test]
    fn words_in_texts_tests_and_shells_do_not_count() {
        let quiet = [
            "use std::time::Duration; // std::fs",
            "const A: &str = \"std::fs\";",
            "use core::net::IpAddr;",
            "use base::Instant; fn rand() {}",
            "#[cfg(test)]\nmod tests { use std::fs; }",
            "use std::{fmt, collections::BTreeMap};",
        ];
        for text in quiet {
            assert!(names(text).is_empty(), "{text}: {:?}", names(text));
        }
        assert!(world(&Source::new("engine/disk/src/a.rs", "use std::fs;")).is_empty());
    }

    #[test]
    fn random_hashing_and_missing_forbids_are_found() {
        assert_eq!(hashing(&pure("let a = HashMap::new();")).len(), 1);
        assert!(hashing(&pure("let a = BTreeMap::new();")).is_empty());
        assert_eq!(forbid(&Source::new("engine/tree/src/lib.rs", "//! x")).len(), 1);
        let good = "//! x\n#![forbid(unsafe_code)]";
        assert!(forbid(&Source::new("engine/tree/src/lib.rs", good)).is_empty());
    }
}
