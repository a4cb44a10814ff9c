//! Owns the fake disk of the tests: a byte vector, and the loop that a caller of the tree needs.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use base::Rev;
use bytes::Bytes;

use crate::{
    CheckReport, Entry, EntryRef, Miss, Options, Relocation, RootRef, Rot, ScanEnd, Scrub, Tree,
    Trim, Value, check,
};

/// A tree on a disk, with nothing asynchronous.
pub struct Rig {
    pub tree: Tree,
    pub disk: Vec<u8>,
    pub options: Options,
    pub generation: u64,
}

pub type Answer<T> = Result<T, Rot>;

impl Rig {
    pub fn new(cache_bytes: usize) -> Rig {
        let options = Options { cache_bytes };
        Rig { tree: Tree::create(options), disk: Vec::new(), options, generation: 0 }
    }

    pub fn reopen(&mut self, root: RootRef) {
        let mut bytes = Vec::new();
        root.put(&mut bytes);
        assert_eq!(bytes.len(), crate::ROOT_BYTES);
        let taken = RootRef::take(&mut base::bytes_le::Take::new(&bytes)).expect("as written");
        assert_eq!(taken, root);
        self.tree = Tree::open(self.options, taken);
        self.generation = root.generation;
    }

    pub fn read(&self, offset: u64, len: u32) -> Bytes {
        read(&self.disk, offset, len)
    }

    pub fn supply(&mut self, miss: Miss) -> Answer<()> {
        let bytes = self.read(miss.offset, miss.len);
        self.tree.supply(miss.page, bytes)
    }

    /// Repeats until nothing is missing.
    pub fn with<T>(&mut self, mut op: impl FnMut(&mut Tree) -> Result<T, Miss>) -> Answer<T> {
        for _ in 0..1000 {
            match op(&mut self.tree) {
                Ok(answer) => return Ok(answer),
                Err(miss) => self.supply(miss)?,
            }
        }
        panic!("the same operation misses for ever");
    }

    pub fn put(&mut self, key: &[u8], entry: &Entry) -> Answer<Option<Entry>> {
        self.with(|tree| tree.put(key, entry))
    }

    pub fn remove(&mut self, key: &[u8]) -> Answer<Option<Entry>> {
        self.with(|tree| tree.remove(key))
    }

    /// The entry with its value in hand.
    pub fn get(&mut self, key: &[u8]) -> Answer<Option<Entry>> {
        let Some(entry) = self.with(|tree| tree.get(key))? else { return Ok(None) };
        Ok(Some(self.whole(entry)?))
    }

    pub fn whole(&mut self, mut entry: Entry) -> Answer<Entry> {
        let value = entry.value.clone();
        entry.value = Value::Inline(self.with(|tree| tree.value(&value))?);
        Ok(entry)
    }

    /// Everything in the range, values in hand.
    pub fn scan(&mut self, from: Bound<&[u8]>, end: Option<&[u8]>) -> Answer<Vec<(Bytes, Entry)>> {
        let mut found: Vec<(Bytes, Entry)> = Vec::new();
        let mut at = from.map(Bytes::copy_from_slice);
        loop {
            let mut visit = |key: &[u8], entry: EntryRef<'_>| {
                found.push((Bytes::copy_from_slice(key), entry.to_entry()));
                ControlFlow::Continue(())
            };
            let from = at.as_ref().map(|key| key.as_ref());
            match self.tree.scan(from, end, &mut visit) {
                Ok(ScanEnd::Finished) => break,
                Ok(ScanEnd::Stopped) => unreachable!("the visitor never stops"),
                Err(missed) => {
                    for miss in missed.misses {
                        self.supply(miss)?;
                    }
                    at = missed.resume;
                }
            }
        }
        found.into_iter().map(|(key, entry)| Ok((key, self.whole(entry)?))).collect()
    }

    /// One write, if there is one. True if there was.
    pub fn write_one(&mut self) -> bool {
        let Some(write) = self.tree.poll_write() else { return false };
        let (from, to) = (write.offset as usize, write.offset as usize + write.bytes.len());
        self.disk.resize(self.disk.len().max(to), 0);
        self.disk[from..to].copy_from_slice(&write.bytes);
        self.tree.wrote(write.ticket);
        true
    }

    pub fn freeze(&mut self) {
        self.generation += 1;
        self.tree.freeze(self.generation);
    }

    /// Writes what is frozen and commits it.
    pub fn commit(&mut self) -> RootRef {
        while self.write_one() {}
        let root = self.tree.frozen_root().expect("all is written");
        self.tree.commit(self.generation);
        root
    }

    pub fn checkpoint(&mut self) -> RootRef {
        self.freeze();
        self.commit()
    }

    /// The file as of a root, verified offline.
    pub fn check(&self, root: &RootRef) -> CheckReport {
        check(root, &mut |offset, len| self.read(offset, len)).expect("whole")
    }

    /// Marks what lies at the end of the file, all of it.
    pub fn relocate(&mut self) {
        while self.with(|tree| tree.relocate()).expect("no rot") != Relocation::Settled {}
    }

    /// A whole pass over everything on disk. The number of reads it took.
    pub fn scrub(&mut self) -> Answer<u64> {
        let mut reads = 0;
        loop {
            match self.tree.poll_scrub() {
                Scrub::Read(miss) => {
                    let bytes = self.read(miss.offset, miss.len);
                    self.tree.scrubbed(miss.page, bytes)?;
                    reads += 1;
                }
                Scrub::Pause => {}
                Scrub::Finished => return Ok(reads),
            }
        }
    }

    pub fn trim(&mut self) {
        while let Some(trim) = self.tree.poll_trim() {
            match trim {
                Trim::Truncate { len } => self.disk.truncate(len as usize),
                Trim::Punch { offset, len } => {
                    let end = (offset + len).min(self.disk.len() as u64) as usize;
                    self.disk[offset as usize..end].fill(0);
                }
            }
            self.tree.trimmed();
        }
    }
}

pub fn read(disk: &[u8], offset: u64, len: u32) -> Bytes {
    let mut bytes = vec![0; len as usize];
    let have = disk.len().saturating_sub(offset as usize).min(len as usize);
    if have > 0 {
        bytes[..have].copy_from_slice(&disk[offset as usize..offset as usize + have]);
    }
    Bytes::from(bytes)
}

/// An entry at `main` with this value.
pub fn entry(main: i64, value: Bytes) -> Entry {
    let modified = Rev::new(main, (main % 3) as u32);
    Entry { modified, create: 1, version: main, lease: main % 2, value: Value::Inline(value) }
}

pub type Twin = BTreeMap<Bytes, Entry>;
