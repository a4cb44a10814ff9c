//! Owns one watch: what it wants, what it has seen, and whether it keeps up.
//! Sends nothing. Invariant: at the head a watch has been offered every published revision;
//! away from it, every revision below `next`.

use std::borrow::Cow;

use wire::encode::EventKind;
use wire::etcdserverpb::WatchCreateRequest;
use wire::etcdserverpb::watch_create_request::FilterType;

use crate::batch::{Batch, Class};

/// One watch of one stream.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// Slot of its stream.
    pub stream: u32,
    /// Its name on the stream.
    pub id: i64,
    /// First revision that it has not been offered, counting only from its start on.
    pub next: i64,
    /// The start revision that was asked for; 0 for "from now on".
    pub start: i64,
    /// Its place in the queue of those who wait for history; also tells a later watch in the same
    /// slot from this one.
    pub ticket: u64,
    /// What it asked for.
    pub wants: Wants,
    /// Whether it keeps up.
    pub phase: Phase,
    /// Whether it heard of an event since the last progress interval.
    pub news: News,
}

/// Whether events were sent since the last progress interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Some were: the next notice of progress is left out.
    Heard,
    /// None were.
    Quiet,
}

/// Whether a watch gets its events as they are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It does.
    Head,
    /// It reads history first.
    Away(Why, Turn),
}

/// Why a watch reads history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It started in the past, or its stream did not keep up.
    Behind,
    /// It keeps up, but wants previous values, which published changes do not carry. Compaction
    /// does not concern it.
    Fetching,
}

/// Where a watch that reads history stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nowhere: its stream is blocked.
    Idle,
    /// In the queue.
    Queued,
    /// In a job.
    Reading,
}

/// The options of a watch that matter after its creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wants {
    /// Previous pairs.
    pub previous: bool,
    /// Put events.
    pub puts: bool,
    /// Delete events.
    pub deletes: bool,
    /// Large replies in pieces.
    pub fragments: bool,
    /// Notices of progress.
    pub progress: bool,
}

impl Wants {
    /// Reads the request. Filters that nobody knows filter nothing.
    pub fn of(request: &WatchCreateRequest) -> Wants {
        let filters = |filter: FilterType| request.filters.contains(&i32::from(filter));
        Wants {
            previous: request.prev_kv,
            puts: !filters(FilterType::Noput),
            deletes: !filters(FilterType::Nodelete),
            fragments: request.fragment,
            progress: request.progress_notify,
        }
    }

    /// Which encoding of events read from history it gets.
    pub fn class(&self) -> Class {
        if self.previous { Class::WithPrevious } else { Class::Plain }
    }

    fn kind(&self, kind: EventKind) -> bool {
        match kind {
            EventKind::Put => self.puts,
            EventKind::Delete => self.deletes,
        }
    }
}

impl Watcher {
    /// Those events out of `list` (all of its keys, rising) that it is owed.
    pub fn owed<'l>(&self, batch: &Batch<'_>, list: &'l [u32]) -> Cow<'l, [u32]> {
        let seen = list.partition_point(|&fact| batch.main(fact) < self.next);
        let list = &list[seen..];
        if self.wants.puts && self.wants.deletes {
            return Cow::Borrowed(list);
        }
        list.iter().copied().filter(|&fact| self.wants.kind(batch.kind(fact))).collect()
    }

    /// Whether the revision it was asked to start at has not come yet.
    pub fn awaits(&self, published: i64) -> bool {
        published < self.start
    }

    /// The last revision it has been offered everything of.
    pub fn seen(&self, published: i64) -> i64 {
        match self.phase {
            Phase::Head => published,
            Phase::Away(..) => self.next - 1,
        }
    }
}
