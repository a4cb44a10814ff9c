"""Owns the procedures with members that do not vote yet."""

NOT_READY = "in sync with leader"


def a_learner_is_added_and_promoted(o):
    """Add, promote too early, start, promote; what a learner answers and what it refuses."""
    o.found(3)
    o.look()
    printed = o.add("m4", "--learner")
    o.ctl("member", "promote", o.id("m4"))
    o.ctl("member", "promote", o.id("m4"), version="3.4")
    o.look(whole=True)
    o.join("m4", printed)
    o.start("m4")
    o.look(old=True, pages=True)
    o.ctl("endpoint", "status", "-w", "json", at="m4")
    o.read()
    o.ctl("member", "list", at="m4")
    o.ctl("put", "k/learner", "x", at="m4")
    o.ctl("endpoint", "health", at="m4")
    o.ctl("move-leader", o.id("m4"), at=("m1", "m2", "m3"))
    o.ctl("member", "promote", o.id("m4"), until_not=NOT_READY)
    o.look()
    o.ctl("member", "promote", o.id("m4"))
    o.finish()


def one_learner_at_a_time(o):
    """The default limit is one; a removed learner makes room."""
    o.found(3)
    o.add("m4", "--learner")
    o.ctl("member", "add", "m5", f"--peer-urls={o.member('m5').peer_url}", "--learner")
    o.look()
    o.remove("m4")
    o.look()
    printed = o.add("m5", "--learner")
    o.join("m5", printed)
    o.start("m5")
    o.look()
    o.remove("m5")
    o.ends("m5", "it was removed")
    o.finish()


def a_learner_leads_nowhere(o):
    """A lone voter with a learner: the learner does not count."""
    o.found(1)
    printed = o.add("m2", "--learner")
    o.look()
    o.join("m2", printed)
    o.start("m2")
    o.look(pages=True)
    o.kill("m2")
    o.write()
    o.look()
    o.start("m2")
    o.look()
    o.ctl("member", "promote", o.id("m2"), until_not=NOT_READY)
    o.finish()


PROCEDURES = [a_learner_is_added_and_promoted, one_learner_at_a_time, a_learner_leads_nowhere]
