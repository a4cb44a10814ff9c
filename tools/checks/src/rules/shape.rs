//! Owns the rules about the shape of code: headers, widths, lengths, unsafe, shared mutables.
//! Never judges meaning. Invariant: generated files do not get here.

use crate::lex;
use crate::source::Source;

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;

/// A file opens with `//!`.
pub(super) fn header(file: &Source) -> Vec<(usize, String)> {
    match file.text.starts_with("//!") {
        true => Vec::new(),
        false => vec![(1, "the first line does not start with //!".into())],
    }
}

/// Lines fit.
pub(super) fn width(file: &Source) -> Vec<(usize, String)> {
    let lines = file.text.lines().map(|line| line.chars().count()).enumerate();
    let wide = lines.filter(|(_, columns)| *columns > COLUMNS_MAX);
    wide.map(|(at, columns)| (at + 1, format!("{columns} columns"))).collect()
}

/// Functions fit, but for tests.
pub(super) fn length(file: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in lex::words(&file.code, "fn").into_iter().filter(|at| !file.is_test(*at)) {
        let Some(end) = body(&file.code, at).and_then(|open| lex::closing(&file.code, open)) else {
            continue;
        };
        let lines = file.line_of(end - 1) - file.line_of(at) + 1;
        if lines > FUNCTION_LINES_MAX {
            found.push((file.line_of(at), format!("a function of {lines} lines")));
        }
    }
    found
}

/// Where the body of the function at `at` opens; None if it has none.
fn body(code: &[char], at: usize) -> Option<usize> {
    let mut here = at;
    while here < code.len() {
        match code[here] {
            '{' => return Some(here),
            ';' => return None,
            '(' | '[' => here = lex::closing(code, here)?,
            _ => here += 1,
        }
    }
    None
}

/// Public functions take no `bool`.
pub(super) fn bool_parameter(file: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in lex::words(&file.code, "pub fn").into_iter().filter(|at| !file.is_test(*at)) {
        let Some(open) = file.code[at..].iter().position(|letter| *letter == '(') else {
            continue;
        };
        let Some(end) = lex::closing(&file.code, at + open) else { continue };
        let parameters: String = file.code[at + open..end].iter().collect();
        let takes = parameters.split(',').any(|one| {
            one.split(':').nth(1).is_some_and(|kind| kind.trim().trim_end_matches(')') == "bool")
        });
        if takes {
            found.push((file.line_of(at), "a public function takes a bool".into()));
        }
    }
    found
}

/// No `Arc<Mutex>`, but in tests.
pub(super) fn shared_mutable(file: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for kind in ["Arc<Mutex", "Arc<RwLock"] {
        for at in lex::words(&file.code, kind).into_iter().filter(|at| !file.is_test(*at)) {
            found.push((file.line_of(at), format!("{kind}>")));
        }
    }
    found
}

/// Unsafe code only in files named for it, every block with its claim.
pub(super) fn unsafe_code(file: &Source) -> Vec<(usize, String)> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let is_named = name.contains("unsafe") || name == "sys.rs";
    let comments: Vec<&str> = file.comments.lines().collect();
    let has_claim = |line: usize| {
        let from = line.saturating_sub(6);
        comments
            .get(from..line.min(comments.len()))
            .unwrap_or_default()
            .iter()
            .any(|comment| comment.contains("SAFETY:") || comment.contains("# Safety"))
    };
    let mut found = Vec::new();
    for at in lex::words(&file.code, "unsafe") {
        let line = file.line_of(at);
        if !is_named {
            found.push((line, "unsafe outside of a file named for it".into()));
        } else if !has_claim(line) {
            found.push((line, "unsafe without a SAFETY claim above it".into()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(text: &str) -> Source {
        Source::new("engine/x/src/a.rs", text)
    }

    #[test]
    fn a_file_says_what_it_owns_and_keeps_its_width() {
        assert!(header(&rust("//! Owns.\n")).is_empty());
        assert_eq!(header(&rust("use a;\n")).len(), 1);
        assert!(width(&rust(&"é".repeat(100))).is_empty());
        assert_eq!(width(&rust(&"a".repeat(101))), [(1, "101 columns".into())]);
    }

    #[test]
    fn a_long_function_is_found_and_a_long_test_is_not() {
        let long = format!("fn a(x: [u8; 4]) -> u8 {{\n{}}}\n", "let x = \"}\";\n".repeat(70));
        assert_eq!(length(&rust(&long)), [(1, "a function of 72 lines".into())]);
        assert!(length(&rust(&format!("#[cfg(test)]\nmod t {{\n{long}}}"))).is_empty());
        let short = format!("trait T {{ fn a(); }}\nfn b() {{\n{}}}\n", "x();\n".repeat(68));
        assert!(length(&rust(&short)).is_empty());
    }

    #[test]
    fn a_bool_is_found_among_parameters_of_public_functions() {
        assert_eq!(bool_parameter(&rust("pub fn a(&self, on: bool) {}")).len(), 1);
        assert!(bool_parameter(&rust("fn a(on: bool) {}\npub fn b() -> bool { true }")).is_empty());
        assert!(bool_parameter(&rust("pub fn a(f: fn(u8) -> bool, x: u8) {}")).is_empty());
    }

    #[test]
    fn unsafe_needs_a_file_and_a_claim() {
        assert_eq!(unsafe_code(&rust("unsafe { x() }")).len(), 1);
        assert!(unsafe_code(&rust("#![forbid(unsafe_code)] // unsafe")).is_empty());
        let sys = |text: &str| unsafe_code(&Source::new("engine/x/src/sys.rs", text));
        assert_eq!(sys("unsafe { x() }").len(), 1);
        assert!(sys("// SAFETY: x is fine.\nunsafe { x() }").is_empty());
        assert_eq!(shared_mutable(&rust("let a: Arc<Mutex<u8>>;")).len(), 1);
    }
}
