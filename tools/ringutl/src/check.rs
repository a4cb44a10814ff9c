//! Owns the verification of a data directory: manifest, every page of every tree, every block of
//! every history, every batch of the log. Never writes to what it reads. Invariant: a directory
//! without findings is one from which every question that the server may be asked is answered from
//! verified bytes.

use std::path::Path;

use base::bytes_le::Take;
use base::{FileId, IoRequest, IoResult, SliceId};
use bytes::Bytes;
use history::{History, HistoryRoot, Opening, Rot};
use node::manifest::{Manifest, SLOT_BYTES};
use slice::SliceRoot;
use tree::RootRef;
use wal::{Identity, Mark, Reader, ReaderConfig, Restored, Step, Verdict};

use crate::files::Files;
use crate::offline::history_options;

/// Where the tree's reference lies in an encoded root of a slice.
const TREE_AT: usize = 24;

/// What was verified, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What was verified, one line each.
    pub sound: Vec<String>,
    /// What is wrong, one line each.
    pub rot: Vec<String>,
}

impl Findings {
    fn take(&mut self, result: Result<String, String>) {
        match result {
            Ok(line) => self.sound.push(line),
            Err(line) => self.rot.push(line),
        }
    }
}

/// Verifies a data directory.
pub fn check(data_dir: &Path, wal_dir: Option<&Path>) -> Result<Findings, String> {
    let files = Files::open(data_dir, wal_dir)?;
    let mut findings = Findings::default();
    let manifest = match read_manifest(&files) {
        Ok(manifest) => manifest,
        Err(line) => {
            findings.rot.push(line);
            return Ok(findings);
        }
    };
    findings.sound.push(format!(
        "manifest: generation {}, index {}, revision {}, compact revision {}, {} slices",
        manifest.generation,
        manifest.applied_index,
        manifest.revision,
        manifest.compact_revision,
        manifest.roots.len() - 1,
    ));
    for (at, root) in manifest.roots.iter().enumerate() {
        let at = u16::try_from(at).expect("slices are counted in u16");
        let id = SliceId(manifest.side().base() + at);
        check_slice(&files, id, root, &manifest, &mut findings);
    }
    findings.take(check_log(&files, &manifest));
    Ok(findings)
}

fn read_manifest(files: &Files) -> Result<Manifest, String> {
    let len = 2 * SLOT_BYTES as u32;
    let bytes = read(files, FileId::Manifest, 0, len)?;
    let manifest = Manifest::choose(&bytes).map_err(|error| format!("manifest: {error:?}"))?;
    match manifest.roots.is_empty() {
        true => Err("manifest: it names no slice".to_owned()),
        false => Ok(manifest),
    }
}

fn check_slice(
    files: &Files,
    id: SliceId,
    bytes: &Bytes,
    manifest: &Manifest,
    findings: &mut Findings,
) {
    let name = format!("slice {}", id.0);
    let root = match SliceRoot::decode(bytes) {
        Ok(root) if root.slice == id => root,
        Ok(root) => {
            return findings.rot.push(format!("{name}: its root is of slice {}", root.slice.0));
        }
        Err(_) => return findings.rot.push(format!("{name}: its root cannot be read")),
    };
    let is_meta = usize::from(id.0 - manifest.side().base()) + 1 == manifest.roots.len();
    if !is_meta && root.applied != manifest.revision {
        let line = format!("{name}: at revision {}, not the manifest's", root.applied);
        findings.rot.push(line);
    }
    findings.take(check_tree(files, id, bytes).map_err(|line| format!("{name}: {line}")));
    if is_meta {
        return;
    }
    let rest = &bytes[TREE_AT + tree::ROOT_BYTES..];
    match HistoryRoot::decode(rest) {
        Ok(root) => {
            let checked = check_history(files, id, root);
            findings.take(checked.map_err(|line| format!("{name}: {line}")));
        }
        Err(_) => findings.rot.push(format!("{name}: its history's root cannot be read")),
    }
}

fn check_tree(files: &Files, id: SliceId, bytes: &Bytes) -> Result<String, String> {
    let mut take = Take::new(&bytes[TREE_AT..TREE_AT + tree::ROOT_BYTES]);
    let root = RootRef::take(&mut take).map_err(|why| format!("tree root: {why:?}"))?;
    let file = FileId::Tree(id);
    let mut failed = None;
    let mut read_at = |offset: u64, len: u32| match read(files, file, offset, len) {
        Ok(bytes) => bytes,
        Err(line) => {
            failed.get_or_insert(line);
            Bytes::from(vec![0; len as usize])
        }
    };
    let report = tree::check(&root, &mut read_at);
    if let Some(line) = failed {
        return Err(line);
    }
    let path = files.path(file);
    let report = report.map_err(|rot| {
        format!("{} is damaged at byte {}: {:?}", path.display(), rot.offset, rot.why)
    })?;
    Ok(format!(
        "slice {} tree: {} pages, {} large values, {} live keys, {} tombstones",
        id.0,
        report.pages,
        report.values,
        report.live,
        report.total - report.live
    ))
}

fn check_history(files: &Files, id: SliceId, root: HistoryRoot) -> Result<String, String> {
    let opening = Opening::new(id, history_options(), root);
    let bytes = perform(files, &opening.request())?;
    let mut history: History = opening.supply(&bytes).map_err(|rot| history_line(files, &rot))?;
    let mut at = history::Scrub::default();
    let mut pages = 0_u64;
    loop {
        match history.scrub(at) {
            Ok(None) => break,
            Ok(Some((miss, next))) => {
                let bytes = perform(files, &miss.request())?;
                history.check(&miss, bytes).map_err(|rot| history_line(files, &rot))?;
                pages += 1;
                at = next;
            }
            Err(miss) => {
                let bytes = perform(files, &miss.request())?;
                history.supply(&miss, bytes).map_err(|rot| history_line(files, &rot))?;
            }
        }
    }
    let stats = history.stats();
    Ok(format!(
        "slice {} history: {pages} pages in {} segments, {} bytes",
        id.0, stats.segments, stats.file_bytes
    ))
}

fn history_line(files: &Files, rot: &Rot) -> String {
    let path = files.path(rot.file);
    format!("{} is damaged at byte {}: {:?}", path.display(), rot.offset, rot.kind)
}

fn check_log(files: &Files, manifest: &Manifest) -> Result<String, String> {
    let identity = Identity { cluster: manifest.cluster_id, member: manifest.member_id };
    let segments: Vec<u64> =
        files.log_segments()?.into_iter().filter(|n| *n >= manifest.log_first).collect();
    let count = segments.len();
    let mut reader = Reader::new(ReaderConfig {
        identity,
        geometry: wal::Geometry::STANDARD,
        segments,
        promised: wal::Position(manifest.log_position),
    });
    let mark = Mark { term: manifest.applied_term, index: manifest.applied_index };
    let mut restored = Restored::start(mark);
    let mut records = 0_u64;
    let verdict = loop {
        match reader.poll() {
            // Nothing is written, so nothing needs to be made durable.
            Step::Io(IoRequest::Sync { .. }) => reader.handle(IoResult::Done),
            Step::Io(request) => reader.handle(files.run(&request)),
            Step::Waiting => unreachable!("every request was answered"),
            Step::Record(record) => {
                records += 1;
                restored
                    .take(record)
                    .map_err(|gap| format!("log: entries are missing: {gap:?}"))?;
            }
            Step::Done(verdict) => break verdict,
        }
    };
    match verdict {
        Verdict::End { tail, .. } => {
            restored.finish().map_err(|gap| format!("log: entries are missing: {gap:?}"))?;
            Ok(format!("log: {records} records in {count} segments, {tail:?} end"))
        }
        Verdict::Rot { segment, offset, why } => Err(why.told(segment, offset)),
        Verdict::Unreadable { segment, error } => {
            let path = files.path(FileId::Log(segment));
            Err(format!("{} cannot be read: {error:?}", path.display()))
        }
    }
}

fn read(files: &Files, file: FileId, offset: u64, len: u32) -> Result<Bytes, String> {
    perform(files, &IoRequest::Read { file, offset, len })
}

fn perform(files: &Files, request: &IoRequest) -> Result<Bytes, String> {
    match (files.run(request), request) {
        (IoResult::Read(bytes), _) => Ok(bytes),
        (other, IoRequest::Read { file, .. }) => {
            Err(format!("{} cannot be read: {other:?}", files.path(*file).display()))
        }
        (other, request) => unreachable!("{request:?} is no read: {other:?}"),
    }
}
