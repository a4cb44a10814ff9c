//! Random commands: a log has one meaning, and a checkpoint anywhere in it does not change it.

use base::Prng;

use super::*;
use crate::members::{Member, MemberRole};
use crate::validate;

fn key(dice: &mut Prng) -> String {
    format!("k{:02}", dice.below(40))
}

fn end(dice: &mut Prng) -> String {
    match dice.below(5) {
        0 => "\0".to_owned(),
        1 | 2 => String::new(),
        _ => key(dice),
    }
}

fn random_put(dice: &mut Prng) -> PutRequest {
    let keeps_value = dice.chance(150);
    let keeps_lease = dice.chance(150);
    let value = if keeps_value { String::new() } else { format!("v{}", dice.below(5)) };
    PutRequest {
        lease: if keeps_lease || dice.chance(500) { 0 } else { dice.below(12).cast_signed() },
        prev_kv: dice.chance(300),
        ignore_value: keeps_value,
        ignore_lease: keeps_lease,
        ..put(&key(dice), &value)
    }
}

fn random_delete(dice: &mut Prng) -> DeleteRangeRequest {
    let (key, end) = (key(dice), end(dice));
    let narrow = if end == "\0" && dice.chance(900) { "" } else { &end };
    DeleteRangeRequest { prev_kv: dice.chance(300), ..delete(&key, narrow) }
}

fn random_compare(dice: &mut Prng) -> Compare {
    let number = dice.below(20).cast_signed();
    let value = Bytes::from(format!("v{}", dice.below(5)));
    let with = match dice.below(6) {
        0 => TargetUnion::Version(number),
        1 => TargetUnion::CreateRevision(number),
        2 => TargetUnion::ModRevision(number),
        3 => TargetUnion::Lease(number),
        _ => TargetUnion::Value(value),
    };
    Compare {
        result: dice.below(5) as i32,
        target: dice.below(6) as i32,
        key: key(dice).into(),
        target_union: Some(with),
        range_end: end(dice).into(),
    }
}

fn random_txn(dice: &mut Prng, depth: u64) -> TxnRequest {
    let ops = |dice: &mut Prng| -> Vec<RequestOp> {
        (0..dice.below(4))
            .map(|_| match dice.below(3 + depth) {
                0 => put_op(random_put(dice)),
                1 => delete_op(random_delete(dice)),
                2 => range_op(&key(dice), dice.below(30).cast_signed() - 2),
                _ => txn_op(random_txn(dice, depth - 1)),
            })
            .collect()
    };
    let (success, failure) = (ops(dice), ops(dice));
    let compare = (0..dice.below(3)).map(|_| random_compare(dice)).collect();
    TxnRequest { compare, success, failure }
}

fn random_command(dice: &mut Prng, world: &World) -> Command {
    let lease = dice.below(12).cast_signed();
    let now = world.sequencer.revision();
    let of = |kind, body: Vec<u8>| Command { kind, origin: origin(), body: body.into() };
    match dice.below(100) {
        0..35 => of(Kind::Put, random_put(dice).encode_to_vec()),
        35..45 => of(Kind::DeleteRange, random_delete(dice).encode_to_vec()),
        45..75 => loop {
            let txn = random_txn(dice, 2);
            if validate::txn(&txn, 128).is_ok() {
                break of(Kind::Txn, txn.encode_to_vec());
            }
        },
        75..78 => {
            let revision = now - dice.below(40).cast_signed() + 2;
            let compact = CompactionRequest { revision, physical: dice.chance(500) };
            of(Kind::Compact, compact.encode_to_vec())
        }
        78..86 => of(Kind::LeaseGrant, LeaseGrantRequest { id: lease, ttl: 60 }.encode_to_vec()),
        86..90 => of(Kind::LeaseRevoke, LeaseRevokeRequest { id: lease }.encode_to_vec()),
        90..92 => Command::leases_expired(origin(), &[lease, lease + 3, 1]),
        92..97 => {
            let (action, alarm) = (1 + dice.below(2) as i32, dice.below(20).min(3) as i32);
            let action = if dice.chance(400) { action } else { 2 };
            let request = AlarmRequest { action, member_id: dice.below(2), alarm };
            of(Kind::Alarm, request.encode_to_vec())
        }
        97 => Command::lease_checkpoint(origin(), &[LeaseCheckpoint { id: lease, remaining_s: 9 }]),
        98 => Command::cluster_version(origin(), &format!("3.{}.0", dice.below(9))),
        _ => {
            let words = MemberAttributes { id: 1, name: key(dice), client_urls: vec![] };
            Command::member_attributes(origin(), &words)
        }
    }
}

fn first_member(world: &mut World) {
    let member = Member {
        id: 1,
        name: String::new(),
        peer_urls: vec!["http://a:1".to_owned()],
        client_urls: vec![],
        role: MemberRole::Voter,
    };
    let applied = world.sequencer.change_members(world.at, MemberChange::Add(member));
    world.keep(&applied, 1);
}

/// Runs `count` random commands; the world checks every promise about each.
fn run(world: &mut World, dice: &mut Prng, count: usize) -> usize {
    let mut refused = 0;
    for _ in 0..count {
        let command = random_command(dice, world);
        refused += usize::from(matches!(world.apply(command).outcome, Outcome::Failed(_)));
    }
    refused
}

#[test]
fn a_log_has_one_meaning() {
    let seed = 815;
    println!("seed {seed}");
    let mut world = World::new();
    first_member(&mut world);
    let refused = run(&mut world, &mut Prng::from_seed(seed), 6000);
    assert!((600..4500).contains(&refused), "{refused}");
    let mut again = World::new();
    again.sequencer = Sequencer::new(options(4242));
    first_member(&mut again);
    for command in world.log {
        again.apply(command);
    }
    assert_eq!(again.sequencer.state_hash(), world.sequencer.state_hash());
    assert_eq!(again.history, world.history);
}

#[test]
fn a_checkpoint_anywhere_changes_nothing() {
    let seed = 1848;
    println!("seed {seed}");
    let mut dice = Prng::from_seed(seed);
    let mut world = World::new();
    first_member(&mut world);
    for _ in 0..40 {
        run(&mut world, &mut dice, 50);
        let hash = world.sequencer.state_hash();
        let mut copy = World::new();
        copy.sequencer = world.restored();
        (copy.at, copy.pairs, copy.meta) = (world.at, world.pairs.clone(), world.meta.clone());
        assert_eq!(copy.sequencer.state_hash(), hash);
        assert_eq!(copy.sequencer.all_meta().len(), copy.meta.len());
        // What comes after is decided alike, down to every change and plan.
        let mut same = Prng::from_seed(dice.next_u64());
        for _ in 0..100 {
            let command = random_command(&mut same, &world);
            assert_eq!(copy.apply(command.clone()), world.apply(command));
        }
        assert_eq!(copy.sequencer.state_hash(), world.sequencer.state_hash());
    }
}

#[test]
fn the_hash_sees_every_part_of_the_state() {
    let mut hashes = std::collections::BTreeSet::new();
    let mut world = World::new();
    let mut note = |world: &World| assert!(hashes.insert(world.sequencer.state_hash()));
    note(&world);
    world.put(put("a", "1"));
    note(&world);
    world.put(put("a", "1"));
    note(&world);
    world.compact(2);
    note(&world);
    world.grant(7, 60);
    note(&world);
    world.put(PutRequest { lease: 7, ..put("a", "1") });
    note(&world);
    world.alarm(AlarmAction::Activate, 1, AlarmType::Nospace);
    note(&world);
    world.apply(Command::cluster_version(origin(), "3.7.0"));
    note(&world);
}
