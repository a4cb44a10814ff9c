//! The law of `--force-new-cluster`: of three members two are lost for ever; the third, forced, has
//! everything that was acknowledged while the other two were the quorum, wherever its power goes
//! meanwhile, and it is alone.
//!
//! What etcd 3.5.1 does here loses writes: it cuts its log at the commit index that it knows, and
//! the leader's word of the last ones may not have come.

use std::collections::BTreeMap;
use std::time::Duration;

use base::Prng;
use node::{CallId, Restart};
use prost::Message;
use ringleader_sim::member::Heard;
use ringleader_sim::plan::Ending;
use ringleader_simcluster::plan::Shape;
use ringleader_simcluster::world::{Actor, News, World};
use ringleader_simcluster::{Planted, Voice};
use wire::{Method, etcdserverpb as pb};

const SEEDS: u64 = 60;
const PATIENCE: Duration = Duration::from_secs(60);

struct Run {
    seed: u64,
    dice: Prng,
    world: World,
    /// Puts under way, by call: their key.
    under_way: BTreeMap<CallId, u64>,
    /// Revisions of acknowledged puts, by key; every key is put once.
    told: BTreeMap<u64, i64>,
    replies: BTreeMap<CallId, Heard>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut dice = Prng::from_seed(seed);
        let mut shape = Shape::draw(&mut dice);
        shape.members = 3;
        let world = World::new(shape, Planted::Nothing, Voice::Silent, dice.clone());
        let (under_way, told, replies) = Default::default();
        Run { seed, dice, world, under_way, told, replies }
    }

    fn step(&mut self) {
        for (_, news) in self.world.step().unwrap_or_else(|wrong| panic!("{}: {wrong}", self.seed))
        {
            let News::Heard(call, heard) = news else { continue };
            match (self.under_way.remove(&call), heard) {
                (Some(key), Heard::Reply(bytes)) => {
                    let reply = pb::PutResponse::decode(bytes).expect("a reply of our own");
                    self.told.insert(key, reply.header.expect("always there").revision);
                }
                (Some(_), _) => {}
                (None, heard) => drop(self.replies.insert(call, heard)),
            }
        }
    }

    fn until(&mut self, what: &str, done: impl Fn(&Run) -> bool) {
        let end = self.world.now + PATIENCE;
        while !done(self) {
            self.step();
            assert!(self.world.now < end, "seed {}: waited for {what}", self.seed);
        }
    }

    fn put(&mut self, member: u64, key: u64) {
        let request = pb::PutRequest {
            key: format!("k{key}").into_bytes().into(),
            value: vec![7; self.dice.below(2000) as usize].into(),
            ..pb::PutRequest::default()
        };
        let message = request.encode_to_vec().into();
        if let Some(call) = self.world.call(Actor::Judge, member, Method::Put, message) {
            self.under_way.insert(call, key);
        }
    }

    fn ask<A: Message + Default>(&mut self, id: u64, method: Method, asked: &impl Message) -> A {
        let message = asked.encode_to_vec().into();
        let call = self.world.call(Actor::Judge, id, method, message).expect("it serves");
        self.until("an answer", |run| run.replies.contains_key(&call));
        match self.replies.remove(&call) {
            Some(Heard::Reply(bytes)) => A::decode(bytes).expect("a reply of our own"),
            other => panic!("seed {}: {method:?}: {other:?}", self.seed),
        }
    }

    /// One member dies, the other two take writes for a while, and both die in the middle.
    fn lose_two(&mut self, survivor: u64) {
        for id in self.world.ids() {
            self.world.start(id, Ending::Open);
        }
        self.until("the cluster", |run| run.all_serve(&run.world.ids()));
        let others: Vec<u64> = self.world.ids().into_iter().filter(|id| *id != survivor).collect();
        let early = *self.dice.pick(&others);
        self.world.crash(early);
        let pair: Vec<u64> = self.world.ids().into_iter().filter(|id| *id != early).collect();
        let (mut key, wanted) = (0, 3 + self.dice.below(150));
        let end = self.world.now + PATIENCE;
        while (self.told.len() as u64) < wanted {
            if self.under_way.len() < 4 {
                key += 1;
                let member = *self.dice.pick(&pair);
                self.put(member, key);
            }
            self.step();
            assert!(self.world.now < end, "seed {}: waited for writes", self.seed);
        }
        pair.into_iter().for_each(|id| self.world.crash(id));
        self.under_way.clear();
    }

    fn all_serve(&self, ids: &[u64]) -> bool {
        ids.iter().all(|id| self.world.member(*id).is_serving())
    }

    /// The survivor is forced; its power goes a few times while it is, and some of its lives in
    /// between are without the flag.
    fn force(&mut self, survivor: u64) {
        for _ in 0..self.dice.below(6) {
            let forced = self.dice.chance(800);
            self.world
                .restart(survivor, if forced { Restart::Alone } else { Restart::WithCluster });
            let ending = Ending::Effects(1 + self.dice.below(60));
            self.world.start(survivor, ending);
            let life = self.world.member(survivor).lives;
            let end = self.world.now + Duration::from_secs(4);
            let is_same = |run: &Run| {
                let member = run.world.member(survivor);
                member.is_up() && member.lives == life
            };
            while is_same(self) && self.world.now < end {
                self.step();
            }
            self.world.crash(survivor);
        }
        self.world.restart(survivor, Restart::Alone);
        self.world.start(survivor, Ending::Open);
        self.until("the survivor", |run| run.all_serve(&[survivor]));
    }

    fn judge(&mut self, survivor: u64) {
        let list = pb::MemberListRequest { linearizable: true };
        let list: pb::MemberListResponse = self.ask(survivor, Method::MemberList, &list);
        let ids: Vec<u64> = list.members.iter().map(|member| member.id).collect();
        assert_eq!(ids, [survivor], "seed {}", self.seed);
        let all = pb::RangeRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            ..pb::RangeRequest::default()
        };
        let all: pb::RangeResponse = self.ask(survivor, Method::Range, &all);
        let held: BTreeMap<String, i64> = all
            .kvs
            .iter()
            .map(|kv| (String::from_utf8(kv.key.to_vec()).expect("ours"), kv.mod_revision))
            .collect();
        for (key, revision) in &self.told {
            let found = held.get(&format!("k{key}"));
            assert_eq!(found, Some(revision), "seed {}: k{key} was acknowledged", self.seed);
        }
    }
}

#[test]
fn a_forced_member_keeps_what_was_acknowledged_and_is_alone() {
    let mut kept = 0;
    for seed in 1..SEEDS {
        let mut run = Run::new(seed);
        let survivor = 1 + run.dice.below(3);
        run.lose_two(survivor);
        run.force(survivor);
        run.judge(survivor);
        // It goes on without the flag, and a crash at any moment forgets nothing.
        run.world.restart(survivor, Restart::WithCluster);
        run.world.crash(survivor);
        run.world.start(survivor, Ending::Open);
        run.until("the survivor again", |run| run.all_serve(&[survivor]));
        run.judge(survivor);
        kept += run.world.kept;
    }
    assert!(0 < kept, "no member held what it did not know to be committed");
}
