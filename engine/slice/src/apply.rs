//! Owns the apply stream: changes, marks, compactions and freezes in the order of the log.
//! Never reorders. Invariant: a change is in the tree and in the history before the next task is
//! looked at, except for the one [`Half`] whose replaced value is being read from disk.

use std::collections::VecDeque;

use base::{Change, ChangeKind, Rev, Version};
use history::{Previous, Record};
use tree::{Entry, Value};

use crate::io::{Page, Waiter};
use crate::slice::{Pace, Slice};

/// One thing to do, in stream order.
pub(crate) enum Task {
    Change(Change, Deed),
    /// Everything up to this revision has been queued before.
    Through(i64),
    Compact(i64),
    Freeze(u64),
}

/// Where a change comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Decided here, against this very state.
    Sequenced,
    /// Read out of another member's history, which does not tell what it replaced.
    Copied,
    /// A pair as of the compact revision of another member's store: nothing older is remembered.
    Row,
}

/// A change that is in the tree and not yet in the history: the value that it replaced is a
/// large one and must come from disk first.
pub(crate) struct Half {
    pub change: Change,
    /// The version that it replaced.
    pub was: Version,
    pub value: Value,
}

pub(crate) struct Stream {
    tasks: VecDeque<Task>,
    changes: usize,
    bytes: usize,
    pub half: Option<Half>,
    /// Waits for a page.
    pub is_parked: bool,
    pub applied: i64,
}

impl Stream {
    pub fn new(applied: i64) -> Stream {
        Stream {
            tasks: VecDeque::new(),
            changes: 0,
            bytes: 0,
            half: None,
            is_parked: false,
            applied,
        }
    }

    pub fn push(&mut self, task: Task) {
        if let Task::Change(change, _) = &task {
            self.changes += 1;
            self.bytes += bytes_of(change);
        }
        self.tasks.push_back(task);
    }

    /// The next task, to be given back with [`Stream::unpop`] if it must wait.
    fn pop(&mut self) -> Option<Task> {
        let task = self.tasks.pop_front()?;
        if let Task::Change(change, _) = &task {
            self.changes -= 1;
            self.bytes -= bytes_of(change);
        }
        Some(task)
    }

    fn unpop(&mut self, change: Change, deed: Deed) {
        self.changes += 1;
        self.bytes += bytes_of(&change);
        self.tasks.push_front(Task::Change(change, deed));
    }

    pub fn queued_changes(&self) -> usize {
        self.changes
    }

    pub fn queued_bytes(&self) -> usize {
        self.bytes
    }
}

impl Slice {
    /// Does up to `budget` tasks.
    pub(crate) fn run_stream(&mut self, budget: usize) -> Pace {
        for _ in 0..budget {
            if self.stream.is_parked {
                return Pace::Idle;
            }
            if let Err(page) = self.finish_half() {
                return self.park_stream(page);
            }
            match self.stream.pop() {
                None => return Pace::Idle,
                Some(Task::Change(change, deed)) => {
                    if let Err(missed) = self.begin_change(change, deed) {
                        let (change, page) = *missed;
                        self.stream.unpop(change, deed);
                        return self.park_stream(page);
                    }
                }
                // Replay after a restart may begin below what the checkpoint holds.
                Some(Task::Through(main)) => {
                    self.stream.applied = self.stream.applied.max(main);
                }
                Some(Task::Compact(main)) => {
                    assert!(main <= self.stream.applied);
                    self.compact = self.compact.max(main);
                }
                Some(Task::Freeze(generation)) => self.begin_freeze(generation),
            }
        }
        match self.finish_half() {
            Err(page) => self.park_stream(page),
            Ok(()) if self.stream.tasks.is_empty() => Pace::Idle,
            Ok(()) => Pace::Busy,
        }
    }

    /// Waits for a page, and reads ahead for the changes behind.
    fn park_stream(&mut self, page: Page) -> Pace {
        self.stream.is_parked = true;
        self.want(page, Waiter::Stream);
        let changes = self.stream.tasks.iter().filter_map(|task| match task {
            Task::Change(change, _) => Some(change.key.clone()),
            Task::Through(_) | Task::Compact(_) | Task::Freeze(_) => None,
        });
        let keys: Vec<_> = changes.take(self.options.prefetch_changes).collect();
        for key in keys {
            if let Err(miss) = self.touch(&key) {
                self.want(Page::Tree(miss), Waiter::Nobody);
            }
        }
        Pace::Idle
    }

    /// Looks at all that changing the key will look at.
    fn touch(&mut self, key: &[u8]) -> Result<(), tree::Miss> {
        match self.tree.get(key)? {
            Some(entry) => self.tree.value(&entry.value).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Puts a change into the tree, and into the history unless that must wait for a value.
    /// Gives it back if a page is missing.
    fn begin_change(&mut self, mut change: Change, deed: Deed) -> Result<(), Box<(Change, Page)>> {
        let entry = match &change.kind {
            ChangeKind::Put { value, create, version, lease } => Some(Entry {
                modified: change.rev,
                create: *create,
                version: *version,
                lease: *lease,
                value: Value::Inline(value.clone()),
            }),
            ChangeKind::Delete => None,
        };
        if self.past.get().is_none() || deed == Deed::Row {
            let done = match entry {
                Some(entry) => self.tree.put(&change.key, &entry),
                None => self.tree.remove(&change.key),
            };
            return done.map(drop).map_err(|miss| Box::new((change, Page::Tree(miss))));
        }
        assert!(self.past.last() < change.rev);
        let entry = entry.unwrap_or_else(|| Entry::tombstone(change.rev));
        let was = match self.tree.put(&change.key, &entry) {
            Ok(was) => was,
            Err(miss) => return Err(Box::new((change, Page::Tree(miss)))),
        };
        // Of the compact revision itself a change is in the rows already, and what it replaced is
        // gone: it comes along for those who watch from there.
        let was = was.filter(|was| deed != Deed::Copied || was.modified < change.rev);
        let replaced = was.as_ref().filter(|was| was.is_live()).map(|was| was.modified);
        match deed {
            // The sequencer decided against the same state: if we differ, one of us lost a write.
            Deed::Sequenced => assert_eq!(replaced, change.prev),
            Deed::Copied => change.prev = replaced,
            Deed::Row => unreachable!("rows have no past"),
        }
        match was {
            None => self.remember(change, None, None),
            Some(was) if !was.is_live() => self.remember(change, None, Some(was.modified)),
            Some(Entry { value: Value::Inline(value), modified, create, version, lease }) => {
                let version = Version { create, modified, version, lease };
                self.remember(change, Some(Previous { version, value }), None);
            }
            Some(was) => {
                let version = version_of(&was);
                self.stream.half = Some(Half { change, was: version, value: was.value });
                // If its value is not at hand, the next task waits, not this one: it is done.
                let _ = self.finish_half();
            }
        }
        Ok(())
    }

    /// Completes the change that waits for the value that it replaced.
    fn finish_half(&mut self) -> Result<(), Page> {
        let Some(half) = &self.stream.half else { return Ok(()) };
        let value = self.tree.value(&half.value).map_err(Page::Tree)?;
        let half = self.stream.half.take().expect("just seen");
        self.remember(half.change, Some(Previous { version: half.was, value }), None);
        self.finish_commit();
        Ok(())
    }

    fn remember(&mut self, change: Change, prev: Option<Previous>, tombstone: Option<Rev>) {
        let Change { rev, key, kind, prev: _ } = change;
        let history = self.past.get().expect("only called with one");
        history.append(&Record { rev, key, kind, prev, tombstone });
    }

    /// The revision of the change that is in the tree only.
    pub(crate) fn half_rev(&self) -> Option<Rev> {
        self.stream.half.as_ref().map(|half| half.change.rev)
    }
}

/// The metadata of a live entry.
pub(crate) fn version_of(entry: &Entry) -> Version {
    let Entry { modified, create, version, lease, value: _ } = *entry;
    Version { create, modified, version, lease }
}

fn bytes_of(change: &Change) -> usize {
    let value = match &change.kind {
        ChangeKind::Put { value, .. } => value.len(),
        ChangeKind::Delete => 0,
    };
    change.key.len() + value
}
