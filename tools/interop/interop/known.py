"""Owns the known differences between a real peer and the rules that Ringleader follows (etcd 3.7).

A row never loosens a comparison: it rewrites what the old peer printed into the exact text that the
newer rule demands, in the named steps only, and says why. Rows are applied to the peer's side, and
only when the server under test is not itself a real etcd. The same list, in words, is in
docs/compat.md.
"""

import re
from dataclasses import dataclass

OURS_VERSION = "3.7.1"


@dataclass(frozen=True)
class Known:
    """In steps whose line matches `step`, `old` (a regular expression) becomes `new`."""

    name: str
    reason: str
    peers: tuple
    step: str
    old: str
    new: str


ROWS = [
    Known(
        name="server version",
        reason="Ringleader answers as etcd 3.7 where a server version is asked for.",
        peers=("3.4", "3.5"),
        step=r"endpoint status",
        old=r"\b3\.(5\.1|4\.23)\b",
        new=OURS_VERSION,
    ),
    Known(
        name="/version body",
        reason="From 3.6 the body of /version also names the storage version.",
        peers=("3.4", "3.5"),
        step=r"@http \w+ /version",
        old=r'\{"etcdserver":"[^"]*","etcdcluster":"[^"]*"\}',
        new=f'{{"etcdserver":"{OURS_VERSION}","etcdcluster":"3.7.0","storage":"3.7.0"}}',
    ),
]


def rewrite(peer_version, step_line, text):
    """(text as the newer rule wants it, names of the rows that changed something)."""
    used = []
    for row in ROWS:
        if not any(peer_version.startswith(peer) for peer in row.peers):
            continue
        if not re.search(row.step, step_line):
            continue
        changed = re.sub(row.old, row.new, text, flags=re.M)
        if changed != text:
            used.append(row.name)
            text = changed
    return text, used
