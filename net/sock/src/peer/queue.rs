//! Owns the payloads that wait for one stream. Pure. Invariant: they never exceed their bound,
//! save for one that is alone; they leave in the order in which they came.

use std::collections::VecDeque;

use bytes::Bytes;
use wire::peer::frame::FRAME_HEAD_BYTES;

/// There is no room. What did not fit is gone: its sender says it again if it still matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug)]
pub(super) struct Queue {
    payloads: VecDeque<Bytes>,
    bytes: usize,
    bytes_max: usize,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Queue {
        Queue { payloads: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub(super) fn push(&mut self, payload: Bytes) -> Result<(), Full> {
        let bytes = payload.len() + FRAME_HEAD_BYTES;
        if !self.payloads.is_empty() && self.bytes_max < self.bytes + bytes {
            return Err(Full);
        }
        self.bytes += bytes;
        self.payloads.push_back(payload);
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let payload = self.payloads.pop_front()?;
        self.bytes -= payload.len() + FRAME_HEAD_BYTES;
        assert!(!self.payloads.is_empty() || self.bytes == 0);
        Some(payload)
    }

    /// Throws everything away; answers how many payloads that were.
    pub(super) fn clear(&mut self) -> usize {
        self.bytes = 0;
        let count = self.payloads.len();
        self.payloads.clear();
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_bounded_in_bytes_and_takes_one_of_any_size_when_empty() {
        let mut queue = Queue::new(100);
        assert_eq!(queue.push(vec![1; 500].into()), Ok(()));
        assert_eq!(queue.push(vec![2; 1].into()), Err(Full));
        assert_eq!(queue.pop().unwrap().len(), 500);
        for _ in 0..10 {
            assert_eq!(queue.push(vec![3; 2].into()), Ok(()));
        }
        assert_eq!(queue.push(vec![4; 2].into()), Err(Full));
        assert_eq!(queue.clear(), 10);
        assert_eq!(queue.push(vec![5; 2].into()), Ok(()));
        assert_eq!(queue.pop().unwrap(), vec![5; 2]);
        assert_eq!(queue.pop(), None);
    }
}
