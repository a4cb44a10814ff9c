//! Owns messages that must not leave before what they speak of is durable.
//! Invariant: they leave in the order they were made, each after every earlier persist is reported.

use std::collections::VecDeque;

use wal::Urgency;

use crate::effect::ReadyNumber;
use crate::message::PeerMessage;

#[derive(Debug)]
struct Held {
    number: ReadyNumber,
    urgency: Urgency,
    term: u64,
    messages: Vec<PeerMessage>,
}

/// What is let go.
#[derive(Debug, PartialEq)]
pub(crate) struct Released {
    /// Everything up to here counts as persisted.
    pub number: ReadyNumber,
    /// The hard state's term that is durable now.
    pub term: u64,
    /// To be sent.
    pub messages: Vec<PeerMessage>,
}

/// Persists under way, oldest first.
#[derive(Debug, Default)]
pub(crate) struct HeldBack {
    queue: VecDeque<Held>,
}

impl HeldBack {
    /// A persist is handed out, with the term its records make durable and the messages that wait.
    pub(crate) fn push(
        &mut self,
        number: ReadyNumber,
        urgency: Urgency,
        term: u64,
        messages: Vec<PeerMessage>,
    ) {
        assert!(self.queue.back().is_none_or(|last| last.number < number));
        self.queue.push_back(Held { number, urgency, term, messages });
    }

    /// Persists up to `number` are durable; those after it that nobody waits for count as well,
    /// since they matter to nobody.
    pub(crate) fn persisted(&mut self, number: ReadyNumber) -> Option<Released> {
        let mut released: Option<Released> = None;
        while let Some(held) =
            self.queue.pop_front_if(|held| held.number <= number || held.urgency == Urgency::Ride)
        {
            let to = released.get_or_insert(Released { number, term: held.term, messages: vec![] });
            to.number = held.number;
            to.term = held.term;
            to.messages.extend(held.messages);
        }
        released
    }

    /// The latest persist that somebody waits for, for a check of reports.
    pub(crate) fn last(&self) -> Option<ReadyNumber> {
        self.queue.back().map(|held| held.number)
    }
}
