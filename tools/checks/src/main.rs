//! Checks the repository: purity, arrows, shape, unsafe, licences and stray texts. Prints every
//! violation as `path:line: rule: what`, then a count; exit code 1 when there is one.
//! Never changes a file. Invariant: the rules are one table (`rules::TABLE`), and each says why.
//!
//! `checks [FOLDER]` looks at a checkout (default: the working directory); `checks --rules` lists
//! the rules.
#![forbid(unsafe_code)]

mod lex;
mod parts;
mod rules;
mod source;
mod tree;

use std::process::ExitCode;

use tree::Tree;

/// One broken rule at one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// File, from the top of the checkout.
    pub path: String,
    /// Line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// The rule.
    pub rule: &'static str,
    /// What is there.
    pub what: String,
}

fn main() -> ExitCode {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    if folder == "--rules" {
        for rule in rules::TABLE {
            println!("{:12} {}", rule.name, rule.why);
        }
        return ExitCode::SUCCESS;
    }
    let tree = match Tree::read(&folder) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("checks: {error}");
            return ExitCode::from(2);
        }
    };
    let found = rules::check(&tree);
    for one in &found {
        println!("{}:{}: {}: {}", one.path, one.line, one.rule, one.what);
    }
    let (files, rules) = (tree.files.len(), rules::TABLE.len());
    println!("checks: {files} files, {rules} rules, {} violations", found.len());
    if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
