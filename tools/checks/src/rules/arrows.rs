//! Owns the rules about packages: what may use what, and that all obey the same lints.
//! Never looks at code. Invariant: tests of a package may use more than the package.

use crate::parts::{GUARDED, PARTS, Part, WORKSHOPS};
use crate::tree::{Package, Tree, When};

/// Dependencies follow the map.
pub(super) fn arrows(tree: &Tree) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for package in &tree.packages {
        let manifest = format!("{}/Cargo.toml", package.folder);
        let is_workshop = WORKSHOPS.iter().any(|folder| package.folder.starts_with(folder));
        match PARTS.iter().find(|part| part.folder == package.folder) {
            Some(part) => {
                let wrong = follow(part, package);
                found.extend(wrong.into_iter().map(|what| (manifest.clone(), what)));
            }
            None if is_workshop => {
                let wrong = guarded(&[], package).filter(|name| {
                    // Load generators and the disk's own test tools run on the same runtime.
                    name != "glommio" || !package.folder.starts_with("bench")
                });
                found.extend(wrong.map(|name| (manifest.clone(), format!("uses {name}"))));
            }
            None => {
                found.push((manifest, "has no row in the map (tools/checks/src/parts.rs)".into()))
            }
        }
    }
    found
}

fn follow(part: &Part, package: &Package) -> Vec<String> {
    let mut wrong = Vec::new();
    if part.package != package.name {
        wrong.push(format!("is called {}, and the map calls it {}", package.name, part.package));
    }
    for need in package.needs.iter().filter(|need| need.when != When::Testing) {
        let is_ours = need.name.starts_with("ringleader");
        if is_ours && !part.may_use.contains(&need.name.as_str()) {
            wrong.push(format!("uses {}, which is not below it", need.name));
        }
    }
    wrong.extend(
        guarded(part.licensed, package)
            .map(|name| format!("uses {name}, which only its own parts may name")),
    );
    wrong
}

/// Guarded crates that a package uses without a licence.
fn guarded<'a>(licensed: &'a [&'a str], package: &'a Package) -> impl Iterator<Item = String> + 'a {
    let names = package.needs.iter().map(|need| need.name.as_str());
    let wrong = names.filter(|name| GUARDED.contains(name) && !licensed.contains(name));
    wrong.map(String::from)
}

/// Every manifest takes the lints of the workspace.
pub(super) fn lints(tree: &Tree) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for package in &tree.packages {
        let path = format!("{}/Cargo.toml", package.folder);
        let manifest = tree.files.iter().find(|file| file.path == path);
        let has = manifest.is_some_and(|file| file.text.contains("[lints]\nworkspace = true"));
        if !has {
            found.push((path, "does not take the lints of the workspace".into()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Need;

    fn tree(folder: &str, name: &str, needs: &[(&str, When)]) -> Tree {
        let needs = needs.iter().map(|(name, when)| Need { name: name.to_string(), when: *when });
        let package = Package { name: name.into(), folder: folder.into(), needs: needs.collect() };
        Tree { files: Vec::new(), packages: vec![package], foreign: Vec::new() }
    }

    fn count(folder: &str, name: &str, needs: &[(&str, When)]) -> usize {
        arrows(&tree(folder, name, needs)).len()
    }

    #[test]
    fn an_arrow_that_points_upward_is_found() {
        let tree = ("engine/tree", "ringleader-tree");
        assert_eq!(count(tree.0, tree.1, &[("ringleader-base", When::Always)]), 0);
        assert_eq!(count(tree.0, tree.1, &[("ringleader-slice", When::Always)]), 1);
        assert_eq!(count(tree.0, tree.1, &[("ringleader-slice", When::Testing)]), 0);
    }

    #[test]
    fn the_runtime_and_raft_have_their_own_parts() {
        assert_eq!(count("server/node", "ringleader-node", &[("glommio", When::Always)]), 1);
        assert_eq!(count("net/sock", "ringleader-sock", &[("glommio", When::Always)]), 0);
        assert_eq!(count("engine/consensus", "ringleader-consensus", &[("raft", When::Always)]), 0);
        assert_eq!(count("engine/state", "ringleader-state", &[("raft", When::Testing)]), 1);
        assert_eq!(count("bench/load", "ringbench", &[("glommio", When::Always)]), 0);
        assert_eq!(count("tools/ctl", "ringctl", &[("raft", When::Always)]), 1);
    }

    #[test]
    fn a_package_without_a_row_is_found() {
        assert_eq!(count("engine/cellar", "ringleader-cellar", &[]), 1);
        assert_eq!(count("tools/model", "ringleader-model", &[]), 0);
    }
}
