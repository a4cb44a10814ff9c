//! Owns the load of software transactions, as etcd's Go client makes them: read, then write if
//! nothing that was read has changed, else again. Invariant: a transaction counts once, when it is
//! in.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use base::Prng;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use measure::keys::Values;
use measure::{KeyOrder, KeySpace};
use wire::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use wire::etcdserverpb::request_op::Request;
use wire::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse,
};
use wire::grpc::{decode, frame};
use wire::{Method, Status};

use super::lock::{Locker, Session};
use crate::flags::Common;
use crate::net::Link;
use crate::run::{Client, Counted, Seat, Turns};

const NAME: &str = "transaction";
const KEY_BYTES: usize = 16;

#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// How transactions are kept apart
    #[arg(long, value_enum, default_value_t = Isolation::R)]
    isolation: Isolation,
    /// How many keys there are
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Transactions
    #[arg(long, default_value_t = 10_000)]
    total: u64,
    /// Keys of one transaction; at most --keys
    #[arg(long, default_value_t = 1)]
    keys_per_txn: u64,
    /// Of 100 keys of a transaction, those that it writes
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=100))]
    txn_wr_percent: u64,
    /// What is held around a transaction
    #[arg(long, value_enum, default_value_t = Locker::Stm)]
    stm_locker: Locker,
    /// Bytes of a value
    #[arg(long, default_value_t = 8)]
    val_size: usize,
    /// Transactions a second, sent whatever the answers do; 0 begins the next when the last is in
    #[arg(long, default_value_t = 0)]
    rate: u64,
}

/// Levels of isolation, by etcd's letters.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Read committed: writes whatever was read
    C,
    /// Repeatable reads: what was read must not have changed
    R,
    /// Serializable: and all reads are of one revision
    S,
    /// Serializable snapshot: and what is written must not have changed since
    Ss,
}

impl Flags {
    pub fn check(&self) -> Result<(), String> {
        match self.keys_per_txn <= self.keys {
            true => Ok(()),
            false => Err("--keys-per-txn must not be above --keys".to_string()),
        }
    }
}

/// One client's transactions.
struct Stm {
    link: Rc<Link>,
    keys: KeySpace,
    values: Values,
    flags: Flags,
    dice: Prng,
    conflicts: Rc<Cell<u64>>,
}

pub async fn work(flags: &Flags, common: &Common, seat: Rc<Seat>) -> Result<Counted, String> {
    let keys = KeySpace {
        size: flags.keys,
        key_bytes: KEY_BYTES,
        prefix: Bytes::new(),
        order: KeyOrder::Uniform,
    };
    let values = Values::new(flags.val_size, common.seed);
    let conflicts = Rc::new(Cell::new(0));
    let phase = common.phase(&[NAME], flags.total, flags.rate);
    let series = seat
        .phase(phase, &seat.clients, |client: Client, turns| {
            let stm = Stm {
                link: client.link.clone(),
                keys: keys.clone(),
                values: values.clone(),
                flags: flags.clone(),
                dice: Prng::from_seed(seat.dice(client.number)),
                conflicts: conflicts.clone(),
            };
            go(stm, turns)
        })
        .await;
    let notes = match conflicts.get() {
        0 => Vec::new(),
        count => vec![format!("core {}: {count} attempts met a conflict", seat.core)],
    };
    Ok(Counted { series, notes })
}

async fn go(mut stm: Stm, turns: Turns) {
    let session = match Session::open(stm.flags.stm_locker, &stm.link).await {
        Ok(session) => session,
        Err(status) => {
            return turns.note_failure(0, status.code.name(), &status.message);
        }
    };
    while let Some(turn) = turns.next().await {
        let done = async {
            let held = session.lock().await?;
            let committed = stm.commit(&turns).await;
            session.unlock(held).await?;
            committed
        };
        match done.await {
            Ok(()) => turns.good(0, turn),
            Err(status) => turns.refused(0, turn, &status),
        }
    }
    session.close().await;
}

impl Stm {
    /// Reads and writes until nothing has come between.
    async fn commit(&mut self, turns: &Turns) -> Result<(), Status> {
        let numbers = self.choose();
        let written = (numbers.len() as u64 * self.flags.txn_wr_percent / 100) as usize;
        loop {
            let mut read = BTreeMap::new();
            let mut revision = 0;
            for number in &numbers {
                let reply = self.get(self.keys.key(*number), revision).await?;
                if revision == 0 {
                    revision = reply.header.unwrap_or_default().revision;
                }
                read.insert(*number, reply.kvs.first().map_or(0, |kv| kv.mod_revision));
            }
            if written == 0 && self.flags.isolation == Isolation::C {
                return Ok(());
            }
            if self.attempt(&read, written, revision).await? || turns.is_ending() {
                return Ok(());
            }
            self.conflicts.set(self.conflicts.get() + 1);
        }
    }

    fn choose(&mut self) -> BTreeSet<u64> {
        let mut numbers = BTreeSet::new();
        while (numbers.len() as u64) < self.flags.keys_per_txn {
            numbers.insert(self.dice.below(self.flags.keys));
        }
        numbers
    }

    /// One read: of what the member has, or for the serializable levels of the first read's
    /// revision.
    async fn get(&self, key: Bytes, first: i64) -> Result<RangeResponse, Status> {
        let (serializable, revision) = match self.flags.isolation {
            Isolation::C | Isolation::R => (true, 0),
            Isolation::S | Isolation::Ss => (first != 0, first),
        };
        let request = RangeRequest { key, serializable, revision, ..RangeRequest::default() };
        decode(self.link.unary(Method::Range, frame(&request)).await?)
    }

    /// Whether it went in.
    async fn attempt(
        &mut self,
        read: &BTreeMap<u64, i64>,
        written: usize,
        revision: i64,
    ) -> Result<bool, Status> {
        let is = |key: Bytes, result: CompareResult, at: i64| Compare {
            result: result.into(),
            target: CompareTarget::Mod.into(),
            key,
            target_union: Some(TargetUnion::ModRevision(at)),
            range_end: Bytes::new(),
        };
        let mut compare = Vec::new();
        if self.flags.isolation != Isolation::C {
            let each = read.iter();
            compare.extend(
                each.map(|(number, at)| is(self.keys.key(*number), CompareResult::Equal, *at)),
            );
        }
        let mut success = Vec::with_capacity(written);
        for number in read.keys().take(written) {
            let (key, value) = (self.keys.key(*number), self.values.draw(&mut self.dice));
            if self.flags.isolation == Isolation::Ss {
                compare.push(is(key.clone(), CompareResult::Less, revision + 1));
            }
            let put = PutRequest { key, value, ..PutRequest::default() };
            success.push(RequestOp { request: Some(Request::RequestPut(put)) });
        }
        let request = TxnRequest { compare, success, failure: Vec::new() };
        let reply = self.link.unary(Method::Txn, frame(&request)).await?;
        Ok(decode::<TxnResponse>(reply)?.succeeded)
    }
}
