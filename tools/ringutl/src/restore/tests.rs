//! A snapshot made of a drawn history, restored to a directory of its own, read back at every
//! revision beside the dumb list of all changes; and damage found by the check.

use base::Prng;
use node::snapshot::SnapshotWriter;
use settings::cluster;
use slice::{Fields, KeyRange, RangeEnd, ReadRequest, ReadResult, SliceRoot};

use super::*;
use crate::check::check;

const PEER: &str = "http://localhost:2380";

/// What a key became: a version with its value, or nothing.
type Became = Option<(Version, Bytes)>;

struct World {
    log: Vec<(Rev, Bytes, Became)>,
    revision: i64,
    compact: i64,
}

impl World {
    fn draw(dice: &mut Prng) -> World {
        let (mut log, mut live) = (Vec::new(), BTreeMap::<Bytes, Version>::new());
        let revision = 2 + dice.below(120) as i64;
        for main in 2..=revision {
            let mut touched = Vec::new();
            for sub in 0..1 + dice.below(3) as u32 {
                let key = Bytes::from(format!("key-{}", dice.below(25)));
                if touched.contains(&key) {
                    break;
                }
                touched.push(key.clone());
                let rev = Rev::new(main, sub);
                let before = live.get(&key).copied();
                if before.is_some() && dice.chance(300) {
                    live.remove(&key);
                    log.push((rev, key, None));
                    continue;
                }
                let version = Version {
                    create: before.map_or(main, |before| before.create),
                    modified: rev,
                    version: before.map_or(1, |before| before.version + 1),
                    lease: 0,
                };
                live.insert(key.clone(), version);
                let mut value = vec![0; dice.below(6000) as usize];
                dice.fill(&mut value);
                log.push((rev, key, Some((version, Bytes::from(value)))));
            }
        }
        let compact = if dice.chance(300) { -1 } else { 1 + dice.below(revision as u64) as i64 };
        World { log, revision, compact }
    }

    fn live_at(&self, main: i64) -> BTreeMap<Bytes, (Version, Bytes)> {
        let mut live = BTreeMap::new();
        for (rev, key, what) in self.log.iter().filter(|(rev, ..)| rev.main <= main) {
            match what {
                Some(pair) => drop(live.insert(key.clone(), pair.clone())),
                None => drop(live.remove(key)),
            }
            assert!(rev.main <= main);
        }
        live
    }

    fn snapshot(&self) -> Vec<u8> {
        let header = Header {
            cluster_id: 1,
            member_id: 2,
            revision: self.revision,
            compact_revision: self.compact,
            term: 3,
            index: 4,
        };
        let mut bytes = Vec::new();
        let mut writer = SnapshotWriter::begin(&header, &mut bytes);
        if self.compact > 0 {
            for (key, (version, value)) in self.live_at(self.compact) {
                writer.item(&SnapshotItem::Row { key, version, value }, &mut bytes);
            }
        }
        for (rev, key, what) in self.log.iter().filter(|(rev, ..)| rev.main > self.compact) {
            let (rev, key) = (*rev, key.clone());
            let item = match what.clone() {
                Some((version, value)) => SnapshotItem::Put { key, version, value },
                None => SnapshotItem::Delete { rev, key },
            };
            writer.item(&item, &mut bytes);
        }
        writer.finish(&mut bytes);
        bytes
    }
}

/// A directory that goes away.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("ringutl-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn order(scratch: &Scratch, world: &World, slices: u16) -> Order {
    let snapshot = scratch.0.join("snapshot");
    std::fs::write(&snapshot, world.snapshot()).unwrap();
    let peers = settings::url::parse_list(PEER).unwrap();
    let initial = format!("default={PEER}");
    Order {
        snapshot,
        data_dir: scratch.0.join("data"),
        wal_dir: None,
        founding: cluster::found(&initial, "etcd-cluster", "default", &peers).unwrap(),
        slices,
        check: HashCheck::Skipped,
        bump: Bump::Keep,
    }
}

/// All rows of all slices of a directory at a point.
fn rows(data_dir: &Path, at: Rev) -> BTreeMap<Bytes, (Version, Bytes)> {
    let files = Files::open(data_dir, None).unwrap();
    let manifest = std::fs::read(files.path(FileId::Manifest)).unwrap();
    let mut manifest = manifest;
    manifest.resize(2 * node::manifest::SLOT_BYTES, 0);
    let manifest = Manifest::choose(&Bytes::from(manifest)).unwrap();
    let slices = manifest.roots.len() as u16 - 1;
    let partition = Partition::new(slices, 1);
    let mut rows = BTreeMap::new();
    for root in &manifest.roots[..usize::from(slices)] {
        let root = SliceRoot::decode(root).unwrap();
        let mut slice = Offline::open(&files, root, partition).unwrap();
        let request = ReadRequest::Range {
            keys: KeyRange { start: Bytes::new(), end: RangeEnd::Unbounded },
            at,
            limit: usize::MAX,
            limit_bytes: usize::MAX,
            fields: Fields::WithValues,
        };
        match slice.read(request).unwrap() {
            ReadResult::Range { items, resume: None } => {
                rows.extend(items.into_iter().map(|row| (row.key, (row.version, row.value))));
            }
            other => panic!("{other:?}"),
        }
    }
    rows
}

#[test]
fn a_restored_directory_holds_the_same_rows_at_every_revision() {
    for seed in 0..8 {
        println!("seed {seed}");
        let mut dice = Prng::from_seed(seed);
        let world = World::draw(&mut dice);
        let scratch = Scratch::new(&format!("rows-{seed}"));
        let order = order(&scratch, &world, 1 + seed as u16 % 3);
        let restored = restore(&order).unwrap();
        assert_eq!(restored.revision, world.revision);
        assert_eq!(restored.compact_revision, world.compact);
        let step = 1 + dice.below(20) as usize;
        let mains = (world.compact.max(1)..world.revision).step_by(step).chain([world.revision]);
        for main in mains {
            assert_eq!(rows(&order.data_dir, Rev::end_of(main)), world.live_at(main), "{main}");
        }
        let findings = check(&order.data_dir, None).unwrap();
        assert!(findings.rot.is_empty(), "{:?}", findings.rot);
    }
}

#[test]
fn a_raised_revision_compacts_everything_before() {
    let world = World::draw(&mut Prng::from_seed(77));
    let scratch = Scratch::new("bump");
    let order = Order { bump: Bump::By(1000), ..order(&scratch, &world, 2) };
    let restored = restore(&order).unwrap();
    let main = world.revision + 1000;
    assert_eq!((restored.revision, restored.compact_revision), (main, main));
    assert_eq!(rows(&order.data_dir, Rev::end_of(main)), world.live_at(world.revision));
}

#[test]
fn a_directory_that_is_not_empty_stays_as_it_is() {
    let world = World::draw(&mut Prng::from_seed(5));
    let scratch = Scratch::new("full");
    let order = order(&scratch, &world, 1);
    std::fs::create_dir_all(&order.data_dir).unwrap();
    std::fs::write(order.data_dir.join("mine"), b"x").unwrap();
    assert!(restore(&order).unwrap_err().contains("not empty"));
}

#[test]
fn a_flipped_bit_in_a_tree_or_a_history_is_found_with_its_place() {
    let world = World::draw(&mut Prng::from_seed(9));
    let scratch = Scratch::new("rot");
    let order = order(&scratch, &world, 1);
    restore(&order).unwrap();
    let store = order.data_dir.join("member").join("store");
    for name in ["0000.tree", "0000-0000000000000001.history", "manifest"] {
        let path = store.join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut bent = whole.clone();
        let at = whole.iter().position(|byte| *byte != 0).unwrap();
        bent[at] ^= 4;
        std::fs::write(&path, bent).unwrap();
        let findings = check(&order.data_dir, None).unwrap();
        assert!(!findings.rot.is_empty(), "{name} at {at}");
        std::fs::write(&path, whole).unwrap();
    }
    assert!(check(&order.data_dir, None).unwrap().rot.is_empty());
}
