//! Laws of leases, alarms, members and restore.

use super::*;
use crate::members::{Member, MemberRole};
use crate::meta::BadMeta;

fn leased(key: &str, lease: i64) -> PutRequest {
    PutRequest { lease, ..put(key, "v") }
}

#[test]
fn a_lease_is_granted_once_and_within_bounds() {
    let mut world = World::new();
    let outcome = world.grant(-7, 60).outcome;
    assert_eq!(outcome, Outcome::LeaseGrant { id: -7, ttl_s: 60 });
    assert_eq!(error(world.grant(-7, 60)), ApiError::LeaseExists);
    assert_eq!(error(world.grant(-7, LEASE_TTL_S_MAX + 1)), ApiError::LeaseTtlTooLarge);
    assert_eq!(world.grant(8, LEASE_TTL_S_MAX).revision, 1);
    assert_eq!(error(world.grant(0, 60)), ApiError::LeaseNotFound);
    assert_eq!(error(world.revoke(0)), ApiError::LeaseNotFound);
    assert_eq!(error(world.revoke(9)), ApiError::LeaseNotFound);
}

#[test]
fn a_revoked_lease_takes_its_keys_in_one_revision() {
    let mut world = World::new();
    world.grant(7, 60);
    for key in ["c", "a", "b"] {
        world.put(leased(key, 7));
    }
    world.put(put("d", "stays"));
    assert_eq!(world.sequencer.lease_keys(7), ["a", "b", "c"].map(Bytes::from));
    let applied = world.revoke(7);
    let keys: Vec<_> = applied.changes.iter().map(|c| (c.key.clone(), c.rev)).collect();
    let expected = [("a", 0), ("b", 1), ("c", 2)];
    assert_eq!(keys, expected.map(|(key, sub)| (Bytes::from(key), Rev::new(6, sub))));
    assert_eq!(world.sequencer.head().len(), 1);
    assert!(world.sequencer.leases().is_empty() && world.meta.is_empty());
}

#[test]
fn a_lease_without_keys_ends_without_a_revision() {
    let mut world = World::new();
    world.grant(7, 60);
    assert_eq!(world.revoke(7).revision, 1);
    assert_eq!(world.put(leased("a", 7)).revision, 1, "and holds no key any more");
}

#[test]
fn a_key_follows_its_latest_put_to_a_lease_or_away() {
    let mut world = World::new();
    world.grant(7, 60);
    world.grant(8, 60);
    let keys = |world: &World| [7, 8].map(|id| world.sequencer.lease_keys(id).len());
    world.put(leased("a", 7));
    assert_eq!(keys(&world), [1, 0]);
    world.put(leased("a", 8));
    assert_eq!(keys(&world), [0, 1]);
    world.put(PutRequest { ignore_lease: true, ..put("a", "v") });
    assert_eq!(keys(&world), [0, 1]);
    world.put(put("a", "v"));
    assert_eq!(keys(&world), [0, 0]);
    world.put(leased("a", 7));
    world.delete(delete("a", ""));
    assert_eq!(keys(&world), [0, 0]);
    assert_eq!(world.revoke(7).changes, []);
}

#[test]
fn each_expired_lease_takes_its_keys_in_a_revision_of_its_own() {
    let mut world = World::new();
    for id in [1, 2, 3, 4] {
        world.grant(id, 60);
    }
    world.put(leased("x", 3));
    world.put(leased("y", 1));
    world.put(leased("z", 3));
    world.revoke(4);
    let applied = world.apply(Command::leases_expired(origin(), &[3, 2, 4, 1, 3]));
    assert_eq!(applied.outcome, Outcome::LeasesExpired { revoked: vec![3, 2, 1] });
    let changes: Vec<_> = applied.changes.iter().map(|c| (c.key.clone(), c.rev)).collect();
    let expected = [("x", 5, 0), ("z", 5, 1), ("y", 6, 0)];
    assert_eq!(changes, expected.map(|(key, main, sub)| (Bytes::from(key), Rev::new(main, sub))));
    assert_eq!(applied.revision, 6);
}

#[test]
fn remaining_seconds_are_noted_and_survive_a_restore() {
    let mut world = World::new();
    world.grant(7, 600);
    let noted = [(7, 300), (8, 300)].map(|(id, remaining_s)| LeaseCheckpoint { id, remaining_s });
    assert_eq!(world.apply(Command::lease_checkpoint(origin(), &noted)).meta.len(), 1);
    let granted = Some(Granted { ttl_s: 600, remaining_s: 300 });
    assert_eq!(world.restored().leases().get(7), granted);
}

#[test]
fn an_alarm_is_on_once_and_listed() {
    use AlarmAction::{Activate, Deactivate, Get};
    let mut world = World::new();
    let alarm = |member_id, alarm: AlarmType| AlarmMember { member_id, alarm: alarm as i32 };
    let listed = |applied: Applied| match applied.outcome {
        Outcome::Alarm(listed) => listed,
        other => panic!("{other:?}"),
    };
    let nospace = vec![alarm(2, AlarmType::Nospace)];
    assert_eq!(listed(world.alarm(Activate, 2, AlarmType::Nospace)), nospace);
    assert_eq!(listed(world.alarm(Activate, 2, AlarmType::Nospace)), nospace);
    assert_eq!(listed(world.alarm(Activate, 0, AlarmType::None)), []);
    world.alarm(Activate, 1, AlarmType::Corrupt);
    let all = [alarm(1, AlarmType::Corrupt), alarm(2, AlarmType::Nospace)];
    assert_eq!(listed(world.alarm(Get, 77, AlarmType::None)), all);
    assert_eq!(listed(world.alarm(Get, 77, AlarmType::Nospace)), nospace);
    assert_eq!(listed(world.alarm(Deactivate, 1, AlarmType::Nospace)), []);
    assert_eq!(listed(world.alarm(Deactivate, 2, AlarmType::Nospace)), nospace);
    assert_eq!(world.meta.len(), 1);
    assert_eq!(world.sequencer.revision(), 1);
}

#[test]
fn no_space_stops_what_grows_and_nothing_else() {
    let mut world = World::new();
    world.grant(7, 60);
    world.put(leased("a", 7));
    world.alarm(AlarmAction::Activate, 1, AlarmType::Nospace);
    let error_of = |applied| error(applied);
    assert_eq!(error_of(world.put(put("b", ""))), ApiError::NoSpace);
    assert_eq!(error_of(world.grant(8, 60)), ApiError::NoSpace);
    // The dearer branch counts, whichever would run.
    let unlikely = TxnRequest { failure: vec![put_op(put("b", ""))], ..all_of(vec![]) };
    assert_eq!(error_of(world.txn(unlikely)), ApiError::NoSpace);
    assert!(world.plan(all_of(vec![delete_op(delete("zz", ""))])).succeeded);
    assert_eq!(world.compact(1).compacted, Some(1));
    assert_eq!(world.revoke(7).revision, 3);
    world.alarm(AlarmAction::Deactivate, 1, AlarmType::Nospace);
    assert_eq!(world.put(put("b", "")).revision, 4);
}

#[test]
fn a_corrupt_cluster_writes_nothing() {
    let mut world = World::new();
    world.grant(7, 60);
    world.put(leased("a", 7));
    world.alarm(AlarmAction::Activate, 1, AlarmType::Nospace);
    world.alarm(AlarmAction::Activate, 1, AlarmType::Corrupt);
    let refused = [
        world.put(put("b", "")),
        world.delete(delete("a", "")),
        world.txn(all_of(vec![delete_op(delete("a", ""))])),
        world.compact(1),
        world.grant(8, 60),
        world.revoke(7),
        world.apply(Command::leases_expired(origin(), &[7])),
    ];
    for applied in refused {
        assert_eq!(error(applied), ApiError::Corrupt);
    }
    world.alarm(AlarmAction::Deactivate, 1, AlarmType::Corrupt);
    assert_eq!(world.revoke(7).revision, 3);
}

#[test]
fn a_lease_that_ends_in_a_corrupt_cluster_ends_when_the_alarm_does() {
    use std::time::Duration;
    let mut world = World::new();
    world.sequencer.leases_mut().promote(base::Instant(0), Duration::ZERO);
    world.grant(7, 1);
    world.sequencer.leases_mut().start(base::Instant(0));
    world.alarm(AlarmAction::Activate, 1, AlarmType::Corrupt);
    let later = base::Instant(2_000_000_000);
    assert_eq!(world.sequencer.leases_mut().poll_expired(later), [7]);
    world.apply(Command::leases_expired(origin(), &[7]));
    assert_eq!(world.sequencer.leases_mut().poll_expired(later), []);
    world.alarm(AlarmAction::Deactivate, 1, AlarmType::Corrupt);
    assert_eq!(world.sequencer.leases_mut().poll_expired(later), [7]);
    world.apply(Command::leases_expired(origin(), &[7]));
    assert!(world.sequencer.leases().is_empty());
}

#[test]
fn members_and_version_survive_a_restore() {
    let mut world = World::new();
    let member = |id: u64| Member {
        id,
        name: String::new(),
        peer_urls: vec![format!("http://m{id}:2380")],
        client_urls: vec![],
        role: MemberRole::Voter,
    };
    let changes =
        [MemberChange::Add(member(5)), MemberChange::Add(member(6)), MemberChange::Remove(6)];
    for change in changes {
        world.at.index += 1;
        let applied = world.sequencer.change_members(world.at, change);
        assert_eq!(applied.outcome, Outcome::MemberChange);
        world.keep(&applied, 1);
    }
    world.at.index += 1;
    let again = world.sequencer.change_members(world.at, MemberChange::Add(member(6)));
    assert_eq!(error(again), ApiError::MemberNotFound);
    let words = MemberAttributes { id: 5, name: "five".into(), client_urls: vec!["u".into()] };
    world.apply(Command::member_attributes(origin(), &words));
    let gone = MemberAttributes { id: 6, ..words };
    let applied = world.apply(Command::member_attributes(origin(), &gone));
    assert_eq!(error(applied), ApiError::MemberNotFound);
    world.apply(Command::cluster_version(origin(), "3.7.0"));
    let restored = world.restored();
    assert_eq!(restored.members(), world.sequencer.members());
    assert_eq!(restored.members().get(5).expect("added").name, "five");
    assert_eq!(restored.cluster_version(), Some("3.7.0"));
    assert_eq!(restored.state_hash(), world.sequencer.state_hash());
}

#[test]
fn a_checkpoint_that_cannot_be_true_is_refused() {
    let version = Version { create: 2, modified: Rev::new(2, 0), version: 1, lease: 0 };
    let manifest = |revision, compact_revision| RestoredAt {
        applied: LogPosition::default(),
        revision,
        compact_revision,
    };
    let restore = |key: &[u8], version, at| {
        let mut sequencer = Sequencer::new(options(1));
        sequencer.restore_key(key, version)?;
        sequencer.finish_restore(at)
    };
    assert_eq!(restore(b"a", version, manifest(2, -1)), Ok(()));
    assert_eq!(restore(b"", version, manifest(2, -1)), Err(RestoreError::Key));
    let found = version;
    assert_eq!(restore(b"a", version, manifest(1, -1)), Err(RestoreError::Version { found }));
    assert_eq!(restore(b"a", version, manifest(2, 3)), Err(RestoreError::Revisions));
    let leased = Version { lease: 7, ..version };
    let missing = Err(RestoreError::LeaseMissing { id: 7 });
    assert_eq!(restore(b"a", leased, manifest(2, -1)), missing);
    let found = Version { create: 3, ..version };
    assert_eq!(restore(b"a", found, manifest(3, -1)), Err(RestoreError::Version { found }));
    let mut sequencer = Sequencer::new(options(1));
    assert_eq!(sequencer.restore_key(b"a", version), Ok(()));
    assert_eq!(sequencer.restore_key(b"a", version), Err(RestoreError::Key));
    let bad = Err(RestoreError::Meta(BadMeta::Key));
    assert_eq!(sequencer.restore_meta(b"?", &[1]), bad);
}
