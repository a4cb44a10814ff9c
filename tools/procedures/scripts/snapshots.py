"""Owns the procedure that makes a cluster from a snapshot."""


def three_members_from_a_snapshot(o):
    """`snapshot save`, then an offline restore for each of three new members."""
    o.found(3)
    o.look()
    file = f"{o.home}/saved.db"
    o.ctl("snapshot", "save", file)
    for name in ("m1", "m2", "m3"):
        o.stop(name)
        o.wipe(name)
        o.restore(name, file)
    o.start("m1", "m2", "m3")
    o.look(whole=True, pages=True)
    o.read()
    o.finish()


PROCEDURES = [three_members_from_a_snapshot]
