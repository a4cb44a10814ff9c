//! Owns notices of progress: those that a stream asks for, and those that watches get when nothing
//! happened to them for long.
//! Never overtakes an event. Invariant: a notice names a revision up to which everything that its
//! watches are owed was sent before it.

use base::Instant;

use crate::hub::{NO_WATCH, WatchHub};
use crate::stream::{Flow, StreamId};
use crate::watcher::{News, Phase, Watcher, Why};

/// Part of the interval that the dice may add.
const JITTER_PART: u64 = 10;

/// What can be said to a stream that asks for its progress.
enum Verdict {
    /// Up to here.
    Tell(i64),
    /// It keeps up; what is on its way must go first.
    Wait,
    /// Nothing.
    Drop,
}

impl WatchHub {
    /// A stream asks how far it is. Answered if it has a watch, all of its watches have caught up
    /// and none waits for a revision to come; dropped otherwise. `revision` is the store's newest:
    /// the answer waits until that is published.
    pub fn progress(&mut self, stream: StreamId, revision: i64) {
        let Some(slot) = self.slot_of(stream) else { return };
        let stream = self.streams.get_mut(slot);
        stream.asked = Some(stream.asked.unwrap_or(0).max(revision));
        self.asking.insert(slot);
        self.answer_asking();
    }

    /// Time passed.
    pub fn tick(&mut self, now: Instant) {
        while let Some(&(due, slot)) = self.due.first() {
            if now < due {
                return;
            }
            self.due.pop_first();
            let wants = self.tell_quiet(slot);
            let next = if wants { Some(self.next_notice(now)) } else { None };
            self.streams.get_mut(slot).progress_due = next;
            self.due.extend(next.map(|due| (due, slot)));
        }
    }

    /// When to tick next.
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.due.first().map(|&(due, _)| due)
    }

    /// Starts the interval of a stream, if it does not run.
    pub(crate) fn schedule_progress(&mut self, now: Instant, slot: u32) {
        if self.streams.get(slot).progress_due.is_none() {
            let due = self.next_notice(now);
            self.streams.get_mut(slot).progress_due = Some(due);
            self.due.insert((due, slot));
        }
    }

    /// Answers the streams whose requests wait, as far as that is possible now.
    pub(crate) fn answer_asking(&mut self) {
        if self.asking.is_empty() {
            return;
        }
        for slot in self.asking.clone() {
            let asked = self.streams.get(slot).asked.expect("it asks");
            match self.verdict(slot, asked) {
                Verdict::Wait => continue,
                Verdict::Drop => {}
                Verdict::Tell(revision) => self.reply(slot, revision, NO_WATCH, |_| {}),
            }
            self.streams.get_mut(slot).asked = None;
            self.asking.remove(&slot);
        }
    }

    fn verdict(&self, slot: u32, asked: i64) -> Verdict {
        let stream = self.streams.get(slot);
        if stream.watchers.is_empty() || stream.flow == Flow::Blocked {
            return Verdict::Drop;
        }
        if self.published < asked {
            return Verdict::Wait;
        }
        let mut seen = self.published;
        for &slot in stream.watchers.values() {
            let watcher = self.watchers.get(slot);
            match watcher.phase {
                Phase::Away(Why::Behind, _) => return Verdict::Drop,
                Phase::Head | Phase::Away(Why::Fetching, _) => {}
            }
            if watcher.awaits(self.published) {
                return Verdict::Drop;
            }
            seen = seen.min(watcher.seen(self.published));
        }
        if seen < stream.notice_min(asked) { Verdict::Wait } else { Verdict::Tell(seen) }
    }

    /// Tells the watches of a stream that heard of nothing; answers whether any wants to be told.
    fn tell_quiet(&mut self, slot: u32) -> bool {
        let stream = self.streams.get(slot);
        let open = stream.flow == Flow::Open;
        let mut wants = false;
        for watcher in stream.watchers.values().copied().collect::<Vec<_>>() {
            let Watcher { id, wants: wanted, phase, news, .. } = *self.watchers.get(watcher);
            if !wanted.progress {
                continue;
            }
            wants = true;
            self.watchers.get_mut(watcher).news = News::Quiet;
            let synced = phase == Phase::Head && !self.watchers.get(watcher).awaits(self.published);
            if news == News::Quiet && synced && open {
                self.reply(slot, self.published, id, |_| {});
            }
        }
        wants
    }

    fn next_notice(&mut self, now: Instant) -> Instant {
        let interval = self.options.progress_interval;
        let span = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let jitter = self.dice.below(span / JITTER_PART + 1);
        now + interval + std::time::Duration::from_nanos(jitter)
    }
}
