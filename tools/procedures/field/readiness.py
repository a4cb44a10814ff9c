"""Owns what must be so before anything is looked at: all that run serve, agree, and are led as the
procedure wants it.

Never writes anything down. Invariant: it changes nothing but who leads.
"""

from interop import pb

from .waits import SERVING_SECONDS_MAX, until


def settle(operator):
    """Waits until all that run serve, hold the same, and follow the wanted leader."""
    def settled():
        statuses = operator.statuses()
        assert_alive(operator)
        leaders = {status.leader for status in statuses.values()}
        applied = {status.raftAppliedIndex for status in statuses.values()}
        if len(leaders) != 1 or 0 in leaders or len(applied) != 1:
            return False
        return _leads(operator, leaders.pop(), statuses) and _serve(operator, statuses)
    until(f"{', '.join(operator.running())} serve and agree", SERVING_SECONDS_MAX, settled)


def _leads(operator, leader, statuses):
    voters = [name for name, status in statuses.items() if not status.isLearner]
    wanted = operator.leader if operator.leader in voters else voters[0]
    if statuses[wanted].header.member_id == leader:
        return True
    for name, status in statuses.items():
        if status.header.member_id == leader:
            target = statuses[wanted].header.member_id
            move = pb.message("MoveLeaderRequest", targetID=target)
            operator.members[name].ask("Maintenance/MoveLeader", move, timeout=10)
    return False


def _serve(operator, statuses):
    for name in statuses:
        member = operator.members[name]
        if member.page(member.port, "/health")[0] != 200:
            return False
        if "not_decided" in member.page(member.port, "/version")[2]:
            return False
        listed = _listed(member)
        running = [listed.get(operator.members[one].peer_url) for one in statuses]
        if not all(one is None or one.clientURLs for one in running):
            return False
    return True


def _listed(member):
    """The members by peer URL; a learner tells nobody."""
    request = pb.message("MemberListRequest", linearizable=False)
    try:
        reply = member.ask("Cluster/MemberList", request)
    except pb.Failed as failed:
        if "not supported for learner" in failed.text:
            return {}
        raise
    return {url: one for one in reply.members for url in one.peerURLs}


def assert_alive(operator):
    """A member that should run and does not ends the wait at once."""
    for name, member in operator.members.items():
        if member.process is not None and not member.alive() and member.process.returncode != -9:
            raise RuntimeError(f"{name} ended with {member.process.returncode}")
