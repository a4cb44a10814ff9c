//! Owns the offline check of a whole tree file: everything reachable is read, verified and compared
//! with the free map. Never repairs by itself; a free map that is lost can be computed again.
//! Invariant: a tree that passes here answers every question without rot.

use bytes::Bytes;

use crate::cell::{At, PageRef, Stored};
use crate::codec::{Expected, decode};
use crate::free_map;
use crate::page::Page;
use crate::root::RootRef;
use crate::rot::{Rot, Why};
use crate::sizes::{UNIT_BYTES, offset_of};
use crate::space::Extent;
use crate::tree::check_value;

/// What a check found in a tree that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// Nodes.
    pub pages: u64,
    /// Values in extents of their own.
    pub values: u64,
    /// Units in use, the free map's included.
    pub used_units: u64,
    /// Live entries.
    pub live: u64,
    /// Live entries and tombstones.
    pub total: u64,
}

/// Reads so many bytes of the file at an offset; zeros past its end.
pub type ReadAt<'a> = dyn FnMut(u64, u32) -> Bytes + 'a;

/// Verifies everything that is reachable from a root, and that the free map agrees.
pub fn check(root: &RootRef, read: &mut ReadAt<'_>) -> Result<CheckReport, Rot> {
    let walk = walk(root, read)?;
    if root.map.units == 0 {
        return Ok(walk.report);
    }
    let rot = |why| Rot::at(root.map.start, why);
    let bytes = read_extent(read, Extent { start: root.map.start, units: root.map.units });
    let space = free_map::decode(&bytes, &root.map).map_err(rot)?;
    match (0..root.map.file_units).find(|unit| space.is_used(*unit) != walk.is_claimed(*unit)) {
        Some(unit) => Err(Rot::at(unit, Why::Leak)),
        None => Ok(walk.report),
    }
}

/// The free map's bytes and their offset, computed from what is reachable. They are what
/// was there before it rotted, or this is an error.
pub fn rebuild_map(root: &RootRef, read: &mut ReadAt<'_>) -> Result<(u64, Bytes), Rot> {
    let walk = walk(root, read)?;
    let bytes = free_map::encode(&walk.claimed, &root.map, root.generation);
    match free_map::decode(&bytes, &root.map) {
        Ok(_) => Ok((offset_of(root.map.start), Bytes::from(bytes))),
        Err(why) => Err(Rot::at(root.map.start, why)),
    }
}

/// A walk over everything reachable.
struct Walk {
    claimed: Vec<u64>,
    file_units: u32,
    report: CheckReport,
}

/// A page to visit, and the range of keys that its parent gives it.
struct Visit {
    page: PageRef,
    expected: Expected,
    low: Vec<u8>,
    high: Option<Vec<u8>>,
}

fn walk(root: &RootRef, read: &mut ReadAt<'_>) -> Result<Walk, Rot> {
    let file_units = root.map.file_units;
    let claimed = vec![0; (file_units as usize).div_ceil(64)];
    let report = CheckReport { live: root.live, total: root.total, ..CheckReport::default() };
    let mut walk = Walk { claimed, file_units, report };
    if root.map.units > 0 {
        walk.claim(Extent { start: root.map.start, units: root.map.units })?;
    }
    let expect = |page: &PageRef, level, live, total| Expected {
        units: page.units,
        crc: page.crc,
        level,
        live,
        total,
    };
    let mut todo: Vec<Visit> = Vec::new();
    if let Some(page) = root.page {
        let expected = expect(&page, root.level, root.live, root.total);
        todo.push(Visit { page, expected, low: Vec::new(), high: None });
    }
    while let Some(visit) = todo.pop() {
        let node = walk.visit(&visit, read)?;
        if node.is_leaf() {
            walk.visit_values(&node, read)?;
            continue;
        }
        for index in 0..node.count() {
            let link = node.link(index);
            let At::Disk(page) = link.at else { unreachable!("decoded from disk") };
            let low = if index == 0 { visit.low.clone() } else { node.key(index).to_vec() };
            let next = (index + 1 < node.count()).then(|| node.key(index + 1).to_vec());
            let high = next.or_else(|| visit.high.clone());
            let expected = expect(&page, node.level() - 1, link.live, link.total);
            todo.push(Visit { page, expected, low, high });
        }
    }
    Ok(walk)
}

impl Walk {
    fn visit(&mut self, visit: &Visit, read: &mut ReadAt<'_>) -> Result<Page, Rot> {
        let extent = Extent { start: visit.page.start, units: visit.page.units };
        self.claim(extent)?;
        self.report.pages += 1;
        let rot = |why| Rot::at(extent.start, why);
        let node = decode(&read_extent(read, extent), &visit.expected).map_err(rot)?;
        let first = if node.is_leaf() { 0 } else { 1 };
        let outside = |index: usize| {
            let key = node.key(index);
            key < &*visit.low || visit.high.as_ref().is_some_and(|high| key >= &**high)
        };
        if (first..node.count()).any(outside) {
            return Err(rot(Why::Range));
        }
        let reach = node.reach_below().max(extent.end());
        if reach == visit.page.reach { Ok(node) } else { Err(rot(Why::Overlap)) }
    }

    fn visit_values(&mut self, leaf: &Page, read: &mut ReadAt<'_>) -> Result<(), Rot> {
        for index in 0..leaf.count() {
            let Stored::Extent(extent) = leaf.entry(index).value else { continue };
            self.claim(extent.place())?;
            self.report.values += 1;
            let bytes = read_extent(read, extent.place());
            check_value(bytes, extent.len, extent.crc).map_err(|why| Rot::at(extent.start, why))?;
        }
        Ok(())
    }

    fn is_claimed(&self, unit: u32) -> bool {
        self.claimed[unit as usize / 64] >> (unit % 64) & 1 == 1
    }

    fn claim(&mut self, extent: Extent) -> Result<(), Rot> {
        let rot = Rot::at(extent.start, Why::Overlap);
        let end = extent.start.checked_add(extent.units).filter(|end| *end <= self.file_units);
        for unit in extent.start..end.ok_or(rot)? {
            if self.is_claimed(unit) {
                return Err(rot);
            }
            self.claimed[unit as usize / 64] |= 1 << (unit % 64);
        }
        self.report.used_units += u64::from(extent.units);
        Ok(())
    }
}

fn read_extent(read: &mut ReadAt<'_>, extent: Extent) -> Bytes {
    let len = u64::from(extent.units) * UNIT_BYTES as u64;
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    read(offset_of(extent.start), len)
}
