//! Owns telling Rust code from comments and literals, well enough to search for words.
//! Never parses further. Invariant: both outputs have the input's lines and columns; what belongs
//! to the other is blank.

/// A source text taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Split {
    /// Code alone: comments and the insides of literals are spaces.
    pub code: String,
    /// Comments alone.
    pub comments: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// Takes the text apart.
pub fn split(text: &str) -> Split {
    let letters: Vec<char> = text.chars().collect();
    let mut to = Split { code: String::new(), comments: String::new() };
    let mut at = 0;
    while at < letters.len() {
        let (kind, end) = token(&letters, at);
        for letter in &letters[at..end] {
            let blank = if *letter == '\n' { '\n' } else { ' ' };
            to.code.push(if kind == Kind::Code { *letter } else { blank });
            to.comments.push(if kind == Kind::Comment { *letter } else { blank });
        }
        at = end;
    }
    to
}

/// The kind of what starts at `at`, and where it ends.
fn token(letters: &[char], at: usize) -> (Kind, usize) {
    let next = |n: usize| letters.get(at + n).copied().unwrap_or('\0');
    match letters[at] {
        '/' if next(1) == '/' => (Kind::Comment, until_line_end(letters, at)),
        '/' if next(1) == '*' => (Kind::Comment, block_comment_end(letters, at)),
        '"' => (Kind::Literal, string_end(letters, at + 1)),
        '\'' => match letter_end(letters, at) {
            Some(end) => (Kind::Literal, end),
            None => (Kind::Code, at + 1),
        },
        letter if is_word(letter) => word(letters, at),
        _ => (Kind::Code, at + 1),
    }
}

/// A word, or a literal that starts with a prefix such as `r#"` or `b'`.
fn word(letters: &[char], at: usize) -> (Kind, usize) {
    let mut end = at;
    while end < letters.len() && is_word(letters[end]) {
        end += 1;
    }
    let prefix: String = letters[at..end].iter().collect();
    let is_raw = matches!(prefix.as_str(), "r" | "br" | "cr");
    let mut hashes = 0;
    while is_raw && letters.get(end + hashes) == Some(&'#') {
        hashes += 1;
    }
    match letters.get(end + hashes) {
        Some('"') if is_raw => (Kind::Literal, raw_string_end(letters, end + hashes + 1, hashes)),
        Some('"') if matches!(prefix.as_str(), "b" | "c") => {
            (Kind::Literal, string_end(letters, end + 1))
        }
        Some('\'') if prefix == "b" => match letter_end(letters, end) {
            Some(end) => (Kind::Literal, end),
            None => (Kind::Code, end),
        },
        _ => (Kind::Code, end),
    }
}

/// Whether the letter can be inside a name.
pub fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn until_line_end(letters: &[char], at: usize) -> usize {
    letters[at..].iter().position(|letter| *letter == '\n').map_or(letters.len(), |n| at + n)
}

fn block_comment_end(letters: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0usize);
    while at + 1 < letters.len() {
        match (letters[at], letters[at + 1]) {
            ('/', '*') => {
                depth += 1;
                at += 2;
            }
            ('*', '/') => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    letters.len()
}

fn string_end(letters: &[char], mut at: usize) -> usize {
    while at < letters.len() {
        match letters[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    letters.len()
}

fn raw_string_end(letters: &[char], mut at: usize, hashes: usize) -> usize {
    while at < letters.len() {
        let tail = letters[at + 1..].iter().take(hashes);
        if letters[at] == '"' && tail.filter(|letter| **letter == '#').count() == hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    letters.len()
}

/// The end of a letter in quotes; None for a lifetime.
fn letter_end(letters: &[char], at: usize) -> Option<usize> {
    match letters.get(at + 1)? {
        '\\' => {
            let close = letters.iter().skip(at + 3).position(|letter| *letter == '\'')?;
            Some(at + 3 + close + 1)
        }
        _ if letters.get(at + 2) == Some(&'\'') => Some(at + 3),
        _ => None,
    }
}

/// The place just after the bracket that closes the one at `open`.
pub fn closing(code: &[char], open: usize) -> Option<usize> {
    let (left, right) = match code.get(open)? {
        '{' => ('{', '}'),
        '(' => ('(', ')'),
        '[' => ('[', ']'),
        _ => return None,
    };
    let mut depth = 0usize;
    for (at, letter) in code.iter().enumerate().skip(open) {
        if *letter == left {
            depth += 1;
        } else if *letter == right {
            depth -= 1;
            if depth == 0 {
                return Some(at + 1);
            }
        }
    }
    None
}

/// Where a word stands alone in the text, as letters from its start.
pub fn words(code: &[char], word: &str) -> Vec<usize> {
    let wanted: Vec<char> = word.chars().collect();
    let is_end = |at: usize| !code.get(at).copied().is_some_and(is_word);
    let mut found = Vec::new();
    for at in 0..code.len().saturating_sub(wanted.len() - 1) {
        let starts = at == 0 || !is_word(code[at - 1]) || !is_word(wanted[0]);
        let ends = is_end(at + wanted.len()) || !is_word(wanted[wanted.len() - 1]);
        if starts && ends && code[at..at + wanted.len()] == wanted[..] {
            found.push(at);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comments_and_literals_are_told_apart() {
        let text = "let a = \"//no\"; // yes \"x\"\nlet b = 'c'; fn f<'a>() {} /* /* n */ z */ q";
        let got = split(text);
        assert_eq!(got.code.lines().next().unwrap().trim_end(), "let a =       ;");
        assert!(got.comments.contains("// yes \"x\""));
        assert!(got.code.contains("fn f<'a>() {}"));
        assert!(got.code.ends_with(" q"));
        assert!(!got.code.contains('z'));
        assert_eq!(got.code.len(), text.len());
    }

    #[test]
    fn raw_strings_and_escapes_end_where_they_end() {
        let got = split(r####"a(r#"x"y"#, b"\"", '\'', b'\\', '"', r"\") end"####);
        assert!(got.code.ends_with(") end"), "{}", got.code);
        assert!(!got.code.contains('x') && !got.code.contains('y'));
    }

    #[test]
    fn a_word_stands_alone() {
        let code: Vec<char> = "unsafe_code unsafe { } std::fs::x my_std::fs".chars().collect();
        assert_eq!(words(&code, "unsafe").len(), 1);
        assert_eq!(words(&code, "std::fs").len(), 1);
    }
}
