//! Owns the making of a data directory from a snapshot: a first checkpoint that a server opens as
//! if it had founded the cluster with this state. No log is needed. Never touches an old directory.
//! Invariant: the manifest is written last, when everything that it names is durable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base::{Change, ChangeKind, FileId, IoRequest, IoResult, Rev, Version};
use bytes::Bytes;
use node::manifest::Manifest;
use node::shard::Partition;
use node::snapshot::{Header, SnapshotItem};
use settings::cluster::Founding;
use state::sequencer::{LogPosition, RestoredAt};
use state::{CheckpointPolicy, Member, MemberChange, MemberRole, Sequencer, SequencerOptions};

use crate::files::Files;
use crate::offline::Offline;
use crate::source::{HashCheck, Source, Spot};

/// Every founder of a group starts from the same entry, which exists nowhere.
const FOUNDING: LogPosition = LogPosition { term: 1, index: 1 };
/// Bytes of changes gathered before a slice applies them.
const BATCH_BYTES: usize = 1 << 20;
/// What a change weighs besides its value.
const CHANGE_BYTES: usize = 128;

/// What to do about revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bump {
    /// The revision of the snapshot.
    Keep,
    /// So many more, and everything before is compacted: clients that cached must read anew.
    By(u64),
}

/// What to restore, and where.
#[derive(Clone, Debug)]
pub struct Order {
    /// The snapshot.
    pub snapshot: PathBuf,
    /// Where the new directory is made.
    pub data_dir: PathBuf,
    /// Where its log goes, if not below it.
    pub wal_dir: Option<PathBuf>,
    /// Who founds the cluster.
    pub founding: Founding,
    /// Slices of the new store.
    pub slices: u16,
    /// Whether the file must end with its hash.
    pub check: HashCheck,
    /// What to do about revisions.
    pub bump: Bump,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The new store's revision.
    pub revision: i64,
    /// Its compact revision.
    pub compact_revision: i64,
    /// Its live keys.
    pub keys: u64,
}

/// Makes the directory.
pub fn restore(order: &Order) -> Result<Restored, String> {
    let source = Source::open(&order.snapshot, order.check)?;
    let plan = Plan::of(&source)?;
    let partition = Partition::new(order.slices, 1);
    let files = Files::create(&order.data_dir, order.wal_dir.as_deref())?;
    let mut store = Store::create(&files, partition);
    store.fill(&source, &plan)?;
    let (revision, compact_revision) = revisions(&plan.header, order.bump);
    let meta = store.meta(order, &plan, revision, compact_revision)?;
    let roots = store.finish(revision, compact_revision, &meta)?;
    let manifest = Manifest {
        generation: 1,
        cluster_id: order.founding.cluster_id,
        member_id: order.founding.local_id,
        applied_index: FOUNDING.index,
        applied_term: FOUNDING.term,
        revision,
        compact_revision,
        log_first: 0,
        log_position: 0,
        voters: order.founding.members.iter().map(|member| member.id).collect(),
        learners: Vec::new(),
        roots,
    };
    write_manifest(&files, &manifest)?;
    Ok(Restored { revision, compact_revision, keys: store.live.len() as u64 })
}

fn revisions(header: &Header, bump: Bump) -> (i64, i64) {
    match bump {
        Bump::Keep => (header.revision, header.compact_revision),
        Bump::By(by) => {
            let revision = header.revision.saturating_add_unsigned(by);
            (revision, revision)
        }
    }
}

fn write_manifest(files: &Files, manifest: &Manifest) -> Result<(), String> {
    let (file, bytes) = (FileId::Manifest, manifest.encode());
    let write = IoRequest::Write { file, offset: manifest.slot_offset(), bytes };
    for request in [write, IoRequest::Sync { file }] {
        if let IoResult::Failed(error) = files.run(&request) {
            return Err(format!("the manifest cannot be written: {error:?}"));
        }
    }
    files.sync_dirs().map_err(|error| format!("the directory cannot be synced: {error}"))
}

/// What a first reading of the snapshot gives.
struct Plan {
    header: Header,
    /// Rows in the order of revisions, by their places.
    rows: Vec<(Rev, Spot)>,
    metas: Vec<(Bytes, Bytes)>,
}

impl Plan {
    fn of(source: &Source) -> Result<Plan, String> {
        let (mut rows, mut metas) = (Vec::new(), Vec::new());
        let header = source.read(|spot, item| {
            match item {
                SnapshotItem::Row { version, .. } => rows.push((version.modified, spot)),
                SnapshotItem::Meta { key, value } => metas.push((key, value)),
                SnapshotItem::Put { .. } | SnapshotItem::Delete { .. } | SnapshotItem::End(_) => {}
            }
            Ok(())
        })?;
        rows.sort_unstable_by_key(|(rev, _)| *rev);
        Ok(Plan { header, rows, metas })
    }
}

/// Changes that a slice was not given yet.
#[derive(Default)]
struct Waiting {
    changes: Vec<Change>,
    bytes: usize,
}

/// The store being made.
struct Store<'a> {
    partition: Partition,
    slices: Vec<Offline<'a>>,
    waiting: Vec<Waiting>,
    live: BTreeMap<Bytes, Version>,
    last: Rev,
}

impl<'a> Store<'a> {
    fn create(files: &'a Files, partition: Partition) -> Store<'a> {
        let slices: Vec<Offline<'a>> =
            partition.all().map(|id| Offline::create(files, id, partition)).collect();
        let waiting = slices.iter().map(|_| Waiting::default()).collect();
        Store { partition, slices, waiting, live: BTreeMap::new(), last: Rev::ZERO }
    }

    fn fill(&mut self, source: &Source, plan: &Plan) -> Result<(), String> {
        for (_, spot) in &plan.rows {
            match source.item_at(*spot)? {
                SnapshotItem::Row { key, version, value } => self.put(key, version, value)?,
                other => return Err(format!("a row changed while it was read: {other:?}")),
            }
        }
        source.read(|_, item| match item {
            SnapshotItem::Put { key, version, value } => self.put(key, version, value),
            SnapshotItem::Delete { rev, key } => self.delete(key, rev),
            SnapshotItem::Row { .. } | SnapshotItem::Meta { .. } | SnapshotItem::End(_) => Ok(()),
        })?;
        if plan.header.revision < self.last.main {
            return Err("the snapshot holds changes after its own revision".to_owned());
        }
        Ok(())
    }

    fn put(&mut self, key: Bytes, version: Version, value: Bytes) -> Result<(), String> {
        let Version { create, modified, version: count, lease } = version;
        let prev = self.live.insert(key.clone(), version).map(|prev| prev.modified);
        let kind = ChangeKind::Put { value, create, version: count, lease };
        self.change(Change { rev: modified, key, kind, prev })
    }

    fn delete(&mut self, key: Bytes, rev: Rev) -> Result<(), String> {
        let Some(prev) = self.live.remove(&key) else {
            return Err(format!("the snapshot deletes a key twice at {rev:?}"));
        };
        let prev = Some(prev.modified);
        self.change(Change { rev, key, kind: ChangeKind::Delete, prev })
    }

    fn change(&mut self, change: Change) -> Result<(), String> {
        if change.rev <= self.last {
            return Err(format!("the snapshot is out of order at {:?}", change.rev));
        }
        self.last = change.rev;
        let slice = self.partition.place(self.partition.slice_of(&change.key));
        let waiting = &mut self.waiting[slice];
        waiting.bytes += CHANGE_BYTES + change.key.len();
        if let ChangeKind::Put { value, .. } = &change.kind {
            waiting.bytes += value.len();
        }
        waiting.changes.push(change);
        if waiting.bytes < BATCH_BYTES {
            return Ok(());
        }
        let batch = std::mem::take(waiting);
        self.slices[slice].apply(&batch.changes, 0)
    }

    /// What the meta slice holds: the snapshot's facts, without the old cluster and with the new
    /// one.
    fn meta(
        &self,
        order: &Order,
        plan: &Plan,
        revision: i64,
        compact_revision: i64,
    ) -> Result<Vec<Change>, String> {
        let lease_checkpoints = CheckpointPolicy::Off;
        let mut sequencer = Sequencer::new(SequencerOptions { hash_seed: 1, lease_checkpoints });
        let kept = |key: &Bytes| !matches!(key.first(), Some(b'm' | b'r' | b'c'));
        for (key, value) in plan.metas.iter().filter(|(key, _)| kept(key)) {
            let restored = sequencer.restore_meta(key, value);
            restored.map_err(|error| format!("the snapshot holds an unknown fact: {error:?}"))?;
        }
        for (key, version) in &self.live {
            let restored = sequencer.restore_key(key, *version);
            restored.map_err(|error| format!("the snapshot holds a bad key: {error:?}"))?;
        }
        let applied = LogPosition::default();
        sequencer
            .finish_restore(RestoredAt { applied, revision, compact_revision })
            .map_err(|error| format!("the snapshot contradicts itself: {error:?}"))?;
        for founder in &order.founding.members {
            let member = Member {
                id: founder.id,
                // Everybody says its name once it has started.
                name: String::new(),
                peer_urls: founder.peer_urls.iter().map(ToString::to_string).collect(),
                client_urls: Vec::new(),
                role: MemberRole::Voter,
            };
            sequencer.change_members(FOUNDING, MemberChange::Add(member));
        }
        let fact = |(sub, meta): (u32, state::MetaChange)| Change {
            rev: Rev::new(1, sub),
            key: meta.key,
            kind: ChangeKind::Put {
                value: meta.value.expect("facts that hold have a value"),
                create: 1,
                version: 1,
                lease: 0,
            },
            prev: None,
        };
        Ok((0..).zip(sequencer.all_meta()).map(fact).collect())
    }

    /// Brings every slice to the revision and makes it durable.
    fn finish(
        &mut self,
        revision: i64,
        compact_revision: i64,
        meta: &[Change],
    ) -> Result<Vec<Bytes>, String> {
        let meta_at = usize::from(self.partition.meta().0);
        let mut roots = Vec::new();
        for (at, slice) in self.slices.iter_mut().enumerate() {
            if at == meta_at {
                slice.apply(meta, revision)?;
            } else {
                let rest = std::mem::take(&mut self.waiting[at]);
                slice.apply(&rest.changes, revision)?;
                if compact_revision > 0 {
                    slice.compact(compact_revision)?;
                }
            }
            roots.push(Bytes::copy_from_slice(&slice.freeze(1)?.encode()));
        }
        Ok(roots)
    }
}

/// The directory that is made when none is named.
pub fn default_data_dir(name: &str) -> PathBuf {
    Path::new(&format!("{name}.etcd")).to_path_buf()
}

#[cfg(test)]
mod tests;
