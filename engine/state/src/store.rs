//! Owns the key space as the sequencer sees it: the head index, the leases attached to it, and the
//! two revisions; and the one way to change it, a writer for one main revision.
//! Never fails: who writes has checked before.
//! Invariant: an attachment exists exactly where a live key names a lease; the revision counts the
//! writers that changed something.

use base::{Change, ChangeKind, Rev, Version};
use bytes::Bytes;

use crate::head::{HeadIndex, Slot};
use crate::leases::Leases;
use crate::span::Span;

pub(crate) struct Store {
    pub(crate) head: HeadIndex,
    pub(crate) leases: Leases,
    /// Of the latest change; 1 if there was none yet.
    pub(crate) revision: i64,
    /// Revisions below it are gone; -1 if nothing was ever compacted.
    pub(crate) compacted: i64,
}

/// What a put makes of a key.
pub(crate) struct NewPair {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    pub(crate) lease: i64,
}

/// Changes of one main revision, in order of execution.
pub(crate) struct Writer<'a> {
    store: &'a mut Store,
    main: i64,
    changes: Vec<Change>,
}

impl Store {
    /// Starts the next main revision, which only counts if it changes something.
    pub(crate) fn write(&mut self) -> Writer<'_> {
        let main = self.revision + 1;
        Writer { store: self, main, changes: Vec::new() }
    }

    /// The point that sees everything so far.
    pub(crate) fn now(&self) -> Rev {
        Rev::end_of(self.revision)
    }
}

impl Writer<'_> {
    pub(crate) fn store(&self) -> &Store {
        self.store
    }

    /// The point that sees what was written so far, and nothing of what comes.
    pub(crate) fn now(&self) -> Rev {
        self.next().before()
    }

    /// The revision as a reply shows it at this point.
    pub(crate) fn revision(&self) -> i64 {
        if self.changes.is_empty() { self.main - 1 } else { self.main }
    }

    /// The point just before this writer.
    pub(crate) fn before(&self) -> Rev {
        Rev::end_of(self.main - 1)
    }

    pub(crate) fn put(&mut self, pair: NewPair) {
        let rev = self.next();
        let NewPair { key, value, lease } = pair;
        let (head, leases) = (&mut self.store.head, &mut self.store.leases);
        let found = head.find(&key);
        let before = found.map(|slot| head.version(slot));
        let create = before.map_or(rev.main, |before| before.create);
        let version = before.map_or(1, |before| before.version + 1);
        let after = Version { create, modified: rev, version, lease };
        let slot = match found {
            Some(slot) => {
                head.set(slot, after);
                slot
            }
            None => head.insert(&key, after),
        };
        let lease_before = before.map_or(0, |before| before.lease);
        if lease_before != lease {
            if lease_before != 0 {
                leases.detach(lease_before, slot);
            }
            if lease != 0 {
                leases.attach(lease, slot);
            }
        }
        let kind = ChangeKind::Put { value, create, version, lease };
        let prev = before.map(|before| before.modified);
        self.changes.push(Change { rev, key, kind, prev });
    }

    /// Deletes the live keys of a span, in order. Returns how many.
    pub(crate) fn delete(&mut self, span: &Span) -> i64 {
        let slots: Vec<Slot> = match span {
            Span::Key(key) => self.store.head.find(key).into_iter().collect(),
            Span::Between { .. } | Span::From(_) => self.store.head.range(span).collect(),
        };
        slots.iter().for_each(|slot| self.delete_at(*slot));
        i64::try_from(slots.len()).unwrap_or_else(|_| unreachable!("fewer keys than 2^32"))
    }

    /// Deletes the keys of a lease, in order of the keys, and the lease with them.
    pub(crate) fn revoke(&mut self, lease: i64) {
        let mut slots: Vec<Slot> = self.store.leases.attached(lease).collect();
        // The order of places depends on history that a restored member does not have.
        let head = &self.store.head;
        slots.sort_unstable_by(|left, right| head.key(*left).cmp(head.key(*right)));
        slots.iter().for_each(|slot| self.delete_at(*slot));
        self.store.leases.remove(lease);
    }

    /// Ends the revision.
    pub(crate) fn finish(self) -> Vec<Change> {
        self.store.revision = self.revision();
        self.changes
    }

    fn delete_at(&mut self, slot: Slot) {
        let rev = self.next();
        let key = Bytes::copy_from_slice(self.store.head.key(slot));
        let before = self.store.head.remove(slot);
        if before.lease != 0 {
            self.store.leases.detach(before.lease, slot);
        }
        let prev = Some(before.modified);
        self.changes.push(Change { rev, key, kind: ChangeKind::Delete, prev });
    }

    fn next(&self) -> Rev {
        let sub = u32::try_from(self.changes.len()).expect("fewer than 2^32 changes in one txn");
        Rev::new(self.main, sub)
    }
}
