//! Owns the rule about what we are built from: licences and origins.
//! Never asks the network. Invariant: a licence expression that is not understood is refused.

use crate::tree::Tree;

/// Licences that let everybody use and give away the whole. The Mozilla licence asks for the source
/// of its own files alone, which we do not change.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MPL-2.0",
    "MPL-2.0+",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The one place where packages of others come from, as the lock file names it.
const ORIGIN: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Packages of others that must not come in, and why.
const REFUSED: &[(&str, &str)] = &[
    ("openssl-sys", "TLS is rustls: no C library to patch, and certificates reload"),
    ("serde_yaml", "no longer maintained; serde_yaml_ng follows it"),
    ("protoc-bin-vendored", "the build needs no protoc"),
];

/// Every package of others is allowed.
pub(super) fn licences(tree: &Tree) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for package in &tree.foreign {
        let mut add = |what: String| found.push(("Cargo.lock".into(), what));
        if !is_allowed(&package.licence) {
            add(format!("{} has the licence {:?}", package.name, package.licence));
        }
        if package.origin != ORIGIN {
            add(format!("{} comes from {}", package.name, package.origin));
        }
        let name = package.name.split(' ').next().unwrap_or_default();
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            add(format!("{name} is refused: {why}"));
        }
    }
    found
}

/// Whether the expression lets us: any of `OR` (or the old slash), all of `AND`.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut words = Words { text: &expression };
    let allowed = any_of(&mut words);
    allowed && words.text.trim().is_empty()
}

struct Words<'a> {
    text: &'a str,
}

impl Words<'_> {
    /// Takes this word, if it comes next.
    fn take(&mut self, word: &str) -> bool {
        match self.text.trim_start().strip_prefix(word) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    /// Takes a licence's name, with its exception.
    fn name(&mut self) -> String {
        let text = self.text.trim_start();
        let is_end = |c: char| c == '(' || c == ')' || c.is_whitespace();
        let (name, rest) = text.split_at(text.find(is_end).unwrap_or(text.len()));
        self.text = rest;
        match self.take("WITH ") {
            true => format!("{name} WITH {}", self.name()),
            false => name.to_string(),
        }
    }
}

fn any_of(words: &mut Words) -> bool {
    let mut allowed = all_of(words);
    while words.take("OR ") {
        allowed |= all_of(words);
    }
    allowed
}

fn all_of(words: &mut Words) -> bool {
    let mut allowed = one(words);
    while words.take("AND ") {
        allowed &= one(words);
    }
    allowed
}

fn one(words: &mut Words) -> bool {
    if words.take("(") {
        let allowed = any_of(words);
        return words.take(")") && allowed;
    }
    ALLOWED.contains(&words.name().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_read_with_its_choices() {
        for allowed in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
            "Apache-2.0 / MIT",
        ] {
            assert!(is_allowed(allowed), "{allowed}");
        }
        for refused in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT)", "MIT GPL-3.0"] {
            assert!(!is_allowed(refused), "{refused}");
        }
    }
}
