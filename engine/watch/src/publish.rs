//! Owns delivery: what a watch is offered, and what of it is sent, by whichever way the events
//! came. Never skips a revision: what cannot be sent now is read from history later.
//! Invariant: after `publish` every watch at the head has been offered everything published.

use base::Change;
use bytes::Bytes;
use wire::encode::WatchHead;

use crate::batch::{Batch, Class, Matches, Message};
use crate::hub::WatchHub;
use crate::watcher::{News, Phase, Why};

/// Revisions in one reply (etcd).
const REPLY_REVISIONS_MAX: usize = 1000;

/// Where the events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The store, just now; previous pairs are not at hand.
    Published,
    /// History.
    Read,
}

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// The watch has what it is owed.
    Done,
    /// The stream takes no more now; the first revision owed is this.
    Stalled(i64),
    /// Previous pairs must be read first, from this revision on.
    Lacks(i64),
}

/// Encoded events that several watches of one group share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    plain: Option<Bytes>,
    with_previous: Option<Bytes>,
}

impl WatchHub {
    /// Tells what the store became: every change after what was published before, up to and with
    /// `revision`, in order. `revision` may be reached without changes of this hub's concern, but
    /// changes of one revision come together.
    pub fn publish(&mut self, changes: &[Change], revision: i64) {
        assert!(self.published <= revision);
        assert!(changes.is_sorted_by(|a, b| a.rev < b.rev));
        if let [first, ..] = changes {
            assert!(self.published < first.rev.main);
            assert!(changes[changes.len() - 1].rev.main <= revision);
        }
        self.turn += 1;
        self.advance(revision);
        let mut rest = changes;
        while !rest.is_empty() {
            let matches = Matches::find(&self.index, rest, self.pairs_max);
            let mut batch = Batch::new(rest, &matches.matched, self.compact);
            for (group, list) in matches.groups() {
                let mut shared = Shared::default();
                for member in self.index.members(group).to_vec() {
                    self.publish_to(member, &mut batch, list, &mut shared);
                }
            }
            rest = &rest[matches.taken..];
        }
        self.answer_asking();
        self.dispatch();
    }

    fn publish_to(&mut self, slot: u32, batch: &mut Batch<'_>, list: &[u32], shared: &mut Shared) {
        match self.watchers.get(slot).phase {
            Phase::Away(..) => return, // It will read them.
            Phase::Head => {}
        }
        match self.offer(slot, Source::Published, batch, list, shared) {
            Offered::Done => {}
            Offered::Stalled(main) => self.leave(slot, main, Why::Behind),
            Offered::Lacks(main) => self.leave(slot, main, Why::Fetching),
        }
    }

    /// Sends a watch what it is owed of `list`, all of it or nothing.
    pub(crate) fn offer(
        &mut self,
        slot: u32,
        source: Source,
        batch: &mut Batch<'_>,
        list: &[u32],
        shared: &mut Shared,
    ) -> Offered {
        let watcher = self.watchers.get(slot);
        let owed = watcher.owed(batch, list);
        let Some(&first) = owed.first() else { return Offered::Done };
        let main = batch.main(first);
        let room =
            self.streams.get(watcher.stream).has_room(self.turn, self.options.stream_bytes_max);
        if !room || self.options.copy_bytes_max < batch.copied_bytes() {
            return Offered::Stalled(main);
        }
        let class = match source {
            Source::Read => watcher.wants.class(),
            Source::Published if watcher.wants.previous && batch.lacks_previous(&owed) => {
                return Offered::Lacks(main);
            }
            // Nothing was replaced, so both classes say the same.
            Source::Published => Class::Plain,
        };
        if owed.len() == list.len() {
            let bytes = shared.get(class, || batch.events(class, list));
            self.send_events(slot, class, batch, &owed, Some(bytes));
        } else {
            self.send_events(slot, class, batch, &owed, None);
        }
        Offered::Done
    }

    /// Sends a list of events in as many replies as the rules want. `whole` is the list encoded,
    /// if that is at hand.
    fn send_events(
        &mut self,
        slot: u32,
        class: Class,
        batch: &mut Batch<'_>,
        list: &[u32],
        whole: Option<Bytes>,
    ) {
        self.watchers.get_mut(slot).news = News::Heard;
        let mut rest = list;
        while !rest.is_empty() {
            let cut = revisions_end(batch, rest);
            let events = match &whole {
                Some(whole) if cut == list.len() => whole.clone(),
                Some(_) | None => batch.events(class, &rest[..cut]),
            };
            self.send_reply(slot, class, batch, &rest[..cut], events);
            rest = &rest[cut..];
        }
    }

    fn send_reply(
        &mut self,
        slot: u32,
        class: Class,
        batch: &mut Batch<'_>,
        list: &[u32],
        events: Bytes,
    ) {
        self.events_sent += list.len() as u64;
        let watcher = self.watchers.get(slot);
        let (stream, fragments) = (watcher.stream, watcher.wants.fragments);
        let header = self.header(self.published);
        let head = WatchHead { header, watch_id: watcher.id, fragment: false };
        let told = list.last().map_or(0, |&last| batch.main(last));
        self.streams.get_mut(stream).tell_up_to(told);
        let fits = head.len() + events.len() < self.options.reply_bytes_max;
        if !fragments || fits || list.len() < 2 {
            return self.send(stream, Message { head: head.to_bytes(), events });
        }
        let mut rest = list;
        while !rest.is_empty() {
            let piece = WatchHead { fragment: true, ..head };
            let cut = self.fragment_end(piece.len(), class, batch, rest);
            let head = WatchHead { fragment: cut < rest.len(), ..head };
            let events = batch.events(class, &rest[..cut]);
            self.send(stream, Message { head: head.to_bytes(), events });
            rest = &rest[cut..];
        }
    }

    /// How many events go into the next fragment: as many as stay below the limit, at least one.
    fn fragment_end(
        &self,
        head_len: usize,
        class: Class,
        batch: &mut Batch<'_>,
        list: &[u32],
    ) -> usize {
        let mut len = head_len;
        for (count, fact) in list.iter().enumerate() {
            len += batch.size(class, std::slice::from_ref(fact));
            if 0 < count && self.options.reply_bytes_max <= len {
                return count;
            }
        }
        list.len()
    }
}

/// How many events of the list are of its first [`REPLY_REVISIONS_MAX`] revisions.
fn revisions_end(batch: &Batch<'_>, list: &[u32]) -> usize {
    if list.len() <= REPLY_REVISIONS_MAX {
        return list.len();
    }
    let mut revisions = 1;
    for (at, pair) in (1..).zip(list.windows(2)) {
        if batch.main(pair[0]) != batch.main(pair[1]) {
            revisions += 1;
            if REPLY_REVISIONS_MAX < revisions {
                return at;
            }
        }
    }
    list.len()
}

impl Shared {
    fn get(&mut self, class: Class, encode: impl FnOnce() -> Bytes) -> Bytes {
        let slot = match class {
            Class::Plain => &mut self.plain,
            Class::WithPrevious => &mut self.with_previous,
        };
        slot.get_or_insert_with(encode).clone()
    }
}
