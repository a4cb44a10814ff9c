//! Owns the reading of old log entries for peers that lag behind what is in memory, and what the
//! log keeps for them.
//! Never reads more than one piece of a segment at a time, so that flushes wait for little.
//! Invariant: every fetch of the group is answered, with entries that were checked or with none;
//! damage in what was acknowledged ends the process.

use std::collections::VecDeque;

use base::{FileId, Instant, IoResult};
use consensus::Event;
use wal::{Fetch, FetchStep, Terms};

use super::{Leader, Op};

/// Fetches of the group.
pub struct CatchUp {
    waiting: VecDeque<Wanted>,
    current: Option<(u64, Box<Fetch>)>,
    /// The group was told that entries up to here are gone.
    gone: u64,
}

#[derive(Clone, Copy)]
struct Wanted {
    low: u64,
    high: u64,
    bytes_max: u64,
}

impl CatchUp {
    /// None.
    pub fn new() -> CatchUp {
        CatchUp { waiting: VecDeque::new(), current: None, gone: 0 }
    }
}

impl Leader {
    /// The group wants entries that are not in memory.
    pub(super) fn fetch_wanted(&mut self, low: u64, high: u64, bytes_max: u64) {
        self.catch_up.waiting.push_back(Wanted { low, high, bytes_max });
    }

    /// A piece of a segment was read.
    pub(super) fn fetch_read(&mut self, now: Instant, result: IoResult) {
        let (_, fetch) = self.catch_up.current.as_mut().expect("a fetch is under way");
        fetch.handle(result);
        // A life that ends asks for no more.
        if !self.incoming.installs() {
            self.follow_fetch(now);
        }
    }

    /// Begins the fetches that wait, one after the other. True if the group heard of any.
    pub(super) fn settle_fetches(&mut self, now: Instant) -> bool {
        let mut any = false;
        while self.catch_up.current.is_none()
            && let Some(Wanted { low, high, bytes_max }) = self.catch_up.waiting.pop_front()
        {
            any = true;
            match self.writer().fetch(low, high, bytes_max) {
                Some(fetch) => {
                    self.catch_up.current = Some((low, Box::new(fetch)));
                    self.follow_fetch(now);
                }
                None => {
                    self.tell_held(now);
                    self.consensus().handle(now, Event::Fetched { low, entries: Vec::new() });
                }
            }
        }
        any
    }

    fn follow_fetch(&mut self, now: Instant) {
        let (low, fetch) = self.catch_up.current.as_mut().expect("a fetch is under way");
        let low = *low;
        match fetch.poll() {
            FetchStep::Io(request) => self.submit(Op::Fetch, request),
            FetchStep::Waiting => {}
            FetchStep::Done(entries) => {
                let (_, fetch) = self.catch_up.current.take().expect("seen above");
                self.writer().fetched(&fetch);
                self.counts.entries_fetched += entries.len() as u64;
                let bytes: usize = entries.iter().map(|entry| entry.data.len()).sum();
                self.counts.bytes_fetched += bytes as u64;
                self.tell_held(now);
                self.consensus().handle(now, Event::Fetched { low, entries });
            }
            FetchStep::Rot { segment, offset, why } => self.broken(why.told(segment, offset)),
            FetchStep::Unreadable { segment, error } => self.broken(format!(
                "{} cannot be read ({error:?}): check the disk, then start again",
                FileId::Log(segment)
            )),
        }
    }

    /// Tells the log which entries peers that are there still need, and the group which there are.
    pub(super) fn keep_log(&mut self, now: Instant) {
        let needed = self.needed_after();
        let Some(writer) = &mut self.writer else { return };
        writer.keep(needed);
        self.tell_held(now);
    }

    /// The entries after this one are needed by a peer that is catching up, or will be by one that
    /// takes in a whole store.
    fn needed_after(&self) -> Option<u64> {
        if !self.leads() {
            return None;
        }
        let status = self.consensus.as_ref()?.status();
        let behind = status.progress.iter().filter(|peer| peer.active && 0 < peer.matched);
        let behind = behind.map(|peer| peer.matched).filter(|matched| *matched < status.first);
        behind.chain(self.transfers.keep()).min()
    }

    /// What segments hold is what the group may promise to peers.
    fn tell_held(&mut self, now: Instant) {
        let held = self.writer.as_ref().and_then(wal::Writer::held);
        let gone = held.map_or(u64::MAX, |held: &Terms| held.base().index);
        if gone != self.catch_up.gone {
            self.catch_up.gone = gone;
            self.consensus().handle(now, Event::Held(gone));
        }
    }
}
