"""Owns the procedures that change how many members there are, one after another, by the book."""


def grow_from_one_to_three_to_five(o):
    """`member add`, then a start with the environment that it printed, four times."""
    o.found(1)
    o.look(whole=True, old=True, pages=True)
    for number in range(2, 6):
        printed = o.add(f"m{number}")
        if number > 3:
            # With two of three up, the list shows who has not started.
            o.look()
        o.join(f"m{number}", printed)
        o.start(f"m{number}")
        o.look(whole=number == 3)
        o.read()
    o.look(whole=True, old=True)
    o.finish()


def remove_a_follower(o):
    """The list is shorter at once, and the removed member ends by itself."""
    o.found(3)
    o.look()
    o.remove("m3")
    o.ends("m3", "it was removed")
    o.look(whole=True)
    o.ctl("endpoint", "status", at="m3")
    o.ctl("endpoint", "health", at=("m1", "m2", "m3"))
    o.finish()


def remove_the_leader(o):
    """The leader removes itself; somebody else leads."""
    o.found(3)
    o.leader = "m3"
    o.look()
    o.remove("m3", at="m3")
    o.ends("m3", "it was removed")
    o.look(whole=True)
    o.finish()


def replace_a_dead_member(o):
    """kill -9, disk lost: remove, add, start its successor at the same place."""
    o.found(3)
    o.look()
    o.kill("m3")
    o.ctl("endpoint", "health", at=("m1", "m2", "m3"))
    o.ctl("endpoint", "status", "-w", "table", at=("m1", "m2", "m3"))
    o.write()
    o.remove("m3")
    o.look()
    o.wipe("m3")
    o.members["m3"].identity = None
    printed = o.add("m3")
    o.look()
    o.join("m3", printed)
    o.start("m3")
    o.look()
    o.finish()


def shrink_to_one(o):
    """Three, two, one: what is left serves alone."""
    o.found(3)
    for name in ("m3", "m2"):
        o.remove(name)
        o.ends(name, "it was removed")
        o.look()
    o.finish()


def change_members_with_the_older_tool(o):
    """etcdctl 3.4 adds, promotes and removes; then both tools in JSON."""
    o.found(1)
    printed = o.add("m2", "--learner", version="3.4")
    o.join("m2", printed)
    o.start("m2")
    o.ctl("member", "promote", o.id("m2"), version="3.4", until_not="in sync with leader")
    o.look(old=True)
    o.ctl("move-leader", o.id("m2"), at=("m1", "m2"), version="3.4")
    for number, version in ((3, "3.4"), (4, "3.5")):
        name = f"m{number}"
        o.add(name, "--learner", "-w", "json", version=version)
        # Not the learner: 3.5.1 forgets in its list that it is one.
        url = f"--peer-urls={o.member('m1').peer_url}"
        o.ctl("member", "update", o.id("m1"), url, "-w", "json", version=version)
        o.ctl("member", "remove", o.id(name), "-w", "json", version=version)
    o.ctl("member", "remove", o.id("m2"), version="3.4", until_not="unhealthy cluster")
    o.ends("m2", "it was removed")
    o.finish()


PROCEDURES = [
    grow_from_one_to_three_to_five,
    remove_a_follower,
    remove_the_leader,
    replace_a_dead_member,
    shrink_to_one,
    change_members_with_the_older_tool,
]
