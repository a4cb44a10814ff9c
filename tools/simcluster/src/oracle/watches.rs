//! Owns the laws of watches: what a watch sees is filtered, ordered, unique, whole by revision,
//! resumable, and nothing is missing.
//! Never asks a member. Invariant: a part of a watch is everything of its range from its first
//! revision to its last; between parts lies only what a member said was compacted.

use ringleader_model::Model;
use wire::etcdserverpb as pb;
use wire::mvccpb::Event;

use crate::world::Wrong;

/// What one client's watch saw, over all the streams that carried it.
#[derive(Debug)]
pub struct Seen {
    create: pb::WatchCreateRequest,
    parts: Vec<Part>,
    next: i64,
}

#[derive(Debug)]
struct Part {
    from: i64,
    through: i64,
    events: Vec<Event>,
}

impl Seen {
    /// A watch that has seen nothing; its start may be open.
    pub fn new(create: pb::WatchCreateRequest) -> Seen {
        let next = create.start_revision;
        Seen { create, parts: Vec::new(), next }
    }

    /// What to ask for, to go on where it stands.
    pub fn resume(&self) -> pb::WatchCreateRequest {
        pb::WatchCreateRequest { start_revision: self.next, ..self.create.clone() }
    }

    /// Events so far.
    pub fn events(&self) -> usize {
        self.parts.iter().map(|part| part.events.len()).sum()
    }

    /// Everything up to here was seen, or is known not to concern it.
    pub fn through(&self) -> i64 {
        self.next - 1
    }

    /// A member made the watch, at this revision of its store.
    pub fn created(&mut self, revision: i64) {
        if self.next == 0 {
            self.next = revision + 1;
        }
        if self.parts.is_empty() {
            self.parts.push(Part { from: self.next, through: self.next - 1, events: Vec::new() });
        }
    }

    /// A reply with events came. The revision after the last of them is where a client goes on.
    pub fn took(&mut self, events: Vec<Event>) -> Result<(), Wrong> {
        let revision = |event: &Event| event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
        let Some(part) = self.parts.last_mut() else {
            return Err(format!("watches: events before the watch was made: {events:?}"));
        };
        let first = events.first().map_or(0, revision);
        if first < self.next {
            return Err(format!(
                "watches: revision {first} comes when everything below {} was seen or ruled out: \
                 {:?}",
                self.next, self.create
            ));
        }
        if !events.is_sorted_by_key(revision) {
            return Err(format!("watches: revisions in disorder: {events:?}"));
        }
        self.next = events.last().map_or(0, revision) + 1;
        part.through = self.next - 1;
        part.events.extend(events);
        Ok(())
    }

    /// A member says that everything up to this revision was sent.
    pub fn progressed(&mut self, revision: i64) {
        if let Some(part) = self.parts.last_mut()
            && self.next <= revision
        {
            self.next = revision + 1;
            part.through = revision;
        }
    }

    /// A member says that what should come next is compacted up to this revision.
    pub fn compacted(&mut self, revision: i64, decided: i64) -> Result<(), Wrong> {
        if decided < revision || revision <= self.next {
            return Err(format!(
                "watches: told that {revision} is compacted where {} was to come; the highest \
                 compaction is {decided}",
                self.next
            ));
        }
        self.next = revision;
        self.parts.push(Part { from: revision, through: revision - 1, events: Vec::new() });
        Ok(())
    }

    /// Compares with what the model says happened.
    pub fn judge(&self, model: &Model, compacted: i64) -> Result<(), Wrong> {
        for part in &self.parts {
            let create =
                pb::WatchCreateRequest { start_revision: part.from.max(1), ..self.create.clone() };
            let mut due = model.watch(&create).map_err(|end| format!("watches: {end:?}"))?;
            due.retain(|event| event.kv.as_ref().is_some_and(|kv| kv.mod_revision <= part.through));
            let mut got = part.events.iter();
            for want in &due {
                let got = got.next();
                if !got.is_some_and(|got| same(want, got, compacted)) {
                    return Err(format!(
                        "watches: {:?} of {}..={}: expected {want:?}, found {got:?}",
                        self.create, part.from, part.through
                    ));
                }
            }
            if let Some(event) = got.next() {
                return Err(format!("watches: {:?}: nobody did {event:?}", self.create));
            }
        }
        Ok(())
    }
}

/// What was before may be compacted by the time at which an event is sent.
fn same(want: &Event, got: &Event, compacted: i64) -> bool {
    let revision = want.kv.as_ref().map_or(0, |kv| kv.mod_revision);
    match got.prev_kv.is_none() && revision - 1 < compacted {
        true => Event { prev_kv: None, ..want.clone() } == *got,
        false => want == got,
    }
}
