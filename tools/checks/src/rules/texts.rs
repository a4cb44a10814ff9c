//! Owns the rules about stray texts: unfinished work, somebody's machine, somebody's registry.
//! Never looks at binary files. Invariant: the words looked for are not spelled whole here.

use crate::lex;
use crate::source::Source;

/// A reason has at least so many letters.
const REASON_LETTERS_MIN: usize = 15;

/// Marks of unfinished work in comments need a reason; macros of it are not allowed at all.
pub(super) fn unfinished(file: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in file.comments.lines().enumerate() {
        for mark in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")] {
            let letters: Vec<char> = line.chars().collect();
            for place in lex::words(&letters, mark) {
                let rest: String = letters[place + mark.len()..].iter().collect();
                if rest.trim_start_matches([':', ' ']).len() < REASON_LETTERS_MIN {
                    found.push((at + 1, format!("{mark} without a reason")));
                }
            }
        }
    }
    for word in [concat!("todo", "!("), concat!("unimple", "mented!("), concat!("db", "g!(")] {
        for at in lex::words(&file.code, word) {
            found.push((file.line_of(at), word.trim_end_matches('(').to_string()));
        }
    }
    found
}

/// Folders of somebody's machine.
const FOLDERS: [&str; 3] = [concat!("/", "work"), concat!("/", "root"), concat!("/", "home")];

/// No path of somebody's machine.
pub(super) fn local_paths(file: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        for folder in FOLDERS {
            if line.match_indices(folder).any(|(place, _)| is_path(line, place, folder)) {
                found.push((at + 1, format!("a path under {folder}")));
            }
        }
    }
    found
}

/// Whether the match is the start of a path, and not the middle of another word or URL.
fn is_path(line: &str, place: usize, folder: &str) -> bool {
    let before = line[..place].chars().next_back();
    let mut after = line[place + folder.len()..].chars();
    let starts = !before.is_some_and(|c| c.is_alphanumeric() || "_-./}$~>*)".contains(c));
    let ends = match after.next() {
        Some('/') => true,
        Some(letter) => !letter.is_alphanumeric() && !"_-.".contains(letter),
        None => true,
    };
    starts && ends
}

/// Words in the host of a private registry or mirror, and settings that choose one.
const HOSTS: [&str; 7] = [
    concat!("arti", "factory"),
    concat!("nexus", "."),
    concat!("mirror", "."),
    concat!("replace", "-with"),
    concat!("--index", "-url"),
    concat!("extra-index", "-url"),
    concat!(".inter", "nal/"),
];

/// No registry of somebody's own.
pub(super) fn registry_hosts(file: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        let is_address = line.contains("://") || line.contains('=') || line.contains("--");
        for word in HOSTS.iter().filter(|word| is_address && line.contains(**word)) {
            found.push((at + 1, format!("{word:?} names a registry")));
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
    fn unfinished_work_needs_a_reason() {
        let mark = concat!("TO", "DO");
        assert_eq!(unfinished(&rust(&format!("// {mark}: later"))).len(), 1);
        let reason = format!("// {mark}: needs the member list, which the next cluster brings");
        assert!(unfinished(&rust(&reason)).is_empty());
        assert_eq!(unfinished(&rust(&format!("{}!()", concat!("to", "do")))).len(), 1);
        assert!(unfinished(&rust("let mastodon = 1;")).is_empty());
    }

    #[test]
    fn a_path_of_a_machine_is_found_and_a_url_is_not() {
        let found = |text: &str| local_paths(&Source::new("a.md", text)).len();
        let home = FOLDERS[2];
        assert_eq!(found(&format!("cd {home}/me")), 1);
        assert_eq!(found(&format!("`{home}`")), 1);
        assert_eq!(found(&format!("http://a{home}/x and my{home}/y and {home}less")), 0);
    }

    #[test]
    fn a_private_registry_is_found() {
        let found = |text: &str| registry_hosts(&Source::new("a.toml", text)).len();
        assert_eq!(found(&format!("url = \"https://{}acme.com/x\"", concat!("mirror", "."))), 1);
        assert_eq!(found("a mirror. Nothing else"), 0);
    }
}
