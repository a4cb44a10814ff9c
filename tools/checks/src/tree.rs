//! Owns reading a checkout: its text files, and what cargo says about its packages.
//! Never follows links, never looks into build output. Invariant: files are sorted by path.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::source::Source;

/// A checkout.
pub struct Tree {
    /// Its text files.
    pub files: Vec<Source>,
    /// Its own packages.
    pub packages: Vec<Package>,
    /// Packages of others that it is built from.
    pub foreign: Vec<Foreign>,
}

/// One of our packages.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder, from the top of the checkout.
    pub folder: String,
    /// What it depends on.
    pub needs: Vec<Need>,
}

/// One dependency.
#[derive(Clone, Debug)]
pub struct Need {
    /// Name of the package.
    pub name: String,
    /// When it is needed.
    pub when: When,
}

/// When a dependency is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In the program.
    Always,
    /// While building it.
    Building,
    /// In its tests.
    Testing,
}

/// A package of somebody else.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// Name and version.
    pub name: String,
    /// Its licence expression, empty if it names none.
    pub licence: String,
    /// Where it comes from.
    pub origin: String,
}

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 6] = ["target", ".git", "__pycache__", "corpus", "shared", ".venv"];
/// Larger files are data.
const TEXT_BYTES_MAX: u64 = 4 << 20;

impl Tree {
    /// Reads everything below the folder and asks cargo.
    pub fn read(folder: &str) -> Result<Tree, String> {
        let mut files = Vec::new();
        walk(Path::new(folder), "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let metadata = metadata(folder)?;
        let packages = array(&metadata, "packages");
        let root = text(&metadata, "workspace_root");
        let is_ours = |package: &&Value| package["source"].is_null();
        Ok(Tree {
            files,
            packages: packages.iter().filter(is_ours).map(|p| ours(p, &root)).collect(),
            foreign: packages.iter().filter(|p| !is_ours(p)).map(foreign).collect(),
        })
    }
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<Source>) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().map_err(fail)?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) && !name.ends_with(".etcd") {
            walk(&entry.path(), &path, files)?;
        } else if kind.is_file() && entry.metadata().map_err(fail)?.len() <= TEXT_BYTES_MAX {
            // What is not text is no source, and no rule speaks of it.
            if let Ok(text) = fs::read_to_string(entry.path()) {
                files.push(Source::new(&path, &text));
            }
        }
    }
    Ok(())
}

fn metadata(folder: &str) -> Result<Value, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(folder)
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

fn array(value: &Value, key: &str) -> Vec<Value> {
    value[key].as_array().cloned().unwrap_or_default()
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_string()
}

fn ours(package: &Value, root: &str) -> Package {
    let manifest = text(package, "manifest_path");
    let folder = manifest.strip_prefix(root).unwrap_or(&manifest);
    let folder = folder.trim_start_matches('/').trim_end_matches("Cargo.toml");
    let need = |need: &Value| Need {
        name: text(need, "name"),
        when: match need["kind"].as_str() {
            Some("dev") => When::Testing,
            Some("build") => When::Building,
            _ => When::Always,
        },
    };
    Package {
        name: text(package, "name"),
        folder: folder.trim_end_matches('/').to_string(),
        needs: array(package, "dependencies").iter().map(need).collect(),
    }
}

fn foreign(package: &Value) -> Foreign {
    Foreign {
        name: format!("{} {}", text(package, "name"), text(package, "version")),
        licence: text(package, "license"),
        origin: text(package, "source"),
    }
}
