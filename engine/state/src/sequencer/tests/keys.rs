//! Laws of revisions, puts, deletes and compaction.

use super::*;

#[test]
fn the_empty_store_is_at_revision_1_and_the_first_write_makes_2() {
    let mut world = World::new();
    assert_eq!(world.sequencer.revision(), 1);
    assert_eq!(world.put(put("a", "")).revision, 2);
    assert_eq!(world.put(put("a", "")).revision, 3);
}

#[test]
fn a_key_counts_its_puts_from_its_creation() {
    let mut world = World::new();
    world.put(put("a", "1"));
    world.put(put("a", "2"));
    let version = world.version("a").expect("put");
    assert_eq!((version.create, version.modified, version.version), (2, Rev::new(3, 0), 2));
    world.delete(delete("a", ""));
    assert_eq!(world.version("a"), None);
    world.put(put("a", "3"));
    let version = world.version("a").expect("put");
    assert_eq!((version.create, version.modified, version.version), (5, Rev::new(5, 0), 1));
}

#[test]
fn a_delete_of_nothing_makes_no_revision() {
    let mut world = World::new();
    let applied = world.delete(DeleteRangeRequest { prev_kv: true, ..delete("a", "z") });
    let plan = DeletePlan { revision: 1, deleted: 0, prev: None };
    assert_eq!(applied.outcome, Outcome::DeleteRange(plan));
    assert_eq!(applied.revision, 1);
}

#[test]
fn a_range_delete_is_one_revision_in_key_order() {
    let mut world = World::new();
    for key in ["b", "d", "a", "c"] {
        world.put(put(key, key));
    }
    let applied = world.delete(DeleteRangeRequest { prev_kv: true, ..delete("b", "\0") });
    let keys: Vec<_> = applied.changes.iter().map(|c| (c.key.clone(), c.rev)).collect();
    let expected = [("b", 0), ("c", 1), ("d", 2)];
    assert_eq!(keys, expected.map(|(key, sub)| (Bytes::from(key), Rev::new(6, sub))));
    let prev = Some(RangeRead { span: Span::From("b".into()), at: Rev::end_of(5) });
    let plan = DeletePlan { revision: 6, deleted: 3, prev };
    assert_eq!(applied.outcome, Outcome::DeleteRange(plan));
    assert_eq!(world.delete(delete("b", "a")).revision, 6);
}

#[test]
fn prev_kv_reads_the_point_just_before_and_only_if_there_was_a_pair() {
    let mut world = World::new();
    let asking = PutRequest { prev_kv: true, ..put("a", "2") };
    let applied = world.put(asking.clone());
    assert_eq!(applied.outcome, Outcome::Put(PutPlan { revision: 2, prev: None }));
    let applied = world.put(asking);
    let prev = Some(KeyRead { key: "a".into(), at: Rev::end_of(2) });
    assert_eq!(applied.outcome, Outcome::Put(PutPlan { revision: 3, prev }));
}

#[test]
fn an_ignored_value_is_kept_and_asked_for_first() {
    let mut world = World::new();
    world.put(put("a", "old"));
    let keep = PutRequest { ignore_value: true, ..put("a", "") };
    let body = Bytes::from(keep.encode_to_vec());
    let command = Command { kind: Kind::Put, origin: origin(), body };
    let at = LogPosition { term: 1, index: 2 };
    let span = Span::Key("a".into());
    let need = ValueNeed { span, at: Rev::end_of(2), ask: ValueAsk::Value };
    assert_eq!(world.sequencer.apply(at, &command), Step::NeedValues(vec![need]));
    assert_eq!(world.sequencer.revision(), 2);
    world.put(keep);
    assert_eq!(world.pairs["a".as_bytes()].1, "old");
    assert_eq!(world.version("a").expect("put").version, 2);
}

#[test]
fn keeping_what_is_not_there_fails_and_an_unknown_lease_fails_first() {
    let mut world = World::new();
    let keep_value = PutRequest { ignore_value: true, ..put("a", "") };
    assert_eq!(error(world.put(keep_value.clone())), ApiError::KeyNotFound);
    let keep_lease = PutRequest { ignore_lease: true, ..put("a", "v") };
    assert_eq!(error(world.put(keep_lease)), ApiError::KeyNotFound);
    let both = PutRequest { lease: -3, ..keep_value };
    assert_eq!(error(world.put(both)), ApiError::LeaseNotFound);
    assert_eq!(world.sequencer.revision(), 1);
}

#[test]
fn compaction_moves_forward_and_not_past_the_present() {
    let mut world = World::new();
    assert_eq!(error(world.compact(-1)), ApiError::Compacted);
    assert_eq!(error(world.compact(2)), ApiError::FutureRevision);
    let applied = world.compact(0);
    assert_eq!((applied.compacted, applied.revision), (Some(0), 1));
    assert_eq!(error(world.compact(0)), ApiError::Compacted);
    assert_eq!(world.compact(1).compacted, Some(1));
    world.put(put("a", "1"));
    world.put(put("a", "2"));
    assert_eq!(world.compact(3).outcome, Outcome::Compact { physical: false });
    assert_eq!(error(world.compact(2)), ApiError::Compacted);
    assert!(world.version("a").is_some());
    assert_eq!(world.sequencer.compact_revision(), 3);
}

#[test]
fn a_read_may_name_the_compact_revision_but_none_below_or_ahead() {
    let mut world = World::new();
    (0..5).for_each(|_| drop(world.put(put("a", ""))));
    world.compact(4);
    assert_eq!(world.sequencer.read_revision(0), Ok(6));
    assert_eq!(world.sequencer.read_revision(-9), Ok(6));
    assert_eq!(world.sequencer.read_revision(6), Ok(6));
    assert_eq!(world.sequencer.read_revision(7), Err(ApiError::FutureRevision));
    assert_eq!(world.sequencer.read_revision(4), Ok(4));
    assert_eq!(world.sequencer.read_revision(3), Err(ApiError::Compacted));
}

#[test]
fn a_body_that_cannot_be_read_is_refused_and_changes_nothing() {
    let mut world = World::new();
    for kind in [Kind::Put, Kind::Txn, Kind::LeasesExpired, Kind::MemberAttributes] {
        let body = Bytes::from_static(&[0xff]);
        let applied = world.apply(Command { kind, origin: origin(), body });
        assert!(matches!(error(applied), ApiError::Unknown(_)));
    }
    assert_eq!(error(world.put(put("", "v"))), ApiError::EmptyKey);
    assert_eq!(world.sequencer.revision(), 1);
}
