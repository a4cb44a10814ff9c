//! Owns the workload of single puts. Invariant: revisions of one client's puts rise.

use base::Prng;
use bytes::Bytes;
use wire::Method;
use wire::etcdserverpb::{PutRequest, PutResponse};

use crate::keys::{KeySpace, Values};
use crate::op::{Op, Seen, Wrong, decode};
use crate::workload::Workload;

/// Puts of keys of a space.
#[derive(Debug)]
pub struct Put {
    keys: KeySpace,
    values: Values,
    dice: Prng,
    seen: Seen,
}

impl Put {
    /// One client's puts.
    pub fn new(keys: KeySpace, values: Values, seed: u64) -> Put {
        Put { keys, values, dice: Prng::from_seed(seed), seen: Seen::default() }
    }
}

impl Workload for Put {
    fn next(&mut self, turn: u64) -> Op {
        let number = self.keys.choose(turn, &mut self.dice);
        let (key, value) = (self.keys.key(number), self.values.draw(&mut self.dice));
        Op::new(0, Method::Put, &PutRequest { key, value, ..PutRequest::default() })
    }

    fn answered(&mut self, reply: Bytes) -> Result<(), Wrong> {
        let reply: PutResponse = decode(reply)?;
        self.seen.wrote(reply.header.as_ref()).map(drop)
    }
}
