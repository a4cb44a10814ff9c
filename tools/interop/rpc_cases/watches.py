"""Watch streams: ids, ranges, filters, replay, fragments, progress, cancels."""

import time

from interop import pb, rpc

CASES, case = rpc.registry("watches")


def delete(s, name, **fields):
    s.api.call("KV/DeleteRange", pb.message("DeleteRangeRequest", key=s.key(name), **fields))


def puts(s, *names):
    ops = [pb.message("RequestOp", request_put=pb.message("PutRequest", key=s.key(name), value=b"1"))
           for name in names]
    s.api.call("KV/Txn", pb.message("TxnRequest", success=ops))


def both(s, w):
    """Two replies of one revision to two watches: which comes first is not promised."""
    for reply in sorted((w.reply(quiet=True) for _ in range(2)), key=lambda one: one.watch_id):
        s.show("one of two", reply)


@case
def ids_are_counted_from_zero(s):
    w = s.watch()
    for _ in range(3):
        w.create("a")
        w.reply()


@case
def ids_of_our_own(s):
    w = s.watch()
    for number in (5, -3, 2**40, 1):
        w.create("a", watch_id=number)
        w.reply()
    for _ in range(3):
        w.create("a")
        w.reply()


@case
def an_id_in_use(s):
    w = s.watch()
    w.create("a", watch_id=5)
    w.reply()
    w.create("b", watch_id=5)
    w.reply()
    s.put("b")
    s.put("a")
    w.reply()


@case
def an_id_is_free_after_its_cancel(s):
    w = s.watch()
    w.create("a", watch_id=5)
    w.reply()
    w.cancel_watch(5)
    w.reply()
    w.create("b", watch_id=5)
    w.reply()
    s.put("a")
    s.put("b")
    w.reply()


@case
def streams_have_their_own_ids(s):
    v, w = s.watch(), s.watch()
    for stream in (v, w):
        stream.create("a", watch_id=3)
        stream.reply()
    s.put("a")
    v.reply()
    w.reply()


@case
def cancels_of_nothing(s):
    w = s.watch()
    w.cancel_watch(77)
    w.silence()
    w.create("a")
    w.reply()
    w.cancel_watch(0)
    w.reply()
    w.cancel_watch(0)
    w.silence()
    s.put("a")
    w.silence()


@case
def an_empty_request_is_ignored(s):
    w = s.watch()
    w.send(pb.message("WatchRequest"))
    w.silence()
    w.create("a")
    w.reply()


@case
def a_half_closed_stream_goes_on(s):
    w = s.watch()
    w.create("a")
    w.reply()
    w.half_close()
    time.sleep(0.2)
    s.put("a")
    w.reply()


@case
def ranges_that_are_empty(s):
    w = s.watch()
    w.create(key=s.key("b"), range_end=s.key("a"))
    w.reply()
    w.create(key=s.key("a"), range_end=s.key("a"))
    w.reply()
    w.create(key=s.key("a"), range_end=s.key("b"))
    w.reply()


@case
def an_empty_key_means_zero(s):
    w = s.watch()
    w.create(key=b"", range_end=b"\0")
    w.reply()
    s.put("a")
    w.reply()
    w.create(key=b"")
    w.reply()
    s.put("b")
    w.reply()
    w.silence()


@case
def from_a_key_on(s):
    w = s.watch()
    w.create(key=s.key("b"), range_end=b"\0")
    w.reply()
    s.put("a")
    s.put("c")
    w.reply()


@case
def filters(s):
    first = s.put("a", "1")
    delete(s, "a")
    s.put("a", "2")
    for chosen in ([0], [1], [0, 1], [0, 0], [9]):
        w = s.watch()
        w.create("a", start_revision=first, filters=chosen)
        w.reply()
        if chosen == [0, 1]:
            w.silence()
        elif 0 in chosen:
            w.events(1)
        elif 1 in chosen:
            w.events(2)
        else:
            w.events(3)


@case
def filters_on_live_events(s):
    v, w = s.watch(), s.watch()
    v.create("a", filters=[0])
    w.create("a", filters=[1])
    v.reply()
    w.reply()
    s.put("a", "1")
    delete(s, "a")
    s.put("a", "2")
    v.events(1)
    w.events(2)


@case
def previous_pairs(s):
    w = s.watch()
    w.create(prev_kv=True)
    w.reply()
    s.put("a", "1")
    s.put("a", "2")
    delete(s, "a")
    puts(s, "a", "b")
    w.events(5)


@case
def previous_pairs_of_the_past(s):
    first = s.put("a", "1")
    s.put("a", "2")
    delete(s, "a")
    puts(s, "b", "a")
    w = s.watch()
    w.create(prev_kv=True, start_revision=first)
    w.reply()
    w.events(5)


@case
def the_future(s):
    now = s.put("a", "0")
    w = s.watch()
    w.create("a", start_revision=now + 3)
    w.reply()
    for value in ("1", "2", "3", "4"):
        s.put("a", value)
    w.events(2)


@case
def exactly_now_and_exactly_next(s):
    now = s.put("a", "0")
    w = s.watch()
    w.create("a", start_revision=now)
    w.reply()
    w.events(1)
    w.create("a", start_revision=now + 1)
    w.reply()
    s.put("a", "1")
    both(s, w)


@case
def a_long_past(s):
    first = s.put("a", "first")
    for at in range(1200):
        s.put(f"{at % 7}", str(at))
    w = s.watch()
    w.create(start_revision=first)
    w.reply()
    w.events(1201)


@case(server=[])
def a_compacted_past(s):
    for value in ("1", "2", "3", "4"):
        s.put("a", value)
    s.call("KV/Compact", pb.message("CompactionRequest", revision=4))
    w = s.watch()
    for start in (1, 3):
        w.create("a", start_revision=start)
        w.reply()
        w.reply()
    w.create("a", start_revision=4)
    w.reply()
    w.events(2)
    w.create("a", start_revision=5, prev_kv=True)
    w.reply()
    w.events(1)
    s.put("a", "5")
    both(s, w)


@case(server=[])
def a_negative_start(s):
    s.put("a", "1")
    s.put("a", "2")
    s.call("KV/Compact", pb.message("CompactionRequest", revision=3))
    w = s.watch()
    w.create("a", start_revision=-1)
    w.reply()


@case
def events_of_a_txn_come_together_in_order(s):
    w = s.watch()
    w.create()
    w.reply()
    puts(s, "z", "a", "m")
    w.reply()
    delete(s, "", range_end=s.end())
    w.reply()


@case
def every_change_inside_a_txn_is_an_event(s):
    s.put("a", "0")
    w = s.watch()
    w.create()
    w.reply()
    drop = pb.message("RequestOp", request_delete_range=pb.message(
        "DeleteRangeRequest", key=s.key("a")))
    add = pb.message("RequestOp", request_put=pb.message("PutRequest", key=s.key("b")))
    s.api.call("KV/Txn", pb.message("TxnRequest", success=[drop, add, drop]))
    w.reply()


@case
def several_watches_of_one_key(s):
    w = s.watch()
    for number in (1, 2, 3):
        w.create("a", watch_id=number)
        w.reply()
    s.put("a")
    replies = sorted((w.reply(quiet=True) for _ in range(3)), key=lambda reply: reply.watch_id)
    for reply in replies:
        s.show("one of three", reply)


@case
def a_key_that_lived_for_one_txn_has_no_previous_pair(s):
    w = s.watch()
    w.create(prev_kv=True)
    w.reply()
    add = pb.message("RequestOp", request_put=pb.message("PutRequest", key=s.key("zz")))
    # Only a delete of everything above a key may stand beside a put in one txn.
    drop = pb.message("RequestOp", request_delete_range=pb.message(
        "DeleteRangeRequest", key=s.key("z"), range_end=b"\0", prev_kv=True))
    s.call("KV/Txn", pb.message("TxnRequest", success=[add, drop]))
    w.reply()


@case
def a_lease_that_is_revoked(s):
    s.grant(301)
    for name in ("c", "a", "b"):
        s.put(name, "1", lease=301)
    w = s.watch()
    w.create(prev_kv=True)
    w.reply()
    s.call("Lease/LeaseRevoke", pb.message("LeaseRevokeRequest", ID=301))
    w.reply()


@case
def a_lease_that_expires(s):
    s.grant(302, ttl=2)
    for name in ("b", "a"):
        s.put(name, "1", lease=302)
    w = s.watch()
    w.create()
    w.reply()
    w.events(2)


@case
def events_carry_their_lease(s):
    s.grant(303)
    w = s.watch()
    w.create()
    w.reply()
    s.put("a", "1", lease=303)
    w.reply()
    s.put("a", "2")
    w.reply()


@case
def progress_of_a_synced_watch(s):
    w = s.watch()
    w.create("a")
    w.reply()
    s.put("b")
    time.sleep(0.3)
    w.progress()
    w.reply()
    w.progress()
    w.reply()
    s.put("a")
    w.reply()


@case
def progress_of_several_synced_watches(s):
    w = s.watch()
    for name in ("a", "b"):
        w.create(name)
        w.reply()
    s.put("c")
    time.sleep(0.3)
    w.progress()
    w.reply()
    w.silence()


@case
def progress_on_a_stream_without_watches(s):
    w = s.watch()
    w.progress()
    w.silence()


@case(server=["--experimental-watch-progress-notify-interval=500ms"])
def progress_by_itself(s):
    w = s.watch()
    w.create("a", progress_notify=True)
    w.reply()
    w.reply()
    s.put("b")
    w.reply(quiet=True)
    w.reply()


@case
def a_past_of_large_values(s):
    first = s.put("a", b"x" * 800_000)
    for name in ("b", "c", "d", "e"):
        s.put(name, b"x" * 800_000)
    for fragment in (False, True):
        w = s.watch()
        w.create(start_revision=first, fragment=fragment)
        w.reply()
        # How a replay is cut into replies is not promised: only the order of the events is.
        keys = []
        while len(keys) < 5:
            reply = w.reply(quiet=True)
            if reply is None:
                break
            keys += [event.kv.key.decode() for event in reply.events]
        s.note("all", keys)
        w.cancel()
    delete(s, "", range_end=s.end())


@case
def a_fragmented_delete_with_previous_pairs(s):
    for name in ("a", "b", "c", "d"):
        s.put(name, b"x" * 700_000)
    w = s.watch()
    w.create(prev_kv=True, fragment=True)
    w.reply()
    delete(s, "", range_end=s.end())
    while True:
        reply = w.reply(quiet=True)
        if reply is None:
            break
        s.note("part", (reply.fragment, [event.kv.key.decode() for event in reply.events]))
        if not reply.fragment:
            break


@case
def many_watches_on_a_stream(s):
    w = s.watch()
    for at in range(200):
        w.create(f"{at:03}", watch_id=at + 1)
        w.reply(quiet=True)
    s.put("150")
    w.reply()
    for at in range(200):
        w.cancel_watch(at + 1)
        w.reply(quiet=True)
    s.put("151")
    w.silence()


@case
def the_same_value_is_an_event(s):
    w = s.watch()
    w.create("a")
    w.reply()
    s.put("a", "1")
    w.reply()
    s.put("a", "1")
    w.reply()


@case
def a_delete_of_nothing_is_none(s):
    w = s.watch()
    w.create("a")
    w.reply()
    delete(s, "a")
    w.silence()


@case
def hasleader_on_a_stream(s):
    call = s.api.stream("Watch/Watch", iter([pb.message(
        "WatchRequest", create_request=pb.message("WatchCreateRequest", key=s.key("a")))]),
        metadata=[("hasleader", "true")])
    s.show("created", next(call))
    call.cancel()
