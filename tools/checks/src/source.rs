//! Owns one file of the checkout: its text, and for Rust its code, comments and test regions.
//! Never reads a disk. Invariant: lines count from 1.

use crate::lex;

/// A text file.
#[derive(Debug)]
pub struct Source {
    /// From the top of the checkout, with slashes.
    pub path: String,
    /// Everything.
    pub text: String,
    /// For Rust: what is code, letter by letter.
    pub code: Vec<char>,
    /// For Rust: what is comment.
    pub comments: String,
    /// For Rust: ranges of letters that are compiled for tests alone.
    test_ranges: Vec<(usize, usize)>,
}

impl Source {
    /// Takes the text apart.
    pub fn new(path: &str, text: &str) -> Source {
        let is_rust = path.ends_with(".rs");
        let split = match is_rust {
            true => lex::split(text),
            false => lex::Split { code: String::new(), comments: String::new() },
        };
        let code: Vec<char> = split.code.chars().collect();
        let test_ranges = test_ranges(&code);
        let (path, text) = (path.to_string(), text.to_string());
        Source { path, text, code, comments: split.comments, test_ranges }
    }

    /// Whether it is Rust that somebody wrote.
    pub fn is_rust(&self) -> bool {
        let head = self.text.lines().take(5);
        self.path.ends_with(".rs") && !head.into_iter().any(|line| line.contains("@generated"))
    }

    /// Whether the whole file is test, example or benchmark.
    pub fn is_test_file(&self) -> bool {
        let mut parts = self.path.split('/').rev();
        let file = parts.next().unwrap_or_default();
        file == "tests.rs"
            || file.ends_with("_test.rs")
            || parts.any(|part| matches!(part, "tests" | "benches" | "examples" | "fuzz"))
    }

    /// Whether the letter at this place is compiled for tests alone.
    pub fn is_test(&self, at: usize) -> bool {
        self.is_test_file() || self.test_ranges.iter().any(|(from, to)| (*from..*to).contains(&at))
    }

    /// The line of a letter of the code.
    pub fn line_of(&self, at: usize) -> usize {
        self.code[..at].iter().filter(|letter| **letter == '\n').count() + 1
    }
}

/// Every item behind `#[cfg(test)]`: up to its closing brace or its semicolon.
fn test_ranges(code: &[char]) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    for at in lex::words(code, "#[cfg(test)]") {
        let mut end = at + "#[cfg(test)]".len();
        while end < code.len() {
            match code[end] {
                '{' => {
                    end = lex::closing(code, end).unwrap_or(code.len());
                    break;
                }
                ';' => break,
                '[' | '(' => end = lex::closing(code, end).unwrap_or(code.len()),
                _ => end += 1,
            }
        }
        ranges.push((at, end));
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_for_tests_ends_with_its_brace() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { } }\nfn c() {}";
        let source = Source::new("x/src/a.rs", text);
        let at = |word: &str| text.find(word).unwrap();
        assert!(!source.is_test(at("fn a")));
        assert!(source.is_test(at("fn b")));
        assert!(!source.is_test(at("fn c")));
        assert_eq!(source.line_of(at("fn c")), 4);
        assert!(Source::new("x/src/a/tests/b.rs", "").is_test_file());
    }
}
