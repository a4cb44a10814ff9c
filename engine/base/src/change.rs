//! Owns the resolved change: what one key became, decided once by the sequencer and carried
//! unchanged to slices, history and watchers.
//! Invariant: a change needs nothing but itself to be applied; nobody re-decides it.

use bytes::Bytes;

use crate::Rev;

/// What is known of one live key besides its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Main revision of the first put since the key was last absent.
    pub create: i64,
    /// Revision of the latest put.
    pub modified: Rev,
    /// 1 at creation, one more at each put.
    pub version: i64,
    /// Lease that the key is attached to; 0 for none.
    pub lease: i64,
}

/// One key's change at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When it happened. Unique in the store.
    pub rev: Rev,
    /// The key, never empty.
    pub key: Bytes,
    /// What the key became.
    pub kind: ChangeKind,
    /// Revision of the live version that this change replaced; `None` if the key was absent.
    pub prev: Option<Rev>,
}

/// What a key became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The key lives, with this value and metadata (`modified` is the change's own revision).
    Put {
        /// The new value.
        value: Bytes,
        /// Main revision of the first put since the key was absent.
        create: i64,
        /// Number of puts since then.
        version: i64,
        /// Attached lease, 0 for none.
        lease: i64,
    },
    /// The key is gone.
    Delete,
}
