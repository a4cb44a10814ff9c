//! Laws of the checks before the log.

use bytes::Bytes;
use wire::etcdserverpb::Compare;

use super::*;
use crate::leases::CheckpointPolicy;

const OPS_MAX: u32 = 128;

fn put_op(key: &str) -> RequestOp {
    let put = PutRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..Default::default() };
    RequestOp { request: Some(Request::RequestPut(put)) }
}

fn delete_op(key: &str, end: &str) -> RequestOp {
    let [key, range_end] = [key, end].map(|text| Bytes::copy_from_slice(text.as_bytes()));
    let delete = DeleteRangeRequest { key, range_end, prev_kv: false };
    RequestOp { request: Some(Request::RequestDeleteRange(delete)) }
}

fn range_op(key: &str) -> RequestOp {
    let range = RangeRequest { key: key.to_owned().into(), ..Default::default() };
    RequestOp { request: Some(Request::RequestRange(range)) }
}

fn txn_of(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { compare: vec![], success, failure }
}

fn nested(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
    RequestOp { request: Some(Request::RequestTxn(txn_of(success, failure))) }
}

fn branch(ops: Vec<RequestOp>) -> Result<(), ApiError> {
    txn(&txn_of(ops.clone(), vec![]), OPS_MAX)?;
    txn(&txn_of(vec![], ops), OPS_MAX)
}

#[test]
fn a_request_names_a_key_and_does_not_contradict_itself() {
    let empty = PutRequest { ignore_value: true, value: "v".into(), ..Default::default() };
    assert_eq!(put(&empty), Err(ApiError::EmptyKey));
    let keyed = PutRequest { key: "k".into(), ignore_lease: true, lease: -1, ..empty };
    assert_eq!(put(&keyed), Err(ApiError::ValueProvided));
    let keyed = PutRequest { ignore_value: false, ..keyed };
    assert_eq!(put(&keyed), Err(ApiError::LeaseProvided));
    assert_eq!(put(&PutRequest { lease: 0, ..keyed }), Ok(()));
    assert_eq!(delete_range(&DeleteRangeRequest::default()), Err(ApiError::EmptyKey));
    assert_eq!(range(&RangeRequest::default()), Err(ApiError::EmptyKey));
}

#[test]
fn sort_options_must_exist() {
    let good =
        RangeRequest { key: "k".into(), sort_order: 2, sort_target: 4, ..Default::default() };
    assert_eq!(range(&good), Ok(()));
    let bad_order = RangeRequest { sort_order: 3, ..good.clone() };
    assert_eq!(range(&bad_order), Err(ApiError::InvalidSortOption));
    let bad_target = RangeRequest { sort_target: -1, ..good };
    assert_eq!(range(&bad_target), Err(ApiError::InvalidSortOption));
    let op = RequestOp { request: Some(Request::RequestRange(bad_target)) };
    assert_eq!(branch(vec![op]), Err(ApiError::InvalidSortOption));
}

#[test]
fn a_nested_txn_has_what_its_parent_leaves() {
    let puts = |count: usize| (0..count).map(|n| put_op(&format!("k{n}"))).collect::<Vec<_>>();
    assert_eq!(branch(puts(128)), Ok(()));
    assert_eq!(branch(puts(129)), Err(ApiError::TooManyOps));
    assert_eq!(branch(vec![nested(puts(127), vec![])]), Ok(()));
    assert_eq!(branch(vec![nested(puts(128), vec![])]), Err(ApiError::TooManyOps));
    let compare = Compare { key: "c".into(), ..Default::default() };
    let inner = txn_of(vec![nested(vec![], puts(28))], vec![]);
    let outer = TxnRequest { compare: vec![compare.clone(); 100], ..inner };
    assert_eq!(txn(&outer, OPS_MAX), Ok(()));
    let outer = TxnRequest { compare: vec![compare; 101], ..outer };
    assert_eq!(txn(&outer, OPS_MAX), Err(ApiError::TooManyOps));
}

#[test]
fn the_first_wrong_thing_gives_the_error() {
    let no_body = RequestOp { request: None };
    assert_eq!(branch(vec![no_body.clone()]), Err(ApiError::KeyNotFound));
    assert_eq!(branch(vec![no_body.clone(), put_op("")]), Err(ApiError::KeyNotFound));
    assert_eq!(branch(vec![put_op(""), no_body.clone()]), Err(ApiError::EmptyKey));
    assert_eq!(branch(vec![delete_op("", "")]), Err(ApiError::EmptyKey));
    assert_eq!(branch(vec![range_op("")]), Err(ApiError::EmptyKey));
    // Compares before operations, and the shape of both branches before what is changed twice.
    let no_key = vec![Compare::default()];
    let request = TxnRequest { compare: no_key, success: vec![no_body.clone()], failure: vec![] };
    assert_eq!(txn(&request, OPS_MAX), Err(ApiError::EmptyKey));
    let twice = vec![put_op("a"), put_op("a")];
    assert_eq!(txn(&txn_of(twice, vec![no_body]), OPS_MAX), Err(ApiError::KeyNotFound));
}

#[test]
fn a_branch_changes_a_key_once() {
    let error = Err(ApiError::DuplicateKey);
    assert_eq!(branch(vec![put_op("a"), put_op("b"), put_op("a")]), error);
    assert_eq!(branch(vec![put_op("a"), delete_op("a", "")]), error);
    assert_eq!(branch(vec![delete_op("a", "c"), put_op("b")]), error);
    assert_eq!(branch(vec![delete_op("a", "c"), put_op("c")]), Ok(()));
    assert_eq!(branch(vec![delete_op("a", "c"), delete_op("b", "d")]), Ok(()));
    assert_eq!(branch(vec![put_op("a"), nested(vec![], vec![put_op("a")])]), error);
    assert_eq!(branch(vec![put_op("b"), nested(vec![delete_op("a", "c")], vec![])]), error);
    assert_eq!(branch(vec![nested(vec![put_op("b")], vec![]), delete_op("a", "c")]), error);
    assert_eq!(branch(vec![range_op("a"), range_op("a"), put_op("a")]), Ok(()));
}

#[test]
fn branches_are_independent() {
    let both = txn_of(vec![put_op("a")], vec![put_op("a")]);
    assert_eq!(txn(&both, OPS_MAX), Ok(()));
    assert_eq!(branch(vec![nested(vec![put_op("a")], vec![put_op("a")])]), Ok(()));
    assert_eq!(branch(vec![nested(vec![put_op("a")], vec![delete_op("a", "")])]), Ok(()));
    let then_again = vec![nested(vec![put_op("a")], vec![delete_op("a", "")]), put_op("a")];
    assert_eq!(branch(then_again), Err(ApiError::DuplicateKey));
}

#[test]
fn oddities_of_etcd_that_clients_may_lean_on() {
    // A younger nested transaction may delete what an elder one puts, not the other way round.
    let (put_a, delete_a) =
        (nested(vec![put_op("a")], vec![]), nested(vec![delete_op("a", "")], vec![]));
    assert_eq!(branch(vec![put_a.clone(), delete_a.clone()]), Ok(()));
    assert_eq!(branch(vec![delete_a, put_a]), Err(ApiError::DuplicateKey));
    // A delete of everything from a key on meets no put, nor does one of an empty range.
    assert_eq!(branch(vec![delete_op("a", "\0"), put_op("b")]), Ok(()));
    assert_eq!(branch(vec![delete_op("c", "b"), put_op("c")]), Ok(()));
}

/// Keys put and spans deleted, found by looking at every pair.
type Dumb = (Vec<Bytes>, Vec<(Bytes, Bytes)>);

fn dumb(ops: &[RequestOp]) -> Option<Dumb> {
    let (mut puts, mut deletes) = Dumb::default();
    let covers = |(start, end): &(Bytes, Bytes), key: &Bytes| match end.is_empty() {
        true => start == key,
        false => start <= key && key < end,
    };
    for op in ops {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            deletes.push((delete.key.clone(), delete.range_end.clone()));
        }
    }
    for op in ops {
        let Some(Request::RequestTxn(txn)) = &op.request else { continue };
        let (then, other) = (dumb(&txn.success)?, dumb(&txn.failure)?);
        for key in then.0.iter().chain(&other.0) {
            if puts.contains(key) || deletes.iter().any(|span| covers(span, key)) {
                return None;
            }
        }
        puts.extend(then.0.into_iter().chain(other.0));
        deletes.extend(then.1.into_iter().chain(other.1));
    }
    for op in ops {
        let Some(Request::RequestPut(put)) = &op.request else { continue };
        if puts.contains(&put.key) || deletes.iter().any(|span| covers(span, &put.key)) {
            return None;
        }
        puts.push(put.key.clone());
    }
    Some((puts, deletes))
}

fn random_ops(dice: &mut Prng, depth: u64) -> Vec<RequestOp> {
    let key = |dice: &mut Prng| format!("{:03}", dice.below(400));
    (0..dice.below(7))
        .map(|_| match dice.below(4 + depth) {
            0 | 1 => put_op(&key(dice)),
            2 => delete_op(&key(dice), ""),
            3 => {
                let from = dice.below(400);
                let to = format!("{:03}", (from + dice.below(9)).saturating_sub(2));
                delete_op(&format!("{from:03}"), if dice.chance(50) { "\0" } else { &to })
            }
            _ => nested(random_ops(dice, depth - 1), random_ops(dice, depth - 1)),
        })
        .collect()
}

#[test]
fn the_overlap_rule_answers_as_looking_at_every_pair() {
    let seed = 4_711;
    println!("seed {seed}");
    let mut dice = Prng::from_seed(seed);
    let mut refused = 0;
    for _ in 0..20_000 {
        let ops = random_ops(&mut dice, 3);
        let expected = dumb(&ops).map(|_| ()).ok_or(ApiError::DuplicateKey);
        refused += u32::from(expected.is_err());
        assert_eq!(overlap::check(&ops), expected, "{ops:?}");
    }
    assert!((2_000..18_000).contains(&refused), "{refused}");
}

#[test]
fn reading_only_means_ranges_and_nothing_nested() {
    let serializable = |key: &str| {
        let key = key.to_owned().into();
        let range = RangeRequest { key, serializable: true, ..Default::default() };
        RequestOp { request: Some(Request::RequestRange(range)) }
    };
    let empty = TxnRequest::default();
    assert!(is_read_only(&empty) && is_serializable(&empty));
    let reads = txn_of(vec![serializable("a")], vec![range_op("b")]);
    assert!(is_read_only(&reads) && !is_serializable(&reads));
    assert!(is_serializable(&txn_of(vec![serializable("a")], vec![])));
    assert!(!is_read_only(&txn_of(vec![nested(vec![range_op("a")], vec![])], vec![])));
    assert!(!is_read_only(&txn_of(vec![], vec![delete_op("a", "")])));
}

#[test]
fn a_grant_is_settled_before_the_log() {
    let (leases, mut dice) = (Leases::new(CheckpointPolicy::Off), Prng::from_seed(1));
    let min = lease_ttl_s_min(Duration::from_millis(1000));
    assert_eq!(min, 2);
    let asked = LeaseGrantRequest { ttl: -5, id: 0 };
    let settled = settle_lease_grant(&asked, min, &leases, &mut dice);
    assert!(settled.id > 0);
    assert_eq!(settled.ttl, 2);
    let asked = LeaseGrantRequest { ttl: LEASE_TTL_S_MAX + 1, id: -7 };
    assert_eq!(settle_lease_grant(&asked, min, &leases, &mut dice), asked);
    assert_eq!(lease_ttl_s_min(Duration::from_millis(5001)), 8);
}

#[test]
fn a_request_over_the_limit_is_too_large() {
    assert_eq!(size(100, 100), Ok(()));
    assert_eq!(size(101, 100), Err(ApiError::RequestTooLarge));
}
