"""Transactions: nesting, compares over ranges, what is refused, and the shape of replies."""

from interop import pb, rpc

CASES, case = rpc.registry("txns")

VERSION, CREATE, MOD, VALUE, LEASE = range(5)
EQUAL, GREATER, LESS, NOT_EQUAL = range(4)


def put(key, value=b"1", **fields):
    return pb.message("RequestOp", request_put=pb.message("PutRequest", key=key, value=value,
                                                          **fields))


def get(key, **fields):
    return pb.message("RequestOp", request_range=pb.message("RangeRequest", key=key, **fields))


def delete(key, **fields):
    return pb.message("RequestOp", request_delete_range=pb.message("DeleteRangeRequest", key=key,
                                                                   **fields))


def nested(when=(), then=(), otherwise=()):
    return pb.message("RequestOp", request_txn=txn(when, then, otherwise))


def txn(when=(), then=(), otherwise=()):
    return pb.message("TxnRequest", compare=when, success=then, failure=otherwise)


def compare(key, target, result, **fields):
    return pb.message("Compare", key=key, target=target, result=result, **fields)


def run(s, when=(), then=(), otherwise=()):
    return s.call("KV/Txn", txn(when, then, otherwise))


@case
def the_empty_txn(s):
    run(s)
    run(s, then=[nested()], otherwise=[])


@case
def headers_inside(s):
    a, b = s.key("a"), s.key("b")
    run(s, then=[get(a), put(a), get(a), delete(b), delete(a), get(a)])
    run(s, then=[nested(then=[put(a), nested(then=[get(a)])]), get(a)])


@case
def a_read_only_txn(s):
    s.put("a")
    run(s, then=[get(s.key("a")), get(s.key("none")), nested(then=[get(s.key("a"))])])
    run(s, then=[get(s.key("a"), serializable=True)])
    s.range()


@case
def nested_compares_look_at_the_state_before(s):
    a = s.key("a")
    run(s, then=[put(a), nested([compare(a, VERSION, EQUAL, version=0)], [put(s.key("b"))],
                                [put(s.key("c"))])])
    s.range()


@case
def nested_branches(s):
    s.put("a", "x")
    a = s.key("a")
    run(s, [compare(a, VALUE, EQUAL, value=b"no")], [put(s.key("b"))],
        [nested([compare(a, VALUE, EQUAL, value=b"x")],
                [nested([compare(a, VERSION, GREATER, version=5)], [put(s.key("c"))],
                        [put(s.key("d")), get(a)])],
                [put(s.key("e"))])])
    s.range()


@case
def deep_nesting(s):
    op = put(s.key("deep"))
    for level in range(20):
        op = nested(then=[op, put(s.key(f"{level:02}"))])
    run(s, then=[op])
    s.range(keys_only=True)


@case
def compares_of_a_missing_key(s):
    none = s.key("none")
    for result in range(4):
        for target, fields in ((VERSION, {"version": 0}), (CREATE, {"create_revision": 0}),
                               (MOD, {"mod_revision": 1}), (VALUE, {"value": b""}),
                               (LEASE, {"lease": 0})):
            reply = s.api.call("KV/Txn", txn([compare(none, target, result, **fields)]))
            s.note((target, result), reply.succeeded)


@case
def compares_of_a_key(s):
    s.grant(201)
    s.put("a", "0")
    revision = s.put("a", "m", lease=201)
    a = s.key("a")
    for result in range(4):
        for target, fields in ((VERSION, {"version": 2}), (VERSION, {"version": 3}),
                               (CREATE, {"create_revision": revision - 1}),
                               (MOD, {"mod_revision": revision - 1}), (VALUE, {"value": b"m"}),
                               (VALUE, {"value": b"ma"}), (LEASE, {"lease": 201}),
                               (LEASE, {"lease": -1})):
            reply = s.api.call("KV/Txn", txn([compare(a, target, result, **fields)]))
            s.note((target, result, fields), reply.succeeded)


@case
def compares_over_a_range(s):
    for name in ("a", "b", "c"):
        s.put(name, "same")
    s.put("c", "other")
    every = {"range_end": s.end()}
    for one in (compare(s.key(), VALUE, EQUAL, value=b"same", **every),
                compare(s.key(), VALUE, GREATER, value=b"a", **every),
                compare(s.key(), VERSION, GREATER, version=0, **every),
                compare(s.key(), VERSION, EQUAL, version=1, **every),
                compare(s.key(), VERSION, EQUAL, version=1, range_end=s.key("c")),
                compare(s.key("x"), VERSION, GREATER, version=0, **every),
                compare(s.key("x"), VERSION, EQUAL, version=0, **every),
                compare(s.key("x"), VALUE, NOT_EQUAL, value=b"", **every),
                compare(s.key("b"), VERSION, EQUAL, version=1, range_end=s.key("a")),
                compare(s.key("a"), LEASE, EQUAL, lease=0, range_end=b"\0")):
        s.note("holds", s.api.call("KV/Txn", txn([one])).succeeded)


@case
def compares_that_do_not_fit(s):
    s.put("a", "1")
    a = s.key("a")
    for one in (compare(a, VERSION, EQUAL, value=b"1"), compare(a, VALUE, EQUAL, version=1),
                compare(a, MOD, GREATER, create_revision=99), compare(a, VALUE, GREATER),
                compare(a, LEASE, EQUAL), compare(a, VERSION, 9, version=77),
                compare(a, 9, EQUAL, version=77), compare(a, 9, LESS, version=77)):
        s.note("holds", s.api.call("KV/Txn", txn([one])).succeeded)


@case
def compares_without_key(s):
    run(s, [compare(b"", VERSION, EQUAL)])
    run(s, [compare(b"", VERSION, EQUAL, range_end=b"\0")])
    run(s, then=[nested([compare(b"", VERSION, EQUAL)])])


@case
def ops_without_body_or_key(s):
    a = s.key("a")
    empty = pb.message("RequestOp")
    run(s, then=[put(a), empty])
    run(s, otherwise=[empty])
    run(s, then=[nested(otherwise=[empty])])
    run(s, then=[put(b"")])
    run(s, then=[get(b"")])
    run(s, then=[delete(b"")])
    run(s, otherwise=[put(b"")])
    s.range()


@case
def puts_that_contradict_themselves(s):
    s.put("a")
    s.grant(202)
    run(s, then=[put(s.key("a"), b"2", ignore_value=True)])
    run(s, then=[put(s.key("a"), b"2", lease=202, ignore_lease=True)])
    run(s, otherwise=[put(s.key("a"), b"2", ignore_value=True)])
    s.range()


@case
def keys_given_twice(s):
    a, b = s.key("a"), s.key("b")
    run(s, then=[put(a), put(a)])
    run(s, then=[put(a), put(b), put(a)])
    run(s, then=[put(a), delete(a)])
    run(s, then=[delete(a), put(a)])
    run(s, then=[put(b), delete(a, range_end=s.key("c"))])
    run(s, then=[put(b), delete(a, range_end=b)])
    run(s, otherwise=[put(a), put(a)])
    run(s, then=[delete(a), delete(a), delete(a, range_end=s.end())])
    s.range()


@case
def keys_given_twice_in_nested_txns(s):
    a, b = s.key("a"), s.key("b")
    run(s, then=[put(a), nested(then=[put(a)])])
    run(s, then=[nested(then=[put(a)]), nested(then=[put(a)])])
    run(s, then=[nested(then=[put(a)], otherwise=[put(a)])])
    run(s, then=[nested(then=[put(a)], otherwise=[put(a)]), put(b)])
    run(s, then=[delete(a), nested(then=[put(a)])])
    run(s, then=[nested(then=[delete(a)]), put(a)])
    run(s, then=[nested(otherwise=[delete(a)]), put(a)])
    run(s, then=[nested(then=[nested(then=[put(a), put(a)])])])
    s.range()


@case
def deletes_of_a_nested_txn_and_puts_of_another(s):
    a = s.key("a")
    run(s, then=[nested(then=[delete(a)]), nested(then=[put(a)])])
    run(s, then=[nested(then=[put(a)]), nested(then=[delete(a)])])
    s.range()


@case
def a_delete_of_all_above_beside_a_put(s):
    a, b = s.key("a"), s.key("b")
    s.put("a")
    s.put("b")
    run(s, then=[put(s.key("~"), b"kept"), delete(s.key("zz"), range_end=b"\0")])
    run(s, then=[delete(s.key("zz"), range_end=b"\0"), put(s.key("~"), b"again")])
    run(s, then=[put(a, b"2"), delete(b, range_end=a), delete(b, range_end=b)])
    run(s, then=[put(b, b"3"), delete(b, range_end=b)])
    s.range()


@case
def too_many_operations(s):
    ops = [put(s.key(f"{at:03}")) for at in range(129)]
    run(s, then=ops)
    run(s, otherwise=ops)
    run(s, when=[compare(s.key("a"), VERSION, EQUAL)] * 129)
    reply = s.api.call("KV/Txn", txn(then=ops[:128]))
    s.note("128 puts", len(reply.responses))
    s.range(count_only=True)


@case
def the_budget_of_nested_txns(s):
    gets = [get(s.key("a"))] * 127
    run(s, then=[nested(then=gets + gets[:2])])
    reply = s.api.call("KV/Txn", txn(then=[nested(then=gets)]))
    s.note("127 nested", len(reply.responses[0].response_txn.responses))
    run(s, then=[nested(then=gets + gets[:1])])
    run(s, then=gets[:100] + [nested(then=gets[:28])])
    reply = s.api.call("KV/Txn", txn(then=gets[:100] + [nested(then=gets[:27])]))
    s.note("27 nested", len(reply.responses))


@case
def errors_undo_everything(s):
    s.put("a", "before")
    a = s.key("a")
    run(s, then=[put(a, b"after"), get(a, revision=10**9)])
    run(s, then=[put(a, b"after"), put(s.key("b"), lease=203_000)])
    run(s, then=[put(a, b"after"), put(s.key("none"), b"", ignore_value=True)])
    run(s, then=[put(a, b"after"), nested(then=[put(s.key("none"), b"", ignore_lease=True)])])
    run(s, then=[put(a, b"after"), nested(otherwise=[get(a, revision=10**9)])])
    s.range()


@case
def which_error_comes_first(s):
    a, none = s.key("a"), s.key("none")
    run(s, then=[get(a, revision=10**9), put(none, b"", ignore_value=True)])
    run(s, then=[put(none, b"", ignore_value=True), get(a, revision=10**9)])
    run(s, then=[put(none, b"", ignore_value=True, lease=203_000)])
    run(s, then=[put(s.key("b"), lease=203_000), get(a, revision=10**9)])
    run(s, then=[put(a), put(a), put(b"")])


@case(server=[])
def old_revisions_inside(s):
    for value in ("1", "2", "3", "4"):
        s.put("a", value)
    a = s.key("a")
    run(s, then=[get(a, revision=2), put(a, b"5"), get(a, revision=3), get(a)])
    s.call("KV/Compact", pb.message("CompactionRequest", revision=3))
    run(s, then=[get(a, revision=2)])
    run(s, then=[put(a, b"6"), get(a, revision=2)])
    run(s, then=[get(a, revision=3)])
    run(s, then=[get(a, revision=-1)])
    run(s, then=[put(a, b"7"), get(a, revision=7)])
    s.range()


@case
def negative_revisions_inside_before_any_compaction(s):
    s.put("a")
    run(s, then=[get(s.key("a"), revision=-1)])
    run(s, then=[get(s.key("a"), revision=-2)])


@case
def sorts_and_limits_inside(s):
    for name, value in (("a", "3"), ("b", "1"), ("c", "2")):
        s.put(name, value)
    every = {"range_end": s.end()}
    run(s, then=[get(s.key(), **every, sort_order=2, sort_target=4, limit=2),
                 get(s.key(), **every, count_only=True),
                 get(s.key(), **every, keys_only=True, limit=1),
                 get(s.key(), **every, min_mod_revision=1, sort_order=1)])


@case
def previous_pairs_inside(s):
    a = s.key("a")
    run(s, then=[put(a, b"1", prev_kv=True)])
    run(s, then=[nested(then=[put(a, b"2", prev_kv=True)])])
    run(s, then=[delete(a, prev_kv=True), delete(a, prev_kv=True)])


@case
def leases_inside(s):
    s.grant(204)
    s.grant(205)
    a, b = s.key("a"), s.key("b")
    run(s, then=[put(a, lease=204), put(b, lease=205)])
    run(s, then=[put(a, b"2", lease=205), put(b, b"", ignore_value=True)])
    s.range()
    s.call("Lease/LeaseRevoke", pb.message("LeaseRevokeRequest", ID=205))
    s.range()


@case
def reads_in_a_writing_txn_see_its_writes(s):
    for name in ("a", "b", "c"):
        s.put(name)
    every = {"range_end": s.end()}
    run(s, then=[delete(s.key("b")), put(s.key("d"), b"new"), get(s.key(), **every),
                 put(s.key("e")), get(s.key(), **every, count_only=True),
                 delete(s.key("c"), range_end=s.key("d")), get(s.key(), **every, keys_only=True)])


@case
def a_failed_compare_with_nothing_to_do(s):
    before = s.range("x").header.revision
    run(s, [compare(s.key("a"), VERSION, GREATER, version=0)], [put(s.key("a"))])
    s.note("unchanged", s.api.call("KV/Range", pb.message(
        "RangeRequest", key=s.key("a"))).header.revision == before)


@case
def a_txn_that_is_too_large(s):
    half = b"x" * 800_000
    run(s, then=[put(s.key("a"), half), put(s.key("b"), half)])
    s.range(keys_only=True)
