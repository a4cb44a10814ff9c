"""Owns the procedures that say who leads."""

from interop import pb


def move_the_leader(o):
    """To a follower, to itself, to nobody; asked of the leader and of others."""
    o.found(3)
    o.look()
    o.ctl("move-leader", o.id("m2"), at=("m1", "m2", "m3"))
    o.leader = "m2"
    o.look()
    o.ctl("move-leader", o.id("m2"), at=("m1", "m2", "m3"))
    o.look()
    o.ctl("move-leader", o.id("m3"), at=("m1", "m3"))
    o.ctl("move-leader", "77", at=("m1", "m2", "m3"))
    o.ctl("move-leader", "no id", at=("m1", "m2", "m3"))
    o.ctl("move-leader", o.id("m3"), at=("m1", "m2"), version="3.4")
    o.leader = "m3"
    o.finish()


def move_the_leader_asked_of_a_follower(o):
    """etcdctl finds the leader itself; who calls a follower is refused."""
    o.found(3)
    o.settle()
    for asked, target in (("m2", "m2"), ("m2", "m3"), ("m2", "m1"), ("m1", "m1")):
        move = pb.message("MoveLeaderRequest", targetID=int(o.id(target), 16))
        try:
            o.member(asked).ask("Maintenance/MoveLeader", move, timeout=10)
            answer = "done"
        except pb.Failed as failed:
            answer = str(failed)
        o.note(f"MoveLeader to {target} asked of {asked}", answer + "\n")
    o.look()
    o.finish()


PROCEDURES = [move_the_leader, move_the_leader_asked_of_a_follower]
