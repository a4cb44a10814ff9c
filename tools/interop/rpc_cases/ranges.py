"""Range, put, delete and compact as raw requests."""

from interop import pb, rpc

CASES, case = rpc.registry("ranges")


def fill(s, *names):
    for name in names:
        s.put(name, f"value of {name}")


@case
def filters_by_modification(s):
    first = s.put("a")
    fill(s, "b", "c", "a", "d")
    for low, high in ((first + 2, 0), (0, first + 2), (first + 1, first + 3), (first + 9, 0)):
        s.range(min_mod_revision=low, max_mod_revision=high)


@case
def filters_by_creation(s):
    first = s.put("a")
    fill(s, "b", "c", "a", "d")
    for low, high in ((first + 1, 0), (0, first + 1), (first + 1, first + 2), (0, 1)):
        s.range(min_create_revision=low, max_create_revision=high)


@case
def a_limit_counts_after_the_filters(s):
    first = s.put("a")
    fill(s, "b", "c", "d")
    for limit in (1, 2, 3):
        s.range(min_mod_revision=first + 1, limit=limit)
        s.range(max_mod_revision=first + 2, limit=limit, keys_only=True)


@case
def filters_with_negative_numbers(s):
    fill(s, "a", "b")
    s.range(min_mod_revision=-5)
    s.range(max_mod_revision=-5)
    s.range(min_create_revision=-1, max_create_revision=-1)


@case
def a_target_without_order_sorts_what_the_limit_left(s):
    for name, value in (("a", "9"), ("b", "5"), ("c", "7"), ("d", "1"), ("e", "3")):
        s.put(name, value)
    for target in range(5):
        for limit in (0, 1, 2, 4):
            s.range(sort_target=target, limit=limit)


@case
def every_order_and_target(s):
    for name, value in (("a", "3"), ("b", "1"), ("c", "2"), ("a", "4"), ("c", "0"), ("c", "5")):
        s.put(name, value)
    for order in range(3):
        for target in range(5):
            s.range(sort_order=order, sort_target=target, keys_only=True)


@case
def ties_stay_in_key_order_both_ways(s):
    """Not promised by etcd for many keys, but so for few, and clients see it."""
    for name in ("c", "a", "b", "d"):
        s.put(name, "same")
    for order in (1, 2):
        for target in (1, 4):
            s.range(sort_order=order, sort_target=target, keys_only=True)


@case
def an_unknown_order(s):
    fill(s, "a", "b")
    s.range(sort_order=3)
    s.range(sort_order=-1)


@case
def one_zero_byte_ends(s):
    fill(s, "a", "b")
    s.range(key=s.key("b"), range_end=b"\0", limit=1)
    s.range(key=b"\0", range_end=b"\0", limit=2, keys_only=True)
    s.range(key=b"\0", range_end=b"\0", count_only=True)
    s.range(key=b"", range_end=b"\0")
    s.range(key=b"")
    s.range(key=b"\0", range_end=b"")


@case
def ends_that_are_not_above(s):
    fill(s, "a", "b")
    s.range(key=s.key("b"), range_end=s.key("a"))
    s.range(key=s.key("a"), range_end=s.key("a"))
    s.range(key=s.key("b"), range_end=b"\0\0")


@case
def bytes_of_every_kind_are_keys(s):
    for name in (b"\0", b"\0\0", b"\x01", b"\x7f", b"\x80", b"\xff", b"\xff\xff", b"a\0b"):
        request = pb.message("PutRequest", key=s.key() + name, value=name)
        s.call("KV/Put", request)
    s.range()
    s.range(sort_order=2, limit=3)
    s.range(key=s.key() + b"\x80", range_end=s.key() + b"\xff\xff")


@case
def negative_revisions_and_limits(s):
    fill(s, "a", "b")
    s.range(revision=-1)
    s.range(revision=-(2**63))
    s.range(limit=-1)
    s.range(limit=-(2**63))
    s.range(limit=2**63 - 1)
    s.range(revision=2**63 - 1)


@case
def count_only_ignores_the_rest(s):
    first = s.put("a")
    fill(s, "b", "c")
    s.range(count_only=True, limit=1)
    s.range(count_only=True, keys_only=True)
    s.range(count_only=True, min_mod_revision=first + 1)
    s.range(count_only=True, revision=first)
    s.range(count_only=True, sort_order=2, sort_target=4)


@case
def keys_only_sorted_by_value(s):
    s.put("a", "2")
    s.put("b", "1")
    s.range(keys_only=True, sort_order=1, sort_target=4)
    s.range(keys_only=True, sort_order=2, sort_target=4, limit=1)


@case
def keys_only_keeps_the_lease(s):
    s.grant(101)
    s.put("a", "1", lease=101)
    s.range(keys_only=True)
    s.range("a", keys_only=True)


@case
def serializable_reads_of_the_past(s):
    first = s.put("a", "1")
    s.put("a", "2")
    s.range("a", serializable=True)
    s.range("a", serializable=True, revision=first)
    s.range("a", serializable=True, revision=first + 99)


@case
def a_large_reply_comes_whole(s):
    for at in range(40):
        s.put(f"{at:02}", b"x" * 100_000)
    request = pb.message("RangeRequest", key=s.key(), range_end=s.end())
    reply = s.api.call("KV/Range", request)
    s.note("sizes", [len(kv.value) for kv in reply.kvs])
    s.call("KV/DeleteRange", pb.message("DeleteRangeRequest", key=s.key(), range_end=s.end()))


@case
def a_thousand_keys_in_pages(s):
    ops = [pb.message("RequestOp", request_put=pb.message(
        "PutRequest", key=s.key(f"{at:04}"), value=b"v")) for at in range(1000)]
    for at in range(0, 1000, 100):
        s.api.call("KV/Txn", pb.message("TxnRequest", success=ops[at : at + 100]))
    key = s.key()
    while key:
        request = pb.message("RangeRequest", key=key, range_end=s.end(), limit=170)
        reply = s.api.call("KV/Range", request)
        s.note("page", (len(reply.kvs), reply.more, reply.count, reply.kvs[-1].key))
        key = reply.kvs[-1].key + b"\0" if reply.more else None


@case
def put_that_contradicts_itself(s):
    s.grant(102)
    s.put("a", "1", lease=102)
    put = {"key": s.key("a")}
    s.call("KV/Put", pb.message("PutRequest", **put, value=b"2", ignore_value=True))
    s.call("KV/Put", pb.message("PutRequest", **put, lease=102, ignore_lease=True))
    s.call("KV/Put", pb.message("PutRequest", **put, value=b"2", lease=102,
                                ignore_lease=True, ignore_value=True))
    s.call("KV/Put", pb.message("PutRequest", key=b"", value=b"2", ignore_value=True))
    s.call("KV/Put", pb.message("PutRequest", **put, ignore_value=True, prev_kv=True))
    s.range("a")


@case
def put_with_leases_that_are_not_there(s):
    for lease in (103_000, -1, 2**63 - 1, -(2**63)):
        s.call("KV/Put", pb.message("PutRequest", key=s.key("a"), value=b"1", lease=lease))
        s.call("KV/Put", pb.message("PutRequest", key=s.key("none"), lease=lease,
                                    ignore_value=True))
    s.range()


@case
def put_with_a_negative_lease_that_is_there(s):
    s.grant(-104)
    s.call("KV/Put", pb.message("PutRequest", key=s.key("a"), value=b"1", lease=-104))
    s.range("a")
    s.call("Lease/LeaseRevoke", pb.message("LeaseRevokeRequest", ID=-104))
    s.range("a")


@case
def previous_pairs_of_puts(s):
    for value in (b"1", b"", b"3"):
        s.call("KV/Put", pb.message("PutRequest", key=s.key("a"), value=value, prev_kv=True))


@case
def deletes_of_odd_ranges(s):
    fill(s, "a", "b", "c")
    for key, end in ((s.key("b"), s.key("a")), (s.key("a"), s.key("a")), (b"", b""),
                     (b"", b"\0"), (s.key("a"), s.key("b")), (s.key("none"), b"")):
        s.call("KV/DeleteRange", pb.message("DeleteRangeRequest", key=key, range_end=end,
                                            prev_kv=True))
    s.range()


@case(server=[])
def delete_of_everything(s):
    fill(s, "b", "a", "c")
    everything = {"key": b"\0", "range_end": b"\0"}
    s.call("KV/DeleteRange", pb.message("DeleteRangeRequest", **everything, prev_kv=True))
    s.call("KV/DeleteRange", pb.message("DeleteRangeRequest", **everything))
    s.call("KV/Range", pb.message("RangeRequest", **everything))
    s.call("KV/Range", pb.message("RangeRequest", **everything, revision=4))


@case
def requests_that_are_too_large(s):
    for size in (1_572_000, 1_573_000, 2_000_000):
        s.call("KV/Put", pb.message("PutRequest", key=s.key("a"), value=b"x" * size))
    s.call("KV/Put", pb.message("PutRequest", key=s.key("a"), value=b"x" * 2_200_000))
    s.range("a", keys_only=True)
    s.call("KV/DeleteRange", pb.message("DeleteRangeRequest", key=s.key("a")))
    s.call("KV/Range", pb.message("RangeRequest", key=b"k" * 2_200_000))


@case(server=["--max-request-bytes=100"])
def a_tiny_request_limit(s):
    for size in (10, 60, 90, 101, 200):
        s.call("KV/Put", pb.message("PutRequest", key=b"a", value=b"x" * size))
    s.range("a", key=b"a", keys_only=True)


@case(server=[])
def compaction_edges(s):
    for revision in (-5, -1, 0, 0, 2):
        s.call("KV/Compact", pb.message("CompactionRequest", revision=revision))
    fill(s, "a", "a", "b")
    for revision in (4, 3, 4, 5):
        s.call("KV/Compact", pb.message("CompactionRequest", revision=revision))
    s.call("KV/Compact", pb.message("CompactionRequest", revision=2**63 - 1))
    for revision in (2, 3, 4):
        s.range(revision=revision)


@case(server=[])
def physical_compaction(s):
    fill(s, "a", "a", "a", "b")
    s.call("KV/DeleteRange", pb.message("DeleteRangeRequest", key=s.key("b")))
    s.call("KV/Compact", pb.message("CompactionRequest", revision=6, physical=True))
    s.range()
    s.range(revision=5)
    s.range(revision=6)


@case
def a_stream_of_the_range(s):
    fill(s, "a", "b")
    kvs, tail = [], None
    try:
        request = pb.message("RangeRequest", key=s.key(), range_end=s.end())
        for reply in s.api.stream("KV/RangeStream", request):
            kvs += [kv.key.decode()[-1] for kv in reply.range_response.kvs]
            tail = reply.range_response
        s.note("streamed", (kvs, tail.count, tail.more))
    except Exception as error:
        s.note("streamed", f"{error.code().name}: {error.details()}")
