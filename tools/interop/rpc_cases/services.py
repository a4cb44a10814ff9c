"""Maintenance, cluster, health, metadata and what is not there."""

import grpc
from interop import pb, rpc

CASES, case = rpc.registry("services")

GET, ACTIVATE, DEACTIVATE = range(3)
NONE, NOSPACE, CORRUPT = range(3)


def alarm(s, action, kind, member=0):
    request = pb.message("AlarmRequest", action=action, alarm=kind, memberID=member)
    return s.call("Maintenance/Alarm", request)


def member(s):
    reply = s.api.call("Cluster/MemberList", pb.message("MemberListRequest"))
    s.hide(reply.members[0].ID, "member")
    return reply.members[0].ID


@case
def alarms_of_nothing(s):
    for kind in (NONE, NOSPACE, CORRUPT, 9):
        alarm(s, GET, kind)
    alarm(s, DEACTIVATE, NOSPACE, 77)


@case(server=[])
def nospace_stops_writes_that_grow(s):
    me = member(s)
    s.put("a")
    s.grant(401)
    alarm(s, ACTIVATE, NOSPACE, me)
    alarm(s, GET, NONE)
    alarm(s, GET, CORRUPT)
    s.call("KV/Put", pb.message("PutRequest", key=s.key("b"), value=b"1"))
    put = pb.message("RequestOp", request_put=pb.message("PutRequest", key=s.key("b")))
    get = pb.message("RequestOp", request_range=pb.message("RangeRequest", key=s.key("a")))
    drop = pb.message("RequestOp", request_delete_range=pb.message(
        "DeleteRangeRequest", key=s.key("a")))
    s.call("KV/Txn", pb.message("TxnRequest", success=[put]))
    s.call("KV/Txn", pb.message("TxnRequest", success=[get], failure=[put]))
    s.call("KV/Txn", pb.message("TxnRequest", success=[get]))
    s.call("KV/Txn", pb.message("TxnRequest", success=[drop]))
    s.call("Lease/LeaseGrant", pb.message("LeaseGrantRequest", ID=402, TTL=60))
    s.call("Lease/LeaseRevoke", pb.message("LeaseRevokeRequest", ID=401))
    s.range()
    s.call("KV/Compact", pb.message("CompactionRequest", revision=2))
    s.call("Maintenance/Defragment", pb.message("DefragmentRequest"))
    alarm(s, DEACTIVATE, NOSPACE, me)
    alarm(s, DEACTIVATE, NOSPACE, me)
    s.call("KV/Put", pb.message("PutRequest", key=s.key("b"), value=b"1"))


@case(server=[])
def corrupt_stops_everything_that_writes(s):
    me = member(s)
    s.put("a")
    alarm(s, ACTIVATE, CORRUPT, me)
    s.call("KV/Put", pb.message("PutRequest", key=s.key("b"), value=b"1"))
    s.call("KV/DeleteRange", pb.message("DeleteRangeRequest", key=s.key("a")))
    s.call("KV/Compact", pb.message("CompactionRequest", revision=2))
    s.call("Lease/LeaseGrant", pb.message("LeaseGrantRequest", ID=403, TTL=60))
    s.call("Lease/LeaseRevoke", pb.message("LeaseRevokeRequest", ID=403))
    put = pb.message("RequestOp", request_put=pb.message("PutRequest", key=s.key("b")))
    get = pb.message("RequestOp", request_range=pb.message("RangeRequest", key=s.key("a")))
    s.call("KV/Txn", pb.message("TxnRequest", success=[put]))
    s.call("KV/Txn", pb.message("TxnRequest", success=[get]))
    s.range("a")
    alarm(s, GET, NONE)
    alarm(s, DEACTIVATE, CORRUPT, me)
    s.call("KV/Put", pb.message("PutRequest", key=s.key("b"), value=b"1"))


@case(server=[])
def alarms_of_other_members(s):
    for member, kind in ((77, NOSPACE), (78, NOSPACE), (77, CORRUPT)):
        alarm(s, ACTIVATE, kind, member)
    for kind in (NOSPACE, CORRUPT, NONE):
        request = pb.message("AlarmRequest", alarm=kind)
        reply = s.api.call("Maintenance/Alarm", request)
        # etcd lists them in no order.
        s.note("listed", sorted((one.memberID, one.alarm) for one in reply.alarms))
    for member, kind in ((77, CORRUPT), (77, NOSPACE), (78, NOSPACE)):
        alarm(s, DEACTIVATE, kind, member)
    alarm(s, GET, NONE)


@case
def status_has_its_fields(s):
    reply = s.api.call("Maintenance/Status", pb.message("StatusRequest"))
    me = member(s)
    s.note("status", (reply.leader == me, reply.header.member_id == me, reply.isLearner,
                      list(reply.errors), reply.dbSize > 0, reply.dbSizeInUse > 0,
                      reply.dbSizeInUse <= reply.dbSize,
                      reply.raftAppliedIndex <= reply.raftIndex, reply.raftTerm > 0))


@case(server=[])
def status_lists_alarms(s):
    me = member(s)
    alarm(s, ACTIVATE, NOSPACE, me)
    reply = s.api.call("Maintenance/Status", pb.message("StatusRequest"))
    text = [error.replace("  ", " ").replace(str(me), "<member>") for error in reply.errors]
    s.note("errors", text)


def hash_at(s, revision):
    """A HashKV without the field that came in 3.6."""
    try:
        reply = s.api.call("Maintenance/HashKV", pb.message("HashKVRequest", revision=revision))
        reply.ClearField("hash_revision")
        s.show("HashKV", reply)
    except pb.Failed as failed:
        s.note("HashKV", failed)


@case(server=[])
def hashes_of_revisions(s):
    for value in ("1", "2", "3"):
        s.put("a", value)
    for revision in (0, 4, 3, 2, 1, 5, -1):
        hash_at(s, revision)
    s.call("KV/Compact", pb.message("CompactionRequest", revision=3, physical=True))
    for revision in (0, 4, 2):
        hash_at(s, revision)


# etcd 3.5.1 refuses the compacted revision itself; from 3.6 on it is answered, as compat says.
@case(server=[], needs="compacted-hash")
def the_hash_at_the_compacted_revision(s):
    for value in ("1", "2", "3"):
        s.put("a", value)
    s.call("KV/Compact", pb.message("CompactionRequest", revision=3, physical=True))
    hash_at(s, 3)


@case
def a_hash_has_a_header(s):
    reply = s.api.call("Maintenance/Hash", pb.message("HashRequest"))
    s.note("hash", reply.HasField("header"))


@case
def a_snapshot_counts_down(s):
    import hashlib
    whole, last = hashlib.sha256(), None
    left, good = None, True
    for reply in s.api.stream("Maintenance/Snapshot", pb.message("SnapshotRequest")):
        if last is not None:
            whole.update(last.blob)
        if left is not None:
            good &= reply.remaining_bytes == max(left - len(reply.blob), 0) or len(reply.blob) == 32
        left, last = reply.remaining_bytes, reply
        good &= not reply.HasField("header") and len(reply.blob) <= 32 * 1024
    s.note("snapshot", (good, left, last.blob == whole.digest()))


@case
def defragment_has_no_header(s):
    s.call("Maintenance/Defragment", pb.message("DefragmentRequest"))


@case
def a_leader_moves_only_to_a_member(s):
    me = member(s)
    for target in (0, 77, me):
        s.call("Maintenance/MoveLeader", pb.message("MoveLeaderRequest", targetID=target))


@case
def the_member_list(s):
    member(s)
    for linearizable in (False, True):
        reply = s.api.call("Cluster/MemberList", pb.message(
            "MemberListRequest", linearizable=linearizable))
        for one in reply.members:
            one.ClearField("clientURLs")
        s.show("members", reply)


@case(needs="members")
def member_changes_that_are_refused(s):
    s.call("Cluster/MemberAdd", pb.message("MemberAddRequest"))
    s.call("Cluster/MemberAdd", pb.message("MemberAddRequest", peerURLs=["bad"]))
    s.call("Cluster/MemberAdd", pb.message("MemberAddRequest", peerURLs=["http://127.0.0.1:2380"]))
    # Not here: a removal or promotion that is refused only when it is applied. Etcd 3.5.1 sometimes
    # never answers those.
    me = member(s)
    s.call("Cluster/MemberRemove", pb.message("MemberRemoveRequest", ID=me))


@case
def health(s):
    check = "grpc.health.v1.HealthCheckRequest"
    for service in ("", "etcdserverpb.KV", "nobody"):
        s.call("Health/Check", pb.message(check, service=service))
    call = s.api.stream("Health/Watch", pb.message(check))
    s.show("first", next(call))
    call.cancel()
    call = s.api.stream("Health/Watch", pb.message(check, service="nobody"))
    s.show("first of nobody", next(call))
    call.cancel()


@case
def methods_that_are_not_there(s):
    for path in ("/etcdserverpb.KV/Nope", "/foo.Bar/Baz", "/etcdserverpb.Nope/Range", "/nope",
                 "/etcdserverpb.KV/range", "/etcdserverpb.KV/", "//"):
        s.raw(path)


@case
def bodies_that_are_not_messages(s):
    for data in (b"\xff", b"\x0a\x05ab", b"\x08", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"):
        try:
            s.api.channel.unary_unary("/etcdserverpb.KV/Range")(data, timeout=5)
            s.note("body", "accepted")
        except grpc.RpcError as error:
            s.note("body", error.code().name)


@case
def unknown_fields_are_ignored(s):
    s.put("a", "1")
    request = pb.message("RangeRequest", key=s.key("a")).SerializeToString()
    s.raw("/etcdserverpb.KV/Range", request + b"\xa2\x06\x03abc\xf8\x07\x01")


@case
def metadata_of_every_kind(s):
    s.put("a", "1")
    ask = pb.message("RangeRequest", key=s.key("a"))
    for metadata in ([("hasleader", "true")], [("hasleader", "false")], [("hasleader", "TRUE")],
                     [("client-api-version", "3.5")], [("x-unknown", "1")],
                     [("x-unknown-bin", b"\0\xff")], [("grpcgateway-accept", "*/*")]):
        s.note("metadata", metadata)
        s.call("KV/Range", ask, metadata=metadata)


@case
def tokens_while_auth_is_off(s):
    ask = pb.message("RangeRequest", key=s.key("a"))
    for name in ("token", "authorization"):
        try:
            s.api.call("KV/Range", ask, metadata=[(name, "nonsense")])
            s.note(name, "answered")
        except pb.Failed as failed:
            s.note(name, failed)


@case
def compressed_requests(s):
    ask = pb.message("RangeRequest", key=s.key("a")).SerializeToString()
    s.raw("/etcdserverpb.KV/Range", ask, compression=grpc.Compression.Gzip)
    s.put("a", b"x" * 300_000)
    s.raw("/etcdserverpb.KV/Range", ask, compression=grpc.Compression.Gzip)
    s.raw("/etcdserverpb.KV/Range", ask, compression=grpc.Compression.NoCompression)
    s.raw("/etcdserverpb.KV/Range", ask, compression=grpc.Compression.Deflate)
    s.raw("/etcdserverpb.KV/Nothing", ask, compression=grpc.Compression.Deflate)


@case
def compressed_requests_within_the_limit(s):
    for size in (1_000_000, 2_000_000, 3_000_000):
        put = pb.message("PutRequest", key=s.key("a"), value=bytes(size)).SerializeToString()
        s.raw("/etcdserverpb.KV/Put", put, compression=grpc.Compression.Gzip)
    s.range("a", count_only=True)


@case(needs="lock")
def locks(s):
    s.grant(410)
    reply = s.call("Lock/Lock", pb.message("v3lockpb.LockRequest", name=s.key("l"), lease=410))
    s.call("Lock/Unlock", pb.message("v3lockpb.UnlockRequest", key=reply.key))
    s.call("Lock/Unlock", pb.message("v3lockpb.UnlockRequest", key=s.key("none")))
    s.call("Lock/Lock", pb.message("v3lockpb.LockRequest", name=s.key("l"), lease=411_000))


@case(needs="lock")
def elections(s):
    s.grant(412)
    campaign = pb.message("v3electionpb.CampaignRequest", name=s.key("e"), lease=412, value=b"v")
    reply = s.call("Election/Campaign", campaign)
    s.call("Election/Leader", pb.message("v3electionpb.LeaderRequest", name=s.key("e")))
    s.call("Election/Proclaim", pb.message("v3electionpb.ProclaimRequest", leader=reply.leader,
                                           value=b"w"))
    s.call("Election/Proclaim", pb.message("v3electionpb.ProclaimRequest", value=b"w"))
    s.call("Election/Resign", pb.message("v3electionpb.ResignRequest", leader=reply.leader))
    s.call("Election/Leader", pb.message("v3electionpb.LeaderRequest", name=s.key("e")))
    s.call("Election/Proclaim", pb.message("v3electionpb.ProclaimRequest", leader=reply.leader,
                                           value=b"w"))


@case(needs="auth")
def auth_that_is_off(s):
    s.call("Auth/AuthStatus", pb.message("AuthStatusRequest"))
    s.call("Auth/Authenticate", pb.message("AuthenticateRequest", name="root", password="x"))
    s.call("Auth/AuthEnable", pb.message("AuthEnableRequest"))
    s.call("Auth/UserList", pb.message("AuthUserListRequest"))
    s.call("Auth/RoleList", pb.message("AuthRoleListRequest"))
