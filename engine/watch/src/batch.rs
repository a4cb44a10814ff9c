//! Owns the encoding of events: a run of changes or records, each matched one encoded once per
//! class of watches, all of a class in one buffer that replies share.
//! Never decides who gets what. Invariant: events stand in the order of their revisions, so a run
//! of neighbours is a slice of the buffer.

use std::collections::BTreeMap;

use base::{Change, ChangeKind, Rev};
use bytes::{BufMut, Bytes, BytesMut};
use history::Record;
use wire::encode::{Event, EventKind, KeyValue};

use crate::index::{GroupId, Index};

/// A reply shares the buffer of its batch only if it is at least this part of it; otherwise one
/// small reply to a slow stream would hold a large buffer.
const SHARE_PART: usize = 4;

/// One `WatchResponse`, in two pieces so that many streams can share the events. Encoded: the
/// concatenation is the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Everything but the events.
    pub head: Bytes,
    /// The events, possibly none.
    pub events: Bytes,
}

impl Message {
    /// Size of the message.
    pub fn len(&self) -> usize {
        self.head.len() + self.events.len()
    }

    /// True if nothing is in it, which the hub never sends.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message in one piece.
    pub fn to_bytes(&self) -> Bytes {
        if self.events.is_empty() {
            return self.head.clone();
        }
        let mut out = BytesMut::with_capacity(self.len());
        out.put_slice(&self.head);
        out.put_slice(&self.events);
        out.freeze()
    }
}

/// Two encodings of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Without the previous pair.
    Plain,
    /// With it, if there was one.
    WithPrevious,
}

/// What is known of the pair that an event replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Previous<'a> {
    /// There was none, or compaction took it.
    Absent,
    /// There was one; history has it.
    Elsewhere,
    /// This.
    Here(KeyValue<'a>),
}

/// A change or a record, whichever is matched.
pub(crate) trait Happening {
    fn rev(&self) -> Rev;
    fn key(&self) -> &Bytes;
    fn kind(&self) -> &ChangeKind;
    fn previous(&self) -> Previous<'_>;
}

impl Happening for Change {
    fn rev(&self) -> Rev {
        self.rev
    }
    fn key(&self) -> &Bytes {
        &self.key
    }
    fn kind(&self) -> &ChangeKind {
        &self.kind
    }
    fn previous(&self) -> Previous<'_> {
        match self.prev {
            None => Previous::Absent,
            Some(_) => Previous::Elsewhere,
        }
    }
}

impl Happening for Record {
    fn rev(&self) -> Rev {
        self.rev
    }
    fn key(&self) -> &Bytes {
        &self.key
    }
    fn kind(&self) -> &ChangeKind {
        &self.kind
    }
    fn previous(&self) -> Previous<'_> {
        match &self.prev {
            None => Previous::Absent,
            Some(prev) => Previous::Here(KeyValue {
                key: &self.key,
                create: prev.version.create,
                modified: prev.version.modified.main,
                version: prev.version.version,
                value: &prev.value,
                lease: prev.version.lease,
            }),
        }
    }
}

/// Which groups of watches are concerned by which happenings.
#[derive(Debug)]
pub(crate) struct Matches {
    /// How many happenings were looked at: whole revisions, at least one.
    pub taken: usize,
    /// Positions of those that concern anybody, rising. Lists below speak of places in here.
    pub matched: Vec<u32>,
    /// All lists, one after the other.
    lists: Vec<u32>,
    /// Where the list of each concerned group lies.
    runs: BTreeMap<GroupId, (u32, u32)>,
}

impl Matches {
    /// Looks happenings up until there are none or about `pairs_max` pairs of a happening and a
    /// group were found, whatever the spans of hostile clients.
    pub fn find(index: &Index, happenings: &[impl Happening], pairs_max: usize) -> Matches {
        let mut pairs: Vec<(GroupId, u32)> = Vec::new();
        let mut matched = Vec::new();
        let mut taken = 0;
        for (position, happening) in happenings.iter().enumerate() {
            let main = happening.rev().main;
            let begins = taken == 0 || happenings[position - 1].rev().main < main;
            if begins && pairs_max <= pairs.len() {
                break;
            }
            let (before, place) = (pairs.len(), matched.len() as u32);
            index.stab(happening.key(), |group| pairs.push((group, place)));
            if before < pairs.len() {
                matched.push(position as u32);
            }
            taken = position + 1;
        }
        pairs.sort_unstable();
        let lists = pairs.iter().map(|&(_, place)| place).collect();
        let mut runs = BTreeMap::new();
        for (at, &(group, _)) in (0..).zip(&pairs) {
            runs.entry(group).or_insert((at, at)).1 = at + 1;
        }
        Matches { taken, matched, lists, runs }
    }

    /// The groups concerned, each with its list.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &[u32])> {
        self.runs.iter().map(|(&group, &run)| (group, self.list(run)))
    }

    /// The list of one group, empty if it is not concerned.
    pub fn of(&self, group: GroupId) -> &[u32] {
        self.runs.get(&group).map_or(&[], |&run| self.list(run))
    }

    fn list(&self, (from, to): (u32, u32)) -> &[u32] {
        &self.lists[from as usize..to as usize]
    }
}

/// The matched happenings, ready to be encoded.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    facts: Vec<Fact<'a>>,
    plain: Option<Encoded>,
    with_previous: Option<Encoded>,
    /// Bytes copied out of the buffers so far.
    copied_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Fact<'a> {
    main: i64,
    kind: EventKind,
    kv: KeyValue<'a>,
    previous: Previous<'a>,
}

#[derive(Debug)]
struct Encoded {
    bytes: Bytes,
    /// Where each event begins, and behind them the end of the last.
    bounds: Vec<usize>,
}

impl<'a> Batch<'a> {
    /// The happenings at the `matched` positions. Previous pairs of revisions up to `compact` are
    /// unknown, whether or not history still has them: no member may tell more than another.
    pub fn new<H: Happening>(happenings: &'a [H], matched: &[u32], compact: i64) -> Batch<'a> {
        let fact = |&position: &u32| Fact::of(&happenings[position as usize], compact);
        let mut facts: Vec<Fact<'a>> = matched.iter().map(fact).collect();
        for at in 0..facts.len() {
            facts[at].previous = before_the_revision(&facts[..=at]);
        }
        Batch { facts, plain: None, with_previous: None, copied_bytes: 0 }
    }

    /// The revision of an event.
    pub fn main(&self, fact: u32) -> i64 {
        self.facts[fact as usize].main
    }

    /// Put or delete.
    pub fn kind(&self, fact: u32) -> EventKind {
        self.facts[fact as usize].kind
    }

    /// Whether one of the events replaced a pair that only history knows.
    pub fn lacks_previous(&self, list: &[u32]) -> bool {
        let elsewhere = |&fact: &u32| match self.facts[fact as usize].previous {
            Previous::Elsewhere => true,
            Previous::Absent | Previous::Here(_) => false,
        };
        list.iter().any(elsewhere)
    }

    /// Bytes copied so far because they were not a large slice of the buffer.
    pub fn copied_bytes(&self) -> usize {
        self.copied_bytes
    }

    /// The events of a list, rising, encoded.
    pub fn events(&mut self, class: Class, list: &[u32]) -> Bytes {
        let [first, .., last] = *list else {
            return list.first().map_or(Bytes::new(), |&only| self.run(class, only, only));
        };
        if (last - first) as usize + 1 == list.len() {
            return self.run(class, first, last);
        }
        let len = self.size(class, list);
        let mut out = BytesMut::with_capacity(len);
        let encoded = self.encoded(class);
        for &fact in list {
            out.put_slice(encoded.slice(fact, fact));
        }
        self.copied_bytes += len;
        out.freeze()
    }

    /// Size of the events of a list.
    pub fn size(&mut self, class: Class, list: &[u32]) -> usize {
        let encoded = self.encoded(class);
        list.iter().map(|&fact| encoded.slice(fact, fact).len()).sum()
    }

    /// Events `first..=last`.
    fn run(&mut self, class: Class, first: u32, last: u32) -> Bytes {
        let encoded = self.encoded(class);
        let slice = encoded.slice(first, last);
        if encoded.bytes.len() <= slice.len() * SHARE_PART {
            return encoded.bytes.slice_ref(slice);
        }
        let copy = Bytes::copy_from_slice(slice);
        self.copied_bytes += copy.len();
        copy
    }

    fn encoded(&mut self, class: Class) -> &Encoded {
        let slot = match class {
            Class::Plain => &mut self.plain,
            Class::WithPrevious => &mut self.with_previous,
        };
        slot.get_or_insert_with(|| Encoded::of(&self.facts, class))
    }
}

impl<'a> Fact<'a> {
    fn of<H: Happening>(happening: &'a H, compact: i64) -> Fact<'a> {
        let main = happening.rev().main;
        let previous = if main <= compact { Previous::Absent } else { happening.previous() };
        let mut kv = KeyValue {
            key: happening.key(),
            create: 0,
            modified: main,
            version: 0,
            value: &[],
            lease: 0,
        };
        let kind = match happening.kind() {
            ChangeKind::Delete => EventKind::Delete,
            ChangeKind::Put { value, create, version, lease } => {
                (kv.value, kv.create, kv.version, kv.lease) = (value, *create, *version, *lease);
                EventKind::Put
            }
        };
        Fact { main, kind, kv, previous }
    }

    fn event(&self, class: Class) -> Event<'a> {
        let prev_kv = match (class, self.previous) {
            (Class::WithPrevious, Previous::Here(kv)) => Some(kv),
            (Class::WithPrevious, Previous::Elsewhere) => unreachable!("history was not read"),
            (Class::WithPrevious, Previous::Absent) | (Class::Plain, _) => None,
        };
        Event { kind: self.kind, kv: self.kv, prev_kv }
    }
}

/// The pair that the last of these replaced, as of the end of the revision before: etcd looks
/// there, so a pair that came and went within one revision is nobody's previous pair.
fn before_the_revision<'a>(facts: &[Fact<'a>]) -> Previous<'a> {
    let (last, earlier) = facts.split_last().expect("one is asked about");
    match last.previous {
        Previous::Here(kv) if kv.modified == last.main => {
            // What the first change of the revision found: between it and this one the key may have
            // been deleted and put again.
            let same = earlier.iter().rev().take_while(|fact| fact.main == last.main);
            let first = same.filter(|fact| fact.kv.key == kv.key).last();
            first.map_or(Previous::Absent, |fact| fact.previous)
        }
        Previous::Here(_) | Previous::Elsewhere | Previous::Absent => last.previous,
    }
}

impl Encoded {
    fn of(facts: &[Fact<'_>], class: Class) -> Encoded {
        let len = facts.iter().map(|fact| fact.event(class).field_len()).sum();
        let mut out = BytesMut::with_capacity(len);
        let mut bounds = Vec::with_capacity(facts.len() + 1);
        bounds.push(0);
        for fact in facts {
            fact.event(class).put_field(&mut out);
            bounds.push(out.len());
        }
        assert_eq!(out.len(), len);
        Encoded { bytes: out.freeze(), bounds }
    }

    fn slice(&self, first: u32, last: u32) -> &[u8] {
        &self.bytes[self.bounds[first as usize]..self.bounds[last as usize + 1]]
    }
}
