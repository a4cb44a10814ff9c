//! Owns the judgement of a member that serves: it is asked for every revision since the last
//! judgement, for old ones, for leases and compaction.
//! Invariant: only a member without calls under way is judged, so nothing changes meanwhile.

use std::collections::BTreeSet;

use prost::Message;
use wire::etcdserverpb as pb;
use wire::{Code, Method};

use crate::life::{Life, Stop};
use crate::ops::everything;
use crate::oracle::Rows;

/// Old revisions looked at in one judgement.
const OLD: u64 = 6;

impl Life<'_> {
    /// Judges everything that was told before.
    pub fn verify(&mut self) -> Result<(), Stop> {
        let (now, rows) = self.rows_at(0)?.expect("now is never compacted");
        if now < self.oracle.seen {
            let text = format!("the revision went back from {} to {now}", self.oracle.seen);
            return Err(Stop::Wrong(text));
        }
        for revision in self.oracle.base() + 1..=now {
            let Some((_, found)) = self.rows_at(revision)? else {
                return Err(Stop::Wrong(format!("revision {revision} is said to be compacted")));
            };
            self.oracle.enter(revision, &found).map_err(Stop::Wrong)?;
        }
        self.oracle.judge(now).map_err(Stop::Wrong)?;
        if self.oracle.state(now) != Some(&rows) {
            return Err(Stop::Wrong(format!("now is not what revision {now} is")));
        }
        self.judge_old(now)?;
        let leases = self.leases()?;
        self.oracle.judge_leases(&leases).map_err(Stop::Wrong)?;
        let compacted = self.compacted(now)?;
        self.oracle.settle(leases, compacted);
        self.oracle.seen = now;
        Ok(())
    }

    /// All pairs at a revision, or now; `None` if it is compacted.
    fn rows_at(&mut self, revision: i64) -> Result<Option<(i64, Rows)>, Stop> {
        let reply = match self.ask(Method::Range, &everything(revision))? {
            Ok(reply) => reply,
            Err(status) if status.code == Code::OutOfRange => return Ok(None),
            Err(status) => return Err(Stop::Wrong(format!("at {revision}: {status:?}"))),
        };
        let reply = pb::RangeResponse::decode(reply).map_err(|e| Stop::Wrong(e.to_string()))?;
        let told = reply.header.map_or(0, |header| header.revision);
        let pairs = reply.kvs.len();
        if reply.count != pairs as i64 || reply.more {
            let text = format!("{pairs} pairs at {revision}, and a count of {}", reply.count);
            return Err(Stop::Wrong(text));
        }
        let rows: Rows = reply.kvs.into_iter().map(|pair| (pair.key.clone(), pair)).collect();
        match rows.len() == pairs {
            true => Ok(Some((told, rows))),
            false => Err(Stop::Wrong(format!("a key stands twice at {revision}"))),
        }
    }

    fn judge_old(&mut self, now: i64) -> Result<(), Stop> {
        let (sure, most) = (self.oracle.compacted, self.oracle.compacted_max());
        for _ in 0..OLD {
            let revision = 1 + self.dice.below(now as u64) as i64;
            let found = self.rows_at(revision)?.map(|(_, rows)| rows);
            let right = self.oracle.state(revision);
            match found {
                Some(_) if revision < sure => {
                    return Err(Stop::Wrong(format!("{revision} is back, compacted at {sure}")));
                }
                None if most <= revision => {
                    return Err(Stop::Wrong(format!("{revision} is gone, compacted at {most}")));
                }
                Some(rows) if right.is_some_and(|right| *right != rows) => {
                    return Err(Stop::Wrong(format!("the past changed at {revision}")));
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    fn leases(&mut self) -> Result<BTreeSet<i64>, Stop> {
        let reply = self.ask(Method::LeaseLeases, &pb::LeaseLeasesRequest {})?;
        let reply = reply.map_err(|status| Stop::Wrong(format!("no leases: {status:?}")))?;
        let reply =
            pb::LeaseLeasesResponse::decode(reply).map_err(|e| Stop::Wrong(e.to_string()))?;
        Ok(reply.leases.into_iter().map(|lease| lease.id).collect())
    }

    /// Where the store is compacted now: between what was acknowledged and what was asked for.
    fn compacted(&mut self, now: i64) -> Result<i64, Stop> {
        let (mut low, mut high) = (self.oracle.compacted, self.oracle.compacted_max().min(now));
        while low < high {
            let middle = low + (high - low) / 2;
            match middle < 1 || self.rows_at(middle)?.is_none() {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(low)
    }
}
