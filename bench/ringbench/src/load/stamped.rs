//! Owns values that say when their put was made and which it was, and the reading of their events.
//! Invariant: an event is counted once, and one that carries no such value is told.

use bytes::Bytes;
use measure::failures::WRONG;

use super::watcher::Watcher;
use crate::run::Turns;

/// The row that counts events, in the phases of all loads that read them.
const EVENTS: usize = 1;

/// An event that a reader saw: the number of its put, and when.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    pub number: u64,
    pub seen_ns: u64,
}

/// A value of put `number`, made now; at least `pad` bytes long.
pub fn stamped(now_ns: u64, number: u64, pad: usize) -> Bytes {
    let mut value = [now_ns.to_le_bytes(), number.to_le_bytes()].concat();
    value.resize(pad.max(value.len()), 0);
    Bytes::from(value)
}

/// When the put of a value was made, and which it was.
fn stamp(value: &[u8]) -> Option<(u64, u64)> {
    let (now_ns, rest) = value.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    Some((u64::from_le_bytes(*now_ns), u64::from_le_bytes(*number)))
}

/// Reads a stream until `due` events have come, counts how old each is, and tells `note` of it.
pub async fn read(turns: &Turns, mut watcher: Watcher, mut due: u64, note: impl Fn(Sight)) {
    turns.due();
    while due > 0 && !turns.is_ending() {
        let reply = match watcher.next().await {
            Ok(reply) => reply,
            Err(status) => {
                turns.note_failure(EVENTS, status.code.name(), &status.message);
                break;
            }
        };
        if let Err(wrong) = watcher.check(&reply) {
            turns.note_failure(EVENTS, WRONG, &wrong.0);
        }
        let seen_ns = turns.now_ns();
        for event in &reply.events {
            due = due.saturating_sub(1);
            match event.kv.as_ref().and_then(|kv| stamp(&kv.value)) {
                Some((put_ns, number)) => {
                    turns.arrived(EVENTS, seen_ns.saturating_sub(put_ns));
                    note(Sight { number, seen_ns });
                }
                None => turns.note_failure(EVENTS, WRONG, "an event with another's value"),
            }
        }
    }
    turns.came();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_says_when_and_which_and_a_short_one_nothing() {
        assert_eq!(stamp(&stamped(7, 9, 0)), Some((7, 9)));
        assert_eq!(stamped(7, 9, 100).len(), 100);
        assert_eq!(stamp(&stamped(7, 9, 100)), Some((7, 9)));
        assert_eq!(stamp(b"short"), None);
    }
}
