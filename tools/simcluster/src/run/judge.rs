//! Owns the judgement of a run: the order of all that happened, watches, and members one by one.
//! Changes nothing. Invariant: a member is asked only when all is quiet.

use std::collections::{BTreeMap, BTreeSet};

use ringleader_sim::member::Heard;
use state::Member;
use wire::{Method, etcdserverpb as pb};

use super::Run;
use crate::actor::operator::in_state;
use crate::member::Fate;
use crate::oracle::order::{self, Replayed};
use crate::oracle::states;
use crate::world::{Actor, News, Wrong};

impl Run {
    pub(super) fn judge(&mut self) -> Result<Replayed, Wrong> {
        self.enter("the judgement");
        let last = self.world.agreement.last();
        let mut replayed =
            order::replay(&self.book.history, &self.world.agreement, &self.book.leases)?;
        let compacted = self.world.agreement.compacted();
        for watch in &self.watches {
            watch.seen.judge(&replayed.model, compacted)?;
        }
        let older: Vec<i64> = (0..3)
            .map(|_| {
                compacted.max(1) + self.dice.below((last - compacted.max(1) + 1) as u64) as i64
            })
            .collect();
        let mut states = Vec::new();
        for id in self.world.ids() {
            states.push(self.look(id, last, &older)?);
        }
        states::judge(&mut replayed.model, &states)?;
        self.judge_members()?;
        Ok(replayed)
    }

    /// All members that are there name the same members, those that the log came to; and no
    /// member that was removed runs on, if anybody could tell it.
    fn judge_members(&mut self) -> Result<(), Wrong> {
        let (now, (_, leader)) = (self.world.now, self.world.leader);
        self.world.logs.settle(now, leader)?;
        let mut wishes = BTreeSet::new();
        for id in self.world.ids() {
            let request = pb::MemberListRequest { linearizable: false };
            let reply = self.ask::<_, pb::MemberListResponse>(id, Method::MemberList, &request)?;
            let told: BTreeMap<u64, Member> =
                reply.members.iter().map(|member| (member.id, in_state(member))).collect();
            if told != self.world.logs.roster.listed {
                return Err(format!(
                    "members: {id} names {told:?}, the log came to {:?}",
                    self.world.logs.roster.listed
                ));
            }
            let status =
                self.ask::<_, pb::StatusResponse>(id, Method::Status, &pb::StatusRequest {})?;
            wishes.insert(status.downgrade_info.map(|info| (info.enabled, info.target_version)));
        }
        if wishes.len() != 1 {
            return Err(format!("members: they differ in what version to go to: {wishes:?}"));
        }
        let runs = |member: &&crate::member::Member| member.fate == Fate::Removed && member.is_up();
        let removed: Vec<u64> = self.world.all().filter(runs).map(|member| member.id).collect();
        let told = removed.into_iter().find(|id| !self.world.who_tells(*id).is_empty());
        told.map_or(Ok(()), |id| Err(format!("members: {id} was removed and runs on")))
    }

    /// Asks a member for everything that it holds.
    fn look(&mut self, id: u64, last: i64, older: &[i64]) -> Result<states::State, Wrong> {
        let mut ranges = Vec::new();
        for request in states::questions(last, older) {
            let reply = self.ask::<_, pb::RangeResponse>(id, Method::Range, &request)?;
            ranges.push((request, reply));
        }
        let request = pb::HashKvRequest { revision: last };
        let hash = self.ask::<_, pb::HashKvResponse>(id, Method::HashKv, &request)?;
        Ok(states::State { member: id, ranges, hash })
    }

    pub(super) fn ask<Q: prost::Message, A: prost::Message + Default>(
        &mut self,
        id: u64,
        method: wire::Method,
        request: &Q,
    ) -> Result<A, Wrong> {
        let message = request.encode_to_vec().into();
        let call = self.world.call(Actor::Judge, id, method, message).ok_or("nobody listens")?;
        loop {
            let mut answer = None;
            for (actor, news) in self.world.step()? {
                match news {
                    News::Heard(of, heard) if of == call => answer = Some(heard),
                    other if actor == Actor::Judge => {
                        return Err(format!("{method:?} of member {id}: {other:?}"));
                    }
                    other => self.tell(actor, other)?,
                }
            }
            match answer {
                None => {}
                Some(Heard::Reply(bytes)) => {
                    return A::decode(bytes).map_err(|error| error.to_string());
                }
                Some(other) => {
                    return Err(format!("states: {method:?} of member {id}: {other:?}"));
                }
            }
        }
    }
}
