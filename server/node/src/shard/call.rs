//! Owns the unary calls of a shard: what each one waits for, and since when.
//! Answers nothing itself. Invariant: a call is in the table from its arrival until its one answer
//! or its client's leaving.

use base::Instant;
use hashbrown::HashTable;

use crate::message::CallId;

/// What came with a call besides its message.
#[derive(Clone, Debug)]
pub struct CallMeta {
    /// Whether the caller wants to be refused while there is no leader.
    pub leader: LeaderNeed,
    /// Who calls.
    pub caller: Caller,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client, for whom etcd's rules for clients hold.
    Client,
    /// A page of this member, which tells what the member knows by itself.
    Page,
}

/// `hasleader` of the call's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderNeed {
    /// It was `true`.
    Required,
    /// Absent, or anything else.
    Any,
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Its command in the log.
    Outcome,
    /// A read point, see [`super::points`].
    Point,
    /// An answer of the leader.
    Answer,
    /// Rows; the reply is made when they are there.
    Rows,
    /// Space to be given back, for however long that takes.
    Space,
}

#[derive(Debug)]
struct Call {
    id: CallId,
    waits: Waits,
    since: Instant,
}

/// All unary calls of the shard. A table and no list of places: the shell's numbers need not be
/// small. Its order is never seen.
pub struct Calls {
    table: HashTable<Call>,
}

impl Calls {
    /// None yet.
    pub fn new() -> Calls {
        Calls { table: HashTable::new() }
    }

    /// Notes a call that came just now.
    pub fn insert(&mut self, id: CallId, since: Instant, waits: Waits) {
        assert!(self.waits(id).is_none(), "a call's id is used once");
        self.table.insert_unique(hash(id), Call { id, waits, since }, |call| hash(call.id));
    }

    /// The call waits for something else now.
    pub fn now_waits(&mut self, id: CallId, waits: Waits) {
        if let Some(call) = self.table.find_mut(hash(id), |call| call.id == id) {
            call.waits = waits;
        }
    }

    /// Forgets a call and answers what it waited for; `None` if it was answered, or its client
    /// left.
    pub fn remove(&mut self, id: CallId) -> Option<Waits> {
        let entry = self.table.find_entry(hash(id), |call| call.id == id).ok()?;
        Some(entry.remove().0.waits)
    }

    /// What the call waits for, if it still does.
    pub fn waits(&self, id: CallId) -> Option<Waits> {
        self.table.find(hash(id), |call| call.id == id).map(|call| call.waits)
    }

    /// Takes the calls out that have waited since before `deadline`, but for those that wait for
    /// space.
    pub fn take_older_than(&mut self, deadline: Instant) -> Vec<(CallId, Waits)> {
        self.take(|call| call.since < deadline && call.waits != Waits::Space)
    }

    /// Every call, when the member stops.
    pub fn drain(&mut self) -> Vec<(CallId, Waits)> {
        self.take(|_| true)
    }

    /// Takes calls out, in the order of their ids.
    fn take(&mut self, which: impl Fn(&Call) -> bool) -> Vec<(CallId, Waits)> {
        let taken = self.table.extract_if(|call| which(call));
        let mut taken: Vec<_> = taken.map(|call| (call.id, call.waits)).collect();
        taken.sort_unstable_by_key(|(id, _)| *id);
        taken
    }
}

/// Ids are places and uses: neighbours, in both halves. The multiplication spreads them over the
/// high bits, the shift brings some of those to where the table takes its place from.
fn hash(id: CallId) -> u64 {
    let spread = id.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    spread ^ spread >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_waits_until_it_is_answered_or_too_old() {
        let mut calls = Calls::new();
        for number in 0..1000 {
            calls.insert(CallId(number << 32 | 7), Instant(number), Waits::Outcome);
        }
        calls.now_waits(CallId(7), Waits::Rows);
        assert_eq!(calls.waits(CallId(7)), Some(Waits::Rows));
        assert_eq!(calls.remove(CallId(7)), Some(Waits::Rows));
        assert_eq!(calls.remove(CallId(7)), None);
        calls.now_waits(CallId(7), Waits::Answer);
        let old = calls.take_older_than(Instant(3));
        assert_eq!(old, [1, 2].map(|number| (CallId(number << 32 | 7), Waits::Outcome)));
        assert_eq!(calls.drain().len(), 997);
        assert_eq!(calls.waits(CallId(5 << 32 | 7)), None);
    }
}
