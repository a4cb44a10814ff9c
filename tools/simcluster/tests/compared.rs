//! Clusters whose members are not of one mind, and clusters of several versions: what whole members
//! make of it, driven by hand.

use std::time::Duration;

use base::Prng;
use node::leader::checks::{AtStart, CheckPolicy};
use prost::Message;
use ringleader_sim::member::Heard;
use ringleader_sim::plan::Ending;
use ringleader_simcluster::plan::Shape;
use ringleader_simcluster::world::{Actor, News, World};
use ringleader_simcluster::{Planted, Voice};
use wire::peer::Version;
use wire::{Method, etcdserverpb as pb};

/// Within this virtual time everything here must have happened.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three members, a good network, and these comparisons.
fn world(seed: u64, checks: CheckPolicy) -> World {
    let mut dice = Prng::from_seed(seed);
    let shape = Shape {
        members: 3,
        latency: Duration::from_millis(1),
        lossy_per_mille: 0,
        checks,
        ..Shape::draw(&mut dice)
    };
    World::new(shape, Planted::Nothing, Voice::Silent, dice)
}

fn start(world: &mut World) {
    world.ids().into_iter().for_each(|id| world.start(id, Ending::Open));
    until(world, "all serve", |world| {
        world.ids().into_iter().all(|id| world.member(id).is_serving())
    });
}

fn until(world: &mut World, what: &str, done: impl Fn(&World) -> bool) {
    let deadline = world.now + PATIENCE;
    while !done(world) {
        world.step().unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
        assert!(world.now < deadline, "{what}: not in time; {}", world.describe());
    }
}

/// What the world refuses to go on with.
fn await_wrong(world: &mut World) -> String {
    let deadline = world.now + PATIENCE;
    loop {
        match world.step() {
            Ok(_) => assert!(world.now < deadline, "all is well; {}", world.describe()),
            Err(wrong) => return wrong,
        }
    }
}

fn ask<Q: Message, A: Message + Default>(
    world: &mut World,
    member: u64,
    method: Method,
    request: &Q,
) -> Result<A, String> {
    let message = request.encode_to_vec().into();
    let call = world.call(Actor::Judge, member, method, message).ok_or("nobody listens")?;
    loop {
        for (_, news) in world.step()? {
            match news {
                News::Heard(of, Heard::Reply(bytes)) if of == call => {
                    return A::decode(bytes).map_err(|error| error.to_string());
                }
                News::Heard(of, other) if of == call => return Err(format!("{other:?}")),
                News::Lost(of) if of == call => return Err("lost".to_owned()),
                _ => {}
            }
        }
    }
}

fn put(world: &mut World, member: u64, key: &str) -> Result<pb::PutResponse, String> {
    let (key, value) = (key.to_owned().into(), "value".to_owned().into());
    ask(world, member, Method::Put, &pb::PutRequest { key, value, ..Default::default() })
}

fn status(world: &mut World, member: u64) -> pb::StatusResponse {
    ask(world, member, Method::Status, &pb::StatusRequest {}).unwrap()
}

const NOW: CheckPolicy = CheckPolicy {
    at_start: AtStart::Serve,
    every: Some(Duration::from_millis(300)),
    compactions_every: None,
};
// Rare enough that all have compacted by then: of two against one that has not answered nobody can
// tell who is odd.
const COMPACTIONS: CheckPolicy = CheckPolicy {
    at_start: AtStart::Serve,
    every: None,
    compactions_every: Some(Duration::from_secs(10)),
};

#[test]
fn another_store_than_the_leaders_is_blamed_and_stops_all_writes() {
    for seed in 1..6 {
        let mut world = world(seed, NOW);
        world.prepare(2, |member| member.planted = Planted::OtherValues);
        start(&mut world);
        for number in 0..5 {
            put(&mut world, 1, &format!("k{number}")).unwrap();
        }
        until(&mut world, "somebody is blamed", |world| !world.blamed.is_empty());
        let leader = status(&mut world, 1).leader;
        let expected = if leader == 2 { vec![1] } else { vec![2] };
        assert_eq!(world.blamed.iter().copied().collect::<Vec<u64>>(), expected, "seed {seed}");
        let refused = put(&mut world, 3, "more").unwrap_err();
        assert!(refused.contains("etcdserver: corrupt cluster"), "{refused}");
    }
}

#[test]
fn of_a_compaction_the_odd_one_is_blamed_whoever_leads() {
    for seed in 1..9 {
        let mut world = world(seed, COMPACTIONS);
        world.prepare(2, |member| member.planted = Planted::OtherValues);
        start(&mut world);
        for number in 0..20 {
            put(&mut world, 1, &format!("k{}", number % 6)).unwrap();
        }
        let compact = pb::CompactionRequest { revision: 15, physical: false };
        ask::<_, pb::CompactionResponse>(&mut world, 1, Method::Compact, &compact).unwrap();
        until(&mut world, "somebody is blamed", |world| !world.blamed.is_empty());
        assert_eq!(world.blamed.iter().copied().collect::<Vec<u64>>(), [2], "seed {seed}");
    }
}

#[test]
fn a_member_that_finds_another_store_at_its_peers_does_not_serve() {
    let checks = CheckPolicy { at_start: AtStart::Compare, ..CheckPolicy::OFF };
    for seed in 1..4 {
        let mut world = world(seed, checks);
        world.prepare(2, |member| member.planted = Planted::OtherValues);
        start(&mut world);
        for number in 0..5 {
            put(&mut world, 1, &format!("k{number}")).unwrap();
        }
        world.crash(2);
        world.start(2, Ending::Open);
        let wrong = await_wrong(&mut world);
        assert!(wrong.contains("member 2 finds other data at its peers"), "{wrong}");
        assert!(!world.member(2).is_serving());
    }
}

const NEW: Version = Version { major: 3, minor: 8, patch: 2 };
const OLD: Version = Version { major: 3, minor: 7, patch: 1 };
const OLDEST: Version = Version { major: 3, minor: 7, patch: 0 };

fn be(world: &mut World, id: u64, server: Version) {
    world.crash(id);
    world.prepare(id, |member| (member.server, member.oldest) = (server, OLDEST));
    world.start(id, Ending::Open);
    until(world, "it serves", |world| world.member(id).is_serving());
}

fn await_version(world: &mut World, version: &str) {
    let deadline = world.now + PATIENCE;
    loop {
        let versions = [1, 2, 3].map(|id| status(world, id).storage_version);
        if versions.iter().all(|found| found == version) {
            return;
        }
        // Clients that are close take no time: something else must happen.
        world.step().unwrap();
        assert!(world.now < deadline, "the versions are {versions:?}, not {version}");
    }
}

#[test]
fn the_version_rises_with_the_last_member_and_falls_when_all_can_follow() {
    let mut world = world(5, CheckPolicy::OFF);
    for id in 1..=3 {
        let server = if id == 3 { OLD } else { NEW };
        world.prepare(id, |member| (member.server, member.oldest) = (server, OLDEST));
    }
    start(&mut world);
    await_version(&mut world, "3.7.0");
    be(&mut world, 3, NEW);
    await_version(&mut world, "3.8.0");
    // It is kept through the end of all processes.
    world.ids().into_iter().for_each(|id| world.crash(id));
    start(&mut world);
    await_version(&mut world, "3.8.0");
    let enable = pb::DowngradeRequest {
        action: pb::downgrade_request::DowngradeAction::Enable as i32,
        version: "3.7.0".to_owned(),
    };
    ask::<_, pb::DowngradeResponse>(&mut world, 1, Method::Downgrade, &enable).unwrap();
    await_version(&mut world, "3.7.0");
    assert!(status(&mut world, 2).downgrade_info.unwrap().enabled);
    (1..=3).for_each(|id| be(&mut world, id, OLD));
    let deadline = world.now + PATIENCE;
    while status(&mut world, 2).downgrade_info.unwrap().enabled {
        world.step().unwrap();
        assert!(world.now < deadline, "the downgrade does not end");
    }
    await_version(&mut world, "3.7.0");
}

#[test]
fn a_server_older_than_its_cluster_does_not_serve() {
    let mut world = world(6, CheckPolicy::OFF);
    for id in 1..=3 {
        world.prepare(id, |member| (member.server, member.oldest) = (NEW, OLDEST));
    }
    start(&mut world);
    await_version(&mut world, "3.8.0");
    world.crash(2);
    world.prepare(2, |member| member.server = OLD);
    world.start(2, Ending::Open);
    let wrong = await_wrong(&mut world);
    assert!(wrong.contains("member 2 is too old"), "{wrong}");
}
