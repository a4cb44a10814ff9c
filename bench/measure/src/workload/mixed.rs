//! Owns the workload of reads beside writes: single keys of one space, read or put.
//! Invariant: reads count in series [`READ`], writes in [`WRITE`]; a key that this client has put
//! is found by its linearizable reads.

use std::collections::BTreeSet;

use base::Prng;
use bytes::Bytes;
use wire::Method;
use wire::etcdserverpb::{PutRequest, PutResponse, RangeRequest, RangeResponse};

use crate::keys::{KeySpace, Values};
use crate::op::{Op, Seen, Wrong, decode, revision};
use crate::workload::{Consistency, Workload, range};

/// The series of reads.
pub const READ: usize = 0;
/// The series of writes.
pub const WRITE: usize = 1;
/// Keys of its own that a client remembers.
const REMEMBERED_MAX: usize = 10_000;

/// What is read and written.
#[derive(Clone, Debug)]
pub struct MixedOptions {
    /// Keys of both.
    pub keys: KeySpace,
    /// Values of the puts.
    pub values: Values,
    /// Reads among 1000 requests.
    pub reads_permille: u64,
    /// How fresh they are.
    pub consistency: Consistency,
}

/// Reads and puts of single keys.
#[derive(Debug)]
pub struct Mixed {
    options: MixedOptions,
    asked: Asked,
    put: BTreeSet<u64>,
    dice: Prng,
    seen: Seen,
}

#[derive(Debug)]
enum Asked {
    Read { number: u64, request: RangeRequest },
    Write { number: u64 },
}

impl Mixed {
    /// One client's requests.
    pub fn new(options: MixedOptions, seed: u64) -> Mixed {
        let (dice, seen) = (Prng::from_seed(seed), Seen::default());
        Mixed { options, asked: Asked::Write { number: 0 }, put: BTreeSet::new(), dice, seen }
    }
}

impl Workload for Mixed {
    fn next(&mut self, turn: u64) -> Op {
        let number = self.options.keys.choose(turn, &mut self.dice);
        let key = self.options.keys.key(number);
        if self.dice.chance(self.options.reads_permille) {
            let serializable = self.options.consistency == Consistency::Serializable;
            let request = RangeRequest { key, serializable, ..RangeRequest::default() };
            let op = Op::new(READ, Method::Range, &request);
            self.asked = Asked::Read { number, request };
            return op;
        }
        self.asked = Asked::Write { number };
        let value = self.options.values.draw(&mut self.dice);
        Op::new(WRITE, Method::Put, &PutRequest { key, value, ..PutRequest::default() })
    }

    fn answered(&mut self, reply: Bytes) -> Result<(), Wrong> {
        match &self.asked {
            Asked::Write { number } => {
                let reply: PutResponse = decode(reply)?;
                if self.put.len() < REMEMBERED_MAX {
                    self.put.insert(*number);
                }
                self.seen.wrote(reply.header.as_ref()).map(drop)
            }
            Asked::Read { number, request } => {
                let reply: RangeResponse = decode(reply)?;
                range::check(request, &reply)?;
                match self.options.consistency {
                    Consistency::Serializable => revision(reply.header.as_ref()).map(drop),
                    Consistency::Linearizable => {
                        self.seen.read(reply.header.as_ref())?;
                        match reply.kvs.is_empty() && self.put.contains(number) {
                            true => Err(Wrong::new("a key that was put is not there")),
                            false => Ok(()),
                        }
                    }
                }
            }
        }
    }
}
