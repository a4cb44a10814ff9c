"""Owns the procedures that operators get wrong: what refuses them, in which words."""


def changes_of_members_that_make_no_sense(o):
    """URLs that are taken, ids that nobody has, promotions of voters."""
    o.found(3)
    o.look()
    taken, free = o.member("m2").peer_url, o.member("m4").peer_url
    o.ctl("member", "add", "m4", f"--peer-urls={taken}", until_not="unhealthy cluster")
    o.ctl("member", "add", "m4", f"--peer-urls={taken}", "--learner")
    o.ctl("member", "add", "m4", f"--peer-urls={free},{taken}")
    o.ctl("member", "add", "m4", "--peer-urls=no url")
    o.ctl("member", "add", "m4", "--peer-urls=http://127.0.0.1")
    o.ctl("member", "add", "m4")
    o.ctl("member", "remove", "1234abcd")
    o.ctl("member", "remove", "no id")
    o.ctl("member", "remove", "0")
    o.ctl("member", "promote", "1234abcd")
    o.ctl("member", "promote", o.id("m2"))
    o.ctl("member", "update", "1234abcd", f"--peer-urls={free}")
    o.ctl("member", "update", o.id("m2"), f"--peer-urls={o.member('m3').peer_url}")
    o.ctl("member", "update", o.id("m2"), "--peer-urls=no url")
    o.ctl("member", "update", o.id("m2"), f"--peer-urls={taken}")
    o.look()
    o.finish()


def a_member_that_starts_with_wrong_words(o):
    """The wrong count, URL, name or place in the environment: it ends and says why."""
    o.found(3)
    printed = o.add("m4")
    right = dict(o.join("m4", printed).environment)
    parts = right["ETCD_INITIAL_CLUSTER"].split(",")
    without_m3 = ",".join(part for part in parts if not part.startswith("m3="))
    wrong_m3 = ",".join(
        f"m3={o.member('m6').peer_url}" if part.startswith("m3=") else part for part in parts)
    for step, changed in (
        ("one member is missing", {"ETCD_INITIAL_CLUSTER": without_m3}),
        ("one member is elsewhere", {"ETCD_INITIAL_CLUSTER": wrong_m3}),
        ("nobody is called so", {"ETCD_NAME": "m5"}),
        ("nobody is in the list", {"ETCD_INITIAL_CLUSTER": f"m4={o.member('m4').peer_url}"}),
        ("the state is no word", {"ETCD_INITIAL_CLUSTER_STATE": "exists"}),
    ):
        o.member("m4").environment = {**right, **changed}
        o.refused("m4", step)
        o.look()
    # Neither is asked of a member that joins.
    unasked = {
        "ETCD_INITIAL_CLUSTER_TOKEN": "another",
        "ETCD_INITIAL_ADVERTISE_PEER_URLS": o.member("m6").peer_url,
    }
    o.member("m4").environment = {**right, **unasked}
    o.start("m4")
    o.look()
    o.finish()


def a_member_that_joins_as_new(o):
    """Added by the book, started with `new`: it waits for a cluster that nobody else is in."""
    o.found(3)
    printed = o.add("m4")
    o.join("m4", printed, ETCD_INITIAL_CLUSTER_STATE="new")
    o.starts_alone("m4", "cluster ID mismatch")
    o.ctl("endpoint", "health", "--command-timeout=2s", at="m4")
    o.ctl("endpoint", "health", at=("m1", "m2", "m3"))
    o.kill("m4")
    o.wipe("m4")
    o.join("m4", printed)
    o.start("m4")
    o.look()
    o.finish()


def a_member_that_has_lost_its_data(o):
    """With `new`, as it was started first: it is told that it has been here."""
    o.found(3)
    o.stop("m3")
    o.wipe("m3")
    o.refused("m3", "its data is gone")
    o.look()
    o.finish()


def a_member_of_another_cluster(o):
    """The token of another cluster at a member's place: it never serves, and harms nobody."""
    o.found(3)
    o.stop("m3")
    kept = f"{o.home}/kept"
    o.swap_data("m3", kept)
    o.member("m3").environment["ETCD_INITIAL_CLUSTER_TOKEN"] = "another"
    o.starts_alone("m3", "cluster ID mismatch")
    o.ctl("endpoint", "status", at="m3")
    o.ctl("endpoint", "health", "--command-timeout=2s", at="m3")
    o.ctl("put", "k/stranger", "x", "--command-timeout=2s", at="m3")
    o.kill("m3")
    o.wipe("m3")
    o.swap_data("m3", kept)
    o.start("m3")
    o.look()
    o.finish()


def a_removed_member_starts_again(o):
    """With its data it ends again, each time; without, it is refused as a stranger."""
    o.found(3)
    o.remove("m3")
    o.ends("m3", "it was removed")
    o.refused("m3", "with its data")
    o.refused("m3", "with its data, once more")
    o.look()
    o.wipe("m3")
    o.member("m3").environment["ETCD_INITIAL_CLUSTER_STATE"] = "existing"
    o.refused("m3", "without its data, as existing")
    o.look()
    o.finish()


def add_two_before_the_first_has_started(o):
    """The strict check refuses what would end the quorum."""
    o.found(1)
    printed = o.add("m2")
    o.ctl("member", "add", "m3", f"--peer-urls={o.member('m3').peer_url}")
    o.ctl("member", "add", "m3", f"--peer-urls={o.member('m3').peer_url}", "--learner")
    o.ctl("member", "list", "--command-timeout=2s")
    o.ctl("endpoint", "status")
    o.ctl("endpoint", "health", "--command-timeout=2s")
    o.join("m2", printed)
    o.start("m2")
    o.look()
    o.finish()


def add_three_to_two_at_once(o):
    """Two members: one more is listed, the next is refused until it has started."""
    o.found(2)
    printed = o.add("m3")
    o.look()
    o.ctl("member", "add", "m4", f"--peer-urls={o.member('m4').peer_url}")
    o.ctl("member", "remove", o.id("m2"))
    o.join("m3", printed)
    o.start("m3")
    o.look()
    o.finish()


def change_members_while_one_is_down(o):
    """No additions and no removals of the living; the dead may be removed."""
    o.found(3)
    # As long as it takes until a removal would be allowed.
    o.ctl("member", "add", "m5", f"--peer-urls={o.member('m5').peer_url}", "--learner",
          until_not="unhealthy cluster")
    o.remove("m5")
    o.kill("m3")
    o.misses("m1", "m3")
    o.ctl("member", "add", "m4", f"--peer-urls={o.member('m4').peer_url}")
    o.ctl("member", "add", "m4", f"--peer-urls={o.member('m4').peer_url}", "--learner")
    o.ctl("member", "remove", o.id("m2"))
    o.ctl("member", "remove", o.id("m1"))
    o.look()
    o.ctl("member", "remove", o.id("m3"))
    o.look()
    o.finish()


PROCEDURES = [
    changes_of_members_that_make_no_sense,
    a_member_that_starts_with_wrong_words,
    a_member_that_joins_as_new,
    a_member_that_has_lost_its_data,
    a_member_of_another_cluster,
    a_removed_member_starts_again,
    add_two_before_the_first_has_started,
    add_three_to_two_at_once,
    change_members_while_one_is_down,
]
