"""Leases as raw requests."""

from interop import pb, rpc

CASES, case = rpc.registry("leases")


def grant(s, number, ttl=600):
    return s.call("Lease/LeaseGrant", pb.message("LeaseGrantRequest", ID=number, TTL=ttl))


def revoke(s, number):
    return s.call("Lease/LeaseRevoke", pb.message("LeaseRevokeRequest", ID=number))


def time_to_live(s, number, keys=False):
    ask = pb.message("LeaseTimeToLiveRequest", ID=number, keys=keys)
    reply = s.api.call("Lease/LeaseTimeToLive", ask)
    near = 0 <= reply.grantedTTL - reply.TTL <= 5
    s.note("ttl", (reply.ID, reply.grantedTTL, near or reply.TTL, sorted(reply.keys)))


@case
def ids_of_our_own(s):
    for number in (1001, -1002, 2**63 - 1, -(2**63), 1001):
        grant(s, number)
    for number in (1001, -1002, 2**63 - 1, -(2**63)):
        revoke(s, number)


@case
def an_id_of_the_server(s):
    reply = s.api.call("Lease/LeaseGrant", pb.message("LeaseGrantRequest", TTL=60))
    s.note("chosen", (reply.ID > 0, reply.TTL, reply.error))
    s.hide(reply.ID, "lease")
    revoke(s, reply.ID)


@case
def ttls_of_every_kind(s):
    for at, ttl in enumerate((0, -1, -(2**63), 1, 2, 3, 9_000_000_000, 9_000_000_001, 2**63 - 1)):
        grant(s, 1010 + at, ttl)
    for at in (6, 7):
        revoke(s, 1010 + at)


@case
def which_error_comes_first(s):
    grant(s, 1020)
    grant(s, 1020, 9_000_000_001)
    revoke(s, 1020)


@case
def revokes_of_nothing(s):
    for number in (0, -1, 1_030_000):
        revoke(s, number)


@case
def a_revoke_deletes_in_key_order(s):
    grant(s, 1040)
    for name in ("c", "a", "b"):
        s.put(name, "1", lease=1040)
    time_to_live(s, 1040, keys=True)
    revoke(s, 1040)
    s.range()
    time_to_live(s, 1040, keys=True)


@case
def keys_move_between_leases(s):
    grant(s, 1050)
    grant(s, 1051)
    s.put("a", "1", lease=1050)
    s.put("b", "1", lease=1050)
    s.put("a", "2", lease=1051)
    s.put("b", "2")
    time_to_live(s, 1050, keys=True)
    time_to_live(s, 1051, keys=True)
    revoke(s, 1050)
    s.range()
    revoke(s, 1051)
    s.range()


@case
def time_to_live_of_nothing(s):
    for number in (0, -1, 1_060_000):
        ask = pb.message("LeaseTimeToLiveRequest", ID=number, keys=True)
        s.call("Lease/LeaseTimeToLive", ask)


@case
def keep_alives_on_one_stream(s):
    grant(s, 1070, 100)
    grant(s, 1071, 200)
    k = s.stream("Lease/LeaseKeepAlive")
    for number in (1070, 1071, 1_072_000, 0, -1, 1070):
        k.send(pb.message("LeaseKeepAliveRequest", ID=number))
        k.reply()
    revoke(s, 1070)
    k.send(pb.message("LeaseKeepAliveRequest", ID=1070))
    k.reply()
    k.half_close()
    k.reply()


@case(server=[])
def leases_in_the_order_of_expiry(s):
    for number, ttl in ((3, 3000), (1, 5000), (2, 1000), (4, 9000)):
        grant(s, number, ttl)
    s.call("Lease/LeaseLeases", pb.message("LeaseLeasesRequest"))
    revoke(s, 2)
    s.call("Lease/LeaseLeases", pb.message("LeaseLeasesRequest"))


@case
def an_expiry_takes_the_keys_in_one_revision(s):
    grant(s, 1080, 2)
    last = [s.put(name, "1", lease=1080) for name in ("b", "a")][-1]
    ask = pb.message("RangeRequest", key=s.key(), range_end=s.end())
    s.eventually(lambda: s.api.call("KV/Range", ask).count == 0, 10)
    s.range()
    s.range(revision=last)
    time_to_live(s, 1080)
    revoke(s, 1080)


@case
def a_kept_lease_does_not_expire(s):
    grant(s, 1090, 2)
    s.put("a", "1", lease=1090)
    k = s.stream("Lease/LeaseKeepAlive")
    import time
    for _ in range(6):
        k.send(pb.message("LeaseKeepAliveRequest", ID=1090))
        k.reply(quiet=True)
        time.sleep(0.7)
    s.range("a")
    revoke(s, 1090)


@case
def a_lease_without_keys_changes_no_revision(s):
    before = s.range("x").header.revision
    grant(s, 1100)
    reply = revoke(s, 1100)
    s.note("unchanged", reply.header.revision == before)
