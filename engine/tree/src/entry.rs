//! Owns what the tree keeps for one key, owned and borrowed. Knows no page.
//! Invariant: an entry with version 0 is a tombstone and carries no value.

use base::Rev;
use bytes::Bytes;

use crate::sizes::units_for;
use crate::space::Extent;

/// What one key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Revision of the latest change.
    pub modified: Rev,
    /// Main revision of the first put since the key was absent; 0 in a tombstone.
    pub create: i64,
    /// Puts since then; 0 says that the key is deleted.
    pub version: i64,
    /// Attached lease, 0 for none.
    pub lease: i64,
    /// The value, or where it is.
    pub value: Value,
}

/// A value, in hand or on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The bytes themselves.
    Inline(Bytes),
    /// An extent to be read with [`crate::Tree::value`]. The handle is good until the next
    /// [`crate::Tree::commit`], or as long as a pin taken before is held.
    Extent(ExtentRef),
}

/// Where a large value lies, and its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtentRef {
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) crc: u32,
}

impl Value {
    /// Bytes of the value.
    pub fn value_bytes(&self) -> usize {
        match self {
            Value::Inline(bytes) => bytes.len(),
            Value::Extent(extent) => extent.value_bytes(),
        }
    }
}

impl ExtentRef {
    /// Bytes of the value.
    pub fn value_bytes(&self) -> usize {
        self.len as usize
    }

    /// Units that the value takes.
    pub(crate) fn place(&self) -> Extent {
        Extent { start: self.start, units: units_for(self.len as usize) }
    }
}

/// An entry as it lies in a page, for visitors that may not need a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRef<'a> {
    /// As in [`Entry`].
    pub modified: Rev,
    /// As in [`Entry`].
    pub create: i64,
    /// As in [`Entry`].
    pub version: i64,
    /// As in [`Entry`].
    pub lease: i64,
    /// As in [`Entry`].
    pub value: ValueRef<'a>,
}

/// A value as it lies in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueRef<'a> {
    /// Bytes of a page.
    Inline(&'a [u8]),
    /// Bytes that wait for the next checkpoint to get an extent.
    Waiting(&'a Bytes),
    /// An extent on disk.
    Extent(ExtentRef),
}

impl Entry {
    /// What stays of a key that was deleted at `modified`, until compaction passes it.
    pub fn tombstone(modified: Rev) -> Entry {
        Entry { modified, create: 0, version: 0, lease: 0, value: Value::Inline(Bytes::new()) }
    }

    /// Whether the key exists.
    pub fn is_live(&self) -> bool {
        self.version != 0
    }
}

impl EntryRef<'_> {
    /// Whether the key exists.
    pub fn is_live(&self) -> bool {
        self.version != 0
    }

    /// An owned copy. Extents stay extents.
    pub fn to_entry(&self) -> Entry {
        let value = match self.value {
            ValueRef::Inline(bytes) => Value::Inline(Bytes::copy_from_slice(bytes)),
            ValueRef::Waiting(bytes) => Value::Inline(bytes.clone()),
            ValueRef::Extent(extent) => Value::Extent(extent),
        };
        let EntryRef { modified, create, version, lease, value: _ } = *self;
        Entry { modified, create, version, lease, value }
    }
}

impl ValueRef<'_> {
    /// Bytes of the value.
    pub fn value_bytes(&self) -> usize {
        match self {
            ValueRef::Inline(bytes) => bytes.len(),
            ValueRef::Waiting(bytes) => bytes.len(),
            ValueRef::Extent(extent) => extent.value_bytes(),
        }
    }
}
