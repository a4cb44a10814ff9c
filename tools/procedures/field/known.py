"""Owns the differences between etcd 3.5.1 and Ringleader that are meant.

A row never loosens a comparison: it rewrites what etcd printed into the exact text that is expected
here, in the named steps only, and says why. The same list, in words, is in docs/compat.md.
"""

from interop import known

PEERS = ("3.5",)
Known = known.Known

LEARNERS = "etcdserver: rpc not supported for learner"

ROWS = [
    Known(
        name="learner's code",
        reason="From 3.6 a learner refuses with FailedPrecondition, so that clients do not try again.",
        peers=PEERS,
        step=r"etcdctl",
        old=f"code = Unavailable desc = {LEARNERS}",
        new=f"code = FailedPrecondition desc = {LEARNERS}",
    ),
    Known(
        name="server version",
        reason="Ringleader answers as etcd 3.7 where a server version is asked for.",
        peers=PEERS,
        step=r"etcdctl.* endpoint status",
        old=r"\b3\.5\.1\b",
        new=known.OURS_VERSION,
    ),
    Known(
        name="/version body",
        reason="From 3.6 the body of /version also names the storage version.",
        peers=PEERS,
        step=r"GET /version",
        old=r'\{"etcdserver":"3\.5\.1","etcdcluster":"3\.5\.0"\}',
        new=f'{{"etcdserver":"{known.OURS_VERSION}","etcdcluster":"3.7.0","storage":"3.7.0"}}',
    ),
]


def rewrite(procedure, line, text):
    """(the text as it is expected here, names of the rows that changed it)."""
    return known.rewrite("3.5.1", f"{procedure}: {line}", text, ROWS)
