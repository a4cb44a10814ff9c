//! Owns what clients do in a life: random changes and reads, pauses, and the moments when all is
//! quiet and judged.
//! Invariant: a compaction is asked for only below a revision whose state is known.

use std::time::Duration;

use base::Prng;
use bytes::Bytes;
use wire::etcdserverpb as pb;

use crate::life::{Life, Stop};
use crate::ops::{Op, Source, everything};
use crate::plan::Shape;

/// Requests of one stretch between two quiet moments.
const STRETCH: u64 = 120;

impl Life<'_> {
    /// Runs clients until they have made their requests.
    pub fn load(&mut self, shape: &Shape, source: &mut Source) -> Result<(), Stop> {
        let mut left = 1 + self.dice.below(STRETCH);
        for client in 0..shape.clients {
            self.member.wake_after(Duration::ZERO, client);
        }
        while 0 < left {
            self.step()?;
            while let (Some(client), 0..) = (self.idle.pop_first(), left) {
                if self.dice.chance(400) {
                    let think = self.dice.below(shape.think.as_nanos() as u64 + 1);
                    self.member.wake_after(Duration::from_nanos(think), client);
                } else {
                    left = left.saturating_sub(1);
                    self.request(client, source);
                }
            }
        }
        Ok(())
    }

    /// Waits until every call has been answered.
    pub fn quiet(&mut self) -> Result<(), Stop> {
        self.wait("calls under way", |life| life.under_way() == 0)?;
        self.idle.clear();
        Ok(())
    }

    fn request(&mut self, client: u64, source: &mut Source) {
        let mut dice = Prng::from_seed(self.dice.next_u64());
        let leases: Vec<i64> = self.oracle.leases.iter().copied().collect();
        let dice = &mut dice;
        let op = match dice.below(100) {
            0..45 => Op::Put(source.put(dice, &leases)),
            45..57 => Op::Delete(source.delete(dice)),
            57..75 => Op::Txn(source.txn(dice, &leases, self.oracle.seen)),
            75..79 => Op::Grant(source.grant()),
            79..82 if !leases.is_empty() => {
                Op::Revoke(pb::LeaseRevokeRequest { id: *dice.pick(&leases) })
            }
            82..86 if self.oracle.compacted < self.oracle.base() => {
                let room = (self.oracle.base() - self.oracle.compacted.max(0)) as u64;
                let revision = self.oracle.compacted.max(0) + 1 + dice.below(room) as i64;
                let physical = dice.chance(100);
                Op::Compact(pb::CompactionRequest { revision, physical })
            }
            _ => return self.read(client, range(dice, source, self.oracle.base())),
        };
        self.change(client, op);
    }
}

/// A read of something, now or long ago.
fn range(dice: &mut Prng, source: &Source, base: i64) -> pb::RangeRequest {
    let (key, range_end) = match dice.below(3) {
        0 => (source.key(dice), Bytes::new()),
        1 => source.span(dice),
        _ => {
            let all = everything(0);
            (all.key, all.range_end)
        }
    };
    let revision = if dice.chance(250) { 1 + dice.below(base as u64) as i64 } else { 0 };
    let serializable = dice.chance(150);
    pb::RangeRequest { key, range_end, revision, serializable, ..Default::default() }
}
