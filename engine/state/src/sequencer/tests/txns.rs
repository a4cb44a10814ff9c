//! Laws of transactions.

use super::*;

#[test]
fn an_empty_txn_succeeds_and_changes_nothing() {
    let mut world = World::new();
    let plan = world.plan(TxnRequest::default());
    assert_eq!(plan, TxnPlan { revision: 1, succeeded: true, ops: vec![] });
    assert_eq!(world.sequencer.revision(), 1);
}

#[test]
fn a_txn_is_one_revision_in_order_of_execution() {
    let mut world = World::new();
    let ops = vec![
        put_op(put("b", "1")),
        txn_op(all_of(vec![put_op(put("a", "2"))])),
        put_op(put("c", "3")),
    ];
    let applied = world.txn(all_of(ops));
    let order: Vec<_> = applied.changes.iter().map(|change| change.key.clone()).collect();
    assert_eq!(order, ["b", "a", "c"].map(Bytes::from));
    assert_eq!(applied.revision, 2);
    assert_eq!(world.txn(all_of(vec![delete_op(delete("x", ""))])).revision, 2);
}

#[test]
fn each_operation_sees_the_ones_before_it() {
    let mut world = World::new();
    world.put(put("k", "old"));
    let asking = PutRequest { prev_kv: true, ..put("k", "new") };
    let ops = vec![
        range_op("k", 0),
        delete_op(delete("x", "")),
        put_op(asking),
        range_op("k", 0),
        range_op("k", 2),
        txn_op(all_of(vec![delete_op(delete("k", "")), range_op("k", 0)])),
    ];
    let ops = world.plan(all_of(ops)).ops;
    let at = |op: &OpPlan| match op {
        OpPlan::Range(range) => (range.at, range.revision),
        OpPlan::Put(put) => (put.prev.clone().expect("there was one").at, put.revision),
        OpPlan::DeleteRange(delete) => (Rev::ZERO, delete.revision),
        OpPlan::Txn(txn) => (Rev::ZERO, txn.revision),
    };
    let (first, last) = (Rev::end_of(2), Rev::new(3, 0));
    let expected = [(first, 2), (Rev::ZERO, 2), (first, 3), (last, 3), (first, 3), (Rev::ZERO, 3)];
    assert_eq!(ops.iter().map(at).collect::<Vec<_>>(), expected);
    assert_eq!(world.read("k", first), Some("old".into()));
    assert_eq!(world.read("k", last), Some("new".into()));
    let OpPlan::Txn(nested) = &ops[5] else { panic!("{ops:?}") };
    assert_eq!(at(&nested.ops[1]), (Rev::new(3, 1), 3));
    assert_eq!(world.read("k", Rev::new(3, 1)), None);
}

#[test]
fn prev_pairs_of_a_delete_are_those_just_before_it() {
    let mut world = World::new();
    world.put(put("a", "old"));
    let deleting = DeleteRangeRequest { prev_kv: true, ..delete("a", "c") };
    let elder = txn_op(all_of(vec![put_op(put("a", "new")), put_op(put("b", "b"))]));
    let ops = world.plan(all_of(vec![elder, txn_op(all_of(vec![delete_op(deleting)]))])).ops;
    let OpPlan::Txn(younger) = &ops[1] else { panic!("{ops:?}") };
    let span = Span::Between { start: "a".into(), end: "c".into() };
    let prev = Some(RangeRead { span, at: Rev::new(3, 1) });
    let plan = DeletePlan { revision: 3, deleted: 2, prev };
    assert_eq!(younger.ops, [OpPlan::DeleteRange(plan)]);
    assert_eq!(world.read("a", Rev::new(3, 1)), Some("new".into()));
}

#[test]
fn an_error_undoes_the_whole_txn() {
    let mut world = World::new();
    world.put(put("a", "1"));
    world.put(put("a", "2"));
    world.compact(3);
    let cases = [
        (range_op("a", 4), ApiError::FutureRevision),
        (range_op("a", 2), ApiError::Compacted),
        (range_op("a", -9), ApiError::Compacted),
        (put_op(PutRequest { lease: 8, ..put("z", "") }), ApiError::LeaseNotFound),
        (put_op(PutRequest { ignore_value: true, ..put("z", "") }), ApiError::KeyNotFound),
        (put_op(PutRequest { ignore_lease: true, ..put("z", "") }), ApiError::KeyNotFound),
        (RequestOp { request: None }, ApiError::KeyNotFound),
    ];
    for (bad, expected) in cases {
        let flat = all_of(vec![put_op(put("b", "")), bad.clone()]);
        assert_eq!(error(world.txn(flat)), expected);
        let deep = all_of(vec![put_op(put("b", "")), txn_op(all_of(vec![bad]))]);
        assert_eq!(error(world.txn(deep)), expected);
    }
    assert_eq!((world.sequencer.revision(), world.version("b")), (3, None));
    // Only what would run is checked.
    let bad = vec![range_op("a", 4)];
    assert!(world.plan(TxnRequest { failure: bad, ..all_of(vec![]) }).succeeded);
}

#[test]
fn wrong_puts_are_found_before_wrong_ranges() {
    let mut world = World::new();
    let keep = PutRequest { ignore_value: true, ..put("z", "") };
    let ops = vec![range_op("a", 9), put_op(keep)];
    assert_eq!(error(world.txn(all_of(ops))), ApiError::KeyNotFound);
    // Alone, a put's lease is looked at first; in a txn, what it keeps.
    let both = PutRequest { ignore_value: true, lease: 9, ..put("z", "") };
    assert_eq!(error(world.put(both.clone())), ApiError::LeaseNotFound);
    assert_eq!(error(world.txn(all_of(vec![put_op(both)]))), ApiError::KeyNotFound);
}

#[test]
fn nothing_is_kept_of_a_key_that_the_same_txn_deleted() {
    let mut world = World::new();
    world.put(put("m", "1"));
    let keep = put_op(PutRequest { ignore_lease: true, ..put("m", "2") });
    let ops = vec![delete_op(delete("k", "\0")), txn_op(all_of(vec![keep.clone()]))];
    assert_eq!(error(world.txn(all_of(ops))), ApiError::KeyNotFound);
    let ops = vec![keep, delete_op(delete("k", "\0"))];
    assert_eq!(world.txn(all_of(ops)).changes.len(), 2);
    let ops = vec![delete_op(delete("a", "\0")), put_op(put("m", "3"))];
    world.txn(all_of(ops));
    assert_eq!(world.version("m").expect("put").version, 1);
}

#[test]
fn a_missing_key_compares_as_zeros_but_has_no_value() {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    use CompareTarget::{Create, Lease, Mod, Version};
    let mut world = World::new();
    let zero = [
        (Version, TargetUnion::Version(0)),
        (Create, TargetUnion::CreateRevision(0)),
        (Mod, TargetUnion::ModRevision(0)),
        (Lease, TargetUnion::Lease(0)),
    ];
    for (target, with) in zero {
        let holds = |world: &mut World, result| {
            let compare = compare(target, result, "a", with.clone());
            world.plan(when(vec![compare], vec![], vec![])).succeeded
        };
        assert!(holds(&mut world, Equal));
        assert!(!holds(&mut world, NotEqual));
        assert!(!holds(&mut world, Greater));
        assert!(!holds(&mut world, Less));
    }
    for result in [Equal, NotEqual, Greater, Less] {
        let compare = value_is(result, "a", "");
        assert!(!world.plan(when(vec![compare], vec![], vec![])).succeeded);
    }
}

#[test]
fn a_compare_of_a_range_must_hold_for_every_key() {
    let mut world = World::new();
    let over = |end: &str, compare: Compare| {
        let range_end = Bytes::copy_from_slice(end.as_bytes());
        when(vec![Compare { range_end, ..compare }], vec![], vec![])
    };
    let exists =
        || compare(CompareTarget::Version, CompareResult::Greater, "a", TargetUnion::Version(0));
    assert!(!world.plan(over("z", exists())).succeeded);
    world.put(put("a", "x"));
    world.put(put("b", "y"));
    assert!(world.plan(over("z", exists())).succeeded);
    let older =
        compare(CompareTarget::Create, CompareResult::Less, "a", TargetUnion::CreateRevision(3));
    assert!(!world.plan(over("\0", older.clone())).succeeded);
    assert!(world.plan(over("b", older)).succeeded);
    assert!(!world.plan(over("a", exists())).succeeded, "an empty range is a missing key");
    let below = |value| value_is(CompareResult::Less, "a", value);
    assert!(world.plan(over("z", below("z"))).succeeded);
    assert!(!world.plan(over("z", below("y"))).succeeded);
}

#[test]
fn what_does_not_fit_a_compare_counts_as_zero_or_holds() {
    let mut world = World::new();
    world.put(put("a", "x"));
    let mut holds = |compare: Compare| world.plan(when(vec![compare], vec![], vec![])).succeeded;
    let misfit = TargetUnion::Lease(1);
    let version = compare(CompareTarget::Version, CompareResult::Greater, "a", misfit.clone());
    assert!(holds(version.clone()));
    let value = compare(CompareTarget::Value, CompareResult::Greater, "a", misfit);
    assert!(holds(value.clone()), "compared with no bytes");
    assert!(holds(Compare { result: 9, ..version.clone() }));
    assert!(holds(Compare { result: 9, ..value }));
    assert!(!holds(Compare { target: 9, ..version.clone() }), "an unknown target is equal");
    assert!(holds(Compare { target: 9, result: CompareResult::Equal as i32, ..version }));
}

#[test]
fn nested_compares_see_the_state_before_the_whole_txn() {
    let mut world = World::new();
    world.put(put("a", "old"));
    let inner = when(
        vec![value_is(CompareResult::Equal, "a", "old")],
        vec![put_op(put("b", "saw old"))],
        vec![put_op(put("b", "saw new"))],
    );
    let plan = world.plan(all_of(vec![put_op(put("a", "new")), txn_op(inner)]));
    assert!(matches!(&plan.ops[1], OpPlan::Txn(nested) if nested.succeeded));
    assert_eq!(world.read("b", Rev::end_of(3)), Some("saw old".into()));
}

#[test]
fn values_are_asked_for_once_and_only_where_they_decide() {
    let mut world = World::new();
    world.put(put("a", "1"));
    world.put(put("b", "1"));
    let keep = |key: &str| put_op(PutRequest { ignore_value: true, ..put(key, "") });
    let is = |key: &str| value_is(CompareResult::Equal, key, "1");
    let needs = |world: &World, txn: TxnRequest| {
        let values = Values::none();
        let mut needs = Needs::new();
        let path = txn::decide(&world.sequencer.store, &txn, &values, &mut needs);
        assert_eq!(path.is_none(), !needs.is_empty());
        needs.len()
    };
    // Both branches may run: their needs come with the first question.
    let inner = when(vec![is("b")], vec![keep("a")], vec![]);
    let open = when(vec![is("a"), is("a")], vec![txn_op(inner.clone())], vec![keep("b")]);
    assert_eq!(needs(&world, open.clone()), 4);
    assert!(world.plan(open).succeeded);
    // A compare that fails from the index alone decides.
    let missing =
        compare(CompareTarget::Version, CompareResult::Greater, "zz", TargetUnion::Version(0));
    let closed = when(vec![is("a"), missing], vec![keep("a")], vec![put_op(put("c", ""))]);
    assert_eq!(needs(&world, closed.clone()), 0);
    assert!(!world.plan(closed).succeeded);
    // A key that is not there has nothing to fetch.
    assert_eq!(needs(&world, all_of(vec![keep("zz")])), 0);
}

#[test]
fn a_txn_that_only_reads_is_planned_without_the_log() {
    let mut world = World::new();
    world.put(put("a", "1"));
    world.put(put("a", "2"));
    let compares = vec![value_is(CompareResult::Equal, "a", "2")];
    let request = when(compares, vec![range_op("a", 0), range_op("a", 2)], vec![]);
    let Ok(TxnStep::NeedValues(needs)) = world.sequencer.plan_txn(&request, &Values::none()) else {
        panic!("a value decides")
    };
    let span = Span::Key("a".into());
    let ask = ValueAsk::Every { test: ValueTest::Equal, than: "2".into() };
    assert_eq!(needs, [ValueNeed { span, at: Rev::end_of(3), ask }]);
    let values = world.answers(needs);
    let Ok(TxnStep::Done(plan)) = world.sequencer.plan_txn(&request, &values) else {
        panic!("answered")
    };
    let at = |op: &OpPlan| matches!(op, OpPlan::Range(range) if range.revision == 3);
    assert!(plan.succeeded && plan.ops.iter().all(at));
    let ahead = all_of(vec![range_op("a", 4)]);
    let refused = world.sequencer.plan_txn(&ahead, &Values::none());
    assert_eq!(refused, Err(ApiError::FutureRevision));
}
