//! Owns building a sequencer from a checkpoint: live keys from the slices, facts from the meta
//! slice, revisions from the manifest, in any order. Never trusts them to fit each other.
//! Invariant: restoring a checkpoint and replaying the log after it gives what replaying the whole
//! log gives.

use base::Version;

use super::{LogPosition, Sequencer};
use crate::head::Slot;
use crate::meta::{BadMeta, Fact};

/// What a checkpoint holds that cannot be true. The disk lied: stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// A live key came twice, or is empty.
    Key,
    /// A live key is newer than the checkpoint's revision, or was made after it was changed.
    Version {
        /// The key's version.
        found: Version,
    },
    /// A live key names a lease that does not exist.
    LeaseMissing {
        /// The lease.
        id: i64,
    },
    /// The compact revision is above the revision.
    Revisions,
    /// The meta slice holds something else than facts.
    Meta(BadMeta),
}

/// Keys and leases that wait for each other.
#[derive(Default)]
pub(super) struct Restoring {
    under_way: Option<Pending>,
}

#[derive(Default)]
struct Pending {
    attached: Vec<(i64, Slot)>,
    newest: Option<Version>,
}

/// The numbers that a manifest holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoredAt {
    /// Where in the log the checkpoint was taken.
    pub applied: LogPosition,
    /// The store's revision there.
    pub revision: i64,
    /// The compact revision there, -1 for none.
    pub compact_revision: i64,
}

impl Restoring {
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }
}

impl Sequencer {
    /// Takes a live key of a checkpoint.
    pub fn restore_key(&mut self, key: &[u8], version: Version) -> Result<(), RestoreError> {
        if key.is_empty() || !self.store.head.restore(key, version) {
            return Err(RestoreError::Key);
        }
        if version.create > version.modified.main || version.create < 2 || version.version < 1 {
            return Err(RestoreError::Version { found: version });
        }
        let pending = self.restoring.under_way.get_or_insert_default();
        if pending.newest.is_none_or(|newest| newest.modified < version.modified) {
            pending.newest = Some(version);
        }
        if version.lease != 0 {
            let slot = self.store.head.find(key).unwrap_or_else(|| unreachable!("just restored"));
            pending.attached.push((version.lease, slot));
        }
        Ok(())
    }

    /// Takes a key of the meta slice of a checkpoint.
    pub fn restore_meta(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        self.restoring.under_way.get_or_insert_default();
        match Fact::read(key, value).map_err(RestoreError::Meta)? {
            Fact::Alarm { alarm: 0, .. } | Fact::Lease { id: 0, .. } => {
                return Err(RestoreError::Meta(BadMeta::Key));
            }
            Fact::Alarm { member, alarm } => drop(self.alarms.raise(member, alarm)),
            Fact::ClusterVersion(version) => self.cluster_version = Some(version),
            Fact::DowngradeTarget(target) => self.downgrade_target = Some(target),
            Fact::Lease { id, granted } if !self.store.leases.contains(id) => {
                self.store.leases.grant(id, granted);
            }
            Fact::Lease { .. } => return Err(RestoreError::Meta(BadMeta::Key)),
            Fact::Member(member) => self.members.restore(member),
            Fact::Removed(id) => self.members.restore_removed(id),
            Fact::Told(member) => self.told.push(member),
        }
        Ok(())
    }

    /// Ends the restore, also of a checkpoint without keys.
    pub fn finish_restore(&mut self, at: RestoredAt) -> Result<(), RestoreError> {
        let pending = self.restoring.under_way.take().unwrap_or_default();
        if at.revision < 1 || at.compact_revision < -1 || at.revision < at.compact_revision {
            return Err(RestoreError::Revisions);
        }
        if let Some(found) = pending.newest
            && found.modified.main > at.revision
        {
            return Err(RestoreError::Version { found });
        }
        self.store.head.finish_restore();
        for (id, slot) in pending.attached {
            if !self.store.leases.contains(id) {
                return Err(RestoreError::LeaseMissing { id });
            }
            self.store.leases.attach(id, slot);
        }
        self.store.revision = at.revision;
        self.store.compacted = at.compact_revision;
        self.applied = at.applied;
        Ok(())
    }

    /// Everything that the meta slice must hold now: what a new slice is filled with.
    pub fn all_meta(&self) -> Vec<crate::meta::MetaChange> {
        let mut facts = Vec::new();
        facts.extend(self.alarms.iter().map(|(member, alarm)| Fact::Alarm { member, alarm }));
        facts.extend(self.cluster_version.clone().map(Fact::ClusterVersion));
        facts.extend(self.downgrade_target.clone().map(Fact::DowngradeTarget));
        let leases = self.store.leases.iter();
        facts.extend(leases.map(|(id, granted)| Fact::Lease { id, granted }));
        facts.extend(self.members.iter().cloned().map(Fact::Member));
        facts.extend(self.members.removed().map(Fact::Removed));
        facts.extend(self.told.iter().cloned().map(Fact::Told));
        facts.iter().map(Fact::write).collect()
    }
}
