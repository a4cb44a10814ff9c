"""Owns the known differences between a real peer and the rules that Ringleader follows (etcd 3.7).

A row never loosens a comparison: it rewrites what the old peer printed into the exact text that the
newer rule demands, in the named steps only, and says why. Rows are applied to the peer's side, and
only when the server under test is not itself a real etcd. The same list, in words, is in
docs/compat.md.
"""

import re
from dataclasses import dataclass

OURS_VERSION = "3.7.1"
PROBE = (
    "status 200\ncontent-type: text/plain; charset=utf-8\n"
    "x-content-type-options: nosniff\n{body}"
)


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
    Known(
        name="livez and readyz",
        reason="The two probes came in 3.5.11; 3.5.1 does not know the paths.",
        peers=("3.4", "3.5"),
        step=r"@http GET /(livez|readyz)(/serializable_read|/linearizable_read|\?exclude=bogus)?$",
        old=r"(?s)\Astatus 404.*\Z",
        new=PROBE.format(body="  body| ok\n"),
    ),
    Known(
        name="livez and readyz",
        reason="The two probes came in 3.5.11; 3.5.1 does not know the paths.",
        peers=("3.4", "3.5"),
        step=r"@http GET /livez\?verbose$",
        old=r"(?s)\Astatus 404.*\Z",
        new=PROBE.format(body="  body| [+]serializable_read ok\n  body| ok\n"),
    ),
    Known(
        name="livez and readyz",
        reason="The two probes came in 3.5.11; a wrong method is refused as on /health.",
        peers=("3.4", "3.5"),
        step=r"@http POST /(livez|readyz)$",
        old=r"(?s)\Astatus 404.*\Z",
        new="status 405\ncontent-type: text/plain; charset=utf-8\nallow: GET\n"
        "x-content-type-options: nosniff\n  body| Method Not Allowed\n",
    ),
    Known(
        name="unknown sort order",
        reason="3.6 and later refuse it; 3.5.1 ignores a bad order and ends itself at a bad target.",
        peers=("3.4", "3.5"),
        step=r"ranges: an unknown order",
        old=r"(?s)\Aheader.*\Z",
        new="INVALID_ARGUMENT: etcdserver: invalid sort option\n",
    ),
    Known(
        name="RangeStream",
        reason="The method came in 3.7.",
        peers=("3.4", "3.5"),
        step=r"ranges: a stream of the range",
        old=r"\AUNIMPLEMENTED: unknown method RangeStream for service etcdserverpb.KV\n",
        new="(['a', 'b'], 2, False)\n",
    ),
    Known(
        name="negative start of a watch",
        reason="3.5.24 and later refuse it at creation.",
        peers=("3.4", "3.5"),
        step=r"watches: a negative start",
        old=r"^created: true\n",
        new='watch_id: -1\ncreated: true\ncanceled: true\n'
        'cancel_reason: "etcdserver: mvcc: required revision has been compacted"\n',
    ),
    Known(
        name="progress without a watch",
        reason="From 3.5.8 a progress request is dropped unless every watch of the stream is synced.",
        peers=("3.4", "3.5"),
        step=r"watches: progress on a stream without watches",
        old=r"(?s)\Anot silent.*\Z",
        new="silence\n",
    ),
    Known(
        name="tokens while auth is off",
        reason="From 3.5.10 they are ignored; 3.5.1 looks at them.",
        peers=("3.4", "3.5"),
        step=r"services: tokens while auth is off",
        old=r"\AUNAUTHENTICATED: etcdserver: invalid auth token\n",
        new="answered\n",
    ),
    Known(
        name="malformed method name",
        reason="Newer gRPC libraries say Unimplemented; the one in 3.5.1 says ResourceExhausted.",
        peers=("3.4", "3.5"),
        step=r"services: methods that are not there",
        old=r"\ARESOURCE_EXHAUSTED: malformed method name",
        new="UNIMPLEMENTED: malformed method name",
    ),
]


def rewrite(peer_version, step_line, text, rows=ROWS):
    """(text as the newer rule wants it, names of the rows that changed something)."""
    used = []
    for row in rows:
        if not any(peer_version.startswith(peer) for peer in row.peers):
            continue
        if not re.search(row.step, step_line):
            continue
        changed = re.sub(row.old, lambda _, new=row.new: new, text, flags=re.M)
        if changed != text:
            used.append(row.name)
            text = changed
    return text, used
