//! Owns reads that wait for their read point. Invariant: the context that goes to peers is used
//! once, ever: an answer to an older round can otherwise satisfy a newer one on a deposed leader
//! (etcd issue 20418), and the library compares contexts only.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base::Instant;

use crate::effect::ReadContext;

/// Bytes of a context: member, boot, counter.
const CONTEXT_BYTES: usize = 24;

#[derive(Debug)]
struct Waiting {
    context: ReadContext,
    since: Instant,
}

/// The reads of one member.
#[derive(Debug)]
pub(crate) struct Reads {
    id: u64,
    boot: u64,
    counter: u64,
    /// Asked for, by counter.
    asked: BTreeMap<u64, Waiting>,
    /// Not asked for yet: the leader has not committed in its term.
    queued: VecDeque<Waiting>,
}

impl Reads {
    pub(crate) fn new(id: u64, boot: u64) -> Reads {
        Reads { id, boot, counter: 0, asked: BTreeMap::new(), queued: VecDeque::new() }
    }

    pub(crate) fn queue(&mut self, context: ReadContext, since: Instant) {
        self.queued.push_back(Waiting { context, since });
    }

    /// The context to ask with for the next queued read.
    pub(crate) fn ask_next(&mut self) -> Option<Vec<u8>> {
        let read = self.queued.pop_front()?;
        self.counter += 1;
        self.asked.insert(self.counter, read);
        let fields = [self.id, self.boot, self.counter];
        Some(fields.iter().flat_map(|field| field.to_le_bytes()).collect())
    }

    /// The read that an answer is for, unless it is none of ours or is lost already.
    pub(crate) fn answered(&mut self, context: &[u8]) -> Option<ReadContext> {
        if context.len() != CONTEXT_BYTES {
            return None;
        }
        let field = |at: usize| {
            let bytes = context[at * 8..at * 8 + 8].try_into().expect("eight bytes");
            u64::from_le_bytes(bytes)
        };
        if (field(0), field(1)) != (self.id, self.boot) {
            return None;
        }
        self.asked.remove(&field(2)).map(|read| read.context)
    }

    /// All reads: the leader or the term changed.
    pub(crate) fn lose_all(&mut self) -> Vec<ReadContext> {
        let asked = std::mem::take(&mut self.asked).into_values();
        asked.chain(self.queued.drain(..)).map(|read| read.context).collect()
    }

    /// Reads that waited longer than `timeout`: some answer was lost.
    pub(crate) fn lose_old(&mut self, now: Instant, timeout: Duration) -> Vec<ReadContext> {
        let old = |read: &Waiting| timeout < now.since(read.since);
        let mut lost = vec![];
        while let Some(read) = self.asked.first_entry()
            && old(read.get())
        {
            lost.push(read.remove().context);
        }
        while let Some(read) = self.queued.pop_front_if(|read| old(read)) {
            lost.push(read.context);
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_never_used_twice_and_answers_once() {
        let mut reads = Reads::new(1, 9);
        for _ in 0..2 {
            reads.queue(ReadContext(5), Instant(0));
        }
        let (first, second) = (reads.ask_next().unwrap(), reads.ask_next().unwrap());
        assert_ne!(first, second);
        assert_eq!(reads.answered(&second), Some(ReadContext(5)));
        assert_eq!(reads.answered(&second), None);
        assert_eq!(reads.answered(&first[..23]), None);
        let mut other_boot = Reads::new(1, 10);
        other_boot.queue(ReadContext(6), Instant(0));
        assert_ne!(other_boot.ask_next().unwrap(), first);
        assert_eq!(other_boot.answered(&first), None);
        assert_eq!(reads.lose_all(), vec![ReadContext(5)]);
        assert_eq!(reads.answered(&first), None);
    }

    #[test]
    fn only_reads_that_waited_too_long_are_lost() {
        let mut reads = Reads::new(1, 9);
        reads.queue(ReadContext(1), Instant(0));
        reads.ask_next();
        reads.queue(ReadContext(2), Instant(0));
        reads.queue(ReadContext(3), Instant(50));
        let lost = reads.lose_old(Instant(60), Duration::from_nanos(20));
        assert_eq!(lost, vec![ReadContext(1), ReadContext(2)]);
    }
}
