//! Owns the interval index: which members wait for a key. Members with the same span form a group;
//! single keys lie in a map, ranges in a balanced tree in which every node knows the furthest end
//! below it.
//! Knows nothing of watches. Invariant: a stab answers exactly the groups whose span holds the key,
//! in a time that grows with their number and the logarithm of all.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::span::Span;

/// A set of members with one span. Ids are used again when a group is gone.
pub type GroupId = u32;

const NIL: u32 = u32::MAX;

/// Members by the keys they wait for. Members are small numbers that the owner hands out.
#[derive(Debug)]
pub struct Index {
    groups: Vec<Group>,
    free: Vec<GroupId>,
    singles: BTreeMap<Single, GroupId>,
    root: GroupId,
    /// Where each member stands, by its number.
    places: Vec<Place>,
}

#[derive(Debug)]
struct Group {
    span: Span,
    members: Members,
    /// Tree links, of ranges only.
    left: GroupId,
    right: GroupId,
    /// The group with the furthest end in this subtree.
    furthest: GroupId,
    height: u8,
}

/// Most groups have one member; they need no allocation.
#[derive(Debug)]
enum Members {
    One(u32),
    Many(Vec<u32>),
}

#[derive(Clone, Copy, Debug)]
struct Place {
    group: GroupId,
    position: u32,
}

const NOWHERE: Place = Place { group: NIL, position: 0 };

/// A span of one key, ordered by that key.
#[derive(Debug)]
struct Single(Span);

impl Default for Index {
    fn default() -> Index {
        Index::new()
    }
}

impl Index {
    /// No member.
    pub fn new() -> Index {
        Index {
            groups: Vec::new(),
            free: Vec::new(),
            singles: BTreeMap::new(),
            root: NIL,
            places: Vec::new(),
        }
    }

    /// Adds a member, which must not be in the index.
    pub fn insert(&mut self, member: u32, span: Span) -> GroupId {
        if self.places.len() <= member as usize {
            self.places.resize(member as usize + 1, NOWHERE);
        }
        assert_eq!(self.places[member as usize].group, NIL);
        let (group, position) = match self.find(&span) {
            Some(group) => (group, self.groups[group as usize].members.push(member)),
            None => (self.add_group(span, member), 0),
        };
        self.places[member as usize] = Place { group, position };
        group
    }

    /// Takes a member out, which must be in the index.
    pub fn remove(&mut self, member: u32) {
        let place = std::mem::replace(&mut self.places[member as usize], NOWHERE);
        assert_ne!(place.group, NIL);
        match self.groups[place.group as usize].members.take(member, place.position) {
            Taken::Last => self.drop_group(place.group),
            Taken::Gap(None) => {}
            Taken::Gap(Some(moved)) => self.places[moved as usize].position = place.position,
        }
    }

    /// The group that a member stands in.
    pub fn group_of(&self, member: u32) -> GroupId {
        let group = self.places[member as usize].group;
        assert_ne!(group, NIL);
        group
    }

    /// What a group waits for.
    pub fn span(&self, group: GroupId) -> &Span {
        &self.groups[group as usize].span
    }

    /// Who stands in a group, in no meaningful order.
    pub fn members(&self, group: GroupId) -> &[u32] {
        match &self.groups[group as usize].members {
            Members::One(member) => std::slice::from_ref(member),
            Members::Many(members) => members,
        }
    }

    /// Above every id of a group.
    pub fn groups_end(&self) -> GroupId {
        self.groups.len() as GroupId
    }

    /// Tells every group whose span holds `key`, each once.
    pub fn stab(&self, key: &[u8], mut tell: impl FnMut(GroupId)) {
        if let Some(&group) = self.singles.get(key) {
            tell(group);
        }
        self.stab_below(self.root, key, &mut tell);
    }

    fn stab_below(&self, at: GroupId, key: &[u8], tell: &mut impl FnMut(GroupId)) {
        if at == NIL {
            return;
        }
        let group = &self.groups[at as usize];
        if !self.groups[group.furthest as usize].span.ends_after(key) {
            return;
        }
        self.stab_below(group.left, key, tell);
        if group.span.start() <= key {
            if group.span.ends_after(key) {
                tell(at);
            }
            self.stab_below(group.right, key, tell);
        }
    }

    fn find(&self, span: &Span) -> Option<GroupId> {
        if let Some(key) = span.only() {
            return self.singles.get(key).copied();
        }
        let mut at = self.root;
        while at != NIL {
            let group = &self.groups[at as usize];
            at = match span.cmp_range(&group.span) {
                Ordering::Less => group.left,
                Ordering::Equal => return Some(at),
                Ordering::Greater => group.right,
            };
        }
        None
    }

    fn add_group(&mut self, span: Span, member: u32) -> GroupId {
        let id = self.free.pop().unwrap_or(self.groups.len() as GroupId);
        assert!(id < NIL);
        let single = span.only().is_some().then(|| Single(span.clone()));
        let members = Members::One(member);
        let group = Group { span, members, left: NIL, right: NIL, furthest: id, height: 1 };
        match self.groups.get_mut(id as usize) {
            Some(slot) => *slot = group,
            None => self.groups.push(group),
        }
        match single {
            Some(single) => {
                let before = self.singles.insert(single, id);
                assert_eq!(before, None);
            }
            None => self.root = self.tree_insert(self.root, id),
        }
        id
    }

    fn drop_group(&mut self, id: GroupId) {
        let span = self.groups[id as usize].span.clone();
        match span.only() {
            Some(key) => {
                let gone = self.singles.remove(key);
                assert_eq!(gone, Some(id));
            }
            None => self.root = self.tree_remove(self.root, id),
        }
        self.free.push(id);
    }

    // The tree is an AVL tree over the group arena: the worst case is bounded whatever order a
    // client creates and cancels in, which dice of a known seed could not promise.

    fn tree_insert(&mut self, at: GroupId, id: GroupId) -> GroupId {
        if at == NIL {
            return id;
        }
        match self.cmp(id, at) {
            Ordering::Less => {
                let left = self.tree_insert(self.groups[at as usize].left, id);
                self.groups[at as usize].left = left;
            }
            Ordering::Greater => {
                let right = self.tree_insert(self.groups[at as usize].right, id);
                self.groups[at as usize].right = right;
            }
            Ordering::Equal => unreachable!("one span, two groups"),
        }
        self.balance(at)
    }

    fn tree_remove(&mut self, at: GroupId, id: GroupId) -> GroupId {
        assert_ne!(at, NIL);
        let Group { left, right, .. } = self.groups[at as usize];
        match self.cmp(id, at) {
            Ordering::Less => self.groups[at as usize].left = self.tree_remove(left, id),
            Ordering::Greater => self.groups[at as usize].right = self.tree_remove(right, id),
            Ordering::Equal if left == NIL => return right,
            Ordering::Equal if right == NIL => return left,
            Ordering::Equal => {
                let (rest, heir) = self.take_first(right);
                self.groups[heir as usize].left = left;
                self.groups[heir as usize].right = rest;
                return self.balance(heir);
            }
        }
        self.balance(at)
    }

    /// Unlinks the leftmost node below `at`; answers what remains, and the node.
    fn take_first(&mut self, at: GroupId) -> (GroupId, GroupId) {
        let Group { left, right, .. } = self.groups[at as usize];
        if left == NIL {
            return (right, at);
        }
        let (rest, first) = self.take_first(left);
        self.groups[at as usize].left = rest;
        (self.balance(at), first)
    }

    fn cmp(&self, a: GroupId, b: GroupId) -> Ordering {
        self.groups[a as usize].span.cmp_range(&self.groups[b as usize].span)
    }

    /// Restores the height rule at a node whose subtrees obey it and differ by at most two.
    fn balance(&mut self, at: GroupId) -> GroupId {
        let Group { left, right, .. } = self.groups[at as usize];
        let (left_height, right_height) = (self.height(left), self.height(right));
        if left_height > right_height + 1 {
            let Group { left: outer, right: inner, .. } = self.groups[left as usize];
            if self.height(inner) > self.height(outer) {
                self.groups[at as usize].left = self.rotate_left(left);
            }
            self.rotate_right(at)
        } else if right_height > left_height + 1 {
            let Group { left: inner, right: outer, .. } = self.groups[right as usize];
            if self.height(inner) > self.height(outer) {
                self.groups[at as usize].right = self.rotate_right(right);
            }
            self.rotate_left(at)
        } else {
            self.refresh(at);
            at
        }
    }

    fn rotate_left(&mut self, at: GroupId) -> GroupId {
        let up = self.groups[at as usize].right;
        self.groups[at as usize].right = self.groups[up as usize].left;
        self.groups[up as usize].left = at;
        self.refresh(at);
        self.refresh(up);
        up
    }

    fn rotate_right(&mut self, at: GroupId) -> GroupId {
        let up = self.groups[at as usize].left;
        self.groups[at as usize].left = self.groups[up as usize].right;
        self.groups[up as usize].right = at;
        self.refresh(at);
        self.refresh(up);
        up
    }

    /// Computes height and furthest end from the children.
    fn refresh(&mut self, at: GroupId) {
        let Group { left, right, .. } = self.groups[at as usize];
        let mut furthest = at;
        for child in [left, right] {
            if child != NIL {
                let candidate = self.groups[child as usize].furthest;
                let span = &self.groups[candidate as usize].span;
                if span.cmp_end(&self.groups[furthest as usize].span) == Ordering::Greater {
                    furthest = candidate;
                }
            }
        }
        let height = 1 + self.height(left).max(self.height(right));
        let group = &mut self.groups[at as usize];
        (group.furthest, group.height) = (furthest, height);
    }

    fn height(&self, at: GroupId) -> u8 {
        if at == NIL { 0 } else { self.groups[at as usize].height }
    }
}

/// What became of a group when a member left.
enum Taken {
    /// Nobody is left.
    Last,
    /// Others are; this one moved into the gap.
    Gap(Option<u32>),
}

impl Members {
    /// Adds a member, answers its position.
    fn push(&mut self, member: u32) -> u32 {
        match self {
            Members::One(first) => {
                *self = Members::Many(vec![*first, member]);
                1
            }
            Members::Many(members) => {
                members.push(member);
                (members.len() - 1) as u32
            }
        }
    }

    fn take(&mut self, member: u32, position: u32) -> Taken {
        match self {
            Members::One(only) => {
                assert_eq!(*only, member);
                Taken::Last
            }
            Members::Many(members) => {
                let gone = members.swap_remove(position as usize);
                assert_eq!(gone, member);
                let moved = members.get(position as usize).copied();
                if members.is_empty() { Taken::Last } else { Taken::Gap(moved) }
            }
        }
    }
}

impl Borrow<[u8]> for Single {
    fn borrow(&self) -> &[u8] {
        self.0.start()
    }
}

impl Ord for Single {
    fn cmp(&self, other: &Single) -> Ordering {
        self.0.start().cmp(other.0.start())
    }
}

impl PartialOrd for Single {
    fn partial_cmp(&self, other: &Single) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Single {}

impl PartialEq for Single {
    fn eq(&self, other: &Single) -> bool {
        self.0.start() == other.0.start()
    }
}

#[cfg(test)]
mod tests;
