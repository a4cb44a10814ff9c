"""Owns the procedures that end members and start them again, and those that move them."""


def restart_one_after_another(o):
    """SIGTERM and start, member by member, as for an upgrade; the leader comes last."""
    o.found(3)
    o.look()
    for name in ("m3", "m2", "m1"):
        o.stop(name)
        o.look()
        o.write()
        o.start(name)
        o.look()
        o.read()
    o.finish()


def restart_all_at_once(o):
    """All end, all start: everything is there and everybody is who they were."""
    o.found(3)
    o.look()
    for name in ("m1", "m2", "m3"):
        o.stop(name)
    o.start("m1", "m2", "m3")
    o.look(whole=True, pages=True)
    o.read()
    o.finish()


def kill_all_at_once(o):
    """The same after kill -9 of everybody."""
    o.found(3)
    o.kill("m1", "m2", "m3")
    o.start("m3", "m2", "m1")
    o.look()
    o.read()
    o.finish()


def lose_the_quorum_and_find_it_again(o):
    """One of three is left: what it answers and what it refuses; then the others come back."""
    o.found(3)
    o.look()
    o.kill("m2", "m3")
    o.loses_its_leader("m1")
    o.ctl("endpoint", "status", "-w", "table", at="m1")
    o.ctl("endpoint", "status", "-w", "json", at="m1")
    o.ctl("endpoint", "health", "--command-timeout=2s", at="m1")
    o.ctl("endpoint", "hashkv", at="m1")
    o.ctl("member", "list", "--command-timeout=2s")
    o.ctl("put", "k/lost", "x", "--command-timeout=2s")
    o.ctl("get", "k/0001", "--command-timeout=2s")
    o.ctl("get", "k/0001", "--consistency=s")
    o.ctl("member", "remove", o.id("m3"), "--command-timeout=2s")
    o.ctl("member", "add", "m4", f"--peer-urls={o.member('m4').peer_url}", "--command-timeout=2s")
    o.pages("m1")
    o.start("m2")
    o.look()
    o.start("m3")
    o.finish()


def move_a_member_to_another_peer_url(o):
    """`member update`, then a start with the new listener."""
    o.found(3)
    o.look()
    place = o.member("m6")
    o.ctl("member", "update", o.id("m3"), f"--peer-urls={place.peer_url}")
    o.stop("m3")
    o.look()
    o.member("m3").peer_port = place.peer_port
    o.start("m3")
    o.look(whole=True, pages=True)
    o.finish()


PROCEDURES = [
    restart_one_after_another,
    restart_all_at_once,
    kill_all_at_once,
    lose_the_quorum_and_find_it_again,
    move_a_member_to_another_peer_url,
]
