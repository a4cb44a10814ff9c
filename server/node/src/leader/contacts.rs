//! Owns since when each peer is connected without a break, which etcd's rules for changes of
//! members ask. Never connects anybody. Invariant: who is down has no time, and comes back with a
//! new one.

use std::collections::BTreeMap;
use std::time::Duration;

use base::Instant;

/// Who is connected for so long counts as up when members change (etcd's health interval).
const STEADY: Duration = Duration::from_secs(5);

/// The peers that are connected.
pub struct Contacts {
    since: BTreeMap<u64, Instant>,
}

impl Contacts {
    /// None.
    pub fn new() -> Contacts {
        Contacts { since: BTreeMap::new() }
    }

    /// A stream with the peer is up, or it was heard.
    pub fn up(&mut self, now: Instant, peer: u64) {
        self.since.entry(peer).or_insert(now);
    }

    /// No stream with the peer is up.
    pub fn down(&mut self, peer: u64) {
        self.since.remove(&peer);
    }

    /// Forgets all but these.
    pub fn keep(&mut self, peers: &[u64]) {
        self.since.retain(|peer, _| peers.contains(peer));
    }

    /// Whether the peer is connected.
    pub fn is_up(&self, peer: u64) -> bool {
        self.since.contains_key(&peer)
    }

    /// Whether it has been for long enough.
    pub fn is_steady(&self, now: Instant, peer: u64) -> bool {
        self.since.get(&peer).is_some_and(|since| now.since(*since) >= STEADY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_begins_the_time_anew() {
        let mut contacts = Contacts::new();
        let start = Instant(7);
        contacts.up(start, 1);
        contacts.up(start + STEADY / 2, 1);
        assert!(!contacts.is_steady(start + STEADY / 2, 1));
        assert!(contacts.is_steady(start + STEADY, 1), "a second stream is no new beginning");
        contacts.down(1);
        assert!(!contacts.is_up(1) && !contacts.is_steady(start + STEADY, 1));
        contacts.up(start + STEADY, 1);
        assert!(contacts.is_up(1) && !contacts.is_steady(start + STEADY * 3 / 2, 1));
        assert!(contacts.is_steady(start + STEADY * 2, 1));
    }

    #[test]
    fn who_is_no_peer_any_more_is_forgotten() {
        let mut contacts = Contacts::new();
        contacts.up(Instant(0), 1);
        contacts.up(Instant(0), 2);
        contacts.keep(&[2, 3]);
        assert!(!contacts.is_up(1) && contacts.is_up(2) && !contacts.is_up(3));
    }
}
